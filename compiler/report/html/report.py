"""What a report tells, as data: the page's scripts draw nothing that is not in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ....ir.graph import Graph, Node
from ....ir.legible import escaped
from ....ir.usual_sizes import counting_sizes
from ....ir.version import __version__
from ....passes.catalog import PASSES
from ....passes.manager import Stage
from ..layer_table import LayerLine, layer_table
from .grouping import grouping_of
from .memory_rows import memory_rows
from .node_rows import NodeRows
from .splices import splices
from .totals import Totals, is_typed
from .touched import touched
from .weight_rows import weight_rows

__all__ = ["KernelRun", "Peaks", "PlanCurve", "Report", "Verdict", "report_data"]

FORMAT = 2
PLAIN = frozenset({int, str, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Verdict:
    """A check in a sentence, whether what was held to it agrees, and the pass that it is of."""

    text: str
    agrees: bool
    of: str = ""


@dataclass(frozen=True, slots=True)
class KernelRun:
    """A kernel that an engine ran for some nodes, by name. Units: `microseconds` a run; `share` of all time; `products` multiply-adds that
    it does itself; `bytes` each moved once. `spread` is the slower of its rounds over its fastest run, `limit` how near it is to what the
    machine does at most, "-" where nobody knows.
    """

    kernel: str
    nodes: Sequence[str]
    microseconds: float
    share: float
    products: int
    bytes: int
    spread: float = 1.0
    limit: str = "-"


@dataclass(frozen=True, slots=True)
class Peaks:
    """The roofs: floating-point operations and bytes a second, and `how` they are known."""

    flops: float
    bytes: float
    how: str


@dataclass(frozen=True, slots=True)
class PlanCurve:
    """Plans as (share of the `cost` that is left, relative error): those that could be chosen, and by name what was."""

    cost: str
    curve: Sequence[tuple[float, float]]
    marks: Sequence[tuple[str, tuple[float, float]]]


@dataclass(frozen=True)
class Report:
    """A network as it came, and what every pass made of it. `subject` says what was asked, such as `inspect -O2`.

    What else is known: verdicts of checks, `notes` in sentences, kernels as engines ran them, by the engine's name, the machine's roofs, by
    default those that passes reckon with, the plans that a plan was chosen from, and by engine and node the error as a share of its bound.
    `how_to_check` is the command that tells whether the results are the same, for a report without checks.

    What clocks and the system measured, `times`, `peaks`, `measured` in sentences and the seconds of passes, is apart from all else in the
    page: without it two reports of the same are the same bytes.
    """

    graph: Graph
    trace: Sequence[Stage]
    subject: str
    checks: Sequence[Verdict] = ()
    notes: Sequence[str] = ()
    measured: Sequence[str] = ()
    times: Mapping[str, Sequence[KernelRun]] = field(default_factory=dict[str, Sequence[KernelRun]])
    peaks: Peaks | None = None
    frontier: PlanCurve | None = None
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    how_to_check: str = ""


def report_data(report: Report) -> dict[str, Any]:
    """The page's data: tables of texts, a row for each distinct node, and each pass as what it cut from the graph before and put in.

    Names are places in `names` throughout, nodes those of their rows.
    """
    graphs = [report.graph, *(stage.graph for stage in report.trace)]
    typed = next((graph for graph in graphs if is_typed(graph)), None)
    sizes = counting_sizes(typed) if typed is not None else {}
    rows = NodeRows(sizes)
    orders = [rows.of(graph) for graph in graphs]
    totals = Totals(sizes, rows.costs)
    grouping = grouping_of(report.graph, report.trace)
    ends = [graph for graph in (typed, graphs[-1]) if graph is not None and is_typed(graph)]
    data: dict[str, Any] = {
        "format": FORMAT,
        "convc": __version__,
        "title": escaped(report.graph.name),
        "subject": escaped(report.subject),
        "sizes": sizes,
        "start": {
            "order": orders[0],
            "outputs": _names(report.graph.outputs, rows),
            "totals": totals.of(graphs[0], report.trace[0].prices if report.trace else None),
        },
        "steps": [
            _step(before, stage, was, now, rows, totals)
            for before, stage, was, now in zip(graphs, report.trace, orders, orders[1:], strict=False)
        ],
        "groups": grouping.groups,
        "place": {rows.name(name): group for name, group in grouping.of.items() if group >= 0},
        "layers": [_layers(graph, sizes, rows) for graph in ends],
        "memory": [memory_rows(graph, sizes, rows.name) for graph in ends],
        "weights": weight_rows([graphs[-1], graphs[0]], rows),
        **_beside(report, rows),
    }
    measured = _measured(report, rows)  # which has names too
    return cast("dict[str, Any]", _in_json(data | rows.tables() | {"measured": measured}))


def _beside(report: Report, rows: NodeRows) -> dict[str, Any]:
    """What is known beside the trace."""
    frontier = report.frontier
    return {
        "checks": [(escaped(check.text), check.agrees) for check in report.checks],
        "verdicts": {check.of: escaped(check.text) for check in report.checks if check.of},
        "unchecked": "" if report.checks else escaped(report.how_to_check),
        "notes": [escaped(note) for note in report.notes],
        "peaks": _peaks(_reckoned(report.trace)),
        "machine": report.trace[-1].prices.machine if report.trace else "",
        "bounds": [(engine, {rows.name(name): worst for name, worst in of.items()}) for engine, of in report.bounds.items()],
        "frontier": None if frontier is None else {"cost": frontier.cost, "curve": frontier.curve, "marks": frontier.marks},
    }


def _measured(report: Report, rows: NodeRows) -> dict[str, Any]:
    """What another run has otherwise."""
    runs = {engine: [(k.kernel, [*map(rows.name, k.nodes)], *_figures(k)) for k in kernels] for engine, kernels in report.times.items()}
    return {
        "notes": [escaped(note) for note in report.measured],
        "seconds": [stage.seconds for stage in report.trace],
        "times": list(runs.items()),
        "peaks": _peaks(report.peaks),
    }


def _peaks(peaks: Peaks | None) -> dict[str, Any] | None:
    return None if peaks is None else {"flops": peaks.flops, "bytes": peaks.bytes, "how": peaks.how}


def _figures(run: KernelRun) -> tuple[float, float, int, int, float, str]:
    return run.microseconds, run.share, run.products, run.bytes, run.spread, escaped(run.limit)


def _reckoned(trace: Sequence[Stage]) -> Peaks | None:
    """The roofs by which passes decided."""
    if not trace:
        return None
    prices = trace[-1].prices
    whose = prices.machine or "one core of the engine"
    return Peaks(2 * prices.macs, prices.bytes, f"what passes reckon with for {whose}; `convc bench --profile --html` measures them")


def _step(before: Graph, stage: Stage, was: list[int], now: list[int], rows: NodeRows, totals: Totals) -> dict[str, Any]:
    """One pass. A rewrite is [rule, root, [took], [made], [else came], [else changed]].

    Its totals are left out where it left the graph as it was.
    """
    known = PASSES.get(stage.name)
    step: dict[str, Any] = {
        "pass": stage.name,
        "does": known.summary if known is not None else "",
        "why": escaped(stage.why),
        "rewrites": [
            (r.rule, rows.name(r.root), *([*map(rows.name, names)] for names in (r.took, r.made, *others)))
            for r, others in zip(stage.rewrites, touched(before, stage.graph, stage.rewrites), strict=True)
        ],
        "declined": [(decline.rule, rows.name(decline.root), escaped(decline.why)) for decline in stage.declined],
    }
    if stage.problem:
        step["problem"] = escaped(stage.problem)
    if was != now:
        step["splices"] = splices(was, now)
        step["totals"] = totals.of(stage.graph, stage.prices)
    return step


def _layers(graph: Graph, sizes: Mapping[str, int], rows: NodeRows) -> dict[str, Any]:
    """The lines of `convc summary --every`; what is left of named sizes is text."""
    table = layer_table(graph, every=True, sizes=sizes)
    return {"lines": [_layer(line, rows) for line in table.lines], "totals": table.totals}


def _layer(line: LayerLine, rows: NodeRows) -> tuple[Any, ...]:
    figures = (line.memory, line.memory_bytes, line.weights, line.biases, line.macs)
    return (rows.name(line.name), line.layer, line.output, *figures, line.weights_text)


def _names(nodes: Sequence[Node], rows: NodeRows) -> list[int]:
    return [rows.name(node.name) for node in nodes]


def _in_json(value: object) -> object:
    """What JSON has no words for as texts: dimensions, NaN and infinities."""
    if value.__class__ in PLAIN:  # nearly all of them
        return value
    if isinstance(value, list | tuple):
        return [each if each.__class__ in PLAIN else _in_json(each) for each in cast("Sequence[object]", value)]
    if isinstance(value, Mapping):
        return {key: _in_json(each) for key, each in cast("Mapping[object, object]", value).items()}
    return value if isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value)) else str(value)
