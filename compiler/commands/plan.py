"""convc plan"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ...ir.donation import following, in_order
from ...ir.errors import UsageError
from ...ir.files import write_file
from ...ir.graph import Graph
from ...ir.printer import print_graph
from ...ir.usual_sizes import usual_sizes
from ...passes.bottlenecks.forms import splittable_layers
from ...passes.manager import Stage
from ...passes.recompute import step_within, words_of
from ...passes.rewriting.ledger import Decline, Rewrite
from ..engines.onnxruntime import ONNXRUNTIME
from ..engines.optimize import optimize
from ..engines.table import engines_named
from ..files.calibration import MOST_IMAGES, Inputs, read_calibration
from ..files.entering import Entering, entering_of
from ..files.model import Request
from ..files.onnx_file import export_onnx
from ..files.weights import WEIGHT_FILES, check_numbers, write_weights
from ..planning.advice import advise
from ..planning.budget import Budget
from ..planning.certificate import HEADINGS, Certificate, beyond, certify, doubt_lines, far_off, latency_lines, lines_of
from ..planning.plan_file import PICTURES, PlanFile, check_splits, read_plan, write_plan
from ..planning.race import Races, measured_limits
from ..planning.search import CURVE, Planned, plan_network
from ..planning.study import excluded_layers, study
from ..report.frontier_svg import pareto_svg
from ..report.html.report import PlanCurve, Report
from ..training.onnx_step import export_training
from ..training.step import training_step
from .console import Console, emit_json, print_table, tell
from .html_file import write_html
from .options import MEMORY, SHARE, THREADS, check_suffix, gather, html_option, model_options, need_only
from .outputs import OUTPUT_FILE
from .pictures import PictureOptions, entering_from, picture_options, preparing_from, warn_of_lost

__all__ = ["command"]

PLAN_SUFFIXES = (".json", ".onnx", ".cir", ".svg")


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What `convc plan` was asked for; the help of its options says what each means."""

    macs: float | None
    params: float | None
    latency: float | None
    error: float | None
    memory: float | None
    in_place: bool
    files: tuple[str, ...]
    images: int
    pictures: PictureOptions
    exclude: tuple[str, ...]
    ends: bool
    multiple: int
    measure: bool
    check: int
    backends: str
    runs: int
    threads: int | None
    seed: int
    level: int
    apply_file: Path | None
    outputs: tuple[Path, ...]
    save_weights: Path | None
    html: Path | None
    as_json: bool

    @property
    def budgets(self) -> list[Budget]:
        """Those that were given, of which there should be one."""
        shares = {"macs": self.macs, "params": self.params, "latency": self.latency, "error": self.error}
        return [Budget(kind, share) for kind, share in shares.items() if share is not None]


@dataclass(frozen=True)
class Answer:
    """The network as it was and as planned, with the plan and what was measured. `budget` and `made` are None where a plan was applied."""

    network: str
    file: PlanFile
    before: Graph
    planned: Graph
    certificate: Certificate
    budget: Budget | None
    made: Planned | None
    entering: Entering | None

    @property
    def asked(self) -> str:
        return f"{self.budget.kind} {self.budget.share:g}" if self.budget is not None else "applied"

    @property
    def rejected(self) -> tuple[str, ...]:
        return self.made.rejected if self.made is not None else ()


@click.command("plan")
@model_options
@click.option("--macs", type=SHARE, help="Leave at most this share of the multiply-adds.")
@click.option("--params", type=SHARE, help="Leave at most this share of the parameters.")
@click.option("--latency", type=SHARE, help="Leave at most this share of the latency, as estimated from arithmetic and traffic.")
@click.option("--error", type=SHARE, help="The fewest multiply-adds with the outputs' relative error, on calibration inputs, within this.")
@click.option("--memory", type=SHARE, help=MEMORY)
@click.option("--in-place", is_flag=True, help="With --memory: of a step that writes the next weights over the old ones.")
@click.option("--calibration", "files", multiple=True, metavar="FILE", help="Photographs or one .npz of inputs; else weights alone decide.")
@click.option("--images", type=click.IntRange(2, MOST_IMAGES), default=32, show_default=True, help="Crops made of the photographs.")
@picture_options
@click.option("--exclude", multiple=True, metavar="LAYER", help="Leave this layer as it is.")
@click.option("--ends", is_flag=True, help="Also split the first and the last layer.")
@click.option("--multiple", type=click.IntRange(1, 512), default=16, show_default=True, help="Of ranks; less in narrow layers.")
@click.option("--measure/--no-measure", default=True, show_default=True, help="Reject splits that are not faster in onnxruntime.")
@click.option("--check", type=click.IntRange(1, 10_000), default=4, show_default=True, help="Images of each kind in the certificate.")
@click.option("-b", "--backends", metavar="tvm,onnx", default="onnx", show_default=True, help="Engines timed for the certificate.")
@click.option("--runs", type=click.IntRange(1, 1000), default=10, show_default=True, help="Turns of each latency.")
@click.option("--threads", type=THREADS, help="Threads; default: one a physical core.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of crops and samples.")
@click.option("-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="Optimization level before planning.")
@click.option("--apply", "apply_file", type=click.Path(path_type=Path), help="Take the splits of this plan.")
@click.option("-o", "--output", "outputs", multiple=True, type=OUTPUT_FILE, help="A .json plan, .onnx, .cir or .svg.")
@click.option("--save-weights", type=OUTPUT_FILE, help="The planned network's weights as .safetensors or .npz, for net.cir.")
@click.option("--advise", "advice", is_flag=True, help="Only print what published 1x1 reductions would save.")
@html_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@gather("given", PlanOptions)
@click.pass_obj
def command(console: Console, request: Request, given: PlanOptions, advice: bool) -> None:
    """Put 1x1 bottlenecks into MODEL: approximations, chosen under one budget for all layers, and measured.

    Give one of --macs, --params, --latency and --error, or --apply a plan. --memory says instead what a step of training computes again.
    Exits with 1 if the plan misses its budget, because splits were rejected that are not faster; it is written all the same.
    --error holds on calibration inputs: where those held out are above it a warning says so, and it exits with 0.
    """
    if given.html is not None and (advice or given.memory is not None):
        raise UsageError("--html shows a plan of bottlenecks; `convc inspect --training --memory` has one for a step of training")
    if advice:
        need_only("--advise", "--json")
        _advise(console.load(request), given.as_json)
        return
    if given.in_place and given.memory is None:
        raise UsageError("--in-place is of a step of training, which --memory plans; give both")
    if given.memory is not None:
        _plan_memory(console, request, given.memory, given)
        return
    budget = _budget(given)
    source = read_plan(given.apply_file) if given.apply_file is not None else None
    answer = _answer(console, request, budget, source, given)
    for path in given.outputs:
        _write(path, answer)
        console.say(f"wrote {path}")
        if path.suffix == ".onnx":
            warn_of_lost(console, answer.entering, path)
    if given.save_weights is not None:
        write_weights(answer.planned, given.save_weights, entering=answer.entering)
        warn_of_lost(console, answer.entering, given.save_weights)
    if given.html is not None:
        write_html(console, given.html, _seen(answer))
    if given.as_json:
        missed = answer.made.missed if answer.made is not None else 0.0
        head = {"budget": answer.asked, "missed": missed, "rejected": answer.rejected}
        emit_json(head | _in_units(answer.certificate))
    else:
        _print(answer.certificate)
    for line in (*beyond(answer.certificate, budget), *far_off(answer.certificate), *doubt_lines(answer.certificate)):
        console.say(f"warning: {line}")
    if answer.made is not None:
        answer.made.check()


def _plan_memory(console: Console, request: Request, share: float, given: PlanOptions) -> None:
    """Raises: UsageError with options of other plans, or for files that take no step."""
    need_only("--memory", "--in-place", "-o", "--output", "--json")
    for path in given.outputs:
        check_suffix("-o with --memory", path, (".cir", ".onnx"))
    graph = console.load(request)
    entering, step = entering_from(console, request, graph, ()), training_step(graph)
    donated = following(step) if given.in_place else {}
    found = step_within(in_order(step, donated), share, donated=donated)
    for path in given.outputs:
        if path.suffix == ".onnx":
            export_training(found.graph, path, entering=entering)
        else:
            write_file(path, print_graph(found.graph, origins=True).encode())
        console.say(f"wrote {path}")
    if given.as_json:
        sizes = {"before_bytes": found.before, "after_bytes": found.after, "share": found.share}
        emit_json({**sizes, "flops": found.flops, "paid_flops": found.paid, "groups": found.groups})
    else:
        print_table([(f"{place}", ", ".join(names)) for place, names in enumerate(found.groups, 1)], ("", "computed again"))
        tell(words_of(found, step))


def _budget(given: PlanOptions) -> Budget | None:
    """Raises: UsageError unless one budget, or a plan, was given, and files that can be written."""
    if len(given.budgets) + (given.apply_file is not None) != 1:
        raise UsageError("give one of --macs, --params, --latency, --error, --memory and --apply")
    for path in given.outputs:
        check_suffix("-o", path, PLAN_SUFFIXES)
        if path.suffix == ".svg" and not given.budgets:
            raise UsageError(f"-o '{path}' is a picture of what could be chosen, and --apply chooses nothing; leave it out")
    if given.save_weights is not None:
        check_suffix("--save-weights", given.save_weights, WEIGHT_FILES)
    return given.budgets[0] if given.budgets else None


def _answer(console: Console, request: Request, budget: Budget | None, source: PlanFile | None, given: PlanOptions) -> Answer:
    """The plan of this budget, or the one from `source`, measured."""
    from ...backends.tvm.host import physical_cores

    threads = given.threads or physical_cores()
    measure = functools.partial(measured_limits, threads)
    races = Races(engines_named(given.backends), threads, given.runs, measure)
    level, inputs = _settings(source, given)
    graph = console.load(request)
    check_numbers(graph)
    graph, _ = optimize(graph, level)
    preparing = preparing_from(console, request, graph, inputs.files, _pictures(inputs))
    calibration = read_calibration(graph, inputs.files, inputs.images, inputs.seed, preparing, console.say)
    entering = entering_of(request.weights, graph)
    if not calibration.is_real:
        console.say("no --calibration: ranks come from the weights alone, errors are measured on random inputs and not predicted")
    layers = splittable_layers(graph, usual_sizes(graph))
    made: Planned | None = None
    if budget is None:
        assert source is not None
        assert given.apply_file is not None
        check_splits(source, layers, given.apply_file, graph.name)
        console.say(
            f"1 of 2: the splits of '{given.apply_file}' are fitted" + (" to the calibration inputs anew" if calibration.is_real else "")
        )
        known = study(graph, calibration, {layer.name for layer in layers} - set(source.splits), None, threads, inputs.seed)
        inserted = known.insertion(source.splits)
    else:
        console.say("1 of 3: what each layer can do without, and what that does to the outputs")
        excluded = excluded_layers(layers, given.exclude, ends=given.ends)
        known = study(graph, calibration, excluded, budget.cost, threads, inputs.seed)
        console.say("2 of 3: splits are chosen" + (", and timed beside their layers" if given.measure and budget.kind != "params" else ""))
        made = plan_network(known, budget, given.multiple, threads, measured=given.measure, measure=measure, say=console.say)
        inserted = made.inserted
    console.say(f"{'2 of 2' if budget is None else '3 of 3'}: both networks are compared and timed")
    found = certify(inserted, calibration, given.check, races)
    made = made and replace(made, certificate=found)
    return Answer(graph.name, PlanFile(level, inputs, inserted.plan.splits), inserted.before, inserted.after, found, budget, made, entering)


def _settings(source: PlanFile | None, given: PlanOptions) -> tuple[int, Inputs]:
    """The level and the calibration inputs: of the call, or those that a plan was made with where the call names none.

    Raises: UsageError where it says how photographs are prepared, and names none.
    """
    inputs = Inputs(given.files, given.images, given.seed, **{name: getattr(given.pictures, name) for name in PICTURES})
    if not given.files and given.pictures != PictureOptions():
        raise UsageError("--mean, --resize and their like say how photographs are prepared; give some with --calibration")
    if source is None:
        return given.level, inputs
    return source.level, inputs if given.files else source.inputs


def _pictures(inputs: Inputs) -> PictureOptions:
    return PictureOptions(**{name: getattr(inputs, name) for name in PICTURES})


def _write(path: Path, answer: Answer) -> None:
    if path.suffix == ".onnx":
        export_onnx(answer.planned, path)
    elif path.suffix == ".cir":
        write_file(path, print_graph(answer.planned, origins=True).encode())
    elif path.suffix == ".svg" and answer.budget is not None and answer.made is not None:
        write_file(path, _picture(answer, answer.budget, answer.made).encode())
    else:  # also into a pipe or a device, which has no suffix
        write_plan(path, answer.file, answer.network, answer.asked, answer.rejected, answer.certificate.as_json())


def _picture(answer: Answer, budget: Budget, made: Planned) -> str:
    return pareto_svg(f"{answer.network}, {answer.asked}", budget.cost, made.menu.points(CURVE), made.marks)


def _seen(answer: Answer) -> Report:
    """The splits as one pass: rewrites of layers, each with its errors, and those that were not faster as declined."""
    rewrites = tuple(
        Rewrite(
            f"{line.split}: error {'not' if line.predicted is None else f'{line.predicted:.2g}'} predicted, {line.measured:.2g} measured, "
            f"{line.accumulated:.2g} accumulated",
            line.name,
            (),
            (),
        )
        for line in answer.certificate.layers
    )
    declined = tuple(Decline("plan", name, why) for name, _, why in (line.partition(": ") for line in answer.rejected))
    stage = Stage("plan", f"--{answer.asked}", answer.planned, rewrites, 0.0, ONNXRUNTIME.prices, declined=declined)
    made = answer.made
    frontier = None if made is None else PlanCurve(made.budget.cost, made.menu.points(CURVE), made.marks)
    latencies = tuple(latency_lines(answer.certificate))
    notes = tuple(line for line in lines_of(answer.certificate) if line not in latencies)
    measured = (*latencies, *doubt_lines(answer.certificate))
    return Report(answer.before, [stage], f"plan --{answer.asked}", notes=notes, measured=measured, frontier=frontier)


def _in_units(found: Certificate) -> dict[str, Any]:
    """For programs: keys say the units of what they hold. A plan's file keeps the names that it had."""
    record = found.as_json()
    costs = {"arena_bytes" if name == "arena" else name: both for name, both in record["costs"].items()}
    named = {name: record[name] for name in ("layers", "outputs", "doubts", "load")}
    return named | {"costs": costs, "latency_ms": record["latency"]}


def _print(found: Certificate) -> None:
    print_table(found.rows(), HEADINGS)
    for line in lines_of(found):
        tell(line)


def _advise(graph: Graph, as_json: bool) -> None:
    modules, convs = advise(optimize(graph, 0)[0], usual_sizes(graph))
    if as_json:
        inception = [{"name": m.name, "naive_macs": m.naive, "reduced_macs": m.reduced, "here": m.here} for m in modules]
        alone = [{"name": c.name, "form": c.form, "width": c.width, "macs": c.macs, "reduced_macs": c.reduced} for c in convs]
        emit_json({"modules": inception, "convs": alone})
        return
    if modules:
        rows = [(m.name, _millions(m.naive), _millions(m.reduced), f"{m.reduced / m.naive:.2f}", m.here) for m in modules]
        total = sum(m.naive for m in modules), sum(m.reduced for m in modules)
        rows.append(("total", _millions(total[0]), _millions(total[1]), f"{total[1] / total[0]:.2f}", ""))
        print_table(rows, ("module", "naive", "with 1x1 reductions", "share", "this network is"))
    if convs:
        rows = [(c.name, _millions(c.macs), f"{c.form}, {c.width}", _millions(c.reduced), f"{c.reduced / c.macs:.2f}") for c in convs]
        print_table(rows, ("conv", "MACs", "bottleneck", "MACs with it", "share"))
    if not modules and not convs:
        tell("no large kernel reads many channels without a 1x1 conv before it")


def _millions(macs: int) -> str:
    return f"{macs / 1e6:.1f}M"
