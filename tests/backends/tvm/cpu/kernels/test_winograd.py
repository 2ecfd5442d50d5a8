"""Winograd kernels against the reference in float64, and against their own rounding bound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.winograd.arrangement import Arrangement, Tiled, arrangement, packed_shape
from convc.backends.tvm.cpu.kernels.winograd.error import error_bound, noise, roundings
from convc.backends.tvm.cpu.kernels.winograd.kernel import winograd
from convc.backends.tvm.cpu.kernels.winograd.transforms import TILES, filter_transform, input_transform, output_transform, pack_tiles
from convc.backends.tvm.host import tvm
from convc.backends.tvm.processor import ZEN
from convc.ir.ops.activation import RELU, Relu
from convc.ir.ops.conv import CONV2D, Conv2d
from convc.ir.ops.elementwise import ADD, SUB, Add, Sub
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import blocked_shape, from_blocks, into_blocks, runner

PADS = (1, 1, 1, 1)
KINDS = [(m, r) for r, kinds in TILES.items() for m in kinds]
Run = Callable[[list[Array], tuple[int, ...]], Array]


def draw(seed: int, n: int, c_in: int, c_out: int, rows: int, cols: int, r: int = 3) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, c_in, rows, cols)).astype(np.float32)
    w = (rng.standard_normal((c_out, c_in, r, r)) / np.sqrt(r * r * c_in)).astype(np.float32)
    return x, w, rng.standard_normal(c_out).astype(np.float32)


def convolve(run: Run, m: int, pads: tuple[int, int, int, int], x: Array, w: Array, b: Array, *others: Array) -> Array:
    """What the kernel computes; lanes of padding hold garbage before, and something finite after."""
    c_out, _, r, _ = w.shape
    rows, cols = x.shape[2] + pads[0] + pads[2] - r + 1, x.shape[3] + pads[1] + pads[3] - r + 1
    operands = [into_blocks(x), pack_tiles(m, w), block_channels(b), *map(into_blocks, others)]
    result = run(operands, blocked_shape(x.shape[0], c_out, rows, cols))
    assert np.isfinite(result).all()
    return from_blocks(result, c_out)


def reference(pads: tuple[int, int, int, int], x: Array, w: Array, b: Array) -> Array:
    return CONV2D.meaning(Conv2d(pads=pads), *(array.astype(np.float64) for array in (x, w, b)))


@pytest.mark.parametrize(("m", "r"), KINDS)
@pytest.mark.parametrize(
    ("n", "c_in", "c_out", "rows", "cols", "pads", "form"),
    [
        (1, 64, 64, 56, 56, PADS, None),  # fused
        (1, 32, 48, 14, 14, PADS, None),
        (3, 20, 40, 13, 19, (1, 0, 1, 2), None),
        (1, 5, 3, 5, 6, (0, 0, 0, 0), None),  # one block of outputs
        (2, 16, 17, 3, 3, (0, 0, 0, 0), None),  # one output
        (1, 16, 16, 1, 1, (3, 2, 4, 1), None),  # more padding than input
        (3, 20, 40, 50, 51, (1, 0, 1, 2), Arrangement(True, 1, 7)),  # columns padded, an odd number of output blocks
        (2, 16, 32, 30, 31, (0, 1, 2, 3), Arrangement(False, 2, 4, strip=2)),
        (1, 16, 32, 30, 9, PADS, Arrangement(False, 1, 3, strip=3)),  # rows of padding in the last strip
        (4, 16, 32, 14, 15, PADS, Arrangement(False, 2, 4, strip=4, images=2)),
        (1, 16, 16, 14, 15, PADS, Arrangement(False, 1, 1, strip=4)),  # as many register tiles as lines of weights, or more
        (3, 20, 40, 83, 91, (1, 0, 1, 2), Arrangement(True, 1, 7)),  # so far that pixels are asked for
    ],
)
def test_agrees_with_the_reference_within_its_own_bound(m, r, n, c_in, c_out, rows, cols, pads, form):
    rows, cols = rows + r - 3, cols + r - 3  # the sizes above are for 3x3
    x, w, b = draw(m, n, c_in, c_out, rows, cols, r)
    run = runner(winograd(Tiled(m, n, c_in, c_out, rows, cols, pads, form=form, r=r)))
    got, expected = convolve(run, m, pads, x, w, b), reference(pads, x, w, b)
    error = abs(got - expected)
    assert error.max() < {4: 2e-6, 6: 2e-5}[m + r - 1] * abs(expected).max()
    worst = (error / error_bound(m, pads, x, w, b)).max()
    assert worst <= 1
    assert worst > 1e-3  # no bound that anything keeps


@pytest.mark.parametrize(("m", "r"), KINDS)
@pytest.mark.parametrize("channels", [16, 256])
def test_noise_is_what_we_say(m, r, channels):
    """Also where tiles are empty but for a pixel, whose error reaches outputs that it does not."""
    x, w, b = draw(3, 1, channels, 32, 14, 14, r)
    b, run = np.zeros_like(b), runner(winograd(Tiled(m, 1, channels, 32, 14, 14, PADS, r=r)))
    pixel = np.zeros_like(x)
    pixel[:, :, 5, 6] = x[:, :, 5, 6]
    for image in (x, np.maximum(x, 0), pixel):
        error = convolve(run, m, PADS, image, w, b) - reference(PADS, image, w, b)
        predicted = noise(m, PADS, image, w) * 2.0**-24
        assert 0.75 < np.sqrt((predicted**2).mean() / (error**2).mean()) < 1.33
        assert (abs(error) <= 8 * predicted).all()


@pytest.mark.parametrize(("m", "r"), KINDS)
@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize(
    ("c_out", "pools", "form"),
    [
        (40, False, Arrangement(True, 1, 7)),
        (40, True, Arrangement(True, 1, 3)),
        (16, False, Arrangement(False, 2, 4, strip=8)),
        (40, True, Arrangement(False, 1, 3, strip=5)),
    ],
)
def test_what_is_asked_for_lies_in_the_operands(m, r, batch, c_out, pools, form):
    """For every value of the loops around; a request is of a line that is there."""
    size = Tiled(m, batch, 20, c_out, 151, 177, (3, 2, 4, 1), pools=pools, form=form, r=r)
    asked = set[str]()
    for loops, place in requests(winograd(size).body):
        known = tvm().sym.Analyzer()
        for loop in loops:
            known.bind(loop.loop_var, tvm().ir.Range.from_min_extent(loop.min, loop.extent))
        for axis, (index, extent) in enumerate(zip(place.indices, place.source.shape, strict=True)):
            if batch is None and axis == 1:
                continue  # the analyzer knows no batch with a name
            bound = known.const_int_bound(index)
            assert 0 <= bound.min_value <= bound.max_value < int(extent)
        asked.add(place.source.name)
    assert asked == ({"A", "D"} if form.fused else {"U"})


def test_what_lies_near_is_not_asked_for():
    assert not list(requests(winograd(Tiled(4, 1, 20, 40, 31, 37, PADS, form=Arrangement(True, 1, 3))).body))


@pytest.mark.parametrize(("m", "r"), KINDS)
@pytest.mark.parametrize("form", [Arrangement(True, 1, 8), Arrangement(False, 1, 8, strip=8)])
def test_positions_lie_an_odd_number_of_lines_apart(m, r, form):
    """Or those of 8 tiles by 4 blocks of channels would all begin at one place in a cache."""
    host = tvm()
    kernel = winograd(Tiled(m, 1, 64, 64, 32, 32, PADS, form=form, r=r))
    module, passes = host.IRModule({"main": kernel.with_attr("global_symbol", "main")}), host.s_tir.transform
    for each in (
        passes.LowerInitBlock,
        passes.PlanAndUpdateBufferAllocationLocation,
        passes.ConvertBlocksToOpaque,
        passes.CompactBufferAllocation,
    ):
        module = each()(module)
    found = re.findall(r"^ *([VM]) = .*strides=\((.*)\)\)$", module.script(), re.MULTILINE)
    assert sorted(name for name, _ in found) == ["M", "V"]
    for _, strides in found:
        _, row, position, *_ = (int(number) for number in re.findall(r"int64\((\d+)\)", strides))
        assert position % 32 == 16
        assert row == (m + r - 1) * position


def requests(at: Any, loops: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each request's loops, and the load whose address it takes."""
    kind = type(at).__name__
    if kind == "For":
        yield from requests(at.body, (*loops, at))
    elif kind == "SeqStmt":
        for part in at.seq:
            yield from requests(part, loops)
    elif kind == "SBlockRealize":
        yield from requests(at.block.body, loops)
    elif kind == "IfThenElse":
        yield from requests(at.then_case, loops)
    elif kind == "Evaluate" and at.value.op.name == "tirx.prefetch":
        yield loops, at.value.args[0].args[0]


@pytest.mark.parametrize("form", [None, Arrangement(True, 1, 3)])
def test_a_symbolic_batch(form):
    x, w, b = draw(0, 3, 20, 24, 17, 9)
    run = runner(winograd(Tiled(4, None, 20, 24, 17, 9, PADS, form=form)))
    for images in (x, x[:1]):
        assert (abs(convolve(run, 4, PADS, images, w, b) - reference(PADS, images, w, b)) <= error_bound(4, PADS, images, w, b)).all()


@pytest.mark.parametrize("form", [None, Arrangement(True, 1, 2)])
def test_steps_follow_before_the_store(form):
    x, w, b = draw(1, 2, 16, 24, 10, 11)
    one, two = (np.random.default_rng(seed).standard_normal((2, 24, 10, 11)).astype(np.float32) for seed in (5, 6))
    steps = (EpilogueStep(ADD, Add(), 1), EpilogueStep(RELU, Relu()), EpilogueStep(SUB, Sub(), 1, first=True))
    run = runner(winograd(Tiled(2, 2, 16, 24, 10, 11, PADS, steps, form=form)))
    expected = two - np.maximum(reference(PADS, x, w, b) + one, 0)
    assert np.allclose(convolve(run, 2, PADS, x, w, b, one, two), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize(
    ("n", "c_in", "c_out", "rows", "cols", "form"),
    [
        (1, 64, 64, 56, 56, None),  # fused
        (2, 20, 40, 13, 19, None),  # an odd number of blocks; windows of the last row and column would be half empty
        (1, 5, 3, 5, 6, None),
        (3, 20, 40, 31, 30, Arrangement(True, 1, 3)),
        (1, 16, 32, 30, 9, Arrangement(False, 1, 3, strip=3)),
    ],
)
def test_the_greatest_of_pairs_of_rows_and_columns_is_that_of_what_would_be_stored(m, n, c_in, c_out, rows, cols, form):
    x, w, b = draw(m, n, c_in, c_out, rows, cols)
    x[0, 0, 2, 2] = np.nan  # stays
    steps = (EpilogueStep(RELU, Relu()),)
    operands = [into_blocks(x), pack_tiles(m, w), block_channels(b)]
    stored, pooled = (
        runner(winograd(Tiled(m, n, c_in, c_out, rows, cols, PADS, steps, pools, form)))(operands, blocked_shape(n, c_out, *size))
        for pools, size in ((False, (rows, cols)), (True, (rows // 2, cols // 2)))
    )
    pairs = stored[:, :, : rows // 2 * 2, : cols // 2 * 2].reshape(-1, n, rows // 2, 2, cols // 2, 2, 16)
    assert np.isnan(stored).any()
    assert not np.isnan(pooled).all()
    assert np.array_equal(pairs.max((3, 5)), pooled, equal_nan=True)


@pytest.mark.parametrize(("m", "r"), KINDS)
def test_the_transforms_compute_a_convolution(m, r):
    """Y = A^T ((G g) * (B^T d)) is the correlation of d with g, exactly but for float64 (Winograd 1980)."""
    rng = np.random.default_rng(0)
    d, g = rng.standard_normal(m + r - 1), rng.standard_normal(r)
    products = (filter_transform(m, r) @ g) * np.array(input_transform(float, list(d)))
    assert np.allclose(output_transform(float, m, list(products)), np.correlate(d, g), atol=1e-14)


def test_packed_weights_are_rounded_once_and_padded_by_zeros():
    w = np.random.default_rng(0).standard_normal((20, 5, 3, 3))
    packed, rows = pack_tiles(4, w), filter_transform(4, 3)
    assert packed.shape == packed_shape(6, 5, 20) == (6, 6, 1, 1, 16, 2, 16)
    assert packed.dtype == np.float32
    assert packed.flags.c_contiguous
    assert packed[2, 3, 0, 0, 4, 1, 3] == np.float32(rows[2] @ w[19, 4] @ rows[3])
    assert not packed[..., 5:, :, :].any()
    assert not packed[..., 1, 4:].any()


def test_one_tile_of_ones_has_the_bound_of_its_roundings():
    """All of x, w of one sign and one channel: the bound may not be less than what a single rounding does, nor more than all of them."""
    x, w = np.ones((1, 1, 6, 6)), np.ones((1, 1, 3, 3))
    bound = error_bound(2, (0, 0, 0, 0), x, w)
    assert (bound >= 2.0**-24 * 9).all()
    assert (bound <= roundings(2, 3, 1) * 2.0**-24 * 9 * 36).all()


def test_the_rule_fuses_large_maps_of_few_channels():
    assert arrangement(4, 1, 64, 64, 56, 56).fused
    assert not arrangement(4, 1, 64, 64, 14, 14).fused
    assert not arrangement(4, 1, 512, 512, 28, 28).fused
    assert 28 % arrangement(4, 1, 128, 128, 112, 112).strip == 0  # V and M of the whole map would be 28 MiB
    assert arrangement(4, 1, 128, 128, 116, 116).strip > 4  # though 29 rows of tiles have no divisor
    assert arrangement(2, 8, 512, 512, 7, 7).images > 1  # weights are read once for several images
    assert arrangement(2, None, 512, 512, 7, 7).images == 1
    assert not arrangement(4, 1, 128, 128, 112, 112).fused
    assert arrangement(4, 1, 128, 128, 112, 112, ZEN).fused  # its cores share a cache that is near
    assert [arrangement(4, n, 128, 128, 28, 28, ZEN).fused for n in (1, 8)] == [False, True]
    assert not arrangement(4, 8, 512, 512, 14, 14, ZEN).fused
    fused = [arrangement(4, n, 64, 64, 32, 32).fused for n in (1, 2, 8, None)]
    assert fused == [False, True, True, True]  # what lies between, of all images
