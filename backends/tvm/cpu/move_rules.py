"""The rules for moves of plain values: transposes, slices and joins, from wherever what they move lies; and of pixels, one from another."""

from __future__ import annotations

from ....ir.dims import Expr
from ....ir.graph import Node
from ....ir.ops.group import LAYER_NORM
from ....ir.ops.shape import CONCAT, PAD, RESHAPE, TRANSPOSE
from .convolution_rules import bias_of
from .kernels import channels_last, moves, strides
from .kernels import layer_norm as norms
from .kernels.layout import constants
from .plain import shown
from .reading import Pattern, contiguous, pattern_of
from .work import Surroundings, Work, batch_of, extents, is_blocked, only_reader, packed

__all__ = ["move", "set_apart"]


def move(around: Surroundings, node: Node) -> Work | None:
    """A value that was only moved, or joined of such, from where it lies: what lies in between need not be there."""
    if node.kind is TRANSPOSE and _moves_channels(around, node):
        return channel_norm(around, node) or _channels_moved(around, node)
    return _moved(around, node)


def channel_norm(around: Surroundings, node: Node) -> Work | None:
    """A norm of the features of each pixel between two transposes, where nothing else reads what lies in between: it stays in blocks."""
    (x,), norm = node.inputs, only_reader(around.graph, node)
    back = only_reader(around.graph, norm) if norm is not None and norm.kind is LAYER_NORM and norm.inputs[0] is node else None
    if x not in around.in_blocks or norm is None or back is None or back.kind is not TRANSPOSE:
        return None
    order, op, constants_of = TRANSPOSE.of(node).perm, LAYER_NORM.of(norm), norm.inputs[1:]
    is_back = tuple(order[axis] for axis in TRANSPOSE.of(back).perm) == tuple(range(len(order)))
    if not is_back or op.axis not in (-1, len(order) - 1) or any(each.weights is None for each in constants_of):
        return None
    channels, rows, cols = extents(x)
    scale = packed(f"{norm.name}.scale", constants(channels), constants_of[0])
    shift = bias_of(norm, channels, list(constants_of[1:]))
    return Work((node, norm, back), norms.channel_norm.of(batch_of(x), channels, rows, cols, op.epsilon), (x,), (scale, shift))


def _moves_channels(around: Surroundings, node: Node) -> bool:
    """Whether channels become the last axis of what lies in blocks, or the second of an image."""
    (x,), perm, rank = node.inputs, tuple(TRANSPOSE.of(node).perm), node.typed.rank
    if not (is_blocked(x) and is_blocked(node)):
        return False
    is_last = x in around.in_blocks and perm == (0, *range(2, rank), 1)
    return is_last or (x not in around.in_blocks and rank == 4 and perm == (0, rank - 1, *range(1, rank - 1)))


def _channels_moved(around: Surroundings, node: Node) -> Work:
    (x,) = node.inputs
    image = x if x in around.in_blocks else node
    other = node if image is x else x
    pixels = tuple(dim for dim in other.typed.shape[1:-1] if isinstance(dim, int))
    kernel = channels_last.to_last if image is x else channels_last.from_last
    return Work((node,), kernel.of(batch_of(x), *extents(image), pixels), (x,), plain=frozenset([other]))


def _moved(around: Surroundings, node: Node) -> Work | None:
    parts = node.inputs if node.kind is CONCAT else (node,)
    patterns = [pattern_of(around, part) for part in parts]
    shapes = shown(*(pattern.base for pattern in patterns), node)
    if shapes is None or any(part.weights is not None for part in node.inputs[1:]):
        return None
    if node.kind is not CONCAT and patterns[0].base is node:
        return None
    axis = CONCAT.of(node).axis % node.typed.rank if node.kind is CONCAT else 0
    made, start = list[strides.Part](), 0
    for pattern in patterns:
        part = _part(pattern, node, start, axis)
        if part is None:
            return None
        made.append(part)
        start += part.extents[axis - len(pattern.shape)] if node.kind is CONCAT else 0
    bases = tuple(pattern.base for pattern in patterns)
    return Work((node,), strides.moved.of(tuple(shapes[:-1]), shapes[-1], tuple(made)), bases, plain=frozenset([*bases, node]))


def _part(pattern: Pattern, node: Node, start: int, axis: int) -> strides.Part | None:
    """What becomes a part of `node`, from `start` on along an axis; of an image where these are the first axis, in order, on both sides."""
    write, first = contiguous(node.typed.shape), 0
    if any(isinstance(dim, Expr) for dim in node.typed.shape):
        base = pattern.base.typed.shape
        if node.typed.shape[:1] != base[:1] or pattern.shape[:1] != base[:1] or (node.kind is CONCAT and axis == 0):
            return None
        if not isinstance(base[0], Expr) or pattern.strides[0] != contiguous(base)[0]:
            return None
        first = 1
    extents, read, to = ([dim for dim in each[first:] if isinstance(dim, int)] for each in (pattern.shape, pattern.strides, write))
    offset = pattern.offset
    if not isinstance(offset, int) or not len(extents) == len(read) == len(to) == node.typed.rank - first:
        return None
    return strides.Part(tuple(extents), tuple(read), tuple(to), offset, start * to[axis - first])


def set_apart(around: Surroundings, node: Node) -> Work | None:
    """Zeros between the pixels of a value in blocks, as the way back through a slice by steps has them: columns, then rows, or either."""
    (x,), covers, steps = node.inputs, list[Node](), [1, 1]
    if x not in around.in_blocks or x.typed.rank != 4 or x.typed.dtype != "f32" or not is_blocked(x):
        return None
    for axis in (3, 2):
        found = _apart(around, covers[-1] if covers else x, node if not covers else only_reader(around.graph, covers[-1]), axis)
        if found is not None:
            covers += found
            steps[axis - 2] = _extent(found[1], axis + 1)
    if not covers:
        return None
    return Work(tuple(covers), moves.pixels_apart.of(batch_of(x), *extents(x), (steps[0], steps[1])), (x,))


def _apart(around: Surroundings, x: Node, split: Node | None, axis: int) -> list[Node] | None:
    """Of an axis: an axis more of 1, zeros behind that, and both joined. Nothing else reads what lies in between."""
    pad = only_reader(around.graph, split) if split is not None and split.kind is RESHAPE else None
    joined = only_reader(around.graph, pad) if pad is not None and pad.kind is PAD else None
    if split is None or pad is None or joined is None or joined.kind is not RESHAPE:
        return None
    shape, op, count = x.typed.shape, PAD.of(pad), _extent(pad, axis + 1)
    is_split = split.typed.shape == (*shape[: axis + 1], 1, *shape[axis + 1 :])
    is_behind = op.pads == tuple((count - 1) * (place == 5 + axis + 1) for place in range(10)) and op.mode == "constant" and not op.value
    is_joined = joined.typed.shape == (*shape[:axis], _extent(x, axis) * count, *shape[axis + 1 :])
    return [split, pad, joined] if is_split and is_behind and is_joined else None


def _extent(node: Node, axis: int) -> int:
    extent = node.typed.shape[axis] if axis < node.typed.rank else 0
    return extent if isinstance(extent, int) else 0
