"""Element-wise ops that are computed together, and their sums, on rows and on blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.trees import Leaf, Line, Tree, blocked_tree, column_sums, image_sums, plain_tree, row_sums
from convc.ir.ops.compare import GREATER, WHERE
from convc.ir.ops.elementwise import DIV, MUL, POW, SUB
from convc.ir.ops.unary import EXP
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import blocked_shape, by_threads, call, draw, from_blocks, into_blocks, same_bits_by_threads

# (number, row, place, x, y): e^((x - row) place / number), where x is greater than y; x e^... elsewhere
LINES = (
    Line(SUB, SUB.Attrs(), (3, 1)),
    Line(MUL, MUL.Attrs(), (5, 2)),
    Line(DIV, DIV.Attrs(), (6, 0)),
    Line(EXP, EXP.Attrs(), (7,)),
    Line(GREATER, GREATER.Attrs(), (3, 4)),
    Line(MUL, MUL.Attrs(), (3, 8)),
    Line(WHERE, WHERE.Attrs(), (9, 8, 10)),
)


def tree(*shapes: tuple[int | None, ...], places: tuple[str, ...] = ("one", "each", "last", "full", "full")) -> Tree:
    return Tree(tuple(Leaf(place, shape) for place, shape in zip(places, shapes, strict=True)), LINES)  # type: ignore[arg-type]


def meaning(number: Array, row: Array, place: Array, x: Array, y: Array) -> Array:
    number, row, place, x = (each.astype(np.float64) for each in (number, row, place, x))
    e = np.exp((x - row) * place / number)
    return np.where(x > y, e, x * e)


def given(outer: int, inner: int) -> list[Array]:
    return [np.array(3, np.float32), draw(outer, 1), draw(inner), draw(outer, inner), draw(outer, inner)]


@pytest.mark.parametrize(("outer", "inner"), [(5, 37), (3, 5), (600, 32), (1, 1300)])
def test_rows(outer: int, inner: int) -> None:
    """Of a number of rows, and of any number of images of a row each; and their sums along rows and columns."""
    values = given(outer, inner)
    wanted = meaning(*values)
    scale = abs(wanted).max()
    for n, rows in ((outer, outer), (None, 1)):
        read = tree((), (n, 1), (inner,), (n, inner), (n, inner))
        assert abs(call(plain_tree((n, inner), (rows, inner), read), values, (outer, inner)) - wanted).max() <= 1e-6 * scale
        got = call(row_sums((n,), (rows, inner), read, is_mean=True), values, (outer,))
        assert abs(got - wanted.mean(1)).max() <= 1e-6 * scale
        got = call(column_sums((inner,), (rows, inner), None if n is None else 1, read, is_mean=n is None), values, (inner,))
        assert abs(got - (wanted.sum(0) if n else wanted.mean(0))).max() <= 1e-6 * scale * (outer if n else 1)


def test_sums_of_many_rows_round_as_sums_of_few() -> None:
    """All of one sign: one by one their error would grow to thousands of units in the last place."""
    x = abs(draw(1 << 15, 16)) + np.float32(1)
    leaf = Tree((Leaf("full", x.shape),), ())
    got = call(column_sums((16,), x.shape, 1, leaf, is_mean=False), [x], (16,))
    wanted = x.sum(0, dtype=np.float64)
    assert (abs(got - wanted) <= 64 * 2**-24 * wanted).all()


ROUNDED = np.float32(2.6915)  # added again and again, it is rounded to the same side for long


@pytest.mark.parametrize(
    ("sums", "shape"),
    [
        ("row", (1, 100_000)),
        ("row", (3, 4_195)),
        ("column", (1 << 18, 16)),
        ("image", (1, 65_536)),
        ("image", (65_536, 1)),
        ("image", (256, 256)),
        ("image", (67, 63)),
    ],
)
def test_sums_of_many_numbers_of_one_sign(sums: str, shape: tuple[int, int]) -> None:
    """64 in turn, then 64 such sums, in the same order on one thread and on two. In turn the long row was off by 500 units, a flat image by
    2,200, and one of 256x256, row by row, by 62.
    """
    outer, inner = shape
    made: Any
    if sums == "image":
        n, channels = 2, 20
        leaf = Tree((Leaf("full", (n, channels, *shape)),), ())
        kernel, made = image_sums(n, channels, *shape, leaf, is_mean=False), blocked_shape(n, channels, 1, 1)
        x, count = into_blocks(np.full((n, channels, *shape), ROUNDED)), outer * inner
    else:
        leaf, x = Tree((Leaf("full", shape),), ()), np.full(shape, ROUNDED)
        if sums == "row":
            kernel, made, count = row_sums((outer,), shape, leaf, is_mean=False), (outer,), inner
        else:
            kernel, made, count = column_sums((inner,), shape, 1, leaf, is_mean=False), (inner,), outer
    one, two = by_threads(kernel, [x], made)
    np.testing.assert_array_equal(one, two)
    got = from_blocks(one, 20) if sums == "image" else one
    assert (abs(got.astype(np.float64) / (count * float(ROUNDED)) - 1) <= 24 * 2**-24).all()


def test_threads_change_no_bit() -> None:
    x = draw(300, 400)
    leaf = Tree((Leaf("full", x.shape),), ())
    assert same_bits_by_threads(column_sums((400,), x.shape, 1, leaf, is_mean=False), [x], (400,))


def test_blocks() -> None:
    """A number for each channel, and one for each channel of an image."""
    n, channels, rows, cols = 3, 20, 4, 5
    number, image, channel = np.array(3, np.float32), draw(n, channels, 1, 1), draw(channels)
    x, y = draw(n, channels, rows, cols), draw(n, channels, rows, cols)
    for batch in (n, None):
        read = tree(
            (),
            (batch, channels, 1, 1),
            (channels,),
            *[(batch, channels, rows, cols)] * 2,
            places=("one", "image", "channel", "full", "full"),
        )
        operands = [number, into_blocks(image), block_channels(channel), into_blocks(x), into_blocks(y)]
        got = call(blocked_tree(batch, channels, rows, cols, read), operands, blocked_shape(n, channels, rows, cols))
        wanted = meaning(number, image, channel[:, None, None], x, y)
        assert abs(from_blocks(got, channels) - wanted).max() <= 1e-6 * abs(wanted).max()
        got = call(image_sums(batch, channels, rows, cols, read, is_mean=batch is None), operands, blocked_shape(n, channels, 1, 1))
        sums = wanted.sum((2, 3), keepdims=True) / (1 if batch else rows * cols)
        assert abs(from_blocks(got, channels) - sums).max() <= 2e-5 * abs(wanted).max()


def test_windows() -> None:
    """One number for each window of 2x3, for any number of images."""
    n, channels, rows, cols = 3, 20, 4, 9
    x, g = draw(n, channels, rows, cols), draw(n, channels, 2, 3)
    wanted = x * g.repeat(2, 2).repeat(3, 3)
    for batch in (n, None):
        leaves = Leaf("window", (batch, channels, 2, 3)), Leaf("full", (batch, channels, rows, cols))
        kernel = blocked_tree(batch, channels, rows, cols, Tree(leaves, (Line(MUL, MUL.Attrs(), (1, 0)),)))
        got = call(kernel, [into_blocks(g), into_blocks(x)], blocked_shape(n, channels, rows, cols))
        np.testing.assert_array_equal(from_blocks(got, channels), wanted)


@pytest.mark.parametrize("exponent", [-1.75, -0.75, 0.5, 2.0, -1.0, 2.25])
def test_powers(exponent: float) -> None:
    """Of quarters, by roots: within a few units, and at the ends of all numbers as a power is."""
    ends = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, -2.0, np.nan, 1e-12, 1e12, *abs(draw(24))], np.float32)
    tree = Tree((Leaf("full", ends.shape),), (Line(POW, exponent, (0,)),))
    got = call(plain_tree(ends.shape, (1, ends.size), tree), [ends], ends.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_allclose(got, np.power(ends.astype(np.float64), np.full(ends.shape, exponent)), rtol=5 * 2**-23)
