"""The reference as an engine: NumPy node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...backends import reference
from ...ir.graph import Graph, Node
from ...ir.types import Array
from ...ir.version import release
from .engine import Engine, Run, one_by_one, opened_by
from .onnxruntime import ONNXRUNTIME

__all__ = ["REFERENCE"]


def _start(graph: Graph, threads: int | None) -> Run:
    return lambda inputs: reference.run(graph, inputs)


def _start_wide(graph: Graph, threads: int | None) -> Run:
    return lambda inputs: reference.run(graph, inputs, "f64")


def _capture(graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None) -> Iterator[tuple[str, Array]]:
    names = {node.name for node in wanted}
    return ((node.name, value) for node, value in reference.stream(graph, inputs) if node.name in names)


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
