"""The passes that a command was asked for: run, shown, checked, dumped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...passes.manager import Stage, Step, run_passes, select
from ...passes.pipelines import LEVELS
from ..engines.onnxruntime import ONNXRUNTIME
from .console import Console
from .options import PassOptions

if TYPE_CHECKING:
    from ..checking.oracle import Agreement
    from ..checking.pass_check import PassCheck

__all__ = ["named_passes", "run_pipeline", "steps_of"]


def steps_of(asked: PassOptions) -> tuple[Step, ...]:
    """The pipeline that `pass_options` asked for: a level or a list, with passes added and left out.

    Raises: UsageError for a pass that does not exist.
    """
    steps = tuple(Step(name.strip(), "asked for with -p") for name in asked.passes.split(",")) if asked.passes else LEVELS[asked.level]
    return select(steps, asked.enable, asked.skip)


def named_passes(asked: PassOptions) -> frozenset[str]:
    """Those that somebody asked for by name, rather than by a level."""
    listed = [step.name for step in steps_of(replace(asked, enable=()))] if asked.passes else []
    return frozenset((*listed, *asked.enable)).difference(asked.skip)


def run_pipeline(
    console: Console,
    graph: Graph,
    asked: PassOptions,
    *,
    declines: bool = True,
    see: Callable[[Graph, Sequence[Agreement]], object] = lambda graph, lines: None,
) -> tuple[Graph, list[Stage]]:
    """Run what `pass_options` asked for; graphs and times that were asked for go to stderr, dumps to their folder.

    With -v what passes declined goes there too, unless the caller has a better place for `declines`. `see` is given what --verify-each
    found of every graph.

    Raises: Mismatch, a reproducer written, where --verify-each finds a pass that changes the results.
    """
    from ...passes.manager import known_pass

    for name in asked.print_ir_after:
        known_pass(name)
    check = _pass_check(graph, see) if asked.verify_each else None
    better, trace = run_passes(graph, steps_of(asked), ONNXRUNTIME.prices, _limits(asked.max_rewrites), check=check)
    _dump(graph, trace, asked.dump_dir)
    for stage in trace:
        _tell(console, stage, asked, declines=declines)
    if check is not None:
        from ..checking.pass_check import refuse_failures

        refuse_failures(graph, trace, check)
    return better, trace


def _tell(console: Console, stage: Stage, asked: PassOptions, *, declines: bool) -> None:
    from ...ir.printer import print_graph

    if stage.name in asked.print_ir_after or (asked.print_ir_after_change and stage.changed):
        console.show(f"# after {stage.name}\n{print_graph(stage.graph)}")
    for decline in stage.declined if declines else ():
        console.say(f"{stage.name} declined at %{decline.root}: {decline.why}", level=1)
    if asked.time_passes:
        console.say(f"{stage.seconds * 1e3:9.2f} ms  {stage.name}")


def _limits(texts: tuple[str, ...]) -> dict[str, int]:
    """Caps from `N` for all passes together, and `PASS=N`."""
    from ...passes.manager import ALL, known_pass

    limits: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not number.isdecimal():
            raise UsageError(f"--max-rewrites {text}: write it as N or PASS=N")
        limits[known_pass(name) if name else ALL] = int(number)
    return limits


def _pass_check(graph: Graph, see: Callable[[Graph, Sequence[Agreement]], object]) -> PassCheck:
    from ..checking.pass_check import PassCheck
    from ..engines.optimize import optimize

    return PassCheck(optimize(graph, 0)[0], see=see)


def _dump(graph: Graph, trace: Sequence[Stage], folder: Path | None) -> None:
    """Numbered .cir files: the graph as it came, and after each pass."""
    from ...ir.files import write_file
    from ...ir.printer import print_graph

    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write '{folder}': {error.strerror}") from error
    for number, (name, made) in enumerate([("input", graph), *((stage.name, stage.graph) for stage in trace)]):
        write_file(folder / f"{number:02}-{name}.cir", print_graph(made, origins=True).encode())
