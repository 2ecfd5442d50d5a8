"""What a prompt and a notebook show of networks, graphs, traces, checks, modules and summaries."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import convc as cc
from convc.compiler.planning.certificate import Certificate, LayerErrors, OutputErrors
from convc.compiler.report.text import in_bytes
from convc.ir.shown import SCREEN, html_table, text_table

HOSTILE = "<script>alert('1')</script>"


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def optimized():
    return cc.optimize(cc.models.resnet20())


@pytest.fixture(scope="module")
def shown(optimized):
    """Each thing that notebooks show, with words that it has to say."""
    graph, trace = optimized
    layer = LayerErrors("conv1", "reduce 8", 0.1, 0.2, 0.3)
    plan = Certificate([layer], [OutputErrors("random", 4, 0.1, 0.2, None, None, None)], {"macs": (10, 5)}, {"onnx": (2.0, 1.0)})
    return {
        "graph": (graph, "global_avg_pool1"),
        "trace": (trace, "fuse-conv-bn"),
        "agreements": (cc.verify(graph, graph), "agrees"),
        "summary": (cc.summary(graph), "CONV3-16"),
        "plan": (plan, "reduce 8"),
    }


def test_a_plan_says_of_its_latencies_that_they_are_in_doubt():
    plan = Certificate([], [], {}, {"onnx": (2.0, 1.0)}, ["the machine is busy"])
    for shown in (repr(plan), Tags(plan._repr_html_()).text):
        assert "latency in onnx: 2.00 -> 1.00 ms (0.50), in doubt" in shown
        assert "the machine is busy; the latencies are in doubt: measure again when nothing else runs" in shown
    assert "doubt" not in repr(replace(plan, doubts=[]))


@pytest.mark.parametrize(("number", "text"), [(413_138_944, "394 MiB"), (1023, "1023 B"), (1040187392, "992 MiB"), (3 << 29, "1.5 GiB")])
def test_bytes_have_the_units_of_the_page(number, text):
    assert in_bytes(number) == text


def test_what_holds_much_shows_itself_in_a_line(optimized, tmp_path):
    """A picture was 9,845 characters of SVG at a prompt, a pass 2,820."""
    graph, trace = optimized
    made = cc.compile_network(cc.network(x="N,4")(lambda x: cc.relu(x))(), tmp_path / "made", check=False)
    for value, words in ((cc.draw(graph), "<drawing of "), (trace[0], f"<pass {trace[0].name}: "), (made, "<artifact '")):
        assert repr(value).startswith(words)
        assert len(repr(value)) < 400


@pytest.mark.parametrize("name", ["graph", "trace", "agreements", "summary", "plan"])
def test_a_table_in_a_notebook_has_what_the_prompt_has(shown, name):
    value, word = shown[name]
    page = Tags(value._repr_html_())
    assert page.tags[0] == "table"
    assert word in page.text
    assert word in repr(value) or name == "graph"  # whose last ops no screen has


def test_a_graph_is_its_text_up_to_a_screen():
    small = cc.parse_graph("graph @g(%x: f32[N,4]) {\n  %y = relu(%x) : f32[N,4]\n  return %y\n}\n")
    assert repr(small) == cc.print_graph(small).rstrip("\n")
    lines = repr(cc.models.resnet50()).splitlines()
    assert len(lines) <= SCREEN
    assert lines[0].startswith("graph @resnet50(")
    assert lines[-3].endswith(" more nodes; cc.print_graph has them all")
    assert lines[-2:] == ["  return %softmax1", "}"]


def test_a_trace_is_a_table_of_what_changed(optimized):
    lines = repr(optimized[1]).splitlines()
    assert lines[0].endswith("passes changed it, 19 rewrites")
    assert lines[1].split() == ["pass", "rewrites", "ms", "nodes", "multiply-adds", "parameters", "estimated"]
    assert [line.split()[0] for line in lines[2:]] == ["as", "fuse-conv-bn"]
    assert [stage.name for stage in optimized[1] if stage.changed] == ["fuse-conv-bn"]


def test_a_network_says_how_to_call_it():
    assert repr(cc.models.ZOO["resnet18"].network).startswith('<network resnet18(image="N,3,224,224", classes=1000): ')


def test_a_module_says_what_goes_in_and_comes_out():
    module = cc.compile(cc.parse_graph("graph @g(%x: f32[N,4]) {\n  %y = relu(%x) : f32[N,4]\n  return %y\n}\n"), check=False)
    assert repr(module) == "<module @g: x f32[N,4] -> y f32[N,4]>"
    assert np.array_equal(module(np.full((1, 4), -1.0)), np.zeros((1, 4)))


def test_a_value_says_what_it_is():
    seen = []
    cc.network(x="1,4")(lambda x: seen.append(repr(cc.relu(x))) or x)()
    assert seen == ["<value %relu1 = relu : f32[1,4]>"]


def test_a_summary_has_the_figures_of_the_command():
    found = cc.summary(cc.models.vgg16())
    assert found.totals["params"] == 138_357_544
    assert "15,470,264,320 multiply-adds, 30,973,767,536 FLOPs an image" in repr(found)
    assert "(3*3*3)*64 = 1,728" in repr(found)


def test_names_from_files_are_no_markup():
    assert Tags(html_table([(HOSTILE,)], ("name",), HOSTILE)).tags == ["table", "caption", "thead", "tr", "th", "tbody", "tr", "td"]
    assert "\x1b" not in text_table([("\x1b[2J",)], ("name",))


def test_long_tables_say_what_is_left_out():
    rows = [(str(number),) for number in range(100)]
    assert "... 60 more" in text_table(rows, ("number",))
    assert text_table(rows, ("number",), most=None).count("\n") == 100


def test_ipython_shows_them():
    """As a notebook's kernel asks for them."""
    formatters = pytest.importorskip("IPython.core.formatters", reason="IPython is of the dev dependencies; nothing else needs it")
    data, _ = formatters.DisplayFormatter().format(cc.summary(cc.models.lenet5()))
    assert data["text/html"].startswith("<table>")
    assert data["text/plain"].startswith("@lenet5")
