"""What passes make of networks for kernels of ours: by the prices of the target no pass trades a launch for a copy that nobody makes there."""

from __future__ import annotations

import pytest

from convc.backends.tvm.cuda.plan import gpu_plan
from convc.compiler.report.text import stage_line
from convc.compiler.targets.prices import cuda_prices
from convc.compiler.targets.table import target_named
from convc.ir.graph import Graph
from convc.ir.ops.shape import CONCAT
from convc.models import ZOO
from convc.passes.manager import Step, run_passes
from convc.passes.pipelines import LEVELS
from convc.passes.rewriting.ledger import Ledger
from convc.passes.to_float16 import to_float16

PRICES = cuda_prices("fp16")
# Those that trade one kind of work for another, and not sum for sum.
TRADERS = ("sink-transposes", "merge-siblings", "split-concat", "compose-linear", "hoist-stride")
NETWORKS = (
    "squeezenet1_1",
    "googlenet",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2",
    "regnet_y_400mf",
    "efficientnet_b0",
    "densenet121",
    "resnet18",
    "resnet50_v1_5",
    "yolo_v8n",
    "unet_resnet18",
)


def _kernels(graph: Graph, steps: tuple[Step, ...]) -> int:
    better, _ = run_passes(graph, steps, PRICES)
    return sum(not call.kernel.startswith("view") for call in gpu_plan(to_float16(better, Ledger(PRICES))).calls)


@pytest.mark.parametrize("name", NETWORKS)
def test_passes_make_no_more_kernels(name: str) -> None:
    """-O2 than -O1, and each that trades than none in its place."""
    graph = ZOO[name].network()
    with_all = _kernels(graph, LEVELS[2])
    assert 0 < with_all <= _kernels(graph, LEVELS[1])
    without = {trader: _kernels(graph, tuple(step for step in LEVELS[2] if step.name != trader)) for trader in TRADERS}
    assert {trader: count for trader, count in without.items() if count < with_all} == {}


def test_a_concat_is_a_copy_only_for_kernels_that_are_not_ours() -> None:
    target = target_named("cuda:sm_90a")
    assert [CONCAT in target.prices(precision).in_place for precision in target.precisions] == [False, True, True, True]
    assert not target_named("cpu").prices("fp32").in_place


def test_an_estimate_says_of_what_machine_it_is() -> None:
    graph = ZOO["mobilenet_v2"].network(**ZOO["mobilenet_v2"].small)
    told = dict[str, list[str]]()
    for name in ("cpu", "cuda"):
        _, trace = run_passes(graph, LEVELS[2], target_named(name).prices("fp32"))
        befores = [stage.graph for stage in trace]
        told[name] = [line for before, stage in zip(befores, trace[1:], strict=False) if "estimated" in (line := stage_line(before, stage))]
    assert told["cpu"]
    assert not any(" on " in line for line in told["cpu"])
    assert told["cuda"]
    assert all(" on an H100" in line for line in told["cuda"])
