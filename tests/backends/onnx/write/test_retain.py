"""What a file says beside its operators is on the file that comes of it: remarks of all levels, odd names, declared sizes, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from convc.compiler.compiling.better_onnx import Better, better_file
from convc.compiler.engines.optimize import optimize
from convc.tests.support.onnx_files import written
from convc.tests.support.shell import convc

SIZES = ["batch size", 3, 8, 8]


def remarked(message: Any, key: str, value: str = "said", doc: str = "") -> None:
    message.metadata_props.add(key=key, value=value)
    message.doc_string = doc or f"doc of {key}"


def talkative(opset: int = 17, ir_version: int = 10) -> Any:
    """conv, batch norm, resize and relu, and something said of each part."""
    draw = np.random.default_rng(0)
    arrays = {"0": draw.standard_normal((8, 3, 3, 3)), **{f"bn/{name}:0": draw.random(8) + 0.5 for name in "sbmv"}}
    tensors = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in arrays.items()]
    tensors.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    remarked(tensors[-1], "tensor")
    regions = [] if opset < 11 else ["" if opset > 12 else "none"]
    tensors += [numpy_helper.from_array(np.zeros(0, np.float32), name) for name in regions if name]
    nodes = [
        helper.make_node("Conv", ["in put", "0"], ["1"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["1", *(f"bn/{name}:0" for name in "sbmv")], ["2"], name="a name"),
        helper.make_node("Upsample" if opset < 10 else "Resize", ["2", *regions, "scales"], ["3"], mode="nearest"),
        helper.make_node("Relu", ["3"], ["out:0"], name="2"),
    ]
    remarked(nodes[0], "conv")
    remarked(nodes[1], "norm")
    remarked(nodes[3], "relu")
    x = helper.make_tensor_value_info("in put", TensorProto.FLOAT, SIZES)
    y = helper.make_tensor_value_info("out:0", TensorProto.FLOAT, ["batch size", 8, "rows_out", "16"])
    middle = helper.make_tensor_value_info("3", TensorProto.FLOAT, ["batch size", 8, "rows_middle", 16])
    for value in (x, y, middle):
        remarked(value, value.name)
    x.type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    graph = helper.make_graph(nodes, "a net", [x], [y], tensors, value_info=[middle])
    remarked(graph, "graph")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    model.opset_import.append(helper.make_opsetid("org.example", 2))
    graph_notes = model.graph.quantization_annotation.add(tensor_name="3")
    graph_notes.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scales")
    model.graph.quantization_annotation.add(tensor_name="1")  # a value that goes
    model.producer_name, model.producer_version, model.domain, model.model_version = "hunt", "1.2", "org.example", 3
    remarked(model, "model")
    return model


def better(path: Path, **asked: Any) -> Better:
    return better_file(path, lambda graph, left_out: optimize(graph, 2), asked.pop("shapes", {}), **asked)


def middle(model: Any) -> Any:
    """Value 3 among those that are described."""
    return next(value for value in model.graph.value_info if value.name == "3")


def said(message: Any) -> tuple[str, list[tuple[str, str]]]:
    return message.doc_string, [(entry.key, entry.value) for entry in message.metadata_props]


def test_remarks_of_all_levels_stay(tmp_path: Path):
    old = talkative()
    new = better(written(tmp_path, old)).model
    assert [node.op_type for node in new.graph.node] == ["Conv", "Resize", "Relu"]
    for message in (
        lambda m: m,
        lambda m: m.graph,
        lambda m: m.graph.input[0],
        lambda m: m.graph.output[0],
        middle,
    ):
        assert said(message(new)) == said(message(old))
    assert [said(tensor) for tensor in new.graph.initializer if tensor.name == "scales"] == [
        said(tensor) for tensor in old.graph.initializer if tensor.name == "scales"
    ]
    assert new.graph.input[0] == old.graph.input[0]
    assert new.graph.output[0] == old.graph.output[0]
    assert (new.domain, new.model_version, new.ir_version, new.graph.name) == ("org.example", 3, 10, "a net")
    assert list(new.opset_import) == list(old.opset_import)
    assert [note.tensor_name for note in new.graph.quantization_annotation] == ["3"]
    assert new.producer_name == "convc"
    assert new.producer_version.endswith(" from hunt 1.2")


def test_a_node_made_of_several_has_the_remarks_of_each(tmp_path: Path):
    conv = better(written(tmp_path, talkative())).model.graph.node[0]
    docs, metadata = said(conv)
    assert docs.splitlines()[:2] == ["doc of norm", "doc of conv"]
    assert metadata == [("norm", "said"), ("conv", "said")]


def test_odd_names_stay_and_nameless_nodes_stay_nameless(tmp_path: Path):
    new = better(written(tmp_path, talkative())).model.graph
    assert [(node.name, list(node.output)) for node in new.node] == [("a name", ["2"]), ("", ["3"]), ("2", ["out:0"])]


def test_who_made_it_first_is_said_once(tmp_path: Path):
    first = talkative()
    first.producer_name, first.producer_version = "convc", "0.0.1 from hunt 1.2"
    assert better(written(tmp_path, first)).model.producer_version.endswith(" from hunt 1.2")
    first.producer_version = "0.0.1"
    assert " from " not in better(written(tmp_path, first)).model.producer_version


def test_sizes_that_are_given_are_not_called_what_the_file_calls_them(tmp_path: Path):
    new = better(written(tmp_path, talkative()), shapes={"in put": "2,3,8,8"}).model
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (*new.graph.input, *new.graph.output)
    ]
    assert shapes == [[2, 3, 8, 8], [2, 8, 16, 16]]
    assert said(new.graph.output[0]) == said(talkative().graph.output[0])
    freed = better(written(tmp_path, talkative()), shapes={"in put": "batch,3,2*H,8"}).model
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (*freed.graph.input, *freed.graph.output)
    ]
    assert shapes == [["batch", 3, "2*H", 8], ["batch", 8, "rows_out", 16]]


@pytest.mark.parametrize(("opset", "ir_version"), [(9, 3), (9, 4), (10, 5), (11, 6), (12, 7), (13, 7), (17, 8)])
def test_opset_and_version_of_the_format_stay_and_the_file_runs(opset: int, ir_version: int, tmp_path: Path):
    model = talkative(opset, ir_version)
    if ir_version < 4:  # weights must be inputs
        model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in model.graph.initializer)
    found = better(written(tmp_path, model))
    new = onnx.ModelProto.FromString(found.model.SerializeToString())
    assert (new.opset_import[0].version, new.ir_version) == (opset, ir_version)
    assert [node.op_type for node in new.graph.node] == ["Conv", model.graph.node[2].op_type, "Relu"]
    for tensor in new.graph.initializer:
        if tensor.name in found.values:
            tensor.raw_data = found.values[tensor.name]()
    onnx.checker.check_model(new, full_check=True)
    feed = {"in put": np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    wanted, got = (ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)[0] for m in (model, new))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_raised_opset_raises_the_version_where_it_must(tmp_path: Path):
    new = better(written(tmp_path, talkative(9, 4)), opset=21).model
    assert (new.opset_import[0].version, new.ir_version) == (21, 10)


def test_a_file_that_is_exported_says_it_too(tmp_path: Path):
    source, output = written(tmp_path, talkative(11, 6)), tmp_path / "newer.onnx"
    assert convc("export", source, "-o", output, "--opset", "18").code == 0
    new = onnx.load(output)
    assert (said(new), said(new.graph), said(new.graph.input[0])) == tuple(map(said, (m := talkative(), m.graph, m.graph.input[0])))
    assert [node.name for node in new.graph.node] == ["first", "a name", "", "2"]
    assert (new.opset_import[0].version, new.ir_version, new.producer_version.endswith(" from hunt 1.2")) == (18, 8, True)
