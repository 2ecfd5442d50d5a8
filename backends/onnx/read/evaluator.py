"""ONNX's reference evaluator on constants of a file that nobody vouches for: in a process of its own, with an end.

It is Python that takes what the spec allows at its word: a Tile asks for all of the memory, a Loop for all of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .child import Child

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["RESULT_BYTES", "Evaluator"]

SECONDS = 20  # of one file's constants, all together
PROCESSES = 4  # one that died is begun anew for the next operator, so often
RESULT_BYTES = 64 << 20  # of one operator, as fold-constants has it
PROGRAM = """
import math
import numpy as np
from onnx import GraphProto, ModelProto, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

def typed_outputs(model):
    inferred = {value.name: value for value in shape_inference.infer_shapes(model, data_prop=True).graph.output}
    return [inferred[value.name].type.tensor_type for value in model.graph.output]

def too_large(type_):
    return type_.HasField("shape") and math.prod(max(dim.dim_value, 1) for dim in type_.shape.dim) > most

def agrees(tensor, type_):
    if type_.elem_type not in (0, tensor.data_type):
        return False
    dims = type_.shape.dim
    if not type_.HasField("shape"):
        return True
    same = all(not dim.HasField("dim_value") or dim.dim_value == size for dim, size in zip(dims, tensor.dims))
    return same and len(dims) == len(tensor.dims)

def results(model):
    types = typed_outputs(model)
    if any(map(too_large, types)):
        return b""
    with np.errstate(all="ignore"):
        values = ReferenceEvaluator(model).run(None, {})
    if not all(isinstance(value, (np.ndarray, np.generic)) for value in values) or sum(value.nbytes for value in values) > most:
        return b""
    names = [value.name for value in model.graph.output]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for value, name in zip(values, names)]
    return GraphProto(initializer=tensors).SerializeToString() if all(map(agrees, tensors, types)) else b""

def answer(data):
    return results(ModelProto.FromString(data))
"""


class Evaluator:
    """A process that computes models without inputs, one after another; it is started by the first. `close` ends it."""

    def __init__(self) -> None:
        self._child = Child(PROGRAM, SECONDS, RESULT_BYTES, PROCESSES)

    def results(self, model: ModelProto) -> list[TensorProto] | None:
        """The outputs, or None where there are none: an operator that is not defined, results that are no tensors, of another type than
        ONNX infers, or over RESULT_BYTES, no time or no memory left."""
        from google.protobuf.message import DecodeError
        from onnx import GraphProto

        try:
            return list(GraphProto.FromString(self._child.ask(model.SerializeToString()) or b"").initializer) or None
        except (DecodeError, ValueError):
            return None

    def close(self) -> None:
        self._child.close()
