"""How large reports are, how long they take to write and to draw: each beside its bar. Needs Chromium; `make test-browser` says what else."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.report.html.page import html_report
from convc.compiler.report.html.report import Report
from convc.ir.graph import Graph
from convc.models import ZOO
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS
from convc.tests.support.browser import Seen, started
from convc.tests.support.reports import deep_network

STEPS = 9
# seconds beyond the passes, MiB, milliseconds of the first drawing, of a step; None where no bar was set
BARS = {
    "resnet50": (2.0, 2.5, 1000, 150),
    "resnet152": (None, 4.0, None, None),
    "5,000 in scopes": (None, None, 3000, 300),
    "5,000 without": (None, None, 3000, 300),
}
NETWORKS: dict[str, Callable[[], Graph]] = {
    "resnet50": lambda: ZOO["resnet50"].network(),
    "resnet152": lambda: ZOO["resnet152"].network(),
    "5,000 in scopes": lambda: deep_network(715),
    "5,000 without": lambda: deep_network(715, scoped=False),
}


def main() -> int:
    missed = 0
    print(f"{'report':16} {'nodes':>7} {'written s':>10} {'MiB':>6} {'drawn ms':>9} {'step ms':>8} {'unfold ms':>10}")
    with started() as browser, tempfile.TemporaryDirectory() as folder:
        for name, network in NETWORKS.items():
            path = Path(folder) / "report.html"
            nodes, seconds = _write(network(), path)
            seen = Seen(browser, path)
            drawn, stops = seen.drawn_after(), int(seen.page.get_attribute("#slider", "max"))
            step = statistics.median(seen.step(1 + i % stops if i % 2 else 0) for i in range(STEPS)) if stops else 0.0
            unfolded = seen.timed("document.getElementById('unfold').click()")
            seen.close()
            found = (seconds, path.stat().st_size / 2**20, drawn, step)
            words = (
                f"{value:.2f}{_beside(value, bar)}" if i < 2 else f"{value:.0f}{_beside(value, bar)}"
                for i, (value, bar) in enumerate(zip(found, BARS[name], strict=True))
            )
            print(f"{name:16} {nodes:7,} {'  '.join(words)}  {unfolded:.0f}", flush=True)
            missed += sum(bar is not None and value > bar for value, bar in zip(found, BARS[name], strict=True))
    return min(missed, 1)


def _beside(value: float, bar: float | None) -> str:
    return "" if bar is None else f" (bar {bar:g}{'' if value <= bar else ', MISSED'})"


def _write(graph: Graph, path: Path) -> tuple[int, float]:
    """Nodes that are drawn, and the seconds beyond those of the passes."""
    _, trace = run_passes(graph, LEVELS[2], ONNXRUNTIME.prices)
    start = time.perf_counter()
    path.write_bytes(html_report(Report(graph, trace, "inspect -O2")))
    return sum(node.weights is None for node in graph.nodes), time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
