"""What an opaque node computes: onnxruntime does, on a model of that node alone, without optimizations; or ONNX's own reference.

A value that is no tensor of the IR's types is NumPy's array where that has its type; else it is one object in an array of no axes:
onnxruntime's own value, so that nothing is lost on its way from node to node, or an array of strings.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.errors import BackendMissing, InvalidModel, KernelMissing, OutOfMemory
from ...ir.graph import Node
from ...ir.memory import ran_out
from ...ir.ops.opaque import OPAQUE_RESULT, Opaque
from ...ir.types import DTYPES, Array, TensorType
from .file.opaque import imported, node_of
from .file.types_text import read_type, without_shapes
from .ort_values import array_of, value_of
from .session import unoptimized

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["computed", "model_of"]

STRINGS = "tensor(string)"
# Types that NumPy has.
NUMPYS = {
    f"tensor({name})"
    for name in ("float", "double", "float16", "bfloat16", "bool", *(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)))
}
KEPT = 256  # nodes that are ready to run


def computed(node: Node, operands: Sequence[Array]) -> Array:
    """The value of a node of an opaque kind.

    Raises: KernelMissing where neither onnxruntime nor ONNX's reference can compute it; OutOfMemory where it takes more than there is;
    InvalidModel where they fail otherwise, or it is not of the type that it is said to be.
    """
    if node.kind is OPAQUE_RESULT:
        results = operands[0].item()
        if node.op.index >= len(results):
            raise InvalidModel(f"{node.where} takes result {node.op.index} of {len(results)}")
        return _checked(node, results[node.op.index])
    feeds = [_feed(operand.typed, value) for operand, value in zip(node.inputs, operands, strict=True)]
    run = _ready(node.op, tuple(map(_type_of, feeds)))
    results = run(node, feeds)
    return _boxed(tuple(results)) if node.op.results > 1 else _checked(node, results[0])


def model_of(op: Opaque, types: Sequence[Any], outputs: Sequence[str]) -> ModelProto:
    """A model of one node, whose operands are of these types (TypeProto) and named operand.0 and so on; `outputs` are without a type."""
    from onnx import ValueInfoProto, helper

    names = [f"operand.{place}" for place in range(len(types))]
    node = node_of(op, names, outputs)
    inputs = [ValueInfoProto(name=name, type=type_) for name, type_ in zip(names, types, strict=True)]
    graph = helper.make_graph([node], "alone", inputs, [ValueInfoProto(name=name) for name in outputs])
    domains = {op.domain: op.version, **imported(op)}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=max(8, helper.find_min_ir_version_for(imports, ignore_unknown=True)))


@functools.lru_cache(maxsize=KEPT)
def _ready(op: Opaque, types: tuple[str, ...]) -> Any:
    """A function from a node and its feeds to its results."""
    from onnx.reference import ReferenceEvaluator

    outputs = [f"result.{place}" for place in range(op.results)]
    model = model_of(op, [read_type(type_) for type_ in types], outputs)
    complaint = "onnxruntime is not installed"
    try:
        session = unoptimized(model.SerializeToString())
    except BackendMissing:
        session = None
    except Exception as error:  # whatever it finds in a node that it does not know
        session, complaint = None, str(error).strip().split("\n", 1)[0]
    if session is not None:
        return functools.partial(_in_onnxruntime, session, outputs)
    try:
        return functools.partial(_in_reference, ReferenceEvaluator(model), complaint)
    except Exception:  # a NotImplementedError, a KeyError for an unknown domain ...
        return functools.partial(_refused, complaint)


def _in_onnxruntime(session: Any, outputs: list[str], node: Node, feeds: Sequence[Any]) -> list[Any]:
    names = [f"operand.{place}" for place in range(len(feeds))]
    try:
        if any(map(_is_strings, feeds)):  # strings, which its own values are not made of
            return session.run(outputs, dict(zip(names, map(_plain, feeds), strict=True)))
        values = {name: feed if hasattr(feed, "data_type") else value_of(feed) for name, feed in zip(names, feeds, strict=True)}
        return session.run_with_ort_values(outputs, values)
    except Exception as error:
        if (lacked := ran_out(error)) is not None:
            raise OutOfMemory(f"{node.where}: {lacked}") from error
        raise InvalidModel(f"{node.where}: onnxruntime cannot compute {node.op.label}: {str(error).strip().splitlines()[0]}") from error


def _in_reference(evaluator: Any, complaint: str, node: Node, feeds: Sequence[Any]) -> list[Any]:
    try:
        return list(evaluator.run(None, {f"operand.{place}": _plain(feed) for place, feed in enumerate(feeds)}))
    except Exception as error:
        why = f"onnxruntime: {complaint}; ONNX's reference: {type(error).__name__}: {error}"
        raise KernelMissing(f"{node.where}: nothing here computes {node.op.label} ({why})") from error


def _refused(complaint: str, node: Node, feeds: Sequence[Any]) -> list[Any]:
    raise KernelMissing(f"{node.where}: nothing here computes {node.op.label} ({complaint})")


def _feed(type_: TensorType, value: Array) -> Any:
    if type_.is_opaque:
        return value.item() if value.dtype == object and not value.ndim else value
    return np.asarray(value, DTYPES[type_.dtype], order="C")


def _type_of(feed: Any) -> str:
    """The type of a value without its shape, so that one session serves all shapes."""
    from onnx import helper

    if isinstance(feed, np.ndarray):
        number = 8 if _is_strings(feed) else helper.np_dtype_to_tensor_dtype(_dtype_of(feed))
        return f"tensor({helper.tensor_dtype_to_string(number).rpartition('.')[2].lower()})"
    if isinstance(feed, list):
        return f"seq({_type_of(feed[0])})" if feed else "seq(tensor(float))"
    return without_shapes(feed.data_type()) if hasattr(feed, "data_type") else "tensor(float)"


def _dtype_of(array: Any) -> np.dtype[Any]:
    return array.dtype


def _is_strings(feed: Any) -> bool:
    return isinstance(feed, np.ndarray) and _dtype_of(feed).kind in "OUS"


def _plain(feed: Any) -> Any:
    return array_of(feed) if hasattr(feed, "numpy") and hasattr(feed, "data_type") else feed


def _boxed(value: Any) -> Array:
    box = np.empty((), object)
    box[()] = value
    return box


def _checked(node: Node, result: Any) -> Array:
    """A result as an array of the node's type."""
    type_ = node.typed
    if type_.is_opaque:
        return (
            np.asarray(_plain(result)) if _type_of(result) in NUMPYS else _boxed(_plain(result) if _type_of(result) == STRINGS else result)
        )
    value = np.asarray(_plain(result))
    fixed = [(have, want) for have, want in zip(value.shape, type_.shape, strict=False) if isinstance(want, int)]
    if value.dtype != DTYPES[type_.dtype] or value.ndim != type_.rank or any(have != want for have, want in fixed):
        raise InvalidModel(f"{node.where} is said to be {type_}, but comes out as {value.dtype}{list(value.shape)}")
    return value
