"""Options that commands share, and the records that they arrive in."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ...backends.tvm.host import most_threads
from ...ir.errors import UsageError
from ..dsl.zoo_entry import Checkpoint
from ..files.model import Request
from .console import Console
from .outputs import OUTPUT_FILE, OUTPUT_FOLDER

__all__ = [
    "CALIBRATION",
    "IN_PLACE",
    "MEMORY",
    "OPSET",
    "SHARE",
    "THREADS",
    "Number",
    "PassOptions",
    "check_suffix",
    "gather",
    "html_option",
    "model_options",
    "need_only",
    "output_option",
    "pass_options",
]

PERCENT = re.compile(r"(\d+(?:\.\d*)?) ?%")
THREADS = click.IntRange(1, most_threads())


class Number(click.FloatRange):
    """A number of a range, in which NaN is not, though it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises: click.BadParameter for what is no number, or not in the range."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            raise click.BadParameter(f"'{value}' is no number", ctx, param)
        return number


class Share(Number):
    """A share between 0 and 1, which many write in percent."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises: click.BadParameter that says the share for what is written in percent."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            if not (percent := PERCENT.fullmatch(str(value).strip())):
                raise
            raise click.BadParameter(f"'{value}' is no share; write {float(percent[1]) / 100:g}", ctx, param) from error


SHARE = Share(0, 1, min_open=True, max_open=True)
OPSET = "Opset of the ONNX file, 7 or newer; default: the newest that onnxruntime here supports."
IN_PLACE = "Of a step of training: write the next weights over the old ones, which saves their memory; no bit changes."
MEMORY = "Of a step of training: leave at most this share of what is live at once, by computing values again; no bit changes."
NAMES = click.option(
    "--names", type=click.Choice(["convc", "pytorch"]), default="convc", show_default=True, help="What weights are called in the file."
)
CALIBRATION = "Photographs or one .npz of inputs: a layer that leaves the range of fp16 on one of them stays in float32."
HTML = "Also write what happened as one HTML file, to look at in a browser."
MODEL = ("model", "--input", "--set", "--weights", "--strict", "--strict-windows")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class PassOptions:
    """Which passes run and what they print, as `pass_options` has it; its help says what each field means."""

    level: int
    passes: str | None
    enable: tuple[str, ...]
    skip: tuple[str, ...]
    max_rewrites: tuple[str, ...]
    print_ir_after: tuple[str, ...]
    print_ir_after_change: bool
    time_passes: bool
    verify_each: bool
    dump_dir: Path | None


def names_for(console: Console, model: str, names: str) -> Checkpoint | None:
    """The table of PyTorch's names, if these are asked for.

    Raises: UsageError for a network that has none.
    """
    if names == "convc":
        return None
    found = console.zoo[model].checkpoint if model in console.zoo else None
    if isinstance(found, Checkpoint):
        return found
    why = found.why if found is not None else f"'{model}' has no table of them, as networks of the zoo have"
    raise UsageError(f"--names pytorch: {why}; `convc export --help` lists the networks that have one; leave it out for convc's own names")


def check_suffix(option: str, path: Path, suffixes: Sequence[str]) -> None:
    """Raises: UsageError unless the path ends in one of them, or is a pipe or a device, which has no suffix."""
    if path.suffix not in suffixes and (path.is_file() or path.is_dir() or not path.exists()):
        raise UsageError(f"{option} '{path}' is none of {', '.join(suffixes)}")


def need_only(option: str, *others: str) -> None:
    """Of the command that runs. Raises: UsageError naming what was given beside the `option` that is neither of the model nor of `others`:
    it would have no meaning there."""
    context, allowed = click.get_current_context(), {*MODEL, *others}
    for param in context.command.params:
        name = max(param.opts, key=len)
        if name not in (option, *allowed) and context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
            raise UsageError(f"{name} has no meaning with {option}; leave it out")


def html_option(command: F) -> F:
    """`--html FILE`, refused before the work where it cannot be written. The command receives `html`, a path or None."""
    return output_option("--html", (".html", ".htm"), HTML)(command)


def output_option(option: str, suffixes: Sequence[str], about: str) -> Callable[[F], F]:
    """An option for one file of these kinds, refused before the work where it cannot be written. The command receives a path or None."""

    def check(context: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
        if path is not None:
            check_suffix(option, path, suffixes)
        return path

    return click.option(option, metavar="FILE", type=OUTPUT_FILE, callback=check, help=about)


def model_options(command: F) -> F:
    """MODEL and what shapes it. The command receives one `request`."""

    @functools.wraps(command)
    def wrapped(*, model: str, inputs: tuple[str, ...], settings: tuple[str, ...], weights: Path | None, **rest: Any) -> Any:
        request = Request(model, inputs, settings, weights, rest.pop("strict_windows"), rest.pop("strict"))
        return command(request=request, **rest)

    for decorate in (
        click.option("--strict", is_flag=True, help="Refuse operators of an ONNX file that convc does not have."),
        click.option("--strict-windows", is_flag=True, help="Refuse windows that do not tile their input."),
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


def gather(name: str, record: type[Any]) -> Callable[[F], F]:
    """The options that `record` has as fields reach the command as one such record, its argument `name`."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def wrapped(**given: Any) -> Any:
            own = {field.name: given.pop(field.name) for field in fields(record)}
            return command(**{name: record(**own)}, **given)

        return wrapped  # pyright: ignore[reportReturnType]

    return decorate


def pass_options(command: F) -> F:
    """Which passes run and what they print. The command receives one `passes`."""
    wrapped = gather("passes", PassOptions)(command)
    for decorate in (
        click.option("--dump-dir", type=OUTPUT_FOLDER, help="Write the graph after each pass as a numbered .cir file."),
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
        wrapped = decorate(wrapped)
    return wrapped
