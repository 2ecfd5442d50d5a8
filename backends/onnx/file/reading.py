"""Reading an ONNX file that nobody vouches for: a checked model, or a refusal in one sentence."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ....ir.errors import InvalidModel, UsageError
from ....ir.legible import quoted
from ....ir.memory import need_bytes
from ....ir.suggest import not_there
from ....ir.types import Array
from .checking import check_model
from .external import FILE_FLAGS, FileState, Parts, check_files, range_of, read_range
from .limits import LIMITS, Limits
from .tensors import EXTERNAL, check_tensor, computed, from_bytes, inline_values
from .wire import check_cost

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["Model", "imported_opsets", "model_in_memory", "read_model"]


@dataclass(frozen=True)
class Model:
    """A checked ONNX file. External data stay in their files until `array` asks for them.

    `opset` maps a domain ("" is ONNX's own) to its version; `files` holds what the files with external data were when the model was read.
    """

    proto: ModelProto
    path: Path
    folder: Path
    opset: Mapping[str, int]
    files: Mapping[Parts, FileState] = field(default_factory=dict[Parts, FileState])
    limits: Limits = LIMITS

    def array(self, tensor: TensorProto) -> Array:
        """The values of an initializer or of a tensor in an attribute, read-only.

        Raises: InvalidModel where data and declaration differ; UnsupportedOp for an element type that convc does not compute with.
        """
        where = f"{self.path.name}: tensor {quoted(tensor.name)}"
        raw = tensor.raw_data if tensor.HasField("raw_data") else None  # each look at it is a copy
        declared = check_tensor(tensor, where, self.limits, raw)
        if tensor.data_location != EXTERNAL:
            return inline_values(tensor, where, raw)
        dtype = computed(tensor, where)
        data = read_range(self.folder, range_of(tensor, where), self.files, declared, where)
        return from_bytes(data, dtype, tuple(tensor.dims), where)

    def fetch(self, tensor: TensorProto) -> None:
        """Put the values of a tensor that lie in another file into the tensor itself.

        Raises: InvalidModel where data and declaration differ.
        """
        if tensor.data_location != EXTERNAL:
            return
        where = f"{self.path.name}: tensor {quoted(tensor.name)}"
        declared = check_tensor(tensor, where, self.limits)
        data = read_range(self.folder, range_of(tensor, where), self.files, declared, where)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = bytes(data)


def read_model(path: Path, limits: Limits = LIMITS) -> Model:
    """The model in a file, nothing in which is trusted.

    Raises: UsageError for a file that cannot be read; InvalidModel for what breaks the format's rules or the limits.
    """
    file, folder = path.name, path.absolute().parent
    data = _bytes(path, limits)
    check_cost(data, file, limits)
    proto = _parsed(data, path)
    del data
    opset = imported_opsets(proto, path)
    external = check_model(proto, file, opset, limits)
    files = check_files(folder, file, [(where, range_of(tensor, where), declared) for where, tensor, declared in external], limits)
    return Model(proto, path, folder, opset, files, limits)


def model_in_memory(proto: ModelProto, name: str) -> Model:
    """A model that was never in a file, checked as one; errors call it by `name`.

    Raises: InvalidModel for what breaks the format's rules or the limits, and for values in files.
    """
    path = Path(name)
    opset = imported_opsets(proto, path)
    if external := check_model(proto, name, opset, LIMITS):
        raise InvalidModel(f"{external[0][0]} has its values in a file, and the model is in none")
    return Model(proto, path, path, opset, {})


def _bytes(path: Path, limits: Limits) -> bytes:
    """The bytes of a regular file. A pipe or a device has no end and no size to check."""
    try:
        handle = os.open(path, FILE_FLAGS)
    except FileNotFoundError as error:
        raise UsageError(not_there(path)) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {quoted(str(path))}: {getattr(error, 'strerror', None) or error}") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise UsageError(f"cannot read {quoted(str(path))}: not a regular file")
    with os.fdopen(handle, "rb") as file:
        if status.st_size > limits.file_bytes:
            raise InvalidModel(f"{path.name}: {status.st_size:,} bytes; at most {limits.file_bytes:,} are read")
        need_bytes(f"{path.name}", 2 * status.st_size, "choose a smaller file")
        data = file.read(status.st_size)
    if not data:
        raise InvalidModel(f"{path.name}: an empty file is no ONNX model")
    return data


def _parsed(data: bytes, path: Path) -> ModelProto:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    need_bytes(f"{path.name}, parsed,", len(data), "choose a smaller file")
    try:
        return ModelProto.FromString(data)
    except (DecodeError, RecursionError, ValueError) as error:
        need_bytes(f"{path.name}, parsed,", len(data), "choose a smaller file")  # what protobuf says is the same where it lacked memory
        raise InvalidModel(f"{path.name}: not an ONNX file, or a damaged one ({error})") from error


def imported_opsets(proto: ModelProto, path: Path) -> dict[str, int]:
    """The versions of operators that a model imports, by domain."""
    versions: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise InvalidModel(
                f"{path.name}: imports operators of domain {quoted(domain)} in versions {versions[domain]} and {entry.version}"
            )
    return versions
