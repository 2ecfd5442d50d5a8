"""Cost, liveness and the memory plan, against hand-made cases, counted reads, and runs inside the arena."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convc import models
from convc.backends import reference
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.ir.binding import specialize
from convc.ir.errors import InvalidModel, UsageError
from convc.ir.graph import Graph, Node
from convc.ir.ops import OPS
from convc.ir.parser import parse_graph
from convc.ir.types import DTYPES
from convc.passes.analysis.cost import graph_cost, intensity, node_cost
from convc.passes.analysis.liveness import liveness, node_bytes
from convc.passes.analysis.memory import MemoryPlan, plan_memory
from convc.passes.analysis.memory_check import check_plan
from convc.passes.order_for_memory import order_for_memory
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.random_nets import deep, random_net, towers, wide
from convc.tests.support.tiers import GREAT

SEEDS = st.integers(0, 2**32)
SLOWEST = 300e-6  # seconds a node; 10e-6 to 30e-6 on an idle core

# Networks whose arena is larger than the live-set bound, whether in the small form and at which level, and why that cannot be helped.
GAPS = {("vit_b_16", False, 2): "the exact search stops before it finds or excludes less than 1.13 of the bound"}


def run_in_arena(graph: Graph, plan: MemoryPlan, inputs) -> dict[str, np.ndarray]:
    """The reference meanings, each result written at its place in one block of bytes that starts as garbage."""
    arena = np.full(plan.arena, 0xFF, np.uint8)
    values = {node: inputs[node.name] for node in graph.inputs}
    values |= {node: node.weights.array() for node in graph.params}
    for node in graph.ops:
        result = np.ascontiguousarray(node.kind.meaning(node.op, *(values[operand] for operand in node.inputs)))
        if node in plan.offsets:
            start = plan.offsets[node]
            place_ = arena[start : start + result.nbytes].view(DTYPES[node.typed.dtype]).reshape(result.shape)
            place_[...] = result
            result = place_
        values[node] = result
    return {node.name: values[node] for node in graph.outputs}


# --- liveness --------------------------------------------------------------------------------------------------------

RESIDUAL = """graph @residual(%x: f32[N,4,4,4]) {
  %v = param : f32[4,4,1,1]
  %a = conv2d(%x, %v)
  %b = conv2d(%a, %v)
  %r = relu(%b)
  %s = add(%r, %a)
  %y = relu(%s)
  return %y
}"""
INCEPTION = """graph @inception(%x: f32[1,8,4,4]) {
  %w = param : f32[4,8,1,1]
  %v = param : f32[4,4,3,3]
  %s = tanh(%x)
  %a = conv2d(%s, %w)
  %b = conv2d(%s, %w)
  %c = conv2d(%b, %v) {pads=[1,1,1,1]}
  %p = max_pool(%s) {kernel=[3,3], pads=[1,1,1,1]}
  %q = conv2d(%p, %w)
  %y = concat(%a, %c, %q)
  return %y
}"""
# By hand, in bytes. inception: s 512; a, b, c, q 256; p 512; y 768. Fullest at p: s, a, c, p; at q: a, c, p, q is less.
HAND = {
    "a chain runs in place": (
        "graph @g(%x: f32[1,16]) {\n%a = tanh(%x)\n%b = relu(%a)\n%c = softmax(%b)\nreturn %c\n}",
        64,
        [("a", "b", "c")],
    ),
    "views share, a view of an input is the caller's": (
        "graph @g(%x: f32[1,4,2,2]) {\n%f = flatten(%x)\n%a = tanh(%f)\n%r = reshape(%a) {shape=[4,4]}\n%y = relu(%r)\nreturn %y\n}",
        64,
        [("a", "r", "y")],
    ),
    "a value read again is not overwritten": (
        "graph @g(%x: f32[1,16]) {\n%a = tanh(%x)\n%b = relu(%a)\n%y = add(%b, %a)\nreturn %y\n}",
        128,
        [("a",), ("b", "y")],
    ),
    "nor one that a view still shows": (
        "graph @g(%x: f32[1,16]) {\n%a = tanh(%x)\n%v = identity(%a)\n%b = relu(%a)\n%y = add(%b, %v)\nreturn %y\n}",
        128,
        [("a", "v"), ("b", "y")],
    ),
    "nor an output, nor an input": (
        "graph @g(%x: f32[1,16]) {\n%a = relu(%x)\n%y = relu(%a)\nreturn %a, %y\n}",
        128,
        [("a",), ("y",)],
    ),
    "nor one that is smaller": (
        "graph @g(%x: f32[16,1], %z: f32[1,16]) {\n%a = tanh(%x)\n%b = tanh(%z)\n%y = add(%a, %b)\nreturn %y\n}",
        64 + 64 + 1024,
        [("a",), ("b",), ("y",)],
    ),
    "a residual block": (RESIDUAL, 512, [("a",), ("b", "r", "s", "y")]),
    "an inception module": (INCEPTION, 512 + 256 + 256 + 512, [("s",), ("a",), ("b",), ("c",), ("p",), ("q",), ("y",)]),
    "nothing computed": ("graph @g(%x: f32[1,16]) {\nreturn %x\n}", 0, []),
}


@pytest.mark.parametrize("case", HAND)
def test_by_hand(case):
    text, peak, buffers = HAND[case]
    graph = typed_graph(text)
    live = liveness(graph)
    assert live.peak == peak
    assert sorted(tuple(node.name for node in buffer.values) for buffer in live.buffers) == sorted(buffers)
    plan = plan_memory(graph)
    assert plan.arena == plan.lower_bound == peak
    check_plan(plan, graph)


def test_intervals_peak_and_what_is_live_then():
    live = liveness(typed_graph(INCEPTION))
    assert {node.name: interval for node, interval in live.intervals.items()} == {
        "s": (0, 4), "a": (1, 6), "b": (2, 3), "c": (3, 6), "p": (4, 5), "q": (5, 6), "y": (6, 6),
    }  # fmt: skip
    assert live.live_bytes == (512, 768, 1024, 1280, 1536, 1280, 1536)
    assert live.steps[live.peak_step].name == "p"
    assert [buffer.values[0].name for buffer in live.live_at(4)] == ["s", "p", "a", "c"]


def test_a_batch_scales_and_bad_sizes_are_refused():
    graph = typed_graph(RESIDUAL)
    assert [plan_memory(graph, {"N": n}).arena for n in (1, 3)] == [512, 1536]
    small = typed_graph("graph @g(%x: f32[1,1,H,H]) {\n%w = param : f32[1,1,3,3]\n%y = conv2d(%x, %w)\nreturn %y\n}")
    with pytest.raises(InvalidModel, match=r"%y = conv2d is .* no size where H=1"):
        liveness(small)
    assert liveness(small, {"H": 6}).peak == 64
    with pytest.raises(UsageError, match="alignment 0"):
        plan_memory(graph, alignment=0)
    with pytest.raises(InvalidModel, match="no peak"):
        _ = liveness(typed_graph(HAND["nothing computed"][0])).peak_step


@settings(deadline=None)
@given(SEEDS, st.integers(1, 30))
def test_live_bytes_count_reads_still_to_come(seed, ops):
    """Another way to the same numbers: run, and forget a buffer after its last read."""
    graph = random_net(seed, ops)
    live, nbytes = liveness(graph), node_bytes(graph)
    buffer_of = {node: buffer for buffer in live.buffers for node in buffer.values}
    left = graph.uses.copy()
    made: list[Node] = []
    for node, load in zip(live.steps, live.live_bytes, strict=True):
        held = {buffer_of[value] for value in made if left[value] and value in buffer_of}
        held |= {buffer_of[node]} if node in buffer_of else set()
        assert sum(buffer.nbytes for buffer in held) == load
        left.subtract(node.inputs)
        made.append(node)
    assert all(nbytes[value] == buffer.nbytes for value, buffer in buffer_of.items())


def test_an_unread_result_lives_in_its_own_step():
    text = "graph @g(%x: f32[1,16]) {\n%a = tanh(%x) : f32[1,16]\n%d = sigmoid(%x) : f32[1,16]\n"
    graph = parse_graph(text + "%y = relu(%a) : f32[1,16]\nreturn %y\n}")
    live = liveness(graph)
    assert live.live_bytes == (64, 128, 64)
    assert live.intervals[graph.by_name["d"]] == (1, 1)


@pytest.mark.parametrize("kind", [kind for kind in OPS.values() if kind.facts.reuse], ids=lambda kind: kind.name)
def test_reuse_holds_for_the_meanings(kind):
    """One changed element changes that element of the result alone, or what shares its sum; a view changes nothing."""
    draws = np.random.default_rng(0)
    attributes = {"reshape": ((6, 2, 2),), "cast": ("i32",), "group_norm": (1,)}.get(kind.name, ())
    op, least = kind.Attrs(*attributes), kind.arity[0]
    arrays = [draws.uniform(1, 2, (2, 3, 2) if i == 0 or least == 2 or kind.name == "where" else 3) for i in range(least)]
    if kind.name == "reshape":
        arrays = [draws.uniform(1, 2, (2, 3, 4))]
    if kind.name in ("asin", "acos", "atanh"):
        arrays = [arrays[0] - 1]
    before = kind.meaning(op, *arrays)
    assert before.size == arrays[0].size
    if kind.facts.is_view:
        assert np.array_equal(before.ravel(), arrays[0].ravel())
        return
    for position, at in itertools.product(kind.facts.reuse.operands, np.ndindex(arrays[0].shape)):
        changed = [array.copy() for array in arrays]
        changed[position][at] += 10
        with np.errstate(invalid="ignore"):  # beyond 1 an arc sine is NaN
            moved = np.argwhere(kind.meaning(op, *changed) != before)
        softmaxes = dict.fromkeys(("softmax", "log_softmax"), (0, 2))
        norms = {"instance_norm": (0, 1), "layer_norm": (0, 1), "group_norm": (0,)}
        alike = (softmaxes | norms).get(kind.name, (0, 1, 2))
        assert all(place[axis] == at[axis] for place in moved for axis in alike)


# --- plans -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(SEEDS, st.integers(1, 30), st.sampled_from([1, 16, 64]))
def test_plans_of_random_nets_are_safe_and_compute_the_same(seed, ops, alignment):
    graph = random_net(seed, ops)
    plan = plan_memory(graph, alignment=alignment)
    check_plan(plan, graph)
    assert plan.lower_bound <= plan.arena <= plan.unshared
    assert plan.gap == 0 or plan.why
    inputs = normal_inputs(graph)
    wanted = reference.run(graph, inputs)
    for name, got in run_in_arena(graph, plan, inputs).items():
        assert np.array_equal(got, wanted[name])


def is_safe(plan: MemoryPlan, graph: Graph) -> bool:
    try:
        check_plan(plan, graph)
    except InvalidModel:
        return False
    return True


@settings(deadline=None)
@given(SEEDS, st.integers(2, 12), SEEDS)
def test_the_checker_sees_what_a_run_sees(seed, ops, where):
    """A buffer moved elsewhere: if the checker lets it pass, the run gives the same numbers."""
    graph = random_net(seed, ops)
    plan = plan_memory(graph, alignment=4)
    draw = random.Random(where)
    i = draw.randrange(len(plan.slots)) if plan.slots else None
    if i is None:
        return
    slot = plan.slots[i]
    offset = 4 * draw.randint(0, (plan.arena - slot.size) // 4)
    moved = dataclasses.replace(plan, slots=(*plan.slots[:i], dataclasses.replace(slot, offset=offset), *plan.slots[i + 1 :]))
    if is_safe(moved, graph):
        inputs = normal_inputs(graph)
        wanted = reference.run(graph, inputs)
        for name, got in run_in_arena(graph, moved, inputs).items():
            assert np.array_equal(got, wanted[name])


def test_the_checker_refuses():
    graph = typed_graph(INCEPTION)
    plan = plan_memory(graph)

    def with_slot(**changes):
        return dataclasses.replace(plan, slots=(plan.slots[0], dataclasses.replace(plan.slots[1], **changes), *plan.slots[2:]))

    taken = plan.slots[0].offset
    for broken, complaint in (
        (with_slot(offset=taken), "%a = conv2d is written over %s, which is still to be read"),
        (with_slot(offset=8), "alignment 64"),
        (with_slot(offset=plan.arena), "of an arena of"),
        (dataclasses.replace(plan, slots=plan.slots[1:]), "%s = tanh has no place"),
        (dataclasses.replace(plan, shares={plan.slots[1].buffer.values[0]: "in place"}), "cannot lie in place"),
    ):
        with pytest.raises(InvalidModel, match=complaint):
            check_plan(broken, graph)
    wrong = typed_graph(HAND["a value read again is not overwritten"][0])
    shared = {node: "in place" for node in wrong.ops if node.name == "b"}
    plan = plan_memory(wrong)
    slots = tuple(dataclasses.replace(slot, offset=0) for slot in plan.slots)
    with pytest.raises(InvalidModel, match="%b = relu is written over %a"):
        check_plan(dataclasses.replace(plan, slots=slots, shares=shared), wrong)


# --- the zoo ---------------------------------------------------------------------------------------------------------


@functools.cache
def zoo_net(name: str, small: bool, level: int) -> Graph:
    entry = models.ZOO[name]
    return optimize(entry.network(**(entry.small if small else {})), level)[0]


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("small", [False, True], ids=["full", "small"])
@pytest.mark.parametrize("name", models.ZOO)
def test_every_arena_of_the_zoo_meets_its_bound(name, small, level):
    graph = zoo_net(name, small, level)
    ordered = order_for_memory(graph, Ledger(ONNXRUNTIME.prices))
    assert liveness(ordered).peak <= liveness(graph).peak
    for sizes in ({}, {"N": 8}):
        plan = plan_memory(ordered, sizes)
        check_plan(plan, ordered)
        assert (plan.ratio == 1.0) == ((name, small, level) not in GAPS), plan.why


@pytest.mark.parametrize("name", ["lenet5", "local", "vgg11_bn", "googlenet", "resnet18", "resnet50", "unet_resnet18", "alphago"])
def test_networks_compute_the_same_inside_the_arena(name):
    graph = zoo_net(name, True, 0)
    inputs = normal_inputs(graph, N=1)
    bound = specialize(graph, {"N": 1})
    wanted = reference.run(bound, inputs)
    for output, got in run_in_arena(bound, plan_memory(bound), inputs).items():
        assert np.array_equal(got, wanted[output])


# --- great graphs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", GREAT)
@pytest.mark.parametrize("build", [deep, wide, lambda nodes: towers(10, nodes // 10)], ids=["deep", "wide", "towers"])
def test_a_great_graph_passes(build, nodes: int):
    graph = build(nodes)
    start = time.process_time()
    ordered = order_for_memory(graph, Ledger(ONNXRUNTIME.prices))
    plan = plan_memory(ordered)
    check_plan(plan, ordered)
    assert plan.ratio == 1.0
    assert time.process_time() - start < SLOWEST * nodes


# --- cost ------------------------------------------------------------------------------------------------------------


def test_bytes_moved_count_a_shared_weight_once_and_a_view_never():
    graph = typed_graph(RESIDUAL)
    one = graph_cost(graph, {"N": 1})
    weights, value = 4 * 4 * 4, 64 * 4
    assert (one.params, one.weight_bytes) == (16, weights)
    assert one.bytes_moved == weights + value * (2 + 2 + 2 + 3 + 2)
    assert one.flops == 2 * 2 * 16 * 16 + 3 * 64
    assert one.intensity == one.flops / one.bytes_moved
    eight = graph_cost(graph, {"N": 8})
    assert eight.bytes_moved == weights + 8 * (one.bytes_moved - weights)
    assert eight.intensity > one.intensity
    views = typed_graph("graph @g(%x: f32[1,4,2,2]) {\n%f = flatten(%x)\n%y = mul(%f, %f)\nreturn %y\n}")
    flat, product = views.ops
    assert (node_cost(flat, {}).bytes_read, node_cost(flat, {}).bytes_written, intensity(flat, {})) == (0, 0, 0.0)
    assert (node_cost(product, {}).bytes_read, intensity(product, {})) == (64, 16 / 128)


def test_a_batch_amortizes_the_weights_of_a_dense_network():
    graph = models.vgg16()
    by_batch = [graph_cost(graph, {"N": n}).intensity for n in (1, 8, 64)]
    assert by_batch == sorted(by_batch)
    assert by_batch[2] > 3 * by_batch[0]
