"""Windows that do not tile their input: what a stride leaves unread."""

from __future__ import annotations

from dataclasses import dataclass

from .graph import Graph, Node
from .ops.conv import CONVS, Conv
from .ops.pool import AVG_POOL, LP_POOL, MAX_POOL, Pool
from .ops.window import dilated, unread

__all__ = ["Leftover", "leftover", "leftovers", "surprises"]

ROUND_DOWN = frozenset((*CONVS, MAX_POOL, AVG_POOL, LP_POOL))
AXES = (("places",), ("rows", "columns"), ("depths", "rows", "columns"))  # by their number, as a report calls them


@dataclass(frozen=True, slots=True)
class Leftover:
    """Along `axis`, one of AXES, `positions` of the padded extent are covered by no window.

    `unread` of them are elements of the input, the rest padding. Units: elements of that axis.
    """

    node: Node
    axis: str
    extent: int
    kernel: int
    stride: int
    positions: int
    unread: int

    def __str__(self) -> str:
        lost = f"the last {self.unread} {self.axis} are never read" if self.unread else "only padding is left over"
        steps = f"{self.positions}/{self.stride}"
        window = f"window {self.kernel} with stride {self.stride} does not fit {self.extent} padded {self.axis}"
        return f"{self.node.where}: {window} ({steps} of a step remain); {lost}"


def leftover(node: Node) -> list[Leftover]:
    """The axes along which a conv or pool that rounds down does not fit; none where sizes are named."""
    if node.kind not in ROUND_DOWN:
        return []
    op: Conv | Pool = node.op
    if not isinstance(op, Conv) and op.ceil_mode:
        return []
    kernel = node.inputs[1].typed.concrete()[2:] if isinstance(op, Conv) else op.kernel
    found: list[Leftover] = []
    for i, axis in enumerate(AXES[len(kernel) - 1]):
        size, stride, before, after = node.inputs[0].typed.shape[2 + i], op.strides[i], op.pads[i], op.pads[i + len(kernel)]
        if not isinstance(size, int):
            continue
        extent = dilated(kernel[i], op.dilations[i])
        positions, lost = unread(size, extent, stride, before, after)
        if positions:
            found.append(Leftover(node, axis, size + before + after, extent, stride, positions, lost))
    return found


def leftovers(graph: Graph) -> list[Leftover]:
    """Every axis of every window in the graph that does not fit."""
    return [found for node in graph.ops for found in leftover(node)]


def surprises(graph: Graph) -> list[Leftover]:
    """Those that lose elements of the input nobody meant to skip: a stride over the kernel skips on purpose."""
    return [found for found in leftovers(graph) if found.unread and found.kernel >= found.stride]
