"""convc verify"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from ...backends import reference
from ...ir.apart import joining_node, the_batch
from ...ir.errors import KernelMissing, Mismatch, UsageError
from ...ir.graph import Graph
from ...ir.other_runtimes import has_opaque, opaque_nodes_of
from ...ir.types import HALVES, Array
from ..checking.asked import AskedTolerance
from ..checking.batches import compare_batches
from ..checking.hold import Readied
from ..checking.narrowing import in_range
from ..checking.node_bounds import NodeCheck, NodeVerdict, check_nodes
from ..checking.oracle import Agreement, Oracle
from ..checking.units import NOISE_OF
from ..checking.verify import TwoNetworksDiffer, verify
from ..engines.cuda import least_batch
from ..engines.engine import Engine, FixedRuns, Run
from ..engines.optimize import optimize
from ..engines.table import ENGINES, ON_DEVICES, engines_named
from ..files.artifact import Artifact
from ..files.inputs import FILLS, random_inputs, read_inputs
from ..files.model import Request, artifact_of
from ..files.weights import check_numbers, check_there
from ..report.html.report import Report, Verdict
from .console import Console, emit_json, print_table, tell
from .devices import emulate_option, placed
from .html_file import write_html
from .options import THREADS, Number, gather, html_option, model_options
from .pictures import INPUTS, PictureOptions, picture_options, preparing_from
from .unkept import say_unkept

__all__ = ["command"]

TOLERANCE = Number(0, 1e30)


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What `convc verify` was asked for; the help of its options says what each means."""

    other: str | None
    other_weights: Path | None
    backends: str | None
    files: tuple[str, ...]
    nodes: bool
    rtol: float | None
    atol: float | None
    fill: str
    seed: int
    threads: int | None
    emulate: bool
    html: Path | None
    as_json: bool

    @property
    def tolerance(self) -> AskedTolerance | None:
        """None where it is to be derived."""
        return None if self.rtol is None and self.atol is None else AskedTolerance(self.rtol or 0.0, self.atol or 0.0)


@click.command("verify")
@model_options
@click.argument("other", required=False)
@click.option("--other-weights", type=click.Path(path_type=Path), help="Parameters of OTHER, as --weights has those of MODEL.")
@click.option(
    "-b",
    "--backends",
    metavar="tvm,onnx",
    help=f"Engines to hold against float64, or {', '.join(ON_DEVICES)}; default: those of {','.join(ENGINES)} that can.",
)
@click.option("-i", "--inputs", "files", multiple=True, help=INPUTS)
@click.option("--nodes", is_flag=True, help="Also hold every intermediate value to its local rounding bound: a table of layers.")
@click.option("--rtol", type=TOLERANCE, help="Allow this share of each result in place of the rounding that is predicted.")
@click.option("--atol", type=TOLERANCE, help="Allow this much besides, or alone in place of it.")
@click.option("--input-fill", "fill", type=click.Choice(FILLS), default="uniform", show_default=True, help="How random inputs are drawn.")
@picture_options
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of random inputs and of the noise.")
@click.option("--threads", type=THREADS, help="Threads of the engines; default: one a physical core.")
@emulate_option
@html_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@gather("given", VerifyOptions)
@click.pass_obj
def command(console: Console, request: Request, given: VerifyOptions, pictures: PictureOptions) -> None:
    """Hold backends against the float64 reference of MODEL, or MODEL against the network OTHER.

    Exits with 1 where they differ; --html and --json are written all the same.
    """
    engines = engines_named(given.backends or ",".join(ENGINES))
    if given.other is None and given.other_weights is not None:
        raise UsageError("--other-weights are those of a second network; name it after the first")
    if given.other is not None and given.nodes:
        raise UsageError("--nodes holds an engine's values to their bounds, and two networks run in no engine; leave it out, or OTHER")
    artifact = _artifact(request)
    graph = _load(console, request, artifact=artifact)
    preparing = preparing_from(console, request, graph, given.files, pictures)
    wanted = replace(request, model=given.other or request.model, weights=given.other_weights)
    if preparing.entering is None:  # then what is known of the other network goes for both
        preparing = preparing_from(console, wanted, graph, given.files, pictures)
    other = _load(console, wanted, "--other-weights", _artifact(wanted)) if given.other is not None else None
    drawn = None if given.files else random_inputs(graph, given.seed, _images(graph, artifact), given.fill)
    inputs = read_inputs(graph, given.files, preparing, console.say) if drawn is None else drawn
    if other is not None:
        found = _between(graph, other, inputs, given.seed, given.tolerance)
    else:
        able = _able(console, graph, engines) if given.backends is None else engines
        engines = [engine.within(artifact) for engine in placed(console, able, given.emulate)]
        say_unkept(console, () if artifact else engines)
        found = _Verified(_hold(console, graph, artifact, engines, inputs, given.seed, given.threads, given.tolerance))
    for line in () if given.as_json or found.apart else found.lines:  # what is apart has a sentence of its own
        tell(str(line))
        console.say(f"    {line.details}", level=1)
    if given.other is None:
        suspects = _suspects(console, graph, engines, found.lines, inputs, nodes=given.nodes)
        found = replace(found, looked=_look_inside(graph, suspects, inputs, given.threads))
    for check, seen in found.looked:
        if given.nodes and not given.as_json:
            print_table([_row(each) for each in seen], (f"value of {check.engine}", "with", "error", "bound", "share"))
        console.say(str(check))
    if given.as_json:
        emit_json({"other": given.other} | found.figures())
    if given.html is not None:
        write_html(console, given.html, found.report(graph, f"verify {request.model}{f' {given.other}' if given.other else ''}"))
    found.refuse(given.tolerance)


@dataclass(frozen=True)
class _Verified:
    """`lines` of outputs; `looked`, engines that were looked into, with every value that was seen; `apart`, that two networks differ."""

    lines: Sequence[Agreement]
    looked: Sequence[tuple[NodeCheck, Sequence[NodeVerdict]]] = ()
    apart: TwoNetworksDiffer | None = None

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        inside = [
            {"engine": check.engine, "agrees": check.agrees, "text": str(check), "values": [_record(each) for each in seen]}
            for check, seen in self.looked
        ]
        first = self.apart.first.name if self.apart and self.apart.first else None
        return {
            "results": [asdict(line) | {"agrees": line.agrees} for line in self.lines],
            "nodes": inside,
            "first_difference": first,
        }

    def report(self, graph: Graph, title: str) -> Report:
        held = [*self.lines, *(check for check, _ in self.looked)]
        verdicts = [Verdict(str(each), each.agrees) for each in held] if self.apart is None else [Verdict(str(self.apart), False)]
        bounds = {check.engine: {each.node.name: each.worst for each in seen} for check, seen in self.looked}
        return Report(graph, [], title, verdicts, bounds=bounds)

    def refuse(self, asked: AskedTolerance | None) -> None:
        """Raises: Mismatch for what differs, the most telling first: two networks, a value within, an output."""
        if self.apart is not None:
            raise self.apart
        if wrong := next((check for check, _ in self.looked if not check.agrees), None):
            raise Mismatch(str(wrong))
        if bad := sum(not line.agrees for line in self.lines):
            raise Mismatch(f"{bad} of {len(self.lines)} results differ by more than {'rounding' if asked is None else f'the {asked}'}")


def _between(graph: Graph, other: Graph, inputs: dict[str, Array], seed: int, asked: AskedTolerance | None) -> _Verified:
    """Two networks; that they differ is kept for later, since a report and JSON are wanted most of those."""
    try:
        return _Verified(verify(graph, other, inputs, seed) if asked is None else asked.hold_network(graph, other, inputs))
    except TwoNetworksDiffer as error:
        return _Verified(error.lines, apart=error)


def _suspects(
    console: Console, graph: Graph, engines: list[Engine], lines: Sequence[Agreement], inputs: dict[str, Array], *, nodes: bool
) -> list[Engine]:
    """Unasked a backend that differs is looked into, and with 16 bits each, whose noise could hide a filter."""
    if any(node.typed.dtype == "f16" for node in graph.ops) and (why := in_range(graph, inputs)[1]):
        console.say(f"warning: {why}: a device that keeps it so gives an infinity there")
    bad, held = {line.engine for line in lines if not line.agrees}, {line.engine for line in lines}
    low = any(node.typed.dtype in HALVES for node in graph.ops)
    asked = {engine.name for engine in engines if nodes or (low and not engine.holds_wide)}
    return [engine for engine in engines if engine.name in bad or engine.name in asked & held]


def _load(console: Console, request: Request, option: str = "--weights", artifact: Artifact | None = None) -> Graph:
    """Raises: InvalidModel, naming the file and `option`, for weights that are not there; InvalidInput, naming the file too, for weights
    that are NaN, with which any results would agree.
    """
    graph = console.load(request, artifact)
    check_there(graph, request.model, option)
    check_numbers(graph, request.model)
    return optimize(graph, 0)[0]


def _able(console: Console, graph: Graph, engines: list[Engine]) -> list[Engine]:
    """Those that compute all of the network."""
    lacking = [engine.name for engine in engines if has_opaque(graph) and not engine.runs_opaque]
    if lacking:
        console.say(f"not in {', '.join(lacking)}: {opaque_nodes_of(graph)}")
    return [engine for engine in engines if engine.name not in lacking]


def _row(verdict: NodeVerdict) -> tuple[str, ...]:
    others = ", ".join(verdict.covers[:-1])
    return f"%{verdict.node.name}", others, f"{verdict.error:.1e}", f"{verdict.bound:.1e}", f"{verdict.worst:.3f}"


def _record(verdict: NodeVerdict) -> dict[str, Any]:
    figures = {"error": verdict.error, "bound": verdict.bound, "share": verdict.worst, "agrees": verdict.agrees}
    return {"node": verdict.node.name, "covers": list(verdict.covers), **figures}


def _look_inside(
    graph: Graph, suspects: list[Engine], inputs: dict[str, Array], threads: int | None
) -> list[tuple[NodeCheck, list[NodeVerdict]]]:
    """Every value of these engines against its local bound, and all that was seen of it."""

    def looked(engine: Engine) -> tuple[NodeCheck, list[NodeVerdict]]:
        seen: list[NodeVerdict] = []
        return check_nodes(graph, engine, inputs, threads, see=seen.append), seen

    return [looked(engine) for engine in suspects]


def _artifact(request: Request) -> Artifact | None:
    """The artifact that the model is, if it is one, every file of it checked."""
    artifact = artifact_of(request)
    return artifact.check() if artifact else None


def _hold(
    console: Console,
    graph: Graph,
    artifact: Artifact | None,
    engines: list[Engine],
    inputs: dict[str, Array],
    seed: int,
    threads: int | None,
    asked: AskedTolerance | None,
) -> list[Agreement]:
    """Every backend against the oracle, or within what was `asked`: an artifact's own files where the model is one.

    Raises: KernelMissing for a backend that lacks one, where there is no other to hold.
    """
    precision = NOISE_OF.get(artifact.target.precision, "f32") if artifact else "f32"
    oracle = Oracle.by_tiles(graph, graph, inputs, seed, precision) if asked is None else None
    exact = {} if asked is None else reference.run(graph, inputs, "f64")
    lines: list[Agreement] = []
    for engine in engines:
        ready = functools.partial(_ready, graph, artifact, threads)
        tiles = engine.tiles(graph)
        try:
            run = ready(engine)
        except KernelMissing as error:
            if len(engines) == 1:
                raise
            console.say(f"warning: {engine.name} was not held: {error}")
            continue
        if engine.fixed is not None:
            console.say(f"{engine.name}: {_batches_held(engine.fixed)}")
        if oracle is not None:
            lines += compare_batches(Readied(graph, engine, run, tiles, ready, threads), inputs, oracle(tiles))
        elif asked is not None:
            lines += asked.hold_sizes(graph, engine, run, inputs, exact)
    return lines


def _batches_held(fixed: FixedRuns) -> str:
    held, rest = (", ".join(map(str, batches)) for batches in (fixed.batches, fixed.left_out))
    left = f"; those of {rest} are on a GPU" if rest else ""
    again = f", then {fixed.turns} runs of each batch; where their kernels add alike, digits are the same"
    return f"held for {f'batches of {held}' if held != '0' else 'the batch that it has'}{left}: a run of the inputs{again}"


def _images(graph: Graph, artifact: Artifact | None) -> dict[str, int]:
    """Where images may depend on each other as many as an artifact takes at least, for no others can be among them."""
    name = the_batch(graph)
    return {name: least_batch(artifact)} if artifact is not None and name is not None and joining_node(graph, name) else {}


def _ready(graph: Graph, artifact: Artifact | None, threads: int | None, engine: Engine) -> Run:
    return engine.open(artifact, threads) if artifact else engine.start(graph, threads)
