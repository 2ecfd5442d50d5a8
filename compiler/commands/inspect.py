"""convc inspect"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...ir.printer import print_graph
from ...passes.manager import Stage
from ...passes.pipelines import MEMORY as MEMORY_STEP
from ...passes.recompute import step_within, words_of
from ...passes.rewriting.ledger import Rewrite
from ..engines.onnxruntime import ONNXRUNTIME
from ..files.artifact import Artifact
from ..files.model import Request
from ..report.html.report import Report, Verdict
from ..report.text import graph_diff, rewrites_of, stage_line, totals_line
from ..training.step import training_step
from .coloured import print_changes
from .console import Console, echo, emit_json, print_table, tell
from .html_file import write_html
from .options import MEMORY, SHARE, PassOptions, gather, html_option, model_options, pass_options
from .pipeline import run_pipeline

if TYPE_CHECKING:
    from ..checking.oracle import Agreement

__all__ = ["command"]

PLACES = 4  # of a pass's rewrites that are named


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """What `convc inspect` was asked for; the help of its options says what each means."""

    diff: bool
    context: int
    ir: bool
    list_passes: bool
    training: bool
    memory: float | None
    html: Path | None
    as_json: bool


@click.command("inspect")
@model_options
@pass_options
@click.option("--diff", is_flag=True, help="Show what each pass changed, line by line.")
@click.option("--context", type=click.IntRange(0), default=2, show_default=True, help="Unchanged lines around each change.")
@click.option("--ir", is_flag=True, help="Print the final graph and nothing else: IR text that `convc opt` reads.")
@click.option("--list-passes", is_flag=True, help="Print the pipeline with its reasons and stop.")
@click.option("--training", is_flag=True, help="Of a step of training with sgd instead.")
@click.option("--memory", type=SHARE, help=MEMORY)
@html_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@gather("given", InspectOptions)
@click.pass_obj
def command(console: Console, request: Request, passes: PassOptions, given: InspectOptions) -> None:
    """Show what the passes change in MODEL. With -v also those that change nothing, every place, and what was declined."""
    if given.memory is not None and not given.training:
        raise UsageError("--memory is of a step of training; give --training too")
    if (artifact := Artifact.at(Path(request.model))) is not None:
        console.say(artifact.word)
    loaded = console.load(request)
    original = training_step(loaded) if given.training else loaded
    seen: list[tuple[Graph, Sequence[Agreement]]] = []
    graph, trace = run_pipeline(console, original, passes, declines=given.ir, see=lambda held, lines: seen.append((held, lines)))
    if given.memory is not None:
        graph, trace = _within(console, graph, trace, given.memory)
    if given.html is not None:
        checks = _verdicts(trace, seen) if passes.verify_each else []
        write_html(console, given.html, Report(original, trace, _subject(passes), checks, how_to_check=_how(request.model, passes)))
    if given.list_passes:
        if given.as_json:
            emit_json({"passes": [{"pass": stage.name, "why": stage.why} for stage in trace]})
        else:
            print_table([(stage.name, stage.why) for stage in trace])
        return
    if given.ir:  # the text alone, for `convc opt` and for files
        echo(print_graph(graph), nl=False)
        return
    if given.as_json:
        emit_json({"passes": [_record(stage) for stage in trace]})
        return
    _print(original, trace, everything=console.verbosity > 0, context=given.context if given.diff else None)


def _print(original: Graph, trace: Sequence[Stage], *, everything: bool, context: int | None) -> None:
    """What each pass changed, and what all of them did together. With `everything` also passes that changed nothing, each place that was
    rewritten, and what was declined; with `context`, which counts lines around a change, the difference."""
    before, idle = original, list[str]()
    for stage in trace:
        if everything or stage.changed or stage.problem:
            tell(stage_line(before, stage) if _is_typed(before) else _untyped_line(stage), bold=stage.changed)
            tell(f"    why: {stage.why}")
            if stage.problem:
                tell(f"    rolled back: {stage.problem}", fg="red")
            if stage.changed:
                tell(f"    at {_places(stage.rewrites, everything=everything)}")
            for decline in stage.declined if everything else ():
                tell(f"    declined at %{decline.root}: {decline.why}")
            if context is not None:
                print_changes(graph_diff(before, stage.graph, context), indent="    ")
        else:
            idle.append(stage.name)
        before = stage.graph
    changed, declined = sum(stage.changed for stage in trace), [stage for stage in trace if stage.declined and not everything]
    tell(f"{changed} of {len(trace)} passes changed it" + (f"; -v shows the others too: {', '.join(idle)}" if idle else ""))
    if declined:
        places = [f"{len(stage.declined)} by {stage.name}" for stage in declined]
        tell(f"declined, for reasons that -v gives: {', '.join(places)}")
    if changed and _is_typed(original):
        tell(totals_line(original, trace[-1]), bold=True)


def _is_typed(graph: Graph) -> bool:
    return bool(graph.nodes) and all(node.type is not None for node in graph.nodes)


def _untyped_line(stage: Stage) -> str:
    return f"{stage.name}: {rewrites_of(stage)}, {stage.seconds * 1e3:.1f} ms"


def _places(rewrites: Sequence[Rewrite], *, everything: bool) -> str:
    """The nodes whose values are computed anew, the first of them unless `everything` is wanted."""
    roots = list(dict.fromkeys(f"%{rewrite.root}" for rewrite in rewrites))
    shown = roots if everything or len(roots) <= PLACES + 1 else roots[:PLACES]
    return ", ".join(shown) + (f" and {len(roots) - len(shown)} more" if len(shown) < len(roots) else "")


def _verdicts(trace: Sequence[Stage], seen: Sequence[tuple[Graph, Sequence[Agreement]]]) -> list[Verdict]:
    """Of --verify-each, which refuses a pass that fails: of each that changed the network, the output that came nearest to its bound."""
    found: list[Verdict] = []
    for stage in trace:
        worst = max(_lines(stage, seen), key=lambda line: line.worst, default=None)
        if worst is not None:
            error = f"greatest error {worst.error:.1e} at %{worst.output}, {worst.worst:.2f} of its bound"
            found.append(Verdict(f"{stage.name}: the results are those of the network as it came, in float64: {error}", True, stage.name))
    return found or [Verdict("no pass changed the network", True)]


def _lines(stage: Stage, seen: Sequence[tuple[Graph, Sequence[Agreement]]]) -> list[Agreement]:
    """What was found of its result, if it changed the network."""
    return [line for graph, lines in seen if stage.changed and graph is stage.graph for line in lines]


def _how(model: str, passes: PassOptions) -> str:
    name = shlex.quote(model)
    level = f"-p {shlex.quote(passes.passes)}" if passes.passes else f"-O{passes.level}"
    return f"convc inspect {name} {level} --verify-each, or convc verify {name}"


def _subject(passes: PassOptions) -> str:
    return f"inspect {f'-p {passes.passes}' if passes.passes else f'-O{passes.level}'}"


def _within(console: Console, graph: Graph, trace: list[Stage], share: float) -> tuple[Graph, list[Stage]]:
    """The graph in a share of its memory, as one more stage of the trace."""
    start = time.perf_counter()
    found = step_within(graph, share)
    console.say(words_of(found, graph))
    rewrites = tuple(Rewrite(MEMORY_STEP.name, names[0], names, ()) for names in found.groups)
    prices = trace[-1].prices if trace else ONNXRUNTIME.prices
    stage = Stage(MEMORY_STEP.name, MEMORY_STEP.why, found.graph, rewrites, time.perf_counter() - start, prices)
    return found.graph, [*trace, stage]


def _record(stage: Stage) -> dict[str, Any]:
    cost = stage.cost
    return {
        "pass": stage.name,
        "why": stage.why,
        "seconds": stage.seconds,
        "ops": dict(stage.op_counts),
        "macs": cost.macs,
        "params": cost.params,
        "bytes_moved": cost.bytes_moved,
        "estimated_seconds": stage.prices.whole(stage.graph),
        "rewrites": [{"rule": r.rule, "root": r.root, "took": list(r.took), "made": list(r.made)} for r in stage.rewrites],
        "declined": [asdict(decline) for decline in stage.declined],
    }
