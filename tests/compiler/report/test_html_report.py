"""The data of the HTML report: all that the trace has, and what graphs cost, in as few bytes as that takes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.report.html.grouping import MOST_CHILDREN, grouping_of
from convc.compiler.report.html.report import Report, report_data
from convc.compiler.report.html.splices import splices
from convc.compiler.report.layer_table import layer_table
from convc.ir.legible import escaped
from convc.models import ZOO
from convc.passes.analysis.cost import graph_cost
from convc.passes.analysis.memory import plan_memory
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS
from convc.tests.support.graphs import typed_graph
from convc.tests.support.reports import deep_network, graphs_in, named_at, with_hostile_names, without_ops

LONG = "\n".join(f"%y{i} = relu(%y{i - 1})" if i else "%y0 = relu(%x)" for i in range(1500))


def traced(graph, level=2):
    return graph, run_passes(graph, LEVELS[level], ONNXRUNTIME.prices)[1]


@pytest.fixture(scope="module", params=["resnet18", "googlenet", "shufflenet_v2"])
def told(request):
    """A network, its trace, and the data of its report."""
    graph, trace = traced(ZOO[request.param].network())
    return graph, trace, json.loads(json.dumps(report_data(Report(graph, trace, "inspect -O2")), allow_nan=False))


def test_every_graph_of_the_trace_is_in_it(told):
    graph, trace, data = told
    for real, rows in zip([graph, *(stage.graph for stage in trace)], graphs_in(data), strict=True):
        assert [data["names"][data["nodes"][row][0]] for row in rows] == [node.name for node in real.nodes]
        assert [data["kinds"][data["nodes"][row][1]] for row in rows] == [node.kind.name for node in real.nodes]
        assert [data["types"][data["nodes"][row][4]] for row in rows] == [str(node.type) for node in real.nodes]
        assert [named_at(data, data["nodes"][row][5]) for row in rows] == [[operand.name for operand in node.inputs] for node in real.nodes]
        assert [named_at(data, data["nodes"][row][8]) for row in rows] == [list(node.origin.made_from) for node in real.nodes]
        assert [data["sources"][data["nodes"][row][6]] for row in rows] == [node.origin.source for node in real.nodes]


def test_estimated_times_are_those_that_passes_decide_by(told):
    graph, trace, data = told
    assert data["start"]["totals"]["estimated"] == pytest.approx(trace[0].prices.whole(graph))
    for step, stage in zip(data["steps"], trace, strict=True):
        if "totals" in step:
            assert step["totals"]["estimated"] == pytest.approx(stage.prices.whole(stage.graph))


def test_what_clocks_measured_stands_apart_from_all_else(told):
    graph, trace, data = told
    assert data["measured"]["seconds"] == [stage.seconds for stage in trace]
    again = report_data(Report(graph, [replace(stage, seconds=9.0) for stage in trace], "inspect -O2", measured=["4 ms"]))
    assert again["measured"] == {"notes": ["4 ms"], "seconds": [9.0] * len(trace), "times": [], "peaks": None}
    assert json.dumps(again | {"measured": 0}) == json.dumps(data | {"measured": 0})


def test_every_rewrite_is_in_it_and_every_place_that_was_declined(told):
    _, trace, data = told
    assert [step["pass"] for step in data["steps"]] == [stage.name for stage in trace]
    for stage, step in zip(trace, data["steps"], strict=True):
        found = [
            (rule, data["names"][root], tuple(named_at(data, took)), tuple(named_at(data, made)))
            for rule, root, took, made, *_ in step["rewrites"]
        ]
        assert found == [(each.rule, each.root, each.took, each.made) for each in stage.rewrites]
        assert [(rule, data["names"][root], why) for rule, root, why in step["declined"]] == [
            (d.rule, d.root, escaped(d.why)) for d in stage.declined
        ]
        assert step["why"] == stage.why


def test_figures_of_nodes_sum_to_those_of_graphs(told):
    graph, trace, data = told
    totals = data["start"]["totals"]
    for real, rows, step in zip([graph, *(stage.graph for stage in trace)], graphs_in(data), [data["start"], *data["steps"]], strict=True):
        totals = step.get("totals", totals)
        cost = graph_cost(real)
        nodes = [data["nodes"][row] for row in rows]
        params = [node for node in nodes if node[15] >= 0]
        assert sum(node[9] for node in nodes) == cost.macs == totals["macs"]
        assert sum(node[10] for node in nodes) == cost.flops
        assert sum(node[13] for node in params) == cost.params == totals["params"]
        assert sum(node[14] for node in params) == cost.weight_bytes == totals["weightBytes"]
        assert cost.bytes_moved == totals["bytesMoved"] <= sum(node[11] + node[12] for node in nodes)


def test_layers_and_memory_are_those_of_the_summary_and_the_plan(told):
    graph, trace, data = told
    for real, layers, memory in zip((graph, trace[-1].graph), data["layers"], data["memory"], strict=True):
        table = layer_table(real, every=True)
        assert [(data["names"][line[0]], *line[1:8]) for line in layers["lines"]] == [
            (each.name, each.layer, each.output, each.memory, each.memory_bytes, each.weights, each.biases, each.macs)
            for each in table.lines
        ]
        assert layers["totals"]["macs"] == table.totals["macs"]
        plan = plan_memory(real, searched=False)
        assert memory["arena"] == plan.arena
        assert [tuple(slot[:4]) for slot in memory["slots"]] == [(s.buffer.first, s.buffer.last, s.offset, s.size) for s in plan.slots]
        assert [named_at(data, slot[4]) for slot in memory["slots"]] == [[value.name for value in s.buffer.values] for s in plan.slots]
        assert named_at(data, memory["steps"]) == [node.name for node in real.ops]


def test_what_a_pass_left_alone_takes_no_room(told):
    _, trace, data = told
    graphs = [None, *(stage.graph for stage in trace)]
    for before, stage, step in zip(graphs, trace, data["steps"], strict=False):
        if stage.graph is before:
            assert not step.keys() & {"splices", "totals"}
    assert len(data["nodes"]) == len({json.dumps(row) for row in data["nodes"]})


def test_other_values_under_the_same_name_are_another_node():
    text = "graph @g(%x: f32[N,3,8,8]) { %w = param : f32[4,3,3,3] %y = conv2d(%x, %w) %s = param : f32[4,1,1] %z = mul(%y, %s) return %z }"
    graph, trace = traced(typed_graph(text))
    data = report_data(Report(graph, trace, ""))
    *_, last = graphs_in(data)
    assert [row for row in last if data["nodes"][row][15] >= 0]
    assert not {row for row in last if data["nodes"][row][15] >= 0} & set(data["start"]["order"])


def test_a_graph_that_computes_nothing():
    data = report_data(Report(*traced(without_ops()), "inspect"))
    assert [[data["names"][data["nodes"][row][0]] for row in rows] for rows in graphs_in(data)][-1] == ["x"]
    assert data["memory"][0]["slots"] == []


def test_a_graph_without_types_has_none_of_the_figures():
    untyped = typed_graph("graph @g(%x: f32[N,4]) { %y = relu(%x) return %y }").rebuild(
        lambda node, operands: node.reading(operands).like(type=None)
    )
    data = report_data(Report(untyped, [], ""))
    assert (data["start"]["totals"], data["layers"], data["memory"]) == (None, [], [])
    assert [data["types"][data["nodes"][row][4]] for row in data["start"]["order"]] == ["?", "?"]


def test_odd_names_are_spelled_out():
    graph, trace = traced(with_hostile_names())
    names = report_data(Report(graph, trace, ""))["names"]
    assert {escaped(node.name) for node in graph.nodes} <= set(names)
    assert all(name.isprintable() for name in names)


class TestPlaces:
    def test_scopes_are_groups_and_nest(self):
        graph = ZOO["resnet50"].network()
        places = grouping_of(graph, [])
        (conv2_1,) = [number for number, group in enumerate(places.groups) if group == (-1, "conv2_1")]
        (shortcut,) = [number for number, group in enumerate(places.groups) if group == (conv2_1, "shortcut")]
        assert places.of["conv2_1.conv1"] == conv2_1
        assert places.of["conv2_1.shortcut.bn1"] == shortcut
        assert places.of["image"] == -1

    @pytest.mark.parametrize(
        "graph",
        [
            lambda: ZOO["resnet152"].network(),
            lambda: deep_network(45 * 10),
            lambda: typed_graph(f"graph @g(%x: f32[N,4]) {{ {LONG} return %y1499 }}"),
        ],
    )
    def test_no_group_is_too_long_to_look_at(self, graph):
        built = graph()
        places = grouping_of(built, [])
        children = [parent for parent, _ in places.groups] + list(places.of.values())
        assert max(children.count(group) for group in set(children)) <= MOST_CHILDREN
        assert set(places.of) == {node.name for node in built.nodes if node.weights is None}
        assert all(parent < number for number, (parent, _) in enumerate(places.groups))

    def test_what_a_pass_made_lies_with_what_it_was_made_for(self):
        graph, trace = traced(ZOO["resnet50"].network())
        places = grouping_of(graph, trace)
        made = {name for stage in trace for rewrite in stage.rewrites for name in rewrite.made} & places.of.keys()
        assert len([name for name in made if name.endswith(".thin")]) > 10
        assert {name: places.of[name] for name in made} == {name: places.of[name.removesuffix(".thin")] for name in made}

    def test_groups_are_no_deeper_than_a_name_is_long(self):
        graph = typed_graph("graph @g(%x: f32[N,4]) { %y = relu(%x) return %y }")
        deep = graph.renamed({graph.outputs[0]: "/a" * 5000})
        assert len(grouping_of(deep, []).groups) < 20


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([], []),
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 3], []),
        ([], [1, 2]),
        ([1, 2, 3, 4], [1, 9, 3, 8, 7]),
        ([1, 2, 3, 4], [3, 4, 1, 2]),
        ([1, 2, 3], [3, 2, 1]),
        ([1, 2], [5, 1, 6, 2, 7]),
    ],
)
def test_splices_lead_from_one_list_to_the_other(old, new):
    found = list(old)
    for at, gone, came in reversed(splices(old, new)):
        found[at : at + gone] = came
    assert found == new
    assert (splices(old, new) == []) == (old == new)
