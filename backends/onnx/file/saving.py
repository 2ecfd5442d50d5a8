"""Writing ONNX files: one file, or, beyond what one can hold, a second one beside it with the weights.

Source: onnx, docs/ExternalData.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....ir.errors import InvalidModel, UsageError
from ....ir.files import write_file, write_together
from ....ir.legible import quoted
from .external import is_location
from .tensors import ELEMENTS, EXTERNAL

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

__all__ = ["SMALL", "THRESHOLD", "Values", "copy_fields", "remark_of", "save_model", "size_of"]

Values = Mapping[str, Callable[[], bytes]]  # by the name of an initializer

THRESHOLD = 2**31 - 2**26  # bytes of weights; one protobuf message holds 2 GiB, and the graph takes some of them
ALIGNMENT = 4_096  # bytes; a page, so that runtimes can map the file
GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9  # fields of ModelProto, GraphProto, TensorProto
SMALL = 1_024  # bytes; tensors up to this stay in the model's own file, where shapes and axes are looked for
CHUNK = 2**24


def save_model(model: ModelProto, path: Path, threshold: int = THRESHOLD, values: Values | None = None) -> None:
    """Write a model whole or not at all; the same model gives the same bytes.

    `values` makes the bytes of initializers that the model only declares, one at a time. With more than `threshold` bytes of weights
    they go into `<path>.data` beside it, and no link is followed. Where the data go is never taken from the model itself
    (CVE-2025-51480).

    Raises: UsageError for a path that cannot be written; InvalidModel for a model whose weights are elsewhere, or that is too large all
    the same.
    """
    if (tensor := _external_tensor(model)) is not None:
        raise InvalidModel(f"{path.name}: the data of tensor {quoted(tensor.name)} are in another file; read them into the model first")
    values = values or {}
    sizes = {tensor.name: size_of(tensor, values) for tensor in model.graph.initializer}
    if sum(sizes.values()) <= threshold or max(sizes.values()) <= SMALL:
        write_file(path, _whole(model, path, values))
        return
    location = f"{path.name}.data"
    if not is_location(location):
        raise UsageError(f"{quoted(location)} cannot be the name of a file with external data; choose another name for the model")
    digest = hashlib.sha1(usedforsecurity=False)  # what the format has
    write_together(path.parent, {location: _data(model, values, digest), path.name: _slim(model, path, location, values, digest)})


def size_of(tensor: TensorProto, values: Values) -> int:
    """Bytes of data; what is kept in typed fields stays where it is."""
    if tensor.name not in values:
        return len(tensor.raw_data)
    return -(-ELEMENTS[tensor.data_type].bits * math.prod(tensor.dims) // 8)


def _whole(model: ModelProto, path: Path, values: Values) -> Iterator[bytes]:
    """The serialized model, each of `values` made when its turn comes. Source: protobuf.dev, Encoding; onnx.proto for field numbers."""
    from onnx import GraphProto, ModelProto

    shell, graph = ModelProto(), GraphProto()
    copy_fields(model, shell, without="graph")
    copy_fields(model.graph, graph, without="initializer")
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name not in values)
    inner = _serialized(graph, path)
    headers: list[tuple[str, bytes]] = []
    total = len(inner)
    for tensor in model.graph.initializer:
        if tensor.name in values:
            size = size_of(tensor, values)
            header = tensor.SerializeToString(deterministic=True) + _prefix(RAW_DATA, size)
            headers.append((tensor.name, _prefix(INITIALIZER, len(header) + size) + header))
            total += len(headers[-1][1]) + size
    yield _serialized(shell, path)
    yield _prefix(GRAPH, total) + inner
    for name, header in headers:
        yield header
        yield values[name]()


def _prefix(field: int, length: int) -> bytes:
    """The key of a field that has a length, and the length: 7 bits a byte, the lowest first."""
    out = bytearray()
    for number in (field << 3 | 2, length):
        while number >= 128:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def _data(model: ModelProto, values: Values, digest: Any) -> Iterator[bytes]:
    """The weights one after another, each on a page of its own."""
    for tensor in model.graph.initializer:
        if size_of(tensor, values) <= SMALL:
            continue
        raw = values[tensor.name]() if tensor.name in values else tensor.raw_data
        for chunk in (raw, bytes(-len(raw) % ALIGNMENT)):
            digest.update(chunk)
            yield chunk


def _slim(model: ModelProto, path: Path, location: str, values: Values, digest: Any) -> Iterator[bytes]:
    """The model without its weights, once their digest is complete."""
    from onnx import ModelProto

    slim, offset, checksum = ModelProto(), 0, digest.hexdigest()
    copy_fields(model, slim, without="graph")
    copy_fields(model.graph, slim.graph, without="initializer")
    for tensor in model.graph.initializer:
        length = size_of(tensor, values)
        if length <= SMALL:
            slim.graph.initializer.append(tensor)
            if tensor.name in values:
                slim.graph.initializer[-1].raw_data = values[tensor.name]()
            continue
        outside = slim.graph.initializer.add()
        copy_fields(tensor, outside, without="raw_data")
        outside.data_location = EXTERNAL  # pyright: ignore[reportAttributeAccessIssue]  # a plain number, without importing the enumeration
        for key, value in (("location", location), ("offset", offset), ("length", length), ("checksum", checksum)):
            outside.external_data.add(key=key, value=str(value))
        offset += length + -length % ALIGNMENT
    yield _serialized(slim, path)


def copy_fields(source: Any, target: Any, without: str) -> None:
    """All fields of a protobuf message but one, which may be too large to copy."""
    for field, value in source.ListFields():
        if field.name == without:
            continue
        if field.message_type is None and not hasattr(value, "append"):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).MergeFrom(value)


def remark_of(tensor: TensorProto) -> TensorProto:
    """A tensor without its data: what it is, and what is said of it."""
    from onnx import TensorProto

    remark = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, doc_string=tensor.doc_string)
    remark.metadata_props.extend(tensor.metadata_props)
    return remark


def _serialized(model: ModelProto | GraphProto, path: Path) -> bytes:
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
