"""The pages of commands, from click's own tables and the classes of errors: what each takes, what it means, which page shows it at work."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from convc.backends.tvm.host import most_threads
from convc.compiler.commands.cli import COMMANDS
from convc.docs.site.markdown import NOTICE, escaped, fence, table
from convc.ir import errors

__all__ = ["commands_pages"]

DOCS = Path(__file__).parents[1]
INTRO = """\
`convc COMMAND --help` says the same. With `-q` any command prints nothing but results and errors, with `-v` more than usual; both may stand
anywhere. `convc --version` says which this is.

Results go to standard output, everything else to standard error; files are written whole or not at all. On a terminal work that takes
longer says how far it is and how long the rest will take (in a notebook too), lines are broken between words, and NO_COLOR and TERM=dumb
are heard.

`MODEL` is the name of a network in the zoo (`convc models` lists them), a function in a file (`net.py:tiny`), an ONNX file, the text form
(`net.cir`), or the directory of an artifact."""
TALK = ("verbose", "quiet")  # which the index tells of
EXIT_INTRO = "What a command returns to the shell says whose affair it is. Where it is not 0, one sentence on standard error says why."
SIGNALS = (
    (130, "interrupted", "Ctrl-C"),
    (143, "ended", "by SIGTERM, and said so; what was half-written is taken away, and `train` keeps its checkpoint, as after Ctrl-C"),
)
SAID = {
    0: "fine",
    1: "results differ",
    2: "usage",
    3: "the model or an input",
    4: "the target",
    5: "this machine",
    6: "memory",
}


def commands_pages() -> dict[str, Iterator[str]]:
    """Blocks of Markdown by the file's name in docs/commands."""
    return {"README.md": _index(), "exit_codes.md": _exit_codes()} | {f"{name}.md": _page(name) for name in COMMANDS}


def _index() -> Iterator[str]:
    yield from (NOTICE, "# Commands", INTRO)
    yield table(("command", "what it does"), [(f"[{name}]({name}.md)", escaped(said)) for name, said in COMMANDS.items()])
    yield "What they return to the shell: [exit codes](exit_codes.md)."


def _page(name: str) -> Iterator[str]:
    command: click.Command = importlib.import_module(f"convc.compiler.commands.{name}").command
    yield NOTICE
    yield f"# convc {name}"
    yield escaped(inspect.cleandoc(command.help or ""))
    if isinstance(command, click.Group):
        yield from _ways(name, command)
    else:
        yield from _use(name, command)
    if pages := list(_shown_in(name)):
        yield "At work in " + ", ".join(f"[{title}]({path})" for title, path in pages) + "."
    yield "[All commands](README.md), [exit codes](exit_codes.md)."


def _ways(name: str, group: click.Group) -> Iterator[str]:
    """Of a command with commands of its own, each under a heading."""
    context = click.Context(group)
    for way in group.list_commands(context):
        found = group.get_command(context, way)
        assert found is not None
        yield f"## convc {name} {way}"
        yield escaped(inspect.cleandoc(found.help or ""))
        yield from _use(f"{name} {way}", found)


def _use(name: str, command: click.Command) -> Iterator[str]:
    given = [param for param in command.params if isinstance(param, click.Argument)]
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden and param.name not in TALK]
    yield fence(" ".join(("convc", name, "[OPTIONS]", *map(_argument, given))), "text")
    yield table(("option", "meaning"), [(_names(option), _meaning(option)) for option in options])


def _argument(argument: click.Argument) -> str:
    return argument.make_metavar(click.Context(click.Command("convc")))


def _names(option: click.Option) -> str:
    """As a user writes them, with what stands for the value."""
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
    off = "".join(f" / `{name}`" for name in option.secondary_opts)
    value = "" if option.is_flag or option.count else f" {_value(option)}"
    return names + off + value


def _value(option: click.Option) -> str:
    if option.metavar:
        return escaped(option.metavar)
    kind = option.type
    if isinstance(kind, click.Choice):
        return " or ".join(f"`{choice}`" for choice in kind.choices)
    return {"integer": "N", "integer range": "N", "float": "X", "float range": "X", "path": "PATH"}.get(kind.name, kind.name.upper())


def _meaning(option: click.Option) -> str:
    """Its help, and what click would add: how often, within what, by default."""
    said = [escaped(option.help or "")]
    if option.required:
        said.append("Must be given.")
    if option.multiple:
        said.append("May be given several times.")
    if isinstance(option.type, (click.IntRange, click.FloatRange)):
        said.append(_range(option.type))
    if option.show_default and not option.is_flag:
        said.append(f"Default: `{option.default}`.")
    elif option.secondary_opts:
        said.append(f"Default: `{(option.opts if option.default else option.secondary_opts)[0]}`.")
    return " ".join(filter(None, said))


def _range(kind: click.IntRange | click.FloatRange) -> str:
    """How many threads there may be depends on the machine, and is not said."""
    if kind.min == 1 and kind.max == most_threads():
        return "From 1 on."
    least = "" if kind.min is None else f"{'above' if kind.min_open else 'from'} {kind.min}"
    most = " on" if kind.max is None else f"{', below' if kind.max_open else ' to'} {kind.max:,}"
    ends = f"{least}{most}".strip(", ")
    return f"{ends[:1].upper()}{ends[1:]}."


def _shown_in(name: str) -> Iterator[tuple[str, str]]:
    """Pages written by hand that run it, by title, as this page links them."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if not text.startswith(NOTICE) and re.search(rf"^\$ convc (-\w+ )*{name}\b", text, re.MULTILINE):
            title = next(line[2:] for line in text.splitlines() if line.startswith("# "))
            yield title, f"../{page.relative_to(DOCS).as_posix()}"


def _exit_codes() -> Iterator[str]:
    yield from (NOTICE, "# Exit codes", EXIT_INTRO)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ConvcError)]
    rows = [("0", SAID[0], "what was asked for is done, and what was checked agrees")]
    for code in sorted({kind.exit_code for kind in kinds}):
        mine = [kind for kind in kinds if kind.exit_code == code and kind is not errors.ConvcError]
        rows.append((str(code), SAID[code], "<br>".join(f"`{kind.__name__}`: {escaped(_first_line(kind))}" for kind in mine)))
    yield table(("code", "of", "when"), [*rows, *((str(code), of, when) for code, of, when in SIGNALS)])
    yield (
        "From Python each is an exception of that name in `convc.ir.errors`; all are `cc.ConvcError`, whose `exit_code` is the number. "
        "An option that click itself refuses is 2 too."
    )


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
