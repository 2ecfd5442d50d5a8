"""How kernels for CUDA are scheduled and lowered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from convc.backends.tvm.cuda.pipeline import compiled_for_cuda
from convc.backends.tvm.cuda.target import cuda_target
from convc.backends.tvm.host import tvm
from convc.backends.tvm.stock.lower import lower
from convc.tests.support.emulated import run_emulated, run_fixed_emulated
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import SMALL


def test_no_kernel_is_lowered_twice() -> None:
    """Whether a rule of dlight's fits shows when its schedule is lowered; what came of that is used."""
    host = tvm()
    lowered: list[str] = []

    @host.ir.instrument.pass_instrument
    class Noting:
        def run_before_pass(self, module: Any, info: Any) -> None:
            if info.name == "tirx.SplitHostDevice":
                lowered.extend(var.name_hint for var in module.get_global_vars())

    with host.transform.PassContext(instruments=[Noting()]):
        compiled_for_cuda(lower(typed_graph(SMALL), on_gpu=True), cuda_target())
    assert len(lowered) >= 5
    assert len(set(lowered)) == len(lowered)


GROUPED = "graph @g(%x: f32[2,3,1,3]) { %w = param : f32[3,1,1,3] %y = conv2d(%x, %w) {groups=3} return %y }"


def test_sums_along_several_axes_are_no_product_with_a_vector(apart: Callable[..., Any], tmp_path: Path) -> None:
    """dlight's rule for these would give each thread the sum of another, where the sizes are numbers and there are two images."""
    (counted,) = apart(run_emulated, GROUPED, tmp_path, [{}])
    assert counted["launches"] == 1


NARROW = "graph @g(%x: f32[1,7]) { %w = param : f32[3,7] %y = dense(%x, %w) return %y }"
WIDE = "graph @g(%x: f32[1,7]) { %w = param : f32[32,7] %y = dense(%x, %w) return %y }"


def test_results_of_a_product_with_a_vector_fill_its_rows_of_threads(apart: Callable[..., Any], tmp_path: Path) -> None:
    """dlight's rule has 16 rows, all of which store: of 3 results 13 beside the array."""
    apart(run_fixed_emulated, NARROW, tmp_path / "narrow")
    apart(run_fixed_emulated, WIDE, tmp_path / "wide")


CONSTANTS = "graph @g(%x: f32[2,4]) { %a = abs(%x) %n = neg(%a) %c = relu(%n) %y = lp_normalization(%c) {axis=0} return %y }"


def test_constants_of_the_plan_are_there_before_a_kernel_reads_them(apart: Callable[..., Any], tmp_path: Path) -> None:
    """TVM copies them on a stream of its own."""
    apart(run_fixed_emulated, CONSTANTS, tmp_path)
