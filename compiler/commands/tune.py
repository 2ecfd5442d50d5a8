"""convc tune"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...ir.binding import batch_names, need_elements, specialize
from ...ir.errors import ConvcError, UsageError
from ...ir.files import kept_together
from ...ir.graph import Graph
from ...ir.load import LoadWatch
from ...ir.progress import progress
from ...ir.suggest import did_you_mean
from ...ir.usual_sizes import usual_sizes
from ..engines.optimize import optimize
from ..engines.tvm import TVM
from ..files.model import Request
from .compile import TILES, WINOGRAD
from .console import Console, emit_json, print_table
from .options import gather, model_options
from .outputs import OUTPUT_FOLDER

if TYPE_CHECKING:
    from ...backends.tvm.store.tuned_forms import Found
    from ...backends.tvm.tuning.crew import Unconfirmed
    from ...backends.tvm.tuning.survey import Served, TunableLayer
    from ...backends.tvm.tuning.timing import OpenBench

__all__ = ["command"]

SURVEYED = 0.5  # of the time, at most; in the rest something is to be found


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What `convc tune` was asked for; the help of its options says what each means."""

    seconds: int
    names: tuple[str, ...]
    trials: int
    batch: int
    level: int
    winograd: str
    database: str | None
    tracker: str | None
    key: str
    as_json: bool


@dataclass(frozen=True, slots=True)
class Benches:
    """Where forms are measured: `count` at a time, each with so many `threads`."""

    open: OpenBench
    count: int
    threads: int


def _database(context: click.Context, param: click.Parameter, text: str | None) -> str | None:
    """Refused before the work where it cannot be written."""
    return text if text in (None, "off") else str(OUTPUT_FOLDER.convert(text, param, context))


@click.command("tune")
@model_options
@click.option("--seconds", type=click.IntRange(1), default=600, show_default=True, help="Begin nothing after so long.")
@click.option("--layer", "names", multiple=True, metavar="NODE", help="Only the kernel of this node, even if it was tuned before.")
@click.option("--trials", type=click.IntRange(1, 1000), default=64, show_default=True, help="Forms of a kernel that are tried at most.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images, where the batch is a name.")
@click.option("-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="Optimization level.")
@click.option("--winograd", type=click.Choice(WINOGRAD), default="auto", show_default=True, help=TILES)
@click.option(
    "--database", metavar="DIR", callback=_database, help="Where to keep what is found; default: the cache, where compile looks for it."
)
@click.option(
    "--tracker", metavar="HOST:PORT", help="Measure on the servers of this tracker of TVM's, which must be machines like this one."
)
@click.option("--key", default="convc", show_default=True, help="The key of those servers.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@gather("given", TuneOptions)
@click.pass_obj
def command(console: Console, request: Request, given: TuneOptions) -> None:
    """Find faster forms of MODEL's convolutions on this machine.

    What `convc compile` makes afterwards uses them. A kernel keeps its rule's form unless another was measured to be faster by 3%, in two
    rounds apart; results do not change. What was finished is kept, whatever ends the run, and not done again; where rounds do not agree
    nothing is kept.
    """
    begun = time.monotonic()
    from ...backends.tvm.store.tuned_forms import Found, find_database, write_found
    from ...backends.tvm.tuning.peak import MachinePeak
    from ...backends.tvm.tuning.search import tune
    from ...backends.tvm.tuning.survey import survey

    place = find_database(given.database)
    if place is None:
        raise UsageError("the cache is off, so that there is no place for what is found; give a directory with --database")
    benches = _benches(given)
    watch = LoadWatch() if given.tracker is None else None  # servers are elsewhere, or are no children of ours
    graph = _network(console, request, given)
    here, known = _known(console, place, benches.threads)
    left = _left(console, graph, given, here, known)
    peak = MachinePeak(benches.threads)
    with kept_together():
        served = survey(benches.open, peak, left, begun + given.seconds * SURVEYED)
    if len(served) < len(left):
        measured = f"in half of {given.seconds} s the rules' forms of {len(served)} kernels were measured"
        console.say(f"{measured}; give more --seconds for the others")
    results: list[tuple[Served, Found]] = []
    unconfirmed: list[Unconfirmed] = []
    try:
        with kept_together(), progress("kernels tuned", len(served)) as advance:
            for each, result in tune(served, benches.open, peak, benches.count, here, given.trials, begun + given.seconds, known):
                if isinstance(result, ConvcError):
                    console.say(f"  a server is given up: {result}")
                    continue
                if isinstance(result, Found):
                    write_found(place, result)
                    results.append((each, result))
                    console.say(f"  {_verdict(each, result)}")
                else:
                    unconfirmed.append(result)
                    console.say(f"  {_not_confirmed(each, result)}")
                advance(1)
    finally:
        others = f", {len(unconfirmed)} not confirmed" if unconfirmed else ""
        console.say(f"{len(results)} of {len(left)} kernels finished and kept in {place}{others}")
    load = watch.load() if watch is not None else None
    if given.as_json:
        of_kernels = {"kernels": [_in_units(found) for _, found in results], "unconfirmed": [asdict(each) for each in unconfirmed]}
        emit_json({"database": str(place), "machine": here, **of_kernels, "load": load.as_json() if load is not None else None})
    else:
        _report(console, results)
    for doubt in load.doubts if load is not None else []:
        console.say(f"warning: {doubt}; what is kept was confirmed turn against turn, but its milliseconds may be too many")


def _benches(given: TuneOptions) -> Benches:
    """Those of the tracker, or this machine."""
    from ...backends.tvm.host import physical_cores
    from ...backends.tvm.tuning.timing import local_bench
    from ...backends.tvm.tuning.tracker import Tracker

    lender = Tracker(given.tracker, given.key) if given.tracker else None
    threads = physical_cores()
    if lender is None:
        return Benches(functools.partial(local_bench, threads), 1, threads)
    return Benches(functools.partial(lender.bench, threads), lender.servers, threads)


def _network(console: Console, request: Request, given: TuneOptions) -> Graph:
    """As it will run, all its sizes numbers."""
    graph, _ = optimize(console.load(request), given.level, prices=TVM.prices)
    need_elements(graph, "time")
    return specialize(graph, usual_sizes(graph, dict.fromkeys(batch_names(graph), given.batch)))


def _known(console: Console, place: Path, threads: int) -> tuple[str, Mapping[str, Found]]:
    """What this machine is called, and what was found for it before, by the kernels' keys."""
    from ...backends.tvm.cpu.kernels.machine import machine
    from ...backends.tvm.host import host_cpu, tvm
    from ...backends.tvm.store.tuned_forms import latest, read_found

    here = machine(host_cpu(), threads, str(tvm().__version__))
    found, complaint = read_found(place)
    if complaint:
        console.say(complaint)
    return here, latest(found, here)


def _left(console: Console, graph: Graph, given: TuneOptions, here: str, known: Mapping[str, Found]) -> list[TunableLayer]:
    """The layers that were asked for, or those of which not all forms, or --trials of them, were tried before."""
    from ...backends.tvm.cpu.plan import plan
    from ...backends.tvm.cpu.tiles import tiles_by_size
    from ...backends.tvm.host import host_processor
    from ...backends.tvm.tuning.survey import tunable_layers

    processor = host_processor()
    planned = plan(graph, tiles_by_size(graph, given.winograd, processor), processor=processor)
    tried = {kernel: each.tried for kernel, each in known.items()}
    chosen = _chosen(tunable_layers(planned), given.names)
    left = [layer for layer in chosen if given.names or tried.get(layer.kernel.key, 0) < min(given.trials, len(layer.kernel.forms()))]
    console.say(f"{len(chosen)} kernels, {len(chosen) - len(left)} of them tuned before; {here}")
    return left


def _chosen(every: Sequence[TunableLayer], names: Sequence[str]) -> list[TunableLayer]:
    known = {node: layer for layer in every for node in layer.nodes}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, f"there are {', '.join(list(known)[:8])}...")
            raise UsageError(f"no tunable kernel begins at a node '{name}'{hint}")
    return list({known[name].kernel.key: known[name] for name in names}.values()) if names else list(every)


def _in_units(found: Found) -> dict[str, Any]:
    """For programs: keys say the units of what they hold. A line of the database keeps the names that it had."""
    record = asdict(found)
    return record | {"rule_ms": record.pop("rule"), "best_ms": record.pop("best")}


def _not_confirmed(served: Served, found: Unconfirmed) -> str:
    gains = ", ".join(f"{gain:.2f}" for gain in found.gains)
    return f"{served.layer.nodes[0]}: {found.kernel}: not kept, as {found.why}: the best form was {gains} times as fast as the rule's"


def _verdict(served: Served, found: Found) -> str:
    change = f"{found.rule:.3f} -> {found.best:.3f} ms" if found.form else f"{found.rule:.3f} ms, the rule's stays"
    return f"{served.layer.nodes[0]}: {found.kernel}: {change}, {found.tried} forms"


def _report(console: Console, results: Sequence[tuple[Served, Found]]) -> None:
    rows: list[tuple[str, ...]] = []
    for each, found in results:
        gain = f"{found.rule / found.best:.2f}" if found.form else "-"
        nodes = each.layer.nodes
        rows.append((nodes[0], str(len(nodes)), f"{each.share:.0%}", f"{found.rule:.3f}", f"{found.best:.3f}", gain, str(found.tried)))
    if rows:
        print_table(rows, ("layer", "times", "of the peak", "rule ms", "best ms", "faster", "forms"))
    saved = sum((found.rule - found.best) * len(each.layer.nodes) for each, found in results if found.form)
    console.say(f"{saved:.2f} ms of a run saved")
