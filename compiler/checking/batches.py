"""An engine on two images at once: what serves a batch is other code than what serves one, in an artifact for a CPU a library of its own.

The oracle knows one image. It is given beside another, as the first and as the second, and must come out as it does alone: a second
oracle, which would take most of a check's time, is made only where it does not.

Rows, columns and lengths that have only a name are tried at other numbers too: an index that is right for 32 may be wrong for 33.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

import numpy as np

from ...backends import reference
from ...ir.apart import joining_node, the_batch
from ...ir.binding import batch_names, match_inputs
from ...ir.dims import alone, dim_names
from ...ir.graph import Graph, Node
from ...ir.types import Array
from ...ir.usual_sizes import other_sizes
from ..engines.engine import Engine, FixedRuns, Run
from ..files.inputs import random_inputs
from .fixed_batches import HeldBatch, held_batches, held_runs
from .hold import Readied, all_agree, hold
from .oracle import Agreement, Oracle, compare
from .units import sizes_of

__all__ = ["close_to", "compare_batches"]

CLOSE = 2.0**-15  # of an element's size: 500 roundings of float32, about what the noise allows a deep network


def close_to(exact: Mapping[str, Array], share: float = CLOSE) -> Oracle:
    """One that nearly every right result meets, without a run for the noise: what is beyond it is held to the noise. `share` is of the
    size of each element (units.sizes_of).
    """
    return Oracle(exact, {name: share * sizes_of(value) for name, value in exact.items() if value.dtype != object})


def compare_batches(readied: Readied, inputs: Mapping[str, Array], oracle: Oracle) -> list[Agreement]:
    """As `hold` for the inputs that the oracle knows. Where they are one of any number of images, lines for two that differ follow, and
    where rows or columns have a name, lines that differ at other sizes.

    An artifact made for some batches is held in each of `engine.fixed`, with lines that agree too. An engine with a single code for all is
    not asked about two.
    """
    graph, engine, run = readied.graph, readied.engine, readied.run
    lines = hold(engine.name, readied, inputs, oracle)
    if engine.fixed is not None:
        return lines + (_fixed(engine.fixed, readied, inputs, oracle) if all_agree(lines) else [])
    if engine.has_one_code or not all_agree(lines):
        return lines
    lines += _at_sizes(other_sizes(graph), readied)
    sizes, batch = match_inputs(graph, inputs), batch_names(graph)
    is_one_of_any = bool(batch) and all(sizes[name] == 1 for name in batch)
    if not is_one_of_any or not all_agree(lines):
        return lines
    if not all(_is_of_images(node, batch) for node in graph.inputs):
        return lines + _at_sizes({**sizes, **dict.fromkeys(batch, 2)}, readied)
    other = random_inputs(graph, seed=1, sizes=sizes)
    pairs = [_beside(graph, batch, *pair) for pair in ((inputs, other), (other, inputs))]
    label = f"{engine.name}, two images"
    if all(_has_batch(node, batch) for node in graph.outputs):
        results = ({name: value[place : place + 1] for name, value in run(pair).items()} for place, pair in enumerate(pairs))
        if all(all_agree(compare(label, oracle, result)) for result in results):
            return lines
    of_both = Oracle.of(graph, pairs[0], tiles=readied.tiles)  # images may depend on each other
    both = hold(label, readied, pairs[0], of_both)
    return lines + [line for line in both if not line.agrees]


def _fixed(fixed: FixedRuns, readied: Readied, inputs: Mapping[str, Array], oracle: Oracle) -> list[Agreement]:
    """Lines for each batch; where images may depend on each other that takes a run in float64 for each."""
    graph, engine, run = readied.graph, readied.engine, readied.run
    name = the_batch(graph)
    if name is not None and joining_node(graph, name):
        each = (_of_whole(graph, engine, run, name, batch, fixed.turns) for batch in fixed.batches)
    else:
        each = held_batches(engine.name, graph, run, inputs, oracle, fixed.batches, fixed.turns)
    lines: list[Agreement] = []
    for held in each:
        lines += held.lines if not held.differing else []
        for given, results in held.differing:  # other images have other noise, and steps of their own
            within_noise = Oracle.of(graph, given, tiles=readied.tiles)
            lines += (found := hold(held.label, replace(readied, run=_known(results)), given, within_noise))
            if not all_agree(found):
                break
    return lines


def _of_whole(graph: Graph, engine: Engine, run: Run, name: str, batch: int, turns: int) -> HeldBatch:
    inputs = random_inputs(graph, seed=2, sizes={name: batch})
    return held_runs(f"{engine.name}, batch of {batch}", run, inputs, close_to(reference.run(graph, inputs, "f64")), turns)


def _known(results: Mapping[str, Array]) -> Run:
    """A run that was made: what made it wrong may not be there again."""
    return lambda inputs: dict(results)


def _at_sizes(sizes: Mapping[str, int], readied: Readied) -> list[Agreement]:
    """Lines that differ, with these numbers for named sizes; none without."""
    if not sizes:
        return []
    graph = readied.graph
    inputs = random_inputs(graph, seed=2, sizes=sizes)
    exact = reference.run(graph, inputs, "f64")
    label = f"{readied.engine.name}, {', '.join(f'{name}={size}' for name, size in sizes.items())}"
    if all_agree(compare(label, close_to(exact), readied.run(inputs))):
        return []
    within_noise = Oracle.of(graph, inputs, tiles=readied.tiles, exact=exact)
    return [line for line in hold(label, readied, inputs, within_noise) if not line.agrees]


def _beside(graph: Graph, batch: Set[str], first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs for two images; what is the same for all images is the first's."""
    return {
        node.name: np.concatenate([first[node.name], second[node.name]]) if _has_batch(node, batch) else first[node.name]
        for node in graph.inputs
    }


def _is_of_images(node: Node, batch: Set[str]) -> bool:
    """Whether images lie in it one after another, or it is the same for all: a row 2*N long is neither."""
    own = node.typed.shape[1:] if _has_batch(node, batch) else node.typed.shape
    return not any(name in batch for dim in own for name in dim_names(dim))


def _has_batch(node: Node, batch: Set[str]) -> bool:
    return bool(node.typed.rank) and alone(node.typed.shape[0]) in batch
