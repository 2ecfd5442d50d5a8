"""Concatenations into which their operands are written, planned and executed: by each family, in parts, and where it may not be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.cuda.kernels.kernel import VIEW
from convc.backends.tvm.cuda.kernels.layout import Stored
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.ir.binding import specialize
from convc.tests.support.emulated import run_emulated, run_fixed_emulated
from convc.tests.support.graphs import typed_graph

# An inception module: three branches are written in place, the last by the kernel that adds up parts where sums are split.
MODULE = """graph @module(%x: f16[N,32,8,8]) {
    %w1 = param : f16[16,32,1,1] %c1 = conv2d(%x, %w1) %r1 = relu(%c1)
    %w2 = param : f16[24,32,3,3] %c2 = conv2d(%x, %w2) {pads=[1,1,1,1]}
    %p = max_pool(%x) {kernel=[3,3], pads=[1,1,1,1]} %w3 = param : f16[10,32,3,3] %c3 = conv2d(%p, %w3) {pads=[1,1,1,1]} %r3 = sigmoid(%c3)
    %y = concat(%r1, %c2, %r3) {axis=1}
    return %y
}"""
# What the pool reads as well is copied, what the transposed layer leaves is not.
SKIP = """graph @skip(%x: f16[2,8,6,6]) {
    %w = param : f16[16,8,3,3] %s = conv2d(%x, %w) {pads=[1,1,1,1]}
    %p = max_pool(%s) {kernel=[2,2], strides=[2,2]}
    %v = param : f16[16,24,2,2] %u = conv_transpose2d(%p, %v) {strides=[2,2]}
    %k = concat(%s, %u) {axis=1}
    %z = param : f16[5,40,1,1] %y = conv2d(%k, %z)
    return %y
}"""
FAMILIES = """graph @families(%x: f16[2,16,5,6], %q: f16[2,8,5,6]) {
    %d = param : f16[16,1,3,3] %a = conv2d(%x, %d) {groups=16, pads=[1,1,1,1]}
    %b = avg_pool(%x) {kernel=[3,3], pads=[1,1,1,1]}
    %c = max_pool(%x) {kernel=[3,3], pads=[1,1,1,1]}
    %e = tanh(%c) %g = global_max_pool(%x) %f = mul(%b, %g)
    %h = local_response_norm(%x) {size=3}
    %m = max_pool(%x) {kernel=[5,6]} %n = resize(%m) {mode="nearest", scales=[5.0,6.0]}
    %w = param : f16[16,16,1,1] %i = conv2d(%x, %w) %j = add(%i, %x)
    %s = param {init=ones} : f16[16] %t = param {init=small} : f16[16] %o = batch_norm(%x, %s, %t, %t, %s)
    %y = concat(%a, %e, %f, %q, %h, %n, %j, %o) {axis=1}
    return %y
}"""
# What is flattened is a view, which no kernel writes anywhere; a cast's kernel stores by another type, and within the concatenation.
SCORES = """graph @scores(%x: f16[2,16,4,4], %z: f16[2,32], %q: bf16[2,12]) {
    %w = param : f16[16,16,3,3] %c = conv2d(%x, %w) {pads=[1,1,1,1]} %g = global_avg_pool(%c) %f = flatten(%g)
    %u = param : f16[24,32] %d = dense(%z, %u) %y = concat(%f, %d) {axis=1}
    %v = param : f16[8,40] %o = dense(%y, %v) %h = cast(%o) {to=bf16}
    %r = param : bf16[16,12] %t = dense(%q, %r) %k = concat(%h, %t) {axis=1}
    return %k
}"""


def test_what_nobody_else_reads_is_written_in_place() -> None:
    graph = typed_graph(MODULE)
    assert gpu_plan(graph).lines()[-2:] == ["view in place: y", "leave: y"]
    assert "concat" not in "\n".join(gpu_plan(graph).lines())
    assert "conv 3x3, tile 64x16 by mma.sync, sums in 2 parts: c3, r3" in gpu_plan(specialize(graph, {"N": 1})).lines()
    assert "concat of 1, 1 in place: k" in gpu_plan(typed_graph(SKIP)).lines()
    assert "concat of 1, 7 in place: y" in gpu_plan(typed_graph(FAMILIES)).lines()
    wanted = {"view: f", "concat of 1, 1 in place: y", "pointwise: h", "view in place: k"}
    assert wanted <= set(gpu_plan(typed_graph(SCORES)).lines())


def test_a_view_has_no_result_to_store() -> None:
    (view,) = (work.kernel for work in gpu_plan(typed_graph(SCORES)).works.values() if work.kernel.name == VIEW)
    with pytest.raises(ValueError, match="a view has no kernel that could store its result as Stored"):
        view.storing(Stored(channels=40))


def test_what_is_said_of_a_result_twice_holds_together() -> None:
    by_type, within = Stored("bfloat16"), Stored(channels=24, first=8)
    assert by_type.then(within) == within.then(by_type) == Stored("bfloat16", 24, 8)
    assert within.then(Stored(channels=64, first=16)) == Stored(channels=64, first=24)


@pytest.mark.parametrize(
    "lines",
    [
        "%a = max_pool(%x) {kernel=[1,1]} %y = concat(%a, %a)",
        "%a = max_pool(%x) {kernel=[1,1]} %b = relu(%a) %y = concat(%x, %a)",
        "%y = concat(%x, %x)",
    ],
)
def test_what_is_read_twice_or_given_is_copied(lines: str) -> None:
    results = "%y, %b" if "%b" in lines else "%y"
    plan = gpu_plan(typed_graph(f"graph @g(%x: f16[2,8,4,4]) {{ {lines} return {results} }}"))
    assert "concat: y" in plan.lines()


def test_a_concatenation_within_another_is_copied() -> None:
    """Its own operands are written there, and would not move with it."""
    nested = """graph @nested(%x: f16[2,16,4,4]) { %a = max_pool(%x) {kernel=[1,1]} %b = avg_pool(%x) {kernel=[1,1]} %k = concat(%a, %b) {axis=1}
        %d = avg_pool(%x) {kernel=[1,1]} %y = concat(%k, %d) {axis=1} return %y }"""
    assert {"view in place: k", "concat of 1, 1 in place: y"} <= set(gpu_plan(typed_graph(nested)).lines())


@pytest.mark.parametrize("text", [SKIP, FAMILIES, SCORES, MODULE.replace("[N,", "[1,")], ids=["skip", "families", "scores", "split sums"])
def test_with_a_plan_of_memory_they_are_right(apart: Callable[..., Any], tmp_path: Path, text: str) -> None:
    apart(run_fixed_emulated, text, tmp_path)


def test_for_any_batch_they_are_right(apart: Callable[..., Any], tmp_path: Path) -> None:
    apart(run_emulated, MODULE, tmp_path, [{"N": 3}, {"N": 1}])
