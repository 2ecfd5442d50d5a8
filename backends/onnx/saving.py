"""Writing ONNX files: one file, or, beyond what one can hold, a second one beside it with the weights.

Source: onnx, docs/ExternalData.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ir.errors import InvalidModel, UsageError
from ...ir.files import write_file, write_together
from .external import is_location
from .naming import shown
from .tensors import EXTERNAL

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

__all__ = ["THRESHOLD", "save_model"]

THRESHOLD = 2**31 - 2**26  # bytes of weights; one protobuf message holds 2 GiB, and the graph takes some of them
ALIGNMENT = 4_096  # bytes; a page, so that runtimes can map the file
SMALL = 1_024  # bytes; tensors up to this stay in the model's own file, where shapes and axes are looked for
CHUNK = 2**24


def save_model(model: ModelProto, path: Path, threshold: int = THRESHOLD) -> None:
    """Write a model whole or not at all; the same model gives the same bytes.

    With more than `threshold` bytes of weights they go into `<path>.data` beside it, and no link is followed. Where the data go is never
    taken from the model itself (CVE-2025-51480).

    Raises: UsageError for a path that cannot be written; InvalidModel for a model whose weights are elsewhere, or that is too large all
    the same.
    """
    if (tensor := _external_tensor(model)) is not None:
        raise InvalidModel(f"{path.name}: the data of tensor {shown(tensor.name)} are in another file; read them into the model first")
    sizes = [len(tensor.raw_data) for tensor in model.graph.initializer]
    large = [tensor for tensor, size in zip(model.graph.initializer, sizes, strict=True) if size > SMALL]
    if sum(sizes) <= threshold or not large:
        write_file(path, _serialized(model, path))
        return
    location = f"{path.name}.data"
    if not is_location(location):
        raise UsageError(f"{shown(location)} cannot be the name of a file with external data; choose another name for the model")
    digest = hashlib.sha1(usedforsecurity=False)  # what the format has
    write_together(path.parent, {location: _data(large, digest), path.name: _slim(model, path, location, digest)})


def _data(tensors: list[TensorProto], digest: Any) -> Iterator[bytes]:
    """The weights one after another, each on a page of its own."""
    for tensor in tensors:
        raw = tensor.raw_data
        for chunk in (raw, bytes(-len(raw) % ALIGNMENT)):
            digest.update(chunk)
            yield chunk


def _slim(model: ModelProto, path: Path, location: str, digest: Any) -> Iterator[bytes]:
    """The model without its weights, once their digest is complete."""
    from onnx import ModelProto

    slim, offset, checksum = ModelProto(), 0, digest.hexdigest()
    _copy(model, slim, without="graph")
    _copy(model.graph, slim.graph, without="initializer")
    for tensor in model.graph.initializer:
        length = len(tensor.raw_data)
        if length <= SMALL:
            slim.graph.initializer.append(tensor)
            continue
        outside = slim.graph.initializer.add()
        _copy(tensor, outside, without="raw_data")
        outside.data_location = EXTERNAL  # pyright: ignore[reportAttributeAccessIssue]  # a plain number, without importing the enumeration
        for key, value in (("location", location), ("offset", offset), ("length", length), ("checksum", checksum)):
            outside.external_data.add(key=key, value=str(value))
        offset += length + -length % ALIGNMENT
    yield _serialized(slim, path)


def _copy(source: Any, target: Any, without: str) -> None:
    """All fields of a protobuf message but one, which may be too large to copy."""
    for field, value in source.ListFields():
        if field.name == without:
            continue
        if field.message_type is None and not hasattr(value, "append"):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).MergeFrom(value)


def _serialized(model: ModelProto, path: Path) -> bytes:
    from google.protobuf.message import EncodeError

    try:
        return model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise InvalidModel(f"{path.name}: over 2 GiB besides its weights; one ONNX file holds no more ({error})") from error


def _external_tensor(model: ModelProto) -> TensorProto | None:
    """The first tensor, in inner graphs and attributes too, whose data are in another file."""
    graphs: list[GraphProto] = [model.graph]
    while graphs:
        graph = graphs.pop()
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        tensors = [*graph.initializer, *(tensor for attribute in attributes for tensor in (attribute.t, *attribute.tensors))]
        for tensor in tensors:
            if tensor.data_location == EXTERNAL:
                return tensor
        graphs += [graph for attribute in attributes for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs)]
    return None
