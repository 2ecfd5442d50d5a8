"""ONNX's own shape inference on a file that nobody vouches for: in a process of its own, with an end.

It is native code that some models crash or keep busy for ever (an Einsum whose equation is "-").
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from ....ir.errors import InvalidModel
from ..file.checking import check_value
from ..file.limits import Limits

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["inferred_values"]

SECONDS = 20  # from its start; half a second of it is the import of onnx
SMALL = 4_096  # bytes; larger weights do not decide shapes, and stay here
# isolated (-I), so that no onnx.py is imported from the folder where a model was unpacked; the search path is this process's
CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
except (ImportError, OSError, ValueError):
    pass
from onnx import ModelProto, shape_inference
model = ModelProto.FromString(sys.stdin.buffer.read())
sys.stdout.buffer.write(shape_inference.infer_shapes(model).SerializeToString())
"""


def inferred_values(model: ModelProto, limits: Limits) -> list[ValueInfoProto]:
    """The types of intermediate values and outputs as ONNX infers them; those the file itself writes where it does not come to an end."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    values = [*model.graph.value_info, *model.graph.output]
    described = {value.name for value in values}
    if all(name in described for node in model.graph.node for name in node.output if name):
        return values
    command = [sys.executable, "-I", "-c", CHILD, json.dumps([entry for entry in sys.path if entry])]
    try:
        done = subprocess.run(command, input=_without_weights(model), capture_output=True, timeout=SECONDS, check=True)
        typed = ModelProto.FromString(done.stdout).graph
    except (subprocess.SubprocessError, OSError, DecodeError, ValueError):  # whatever a foreign operator does to it
        return values
    return [value for value in (*typed.value_info, *typed.output) if _is_sound(value, limits)]


def _is_sound(value: ValueInfoProto, limits: Limits) -> bool:
    try:
        check_value(value, "", limits)
    except InvalidModel:
        return False
    return True


def _without_weights(model: ModelProto) -> bytes:
    """Large weights become inputs: only their types are told."""
    from onnx import ModelProto, helper

    slim = ModelProto(ir_version=max(4, model.ir_version), opset_import=model.opset_import)
    slim.graph.name = model.graph.name
    slim.graph.node.extend(model.graph.node)
    slim.graph.output.extend(model.graph.output)
    slim.graph.value_info.extend(model.graph.value_info)
    slim.graph.input.extend(model.graph.input)
    known = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if not tensor.external_data and len(tensor.raw_data) <= SMALL:
            slim.graph.initializer.append(tensor)
        elif tensor.name not in known:
            slim.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return slim.SerializeToString()
