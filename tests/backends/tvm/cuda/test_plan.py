"""Which nodes of a network of 16 bits run in kernels of ours, and that the network they make is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends import reference
from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.library.run import LoadedLibrary
from convc.ir.binding import specialize
from convc.tests.support.emulated import held_to_noise, run_emulated
from convc.tests.support.graphs import normal_inputs, typed_graph

RESIDUAL = """graph @residual(%x: f32[N,3,12,10]) {
    %h = cast(%x) {to=f16}
    %w1 = param : f16[20,3,3,3]
    %b1 = param : f16[20]
    %c1 = conv2d(%h, %w1, %b1) {strides=[2,2], pads=[1,1,1,1]}
    %r1 = relu(%c1)
    %w2 = param : f16[20,20,3,3]
    %c2 = conv2d(%r1, %w2) {pads=[1,1,1,1]}
    %a2 = add(%r1, %c2)
    %r2 = relu(%a2)
    %s = transpose(%r2) {perm=[0,2,3,1]}
    %f = flatten(%r2)
    %w3 = param : f16[12,600]
    %d = dense(%f, %w3)
    %w4 = param : f16[10,12]
    %e = dense(%d, %w4)
    return %e, %s
}"""
# No slope bounds what a root makes of an error near 0, and an exponential has one as great as itself.
STEEP = RESIDUAL.replace("%s = transpose(%r2) {perm=[0,2,3,1]}", "%q = sqrt(%r2) %s = tan(%q) %t = exp(%r2)").replace(
    "%e, %s", "%e, %s, %t"
)
LINES = """graph @lines(%x: bf16[2,20,20]) {
    %w = param : bf16[16,20,3]
    %c = conv1d(%x, %w) {pads=[1,1], strides=[2]}
    return %c
}"""


def test_layout_changes_at_the_borders_alone() -> None:
    graph = typed_graph(RESIDUAL)
    assert gpu_plan(graph).lines() == [
        "enter: h",
        "conv 3x3, tile 64x32 by mma.sync: c1, r1",
        "conv 3x3, tile 64x32 by mma.sync: c2, a2, r2",
        "leave: r2",
        "stock: s",
        "conv 6x5, tile 64x16 by mma.sync: f, d",
        "conv 1x1, tile 64x16 by mma.sync: e",
        "leave: e",
    ]
    assert "tile 16x64 by mma.sync, sums in 3 parts: f, d" in "\n".join(gpu_plan(specialize(graph, {"N": 8})).lines())
    assert gpu_plan(specialize(graph, {"N": 1})).lines()[-3:] == ["matvec 6x5: f, d", "matvec 1x1: e", "leave: e"]


def test_roots_and_exponentials_are_kernels_of_ours() -> None:
    lines = gpu_plan(typed_graph(STEEP)).lines()
    assert "pointwise: q" in lines
    assert "pointwise: t" in lines
    assert "stock: s" in lines


def test_what_is_steep_is_held_to_the_noise_of_its_precision(apart: Callable[..., Any], tmp_path: Path) -> None:
    assert apart(held_to_noise, STEEP.replace("[N,", "[3,"), tmp_path) == []


def test_weights_lie_alike_for_every_batch() -> None:
    graph = typed_graph(RESIDUAL)
    plans = [gpu_plan(specialize(graph, {"N": batch})) for batch in (1, 8, 256)]
    taken = [[(argument.name, argument.shape, argument.dtype) for argument in plan.arguments] for plan in [gpu_plan(graph), *plans]]
    assert all(each == taken[0] for each in taken)


def test_float32_has_kernels_of_ours_only_as_tf32() -> None:
    graph = typed_graph(RESIDUAL.replace("f16", "f32"))
    assert gpu_plan(graph).works == {}
    assert "conv 3x3, tile 64x32 by mma.sync: c2, a2, r2" in gpu_plan(graph, tf32=True).lines()


def _off_by_tf32(folder: Path) -> float:
    graph = specialize(typed_graph(RESIDUAL.replace("f16", "f32")), {"N": 2})
    emulated()
    inputs = normal_inputs(graph)
    got = LoadedLibrary.load(build_cuda(graph, folder, tf32=True, check=False).library).run(inputs)
    wanted = reference.run(graph, inputs, "f64")
    return float(max(abs(got[name] - wanted[name]).max() / abs(wanted[name]).max() for name in wanted))


def test_tf32_rounds_factors_and_no_more(apart: Callable[..., Any], tmp_path: Path) -> None:
    assert 2**-17 < apart(_off_by_tf32, tmp_path) < 2**-10


@pytest.mark.parametrize("text", [RESIDUAL, pytest.param(RESIDUAL.replace("[N,", "[3,"), marks=pytest.mark.slow), LINES])
def test_networks_are_right(apart: Callable[..., Any], text: str, tmp_path: Path) -> None:
    sizes = [{"N": 3}, {"N": 1}] if "[N," in text else [{}]
    for counted in apart(run_emulated, text, tmp_path, sizes):
        assert counted["mma_macs"] > 0
        assert counted["ldmatrix_cycles"] == counted["ldmatrix_matrices"]
