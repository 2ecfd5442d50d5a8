"""What needs Chromium and Playwright: `make test-browser`. Without the latter nothing here is collected; without the former it is said."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.report.html.page import html_report
from convc.compiler.report.html.report import KernelRun, Report, Verdict
from convc.ir.graph import Graph
from convc.models import ZOO
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS
from convc.tests.support.browser import Seen, started

collect_ignore_glob = [] if importlib.util.find_spec("playwright") else ["test_*.py"]
PICTURES = Path(__file__).parents[2] / "build" / "report"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with started() as found:
        yield found


@pytest.fixture
def look(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Seen]]:
    """Opens the report of a network; at the end the page may have said nothing, and asked for nothing but itself."""
    opened: list[Seen] = []

    def opens(graph: Graph, checks: Sequence[Verdict] = (), times: Mapping[str, Sequence[KernelRun]] | None = None, **context: Any) -> Seen:
        path = tmp_path / f"{len(opened)}.html"
        trace = run_passes(graph, LEVELS[2], ONNXRUNTIME.prices)[1]
        path.write_bytes(html_report(Report(graph, trace, "inspect -O2", checks, times=times or {}, how_to_check="convc verify")))
        opened.append(Seen(browser, path, **context))
        return opened[-1]

    yield opens
    for seen in opened:
        assert seen.said == []
        assert [url for url in seen.asked if not url.startswith("file:") or not url.endswith(".html")] == []
        assert len(seen.asked) == 1
        seen.close()


@pytest.fixture
def resnet(look: Callable[..., Seen]) -> Seen:
    return look(ZOO["resnet50"].network())


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[[Seen, str], None]:
    """Keeps a picture of the page, for people to look at."""

    def keeps(seen: Seen, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        seen.page.screenshot(path=PICTURES / f"{name}.png")

    return keeps
