"""Products that are no load for tensor cores: which they are, by arithmetic, and that ordinary units compute them right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.cuda.kernels.choice import is_by_vectors
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS
from convc.backends.tvm.cuda.kernels.matvec import parts_of, vectors_of
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.gpus.architectures import ARCHITECTURES
from convc.tests.support.emulated import run_emulated
from convc.tests.support.graphs import typed_graph

H100, F16 = ARCHITECTURES["sm_90"], ELEMENTS["f16"]
# Gates, scores of an image, scores of scores, those written in place: of channels that fill no chunk.
VECTORS = """graph @vectors(%x: f16[2,11,5,3]) {
    %g = global_avg_pool(%x) %w1 = param : f16[20,11,1,1] %b1 = param : f16[20] %c1 = conv2d(%g, %w1, %b1) %r1 = relu(%c1)
    %w2 = param : f16[11,20,1,1] %c2 = conv2d(%r1, %w2) %s = sigmoid(%c2) %m = mul(%x, %s)
    %f = flatten(%m) %w3 = param : f16[70,165] %d = dense(%f, %w3) %t = tanh(%d)
    %w4 = param : f16[16,70] %e = dense(%t, %w4) %w5 = param : f16[9,70] %b5 = param : f16[9] %h = dense(%t, %w5, %b5)
    %k = concat(%e, %h) {axis=1} return %k, %t }"""
LONG = """graph @long(%x: f16[1,16,32,32]) { %p = max_pool(%x) {kernel=[1,1]} %f = flatten(%p) %w = param : f16[10,16384] %b = param : f16[10]
    %d = dense(%f, %w, %b) %r = relu(%d) return %r }"""


def test_gates_and_scores_are_planned_as_vectors() -> None:
    assert [line for line in gpu_plan(typed_graph(VECTORS)).lines() if "conv" in line or "matvec" in line] == [
        "matvec 1x1: c1, r1",
        "matvec 1x1: c2, s",
        "matvec 5x3: f, d, t",
        "matvec 1x1: e",
        "matvec 1x1: h",
    ]
    assert "matvec 32x32, sums in 2 parts: f, d, r" in gpu_plan(typed_graph(LONG)).lines()


@pytest.mark.parametrize(
    ("n", "of"), [("4", "f16"), *(pytest.param(n, of, marks=pytest.mark.slow) for n, of in (("1", "f16"), ("3", "bf16"), ("1", "bf16")))]
)
def test_vectors_are_right(apart: Callable[..., Any], n: str, of: str, tmp_path: Path) -> None:
    (counted,) = apart(run_emulated, VECTORS.replace("f16[2,", f"f16[{n},").replace("f16", of), tmp_path, [{}])
    assert counted["mma_macs"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("of", ["f16", "bf16"])
def test_sums_in_parts_are_right(apart: Callable[..., Any], of: str, tmp_path: Path) -> None:
    apart(run_emulated, LONG.replace("f16", of), tmp_path, [{}])


PIXEL = (1, 1)


@pytest.mark.parametrize(
    ("sizes", "right"),
    [
        (ConvSizes(1, 1024, 1000, 1, 1, PIXEL), True),
        (ConvSizes(4, 1024, 1000, 1, 1, PIXEL), True),
        (ConvSizes(5, 1024, 1000, 1, 1, PIXEL), False),  # more than half of the columns of a product
        (ConvSizes(None, 1024, 1000, 1, 1, PIXEL), False),  # a batch with a name may be 256
        (ConvSizes(1, 256, 4096, 6, 6, (6, 6)), True),
        (ConvSizes(1, 64, 64, 2, 2, PIXEL), True),
        (ConvSizes(1, 64, 64, 2, 2, PIXEL, (2, 2)), False),  # one pixel of four
        (ConvSizes(1, 64, 64, 3, 3, (3, 3), pads=(1, 1, 1, 1)), False),
        (ConvSizes(1, 64, 64, 1, 1, (3, 3), pads=(1, 1, 1, 1)), False),
        (ConvSizes(1, 3, 64, 2, 2, (2, 2)), False),  # filters have 4 channels of a pixel, and the image 8
        (ConvSizes(1, 4, 96, 1, 1, PIXEL), True),
        (ConvSizes(1, 64, 64, 1, 1, PIXEL, groups=2), False),
    ],
)
def test_few_results_of_rows_as_they_lie_are_vectors(sizes: ConvSizes, right: bool) -> None:
    assert is_by_vectors(sizes) == right


def test_a_batch_with_a_name_has_no_number_of_vectors() -> None:
    with pytest.raises(ValueError, match="this batch has a name"):
        vectors_of(ConvSizes(None, 64, 64, 1, 1, PIXEL))


def test_sums_are_split_where_filters_fill_no_gpu_and_a_part_is_worth_a_launch() -> None:
    """No part is without a round of its own."""
    found = {(c_in, c_out): parts_of(ConvSizes(1, c_in, c_out, 1, 1, PIXEL), F16, H100) for c_out in (10, 1000) for c_in in (512, 25088)}
    assert found == {(512, 10): 1, (25088, 10): 3, (512, 1000): 1, (25088, 1000): 1}
    for channels in range(2048, 200000, 2048):
        parts, rounds = parts_of(ConvSizes(1, channels, 10, 1, 1, PIXEL), F16, H100), channels // 2048
        assert parts == 1 or (parts - 1) * -(-rounds // parts) < rounds
