"""pick-channels: a shuffle of channels, and what is cut from it, becomes a choice of channels at known places. Exact: nothing is computed.

ShuffleNet has its channels in groups, and mixes them by a reshape, a transpose and a reshape back, each of the whole tensor, and cuts
that in halves. A choice of channels is one copy. A convolution needs none: its weights can be in the order of the channels that are there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Set

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONVS, conv_of
from ..ir.ops.select import GATHER, Gather
from ..ir.ops.shape import RESHAPE, SLICE, TRANSPOSE, Slice, Transpose
from ..ir.types import Array, TensorType
from .analysis.places import known_places
from .rewriting.ledger import Ledger
from .rewriting.products import takes_fold, wide
from .rewriting.rewriter import ANY, CONST, Match, Pat, Rule, rewrite

__all__ = ["pick_channels"]


def shuffle(m: Match) -> Node | None:
    """reshape, transpose, reshape, of which only the channels are in another order in the end."""
    turn, root = m.root.inputs[0], m.root
    split = turn.inputs[0] if turn.kind is TRANSPOSE and m.uses(turn) == 1 else None
    if split is None or split.kind is not RESHAPE or m.uses(split) != 1:
        return None
    (x,) = split.inputs
    order = _order(x, split, TRANSPOSE.of(turn)) if x.type == root.type and x.typed.rank > 2 else None
    if order is None:
        return None
    m.covered.extend((split, turn))
    return _picked(m, x, order)


def _order(x: Node, split: Node, turn: Transpose) -> Array | None:
    """Where the channels come from; None where others than they are split or turned."""
    (batch, channels, *image), (first, *parts) = x.typed.shape, split.typed.shape
    count = len(parts) - len(image)
    sizes = [size for size in parts[:count] if isinstance(size, int)]
    if not isinstance(channels, int) or first != batch or parts[count:] != image or len(sizes) < max(count, 2):
        return None
    if math.prod(sizes) != channels:  # of an image without elements a reshape makes as many channels as it likes
        return None
    middle = turn.perm[1 : 1 + count]
    if (0, *sorted(middle), *range(1 + count, len(turn.perm))) != (0, *range(1, 1 + count), *turn.perm[1 + count :]) or turn.perm[0]:
        return None
    return np.arange(channels).reshape(sizes).transpose([axis - 1 for axis in middle]).ravel()


def cut(mixed: Set[str], m: Match) -> Node | None:
    """A slice of chosen channels is a choice of its own, where nothing else reads them all."""
    chosen, op = m["chosen"], SLICE.of(m.root)
    places = _places(chosen)
    if chosen.name not in mixed or places is None or not _is_of_channels(m.root):
        return None
    step = op.steps[0] if op.steps else 1
    return _picked(m, chosen.inputs[0], places[op.starts[0] : op.ends[0] : step])


def ordered(m: Match) -> Node | None:
    """A convolution of all channels in another order, with its weights in that order."""
    conv, chosen, weight = m.root, m["chosen"], m["w"]
    places = _places(chosen)
    if places is None or conv_of(conv).groups != 1 or not takes_fold(conv):
        return None
    x = chosen.inputs[0]
    if sorted(places) != list(range(len(places))) or x.typed.shape[1] != len(places):
        return None
    back = np.argsort(places)
    made = m.param("w", weight.typed, lambda: wide(weight)[:, back])
    return conv.like(inputs=(x, made, *conv.inputs[2:]))


def _places(chosen: Node) -> Array | None:
    """Those of all chosen channels, counted from the first."""
    x, given = chosen.inputs
    places, size = known_places(given), x.typed.shape[1]
    if places is None or places.ndim != 1 or GATHER.of(chosen).axis % x.typed.rank != 1 or not isinstance(size, int):
        return None
    return places % size


def _picked(m: Match, x: Node, places: Array) -> Node:
    values = places.astype(np.int64)
    return m.root.like(kind=GATHER, op=Gather(1), inputs=(x, m.param("places", TensorType("i64", values.shape), lambda: values)))


def _is_of_channels(part: Node) -> bool:
    op: Slice = SLICE.of(part)
    return len(op.axes) == 1 and op.axes[0] % part.typed.rank == 1


def _mixed(graph: Graph) -> frozenset[str]:
    """What only slices of channels read."""
    makers = [node for node in graph.ops if node.kind in (RESHAPE, GATHER) and node not in graph.outputs and node.typed.rank > 2]
    return frozenset(
        node.name for node in makers if all(reader.kind is SLICE and _is_of_channels(reader) for reader in graph.readers[node])
    )


CHOSEN = Pat((GATHER,), (ANY(), CONST("places")), bind="chosen")
ONCE = Pat((GATHER,), (ANY(), CONST("places")), bind="chosen", uses=1)  # another reader still needs the copy


def pick_channels(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %a = reshape(%x) {shape=[N,2,3,H,W]}; %b = transpose(%a) {perm=[0,2,1,3,4]}; %y = reshape(%b) {shape=[N,6,H,W]}

    After: %y = gather(%x, %y.places) {axis=1}
    """
    rules = (
        Rule("shuffle", Pat((RESHAPE,)), shuffle),
        Rule("cut", Pat((SLICE,), (CHOSEN,)), functools.partial(cut, _mixed(graph.live))),
        Rule("ordered", Pat(CONVS, (ONCE, CONST("w"), CONST("b", optional=True))), ordered),
    )
    return rewrite(graph, rules, ledger)
