"""Options and output that commands share. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ...backends.tvm.host import most_threads
from ...ir.errors import ConvcError, UsageError
from ...ir.graph import Graph
from ...passes.manager import Stage, Step, run_passes, select
from ..dsl.zoo_entry import ZooEntry
from ..load import Request, load
from ..pipelines import LEVELS

if TYPE_CHECKING:
    from ..passcheck import PassCheck

__all__ = [
    "THREADS",
    "Desk",
    "check_suffix",
    "emit_json",
    "model_options",
    "pass_options",
    "print_table",
    "refuse_repeats",
    "run_pipeline",
    "run_request",
    "steps_of",
]

THREADS = click.IntRange(1, most_threads())
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Desk:
    """What every command gets: the zoo, and how much to say."""

    zoo: Mapping[str, ZooEntry]
    verbosity: int = 0

    def say(self, text: str, level: int = 0) -> None:
        """A line on stderr, for people; `level` 1 needs -v, and -q silences all."""
        if self.verbosity >= level:
            click.echo(text, err=True)

    def load(self, request: Request) -> Graph:
        return load(request, self.zoo, self.say)


def print_table(rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> None:
    """Aligned columns on stdout. Nothing is wrapped: a narrow terminal scrolls rather than break an expression."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings, box=None, show_header=bool(headings), pad_edge=False, padding=(0, 2, 0, 0))
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        table.add_row(*row)
    width = sum(max(map(len, column)) + 2 for column in zip(*rows, *([headings] if headings else []), strict=True)) if rows else 80
    console = Console(width=width + 1, highlight=False, markup=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def emit_json(value: Any) -> None:
    """NaN and infinities as the texts "NaN", "Infinity" and "-Infinity": JSON has no such numbers."""
    click.echo(json.dumps(_in_json(value), indent=2, allow_nan=False))


def _in_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_json(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_in_json(each) for each in cast("Sequence[Any]", value)]
    return json.dumps(value) if isinstance(value, float) and not math.isfinite(value) else value


def check_suffix(option: str, path: Path, suffixes: Sequence[str]) -> None:
    """Raises: UsageError unless the path ends in one of them, or is a pipe or a device, which has no suffix."""
    if path.suffix not in suffixes and (path.is_file() or path.is_dir() or not path.exists()):
        raise UsageError(f"{option} '{path}' is none of {', '.join(suffixes)}")


def model_options(command: F) -> F:
    """MODEL and what shapes it. The command receives one `request`."""
    import functools

    @functools.wraps(command)
    def wrapped(*, model: str, inputs: tuple[str, ...], settings: tuple[str, ...], weights: Path | None, strict: bool, **rest: Any) -> Any:
        return command(request=Request(model, inputs, settings, weights, strict), **rest)

    for decorate in (
        click.option("--strict-windows", "strict", is_flag=True, help="Refuse windows that do not tile their input."),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="Parameters from .safetensors, .npz or .pt, by own or PyTorch names.",
        ),
        click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="An option of the network, such as classes=10."),
        click.option("--input", "inputs", multiple=True, metavar="NAME:SHAPE", help="The shape of an input, such as image:N,3,256,256."),
        click.argument("model"),
    ):
        wrapped = decorate(wrapped)
    return wrapped  # pyright: ignore[reportReturnType]


def pass_options(command: F) -> F:
    """Which passes run and what they print."""
    for decorate in (
        click.option("--dump-dir", type=click.Path(path_type=Path), help="Write the graph after each pass as a numbered .cir file."),
        click.option("--verify-each", is_flag=True, help="Check results in float64 after each pass; roll a failing one back."),
        click.option("--time-passes", is_flag=True, help="Print the time of each pass."),
        click.option("--print-ir-after-change", is_flag=True, help="Print the graph after each pass that changed it."),
        click.option("--print-ir-after", metavar="PASS", multiple=True, help="Print the graph after this pass."),
        click.option("--max-rewrites", metavar="N|PASS=N", multiple=True, help="Stop after the Nth rewrite, of all or of one pass."),
        click.option("--skip", metavar="PASS", multiple=True, help="Leave a pass out."),
        click.option("--enable", metavar="PASS", multiple=True, help="Add a pass at the end."),
        click.option("-p", "--passes", metavar="PASS,PASS", help="Run these passes instead of a level."),
        click.option("-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="Optimization level."),
    ):
        command = decorate(command)
    return command


def steps_of(options: Mapping[str, Any]) -> tuple[Step, ...]:
    """The pipeline that `pass_options` asked for: a level or a list, with passes added and left out.

    Raises: UsageError for a pass that does not exist.
    """
    passes: str | None = options["passes"]
    level: int = options["level"]
    steps = tuple(Step(name.strip(), "asked for with -p") for name in passes.split(",")) if passes else LEVELS[level]
    return select(steps, options["enable"], options["skip"])


def run_pipeline(desk: Desk, graph: Graph, options: Mapping[str, Any], *, declines: bool = True) -> tuple[Graph, list[Stage]]:
    """Run what `pass_options` asked for; graphs and times that were asked for go to stderr, dumps to their folder.

    With -v what passes declined goes there too, unless the caller has a better place for `declines`.

    Raises: Mismatch, a reproducer written, where --verify-each finds a pass that changes the results.
    """
    from ...ir.printer import print_graph
    from ...passes.manager import known_pass

    for name in options["print_ir_after"]:
        known_pass(name)
    check = _pass_check(graph) if options["verify_each"] else None
    better, trace = run_passes(graph, steps_of(options), _limits(options["max_rewrites"]), check=check)
    _dump(graph, trace, options["dump_dir"])
    for stage in trace:
        if stage.name in options["print_ir_after"] or (options["print_ir_after_change"] and stage.changed):
            desk.say(f"# after {stage.name}\n{print_graph(stage.graph)}")
        for decline in stage.declined if declines else ():
            desk.say(f"{stage.name} declined at %{decline.root}: {decline.why}", level=1)
        if options["time_passes"]:
            desk.say(f"{stage.seconds * 1e3:9.2f} ms  {stage.name}")
    if check is not None:
        from ..passcheck import refuse_failures

        refuse_failures(graph, trace, check)
    return better, trace


def _pass_check(graph: Graph) -> PassCheck:
    from ..passcheck import PassCheck
    from ..pipelines import optimize

    return PassCheck(optimize(graph, 0)[0])


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


def refuse_repeats(command: click.Command, context: click.Context, words: Sequence[str]) -> None:
    """Of an option that is given twice click silently takes the last value.

    Raises: UsageError for one among `words` that takes a single value; a metavar with a comma is that of a list.
    """
    _, _, order = command.make_parser(context).parse_args(list(words))
    once = [option for option in order if isinstance(option, click.Option) and not (option.multiple or option.count)]
    for option in once:
        if once.count(option) > 1:
            several = option.metavar is not None and "," in option.metavar
            way_out = f"name several with commas: {option.metavar}" if several else "give it once"
            raise UsageError(f"{max(option.opts, key=len)} is given twice; {way_out}")


def run_request(command: click.Group) -> None:
    """Run `command` as a process: refusals are one sentence on stderr and their exit code."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what is half-written is taken away
    try:
        with command.make_context("convc", sys.argv[1:]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except ConvcError as error:
        click.echo(f"convc: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("convc: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; nobody is left to tell
    except OSError as error:
        click.echo(f"convc: cannot write the results: {error.strerror or error}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)


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
