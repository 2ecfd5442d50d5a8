"""What each family of kernels asks of memory, at sizes that networks have, held to the least that its bytes need."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import pytest

from convc.tests.support.gpu_traffic import LAYERS
from convc.tests.support.tiers import slow_if


@dataclass(frozen=True)
class Bounds:
    """Of those named by a pattern, so many times the least: sectors that accesses touch, sectors that are moved, and cycles of shared memory."""

    pattern: str
    asked: float = 1.3
    moved: float = 1.3
    shared: float = 1.0
    why: str = ""


BOUNDS = (
    Bounds("enter 512", asked=1.4, why="rows of 49 values begin within sectors"),
    Bounds("leave 512", asked=1.65, moved=1.65, why="rows of 49 values of 2 bytes begin within sectors, and are stored by sixteens"),
    Bounds("depthwise|max pool|resize", moved=2.6, why="what windows have in common each block loads that has some of it"),
    Bounds("batch norm 512", moved=1.35, why="four blocks of each 256 chunks load all numbers of channels"),
    Bounds(".*float32", asked=2.0, moved=1.5, why="a chunk is loaded and stored by halves, and has the whole sector"),
    Bounds("parts", asked=2.0, why="a chunk of float32 is loaded by halves, of which the second finds its sector in the cache"),
    Bounds("conv .* stem", asked=2.5, moved=math.inf, shared=1.5, why="8 of 16 bytes a pixel, of pixels that lie apart"),
    Bounds("conv|transposed", moved=math.inf, shared=1.15, why="blocks of a tile share filters and images; two sums meet in a bank"),
    Bounds(""),
)


@pytest.mark.parametrize("name", slow_if(lambda name: name != "leave 64", LAYERS))
def test_little_more_is_asked_for_than_is_needed(name: str) -> None:
    bounds = next(each for each in BOUNDS if re.match(each.pattern, name))
    traffic = LAYERS[name].traffic()
    found = (traffic.ratio("global"), traffic.moved_ratio, traffic.ratio("shared"))
    most = (bounds.asked, bounds.moved, bounds.shared)
    assert all(ratio <= bound for ratio, bound in zip(found, most, strict=True)), (found, *map(str, traffic.of("global")[:3]))


def test_all_bounds_are_of_some_layer() -> None:
    assert all(any(re.match(each.pattern, name) for name in LAYERS) for each in BOUNDS)
