"""Files that nobody vouches for: every one is a model or a refusal that says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

import convc as cc
from convc.backends.onnx.file.limits import LIMITS, Limits
from convc.backends.onnx.file.reading import read_model
from convc.backends.onnx.write.export import to_model
from convc.ir.errors import ConvcError, InvalidModel, UnsupportedOp, UsageError
from convc.tests.backends.onnx.test_conformance import ALL
from convc.tests.support import onnx_files as files

ELEMENT_TYPES = [
    "float32",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "bool",
    "float16",
    "float64",
    "uint32",
    "uint64",
    "bfloat16",
    "int4",
    "uint4",
]


def read(folder, model, limits=LIMITS):
    """Write a model, or bytes, and read it."""
    return read_model(files.written(folder, model), limits)


def refusal(folder, model, limits=LIMITS):
    """The message of a refusal, which is one printable line."""
    text = files.refusal(files.written(folder, model), limits)
    assert text.startswith("net.onnx:")
    return text


def test_a_model_is_read(tmp_path):
    model = read(tmp_path, files.small_model())
    assert model.opset == {"": 17}
    assert np.array_equal(model.array(model.proto.graph.initializer[0]), files.WEIGHT)


def test_what_convc_exports_is_read(tmp_path):
    exported = to_model(cc.models.resnet20())
    model = read(tmp_path, exported)
    for there, here in zip(exported.graph.initializer, model.proto.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(there), model.array(here))


def test_onnx_own_cases_are_read(tmp_path):
    assert len(ALL) > 1000
    for case in ALL:
        model = read(tmp_path, case.model)
        for tensor in model.proto.graph.initializer:
            assert np.array_equal(numpy_helper.to_array(tensor), model.array(tensor)), case.name


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("name", ELEMENT_TYPES)
def test_values_of_every_element_type(tmp_path, name, raw):
    values = (
        np.array([[0, 1, 1], [1, 0, 1]]).astype(name)
        if name == "bool"
        else np.arange(-3 if name[0] in "ifb" else 0, 3 if name[0] in "ifb" else 6).reshape(2, 3).astype(name)
    )
    number = helper.np_dtype_to_tensor_dtype(values.dtype)
    tensor = numpy_helper.from_array(values, "w") if raw else helper.make_tensor("w", number, values.shape, values.ravel())
    model = read(tmp_path, files.small_model(initializer=[numpy_helper.from_array(files.WEIGHT, "w2"), tensor]))
    found = model.array(model.proto.graph.initializer[1])
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


@pytest.mark.parametrize("number", [8, 14, 15, 17, 18, 19, 20])
def test_element_types_that_are_not_computed_with(tmp_path, number):
    values = [b"a"] if number == 8 else [1.0]
    tensor = helper.make_tensor("w", number, [1], values)
    model = read(tmp_path, files.small_model(initializer=[tensor, numpy_helper.from_array(files.WEIGHT, "w2")]))
    with pytest.raises(UnsupportedOp, match=TensorProto.DataType.Name(number).lower()):
        model.array(model.proto.graph.initializer[0])


# --- tensors: the declared size is the size of the data ---


def tensor(**fields):
    """The small model with fields of its weight changed."""

    def change(model):
        weight = model.graph.initializer[0]
        for name, value in fields.items():
            if isinstance(value, list):
                weight.ClearField(name)
                getattr(weight, name).extend(value)
            else:
                setattr(weight, name, value)

    return files.changed(change)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"dims": [2, 3]}, r"32 bytes; float32\[2, 3\] takes 24"),
        ({"dims": [1 << 20, 1 << 9]}, "takes 2,147,483,648"),
        ({"dims": [1 << 40, 1 << 40]}, "elements; at most"),
        ({"dims": [1 << 62, 1 << 62, 0]}, "elements; at most"),
        ({"dims": [-2, -4]}, "negative"),
        ({"dims": [1] * 9}, "rank 9; at most 8"),
        ({"dims": [1] * 1_000_000}, "rank 9; at most 8"),
        ({"raw_data": b""}, "0 bytes"),
        ({"data_type": 0}, "unknown element type 0"),
        ({"data_type": 99}, "unknown element type 99"),
        ({"data_type": 8}, "raw data and the element type string"),
        ({"data_type": 9, "dims": [32], "raw_data": b"\x02" * 32}, None),
        ({"float_data": [1.0]}, "raw data and float_data"),
        ({"name": "w\x1b[31m"}, "cannot be printed"),
        ({"name": "w" * 5000}, "at most 2,048 characters"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_tensors_are_what_they_declare(tmp_path, fields, why):
    if why is None:
        model = read(tmp_path, tensor(**fields))
        with pytest.raises(InvalidModel, match="other than 0 and 1"):
            model.array(model.proto.graph.initializer[0])
    else:
        assert re.search(why, refusal(tmp_path, tensor(**fields)))


@pytest.mark.parametrize(("number", "value"), [(3, 128), (2, -1), (10, 65536), (9, 2), (4, 1 << 16)])
def test_typed_values_fit_their_type(tmp_path, number, value):
    weight = TensorProto(name="w2", data_type=number, dims=[1], int32_data=[value])
    model = read(tmp_path, files.small_model(initializer=[numpy_helper.from_array(files.WEIGHT, "w"), weight]))
    with pytest.raises(InvalidModel, match=str(value)):
        model.array(model.proto.graph.initializer[1])


def test_typed_values_are_in_their_own_field(tmp_path):
    weight = TensorProto(name="w2", data_type=1, dims=[1], int64_data=[1])
    assert "not in float_data" in refusal(tmp_path, files.small_model(initializer=[numpy_helper.from_array(files.WEIGHT, "w"), weight]))


# --- the graph: order, single assignment, names ---


def _swap_nodes(model):
    first = model.graph.node.pop(0)
    model.graph.node.append(first)


def _cycle(model):
    model.graph.node[0].input[0] = "y"


def _own_output(model):
    model.graph.node[0].input[0] = "r"


def _rename_first_output(name):
    def change(model):
        model.graph.node[0].output[0] = name

    return change


def _set(path, value):
    """Set `model.<path>`; a number indexes."""

    def change(model):
        *steps, last = path.split(".")
        for step in steps:
            model = model[int(step)] if step.isdigit() else getattr(model, step)
        if last.isdigit():
            model[int(last)] = value
        else:
            setattr(model, last, value)

    return change


def _attributes(*attributes):
    def change(model):
        model.graph.node[0].attribute.extend(attributes)

    return change


def _extend(path, *items):
    def change(model):
        for step in path.split("."):
            model = model[int(step)] if step.isdigit() else getattr(model, step)
        model.extend(items)

    return change


INT = AttributeProto.INT
EMPTY = helper.make_graph([], "inner", [], [])
GRAPH_REFUSALS = {
    "order": (_swap_nodes, "only node 1 computes"),
    "cycle": (_cycle, "only node 1 computes"),
    "its own output": (_own_output, "only node 0 computes"),
    "dangling": (_set("graph.node.0.input.0", "nowhere"), "'nowhere', which nothing defines"),
    "dangling output": (_set("graph.output.0.name", "nowhere"), "'nowhere' is computed by no node"),
    "output without a name": (_set("graph.output.0.name", ""), "no name"),
    "input without a name": (_set("graph.input.0.name", ""), "no name"),
    "output twice": (_set("graph.node.1.output.0", "r"), "'r', which is defined already"),
    "output shadows an input": (_rename_first_output("x"), "'x', which is defined already"),
    "output shadows a weight": (_rename_first_output("w"), "'w', which is defined already"),
    "input twice": (_extend("graph.input", helper.make_tensor_value_info("x", 1, [1])), "'x', which is defined already"),
    "weight twice": (_extend("graph.initializer", numpy_helper.from_array(files.WEIGHT, "w")), "'w' is there twice"),
    "shadowing inside": (
        _attributes(helper.make_attribute("then_branch", helper.make_graph([], "i", [helper.make_tensor_value_info("x", 1, [1])], []))),
        "'x', which is defined already",
    ),
    "dangling inside": (
        _attributes(helper.make_attribute("then_branch", helper.make_graph([helper.make_node("Relu", ["q"], ["p"])], "i", [], []))),
        "'q', which nothing defines",
    ),
    "control characters": (_rename_first_output("a\x1b]0;owned\x07"), "cannot be printed"),
    "right to left": (_set("graph.node.0.name", "a\u202egnp.exe"), "cannot be printed"),
    "line break in a node name": (_set("graph.node.0.name", "a\nerror: b"), "cannot be printed"),
    "control characters in an operator": (_set("graph.node.0.op_type", "Relu\x9b"), "cannot be printed"),
    "control characters in a dimension": (_set("graph.input.0.type.tensor_type.shape.dim.0.dim_param", "N\x08"), "cannot be printed"),
    "control characters in the producer": (_set("producer_name", "p\x1b"), "cannot be printed"),
    "control characters in the doc string": (_set("doc_string", "two\nlines are fine, \x1b is not"), "control characters"),
    "long names": (_set("graph.node.0.name", "n" * 10_000_000), "10,000,000 characters"),
    "no operator": (_set("graph.node.0.op_type", ""), "no operator"),
    "unknown domain": (_set("graph.node.0.domain", "com.example"), "does not import"),
    "attribute twice": (_attributes(helper.make_attribute("a", 1), helper.make_attribute("a", 2)), "'a' twice"),
    "attribute without a name": (_attributes(helper.make_attribute("", 1)), "without a name"),
    "attribute of another type": (_attributes(AttributeProto(name="a", type=INT, f=1.0)), "in 'i', and has f"),
    "attribute of two types": (_attributes(AttributeProto(name="a", type=INT, i=1, ints=[1])), "and has i, ints"),
    "attribute without a type": (_attributes(AttributeProto(name="a", i=1)), "unknown type 0"),
    "attribute without its tensor": (_attributes(AttributeProto(name="a", type=AttributeProto.TENSOR)), "in 't', and has none"),
    "attribute of a function": (_attributes(AttributeProto(name="a", type=INT, i=1, ref_attr_name="b")), "ref_attr_name"),
    "attribute too large": (_attributes(AttributeProto(name="a", type=AttributeProto.STRING, s=b"s" * (2**24 + 1))), "16,777,218 bytes"),
    "sparse attribute": (_attributes(AttributeProto(name="a", type=AttributeProto.SPARSE_TENSOR)), "sparse"),
    "bomb in an attribute": (
        _attributes(helper.make_attribute("a", TensorProto(name="t", data_type=1, dims=[1 << 30]))),
        "takes 1,073,741,824",
    ),
    "sparse weight": (_extend("graph.sparse_initializer", onnx.SparseTensorProto()), "sparse"),
    "training": (_extend("training_info", onnx.TrainingInfoProto()), "training_info"),
    "metadata twice": (_extend("metadata_props", onnx.StringStringEntryProto(key="k"), onnx.StringStringEntryProto(key="k")), "'k' twice"),
    "version of the format": (_set("ir_version", 1 << 40), "version 1099511627776"),
    "two versions of a domain": (_extend("opset_import", helper.make_opsetid("ai.onnx", 16)), "17 and 16"),
    "no graph": (lambda model: model.ClearField("graph"), "without a graph"),
    "negative extent": (_set("graph.input.0.type.tensor_type.shape.dim.1.dim_value", -2), "negative"),
    "extents beyond reason": (_set("graph.input.0.type.tensor_type.shape.dim.1.dim_value", 1 << 62), "elements; at most"),
    "rank of a value": (_extend("graph.value_info", helper.make_tensor_value_info("r", 1, [1] * 9)), "rank 9"),
}


@pytest.mark.parametrize("case", GRAPH_REFUSALS)
def test_graphs_that_break_the_rules(tmp_path, case):
    change, why = GRAPH_REFUSALS[case]
    assert why in refusal(tmp_path, files.changed(change))


def test_an_initializer_may_be_the_default_of_an_input(tmp_path):
    model = files.changed(_extend("graph.input", helper.make_tensor_value_info("w", 1, [2, 4])))
    assert len(read(tmp_path, model).proto.graph.input) == 2


def test_names_that_are_not_utf8(tmp_path):
    data = files.small_model().SerializeToString().replace(b"relu", b"re\xfflu"[:4])
    assert "not UTF-8" in refusal(tmp_path, data)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(nodes=1), "2 nodes; at most 1"),
        (Limits(initializers=0), "1 initializers; at most 0"),
        (Limits(file_bytes=10), "at most 10"),
        (Limits(operands=1), "2 operands or attributes; at most 1"),
        (Limits(values=1), "2 described values; at most 1"),
        (Limits(rank=1), "rank 2; at most 1"),
        (Limits(elements=7), "8 elements; at most 7"),
        (Limits(name_length=3), "at most 3 characters"),
    ],
    ids=str,
)
def test_limits_can_be_chosen(tmp_path, limits, why):
    assert why in refusal(tmp_path, files.small_model(), limits)


# --- what is no model, and bombs ---


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"PK\x03\x04" + bytes(64),
        b"\x80\x04\x95" + bytes(64),
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff" * 99,
        b"graph @x() {}",
    ],
)
def test_what_is_no_model(tmp_path, data):
    refusal(tmp_path, data)


def test_every_cut_of_a_file(tmp_path):
    data = files.small_model().SerializeToString()
    for end in range(len(data)):
        try:
            read(tmp_path, data[:end])
        except ConvcError as error:
            assert str(error).isprintable()  # noqa: PT017  # a cut after the graph is a model still


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nul\0.onnx"):
        with pytest.raises(UsageError, match="cannot read"):
            read_model(path)
    with pytest.raises(UsageError, match=r"^there is no file '.*/missing\.onnx'$"):
        read_model(tmp_path / "missing.onnx")
    with pytest.raises(UsageError, match="not a regular file"):
        read_model(tmp_path.__class__("/dev/zero"))


@pytest.mark.parametrize(("depth", "fits"), [(8, True), (9, False), (30, False)])
def test_nesting(tmp_path, depth, fits):
    model = files.nested_ifs(depth)
    if fits:
        assert read(tmp_path, model).proto.graph.node[0].op_type == "If"
    else:
        assert "nested 9 deep; at most 8" in refusal(tmp_path, model)


def test_recursion_in_protobuf(tmp_path):
    graph = b""
    for _ in range(10_000):  # graph { node { attribute { g { ...
        graph = files.field(1, files.field(5, files.field(6, graph)))
    refusal(tmp_path, files.field(7, graph))


def test_recursion_in_types(tmp_path):
    type_ = b""
    for _ in range(20):
        type_ = files.field(4, files.field(1, type_))
    value = files.field(1, b"s") + files.field(2, type_)
    data = files.small_model().SerializeToString() + files.field(7, files.field(13, value))
    assert "type nested over 8 deep" in refusal(tmp_path, data)


BOMBS = {
    "a million empty nodes": lambda: files.field(1, b"") * 1_000_000,
    "fifty million empty nodes": lambda: b"\x0a\x00" * 50_000_000,
    "nodes of empty attributes": lambda: files.field(1, b"\x2a\x00" * 5_000_000),
    "eight million small fields": lambda: b"\x98\x06\x01" * 8_000_000,
    "packed integers": lambda: files.field(5, files.field(7, bytes(2**28 + 1))),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_bombs_in_the_encoding(tmp_path, bomb):
    """In a process of its own, whose peak memory is then its alone."""
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08" + files.field(7, BOMBS[bomb]()))
    code = (
        "import re, sys, time\nfrom pathlib import Path\nimport onnx\nfrom convc.backends.onnx.file.reading import read_model\n"
        "from convc.ir.errors import InvalidModel\nstart = time.process_time()\n"
        "try: read_model(Path(sys.argv[1]))\nexcept InvalidModel as error: print(error, file=sys.stderr)\nelse: sys.exit('was read')\n"
        "peak = 1024 * int(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "print(time.process_time() - start, peak)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stdout.split())
    assert seconds < 30  # a hang, on however busy a machine
    assert peak < 1000 * 2**20
