"""A planned network on trial: the error of its outputs on calibration inputs, which no sum over layers foretells in long chains."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...backends.onnx.session import Session
from ...ir.errors import InvalidModel
from ...ir.graph import Graph
from ...ir.types import Array
from .sensitivity import readouts

__all__ = ["Trial"]


@dataclass(frozen=True, eq=False)
class Trial:
    """The network as it is, and what it is tried on, in onnxruntime."""

    graph: Graph
    inputs: Mapping[str, Array]
    threads: int | None

    @functools.cached_property
    def _exact(self) -> list[Array]:
        return self._outputs(self.graph)

    def error(self, planned: Graph) -> float:
        """Of the outputs before a last softmax, relative to their size.

        Raises: InvalidModel where they are not finite, which leaves nothing to compare.
        """
        near = self._outputs(planned)
        lost = sum(float(np.sum((a - b) ** 2)) for a, b in zip(near, self._exact, strict=True))
        size = sum(float(np.sum(exact**2)) for exact in self._exact)
        if not np.isfinite(size + lost):
            raise InvalidModel(f"@{self.graph.name} has outputs on the calibration inputs that are not finite; no error can be bounded")
        return float(np.sqrt(lost / size)) if size > 0 else float(lost > 0)

    def _outputs(self, graph: Graph) -> list[Array]:
        from ...backends.onnx.write.export import to_model

        ends = readouts(graph)
        exposed = Graph(graph.name, graph.inputs, tuple(ends), graph.nodes)
        values = Session(exposed, to_model(exposed).SerializeToString(), self.threads).run(self.inputs)
        return [values[node.name].astype(np.float64) for node in ends]
