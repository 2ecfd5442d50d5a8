"""`convc`: the group of commands."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from ...ir.errors import UsageError
from ...ir.suggest import did_you_mean
from ...ir.version import __version__
from ..dsl.zoo_entry import ZooEntry
from .console import Console, refuse_repeats, run_request, talkative

__all__ = ["main"]

# Each name is a file beside this one that defines `command`.
COMMANDS = {
    "models": "networks in the zoo",
    "doctor": "what this machine can do: backends, threads, GPU",
    "summary": "a line per layer: output, memory, parameters, multiply-adds",
    "draw": "a figure for a paper: blocks, sizes, repeats with a count",
    "inspect": "what each pass did, as counts and diffs",
    "diff": "how two networks differ, node by node",
    "bisect": "the first pass and rewrite that changes the results",
    "opt": "passes on IR text: text in, text out",
    "export": "write an ONNX file",
    "optimize": "an ONNX file in, a smaller and faster one out, checked",
    "compile": "an artifact directory, checked against the reference",
    "tune": "faster forms of a network's kernels on this machine, for compile to use",
    "train": "weights from pictures: a step as a graph, on any engine",
    "run": "run an artifact or a model on a photograph or arrays",
    "look": "inside a network: filters, maps, units, classes, as pictures",
    "plan": "1x1 bottlenecks under a budget: approximations, measured",
    "bench": "how fast engines run a network, turn by turn",
    "verify": "check backends, or two networks, against float64",
}
# What others have a command for, and here is an option.
ELSEWHERE = {"profile": "`convc bench MODEL --profile` says where the time goes"}


class Lazy(click.Group):
    """Imports a command's file only when it is called, so that `convc summary` does not wait for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __package__).command
        return talkative(command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises: UsageError for a command that does not exist, with the nearest name, and for an option that is given twice."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            elsewhere = ELSEWHERE.get(args[0])
            hint = f"; {elsewhere}" if elsewhere else did_you_mean(args[0], COMMANDS, "see `convc --help`")
            raise UsageError(f"unknown command '{args[0]}'{hint}")
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            refuse_repeats(command, click.Context(command, ctx, name), rest)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def main(zoo: Mapping[str, ZooEntry]) -> None:
    """Run the command line with the networks of `zoo`. Exit codes: 0 fine, 1 results differ or a plan misses
    its budget, 2 usage (a path that does not exist too), 3 invalid model or input, 4 an op the target cannot do, 5 a backend that is
    not there, 6 memory that is not there."""

    @click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(__version__, prog_name="convc")
    @click.pass_context
    def convc(ctx: click.Context) -> None:
        """The CNN compiler that shows its work."""

    run_request(talkative(convc), Console(zoo))
