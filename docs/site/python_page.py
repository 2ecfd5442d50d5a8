"""The pages of the Python interface, from signatures and docstrings: every public name of `convc`, and the networks of the zoo."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import convc as cc
from convc.compiler.dsl import layers
from convc.docs.site.markdown import NOTICE, escaped, fence, table

__all__ = ["python_pages"]

INTRO = """\
`import convc as cc`. Names are loaded when they are first used, so the import itself costs nothing. What is not on these pages is convc's
own affair and may change."""
MODELS = """\
`cc.models.resnet50()` is a graph; `cc.models.resnet50(classes=7)` has another head. On the command line it is the name alone:
`convc summary resnet50`."""
WIDTH = 100
ARGUMENT = re.compile(r"([a-z]\w*(?:, [a-z]\w*)*): (?=[^ ])")
PLAIN = (bool, int, float, tuple, type(None))
# What is no layer, by page: its title, a sentence, and the names in the order in which they are told.
GROUPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "networks": (
        "Networks",
        "A network is a function of values under `network`; a call of it makes a graph.",
        ("network", "Network", "scope", "Value"),
    ),
    "graphs": (
        "Graphs",
        "From where a graph comes, what improves it, and what checks it.",
        ("Graph", "parse_graph", "print_graph", "read_onnx", "export_onnx", "from_torch", "optimize", "verify", "summary", "draw"),
    ),
    "measuring": (
        "Planning and measuring",
        "Bottlenecks under a budget, and where the time of a run goes. What they return shows itself, as a table in a notebook, and\n"
        '`.plot()` draws it, with `pip install "convc[plot]"`.',
        ("plan", "profile"),
    ),
    "compiling": ("Compiling", "Machine code for this processor, or an artifact for any.", ("compile", "compile_network", "Module")),
    "training": ("Training", "[Training](../training.md) has the whole of it.", ("training_step", "Trainer", "sgd", "adam")),
    "looking": (
        "Looking inside",
        "Graphs that compute what a network sees; [Looking inside](../look.md) has pictures of it.",
        ("deconvnet", "guided_backpropagation", "input_gradient", "grad_cam", "ascent_step"),
    ),
    "errors": (
        "Errors",
        "What is refused is refused in one sentence; [exit codes](../commands/exit_codes.md) lists all kinds.",
        ("ConvcError", "Mismatch"),
    ),
}
LAYERS = ("products", "blocks", "norms", "pools", "activations", "shapes", "reductions", "transformer", "ranks", "values")


def python_pages() -> dict[str, Iterator[str]]:
    """Blocks of Markdown by the file's name in docs/python.

    Raises: LookupError for a public name that stands on no page.
    """
    told = {name for _, _, names in GROUPS.values() for name in names} | {name for each in LAYERS for name in _names(each)} | {"models"}
    if lost := set(cc.__all__) - told:
        raise LookupError(f"{', '.join(sorted(lost))}: public, and on no page; add it to GROUPS or LAYERS of docs/site/python_page.py")
    pages = {"README.md": _index(), "models.md": _models()}
    pages |= {f"{stem}.md": _group(*group) for stem, group in GROUPS.items()}
    return pages | {f"layers_{stem}.md": _layers(stem) for stem in LAYERS}


def _index() -> Iterator[str]:
    yield from (NOTICE, "# Python", INTRO)
    rows = [(f"[{title}]({stem}.md)", _linked(stem, names)) for stem, (title, _, names) in GROUPS.items()]
    rows.insert(1, ("[Networks of the zoo](models.md)", "`models`"))
    yield table(("page", "names"), rows)
    yield "Layers, of which networks are written: `from convc import conv, relu`."
    yield table(("page", "layers"), [(f"[{_title(stem)}](layers_{stem}.md)", _linked(f"layers_{stem}", _names(stem))) for stem in LAYERS])


def _group(title: str, said: str, names: Sequence[str]) -> Iterator[str]:
    yield from (NOTICE, f"# {title}", said)
    for name in names:
        yield from _entry(name, getattr(cc, name))


def _layers(stem: str) -> Iterator[str]:
    yield from (NOTICE, f"# {_title(stem)}", escaped(inspect.getdoc(_module(stem)) or ""))
    for name in _names(stem):
        yield from _entry(name, getattr(layers, name))


def _entry(name: str, what: Any) -> Iterator[str]:
    yield f"## {name}"
    if not isinstance(what, type):
        yield from _function(name, what)
        return
    if not issubclass(what, BaseException):
        yield fence(_signature(name, what), "python")
    yield from map(escaped, (inspect.getdoc(what) or "").split("\n\n"))
    for member, value in vars(what).items():
        if member.startswith("_") or not (inspect.getdoc(value) and _is_told(value)):
            continue
        yield f"### {name}.{member}"
        if isinstance(value, (property, cached_property)):
            yield from map(escaped, (inspect.getdoc(value) or "").split("\n\n"))
        else:
            yield from _function(member, getattr(what, member))


def _is_told(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, (property, cached_property, classmethod, staticmethod))


def _function(name: str, what: Callable[..., Any]) -> Iterator[str]:
    yield fence(_signature(name, what), "python")
    yield from map(_paragraph, (inspect.getdoc(what) or "").split("\n\n"))


def _paragraph(text: str) -> str:
    """What is set in is code; lines that begin with names of arguments are a list."""
    lines = text.splitlines()
    if all(ARGUMENT.match(line) for line in lines):
        return "\n".join(ARGUMENT.sub(lambda found: f"- `{found[1]}`: ", line, count=1) for line in map(escaped, lines))
    return fence(inspect.cleandoc(text), "python") if lines and all(line.startswith("    ") for line in lines) else escaped(text)


def _signature(name: str, what: Callable[..., Any]) -> str:
    """As it is written, a parameter a line where it is long."""
    signature = inspect.signature(what)
    parts = list(_parameters([each for each in signature.parameters.values() if each.name not in ("self", "cls")]))
    result = "" if signature.return_annotation in (inspect.Signature.empty, None, "None") else f" -> {_kind(signature.return_annotation)}"
    line = f"{name}({', '.join(parts)}){result}"
    return line if len(line) <= WIDTH else f"{name}(\n    " + ",\n    ".join(parts) + f",\n){result}"


def _parameters(parameters: Sequence[inspect.Parameter]) -> Iterator[str]:
    is_open = False  # whether a star has been
    for each in parameters:
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not is_open:
            yield "*"
        is_open |= each.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL)
        stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(each.kind, "")
        kind = "" if each.annotation is inspect.Parameter.empty else f": {_kind(each.annotation)}"
        yield f"{stars}{each.name}{kind}{_default(each.default, ' = ' if kind else '=')}"


def _kind(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _default(value: Any, equals: str) -> str:
    """As it is written, where it is plain; else three dots."""
    if value is inspect.Parameter.empty:
        return ""
    return equals + (json.dumps(value) if isinstance(value, str) else repr(value) if isinstance(value, PLAIN) else "...")


def _models() -> Iterator[str]:
    yield from (NOTICE, "# Networks of the zoo")
    yield MODELS
    rows = [
        (
            f"`{name}`",
            "<br>".join(f"`{key}`: {kind}" for key, kind in entry.network.inputs.items()),
            escaped(entry.network.summary),
            escaped(entry.source),
        )
        for name, entry in cc.models.ZOO.items()
    ]
    yield table(("network", "inputs", "what it is", "source"), rows)


def _linked(stem: str, names: Sequence[str]) -> str:
    return ", ".join(f"[{name}]({stem}.md#{name.lower()})" for name in names)


def _names(stem: str) -> list[str]:
    return list(_module(stem).__all__)


def _module(stem: str) -> Any:
    return importlib.import_module(f"convc.compiler.dsl.{stem}")


def _title(stem: str) -> str:
    return f"Layers: {stem}"
