"""What a command says and how it ends: results go to stdout, everything else to stderr."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import re
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from ...ir.errors import ConvcError, Ended, PassRolledBack, UsageError
from ...ir.graph import Graph
from ...ir.legible import escaped, quoted
from ...ir.memory import memory_sentences
from ...ir.progress import progress
from ...ir.version import __version__
from ..dsl.zoo_entry import ZooEntry
from ..files.model import PATTERN, Request, load
from ..report.progress_display import aside, silence, terminal_display
from .terminal import screen_of, table_lines, table_width, wrapped

if TYPE_CHECKING:
    from ..files.artifact import Artifact

__all__ = ["Console", "echo", "emit_json", "fits", "print_table", "refuse_repeats", "run_request", "talkative", "tell"]


QUIET = "Say nothing but results and errors."
JSON_SCHEMA = 1  # of what --json prints: docs/json.md; one more where a key goes or means something else
SELDOM = (10_000, 20, 10)  # a graph of 100,000 nodes has no cycle, and was looked through for one a fifth of the time
# what steers a terminal, colours too, turns the order of letters around, or is half a letter, as in names that are no UTF-8
UNSEEN = re.compile(r"[^\n\t -~\xa0-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\uffff]")


@dataclass(frozen=True)
class Console:
    """What every command gets: the zoo, and how much to say."""

    zoo: Mapping[str, ZooEntry]
    verbosity: int = 0

    def say(self, text: str, level: int = 0) -> None:
        """A line on stderr, for people; `level` 1 needs -v, and -q silences all."""
        if self.verbosity >= level:
            tell(text, err=True)

    def show(self, text: str) -> None:
        """IR text on stderr, which -q silences: no line of it is broken."""
        if self.verbosity >= 0:
            echo(text, err=True)

    def load(self, request: Request, artifact: Artifact | None = None) -> Graph:
        return load(request, self.zoo, self.say, artifact)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Lines for a terminal, which no name of a file or out of one steers: what is not to be seen is escaped."""
    _write(_seen(text), err=err, nl=nl)


def _seen(text: str) -> str:
    return UNSEEN.sub(lambda found: escaped(found[0]), text)


def _write(text: str, *, err: bool = False, nl: bool = True) -> None:
    with aside():
        click.echo(text, err=err, nl=nl)


def tell(text: str, *, err: bool = False, hang: int = 4, bold: bool = False, fg: str | None = None) -> None:
    """Lines for people: broken between words where a terminal has no room for them, in a colour where it shows any. What programs read
    or people copy, such as IR text, goes through `echo`.
    """
    screen = screen_of(sys.stderr if err else sys.stdout)
    for line in _seen(text).split("\n"):
        for part in wrapped(line, screen.width, hang):
            _write(click.style(part, fg=fg, bold=bold or None) if screen.coloured and (bold or fg) else part, err=err)


def print_table(rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> None:
    """Aligned columns on stdout; on a terminal that is too narrow cells go on below themselves."""
    lines = [[escaped(cell, backslash=False) for cell in row] for row in ([headings, *rows] if headings else rows)]
    screen = screen_of(sys.stdout)
    made = table_lines(lines, screen.width)
    if screen.coloured and headings:
        made[0] = [click.style(line, bold=True) for line in made[0]]
    if made:
        _write("\n".join(line for row in made for line in row))


def fits(rows: Sequence[Sequence[str]]) -> bool:
    """Whether stdout has room for this table without breaking a cell."""
    width = screen_of(sys.stdout).width
    return width is None or not rows or table_width(rows) <= width


def emit_json(figures: Mapping[str, Any]) -> None:
    """Figures of the command that runs, under a head that all have: `schema`, `convc`, `command` and `model`, null where it takes none.

    NaN and infinities are the texts "NaN", "Infinity" and "-Infinity": JSON has no such numbers.
    """
    context = click.get_current_context()
    model = next((str(context.params[name]) for name in ("model", "source") if name in context.params), None)
    head = {"schema": JSON_SCHEMA, "convc": __version__, "command": _command(context), "model": model}
    if taken := head.keys() & figures.keys():
        raise ValueError(f"{', '.join(sorted(taken))}: in the head of every answer already")
    echo(json.dumps(_in_json(head | dict(figures)), indent=2, allow_nan=False))


def _command(context: click.Context) -> str:
    """Its words, such as "look filters"."""
    words: list[str] = []
    at: click.Context | None = context
    while at is not None and (at.parent is not None or not words):
        words.insert(0, at.info_name or "")
        at = at.parent
    return " ".join(words)


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
    tell(f"convc: warning: {message}" if ours else warnings.formatwarning(message, category, filename, lineno, line), err=True)


def talkative(command: click.Command) -> click.Command:
    """With -v and -q, which stand before a command's name as well as behind it, where one looks for them."""
    if not any(param.name == "quiet" for param in command.params):
        more = click.Option(["-v", "--verbose"], count=True, expose_value=False, callback=_louder, help="Say more.")
        less = click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, callback=_quiet, help=QUIET)
        command.params += [more, less]
    return command


def _louder(context: click.Context, param: click.Parameter, more: int) -> None:
    console: Console = context.obj
    context.obj = replace(console, verbosity=console.verbosity + more) if console.verbosity >= 0 else console


def _quiet(context: click.Context, param: click.Parameter, is_quiet: bool) -> None:
    if is_quiet:
        silence()
        context.obj = replace(context.obj, verbosity=-1)


def _tell_at_last(sentence: str) -> None:
    """Why it ends, on stderr; also where the memory is gone that lines and colours would take."""
    try:
        tell(sentence, err=True, hang=2)
    except MemoryError:
        os.write(2, escaped(sentence).encode("ascii", "backslashreplace") + b"\n")


def _sentence(error: click.ClickException) -> str:
    """What click says in several lines, and how to ask for more."""
    said = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return said + _hint(error) + (f"; see `{context.command_path} --help`" if context else "")


def _hint(error: click.ClickException) -> str:
    """The way out of what a shell made of a pattern without quotes, and of options before the command's name."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return ""
    if isinstance(error, click.NoSuchOption) and isinstance(context.command, click.Group):
        return f"; options of a command stand after its name, as in `{context.command_path} export MODEL -O2`"
    if isinstance(error, click.NoSuchOption) and error.option_name == "--precision" and context.command.name == "optimize":
        exported = "`convc export IN.onnx -O2 --precision fp16` also keeps in float32 what leaves its range"
        return f"; --enable to-float16 runs the pass, and {exported}"
    takes_files = any("-i" in param.opts for param in context.command.params)
    if isinstance(error, click.NoSuchOption) and error.option_name in ("-i", "--inputs") and not takes_files:
        if any(param.name in ("photo", "folder") for param in context.command.params):
            return "; photographs stand behind MODEL, without it"
        return "; it needs no values of inputs, which `convc run` and `convc verify` take"
    if takes_files and "unexpected extra argument" in error.format_message():
        return f"; give each file a -i of its own, or {PATTERN}"
    return ""


def _end(number: int, frame: object) -> None:
    raise Ended(128 + number)


def run_request(command: click.Command, console: Console) -> None:
    """Run `command` as a process, which says what `console` lets it: refusals are one sentence on stderr and their exit code."""
    signal.signal(signal.SIGTERM, _end)
    warnings.showwarning = _warn
    gc.set_threshold(*SELDOM)
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs of a damaged picture is in our sentence
    try:
        with (
            command.make_context("convc", sys.argv[1:], obj=console) as context,
            terminal_display(),
            progress("convc", 0),
            memory_sentences(),
        ):
            command.invoke(context)
        sys.stdout.flush()
    except ConvcError as error:
        _tell_at_last(f"convc: {error}")
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the help
            error.show()
        else:
            _tell_at_last(f"convc: {_sentence(error)}")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        echo("convc: interrupted", err=True)
        sys.exit(130)
    except Ended:
        echo("convc: ended by SIGTERM", err=True)
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; nobody is left to tell
    except OSError as error:  # of a file where it has a name, as one that is too long; else of stdout
        what = "write the results" if error.filename is None else f"open {quoted(error.filename)}"
        echo(f"convc: cannot {what}: {error.strerror or error}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
