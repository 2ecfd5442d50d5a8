"""How many products kernels do themselves, by the counts of the papers."""

from __future__ import annotations

import pytest

from convc.backends.tvm.cpu.kernels.strassen.quarters import QUARTERED
from convc.backends.tvm.cpu.products import products
from convc.tests.support.graphs import with_params

INPUTS = "%x: f32[2,32,14,14], %t: f32[98,32], %odd: f32[97,32]"
PARAMS = {"w3": "32,32,3,3", "w5": "32,32,5,5", "g3": "32,16,3,3", "w1": "64,32,1,1", "rows": "64,32"}
EACH = 32 * 32


@pytest.mark.parametrize(
    ("tile", "call", "expected"),
    [
        (0, "conv2d(%x, %w3) {pads=[1,1,1,1]}", 2 * EACH * 40**2),
        (4, "conv2d(%x, %w3) {pads=[1,1,1,1]}", 2 * EACH * 4**2 * 36),  # tiles of 16x16 for 14x14
        (2, "conv2d(%x, %w3) {pads=[1,1,1,1]}", 2 * EACH * 7**2 * 16),
        (2, "conv2d(%x, %w5) {pads=[2,2,2,2]}", 2 * EACH * 7**2 * 36),
        (4, "conv2d(%x, %g3) {pads=[1,1,1,1], groups=2}", EACH * 4**2 * 36),
        (4, "conv2d(%x, %w3) {pads=[2,2,2,2], dilations=[2,2]}", 2 * EACH * 4 * 2**2 * 36),  # four phases of 7x7
        (4, "conv_transpose2d(%x, %w3) {pads=[1,1,1,1]}", 2 * EACH * 4**2 * 36),
        (2, "conv2d_weight_gradient(%x, %x) {kernel=[3,3], pads=[1,1,1,1]}", 2 * EACH * 7**2 * 16),
        (4, "conv2d_weight_gradient(%x, %x) {kernel=[3,3], pads=[1,1,1,1]}", 2 * EACH * 484),
        (QUARTERED, "conv2d(%x, %w1)", 2 * EACH * 2 * 14**2 * 7 // 8),
        (QUARTERED, "dense(%t, %rows)", EACH * 2 * 98 * 7 // 8),
        (QUARTERED, "dense(%odd, %rows)", EACH * 2 * 98 * 7 // 8),  # the last row is its own neighbour
    ],
)
def test_kernels_do_fewer(tile: int, call: str, expected: int):
    (node,) = with_params(INPUTS, PARAMS, f"%y = {call}").outputs
    assert products(tile, node) == expected
