"""What was compiled for some batches, each of which is code of its own and runs otherwise the second time than the first.

Each batch is held, and in run after run until it runs as it will ever after. The oracle knows some images. They lie in a batch beside one
that it does not know, all places moved by one from run to run: an image is looked for in each place, and what a run before left is not
taken for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...ir.apart import the_batch
from ...ir.graph import Graph
from ...ir.types import Array
from ..engines.engine import Run
from ..files.inputs import random_inputs
from .oracle import Agreement, Oracle, compare

__all__ = ["HeldBatch", "held_batches", "held_runs"]

ByName = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class HeldBatch:
    """A line for each output, the worst of all runs and images; and inputs and results of the runs of which some line differs."""

    label: str
    lines: list[Agreement]
    differing: list[tuple[ByName, ByName]]


def held_batches(
    label: str, graph: Graph, run: Run, inputs: ByName, oracle: Oracle, batches: Sequence[int], turns: int
) -> Iterator[HeldBatch]:
    """Each batch in so many runs, for a network that keeps images apart; where no size has a name the inputs as they are."""
    name = the_batch(graph)
    if name is None:
        yield held_runs(f"{label}, run again", run, inputs, oracle, turns)
        return
    of_images = [node.name for node in graph.inputs if name in node.typed.symbols]
    known = len(inputs[of_images[0]])
    other = random_inputs(graph, seed=1, sizes={name: 1})
    both = {each: np.concatenate([inputs[each], other[each]]) for each in of_images}
    for batch in batches if known else ():
        here = f"{label}, batch of {batch}"
        lines, differing = list[Agreement](), list[tuple[ByName, ByName]]()
        for turn in range(turns):
            images = (np.arange(batch) + turn) % (known + 1)
            given = {**inputs, **{each: values[images] for each, values in both.items()}}
            results = run(given)
            found = _of_images(here, oracle, results, images, known)
            lines += found
            if not all(line.agrees for line in found):
                differing.append((given, results))
        yield HeldBatch(here, _worst(lines), differing)


def held_runs(label: str, run: Run, inputs: ByName, oracle: Oracle, turns: int) -> HeldBatch:
    """So many runs on inputs whose results the oracle knows."""
    lines, differing = list[Agreement](), list[tuple[ByName, ByName]]()
    for _ in range(turns):
        results = run(inputs)
        found = compare(label, oracle, results)
        lines += found
        if not all(line.agrees for line in found):
            differing.append((inputs, results))
    return HeldBatch(label, _worst(lines), differing)


def _of_images(label: str, oracle: Oracle, results: ByName, images: Array, known: int) -> list[Agreement]:
    """The images that the oracle knows, one by one: a batch of large results twice would fill the memory."""
    lines: list[Agreement] = []
    for place, image in enumerate(map(int, images)):
        if image < known:
            values, tolerance, free = (_row(each, image) for each in (oracle.values, oracle.tolerance, oracle.free))
            lines += compare(label, replace(oracle, values=values, tolerance=tolerance, free=free), _row(results, place))
    return lines


def _row(values: ByName, place: int) -> dict[str, Array]:
    return {name: value[place : place + 1] for name, value in values.items()}


def _worst(lines: list[Agreement]) -> list[Agreement]:
    worst: dict[str, Agreement] = {}
    for line in lines:
        if line.output not in worst or not line.worst <= worst[line.output].worst:
            worst[line.output] = line
    return list(worst.values())
