"""The report.txt of an artifact: what a compilation did, why, and how well engines agree on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...backends.tvm.cpu.product_errors import form_name
from ...ir.binding import batch_names
from ...ir.graph import Graph
from ...ir.usual_sizes import counting_sizes
from ...passes.analysis.cost import graph_cost
from ...passes.manager import Stage
from ..checking.oracle import Agreement
from ..checking.winograd_choice import TileChoice
from ..report.html.report import Verdict
from ..report.text import stage_line
from ..targets.target import Built

__all__ = ["compile_report", "verdicts"]


def compile_report(
    graph: Graph,
    better: Graph,
    trace: Sequence[Stage],
    built: Built,
    choices: Mapping[str, TileChoice],
    agreements: Sequence[Agreement],
    narrowed: Sequence[str] = (),
    unheld: str = "",
) -> str:
    """The report.txt of an artifact. `choices` are of its library for each processor, "" where there is one; `narrowed` says what was
    brought into a narrower precision, and what was not and why; `unheld` what of the artifact did not run in the check.
    """
    cost = graph_cost(better, counting_sizes(better))
    lines = [
        f"@{graph.name} for {built.kind} ({built.tvm})",
        f"{cost.macs:,} multiply-adds, {cost.params:,} parameters, {cost.weight_bytes:,} bytes of weights",
        "",
        "Passes",
    ]
    before = graph
    for stage in trace:
        lines += [f"  {stage_line(before, stage)}", f"    why: {stage.why}"]
        before = stage.graph
    lines += ["", "Precision", *(f"  {line}" for line in narrowed)] if narrowed else []
    lines += built.report("an image" if batch_names(graph) else "a run")
    for processor, choice in choices.items():
        forms = [f"{name}: {form_name(m)}" for name, m in choice.tiles.items()]
        if choice.why:
            lines += ["", f"Fewer products{processor and f' on {processor}'}", *(f"  {line}" for line in (*choice.why, *forms))]
    lines += ["", f"Checked against float64, random input{_images(graph)}" if agreements else "Not checked (--no-check)"]
    lines += [f"  {line}" for line in (*agreements, *([unheld] if unheld else []))]
    return "\n".join(lines) + "\n"


def _images(graph: Graph) -> str:
    """That the inputs of the check had, where their number is a named size, and whether others were tried."""
    images = ", one image and two" if batch_names(graph) else ""
    return images + (", at two sizes" if set(graph.symbols) - batch_names(graph) else "")


def verdicts(agreements: Sequence[Agreement]) -> list[Verdict]:
    """For the HTML report."""
    return [Verdict(str(line), line.agrees) for line in agreements]
