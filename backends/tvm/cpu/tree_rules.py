"""The rules for element-wise ops that are computed together, and sums of what they leave.

From a node on, all is taken along up to the furthest value through which whatever reads it must come, as long as that fits. What only
repeats elements, for an image or for each window of one, is read where it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ....ir.dims import Expr
from ....ir.graph import Node
from ....ir.ops.conv_transpose import CONV_TRANSPOSE2D
from ....ir.ops.elementwise import DIV, POW
from ....ir.ops.rearrange import EXPAND
from ....ir.ops.reduce import REDUCE_MEAN, REDUCE_SUM
from ....ir.ops.unary import SQRT
from .kernels.epilogue import STEPS
from .kernels.formulas import has_roots
from .kernels.layout import LANES, constants
from .kernels.trees import CONDITIONS, FORMULAS, Leaf, Line, Tree, blocked_tree, column_sums, image_sums, plain_tree, row_sums
from .laid import Argument
from .plain import shown
from .work import Surroundings, Work, batch_of, can_pack, extents, is_blocked, packed

__all__ = ["elements_together", "sums_of_images", "sums_of_rows", "windows_together"]

MOST_LINES, MOST_LEAVES = 24, 8


@dataclass(frozen=True, slots=True)
class _Together:
    """Nodes in order, of which `own` are read by none but one another, and what they read, in order."""

    inside: tuple[Node, ...]
    own: tuple[Node, ...]
    leaves: tuple[Node, ...]

    @property
    def lines(self) -> list[Node]:
        return [node for node in self.inside if not _repeats(node)]


def elements_together(around: Surroundings, node: Node) -> Work | None:
    """The largest of such groups that begins with a node; None where it has no more than that, and has a kernel of its own."""
    for root in reversed(list(_ends(around, node))):
        found = _group(around, root)
        if node not in found.own or not _is_there(around, found) or root.typed.dtype != "f32":
            continue
        work = _blocked(around, root, found) if _is_in_blocks(around, root, found) else _plain(root, found)
        if work is not None:
            return work
    return None


def windows_together(around: Surroundings, node: Node) -> Work | None:
    """What follows the way back through averages of windows that lie side by side: each is read once for all of its elements."""
    return elements_together(around, node) if _repeats(node) else None


def sums_of_rows(around: Surroundings, node: Node) -> Work | None:
    """Over the last axes or the first of what lies plainly: of what element-wise ops leave, which is not stored."""
    (x,), rank = node.inputs, node.inputs[0].typed.rank
    if node.typed.dtype != "f32" or x in around.in_blocks or shown(x) is None:
        return None
    axes, is_mean = {axis % rank for axis in node.op.axes}, node.kind is REDUCE_MEAN
    is_last = axes == set(range(rank - len(axes), rank))
    if not axes or not (is_last or axes == set(range(len(axes)))) or len(axes) == rank:
        return None
    split = rank - len(axes) if is_last else len(axes)
    found = _summed(around, x)
    if any(leaf in around.in_blocks for leaf in found.leaves) or (places := _places(x, found.leaves, split)) is None:
        found, places = _Together((), (), (x,)), {x: "full"}
    if (rows := _rows(x, split)) is None:
        return None
    tree = _tree(found, found.leaves, places)
    made = shown_as(node)
    if is_last and (None in shown_as(x)) != (None in made):
        return None
    if is_last:
        kernel = row_sums.of(made, rows, tree, is_mean=is_mean)
    else:
        kernel = column_sums.of(made, rows, None if None in shown_as(x) else 1, tree, is_mean=is_mean)
    return Work((node,), kernel, found.leaves, plain=frozenset([*found.leaves, node]))


def sums_of_images(around: Surroundings, node: Node) -> Work | None:
    """Over the pixels of each image, of what lies in blocks, as the way back through a gate of squeeze-and-excite has them."""
    (x,) = node.inputs
    if not (is_blocked(x) and is_blocked(node) and x.typed.rank == node.typed.rank == 4) or {axis % 4 for axis in node.op.axes} != {2, 3}:
        return None
    found = _summed(around, x)
    alone = {x: "full"} if x in around.in_blocks else None
    places = _places_in_blocks(around, x, found) if found.lines else alone
    if places is None or "window" in places.values() or node.typed.dtype != "f32":
        return None
    if not any(leaf in around.in_blocks for leaf in found.leaves):
        return None
    given, arguments, full, tree = _read_in_blocks(node, found, places, extents(node)[0])
    kernel = image_sums.of(batch_of(x), *extents(x), tree, is_mean=node.kind is REDUCE_MEAN)
    return Work((node,), kernel, (*given, *full), arguments, plain=frozenset(leaf for leaf in given if places[leaf] == "one"))


def _summed(around: Surroundings, x: Node) -> _Together:
    """What is computed on the way, where nothing but sums reads it."""
    is_stored = x in around.graph.outputs or any(reader.kind not in (REDUCE_SUM, REDUCE_MEAN) for reader in around.graph.readers[x])
    work = around.works.get(x)
    if not is_stored and work is not None:
        found = _group(around, x, frozenset(work.covers))
        if found.lines and _is_there(around, found) and len(found.leaves) <= MOST_LEAVES:
            return found
    return _Together((), (), (x,))


def _is_there(around: Surroundings, found: _Together) -> bool:
    """Whether what is read has a value of its own, and is not only on the way within another kernel."""
    return all(leaf not in around.covered or leaf in around.works for leaf in found.leaves)


def shown_as(node: Node) -> tuple[int | None, ...]:
    return tuple(None if isinstance(dim, Expr) else dim for dim in node.typed.shape)


def _ends(around: Surroundings, node: Node) -> Iterator[Node]:
    """The node, and each value after it that all which reads it comes to."""
    graph, seen = around.graph, 0
    while True:
        yield node
        front = set(graph.readers[node])
        if node in graph.outputs or not front:
            return
        while True:
            first = min(front, key=graph.positions.__getitem__)
            if not _fits(around, first, node) or (seen := seen + 1) > MOST_LINES:
                return
            if len(front) == 1:
                break
            if first in graph.outputs:
                return
            front = (front - {first}) | set(graph.readers[first])
            if not front:
                return
        node = first


def _fits(around: Surroundings, node: Node, root: Node, again: frozenset[Node] = frozenset()) -> bool:
    """Whether a node may be computed with a root; those that are computed `again` have work already."""
    if (node in around.covered and node not in again) or node.typed.shape != root.typed.shape:
        return False
    if node.kind is POW and not has_roots(_exponent(node) or 0.0):
        return False
    return _repeats(node) or (node.kind in FORMULAS and node.typed.dtype in ("f32", "bool") and _reads_floats(node))


def _exponent(node: Node) -> float | None:
    """Of a power whose every element has the same, if that is known without a look at weights."""
    recipe = node.inputs[1].weights.recipe if node.kind is POW and node.inputs[1].weights is not None else None
    return recipe.value if recipe is not None and recipe.init == "full" else None


def _repeats(node: Node) -> bool:
    """Whether it only lays elements side by side again, for a longer axis or for windows, of ones, that neither overlap nor leave gaps."""
    if node.kind is not CONV_TRANSPOSE2D:
        return node.kind is EXPAND
    (x, w, *bias), op = node.inputs, node.op
    recipe = w.weights.recipe if w.weights is not None else None
    is_one = recipe is not None and (recipe.init == "ones" or (recipe.init == "full" and recipe.value == 1))
    is_side_by_side = op.strides == w.typed.shape[2:] and op.dilations == (1, 1) and not any((*op.pads, *op.output_padding))
    is_own = w.typed.shape[:2] == (op.groups, 1) == (x.typed.shape[1], 1)
    return node.typed.dtype == "f32" and is_one and is_side_by_side and is_own and not bias


def _read(node: Node) -> tuple[Node, ...]:
    """The operands whose elements are read."""
    return node.inputs[:1] if _repeats(node) or node.kind is POW else node.inputs


def _reads_floats(node: Node) -> bool:
    return all(operand.typed.dtype == "f32" or operand.kind in CONDITIONS for operand in node.inputs)


def _group(around: Surroundings, root: Node, again: frozenset[Node] = frozenset()) -> _Together:
    """Of a root: all that only the group reads; and conditions, which are computed again wherever they are read."""
    graph, inside = around.graph, list[Node]()
    waiting = [root]
    own = {root}
    while waiting and len(inside) < MOST_LINES:
        node = max(waiting, key=graph.positions.__getitem__)
        waiting.remove(node)
        is_known = node.kind in CONDITIONS and node.typed.shape == root.typed.shape and _reads_floats(node)
        is_alone = node is root or (node not in graph.outputs and all(reader in own for reader in graph.readers[node]))
        if not (is_known or (is_alone and _fits(around, node, root, again))):
            continue
        if is_alone:
            own.add(node)
        inside.append(node)
        waiting += [operand for operand in dict.fromkeys(_read(node)) if operand not in waiting and operand.inputs]
    inside.reverse()
    leaves = dict.fromkeys(operand for node in inside for operand in _read(node) if operand not in inside)
    return _Together(tuple(inside), tuple(node for node in inside if node in own), tuple(leaves))


def _is_in_blocks(around: Surroundings, root: Node, found: _Together) -> bool:
    full = [leaf for leaf in found.leaves if leaf.typed.shape == root.typed.shape]
    return is_blocked(root) and root.typed.rank == 4 and (any(leaf in around.in_blocks for leaf in full) or not full)


def _tree(found: _Together, leaves: tuple[Node, ...], places: dict[Node, Any]) -> Tree:
    numbers = {leaf: i for i, leaf in enumerate(leaves)}
    lines = list[Line]()
    for node in found.inside:
        if _repeats(node):
            numbers[node] = numbers[node.inputs[0]]
            continue
        numbers[node] = len(leaves) + len(lines)
        op = _exponent(node) if node.kind is POW else node.op
        lines.append(Line(node.kind, op, tuple(numbers[operand] for operand in _read(node))))
    return Tree(tuple(Leaf(places[leaf], shown_as(leaf)) for leaf in leaves), tuple(lines))


def _ordered(found: _Together, places: dict[Node, Any]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    small = tuple(leaf for leaf in found.leaves if places[leaf] != "full")
    return small, tuple(leaf for leaf in found.leaves if places[leaf] == "full")


def _plain(root: Node, found: _Together) -> Work | None:
    if len(found.leaves) > MOST_LEAVES or not found.lines or any(leaf.typed.dtype != "f32" for leaf in found.leaves) or shown(root) is None:
        return None
    for split in range(root.typed.rank, -1, -1):
        if (places := _places(root, found.leaves, split)) is not None and (rows := _rows(root, split)) is not None:
            break
    else:
        return None
    if not {"each", "last"} & set(places.values()):
        rows = 1, math.prod(rows)
    small, full = _ordered(found, places)
    tree = _tree(found, (*small, *full), places)
    return Work(found.own, plain_tree.of(shown_as(root), rows, tree), small, others=full, plain=frozenset([*small, *full, root]))


def _rows(root: Node, split: int) -> tuple[int, int] | None:
    """Rows of an image and places of each; a size that has a name is that of the rows."""
    shape = shown_as(root)
    if None in shape[split:]:
        return None
    return math.prod(dim for dim in shape[:split] if dim is not None), math.prod(dim for dim in shape[split:] if dim is not None)


def _places(root: Node, leaves: tuple[Node, ...], split: int) -> dict[Node, Any] | None:
    """What each is of rows that end with the axis before `split`; None where one is nothing of the kind."""
    shape, places = root.typed.shape, dict[Node, Any]()
    for leaf in leaves:
        own = (*(1,) * (len(shape) - leaf.typed.rank), *leaf.typed.shape)
        if leaf.typed.dtype != "f32" or len(own) != len(shape):
            return None
        if all(dim == 1 for dim in own):
            places[leaf] = "one" if shape != own else "full"
        elif own == shape:
            places[leaf] = "full"
        elif own[:split] == shape[:split] and all(dim == 1 for dim in own[split:]):
            places[leaf] = "each"
        elif own[split:] == shape[split:] and all(dim == 1 for dim in own[:split]):
            places[leaf] = "last"
        else:
            return None
    return places


def _blocked(around: Surroundings, root: Node, found: _Together) -> Work | None:
    """What a batch norm's way back is made of is left to its own kernel: steps alone, by channels' numbers."""
    places = _places_in_blocks(around, root, found)
    if places is None or (all(node.kind in STEPS for node in found.inside) and "channel" in places.values()):
        return None
    given, arguments, full, tree = _read_in_blocks(root, found, places, extents(root)[0])
    kernel = blocked_tree.of(batch_of(root), *extents(root), tree)
    return Work(found.own, kernel, given, arguments, full, frozenset(leaf for leaf in given if places[leaf] == "one"))


def _places_in_blocks(around: Surroundings, root: Node, found: _Together) -> dict[Node, Any] | None:
    """None where something is nothing of the kind, or lanes of padding would not stay harmless: a quotient by what may be 0 there."""
    places = {leaf: _place_in_blocks(around, root, leaf) for leaf in found.leaves}
    if len(found.leaves) > MOST_LEAVES or not found.lines or None in places.values():
        return None
    if any(node.kind is SQRT or (node.kind is DIV and places.get(node.inputs[1]) != "one") for node in found.lines):
        return None
    if extents(root)[0] % LANES and any(node.kind is POW for node in found.lines):
        return None
    return places


def _place_in_blocks(around: Surroundings, root: Node, leaf: Node) -> str | None:
    shape, own, channels = root.typed.shape, leaf.typed.shape, extents(root)[0]
    if leaf.typed.dtype != "f32":
        return None
    if own == shape and leaf.weights is None:
        return "full"
    if leaf.typed.numel == 1:
        return "one"
    is_image = own == (*shape[:2], 1, 1) and leaf.weights is None
    if own in ((channels, 1, 1), (1, channels, 1, 1)) and can_pack(leaf) and not (is_image and leaf in around.in_blocks):
        return "channel"
    if is_image:
        return "image"
    return "window" if own[:2] == shape[:2] and is_blocked(leaf) and leaf.weights is None else None


def _read_in_blocks(
    root: Node, found: _Together, places: dict[Node, Any], channels: int
) -> tuple[tuple[Node, ...], tuple[Argument, ...], tuple[Node, ...], Tree]:
    """What a kernel reads: operands, what is packed for it, and images as large as the root; and its tree of them, in this order."""
    small, full = _ordered(found, places)
    given, by_channel = (tuple(leaf for leaf in small if (places[leaf] == "channel") == is_one) for is_one in (False, True))
    arguments = tuple(packed(f"{root.name}.{leaf.name}", constants(channels), leaf) for leaf in by_channel)
    return given, arguments, full, _tree(found, (*given, *by_channel, *full), places)
