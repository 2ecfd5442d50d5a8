"""The reference as an engine: NumPy node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...backends import reference
from ...ir.graph import Graph, Node
from ...ir.types import Array, TensorType
from ...ir.version import release
from .engine import Engine, Run, one_by_one, opened_by
from .onnxruntime import ONNXRUNTIME

__all__ = ["REFERENCE"]


def _start(graph: Graph, threads: int | None) -> Run:
    types = {node.name: node.typed for node in graph.outputs}
    return lambda inputs: {name: _shown(value, types[name]) for name, value in reference.run(graph, inputs, _precision(graph)).items()}


def _start_wide(graph: Graph, threads: int | None) -> Run:
    return lambda inputs: reference.run(graph, inputs, "f64")


def _capture(graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None) -> Iterator[tuple[str, Array]]:
    names = {node.name for node in wanted}
    values = reference.stream(graph, inputs, _precision(graph))
    return ((node.name, _shown(value, node.typed)) for node, value in values if node.name in names)


def _precision(graph: Graph) -> str:
    """Float64 for a network that has any of it, as powers of whole numbers go through: float32 would not be what its ops mean."""
    return "f64" if any(node.typed.dtype == "f64" for node in graph.nodes) else "f32"


def _shown(value: Array, type_: TensorType) -> Array:
    """Float32, unless it is of float64."""
    return value.astype(np.float32, copy=False) if type_.is_float and type_.dtype != "f64" else value


REFERENCE = Engine(
    name="reference",
    about="NumPy, float32: what every op means",
    start=_start,
    open=opened_by(_start),
    capture=_capture,
    kernels=one_by_one,
    prices=ONNXRUNTIME.prices,
    word=lambda: f"NumPy {release('numpy')}",
    has_one_code=True,
    runs_opaque=True,
    start_wide=_start_wide,
)
