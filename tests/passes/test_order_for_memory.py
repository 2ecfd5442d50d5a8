"""order-for-memory against every order of small graphs, and its guesses on large ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.graph import Graph
from convc.ir.verifier import verify_graph
from convc.passes.analysis.liveness import liveness
from convc.passes.analysis.memory import plan_memory
from convc.passes.analysis.memory_check import check_plan
from convc.passes.analysis.order_search import Ordering, Task, guesses, peak_of
from convc.passes.order_for_memory import order_for_memory
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.graphs import typed_graph
from convc.tests.support.random_nets import random_net, towers

SEEDS = st.integers(0, 2**32)


def in_order(graph: Graph, ops) -> Graph:
    return Graph(graph.name, graph.inputs, graph.outputs, (*(node for node in graph.nodes if not node.inputs), *ops))


def every_order(graph: Graph):
    def extend(done, left):
        if not left:
            yield done
        for i, node in enumerate(left):
            if all(not operand.inputs or operand in done for operand in node.inputs):
                yield from extend([*done, node], left[:i] + left[i + 1 :])

    return extend([], list(graph.ops))


@settings(deadline=None, max_examples=200)
@given(SEEDS, st.integers(1, 7))
def test_a_small_graph_gets_the_least_peak_of_all_orders(seed, ops):
    graph = random_net(seed, ops)
    ledger = Ledger(ONNXRUNTIME.prices)
    better = order_for_memory(graph, ledger)
    verify_graph(better)
    assert len(better.nodes) == len(graph.nodes)
    assert set(better.nodes) == set(graph.nodes)
    peak = liveness(better).peak
    assert peak == min(liveness(in_order(graph, order)).peak for order in every_order(graph))
    assert bool(ledger.rewrites) == (peak < liveness(graph).peak) == (better is not graph)


@settings(deadline=None, max_examples=12)
@given(SEEDS, st.integers(30, 120), st.sampled_from([3, 10]))
def test_a_large_graph_gets_no_worse_and_comes_to_rest(seed, ops, reach):
    graph = random_net(seed, ops, reach)
    better = order_for_memory(graph, Ledger(ONNXRUNTIME.prices))
    verify_graph(better)
    assert liveness(better).peak <= liveness(graph).peak
    again = Ledger(ONNXRUNTIME.prices)
    assert order_for_memory(better, again) is better
    assert not again.rewrites
    check_plan(plan_memory(better), better)


@pytest.mark.parametrize(("count", "length"), [(2, 60), (6, 12), (30, 40)])
def test_towers_run_one_after_the_other(count, length):
    """Every value is in use with the one before it: 5 channels and 4; the towers that are done hold 1 each."""
    graph = towers(count, length)
    better = order_for_memory(graph, Ledger(ONNXRUNTIME.prices))
    verify_graph(better)
    one = max(liveness(towers(1, length)).peak, 16 * 9)
    assert liveness(better).peak <= max(one + 16 * (count - 1), 16 * 2 * count) < liveness(graph).peak


@settings(deadline=None)
@given(SEEDS, st.integers(2, 20))
def test_guesses_are_orders(seed, count):
    draw = random.Random(seed)
    needs = [tuple(j for j in range(i) if draw.random() < 0.2) for i in range(count)]
    readers = [tuple(i for i in range(count) if j in needs[i]) for j in range(count)]
    read = [j for j in range(count) if readers[j]]
    tasks = tuple(Task(needs[i], draw.randint(0, 9), tuple(read.index(j) for j in needs[i]), (), not readers[i]) for i in range(count))
    block = Ordering(tasks, tuple(tasks[j].made for j in read), tuple(readers[j] for j in read), 5)
    for order in guesses(block):
        place_of = {task: at for at, task in enumerate(order)}
        assert sorted(order) == list(range(count))
        assert all(place_of[j] < place_of[i] for i in range(count) for j in needs[i])
        assert peak_of(block, order) >= 5


def test_a_cap_stops_after_the_fullest_block():
    text = "graph @g(%x: f32[1,1,4,4]) {\n%v = param : f32[8,1,1,1]\n%k = param : f32[1,8,1,1]\n%w = param : f32[6,1,1,1]\n"
    text += "%a = conv2d(%x, %w)\n%b = conv2d(%x, %w)\n%p = global_avg_pool(%b)\n%q = global_max_pool(%a)\n%s = add(%p, %q)\n"
    text += "%g = reduce_mean(%s) {axes=[1]}\n%h = pad(%g) {pads=[0,0,0,0,0,0,3,3]}\n"
    text += "%c = conv2d(%h, %v)\n%d = conv2d(%h, %v)\n%t = global_avg_pool(%d)\n%u = global_max_pool(%c)\n%y = add(%t, %u)\nreturn %y\n}"
    graph, ledger = typed_graph(text), Ledger(ONNXRUNTIME.prices, 1)
    better = order_for_memory(graph, ledger)
    assert [rewrite.root for rewrite in ledger.rewrites] == ["d"]
    assert [node.name for node in better.ops][:2] == ["a", "b"]
    assert liveness(better).peak < liveness(graph).peak
