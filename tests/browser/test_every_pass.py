"""Over the zoo: each pass that rewrote a network stands in the slider of its report, with as many rewrites, and shows what changed."""

from __future__ import annotations

import pytest

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.report.html.page import html_report
from convc.compiler.report.html.report import Report
from convc.models import ZOO
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS
from convc.tests.support.browser import Seen
from convc.tests.support.tiers import small

pytestmark = pytest.mark.browser
# Of the stop that the slider is at: the pass, the heads of its lists, and how many values went, came and changed.
AT = """() => [
  document.querySelector('#stops .current .name').innerText,
  [...document.querySelectorAll('#stops .current h3')].map((head) => head.innerText),
  [...document.querySelectorAll('#legend li')].map((each) => each.innerText),
]"""


@pytest.mark.parametrize("name", ZOO)
def test_every_pass_that_rewrote_it_stands_in_the_slider(browser, tmp_path, name):
    graph, path = small(name), tmp_path / "report.html"
    trace = run_passes(graph, LEVELS[3], ONNXRUNTIME.prices)[1]
    path.write_bytes(html_report(Report(graph, trace, "inspect -O3")))
    seen, found = Seen(browser, path), {}
    for number in range(1, int(seen.page.get_attribute("#slider", "max")) + 1):
        seen.step(number)
        at, heads, counts = seen.page.evaluate(AT)
        found[at] = ([head for head in heads if head.lower().startswith("what it did")], counts)
    seen.close()
    did = [(stage, was) for stage, was in zip(trace, [graph, *(stage.graph for stage in trace)], strict=False) if stage.rewrites]
    assert {stage.name: found[stage.name][0] for stage, _ in did} == {
        stage.name: [f"What it did ({len(stage.rewrites)})"] for stage, _ in did
    }
    for stage, was in did:
        assert found[stage.name][1] or {*stage.graph.nodes} == {*was.nodes}  # another order of the same values has no colour
