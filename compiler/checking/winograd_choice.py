"""Which layers take fewer products, and what that does to the results: the choice for one network, with its reasons.

A form is fast where sizes say so; whether it is exact enough, only the network can tell, since layers after it may enlarge its noise. So
the noise at the outputs is predicted by Monte Carlo arithmetic (noise.py), with each form's own noise in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...backends.tvm.cpu.kernels.strassen.quarters import QUARTERED
from ...backends.tvm.cpu.product_errors import form_name
from ...backends.tvm.cpu.unit_strides import unit_strides
from ...backends.tvm.processor import AVX512, Processor
from ...ir.graph import Graph
from .oracle import Oracle

__all__ = ["LIMIT", "Oracles", "TileChoice", "choose_tiles"]

LIMIT = 1e-4  # of an output's scale: `auto` lets predicted noise go so far and no further

Oracles = Callable[[Mapping[str, int]], Oracle]  # by the tiles of an engine's kernels


@dataclass(frozen=True, slots=True)
class TileChoice:
    """`tiles`: the m of F(m x m, r x r), or QUARTERED, by the layer's name. `why` says it in lines for people."""

    tiles: Mapping[str, int]
    why: tuple[str, ...]


def choose_tiles(graph: Graph, asked: str, oracle: Oracles | None = None, processor: Processor = AVX512) -> TileChoice:
    """The forms for an optimized graph. `asked` is off, f2, f4 or auto.

    `oracle` has the float64 outputs, and the noise of an engine with the forms that it is given; without it `auto` goes by sizes and the
    processor alone.
    """
    from ...backends.tvm.cpu.tiles import tiles_by_size

    tiles = tiles_by_size(graph, asked, processor)
    if oracle is None:
        return TileChoice(tiles, (f"{_forms(tiles)} ({asked}); noise not predicted",))
    turns: dict[str, Mapping[str, int]] = {asked: tiles}
    if asked == "auto":
        turns |= {"f2": {name: 2 for name in tiles if _is_3x3(graph, name)}, "off": {}}
    why: list[str] = []
    for word, tiles in turns.items():
        noise = oracle(tiles).noise
        said = f"{_forms(tiles)} ({word}); predicted output noise {noise:.1e} of its scale"
        without = oracle({}).noise if tiles else noise
        if asked != "auto" or noise <= max(LIMIT, without):
            why.append(f"{said}, {without:.1e} without" if tiles else said)
            return TileChoice(tiles, tuple(why))
        why.append(f"not {said}: the limit is {LIMIT:.0e}")
    raise AssertionError("the last turn takes no tiles")


def _is_3x3(graph: Graph, name: str) -> bool:
    """Whether tiles of 2x2 results are less noisy than those of 4x4; of 5x5 they are not."""
    form = unit_strides(graph.by_name[name])
    return form is not None and form.kernel == (3, 3)


def _forms(tiles: Mapping[str, int]) -> str:
    counts = Counter(tiles.values())
    return ", ".join(f"{form_name(m)} for {counts[m]}" for m in (4, 2, QUARTERED) if counts[m]) or "all products of every layer"
