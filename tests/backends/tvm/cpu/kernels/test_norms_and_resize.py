"""Kernels of local response normalization and resize."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.norms import local_response_norm, neighbouring_channels
from convc.backends.tvm.cpu.kernels.resize import can_resize, resize, tables
from convc.backends.tvm.cpu.plan import plan
from convc.ir.ops.norm import LOCAL_RESPONSE_NORM, LocalResponseNorm
from convc.ir.ops.resize import COORDINATES, RESIZE, ROUNDINGS, Resize
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("shape", "op"),
    [
        ((1, 96, 9, 11), LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, bias=1.0)),
        ((2, 20, 3, 5), LocalResponseNorm(size=4, alpha=0.5, beta=0.5, bias=2.0)),
        ((3, 37, 3, 5), LocalResponseNorm(size=40, alpha=0.5, beta=0.6, bias=2.0)),
        ((1, 5, 3, 3), LocalResponseNorm(size=1, alpha=1.0, beta=1.0, bias=1.0)),
        ((2, 20, 3, 5), LocalResponseNorm(size=3, alpha=0.5, beta=0.75, bias=0.0)),
    ],
)
def test_local_response_norm(shape: tuple[int, int, int, int], op: LocalResponseNorm, named: bool) -> None:
    x = draw(*shape) * 3
    function = local_response_norm(op, None if named else shape[0], *shape[1:])
    got = call(function, [into_blocks(x)], blocked_shape(*shape))
    assert np.isfinite(got).all(), "lanes of padding too"
    np.testing.assert_allclose(from_blocks(got, shape[1]), LOCAL_RESPONSE_NORM.meaning(op, x.astype(np.float64)), rtol=2e-6)


@pytest.mark.parametrize(("channels", "before", "after"), [(96, 2, 2), (37, 3, 20), (20, 0, 1)])
def test_sums_of_neighbouring_channels(channels: int, before: int, after: int) -> None:
    x = draw(2, channels, 3, 5)
    got = call(neighbouring_channels(None, channels, 3, 5, before, after), [into_blocks(x)], blocked_shape(2, channels, 3, 5))
    padded = np.pad(x.astype(np.float64), ((0, 0), (before, after), (0, 0), (0, 0)))
    wanted = sum(padded[:, first : first + channels] for first in range(before + after + 1))
    np.testing.assert_allclose(from_blocks(got, channels), wanted, rtol=1e-6, atol=1e-5)


def test_a_convolution_after_a_norm_without_bias() -> None:
    text = """graph @g(%x: f32[N,20,5,5]) {
        %w = param : f32[6,20,1,1]
        %n = local_response_norm(%x) {size=3, alpha=1.0, bias=0.0}
        %y = conv2d(%n, %w)
        return %y }"""
    build_and_hold(typed_graph(text), {"N": 1}, {"N": 2})


RESIZES = [
    *(Resize((2.0, 2.0), mode, coordinates) for mode in ("nearest", "bilinear") for coordinates in COORDINATES),
    *(Resize((1.5, 0.7), "nearest", "half_pixel", rounding) for rounding in ROUNDINGS),
    Resize((1.5, 3.0), "bilinear", "half_pixel_symmetric"),
    Resize((1.0, 1.0), "bilinear", "pytorch_half_pixel", sizes=(3, 1)),
    Resize((1.0, 1.0), "nearest", "align_corners", sizes=(1, 9)),
]


@pytest.mark.parametrize("shape", [(2, 20, 5, 7), (1, 16, 6, 2)])
@pytest.mark.parametrize("op", RESIZES, ids=str)
def test_resize(shape: tuple[int, int, int, int], op: Resize) -> None:
    x = draw(*shape)
    wanted = RESIZE.meaning(op, x.astype(np.float64))
    for batch in (None, shape[0]):
        got = call(resize(op, batch, *shape[1:]), [into_blocks(x), *tables(op, *shape[2:])], blocked_shape(*wanted.shape))
        np.testing.assert_allclose(from_blocks(got, shape[1]), wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("shape", "op"),
    [
        ((1, 21, 3, 7), Resize((2.0, 8.0), "bilinear", "half_pixel")),
        ((2, 16, 5, 16), Resize((1.5, 1.0), "bilinear", "align_corners")),
        ((2, 5, 4, 50), Resize((3.0, 0.4), "bilinear", "half_pixel")),  # columns are read once at most
        ((2, 20, 3, 9), Resize((2.0, 2.0), "nearest", "asymmetric", "floor")),
    ],
    ids=str,
)
def test_a_resize_out_of_blocks_has_the_same_digits(shape: tuple[int, int, int, int], op: Resize, named: bool) -> None:
    x, batch = draw(*shape), None if named else shape[0]
    wanted = RESIZE.meaning(op, x.astype(np.float64))
    operands = [into_blocks(x), *tables(op, *shape[2:])]
    got = call(resize(op, batch, *shape[1:], out_of_blocks=True), operands, wanted.shape)
    assert np.array_equal(got, from_blocks(call(resize(op, batch, *shape[1:]), operands, blocked_shape(*wanted.shape)), shape[1]))
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)


def test_what_the_caller_alone_reads_is_resized_out_of_blocks() -> None:
    text = """graph @g(%x: f32[N,20,3,9]) {
        %w = param : f32[6,20,1,1]
        %c = conv2d(%x, %w)
        %y = resize(%c) {scales=[2.0,2.0], mode=bilinear}
        %z = resize(%c) {scales=[3.0,1.0], mode=bilinear}
        return %y, %z }"""
    graph = typed_graph(text)
    calls = [(call.kernel, call.node.name) for call in plan(graph).calls]
    assert calls[-3:] == [("resize", "y"), ("resize", "z"), ("unpack", "z")], "rows of 9 columns fill no vector"
    build_and_hold(graph, {"N": 1}, {"N": 3})
    read = typed_graph(text.replace("return %y", "%r = relu(%y) return %y, %r"))
    assert ("unpack", "y") in [(call.kernel, call.node.name) for call in plan(read).calls]


def test_cubic_has_no_kernel() -> None:
    assert can_resize(Resize(mode="nearest"))
    assert not can_resize(Resize(mode="cubic"))
    assert not can_resize(Resize(mode="bilinear", antialias=True))
    assert not can_resize(Resize(sizes=(3, 4), policy="not_larger"))
    assert not can_resize(Resize(coordinates="tf_crop_and_resize", roi=(0, 0, 1, 1)))
