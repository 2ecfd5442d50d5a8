"""Products that are no load for tensor cores: which they are, by arithmetic, and that ordinary units compute them right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cuda.kernels.choice import MOST_MACS, is_by_vectors, is_direct
from convc.backends.tvm.cuda.kernels.direct import direct_macs, sharers_of
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS
from convc.backends.tvm.cuda.kernels.matvec import matvec, parts_of, vectors_of
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.gpus.architectures import ARCHITECTURES
from convc.ir.ops.activation_variants import GELU, Gelu
from convc.tests.support.emulated import run_emulated
from convc.tests.support.graphs import typed_graph
from convc.tests.support.machine_code import compiled, needs_nvcc
from convc.tests.support.own_kernels import emitted

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


# Of one channel, of six, of groups, written in place and after a pool; of sixteen channels, which is not.
FEW = """graph @few(%x: f16[2,1,14,13]) {
    %w1 = param : f16[6,1,5,5] %b1 = param : f16[6] %c1 = conv2d(%x, %w1, %b1) {pads=[2,2,2,2]} %r1 = relu(%c1)
    %p = max_pool(%r1) {kernel=[2,2], strides=[2,2]} %w2 = param : f16[24,6,3,2] %c2 = conv2d(%p, %w2) {strides=[2,1], pads=[1,0,0,1]}
    %w3 = param : f16[11,6,3,2] %c3 = conv2d(%p, %w3) {strides=[2,1], pads=[1,0,0,1]} %s = sigmoid(%c3) %m = mul(%s, %c3)
    %k = concat(%c2, %m) {axis=1} %w4 = param : f16[24,8,2,3] %c4 = conv2d(%c2, %w4) {groups=3, dilations=[2,1]}
    %w5 = param : f16[10,24,3,3] %c5 = conv2d(%c2, %w5) return %k, %c4, %c5 }"""


def test_few_products_of_few_channels_are_planned_for_ordinary_units() -> None:
    graph = typed_graph(FEW)
    assert [line for line in gpu_plan(graph).lines() if "conv" in line or "direct" in line] == [
        "direct 5x5, 16 threads a sum: c1, r1",
        "direct 3x2, 4 threads a sum: c2",
        "direct 3x2, 4 threads a sum: c3, s, m",
        "direct 2x3, 4 threads a sum: c4",
        "conv 3x3, tile 16x64 by mma.sync: c5",
    ]


@pytest.mark.parametrize("of", ["f16", pytest.param("bf16", marks=pytest.mark.slow)])
def test_few_products_of_few_channels_are_right(apart: Callable[..., Any], of: str, tmp_path: Path) -> None:
    apart(run_emulated, FEW.replace("f16", of), tmp_path, [{}])


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


@pytest.mark.parametrize(
    ("sizes", "right"),
    [
        (ConvSizes(32, 1, 6, 32, 32, (5, 5)), True),  # of LeNet, 5.5 times by tensor cores
        (ConvSizes(32, 6, 16, 14, 14, (5, 5)), True),
        (ConvSizes(256, 6, 16, 14, 14, (5, 5)), False),  # more than a launch
        (ConvSizes(None, 1, 6, 32, 32, (5, 5)), False),  # a batch with a name may be 256
        (ConvSizes(1, 3, 24, 224, 224, (3, 3), (2, 2), (1, 1, 1, 1)), True),
        (ConvSizes(8, 3, 24, 224, 224, (3, 3), (2, 2), (1, 1, 1, 1)), False),
        (ConvSizes(1, 3, 64, 224, 224, (7, 7), (2, 2), (3, 3, 3, 3)), False),
        (ConvSizes(1, 8, 16, 14, 14, (3, 3)), False),  # nothing is wasted
        (ConvSizes(1, 15, 12, 5, 5, (3, 3)), True),
        (ConvSizes(1, 16, 12, 5, 5, (3, 3)), False),
        (ConvSizes(1, 440, 440, 7, 7, (3, 3), pads=(1, 1, 1, 1), groups=55), True),  # a group has 8
        (ConvSizes(8, 4, 96, 1, 1, PIXEL), True),
    ],
)
def test_few_products_of_few_channels_are_direct(sizes: ConvSizes, right: bool) -> None:
    assert is_direct(sizes, F16, H100) == right


def test_what_is_counted_is_what_threads_do() -> None:
    """Of the only chunk of channels, or of filters, what is there; else whole chunks. At the bound a launch takes as long."""
    assert direct_macs(ConvSizes(2, 3, 6, 9, 8, (3, 2))) == ConvSizes(2, 3, 6, 9, 8, (3, 2)).macs * 2
    assert direct_macs(ConvSizes(2, 12, 20, 5, 5, (3, 3))) == 2 * 9 * 24 * 9 * 16
    assert pytest.approx(2e-6) == MOST_MACS / (30e12 / 2)


def test_as_many_threads_share_a_sum_as_give_each_multiprocessor_a_block() -> None:
    """No more than there are taps."""
    found = [sharers_of(ConvSizes(batch, 6, 16, 14, 14, (5, 5)), H100) for batch in (1, 32, 128, 256)]
    assert found == [16, 8, 2, 1]
    assert sharers_of(ConvSizes(1, 4, 96, 1, 1, PIXEL), H100) == 1


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize(("of", "registers"), [("f16", 64), ("f32", 128)])
def test_four_vectors_and_a_long_formula_after_them_spill_nothing(of: str, registers: int, tmp_path: Path) -> None:
    kernel = emitted(matvec(ConvSizes(4, 4096, 1000, 1, 1, PIXEL), of, (EpilogueStep(GELU, Gelu()),)))
    (code,) = compiled(kernel.source, tmp_path, "sm_80").values()
    assert (code.stack, code.spilled) == (0, 0)
    assert code.registers <= registers


@pytest.mark.parametrize("count", [vectors_of, direct_macs])
def test_a_batch_with_a_name_has_no_number_of_vectors_or_products(count: Callable[[ConvSizes], int]) -> None:
    with pytest.raises(ValueError, match="this batch has a name"):
        count(ConvSizes(None, 64, 64, 1, 1, PIXEL))


def test_sums_are_split_where_filters_fill_no_gpu_and_a_part_is_worth_a_launch() -> None:
    """No part is without a round of its own."""
    found = {(c_in, c_out): parts_of(ConvSizes(1, c_in, c_out, 1, 1, PIXEL), F16, H100) for c_out in (10, 1000) for c_in in (512, 25088)}
    assert found == {(512, 10): 1, (25088, 10): 3, (512, 1000): 1, (25088, 1000): 1}
    for channels in range(2048, 200000, 2048):
        parts, rounds = parts_of(ConvSizes(1, channels, 10, 1, 1, PIXEL), F16, H100), channels // 2048
        assert parts == 1 or (parts - 1) * -(-rounds // parts) < rounds


def test_the_size_of_a_gpu_decides_about_parts_and_sharers() -> None:
    """An A100 has 108 multiprocessors, an H100 132, a B200 148: 70 blocks fill one of the first two, and 132 of 256 pixels too."""
    gpus = [ARCHITECTURES[name] for name in ("sm_80", "sm_90", "sm_100")]
    assert [parts_of(ConvSizes(1, 25088, 560, 1, 1, PIXEL), F16, arch) for arch in gpus] == [1, 1, 2]
    assert [sharers_of(ConvSizes(1, 6, 8, 176, 192, (3, 3), pads=(1, 1, 1, 1)), arch) for arch in gpus] == [1, 1, 2]


def test_there_are_few_parts_to_add() -> None:
    """A thread reads one after the other."""
    assert max(parts_of(ConvSizes(1, channels, 10, 1, 1, PIXEL), F16, H100) for channels in range(2048, 400000, 2048)) == 16
