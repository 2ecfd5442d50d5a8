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

def too_large(model):
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph.output
    shapes = [value.type.tensor_type.shape.dim for value in inferred if value.type.tensor_type.HasField("shape")]
    return any(math.prod(max(dim.dim_value, 1) for dim in shape) > most for shape in shapes)

def results(model):
    if too_large(model):
        return b""
    with np.errstate(all="ignore"):
        values = ReferenceEvaluator(model).run(None, {})
    if not all(isinstance(value, (np.ndarray, np.generic)) for value in values) or sum(value.nbytes for value in values) > most:
        return b""
    names = [value.name for value in model.graph.output]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for value, name in zip(values, names)]
    return GraphProto(initializer=tensors).SerializeToString()

def answer(data):
    return results(ModelProto.FromString(data))
"""


class Evaluator:
    """A process that computes models without inputs, one after another; it is started by the first. `close` ends it."""

    def __init__(self) -> None:
        self._child = Child(PROGRAM, SECONDS, RESULT_BYTES, PROCESSES)

    def results(self, model: ModelProto) -> list[TensorProto] | None:
        """The outputs, or None where there are none: an operator that is not defined, results that are no tensors or over
        RESULT_BYTES, no time or no memory left."""
        from google.protobuf.message import DecodeError
        from onnx import GraphProto

        try:
            return list(GraphProto.FromString(self._child.ask(model.SerializeToString()) or b"").initializer) or None
        except (DecodeError, ValueError):
            return None

    def close(self) -> None:
        self._child.close()
