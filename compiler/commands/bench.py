"""convc bench"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from ...ir.binding import batch_names, specialize
from ...ir.errors import UsageError
from ...ir.files import write_file
from ...ir.graph import Graph
from ...ir.usual_sizes import usual_sizes
from ...ir.version import installed
from ...passes.pipelines import LEVELS
from ..bench.doubts import MUCH, doubts_of, is_in_doubt, memory_notes
from ..bench.layer_times import ROUGH, ROUGH_MEANS, LayerTime, slowest
from ..bench.measure import Contender, Measured, Measuring, batch_of, measure
from ..bench.side_by_side import same_nodes
from ..bench.written import bench_csv, chrome_trace
from ..engines.optimize import optimize
from ..engines.peers import installed_peers
from ..engines.table import engine_named, measurable
from ..files.artifact import Artifact
from ..files.model import Request
from ..report.html.report import KernelRun, Peaks, Report
from ..targets.options import FP32, TF32
from .console import Console, emit_json, print_table, tell
from .html_file import write_html
from .options import THREADS, Number, gather, html_option, model_options, output_option
from .unkept import say_unkept

__all__ = ["command", "processor_name"]

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "apache-tvm", "openvino", "torch")
HEADINGS = ("engine", "median ms", "p10", "p90", "p99", "images/s", "GF/s", "of peak", "arena MiB", "MiB", "ready in s")
IN_DOUBT = "in doubt"  # in place of a share of the peak that cannot be
DAY = 86_400  # seconds
DURATION = "Turns until each engine has had so many seconds, in place of --runs."
WARMUP = "Seconds of runs before the first turn that do not count; default: one run."


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What `convc bench` was asked for; the help of its options says what each means."""

    backends: str | None
    batch: int | None
    threads: int | None
    streams: int
    runs: int | None
    duration: float | None
    warmup: float
    level: int
    profile: bool
    html: Path | None
    csv: Path | None
    trace: Path | None
    as_json: bool


@click.command("bench")
@model_options
@click.option(
    "-b",
    "--backends",
    metavar="tvm,onnx",
    help="Engines, as NAME or NAME@LEVEL to optimize otherwise for one; default: tvm, onnx, installed peers.",
)
@click.option("--batch", type=click.IntRange(1), help="Images a run; all engines compile for that many. Default: the network's own, or 1.")
@click.option("--threads", type=THREADS, help="Threads of every engine, for each stream; default: one a physical core, shared by streams.")
@click.option("--streams", type=click.IntRange(1, 1024), default=1, show_default=True, help="Runs at once, each in a thread of its own.")
@click.option("--runs", type=click.IntRange(1, 10_000), help="Turns of 0.1 s, or of one run; default: 10.")
@click.option("--duration", type=Number(0, DAY, min_open=True), metavar="SECONDS", help=DURATION)
@click.option("--warmup", type=Number(0, DAY), metavar="SECONDS", default=0.0, help=WARMUP)
@click.option("-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="Optimization level, for all alike.")
@click.option("--profile", is_flag=True, help="Also time the kernels of tvm and onnx, side by side for the nodes that they compute.")
@output_option("--csv", (".csv",), "Also write a row for each engine, and each kernel of --profile, as comma-separated values.")
@output_option("--trace", (".json",), "Also write the kernels of --profile as a Chrome trace, which Perfetto opens.")
@html_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@gather("given", BenchOptions)
@click.pass_obj
def command(console: Console, request: Request, given: BenchOptions) -> None:
    """Time engines on MODEL, turn by turn, each in a process of its own: percentiles, images a second, GFLOP/s and the share of the peak.

    What others do on the machine meanwhile is looked at, and said where it makes the times doubtful.
    """
    contenders = _contenders(given)
    _check(given)
    if (artifact := Artifact.at(Path(request.model))) is not None:
        console.say(f"'{request.model}': {_anew(artifact.target.precision)}")
    graph = console.load(request)
    how = _how(given, batch_of(graph, given.batch))
    say_unkept(console, [measurable()[contender.engine] for contender in contenders])
    measured = measure(graph, contenders, how, left_out=None if given.backends else console.say)
    settings = _settings(how)
    _write(console, given, graph, measured, contenders, how, {"model": request.model, **settings})
    if given.as_json:
        emit_json({**settings, "turns": measured.turns, "versions": installed(PACKAGES), **_record(measured)})
        return
    peak = f"; peak {measured.peak:.0f} GF/s" if measured.peak else ""
    peak += f", {measured.peak_gbytes:.1f} GB/s of memory" if measured.peak_gbytes else ""
    at_once = f"{how.streams} streams of {how.threads} threads" if how.streams > 1 else f"{how.threads} threads"
    turns = f"{measured.turns} turn{'' if measured.turns == 1 else 's'}"
    console.say(f"{request.model}, batch {how.batch}, {at_once} of {settings['processor']}, {turns}{peak}")
    console.say(", ".join(map(" ".join, installed(PACKAGES).items())))
    _print_engines(measured)
    for doubt in doubts_of(measured):
        console.say(f"warning: {doubt}; measure again when nothing else runs")
    _print_kernels(measured, everything=console.verbosity > 0)
    if busy := [timing.engine for timing in measured.timings if not timing.quiet]:
        console.say(f"threads of {', '.join(busy)} still spun when the next turn came: the times of the others may be too long")


def _anew(precision: str) -> str:
    """What is timed of an artifact: 16 bits are in its network, and tf32 is how kernels were told to multiply one of float32."""
    anew = "its network is compiled anew for this machine, and that is timed, not the library in it"
    kept = f"; that is float32, for {TF32} is no type of the network" if precision == TF32 else f", in {precision} as it is"
    return anew if precision == FP32 else anew + kept


def _contenders(given: BenchOptions) -> list[Contender]:
    """Raises: UsageError for one that does not exist, or where none of them can be profiled as asked for."""
    named = given.backends.split(",") if given.backends else ["tvm", "onnx", *installed_peers()]
    contenders = [_contender(name.strip(), given.level) for name in named]
    profiled = [name for name, engine in measurable().items() if engine.start_profiled]
    if given.profile and not any(contender.engine in profiled for contender in contenders):
        raise UsageError(f"--profile times the kernels of {' or '.join(profiled)}; name it among --backends")
    return contenders


def _check(given: BenchOptions) -> None:
    """Raises: UsageError for two lengths of the measurement, and for files that would have nothing in them."""
    if given.duration is not None and given.runs is not None:
        raise UsageError("--runs and --duration both say how long to measure; leave one out")
    for option, path in (("--html", given.html), ("--trace", given.trace)):
        if path is not None and not given.profile:
            raise UsageError(f"{option} shows where the time of a run goes; give --profile too")


def _how(given: BenchOptions, batch: int) -> Measuring:
    from ...backends.tvm.host import physical_cores

    threads = given.threads or max(1, physical_cores() // given.streams)
    return Measuring(threads, given.runs or 10, batch, given.streams, given.duration or 0.0, given.warmup, given.profile, given.level)


def _settings(how: Measuring) -> dict[str, Any]:
    machine = {"processor": processor_name(), "cores": os.cpu_count()}
    return {**machine, "threads": how.threads, "streams": how.streams, "batch": how.batch, "warmup_seconds": how.warmup}


def _write(
    console: Console,
    given: BenchOptions,
    graph: Graph,
    measured: Measured,
    contenders: Sequence[Contender],
    how: Measuring,
    settings: Mapping[str, Any],
) -> None:
    """The files that were asked for."""
    if given.csv is not None:
        write_file(given.csv, bench_csv(measured.timings, measured.profiles, settings))
        console.say(f"wrote {given.csv}")
    if given.trace is not None:
        write_file(given.trace, chrome_trace(measured.profiles, settings))
        console.say(f"wrote {given.trace}")
    if given.html is not None:
        write_html(console, given.html, _seen(graph, measured, contenders, how))


def _seen(graph: Graph, measured: Measured, contenders: Sequence[Contender], how: Measuring) -> Report:
    """The network as the engine whose kernels were timed had it, with what passes did for that."""
    ours = next(contender for contender in contenders if contender.name in measured.profiles)
    sizes = usual_sizes(graph, dict.fromkeys(batch_names(graph), how.batch))
    sized = specialize(graph, sizes)
    _, trace = optimize(sized, ours.level, prices=engine_named(ours.engine, measurable()).prices)
    times = {
        name: [
            KernelRun(each.kernel, each.nodes, each.microseconds, each.share, each.products, each.bytes, each.spread, each.limit_text)
            for each in layers
        ]
        for name, layers in measured.profiles.items()
    }
    peaks = None
    if measured.peak and measured.limits and measured.limits.bandwidth:
        measured_on = f"measured here on {how.threads} thread{'' if how.threads == 1 else 's'}"
        peaks = Peaks(measured.peak * 1e9, measured.limits.bandwidth, measured_on)
    notes = [f"{t.engine}: {t.p50_ms:.2f} ms a run, from {t.p10_ms:.2f} to {t.p90_ms:.2f}, {t.gflops:.0f} GF/s" for t in measured.timings]
    notes += [*doubts_of(measured), *memory_notes(measured)]
    return Report(
        sized, trace, f"bench --profile, batch {how.batch}", measured=notes, times=times, peaks=peaks, how_to_check="convc verify"
    )


def _contender(text: str, level: int) -> Contender:
    """Raises: UsageError for an engine or a level that does not exist."""
    name, found, own = text.partition("@")
    engine_named(name, measurable())
    if found and own not in map(str, range(len(LEVELS))):
        raise UsageError(f"'{text}': there is no level '{own}'; choose 0 to {len(LEVELS) - 1}")
    return Contender(text, name, int(own) if found else level)


def _record(measured: Measured) -> dict[str, object]:
    record: dict[str, object] = {
        "peak_gflops": measured.peak,
        "peak_gbytes": measured.peak_gbytes,
        "slowed": measured.slowed,
        "got": measured.got,
        "load": measured.load.as_json(),
        "doubts": doubts_of(measured),
        "engines": [asdict(timing) for timing in measured.timings],
    }
    if not measured.profiles:
        return record
    profiles = [
        {"engine": name, "microseconds": sum(layer.microseconds for layer in layers), "layers": [asdict(layer) for layer in layers]}
        for name, layers in measured.profiles.items()
    ]
    return record | {"profiles": profiles, "same_nodes": [asdict(row) for row in same_nodes(measured.profiles)]}


def _print_engines(measured: Measured) -> None:
    if measured.timings:
        first = measured.timings[0]
        rows = [
            (
                t.engine,
                f"{t.p50_ms:.2f}",
                *(f"{ms:.2f}" if ms is not None else "-" for ms in (t.p10_ms, t.p90_ms, t.p99_ms)),
                f"{t.images_per_second:,.0f}" if t.images_per_second >= 100 else f"{t.images_per_second:.3g}",
                f"{t.gflops:.0f}",
                IN_DOUBT if is_in_doubt(t.peak_share, measured) else _percent(t.peak_share),
                f"{t.p50_ms / first.p50_ms:.2f}",
                _mebibytes(t.arena_bytes),
                _mebibytes(t.process_bytes),
                f"{t.ready_seconds:.1f}",
            )
            for t in measured.timings
        ]
        print_table(rows, (*HEADINGS[:8], f"over {first.engine}", *HEADINGS[8:]))


def _print_kernels(measured: Measured, everything: bool) -> None:
    if measured.profiles:
        tell("\n" + "\n".join(_slowest(engine, layers) for engine, layers in measured.profiles.items()))
    if len(measured.profiles) > 1:
        _print_side_by_side(measured.profiles)
    for engine, layers in measured.profiles.items():
        if len(measured.profiles) == 1 or everything:
            if everything and len(measured.profiles) > 1:
                tell("")
            rows = [_row(layer) for layer in layers]
            print_table(rows, ("us", "share", "GF/s", "GB/s", "MiB", "of limit", f"{engine}'s kernel", "nodes"))
        total = sum(layer.microseconds for layer in layers)
        longest = sum(layer.microseconds for layer in layers if layer.on_longest_path)
        tell(f"{engine}: {total:.0f} us in {len(layers)} kernels, {longest:.0f} us of them on the longest path")
    if any(layer.is_unsteady for layers in measured.profiles.values() for layer in layers):
        tell(ROUGH_MEANS)
    for note in memory_notes(measured):
        tell(note)


def _print_side_by_side(profiles: Mapping[str, Sequence[LayerTime]]) -> None:
    """Columns add up: what each engine takes in all is the last line."""
    first, *others = profiles
    rows = [(row.nodes, row.kernels, row.microseconds) for row in same_nodes(profiles)]
    whole = {engine: sum(layer.microseconds for layer in layers) for engine, layers in profiles.items()}
    rough = {engine: {name for layer in layers if layer.is_unsteady for name in _told_by(layer)} for engine, layers in profiles.items()}
    lines: list[tuple[str, ...]] = []
    for nodes, kernels, times in [*rows, (["in all"], {}, whole)]:
        marks = {engine: "" if rough[engine].isdisjoint(nodes or kernels.get(engine, ())) else ROUGH for engine in profiles}
        taken = [f"{marks[engine]}{times[engine]:.1f}" if engine in times else "-" for engine in profiles]
        taken.append(_percent(times[first] / whole[first] if first in times and whole[first] else None))
        own = [layer for layer in profiles[first] if nodes and not layer.moves and set(layer.nodes) <= set(nodes)]
        taken.append(own[0].limit_text if len(own) == 1 else "-")
        over = [f"{times[each] / times[first]:.2f}" if each in times and times.get(first) else "-" for each in others]
        lines.append((*taken, *over, *(_several(kernels.get(engine, [])) for engine in profiles), " ".join(nodes)))
    taken_by = (*(f"{each} us" for each in profiles), f"share of {first}", "of limit", *(f"{each} over {first}" for each in others))
    print_table(lines, (*taken_by, *profiles, "nodes"))


def _told_by(layer: LayerTime) -> Sequence[str]:
    """What its row has: the nodes, or of what only moves values the kernel's name."""
    return (layer.kernel,) if layer.moves else layer.nodes


def _several(kernels: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in Counter(kernels).items()) or "-"


def _slowest(engine: str, layers: Sequence[LayerTime]) -> str:
    """Where to look first."""
    found = slowest(layers)
    if found is None:
        return f"{engine} has no kernels"
    most, share = found
    near = "" if most.of_limit is None else f", at {most.of_limit:.0%} of the limit of {most.limit}"
    what = f"the slowest of {engine}: {' '.join([most.kernel, *(['of'] if most.nodes else []), *most.nodes])}"
    if any(layer.is_unsteady and layer.share > MUCH for layer in layers):
        return f"{what}, {share:.1%} of all by the fastest run of each ({ROUGH}{most.share:.1%} by the middle one)"
    return f"{what}, {most.share:.1%} of all{near}"


def _row(layer: LayerTime) -> tuple[str, ...]:
    speeds = (f"{layer.gflops:.0f}" if layer.macs else "-", f"{layer.gbytes:.1f}", f"{layer.bytes / 2**20:.2f}")
    return layer.time_text, f"{layer.share:.1%}", *speeds, layer.limit_text, layer.kernel, " ".join(layer.nodes)


def _mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.1f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def processor_name() -> str:
    """Its name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
