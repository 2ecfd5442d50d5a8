"""ONNX's reference evaluator on constants of a file that nobody vouches for: in a process of its own, with an end.

It is Python that takes what the spec allows at its word: a Tile asks for all of the memory, a Loop for all of the time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["RESULT_BYTES", "Evaluator"]

SECONDS = 20  # of one file's constants, all together
PROCESSES = 4  # one that died is begun anew for the next operator, so often
RESULT_BYTES = 64 << 20  # of one operator, as fold-constants has it
HEADER = 8  # bytes of a message's length
# isolated (-I), so that no onnx.py is imported from the folder where a model was unpacked; the search path is this process's
CHILD = """
import json, math, os, sys
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what an operator prints is no answer
sys.path[:] = json.loads(sys.argv[1])
most, seconds, header = map(int, sys.argv[2:])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
except (ImportError, OSError, ValueError):
    pass
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

while size := int.from_bytes(sys.stdin.buffer.read(header), "little"):
    try:
        answer = results(ModelProto.FromString(sys.stdin.buffer.read(size)))
    except Exception:
        answer = b""
    answers.write(len(answer).to_bytes(header, "little") + answer)
    answers.flush()
"""


class Evaluator:
    """A process that computes models without inputs, one after another; it is started by the first. `close` ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._processes_left = PROCESSES
        self._seconds_left = float(SECONDS)

    def results(self, model: ModelProto) -> list[TensorProto] | None:
        """The outputs, or None where there are none: an operator that is not defined, results that are no tensors or over
        RESULT_BYTES, no time or no memory left."""
        from google.protobuf.message import DecodeError
        from onnx import GraphProto

        process = self._running()
        if process is None or self._seconds_left <= 0:
            return None
        begun, alarm = time.monotonic(), threading.Timer(self._seconds_left, process.kill)  # who reads then finds the end of the stream
        alarm.daemon = True
        alarm.start()
        try:
            return list(GraphProto.FromString(_answer(process, model.SerializeToString())).initializer) or None
        except (OSError, EOFError, DecodeError, ValueError):
            self.close()
            return None
        finally:
            alarm.cancel()
            self._seconds_left -= time.monotonic() - begun

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _running(self) -> subprocess.Popen[bytes] | None:
        """The process; None once too many have died."""
        if self._process is None and self._processes_left:
            self._processes_left -= 1
            command = [sys.executable, "-I", "-c", CHILD, json.dumps([entry for entry in sys.path if entry])]
            command += [str(number) for number in (RESULT_BYTES, SECONDS, HEADER)]
            try:
                pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
                self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing)
            except OSError:
                self._processes_left = 0
        return self._process


def _answer(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    """Raises: OSError, EOFError where the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(len(request).to_bytes(HEADER, "little") + request)
    process.stdin.flush()
    size = int.from_bytes(_read(process.stdout, HEADER), "little")
    if size > 2 * RESULT_BYTES:
        raise EOFError
    return _read(process.stdout, size)


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
