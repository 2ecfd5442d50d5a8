"""convc as a backend in ONNX's sense: `prepare(model).run(inputs)`, what onnx.backend.test asks for.

    from convc.compiler.onnx_backend import Reference
    outputs = Reference.run_model(onnx.load("net.onnx"), [x])
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx.backend.base import Backend, BackendRep

from ..backends import reference
from ..backends.onnx.importer import read_graph
from ..ir.binding import match_inputs, specialize
from ..ir.errors import UnsupportedOp, UsageError
from ..ir.graph import Graph
from ..ir.types import DTYPES, Array
from .engines import Run, engines_named
from .pipelines import optimize

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Reference", "Tvm"]

LEVEL = 2  # of optimization, so that the cases hold the passes to their answers too
SMALL = 64  # elements of an input that may be a setting rather than data


class _Prepared(BackendRep):
    """A model and the engine that runs it, compiled when the sizes of the inputs are known.

    An operand that decides a shape, such as the axes of a reduction, must be fixed to be compiled; where it is an input, the
    model is compiled for the values that came.
    """

    def __init__(self, model: bytes, start: Callable[[Graph], Run]) -> None:
        super().__init__()
        self.model = model
        self.start = start

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs in the model's order, for arrays in the order of its inputs or by name."""
        graph, arrays = self._fixed(inputs)
        graph = specialize(optimize(graph, LEVEL)[0], match_inputs(graph, arrays))
        results = self.start(graph)(arrays)
        return tuple(results[node.name].astype(DTYPES[node.typed.dtype]) for node in graph.outputs)

    def _fixed(self, inputs: Any) -> tuple[Graph, dict[str, Array]]:
        """The graph, and the arrays for what inputs it has left."""
        names = _input_names(self.model)
        given: dict[str, Any] = dict(inputs) if isinstance(inputs, dict) else dict(zip(names, inputs, strict=True))
        arrays: dict[str, Array] = {name: np.asarray(value) for name, value in given.items()}
        whole = {name: array for name, array in arrays.items() if array.dtype.kind in "iu" and array.ndim <= 1}
        rest = {name: array for name, array in list(arrays.items())[1:] if array.size <= SMALL}
        for constants in ({}, whole, rest, whole | rest):
            try:
                graph = _read(self.model, constants)
            except UnsupportedOp:
                if constants == whole | rest:
                    raise
                continue
            return graph, {name: array for name, array in arrays.items() if name not in constants}
        raise AssertionError("the last choice returns or raises")


def _read(model: bytes, constants: dict[str, Array]) -> Graph:
    with tempfile.TemporaryDirectory(prefix="convc.") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        return read_graph(path, constants=constants).graph


def _input_names(model: bytes) -> list[str]:
    from onnx import ModelProto

    graph = ModelProto.FromString(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in constants]


class Reference(Backend):
    """The NumPy interpreter in float64, on what -O2 leaves of the model."""

    @classmethod
    def start(cls, graph: Graph) -> Run:
        return lambda inputs: reference.run(graph, inputs, "f64")

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> BackendRep:
        """Raises: UsageError for a device other than CPU. What cannot be compiled is refused by `run`."""
        if not cls.supports_device(device):
            raise UsageError(f"device '{device}'; this backend runs on CPU")
        return _Prepared(model.SerializeToString(), cls.start)

    @classmethod
    def run_model(cls, model: ModelProto, inputs: Sequence[Any], device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.split(":")[0] == "CPU"


class Tvm(Reference):
    """TVM on the CPU."""

    @classmethod
    def start(cls, graph: Graph) -> Run:
        (engine,) = engines_named("tvm")
        return engine.start(graph, 1)
