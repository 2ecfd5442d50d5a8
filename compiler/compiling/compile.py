"""From a network to an artifact: optimize, export, build, check, write."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from ...backends.onnx.write.export import need_opset
from ...backends.tvm.cuda.batches import fixed_batches
from ...ir.binding import batch_names
from ...ir.errors import KernelMissing, Mismatch, UsageError
from ...ir.files import replace_directory
from ...ir.graph import Graph
from ...ir.ops.quantize import DEQUANTIZE_LINEAR
from ...ir.other_runtimes import refuse_opaque
from ...ir.printer import print_graph
from ...ir.suggest import did_you_mean
from ...ir.types import Array
from ...ir.version import __version__, installed
from ...passes.analysis.prices import Prices
from ...passes.manager import Stage, run_passes
from ...passes.pipelines import LEVELS
from ..checking.batches import compare_batches
from ..checking.hold import Readied
from ..checking.narrowing import loss_of
from ..checking.oracle import Agreement, Oracle, compare
from ..checking.pass_check import PassCheck, refuse_failures
from ..checking.units import NOISE_OF
from ..checking.winograd_choice import Oracles, TileChoice, choose_tiles
from ..engines.engine import Engine, Run
from ..engines.optimize import optimize
from ..engines.reference import REFERENCE
from ..engines.table import ENGINES
from ..engines.tvm import TVM
from ..files.artifact import CIR, MANIFEST, ONNX, REPORT, WEIGHTS, Artifact, foreign_files, manifest_of
from ..files.entering import Entering
from ..files.inputs import random_inputs
from ..files.weights import are_drawn, check_numbers, weights_bytes
from ..report.html.report import Report
from ..targets.options import CompileOptions
from ..targets.table import need_precision, target_named
from ..targets.target import Built, Say, Target
from .artifact_report import compile_report, verdicts
from .in_memory import as_step, need_step
from .peak_memory import measured_peak
from .precision import NARROW, feeds_of, in_precision, need_use

__all__ = ["compile_as", "compile_network"]

PACKAGES = ("numpy", "onnx", "onnxruntime-gpu", "onnxruntime", "apache-tvm", "apache-tvm-ffi")
ALL_DIGITS = "tf32: kernels may multiply 19 bits of float32; the stock ones multiply all 32, and what is checked allows for either"
NO_TILES = ("auto", "off")  # of Winograd, which any target may be asked for
NO_CHOICE = TileChoice({}, ())  # for a target that has no tiles


def compile_network(
    graph: Graph,
    path: str | Path,
    target: str = "cpu",
    level: int = 2,
    *,
    say: Say = lambda text: None,
    **options: Any,
) -> Artifact:
    """Compile into the artifact directory `path` and check every engine that runs here against float64.

    graph: the network.
    target: cpu, cuda, or cuda:sm_90 and the like.
    level: of the optimization before, 0 to 3.
    say: hears one line per step.

    The `options` are, as of `convc compile`:

    opset: of the ONNX file in the artifact; default: the newest that is run here.
    threads: of what is checked here; default: one a physical core.
    winograd: "off", "f2", "f4" or "auto".
    jobs: kernels that are compiled at a time.
    cached: whether kernels are kept for other networks.
    database: the folder with what `convc tune` found, or "off"; default: the cache.
    check: whether every engine that runs here is held against float64.
    seed: by which the inputs of that check are drawn.
    batches: numbers of images that a GPU's library is made for; default: 1, 8, 32, 256.
    cuda_graph: whether a run of one of them is a single launch.
    precision: "fp32", "tf32", "bf16" or "fp16".
    calibration: paths of inputs on which no layer may leave the range of fp16.
    memory: share of a step of training's live values that is left, by computing others again.
    in_place: whether a step writes its outputs `NAME.next` over the inputs `NAME`.
    mcpu: another processor than this machine's, by LLVM's name, or several with commas between them.
    mtriple: what that runs under, such as "aarch64-linux-gnu".

    Raises: UsageError for an unknown target or option; Mismatch, nothing written, if an engine's results differ.
    """
    known = [each.name for each in fields(CompileOptions) if each.name != "among"]
    if unknown := next((name for name in options if name not in known), None):
        hint = did_you_mean(unknown, known, f"it has {', '.join(known)}")
        raise UsageError(f"compile_network has no option '{unknown}'{hint}")
    return compile_as(graph, path, CompileOptions(target, level, **options), say)


def compile_as(
    graph: Graph,
    path: str | Path,
    options: CompileOptions,
    say: Say = lambda text: None,
    see: Callable[[Report], object] = lambda report: None,
    entering: Entering | None = None,
) -> Artifact:
    """As `compile_network`, by a record; `see` gets what was done for an HTML report, once the artifact stands. Photographs for calibration
    are normalized by `entering`.
    """
    target = target_named(options.target)
    _need_fitting(graph, options, target)
    path, parts = Path(path), target.each(options)
    processors = [target.processor(each) for each in parts] if target.processor else []
    need_step(graph, options, target)
    refuse_opaque(graph, options.target)
    check_numbers(graph)
    with replace_directory(path, foreign_files) as folder:
        prices = target.prices(options.precision)
        better, trace = _optimized(graph, options, prices)
        rewrites = sum(len(stage.rewrites) for stage in trace)
        say(f"optimized at -O{options.level}: {rewrites} rewrite{'' if rewrites == 1 else 's'}")
        better, trace = as_step(better, trace, options, say)
        wide, lines = better, (ALL_DIGITS,) if options.precision == "tf32" else ()
        if narrowed := in_precision(better, options.precision, _feeds(graph, options, entering, say), prices):
            better, lines, trace = narrowed.graph, narrowed.lines, [*trace, narrowed.stage]
        for line in lines:
            say(line)
        _write_network(better, _for_onnx(graph, wide, better, options, entering), folder, options.opset)
        say(f"exported {ONNX}")
        inputs = random_inputs(graph, options.seed)
        source, precision = (better, "f32") if better is not wide else (graph, NOISE_OF.get(options.precision, "f32"))
        oracle = Oracle.by_tiles(source, better, inputs, options.seed, precision) if options.check else None
        loss = loss_of(graph, better, inputs, options.seed) if options.check and better is not wide else None
        choices = [choose_tiles(better, options.winograd, oracle, each) for each in processors] or [NO_CHOICE]
        made = [target.build(better, folder, choice.tiles, each, say) for each, choice in zip(parts, choices, strict=True)]
        built = target.joined(better, folder, made, say)
        agreements, unmeasured = list[Agreement](), built
        if oracle:
            draft = Artifact.draft(folder, built)
            here = [target.is_here(each) for each in parts]
            built = built.measured(lambda: measured_peak(draft, options.threads) if any(here) else None)
            for held, engines in _to_hold(draft, target.libraries(built), here):
                agreements += _check(better, held, engines, oracle, inputs, options.threads, say, loss)
        unheld = _unheld(target, built, here=all(map(target.is_here, parts))) if oracle else ""
        if unheld:
            say(unheld)
        chosen = {each.mcpu or "" if each.among else "": choice for each, choice in zip(parts, choices, strict=True)}
        (folder / REPORT).write_text(compile_report(graph, better, trace, built, chosen, agreements, lines, unheld), encoding="utf-8")
        (folder / MANIFEST).write_bytes(manifest_of(folder, better, built, _versions(), drawn=are_drawn(graph)))
    unit = "an image" if batch_names(graph) else "a run"
    planned = _lines(unmeasured.report(unit))
    notes = (*lines, *planned, *([unheld] if unheld else []), *(line for choice in choices for line in choice.why))
    measured = [line for line in _lines(built.report(unit)) if line not in planned]
    how = "convc compile without --no-check"
    see(Report(graph, trace, f"compile -O{options.level} -t {options.target}", verdicts(agreements), notes, measured, how_to_check=how))
    return Artifact.open(path)


def _need_fitting(graph: Graph, options: CompileOptions, target: Target) -> None:
    """What cannot be is refused before the work, which may be long.

    Raises: UsageError for options that are for other targets or precisions, or batches that the network does not take.
    """
    need_precision(options.target, options.precision)
    need_use(options.calibration, options.precision)
    need_opset(options.opset)
    if options.batches is not None and not target.has_batches:
        raise UsageError(f"--batches is for a GPU; a library for {target.name} takes any batch")
    if options.batches is not None:
        _need_several(options.batches)
        fixed_batches(graph, options.batches)
    if target.processor is None and (options.mcpu or options.mtriple):
        raise UsageError(f"--mcpu and --mtriple are for a CPU, and the target is {options.target}; leave them out, or give -t cpu")
    if target.processor is None and options.winograd not in NO_TILES:
        raise UsageError(f"--winograd {options.winograd} is for a CPU, and kernels for {options.target} have no tiles of it; leave it out")
    if not target.has_batches and not options.cuda_graph:
        raise UsageError(f"--no-cuda-graph is for a GPU, and the target is {options.target}; leave it out")


def _need_several(batches: Any) -> None:
    """Raises: UsageError for one number where several are wanted, or for what are none."""
    if not isinstance(batches, Sequence) or not all(isinstance(each, int) for each in cast("Sequence[object]", batches)):
        raise UsageError(f"batches={batches!r}: give whole numbers in a tuple, such as ({batches if isinstance(batches, int) else 8},)")


def _lines(report: Iterable[str]) -> list[str]:
    return [line.strip() for line in report if line.strip()]


def _feeds(graph: Graph, options: CompileOptions, entering: Entering | None, say: Say | None = None) -> list[dict[str, Array]]:
    """On which nothing may leave the range of the precision: those that are given, and those that it is checked with."""
    if options.precision not in NARROW:
        return []
    return feeds_of(graph, options.calibration, options.seed, drawn=options.check, entering=entering, say=say)


def _for_onnx(graph: Graph, wide: Graph, better: Graph, options: CompileOptions, entering: Entering | None) -> Graph:
    """The network of the ONNX file: where weights are stored quantized it is one of its own, in which they are still.

    `better` is the optimized network, `wide` the same before it was brought into a precision.
    """
    if not any(node.kind is DEQUANTIZE_LINEAR and node.inputs[0].weights is not None for node in graph.ops):
        return better
    stored = optimize(graph, options.level)[0]
    narrowed = None if better is wide else in_precision(stored, options.precision, _feeds(graph, options, entering), TVM.prices)
    return narrowed.graph if narrowed else stored


def _write_network(graph: Graph, for_onnx: Graph, folder: Path, opset: int | None) -> None:
    from ...backends.onnx.write.export import to_model

    (folder / CIR).write_text(print_graph(graph, origins=True), encoding="utf-8")
    (folder / WEIGHTS).write_bytes(weights_bytes(graph))
    (folder / ONNX).write_bytes(to_model(for_onnx, opset).SerializeToString())  # an artifact has one file for it


def _optimized(graph: Graph, options: CompileOptions, prices: Prices) -> tuple[Graph, list[Stage]]:
    """The passes, each checked in float64 at batch 1.

    Raises: Mismatch naming the first pass that was rolled back, its reproducer written to the working directory.
    """
    if not options.check:
        return optimize(graph, options.level, prices=prices)
    pass_check = PassCheck(optimize(graph, 0)[0], seed=options.seed)
    better, trace = run_passes(graph, LEVELS[options.level], prices, check=pass_check)
    refuse_failures(graph, trace, pass_check)
    return better, trace


def _to_hold(draft: Artifact, libraries: Sequence[Built], here: Sequence[bool]) -> Iterator[tuple[Artifact, list[Engine]]]:
    """The draft with the engines that run it, the reference alone where none does: each of its libraries that are `here`, apart."""
    if not any(here):
        yield draft, [REFERENCE]
        return
    engines = list(ENGINES.values())
    for library, is_here in zip(libraries, here, strict=True):
        if is_here:
            held = Artifact.draft(draft.path, library)
            yield held, [_of_library(engine, held, len(libraries) > 1) for engine in engines]
            engines = [engine for engine in engines if engine.of_artifact is not None]  # the others ran the network as it is


def _unheld(target: Target, built: Built, *, here: bool) -> str:
    """What the check did not run, in words: where the library is for a device that is not here, the network's other engines agree with
    float64 and nothing is known of its kernels.
    """
    if here or not target.emulated_by:
        return ""
    return f"not executed: the kernels in {built.library}; convc verify ARTIFACT -b {target.emulated_by} runs them, or emulates them"


def _of_library(engine: Engine, held: Artifact, is_one_of_several: bool) -> Engine:
    is_named = is_one_of_several and engine.of_artifact is not None
    return replace(engine.within(held), name=f"{engine.name} by {held.target.library}") if is_named else engine.within(held)


def _check(
    better: Graph,
    draft: Artifact,
    engines: Sequence[Engine],
    oracle: Oracles,
    inputs: Mapping[str, Array],
    threads: int | None,
    say: Say,
    loss: Oracle | None = None,
) -> list[Agreement]:
    """Every engine that can run the draft, which computes `better`, against the float64 oracle of the network as it was given, or where
    that was brought into a narrower precision against its own, and then by `loss` against that of the network as it was given.

    Raises: Mismatch naming the engine and output that differ.
    """
    agreements: list[Agreement] = []
    for engine in engines:
        tiles = engine.tiles(better)
        opened = functools.partial(_opened, draft, threads)
        try:
            run = opened(engine)
        except KernelMissing as error:
            say(f"warning: {engine.name} was not held: {error}")
            continue
        lines = compare_batches(Readied(better, engine, run, tiles, opened, threads), inputs, oracle(tiles))
        if loss is not None:
            lines += compare(f"{engine.name}, what the precision loses", loss, run(inputs))
        agreements += lines
        for line in lines:
            say(str(line))
            if not line.agrees:
                raise Mismatch(f"{line}; nothing was written")
    return agreements


def _opened(draft: Artifact, threads: int | None, engine: Engine) -> Run:
    return engine.open(draft, threads)


def _versions() -> dict[str, str]:
    """The releases that made the artifact."""
    return {"convc": __version__, "python": platform.python_version(), **installed(PACKAGES)}
