"""What a command says and how it ends: results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from ...ir.errors import ConvcError, PassRolledBack, UsageError
from ...ir.graph import Graph
from ...ir.legible import escaped
from ...ir.memory import memory_sentences
from ..dsl.zoo_entry import ZooEntry
from ..files.model import Request, load

if TYPE_CHECKING:
    from ..files.artifact import Artifact

__all__ = ["Console", "echo", "emit_json", "print_table", "refuse_repeats", "run_request"]


COLOUR = re.compile(r"\x1b\[[0-9;]*m")
UNSEEN = re.compile(rf"{COLOUR.pattern}|[^\n\t -~\xa0-\uffff]")


@dataclass(frozen=True)
class Console:
    """What every command gets: the zoo, and how much to say."""

    zoo: Mapping[str, ZooEntry]
    verbosity: int = 0

    def say(self, text: str, level: int = 0) -> None:
        """A line on stderr, for people; `level` 1 needs -v, and -q silences all."""
        if self.verbosity >= level:
            echo(text, err=True)

    def load(self, request: Request, artifact: Artifact | None = None) -> Graph:
        return load(request, self.zoo, self.say, artifact)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Lines for a terminal, which no name out of a file steers: of what is not to be seen only colours pass."""
    click.echo(UNSEEN.sub(lambda found: found[0] if COLOUR.fullmatch(found[0]) else escaped(found[0]), text), err=err, nl=nl)


def print_table(rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> None:
    """Aligned columns on stdout. Nothing is wrapped: a narrow terminal scrolls rather than break an expression."""
    from rich.cells import cell_len

    lines = [[escaped(cell, backslash=False) for cell in row] for row in ([headings, *rows] if headings else rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    padded = ((cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)) for row in lines)
    echo("\n".join("  ".join(row).rstrip() for row in padded))


def emit_json(value: Any) -> None:
    """NaN and infinities as the texts "NaN", "Infinity" and "-Infinity": JSON has no such numbers."""
    echo(json.dumps(_in_json(value), indent=2, allow_nan=False))


def _in_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_json(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_in_json(each) for each in cast("Sequence[Any]", value)]
    return json.dumps(value) if isinstance(value, float) and not math.isfinite(value) else value


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


def _warn(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
) -> None:
    """Ours are sentences for users; those of packages say whose line it was."""
    ours = issubclass(category, PassRolledBack)
    echo(f"convc: warning: {message}" if ours else warnings.formatwarning(message, category, filename, lineno, line), err=True)


def run_request(command: click.Group) -> None:
    """Run `command` as a process: refusals are one sentence on stderr and their exit code."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what is half-written is taken away
    warnings.showwarning = _warn
    try:
        with command.make_context("convc", sys.argv[1:]) as context, memory_sentences():
            command.invoke(context)
        sys.stdout.flush()
    except ConvcError as error:
        echo(f"convc: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        echo("convc: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; nobody is left to tell
    except OSError as error:
        echo(f"convc: cannot write the results: {error.strerror or error}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
