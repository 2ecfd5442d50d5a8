"""convc look"""

from __future__ import annotations

import importlib

import click

from ...ir.errors import UsageError
from ...ir.suggest import did_you_mean
from .console import refuse_repeats, talkative

__all__ = ["command"]

# Each name is a file of `looking` that defines `command`.
LOOKS = {
    "filters": "the filters of a convolution, the first if none is named",
    "maps": "what each map of a layer answers to a photograph",
    "unit": "what a unit sees of a photograph, boxed",
    "best": "the pictures of a folder that excite a unit most",
    "deconvnet": "a unit's activation, taken back to the photograph",
    "guided": "the same by guided backpropagation",
    "gradient": "gradient times input, of a class or a unit",
    "occlusion": "what a class loses where the photograph is covered",
    "gradcam": "where a layer's maps speak for a class",
    "maximize": "the picture that a class or a unit would like best",
    "dissect": "units against the concepts of a folder of masks",
}


class Looks(click.Group):
    """As `convc` itself: a command's file is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(LOOKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LOOKS:
            return None
        found: click.Command = importlib.import_module(f".looking.{cmd_name}", __package__).command
        return talkative(found)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises: UsageError for a way to look that does not exist, with the nearest, and for an option that is given twice."""
        if args[0] not in LOOKS and not args[0].startswith("-"):
            raise UsageError(f"look has no '{args[0]}'" + did_you_mean(args[0], LOOKS, f"it has {', '.join(LOOKS)}"))
        name, found, rest = super().resolve_command(ctx, args)
        if found is not None:
            refuse_repeats(found, click.Context(found, ctx, name), rest)
        return name, found, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Ways to look"):
            formatter.write_dl(list(LOOKS.items()))


@click.group("look", cls=Looks)
def command() -> None:
    """Look inside a network: its filters, maps, units and classes, as PNG pictures and as figures (--json)."""
