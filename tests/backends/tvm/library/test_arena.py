"""One arena for what lies between kernels: planned, without overlap, in place where a kernel may write over what it reads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from convc.backends.tvm.library.arena import Arena
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.compiling.compile import compile_network
from convc.compiler.files.inputs import random_inputs
from convc.passes.analysis.memory import plan_memory
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold

VALUE = 16 * 12 * 12 * 4  # bytes of an image

HEAD = """graph @g(%x: f32[N,16,12,12]) {
  %w = param : f32[16,16,3,3]
  %v = param : f32[16,16,1,1]
"""
CHAIN = "%a = conv2d(%x, %w) {pads=[1,1,1,1]}  %b = conv2d(%a, %v)  "


def planned(text: str, tmp_path: Path) -> Arena | None:
    graph = typed_graph(f"{HEAD}  {text}\n}}\n")
    build_and_hold(graph, {"N": 1}, {"N": 3})
    return build_cpu(graph, tmp_path / "again" / "model.so", BuildOptions(single=False)).arena


@pytest.mark.parametrize(
    ("text", "in_place", "values"),
    [
        (CHAIN + "%c = conv2d(%b, %v)  %y = add(%c, %a)  %z = global_avg_pool(%y)  return %z", 1, 2),
        (CHAIN + "%c = conv2d(%b, %w) {pads=[1,1,1,1]}  %y = add(%a, %c)  %r = relu(%y)  %z = global_avg_pool(%r)  return %z", 1, 2),
        (CHAIN + "%y = add(%b, %a)  %z = global_avg_pool(%y)  return %z", 0, 2),  # %a is what is convolved too
        (CHAIN + "%c = conv2d(%b, %v)  %y = add(%c, %a)  %d = conv2d(%a, %v)  %e = mul(%d, %y)  %z = global_avg_pool(%e)  return %z", 1, 3),
        (CHAIN + "%c = conv2d(%b, %v)  %y = add(%c, %x)  %z = global_avg_pool(%y)  return %z", 1, 3),  # in that of the blocks of %x
        ("%a = relu(%x)  %b = sigmoid(%x)  %y = mul(%a, %b)  %z = global_avg_pool(%y)  return %z", 0, 2),  # one kernel for all three
    ],
)
def test_results_lie_in_the_place_of_what_dies(text, in_place, values, tmp_path: Path):
    arena = planned(text, tmp_path)
    assert arena is not None
    assert arena.in_place == in_place
    assert arena.size == arena.lower_bound == values * VALUE


def test_a_run_allocates_one_storage(tmp_path: Path):
    graph = typed_graph(f"{HEAD}  {CHAIN}%c = conv2d(%b, %v)  %y = add(%c, %a)  %p = max_pool(%y) {{kernel=[2,2]}}  return %p, %b\n}}\n")
    module = LoadedLibrary.load(build_cpu(graph, tmp_path / "model.so", BuildOptions(single=False)).library)
    calls: list[str] = []

    def watch(function, name, before, result, *arguments):
        calls.extend([name] if before else [])
        return 0

    module.watched(watch)(random_inputs(graph))
    assert calls.count("vm.builtin.alloc_storage") == 1 + 2, "the arena and two results"


def test_sizes_that_no_plan_can_know_stay_with_tvm():
    graph = typed_graph("graph @g(%x: f32[N,3,H,W]) {\n  %a = relu(%x)  %b = sigmoid(%a)  %y = mul(%b, %x)\n  return %y\n}\n")
    build_and_hold(graph, {"N": 1, "H": 5, "W": 7}, {"N": 2, "H": 3, "W": 1})


def test_the_plan_of_a_network_meets_its_bound(tmp_path: Path):
    """And is what a plan of the graph alone foretells, but for what residual sums save."""
    from convc.compiler.engines.optimize import optimize
    from convc.models import ZOO

    graph, _ = optimize(ZOO["resnet20"].network(), 2)
    arena = build_cpu(graph, tmp_path / "model.so", BuildOptions(single=False)).arena
    assert arena is not None
    assert arena.size == arena.lower_bound == 131_072
    assert plan_memory(graph).arena == 196_608
    assert arena.in_place == 9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory in use is read from /proc")
def test_an_artifact_has_the_measured_memory_beside_the_plan(tmp_path: Path):
    text = f"{HEAD}  {CHAIN}%c = conv2d(%b, %v)  %y = add(%c, %a)  %z = global_avg_pool(%y)  return %z\n}}\n"
    made = compile_network(typed_graph(text.replace("12,12", "256,256")), tmp_path / "net", threads=1)
    arena, measured = made.target.arena, made.target.peak
    assert arena.size == arena.lower_bound == 2 * 16 * 256 * 256 * 4
    assert arena.size <= measured.run < 2 * arena.size, "with workspace, but without another value"
    assert measured.process > measured.run
    report = (made.path / "report.txt").read_text()
    assert f"arena of {arena.size:,} bytes for an image" in report
    assert f"a run allocates {measured.run:,}" in report
    assert "Checked against float64, random input, one image and two\n" in report


def test_a_report_of_a_batch_in_numbers_counts_no_images(tmp_path: Path):
    made = compile_network(typed_graph(f"{HEAD}  {CHAIN}return %b\n}}\n".replace("[N,", "[3,")), tmp_path / "net", threads=1)
    report = (made.path / "report.txt").read_text()
    assert f"arena of {made.target.arena.size:,} bytes for a run;" in report
    assert "Checked against float64, random input\n" in report
