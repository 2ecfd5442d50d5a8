"""Dilated convolutions by Winograd's form: every phase of the image is an image of its own."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.winograd.arrangement import Arrangement, Tiled
from convc.backends.tvm.cpu.kernels.winograd.error import error_bound, noise
from convc.backends.tvm.cpu.kernels.winograd.kernel import winograd
from convc.backends.tvm.cpu.kernels.winograd.transforms import tile_filters
from convc.backends.tvm.cpu.plan import plan
from convc.ir.ops.conv import CONV2D
from convc.ir.ops.elementwise import SUB
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks
from convc.tests.support.graphs import with_params
from convc.tests.support.tvm_modules import build_and_hold

STEPS = (EpilogueStep(SUB, SUB.Attrs(), 1, first=True),)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize(
    ("batch", "form"), [(1, None), (None, None), (2, Arrangement(True, 1, 2)), (2, Arrangement(False, 1, 2, strip=2, images=2))]
)
def test_phases_lie_within_each_other(m: int, batch: int | None, form: Arrangement | None) -> None:
    """Five by four pixels in each of two times three, with pads that differ."""
    n, dilations, pads = batch or 3, (2, 3), (2, 3, 2, 0)
    x, w, b = draw(n, 20, 10, 12), draw(40, 20, 3, 3), draw(40)
    true = meant(x, w, b, pads, dilations)
    other = draw(*true.shape)
    size = Tiled(m, batch, 20, 40, 5, 4, (1, 1, 1, 0), STEPS, form=form, dilations=dilations)
    operands = [into_blocks(x), tile_filters(size).pack(w), block_channels(b), into_blocks(other)]
    error = from_blocks(call(winograd(size), operands, blocked_shape(n, 40, *true.shape[2:])), 40) - (other - true)
    worst = (abs(error) / (error_bound(m, pads, x, w, b, dilations) + 2.0**-24 * abs(other - true))).max()
    assert 1e-3 < worst <= 1
    if batch == 1:
        assert 0.5 < np.sqrt((error**2).mean() / (2.0**-48 * noise(m, pads, x, w, dilations) ** 2).mean()) < 2


def meant(x: Array, w: Array, b: Array, pads: tuple[int, int, int, int], dilations: tuple[int, int]) -> Array:
    return CONV2D.meaning(CONV2D.Attrs((1, 1), pads, dilations), *(v.astype(np.float64) for v in (x, w, b)))


@pytest.mark.parametrize(
    ("attributes", "kernel"),
    [
        ("{pads=[2,2,2,2], dilations=[2,2]}", "winograd F(4x4)"),
        ("{pads=[4,2,4,2], dilations=[4,2]}", "winograd F(4x4)"),
        ("{pads=[8,8,8,8], dilations=[8,8]}", "direct"),  # phases of three rows
        ("{pads=[3,3,3,3], dilations=[3,3]}", "direct"),  # 28 rows are no whole phases
        ("{pads=[2,1,2,3], dilations=[2,2]}", "direct"),
        ("{pads=[2,2,2,2], dilations=[2,2], strides=[2,2]}", "direct"),
    ],
)
def test_which_dilations_have_phases(attributes: str, kernel: str) -> None:
    size = "24,24" if "dilations=[8" in attributes else "32,16" if "dilations=[4" in attributes else "28,28"
    graph = with_params(f"%x: f32[N,20,{size}]", {"w": "24,20,3,3"}, f"%c = conv2d(%x, %w) {attributes} %y = relu(%c)")
    (work,) = plan(graph).works.values()
    assert work.kernel.name == kernel
    build_and_hold(graph, {"N": 1}, {"N": 2})
