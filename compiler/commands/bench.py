"""convc bench"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ...ir.binding import batch_names, specialize
from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...ir.usual_sizes import usual_sizes
from ...ir.version import installed
from ...passes.pipelines import LEVELS
from ..bench.layer_times import LayerTime
from ..bench.measure import Contender, Measured, bandwidth, measure
from ..bench.side_by_side import same_nodes
from ..engines.optimize import optimize
from ..engines.peers import installed_peers
from ..engines.table import engine_named, measurable
from ..files.artifact import Artifact
from ..files.model import Request
from ..report.html.report import KernelRun, Peaks, Report
from .console import Console, emit_json, print_table, tell
from .html_file import write_html
from .options import THREADS, html_option, model_options

__all__ = ["command", "processor_name"]

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "apache-tvm", "openvino", "torch")


@click.command("bench")
@model_options
@click.option(
    "-b",
    "--backends",
    metavar="tvm,onnx",
    help="Engines, as NAME or NAME@LEVEL to optimize otherwise for one; default: tvm, onnx, installed peers.",
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images a run; all engines compile for that many.")
@click.option("--threads", type=THREADS, help="Threads of every engine; default: one a physical core.")
@click.option("--runs", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Turns of 0.1 s, or of one run.")
@click.option("-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="Optimization level, for all alike.")
@click.option("--profile", is_flag=True, help="Also time the kernels of tvm and onnx, side by side for the nodes that they compute.")
@html_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(
    console: Console,
    request: Request,
    backends: str | None,
    batch: int,
    threads: int | None,
    runs: int,
    level: int,
    profile: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Time engines on MODEL, turn by turn, each in a process of its own: medians, spread, GFLOP/s and the share of the peak."""
    from ...backends.tvm.host import physical_cores

    named = backends.split(",") if backends else ["tvm", "onnx", *installed_peers()]
    contenders = [_contender(name.strip(), level) for name in named]
    profiled = [name for name, engine in measurable().items() if engine.start_profiled]
    if profile and not any(contender.engine in profiled for contender in contenders):
        raise UsageError(f"--profile times the kernels of {' or '.join(profiled)}; name it among --backends")
    if html is not None and not profile:
        raise UsageError("--html shows where the time of a run goes; give --profile too")
    threads = threads or physical_cores()
    if Artifact.at(Path(request.model)) is not None:
        console.say(f"'{request.model}': its network is compiled anew for this machine, and that is timed, not the library in it")
    graph = console.load(request)
    left_out = None if backends else console.say
    measured = measure(graph, contenders, threads, runs, batch=batch, profile=profile, level=level, left_out=left_out)
    if html is not None:
        write_html(console, html, _seen(graph, measured, contenders, threads, batch))
    machine = {"processor": processor_name(), "cores": os.cpu_count(), "threads": threads, "batch": batch, "turns": runs}
    if as_json:
        emit_json({**machine, "versions": installed(PACKAGES), **_record(measured)})
        return
    peak = f"; peak {measured.peak:.0f} GF/s" if measured.peak else ""
    console.say(f"{request.model}, batch {batch}, {threads} threads of {machine['processor']}, {runs} turns{peak}")
    console.say(", ".join(map(" ".join, installed(PACKAGES).items())))
    _print(measured, everything=console.verbosity > 0)
    for doubt in measured.doubts:
        console.say(f"warning: {doubt}; measure again when nothing else runs")
    if busy := [timing.engine for timing in measured.timings if not timing.quiet]:
        console.say(f"threads of {', '.join(busy)} still spun when the next turn came: the times of the others may be too long")


def _seen(graph: Graph, measured: Measured, contenders: Sequence[Contender], threads: int, batch: int) -> Report:
    """The network as the engine whose kernels were timed had it, with what passes did for that."""
    ours = next(contender for contender in contenders if contender.name in measured.profiles)
    sizes = usual_sizes(graph, dict.fromkeys(batch_names(graph), batch))
    sized = specialize(graph, sizes)
    _, trace = optimize(sized, ours.level, prices=engine_named(ours.engine, measurable()).prices)
    times = {
        name: [KernelRun(each.kernel, each.nodes, each.microseconds, each.share, each.macs, each.bytes) for each in layers]
        for name, layers in measured.profiles.items()
    }
    peaks = None
    if measured.peak:
        peaks = Peaks(measured.peak * 1e9, bandwidth(threads) * 1e9, f"measured here on {threads} thread{'' if threads == 1 else 's'}")
    notes = [f"{t.engine}: {t.median:.2f} ms a run, from {t.p10:.2f} to {t.p90:.2f}, {t.gflops:.0f} GF/s" for t in measured.timings]
    return Report(sized, trace, f"bench --profile, batch {batch}", measured=notes, times=times, peaks=peaks, how_to_check="convc verify")


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
        "slowed": measured.slowed,
        "doubts": measured.doubts,
        "engines": [asdict(timing) for timing in measured.timings],
    }
    if not measured.profiles:
        return record
    profiles = [
        {"engine": name, "microseconds": sum(layer.microseconds for layer in layers), "layers": [asdict(layer) for layer in layers]}
        for name, layers in measured.profiles.items()
    ]
    return record | {"profiles": profiles, "same_nodes": [asdict(row) for row in same_nodes(measured.profiles)]}


def _print(measured: Measured, everything: bool) -> None:
    if measured.timings:
        first = measured.timings[0]
        rows = [
            (t.engine, *(f"{ms:.2f}" for ms in (t.median, t.p10, t.p90)), f"{t.gflops:.0f}", _percent(t.peak_share), *ready)
            for t in measured.timings
            for ready in [(f"{t.median / first.median:.2f}", f"{t.start:.1f}")]
        ]
        print_table(rows, ("engine", "median ms", "p10", "p90", "GF/s", "of peak", f"over {first.engine}", "ready in s"))
    if len(measured.profiles) > 1:
        tell("")
        _print_side_by_side(measured.profiles)
    for engine, layers in measured.profiles.items():
        if len(measured.profiles) == 1 or everything:
            tell("")
            rows = [_row(layer, measured.peak) for layer in layers]
            print_table(rows, ("us", "share", "GF/s", "of peak", "GB/s", "MB", f"{engine}'s kernel", "nodes"))
        total = sum(layer.microseconds for layer in layers)
        longest = sum(layer.microseconds for layer in layers if layer.on_longest_path)
        tell(f"{engine}: {total:.0f} us in {len(layers)} kernels, {longest:.0f} us of them on the longest path")


def _print_side_by_side(profiles: Mapping[str, Sequence[LayerTime]]) -> None:
    """Columns add up: what each engine takes in all is the last line."""
    first, *others = profiles
    rows = [(row.nodes, row.kernels, row.microseconds) for row in same_nodes(profiles)]
    whole = {engine: sum(layer.microseconds for layer in layers) for engine, layers in profiles.items()}
    lines: list[tuple[str, ...]] = []
    for nodes, kernels, times in [*rows, (["in all"], {}, whole)]:
        taken = [f"{times[engine]:.1f}" if engine in times else "-" for engine in profiles]
        over = [f"{times[each] / times[first]:.2f}" if each in times and times.get(first) else "-" for each in others]
        lines.append((*taken, *over, *(_several(kernels.get(engine, [])) for engine in profiles), " ".join(nodes)))
    print_table(lines, (*(f"{each} us" for each in profiles), *(f"{each} over {first}" for each in others), *profiles, "nodes"))


def _several(kernels: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in Counter(kernels).items()) or "-"


def _row(layer: LayerTime, peak: float | None) -> tuple[str, ...]:
    speeds = (f"{layer.gflops:.0f}", _percent(layer.gflops / peak if peak else None)) if layer.macs else ("-", "-")
    moved = (f"{layer.gbytes:.1f}", f"{layer.bytes / 1e6:.2f}")
    return f"{layer.microseconds:.1f}", f"{layer.share:.1%}", *speeds, *moved, layer.kernel, " ".join(layer.nodes)


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
