"""What a run takes in memory, whichever engine it is on."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.binding import match_inputs
from ...ir.graph import Graph
from ...ir.memory import need_bytes
from ...ir.types import Array
from ...passes.analysis.liveness import liveness

__all__ = ["need_run"]


def need_run(graph: Graph, inputs: Mapping[str, Array]) -> None:
    """For the intermediates of a run. Raises: OutOfMemory where fewer bytes are free than are live at once."""
    need_bytes(f"a run of @{graph.name}", liveness(graph, match_inputs(graph, inputs)).peak)
