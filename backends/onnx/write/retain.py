"""What a file says beside its operators, on the file that comes of it: remarks, names, declared sizes, versions. Source: onnx, docs/IR.md.

A node that a pass made of several gets what was said of each of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ....ir.graph import Graph, fresh_name
from ..read.importer import Imported
from .messages import replace_all

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

__all__ = ["retain"]

WEIGHTS_ARE_INPUTS = 4  # before this version of the format
FROM = " from "  # after convc's own version: who made the file before
# What goes without saying though the spec's schema gives no default for it.
WORD = re.compile(r"[^\W\d]\w*")
UNSAID = {"dilations": 1, "strides": 1, "pads": 0}


def retain(model: ModelProto, imported: Imported, graph: Graph, *, as_declared: bool) -> None:
    """Change `model`, the export of `graph`, in place. `as_declared` says that the inputs have the sizes that the file declares."""
    source = imported.model.proto
    model.domain, model.model_version = source.domain, source.model_version
    model.producer_version += _maker(source)
    is_raised = model.opset_import[0].version != imported.model.opset.get("", 0)
    model.ir_version = max(source.ir_version, _least_version(model) if is_raised else 0)
    model.graph.name = source.graph.name
    del model.metadata_props[:]
    for said, new in ((source, model), (source.graph, model.graph)):
        _say_again(said, new)
    there = {entry.domain for entry in model.opset_import} | {"ai.onnx"}
    model.opset_import.extend(entry for entry in source.opset_import if entry.domain not in there)
    _retain_values(model.graph, source.graph, imported.symbols, as_declared)
    _retain_nodes(model.graph, source.graph, graph)
    tensors = {tensor.name: tensor for tensor in source.graph.initializer}
    for tensor in model.graph.initializer:
        if tensor.name in tensors:
            _say_again(tensors[tensor.name], tensor)
    names = _names(model.graph)
    for note in source.graph.quantization_annotation:
        if {note.tensor_name, *(entry.value for entry in note.quant_parameter_tensor_names)} <= names:
            model.graph.quantization_annotation.append(note)
    if model.ir_version < WEIGHTS_ARE_INPUTS:
        _add_weights_as_inputs(model.graph)


def _names(graph: GraphProto) -> set[str]:
    """Of all values that there are."""
    made = {name for node in graph.node for name in node.output}
    return made | {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}


def _maker(source: ModelProto) -> str:
    if source.producer_name == "convc":
        return "".join(source.producer_version.partition(FROM)[1:])
    name = f"{source.producer_name} {source.producer_version}".strip()
    return f"{FROM}{name}" if name else ""


def _least_version(model: ModelProto) -> int:
    """Of the format, for the opset."""
    from onnx import helper

    return helper.find_min_ir_version_for([entry for entry in model.opset_import if entry.domain == ""], ignore_unknown=True)


def _say_again(source: Any, target: Any) -> None:
    """The remark and the metadata of a message; those that are there stay."""
    if source.doc_string and not target.doc_string:
        target.doc_string = source.doc_string
    there = {entry.key for entry in target.metadata_props}
    target.metadata_props.extend(entry for entry in source.metadata_props if entry.key not in there)


# --- values ----------------------------------------------------------------------------------------------------------


def _retain_values(graph: GraphProto, source: GraphProto, symbols: Mapping[str, str], as_declared: bool) -> None:
    """Intermediate values are described where the file describes some."""
    theirs = {ours: text for text, ours in symbols.items() if ours != text}
    sizes = {word for value in source.input for dim in value.type.tensor_type.shape.dim for word in WORD.findall(dim.dim_param)}
    if not source.value_info:
        del graph.value_info[:]
    for values, declared in ((graph.input, source.input), (graph.output, source.output), (graph.value_info, source.value_info)):
        by_name = {value.name: value for value in declared}
        for value in values:
            _rename(value, theirs)
            if value.name in by_name:
                _retain_value(value, by_name[value.name], as_declared, sizes)


def _rename(value: ValueInfoProto, theirs: Mapping[str, str]) -> None:
    """Named sizes as the file calls them, `batch size` for batch_size."""
    for dim in value.type.tensor_type.shape.dim:
        if dim.dim_param and theirs:
            dim.dim_param = re.sub(r"\w+", lambda word: theirs.get(word[0], word[0]), dim.dim_param)


def _retain_value(value: ValueInfoProto, declared: ValueInfoProto, as_declared: bool, sizes: set[str]) -> None:
    """Where inputs have other `sizes` than declared, what is called by them may have so too, and what has a name of its own keeps it."""
    _say_again(declared, value)
    if declared.type.denotation:
        value.type.denotation = declared.type.denotation
    old, new = declared.type.tensor_type.shape.dim, value.type.tensor_type.shape.dim
    if len(old) != len(new):
        return
    for was, dim in zip(old, new, strict=True):
        is_own = bool(was.dim_param and dim.dim_param) and sizes.isdisjoint(WORD.findall(was.dim_param))
        if is_own or (as_declared and (was.dim_param or (was.HasField("dim_value") and was.dim_value >= 0 and dim.dim_param))):
            dim.CopyFrom(was)
        elif was.denotation:
            dim.denotation = was.denotation


def _add_weights_as_inputs(graph: GraphProto) -> None:
    from onnx import helper

    there = {value.name for value in graph.input}
    weights = [tensor for tensor in graph.initializer if tensor.name not in there]
    graph.input.extend(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in weights)


# --- nodes -----------------------------------------------------------------------------------------------------------


def _retain_nodes(graph: GraphProto, source: GraphProto, made: Graph) -> None:
    """Names, odd and empty ones too, and remarks by the values that nodes compute; attributes that say nothing only where the file says
    such.
    """
    makers = {name: node for node in source.node for name in node.output if name}
    spelled: dict[str, set[str]] = {}
    for node in source.node:
        spelled.setdefault(node.op_type, set()).update(attribute.name for attribute in node.attribute)
    there = {name for node in graph.node for name in node.output}
    own: set[str] = set()
    rest: list[NodeProto] = []
    for node in graph.node:
        maker = next((makers[name] for name in node.output if name in makers), None)
        if maker is None:
            rest.append(node)
            continue
        node.name = maker.name
        own.add(maker.name)
        if node == maker:
            continue
        value = made.by_name.get(node.output[0])
        _retain_remarks(node, [maker, *_merged(value.origin.made_from if value else (), makers, there)])
        if node.op_type in spelled:
            _drop_unsaid(node, spelled[node.op_type])
    for node in rest:
        if node.name in own:  # two nodes of one name are refused by onnxruntime; of a value there is but one
            node.name = fresh_name(node.output[0], own)


def _merged(made_from: Iterable[str], makers: Mapping[str, NodeProto], there: set[str]) -> list[NodeProto]:
    """The file's nodes whose work a node does now, their own results being gone."""
    return [makers[name] for name in made_from if name in makers and name not in there]


def _retain_remarks(node: NodeProto, sources: list[NodeProto]) -> None:
    remarks = [source.doc_string for source in sources if source.doc_string]
    note = node.doc_string if node.doc_string not in remarks else ""
    if remarks:
        node.doc_string = "\n".join(dict.fromkeys([*remarks, *([note] if note else [])]))
    for source in sources:
        _say_again(source, node)


def _drop_unsaid(node: NodeProto, said: set[str]) -> None:
    """Attributes that no node of this operator in the file has, and that have the value that is meant without them."""
    kept = [attribute for attribute in node.attribute if attribute.name in said or not _is_unsaid(node.op_type, attribute)]
    replace_all(node.attribute, kept)


def _is_unsaid(op_type: str, attribute: Any) -> bool:
    from onnx import defs

    if attribute.name in UNSAID:
        return all(value == UNSAID[attribute.name] for value in attribute.ints)
    if attribute.name == "kernel_shape":
        return op_type in ("Conv", "ConvTranspose")  # the weight's
    known = defs.get_schema(op_type).attributes
    if attribute.name not in known or not known[attribute.name].default_value.type:
        return False
    default = known[attribute.name].default_value
    return (attribute.type, attribute.i, attribute.f, attribute.s) == (default.type, default.i, default.f, default.s) and not attribute.ints
