"""The site of docs/ in a browser, opened from a disk: it builds without a warning, asks for nothing but its own files, and says nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import convc
from convc.tests.support.browser import Seen

pytestmark = pytest.mark.browser
BUILD = Path(convc.__file__).parent / "docs" / "site" / "build.py"
PAGES = (
    "index.html",
    "tutorial.html",
    "recipes/results_differ.html",
    "checking/noise.html",
    "passes/fuse-conv-bn.html",
    "ops/conv.html",
    "commands/compile.html",
    "python/graphs.html",
)
LOOKS = {"desk": {"width": 1440, "color_scheme": "light"}, "telephone": {"width": 390, "color_scheme": "dark"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, str(BUILD), "--to", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture
def visit(browser, site):
    """Opens a page; at the end no page may have said anything, nor asked for what is not the site's."""
    visited = []

    def opens(page, **context):
        visited.append(Seen(browser, site / page, **context))
        return visited[-1]

    yield opens
    for seen in visited:
        assert seen.said == []
        assert [url for url in seen.asked if not url.startswith(site.as_uri())] == []
        seen.close()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_and_keeps_to_itself(visit, keep, page, look):
    seen = visit(page, **LOOKS[look])
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep(seen, f"site-{page.replace('/', '-').removesuffix('.html')}-{look}")


def test_formulas_are_mathml(visit):
    seen = visit("checking/noise.html")
    assert seen.page.locator("math").count() >= 15
    assert seen.page.locator("merror, .arithmatex").count() == 0


def test_what_is_typed_stands_out(visit):
    seen = visit("passes/fuse-conv-bn.html")
    assert seen.page.locator(".console b").all_inner_texts() == ["$ convc opt net.cir -p fuse-conv-bn"]


def test_search_finds_without_a_server(visit):
    seen = visit("index.html")
    seen.page.locator("[data-md-component=search-query]").press_sequentially("hoist-stride")
    seen.page.locator(".md-search-result__item a", has_text="hoist").first.wait_for(timeout=10_000)
