"""Slices: parts that together are all of a value are one Split, the others stand alone."""

from __future__ import annotations

from ....ir.graph import Graph, Node
from ....ir.ops.shape import SLICE
from .onnx_emitter import OnnxEmitter

__all__ = ["slice_row"]


def slice_row(node: Node, to: OnnxEmitter) -> None:
    parts = _parts(node, to.graph)
    if not parts:
        op = node.op
        bounds = {"starts": op.starts, "ends": op.ends, "axes": op.axes}
        bounds |= {"steps": op.steps} if any(step != 1 for step in op.steps) else {}
        to.node("Slice", node, [node.inputs[0].name, *(to.dims(node, what, values) for what, values in bounds.items())])
    elif node is min(parts, key=to.graph.positions.__getitem__):
        axis = SLICE.of(node).axes[0] % node.typed.rank
        sizes = [end - start for start, end in map(_bounds, parts) if start is not None and end is not None]
        outputs = [part.name for part in parts]
        to.node("Split", node, [node.inputs[0].name, to.int64s(node, "sizes", sizes)], outputs, axis=axis)


def _parts(node: Node, graph: Graph) -> list[Node]:
    """The slices of a value, this one among them, that are all of it from first to last; none where it has no such place."""
    x, axis = node.inputs[0], _axis(node)
    if axis is None:
        return []
    by_start: dict[int | None, Node] = {}
    for reader in graph.readers[x]:
        if reader.kind is SLICE and _axis(reader) == axis:
            by_start.setdefault(_bounds(reader)[0], reader)
    parts: list[Node] = []
    at: int | None = 0
    while at in by_start:
        parts.append(by_start.pop(at))
        at = _bounds(parts[-1])[1]
    return parts if node in parts and len(parts) > 1 and at == x.typed.shape[axis] else []


def _axis(node: Node) -> int | None:
    """The axis that a slice of steps of 1 cuts, if it cuts one and is not empty."""
    op, rank = SLICE.of(node), node.typed.rank
    if len(op.axes) != 1 or op.steps not in ((), (1,)):
        return None
    start, end = _bounds(node)
    return None if start is None or end is None or start >= end else op.axes[0] % rank


def _bounds(node: Node) -> tuple[int | None, int | None]:
    """First and last-plus-one place, in numbers."""
    op = SLICE.of(node)
    size, start, end = node.inputs[0].typed.shape[op.axes[0]], op.starts[0], op.ends[0]
    if not (isinstance(size, int) and isinstance(start, int) and isinstance(end, int)):
        return None, None
    first, last, _ = slice(start, end).indices(size)
    return first, last
