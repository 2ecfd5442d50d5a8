"""Adjoints of linear maps, which gradient rules are made of: windows, steps along an axis, a matrix of an axis. Terms in, terms out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..dims import Dim
from ..terms import Term
from ..types import Array
from .window import Borders, PerAxis, dilated

__all__ = ["along", "spread", "stepped"]


def spread(g: Term, w: Term, strides: PerAxis, pads: Borders, dilations: PerAxis, groups: int, sizes: Sequence[Dim]) -> Term:
    """A transposed convolution whose result has these sizes: rows that no window has read are its output padding."""
    axes = len(sizes)
    extra: list[int] = []
    for axis, size in enumerate(sizes):
        taps = w.shape[2 + axis]
        assert isinstance(taps, int)
        left = size - ((g.shape[2 + axis] - 1) * strides[axis] + dilated(taps, dilations[axis]) - pads[axis] - pads[axis + axes])
        extra.append(left if isinstance(left, int) else strides[axis] - 1)  # of a named size as many as there may be, cut off again
    window = {"strides": strides, "pads": pads, "dilations": dilations, "groups": groups, "output_padding": tuple(extra)}
    whole = g.op(f"conv_transpose{axes}d", w, **window)
    for axis, size in enumerate(sizes, 2):
        whole = whole.cut(axis, 0, size)
    return whole


def stepped(g: Term, axis: int, start: int, step: int, size: Dim) -> Term:
    """The adjoint of x[start::step] along an axis of x of that size: zeros between the elements, before and after."""
    taken, none = g.shape[axis], (0,) * g.rank
    if step > 1:
        apart = g.reshape(*g.shape[: axis + 1], 1, *g.shape[axis + 1 :])
        apart = apart.pad((*none, 0), (*none[: axis + 1], step - 1, *none[axis + 1 :]))
        g = apart.reshape(*g.shape[:axis], taken * step, *g.shape[axis + 1 :])
    left = size - start - taken * step
    after = left if isinstance(left, int) else step - 1  # a named size has at most so many behind the last one taken
    padded = g.pad((*none[:axis], start, *none[axis + 1 :]), (*none[:axis], max(after, 0), *none[axis + 1 :]))
    return padded.cut(axis, 0, size)


def along(g: Term, axis: int, shape: tuple[int, int], matrix: Callable[[], Array]) -> Term:
    """The adjoint of a matrix [results, elements] along an axis: its transpose, along the same."""
    table = g.table(shape, matrix)
    if axis == g.rank - 1:
        return g.op("matmul", table)
    others = [each for each in range(g.rank) if each != axis]
    perm = (*others, axis)
    return g.transpose(*perm).op("matmul", table).transpose(*(perm.index(each) for each in range(g.rank)))
