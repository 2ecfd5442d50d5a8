"""Graph to ONNX ModelProto. Spec: onnx.ai, IR and operators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from ....ir.errors import InvalidModel, UnsupportedOp, UsageError
from ....ir.graph import Graph, Node
from ....ir.ops.opaque import OPAQUE
from ....ir.types import DTYPES, TensorType
from ....ir.version import __version__
from ...unsupported import Unsupported
from ..file.opaque import imported, outer_names
from ..file.packed import packed
from ..file.types_text import read_type
from .onnx_emitter import OnnxEmitter
from .onnx_rows import ROWS

__all__ = ["MIN_OPSET", "UNWRITTEN", "bytes_of", "declaration", "need_opset", "newest_opset", "to_model", "to_shell"]

MIN_OPSET = 7  # where broadcasting became NumPy's and batch norm lost its old attributes
UNWRITTEN = "convc.unwritten"  # the domain of what stands for an op that ONNX cannot say, until it is replaced or refused
FALLBACK_OPSET = 22  # without onnxruntime to ask
FILLED_BYTES, FILLED_SINCE = 64 << 10, 9  # a larger parameter of one number is written as that number, in opsets that can
MAX_BYTES = 2**31 - 1024  # what one protobuf message can hold


def to_model(graph: Graph, opset: int | None = None) -> Any:
    """The onnx.ModelProto of a typed graph, weights and all. Names of inputs, outputs and nodes are the graph's.

    Raises: UsageError for an opset out of range; UnsupportedOp, naming the node, for one that ONNX cannot
    say; InvalidModel for over 2 GiB.
    """
    _check_size(graph)
    model, values = to_shell(graph, opset)
    for tensor in model.graph.initializer:
        if tensor.name in values:
            tensor.raw_data = values[tensor.name]()
    return model


def to_shell(
    graph: Graph,
    opset: int | None = None,
    metadata: Mapping[str, str] | None = None,
    *,
    unwritten: dict[str, UnsupportedOp] | None = None,
) -> tuple[Any, dict[str, Callable[[], bytes]]]:
    """`to_model` without the values of parameters, and what makes the bytes of each: a file can be written with one of them in memory.

    Where `unwritten` is given, it gets what `to_model` would raise for a node, by name, and a node of domain UNWRITTEN stands there.
    """
    from onnx import helper

    opset = _checked_opset(_own_opset(graph) if opset is None else opset)
    to = OnnxEmitter(graph, opset)
    filled = {node for node in graph.params if opset >= FILLED_SINCE and _is_filled(node)}
    for node in graph.params:
        if node in filled:
            to.fill(node)
    for node in graph.ops:
        begun = len(to.nodes)
        try:
            _write(node, to)
        except UnsupportedOp as error:
            if unwritten is None:
                raise
            unwritten[node.name] = error
            to.stand_in(UNWRITTEN, node, begun)
    inputs, outputs = [_value(node) for node in graph.inputs], [_value(node) for node in graph.outputs]
    outer = {*graph.inputs, *graph.outputs}
    inner = [_value(node) for node in graph.ops if node not in outer and not (node.typed.is_opaque and not node.typed.about)]
    read = {name for node in to.nodes for name in outer_names(node)} | {node.name for node in graph.outputs}
    params = [
        node for node in graph.params if node not in filled and (node.name in read or not graph.uses[node])
    ]  # others are in a constant
    weights = [declaration(node) for node in params]
    body = helper.make_graph(to.nodes, graph.name, inputs, outputs, [*weights, *to.initializers], value_info=inner)
    imports = [helper.make_opsetid(domain, version) for domain, version in {"": opset, **to.domains}.items()]
    model = helper.make_model(body, opset_imports=imports, producer_name="convc", producer_version=__version__)
    model.ir_version = max(8, helper.find_min_ir_version_for(imports, ignore_unknown=True))
    helper.set_model_props(model, dict(metadata or {}))
    return model, {node.name: bytes_of(node) for node in params}


def _write(node: Node, to: OnnxEmitter) -> None:
    row = ROWS[node.kind]
    if isinstance(row, Unsupported):
        raise UnsupportedOp(f"{node.where} cannot be exported to ONNX: {row.why}")
    row(node, to)


@functools.cache
def newest_opset() -> int:
    """The newest opset that both the onnx package and the installed onnxruntime accept."""
    from onnx import helper
    from onnx.defs import onnx_opset_version

    from ..session import accepts

    newest = onnx_opset_version()
    for opset in range(newest, FALLBACK_OPSET, -1):
        value = helper.make_tensor_value_info("x", 1, [1])
        body = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", [value], [helper.make_tensor_value_info("y", 1, [1])])
        imports = [helper.make_opsetid("", opset)]
        probe = helper.make_model(body, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports, ignore_unknown=True))
        if accepts(probe.SerializeToString()):
            return opset
    return min(newest, FALLBACK_OPSET)


def _own_opset(graph: Graph) -> int | None:
    """The opset of the nodes that are written as they are in some file; None where there are none."""
    versions = {node.op.version if not node.op.domain else imported(node.op).get("") for node in graph.nodes if node.kind is OPAQUE}
    newest = max((version for version in versions if version is not None), default=None)
    return None if newest is None else max(newest, MIN_OPSET)


def _checked_opset(opset: int | None) -> int:
    need_opset(opset)
    return newest_opset() if opset is None else opset


def need_opset(opset: int | None) -> None:
    """Raises: UsageError for one out of range; None asks for none."""
    from onnx.defs import onnx_opset_version

    if opset is not None and not MIN_OPSET <= opset <= onnx_opset_version():
        raise UsageError(
            f"opset {opset} is not supported; choose {MIN_OPSET} to {onnx_opset_version()} (onnxruntime here runs up to {newest_opset()})"
        )


def _check_size(graph: Graph) -> None:
    total = sum(size for node in graph.params if isinstance(size := node.typed.nbytes, int))
    if total > MAX_BYTES:
        raise InvalidModel(f"@{graph.name} has {total / 2**30:.1f} GiB of weights; one ONNX file holds at most 2 GiB")


def _value(node: Node) -> Any:
    from onnx import ValueInfoProto, helper

    if node.typed.is_opaque:
        return ValueInfoProto(name=node.name, type=read_type(node.typed.about) if node.typed.about else None)
    return helper.make_tensor_value_info(node.name, _element(node.typed), [d if isinstance(d, int) else str(d) for d in node.typed.shape])


def _element(type_: TensorType) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(DTYPES[type_.dtype])


def declaration(node: Node) -> Any:
    """An initializer's name and type."""
    from onnx import TensorProto

    return TensorProto(name=node.name, data_type=_element(node.typed), dims=node.typed.concrete())


def _is_filled(node: Node) -> bool:
    """Whether a parameter is one number and so large that it is written as a ConstantOfShape."""
    assert node.weights is not None
    return node.weights.recipe.init == "full" and isinstance(size := node.typed.nbytes, int) and size > FILLED_BYTES


def bytes_of(node: Node) -> Callable[[], bytes]:
    """What makes the bytes of a parameter."""
    return functools.partial(_bytes, node)


def _bytes(node: Node) -> bytes:
    """A parameter's values, little-endian as the spec asks."""
    assert node.weights is not None
    values = node.weights.drawn()
    if node.typed.is_stored:
        return packed(values).tobytes()
    return values.astype(values.dtype.newbyteorder("<"), order="C", copy=False).tobytes()
