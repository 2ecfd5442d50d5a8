"""The report in a browser: search, fold, step, fly, sort, theme, keys, paper, hostile names; nothing said, nothing fetched."""

from __future__ import annotations

import csv
import io
import re

import pytest

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.report.html.report import KernelRun
from convc.models import ZOO
from convc.passes.analysis.cost import graph_cost
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS
from convc.tests.support.reports import HOSTILE, deep_network, shown, with_hostile_names, without_ops

pytestmark = pytest.mark.browser
MINUS = "\N{MINUS SIGN}"


def transform(seen):
    return seen.page.get_attribute("#canvas .world", "transform")


def test_it_begins_folded_with_what_all_passes_did(resnet, keep):
    assert resnet.texts("#title") == ["resnet50"]
    assert resnet.box("conv2_1").count() == 1
    assert resnet.box("conv2_1.conv1").count() == 0
    assert resnet.page.locator("#stops .current .name").inner_text() == "All passes"
    estimated = resnet.page.locator("#stops .current .totals tr", has_text="Estimated time").inner_text()
    assert re.fullmatch(r"Estimated time\s+[\d.]+ ms\s+→\s+[\d.]+ ms\s+" + MINUS + r"[\d.]+%", estimated)
    assert f"{MINUS}376M MACs" in resnet.page.locator("#stops .current .deltas").inner_text()
    keep(resnet, "resnet50")


def test_only_what_is_visible_is_drawn(look):
    seen = look(deep_network(100))
    seen.page.click("#unfold")
    values = seen.page.evaluate("document.querySelectorAll('#canvas .value').length")
    assert 0 < values < 400
    seen.page.keyboard.press("c")
    assert seen.page.locator("#canvas .value").count() < 5


class TestGroups:
    def test_a_click_unfolds_one_and_another_folds_it(self, resnet):
        resnet.box("conv2_1").click()
        assert resnet.box("conv2_1.conv1").count() == 1
        assert resnet.box("shortcut").count() == 1
        resnet.page.locator(".group.open", has_text="conv2_1").locator("rect.body").first.click(position={"x": 8, "y": 8})
        assert resnet.box("conv2_1.conv1").count() == 0

    def test_keys_fold_unfold_and_walk(self, resnet):
        resnet.page.locator(".box", has_text="max_pool1").focus()
        resnet.page.keyboard.press("ArrowDown")
        assert resnet.page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("conv2_1,")
        resnet.page.keyboard.press("Enter")
        assert resnet.box("conv2_1.conv1").count() == 1
        assert resnet.page.evaluate("document.activeElement.getAttribute('aria-label')").endswith("unfolded")
        resnet.page.keyboard.press("c")
        assert resnet.box("conv2_1.conv1").count() == 0


class TestPasses:
    def test_every_pass_that_did_something_is_a_stop(self, resnet, keep):
        names = resnet.texts("#stops .name")
        assert names == ["All passes", "fuse-conv-bn", "hoist-stride"]
        resnet.step(1)
        assert resnet.page.locator(".value.gone").count() == 1
        assert resnet.page.locator(".value.changed").count() == 1
        assert resnet.texts("#legend li") == [f"{MINUS} 53 went", "~ 53 changed"]
        keep(resnet, "resnet50-fuse-conv-bn")

    @pytest.mark.parametrize("name", ["shufflenet_v2", "vit_b_16", "densenet121"])
    def test_so_it_is_in_other_networks(self, look, name):
        seen = look(graph := ZOO[name].network())
        trace = run_passes(graph, LEVELS[2], ONNXRUNTIME.prices)[1]
        assert seen.texts("#stops .name") == ["All passes", *(stage.name for stage in trace if stage.rewrites or stage.declined)]
        for number, stage in enumerate((stage for stage in trace if stage.rewrites or stage.declined), 1):
            seen.step(number)
            assert seen.page.locator("#stops .current .name").inner_text() == stage.name
            counts = [len(stage.rewrites)] * bool(stage.rewrites) + [len(stage.declined)] * bool(stage.declined)
            said = [int(re.sub(r"\D", "", title)) for title in seen.texts("#stops .current h3") if title.startswith("What it d")]
            assert said == counts

    def test_before_and_after_show_one_graph_each(self, resnet):
        resnet.step(1)
        resnet.page.click("#sides button[data-side=before]")
        assert (resnet.box("conv1").count(), resnet.page.locator(".value.gone, .value.changed").count()) == (1, 0)
        resnet.page.click("#sides button[data-side=after]")
        assert resnet.box("conv1").count() == 0

    def test_a_click_on_a_rewrite_flies_to_it(self, resnet, keep):
        resnet.page.keyboard.press("]")
        resnet.page.keyboard.press("]")
        before = transform(resnet)
        resnet.page.locator("#stops .entry", has_text="conv4_6.relu3").click()
        assert transform(resnet) != before
        assert resnet.box("conv4_6.relu3").evaluate("(box) => box.classList.contains('chosen')")
        assert resnet.page.locator("#panel .path").inner_text() == "conv4_6.relu3"
        assert "hoist-stride" in resnet.page.locator("#panel").inner_text()
        keep(resnet, "resnet50-hoist-stride")

    def test_a_declined_place_says_why_and_is_flown_to(self, look, keep):
        seen = look(ZOO["googlenet"].network())
        seen.page.locator("#stops .stop", has_text="merge-siblings").click()
        entry = seen.page.locator("#stops .entry", has_text="inception_4a.1x1")
        assert re.search(r"convs of %max_pool3 take .* us", entry.inner_text())
        entry.click()
        assert seen.box("inception_4a.1x1").count() == 1
        keep(seen, "googlenet-declined")

    def test_where_from_is_told_on_hover(self, resnet):
        resnet.step(1)
        resnet.box("bn1").hover()
        told = resnet.page.locator("#tip").inner_text()
        for word in ("fuse-conv-bn", "made from bn1, conv1", "resnet.py:", "was batch_norm"):
            assert word in told


class TestSearch:
    @pytest.mark.parametrize(
        ("text", "first"), [("conv3_2.bn2", "conv3_2.bn2"), ("POOL", "max_pool1"), ("conv5_1.shortcut", "conv5_1.shortcut.bn1")]
    )
    def test_it_finds_names_and_operators_and_enter_flies(self, resnet, text, first):
        resnet.page.keyboard.press("/")
        resnet.page.keyboard.type(text)
        assert first in resnet.texts("#hits li")[0] or first in " ".join(resnet.texts("#hits li"))
        resnet.page.keyboard.press("Enter")
        assert resnet.page.locator("#panel .path").inner_text()
        assert resnet.page.locator(".box.chosen").count() == 1

    def test_what_is_nowhere_is_said(self, resnet):
        resnet.page.fill("#search", "no such thing")
        assert resnet.texts("#hits li") == ["nothing of that name here"]


class TestLayers:
    def test_columns_sort_and_the_third_click_has_the_old_order(self, resnet, keep):
        resnet.page.keyboard.press("3")
        column = "#view-layers tbody tr td:last-child"
        macs = resnet.page.locator("#view-layers thead button", has_text="MACs")
        old = resnet.texts(column)
        macs.click()
        assert resnet.texts(column)[0].endswith("118M")
        assert resnet.page.get_attribute("#view-layers th:last-child", "aria-sort") == "descending"
        macs.click()
        assert resnet.texts(column)[0].endswith("\N{EN DASH}")
        macs.click()
        assert resnet.texts(column) == old
        keep(resnet, "resnet50-layers")

    def test_layers_that_were_timed_have_their_time(self, look):
        kernels = [
            KernelRun("direct", ["c1", "tanh1"], 12.5, 0.9, 100, 100, limit="63% products"),
            KernelRun("dense", ["output"], 1.4, 0.1, 9, 9),
        ]
        seen = look(ZOO["lenet5"].network(), times={"tvm": kernels})
        seen.page.keyboard.press("3")
        seen.page.locator("#view-layers thead button", has_text="Time, tvm").click()
        rows = [text.split() for text in seen.texts("#view-layers tbody tr")]
        assert [(row[0], row[-2:]) for row in rows[:2]] == [("tanh1", ["12.5", "µs"]), ("output", ["1.4", "µs"])]
        assert rows[2][-1] != "µs"
        seen.page.fill("#search", "tanh1")
        seen.page.keyboard.press("Enter")
        assert "of the machine's limit 63% products" in seen.page.locator("#panel").inner_text()

    def test_it_is_copied_as_csv_and_markdown(self, look):
        seen = look(ZOO["lenet5"].network(), permissions=["clipboard-read", "clipboard-write"])
        seen.page.keyboard.press("3")
        seen.page.click("#copy-csv")
        rows = list(csv.DictReader(io.StringIO(seen.page.evaluate("navigator.clipboard.readText()"))))
        assert sum(int(row["MACs"]) for row in rows) == graph_cost(ZOO["lenet5"].network()).macs
        assert rows[0]["Name"] == "image"
        seen.page.click("#copy-markdown")
        lines = seen.page.evaluate("navigator.clipboard.readText()").splitlines()
        assert len(lines) == len(rows) + 2
        assert {line.count("|") for line in lines} == {9}


def test_a_title_has_its_room_where_nothing_was_checked(look):
    graph = ZOO["mobilenet_v3_small"].network()
    seen = look(graph, width=1600)
    assert seen.page.evaluate("(h => h.scrollWidth <= h.clientWidth)(document.getElementById('title'))")
    assert "not checked here" in seen.page.inner_text("#verdict")


def test_bars_of_a_large_parameter_say_how_many_they_are_of(resnet):
    resnet.page.fill("#search", "conv4_2.conv2")
    resnet.page.keyboard.press("Enter")
    assert "; bars of 16,384 of them, drawn at random" in resnet.page.locator("#panel .weights").first.inner_text()


def test_charts_show_layers_memory_and_times(resnet, keep):
    resnet.page.keyboard.press("2")
    assert resnet.texts("#view-charts figcaption h2") == ["What each layer takes", "Memory over time", "Roofline", "Time of each pass"]
    assert resnet.page.locator("#view-charts .slot").count() > 100
    (times,) = [caption for caption in resnet.texts("#view-charts figcaption") if caption.startswith("Time of each pass")]
    assert "measured" in times
    resnet.page.locator(".chart.macs").hover()
    assert resnet.page.locator(".chart.macs .value").text_content()
    keep(resnet, "resnet50-charts")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_takes_the_readers_theme_and_turns_it(look, keep, scheme):
    seen = look(ZOO["googlenet"].network(), color_scheme=scheme)
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    paper = "getComputedStyle(document.body).backgroundColor"
    assert seen.page.evaluate(paper) == {"light": light, "dark": dark}[scheme]
    keep(seen, f"googlenet-{scheme}")
    seen.page.keyboard.press("t")
    assert seen.page.evaluate(paper) == {"light": dark, "dark": light}[scheme]
    seen.page.click("#theme")
    assert seen.page.evaluate(paper) == {"light": light, "dark": dark}[scheme]


def test_on_paper_all_views_follow_each_other(resnet, keep):
    resnet.page.emulate_media(media="print")
    resnet.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert resnet.page.locator("#view-layers tbody tr").count() > 100
    for name in ("graph", "charts", "layers"):
        assert resnet.page.locator(f"#view-{name}").is_visible()
    assert not resnet.page.locator("#search").is_visible()


def test_hostile_names_are_spelled_out_and_run_nothing(look, keep):
    seen = look(with_hostile_names())
    seen.page.on("dialog", lambda dialog: pytest.fail("a name ran"))
    labels = " ".join(seen.page.locator(".box").evaluate_all("(boxes) => boxes.map((box) => box.getAttribute('aria-label'))"))
    for name in HOSTILE[1:]:
        assert shown(name) in labels
    seen.page.fill("#search", "onerror")
    seen.page.keyboard.press("Enter")
    assert seen.page.locator("#panel .path").inner_text() == shown(HOSTILE[1])
    for key in "23":
        seen.page.keyboard.press("Escape")
        seen.page.evaluate("document.activeElement.blur()")
        seen.page.keyboard.press(key)
    assert shown(HOSTILE[4]) in " ".join(seen.texts("#view-layers .entry"))
    assert seen.page.locator("img").count() == 0
    keep(seen, "hostile-names")


def test_a_graph_that_computes_nothing_says_so(look):
    seen = look(without_ops())
    assert seen.page.locator("#nothing").is_visible()
    for key in "231":
        seen.page.keyboard.press(key)
