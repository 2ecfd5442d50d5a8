"""convc look unit"""

from __future__ import annotations

import click

from ...look.strongest import unit_field
from ...look.units import Unit
from .one_photograph import Seen, photo_options
from .options import at_option, layer_option, unit_option

__all__ = ["command"]


@click.command("unit")
@photo_options
@layer_option(required=True, about="Whose unit.")
@unit_option(required=True)
@at_option
def command(seen: Seen, layer: str, unit: int, at: tuple[int, ...] | None) -> None:
    """Rectangle what a unit of MODEL sees of PHOTO: its receptive field (Araujo et al. 2019), and what lies in it."""
    seen.finish(unit_field(seen.graph, seen.photo, Unit(layer, unit, at), seen.asked.engine(), seen.asked.threads))
