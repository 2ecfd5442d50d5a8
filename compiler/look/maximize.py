"""The picture that a unit or a class would like best, as a climb from grey leads to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...ir.legible import legible
from ...ir.types import DTYPES, Array
from ..engines.engine import Engine
from .ascent import DECAY, ascent_step, climb
from .running import started
from .sheet import Framed, Look, scaled_up, sheet
from .units import Unit, image_of

__all__ = ["Pixels", "maximize"]

STEPS = 40
RATE = 0.35  # deviations of the brightest from the darkest pixel, over the steps' number
GRAIN = 0.02  # of the range: noise to begin with, for a flat picture has no slope that tells its pixels apart
WIDE = 384  # pixels that the picture is enlarged to, at least


@dataclass(frozen=True, eq=False)
class Pixels:
    """How pixels from 0 to 1 enter the network: less `mean`, over `deviation`, [C] each."""

    mean: Array
    deviation: Array

    def entering(self, pixels: float) -> Array:
        """A grey in all channels, [C,1,1]."""
        return ((pixels - self.mean) / self.deviation)[:, None, None]

    def left(self, values: Array) -> Array:
        """[C,H,W] as bytes [H,W,3]."""
        shown = np.clip(np.nan_to_num(values * self.deviation[:, None, None] + self.mean[:, None, None]), 0, 1)
        return np.rint(np.moveaxis(np.broadcast_to(shown, (3, *shown.shape[1:])), 0, 2) * 255).astype(np.uint8)


def maximize(
    graph: Graph,
    unit: Unit,
    pixels: Pixels,
    engine: Engine,
    *,
    called: str = "",
    steps: int = STEPS,
    decay: float = DECAY,
    seed: int = 0,
    threads: int | None = None,
) -> Look:
    """The climb's picture beside where it began, and how the unit's value rose.

    Raises: UsageError for a layer or unit that does not exist, or a place, for a map rises as a whole.
    """  # fmt: skip
    if unit.at is not None:
        raise UsageError("maximize climbs for a whole map; leave --at out")
    image = image_of(graph)
    step = ascent_step(graph, unit.layer, unit.channel, decay)
    low, high = pixels.entering(0.0), pixels.entering(1.0)
    draws = np.random.default_rng(seed)
    shape = image.typed.with_sizes(dict.fromkeys(graph.symbols, 1)).concrete()
    grey = pixels.entering(0.5) + GRAIN * (high - low) * draws.standard_normal(shape)
    start = grey.astype(DTYPES[image.typed.dtype])
    rate = RATE * float((high - low).max()) / steps**0.5
    found = climb(started(step, engine, threads), step, start, low, high, steps, rate)
    times = max(1, -(-WIDE // max(shape[2:])))
    name = called or f"unit {unit.channel}"
    title = f"%{legible(unit.layer)}, {name}: {found.values[0]:.4g} to {found.values[-1]:.4g} in {steps} steps"
    tiles = [
        Framed(scaled_up(pixels.left(start[0]), times), (f"where it began: {found.values[0]:.4g}",)),
        Framed(scaled_up(pixels.left(found.picture[0]), times), (f"where it led: {found.values[-1]:.4g}",)),
    ]
    note = f"gradient ascent, L2 decay {decay:g}, blur that fades; Simonyan et al. 2014, sec. 2"
    figures = {"layer": unit.layer, "unit": unit.channel, "steps": steps, "rate": rate, "decay": decay, "values": list(found.values)}
    return Look(sheet(title, tiles, 2, [note]), (title,), figures)
