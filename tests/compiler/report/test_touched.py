"""What a rewrite led to besides what its pass recorded."""

from __future__ import annotations

import pytest

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.report.html.report import Report, report_data
from convc.compiler.report.html.touched import touched
from convc.models import ZOO
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS
from convc.passes.rewriting.ledger import Rewrite
from convc.tests.support.graphs import typed_graph
from convc.tests.support.reports import named_at


@pytest.fixture(scope="module")
def hoisted():
    """resnet50 before and after hoist-stride, and the page's data of that pass."""
    graph = ZOO["resnet50"].network()
    trace = run_passes(graph, LEVELS[2], ONNXRUNTIME.prices)[1]
    place = next(i for i, stage in enumerate(trace) if stage.name == "hoist-stride")
    data = report_data(Report(graph, trace, ""))
    return trace[place - 1].graph, trace[place].graph, data, data["steps"][place]


def test_the_pools_on_skips_and_the_readers_strides_are_told(hoisted):
    _, _, data, step = hoisted
    others = [(named_at(data, came), named_at(data, changed)) for *_, came, changed in step["rewrites"]]
    assert others == [
        ([f"conv{stage}_{last}.relu3.thin"], [f"conv{stage + 1}_1.bn1", f"conv{stage + 1}_1.shortcut.bn1"])
        for stage, last in ((2, 2), (3, 3), (4, 5))
    ]


def test_all_that_came_or_changed_is_told_of_one_rewrite(hoisted):
    before, after, data, step = hoisted
    old = {node.name: node for node in before.ops}
    told = [name for _, _, _, *rest in step["rewrites"] for names in rest for name in named_at(data, names)]
    found = [node.name for node in after.ops if node.name not in old or old[node.name].op != node.op]
    assert sorted(told) == sorted(found)
    assert len(found) == 18 + 6


def test_what_no_edge_leads_to_is_of_no_rewrite():
    before = typed_graph("graph @g(%x: f32[N,4], %z: f32[N,4]) { %a = relu(%x) %b = relu(%z) return %a, %b }")
    after = typed_graph("graph @g(%x: f32[N,4], %z: f32[N,4]) { %a = tanh(%x) %b = tanh(%z) return %a, %b }")
    assert touched(before, after, [Rewrite("r", "a", (), ("a",))]) == [([], [])]
    assert touched(before, after, []) == []
