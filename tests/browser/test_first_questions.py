"""What a reader asks who never saw a report: is the result the same, what else did the pass do, where did the multiply-adds go."""

from __future__ import annotations

import re

import pytest

from convc.compiler.report.html.report import Verdict
from convc.models import ZOO

pytestmark = pytest.mark.browser
HOIST = 2  # the stop of hoist-stride in resnet50


def scale_and_place(seen):
    x, y, k = map(float, re.findall(r"-?[\d.]+", seen.page.get_attribute("#canvas .world", "transform")))
    return k, x, y


class TestWhetherItIsTheSame:
    def test_without_a_check_it_says_so_and_names_one(self, resnet, keep):
        said = "not checked here: convc verify"
        assert said in resnet.page.locator("#verdict").inner_text()
        resnet.step(HOIST)
        assert said in resnet.page.locator("#stops .check").inner_text()
        keep(resnet, "resnet50-unchecked")

    def test_with_one_every_pass_has_its_verdict(self, look):
        seen = look(ZOO["resnet20"].network(), [Verdict("fuse-conv-bn: greatest error 0", True, "fuse-conv-bn")])
        assert "1 check agrees" in seen.page.locator("#verdict").inner_text()
        seen.page.locator("#stops .stop", has_text="fuse-conv-bn").click()
        assert seen.texts("#stops .check") == ["\N{CHECK MARK} fuse-conv-bn: greatest error 0"]


class TestWhatAPassDid:
    def test_what_no_rule_names_is_in_the_entry_and_the_panel(self, resnet, keep):
        resnet.step(HOIST)
        told = resnet.page.locator("#stops .told").first
        assert "so came conv2_2.relu3.thin; so changed conv3_1.bn1, conv3_1.shortcut.bn1" in told.inner_text()
        told.locator(".link", has_text=re.compile(r"^conv2_2\.relu3\.thin$")).click()
        history = resnet.page.locator("#panel section", has_text="What passes did with it").inner_text()
        assert "made by hoist for conv2_3.relu3" in history
        keep(resnet, "resnet50-so-came")

    def test_the_rest_of_many_names_unfolds(self, resnet):
        resnet.step(HOIST)
        told = resnet.page.locator("#stops .told").first
        assert "conv2_3.relu3.thin" not in told.inner_text()
        for _ in range(2):
            told.locator(".more").first.click()
        assert "conv2_3.relu3.thin" in told.inner_text()
        assert "more" not in told.inner_text()

    def test_what_the_pass_does_comes_before_why_it_stands_there(self, resnet):
        resnet.step(HOIST)
        resnet.page.locator("#stops .told .link", has_text=re.compile(r"^conv3_1\.bn1$")).click()
        history = resnet.page.locator("#panel .entry", has_text="hoist-stride").inner_text()
        does = resnet.page.locator("#stops .does").inner_text()
        assert -1 < history.index(does) < history.index("Why at this place: ")

    def test_what_went_leads_to_what_stands_for_it(self, resnet):
        resnet.step(HOIST)
        resnet.page.locator("#stops .entry", has_text="conv2_3.relu3").click()
        assert "conv2_3.relu3.thin stands for it" in resnet.page.locator("#panel .status").inner_text()
        resnet.page.locator("#panel .status .link").click()
        assert resnet.page.locator("#panel .path").inner_text() == "conv2_3.relu3.thin"


class TestWhereMultiplyAddsWent:
    @pytest.mark.parametrize(("stop", "chosen"), [(0, "conv2_3.bn2.thin"), (HOIST, "conv2_3.bn2.thin")])
    def test_a_click_chooses_the_value_that_changed_most(self, resnet, stop, chosen):
        resnet.step(stop)
        place = resnet.page.locator("#stops section", has_text="Where multiply-adds changed").locator(".entry", has_text="conv2_3")
        assert f"most at {chosen}: 116M → 28.9M" in place.inner_text()
        place.click()
        assert resnet.page.locator("#panel .path").inner_text() == chosen
        assert "was 115,605,504" in resnet.page.locator("#panel").inner_text()

    def test_a_folded_box_has_before_and_after_and_never_their_sum(self, resnet, keep):
        figures = resnet.page.locator(".box", has_text="conv2_3").locator(".under")
        resnet.step(HOIST)
        assert figures.text_content() == "7 values · 218M→93.1M MACs"
        resnet.page.click("#sides button[data-side=before]")
        assert figures.text_content() == "7 values · 218M MACs"
        resnet.page.click("#sides button[data-side=after]")
        assert figures.text_content() == "7 values · 93.1M MACs"
        keep(resnet, "resnet50-folded")


class TestTheWindow:
    def test_fit_shows_the_height_too_below_the_tools(self, resnet):
        resnet.page.click("#unfold")
        resnet.page.click("#fit")
        stage, tools, world = (resnet.page.locator(what).bounding_box() for what in ("#stage", ".tools >> nth=0", "#canvas .world"))
        assert world["y"] >= tools["y"] + tools["height"]
        assert world["y"] + world["height"] <= stage["y"] + stage["height"]

    def test_a_wheel_scrolls_and_with_ctrl_zooms_down_to_a_floor(self, resnet):
        resnet.page.locator("#canvas").hover()
        k, x, y = scale_and_place(resnet)
        resnet.page.mouse.wheel(0, 100)
        resnet.page.wait_for_function(f"!document.querySelector('#canvas .world').getAttribute('transform').includes(',{y:g})')")
        assert scale_and_place(resnet) == pytest.approx((k, x, y - 100), abs=0.01)
        resnet.page.keyboard.down("Control")
        for _ in range(20):
            resnet.page.mouse.wheel(0, 500)
        resnet.page.keyboard.up("Control")
        resnet.page.wait_for_timeout(100)
        assert 0.1 < scale_and_place(resnet)[0] < k

    def test_a_stop_moves_to_its_first_change(self, resnet):
        resnet.step(HOIST)
        box, stage = (resnet.page.locator(what).bounding_box() for what in (".box:has-text('conv2_2')", "#stage"))
        assert stage["y"] < box["y"] < stage["y"] + stage["height"] - box["height"]

    def test_stops_and_words_are_explained(self, resnet, keep):
        assert resnet.texts("#ends span") == ["from start to end", "end: hoist-stride"]
        assert "from start to end" in resnet.page.locator("#stops .current .stop").inner_text()
        titles = resnet.page.locator("#ticks span").evaluate_all("(ticks) => ticks.map((tick) => tick.title)")
        assert titles == ["All passes, from start to end", "fuse-conv-bn", "hoist-stride"]
        resnet.page.click("#help-button")
        words = resnet.texts("#help .words dt")
        assert {"pass", "rewrite", "stop", "value", "scope", "MACs", "arena", "CONV3-64/2", "-O2", "hoist", "fuse"} <= set(words)
        keep(resnet, "words")
