"""convc as a backend in ONNX's sense: `prepare(model).run(inputs)`, what onnx.backend.test asks for.

from convc.compiler.engines.onnx_backend import backend
outputs = backend("reference").run_model(onnx.load("net.onnx"), [x])
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...ir.binding import match_inputs, specialize
from ...ir.errors import UnsupportedOp, UsageError
from ...ir.files import temporary_folder
from ...ir.graph import Graph
from ...ir.types import DTYPES, Array
from .optimize import optimize
from .table import engine_named

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["backend"]

LEVEL = 2  # of optimization, so that the cases hold the passes to their answers too
SMALL = 64  # elements of an input that may be a setting rather than data


@functools.cache
def backend(engine: str) -> Any:
    """The subclass of onnx.backend.base.Backend that runs an engine of convc, on what -O2 leaves of the model.

    The reference computes in float64. `prepare` raises UsageError for a device other than CPU; what cannot be compiled is refused
    by `run`, which knows the sizes.
    """
    from onnx.backend.base import Backend, BackendRep

    found = engine_named(engine)
    start = found.start_wide or found.start

    class Prepared(BackendRep):
        def __init__(self, model: bytes) -> None:
            super().__init__()
            self.model = model

        def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
            """Outputs in the model's order, for arrays in the order of its inputs or by name."""
            graph, arrays = _fixed(self.model, inputs)
            graph = specialize(optimize(graph, LEVEL, prices=found.prices)[0], match_inputs(graph, arrays))
            results = start(graph, 1)(arrays)
            return tuple(results[node.name].astype(DTYPES[node.typed.dtype]) for node in graph.outputs)

    class Convc(Backend):
        @classmethod
        def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> BackendRep:
            if not cls.supports_device(device):
                raise UsageError(f"device '{device}'; this backend runs on CPU")
            return Prepared(model.SerializeToString())

        @classmethod
        def run_model(cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
            return cls.prepare(model, device, **kwargs).run(inputs)

        @classmethod
        def supports_device(cls, device: str) -> bool:
            return device.split(":")[0] == "CPU"

    return Convc


def _fixed(model: bytes, inputs: Any) -> tuple[Graph, dict[str, Array]]:
    """The graph, and the arrays for what inputs it has left.

    An operand that decides a shape, such as the axes of a reduction, must be fixed to be compiled; where it is an input, the
    model is compiled for the values that came.
    """
    arrays = _by_name(model, inputs)
    whole = {name: array for name, array in arrays.items() if array.dtype.kind in "iu" and array.ndim <= 1}
    rest = {name: array for name, array in list(arrays.items())[1:] if array.size <= SMALL}
    scalars = {name: array for name, array in arrays.items() if array.ndim == 0}  # a range has no other operands
    choices: tuple[dict[str, Array], ...] = ({}, whole, rest, scalars, whole | rest)
    for constants in choices[:-1]:
        try:
            return _read(model, constants), _without(arrays, constants)
        except UnsupportedOp:
            continue
    return _read(model, choices[-1]), _without(arrays, choices[-1])


def _by_name(model: bytes, inputs: Any) -> dict[str, Array]:
    from onnx import ModelProto

    graph = ModelProto.FromString(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in constants]
    given = cast("Mapping[str, Any]", inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
    return {name: np.asarray(value) for name, value in given.items()}


def _without(arrays: dict[str, Array], constants: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if name not in constants}


def _read(model: bytes, constants: Mapping[str, Array]) -> Graph:
    from ...backends.onnx.read.importer import read_graph

    with temporary_folder() as folder:
        path = folder / "model.onnx"
        path.write_bytes(model)
        return read_graph(path, constants=constants, strict=True).graph
