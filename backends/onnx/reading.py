"""Reading an ONNX file that nobody vouches for: a checked model, or a refusal in one sentence."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...ir.errors import InvalidModel, UsageError
from ...ir.types import Array
from .limits import LIMITS, Limits
from .tensors import check_tensor, inline_values, shown

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["Model", "read_model"]


@dataclass(frozen=True)
class Model:
    """A checked ONNX file. External data stay in their files until `array` asks for them.

    `opset` maps a domain ("" is ONNX's own) to its version.
    """

    proto: ModelProto
    path: Path
    folder: Path
    opset: Mapping[str, int]
    limits: Limits = LIMITS

    def array(self, tensor: TensorProto) -> Array:
        """The values of an initializer or of a tensor in an attribute, read-only.

        Raises: InvalidModel where data and declaration differ; UnsupportedOp for an element type that convc does not compute with.
        """
        where = f"{self.path.name}: tensor {shown(tensor.name)}"
        check_tensor(tensor, where, self.limits)
        return inline_values(tensor, where)


def read_model(path: Path, limits: Limits = LIMITS) -> Model:
    """The model in a file, nothing in which is trusted.

    Raises: UsageError for a file that cannot be read; InvalidModel for what breaks the format's rules or the limits.
    """
    proto = _parsed(_bytes(path, limits), path)
    return Model(proto, path, path.absolute().parent, _opset(proto, path), limits)


def _bytes(path: Path, limits: Limits) -> bytes:
    """The bytes of a regular file. A pipe or a device has no end and no size to check."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {shown(str(path))}: {getattr(error, 'strerror', None) or error}") from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"cannot read {shown(str(path))}: not a regular file")
        if status.st_size > limits.file_bytes:
            raise InvalidModel(f"{path.name}: {status.st_size:,} bytes; at most {limits.file_bytes:,} are read")
        data = file.read(status.st_size)
    if not data:
        raise InvalidModel(f"{path.name}: an empty file is no ONNX model")
    return data


def _parsed(data: bytes, path: Path) -> ModelProto:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        return ModelProto.FromString(data)
    except (DecodeError, RecursionError, ValueError) as error:
        raise InvalidModel(f"{path.name}: not an ONNX file, or a damaged one ({error})") from error


def _opset(proto: ModelProto, path: Path) -> dict[str, int]:
    versions: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise InvalidModel(
                f"{path.name}: imports operators of domain {shown(domain)} in versions {versions[domain]} and {entry.version}"
            )
    return versions
