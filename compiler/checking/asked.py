"""Held to a tolerance that somebody asks for, where one that is derived will not do: the verdict says whose it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...backends import reference
from ...ir.apart import the_batch
from ...ir.binding import batch_names, match_inputs
from ...ir.graph import Graph, Node
from ...ir.types import Array
from ...ir.usual_sizes import other_sizes
from ..engines.engine import Engine, Run
from ..files.inputs import random_inputs
from .hold import all_agree
from .oracle import Agreement, Oracle, compare
from .verify import TwoNetworksDiffer, need_alike, where_inside, with_counterparts

__all__ = ["AskedTolerance"]


@dataclass(frozen=True, slots=True)
class AskedTolerance:
    """Each element may be off by `atol` and by `rtol` of its own size."""

    rtol: float = 0.0
    atol: float = 0.0

    def __str__(self) -> str:
        return f"tolerance that was asked for, rtol {self.rtol:g} and atol {self.atol:g}"

    def hold(self, label: str, exact: Mapping[str, Array], results: Mapping[str, Array]) -> list[Agreement]:
        """A line for each output of `results`, held to the float64 ones. Raises: Mismatch for one of another shape."""
        known = {name: value for name, value in exact.items() if value.dtype != object}  # what another runtime alone can look into
        tolerance = {name: self.atol + self.rtol * np.where(np.isfinite(value), abs(value), 0) for name, value in known.items()}
        return [replace(line, by=str(self)) for line in compare(label, Oracle(known, tolerance), results)]

    def hold_network(self, graph: Graph, other: Graph, inputs: Mapping[str, Array]) -> list[Agreement]:
        """A line for each output of `other`, both networks in float64 on the same inputs.

        Raises: InvalidModel for graphs of different interfaces; TwoNetworksDiffer, naming the first value inside that is off by more.
        """
        need_alike(graph, other)
        lines = self.hold(f"@{other.name}", *(reference.run(each, inputs, "f64") for each in (graph, other)))
        if bad := next((line for line in lines if not line.agrees), None):
            first, inside = where_inside(graph, other, self._first_beyond(graph, other, inputs), "differs by more")
            raise TwoNetworksDiffer(f"{bad}{inside}", lines, first)
        return lines

    def _first_beyond(self, graph: Graph, other: Graph, inputs: Mapping[str, Array]) -> Node | None:
        exact = ((node, (value,)) for node, value in reference.stream(graph, inputs, "f64"))
        for node, got, (expected,) in with_counterparts(exact, graph, other, inputs):
            if got.shape != expected.shape or not all_agree(self.hold(other.name, {node.name: expected}, {node.name: got})):
                return node
        return None

    def hold_sizes(
        self, graph: Graph, engine: Engine, run: Run, inputs: Mapping[str, Array], exact: Mapping[str, Array]
    ) -> list[Agreement]:
        """As `hold` for the inputs whose float64 results are known. Where other code serves other numbers of images, or other sizes, random
        inputs of those follow: lines that differ, or of an artifact for some batches all. See `compare_batches`.
        """
        lines = self.hold(engine.name, exact, run(inputs))
        for sizes in _others(graph, engine, inputs) if all_agree(lines) else ():
            given = random_inputs(graph, seed=2, sizes=sizes)
            label = f"{engine.name}, {', '.join(f'{name}={size}' for name, size in sizes.items()) or 'run again'}"
            wanted = reference.run(graph, given, "f64")
            found = self.hold(label, wanted, run(given))
            for _ in range(engine.fixed.turns - 1 if engine.fixed is not None else 0):
                found = self.hold(label, wanted, run(given)) if all_agree(found) else found
            lines += [line for line in found if engine.fixed is not None or not line.agrees]
        return lines


def _others(graph: Graph, engine: Engine, inputs: Mapping[str, Array]) -> Iterator[dict[str, int]]:
    """Numbers for named sizes, by which an engine may run other code than for the inputs."""
    if engine.fixed is not None:
        name = the_batch(graph)
        yield from ({name: batch} for batch in engine.fixed.batches) if name is not None else ({},)
        return
    if engine.has_one_code:
        return
    if others := other_sizes(graph):
        yield dict(others)
    sizes, batch = match_inputs(graph, inputs), batch_names(graph)
    if batch and all(sizes[each] == 1 for each in batch):
        yield {**sizes, **dict.fromkeys(batch, 2)}
