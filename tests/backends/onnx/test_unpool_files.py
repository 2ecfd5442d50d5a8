"""Files whose max pools say where they found their values, and that put them back there: read, optimized, checked, compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.ir.errors import UnsupportedOp
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.onnx_files import hold_onnxruntime, model_of, written
from convc.tests.support.shell import convc

HALVES = {"kernel_shape": [2, 2], "strides": [2, 2]}


def layer(x: str, y: str, c_in: int, c_out: int, constants: dict[str, np.ndarray], *, last: bool = False) -> list[onnx.NodeProto]:
    """conv, batch norm, relu."""
    draw = np.random.default_rng(len(constants))
    constants |= {f"{y}_w": (draw.standard_normal((c_out, c_in, 3, 3)) / np.sqrt(9 * c_in)).astype(np.float32)}
    if last:
        return [helper.make_node("Conv", [x, f"{y}_w"], [y], pads=[1] * 4)]
    norm = [f"{y}_{what}" for what in ("scale", "shift", "mean", "var")]
    constants |= {name: draw.uniform(0.5, 1.5, c_out).astype(np.float32) for name in norm}
    conv = helper.make_node("Conv", [x, f"{y}_w"], [f"{y}_c"], pads=[1] * 4)
    return [conv, helper.make_node("BatchNormalization", [f"{y}_c", *norm], [f"{y}_n"]), helper.make_node("Relu", [f"{y}_n"], [y])]


def segnet(image: list[int | str]) -> onnx.ModelProto:
    """Two stages down and up again. Badrinarayanan et al. 2017, fig. 2."""
    constants: dict[str, np.ndarray] = {}
    nodes = [
        *layer("x", "a", 3, 16, constants),
        helper.make_node(
            "MaxPool",
            [
                "a",
            ],
            ["p", "i"],
            **HALVES,
        ),
        *layer("p", "b", 16, 32, constants),
        helper.make_node("MaxPool", ["b"], ["q", "j"], **HALVES),
        helper.make_node("MaxUnpool", ["q", "j"], ["u"], **HALVES),
        *layer("u", "c", 32, 16, constants),
        helper.make_node("MaxUnpool", ["c", "i"], ["v"], **HALVES),
        *layer("v", "y", 16, 4, constants, last=True),
    ]
    return model_of(nodes, {"x": image}, ["y"], constants)


def test_an_encoder_and_its_decoder_go_all_the_way(tmp_path: Path):
    source, output = written(tmp_path, segnet(["N", 3, 32, 32])), tmp_path / "better.onnx"
    done = convc("optimize", source, output)
    assert (done.code, done.err.count("DIFFERS")) == (0, 0), done.err
    types = [node.op_type for node in onnx.load(output).graph.node]
    assert types == ["Conv", "Relu", "MaxPool"] * 2 + ["MaxUnpool", "Conv", "Relu", "MaxUnpool", "Conv"]
    done = convc("verify", source, output)
    assert done.code == 0, done.err
    done = convc("verify", source, "--nodes")
    assert done.code == 0, done.err
    done = convc("compile", source, "-t", "cpu", "-o", tmp_path / "built")
    assert done.code == 0, done.err


def read(tmp_path: Path, *nodes: onnx.NodeProto, outputs: list[str], inputs: dict[str, list[int | str]], constants=None, opset: int = 17):
    return read_graph(written(tmp_path, model_of(list(nodes), inputs, outputs, constants, opset))).graph


def test_positions_alone_and_of_bytes(tmp_path: Path):
    nodes = [
        helper.make_node("Cast", ["x"], ["byte"], to=TensorProto.UINT8),
        helper.make_node("MaxPool", ["byte"], ["v", "i"], storage_order=1, **HALVES),
        helper.make_node("MaxPool", ["x"], ["unread", "j"], kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
        helper.make_node("Cast", ["v"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["i"], ["k"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["j"], ["l"], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, {"x": [1, 2, 5, 6]}, ["w", "k", "l"])
    graph = read_graph(written(tmp_path, model)).graph
    assert [node.op.column_major for node in graph.ops if node.kind.name == "max_pool_indices"] == [True, False]
    inputs = {"x": np.random.default_rng(0).uniform(0, 255, (1, 2, 5, 6)).astype(np.float32)}
    got, wanted = reference.run(graph, inputs), Session(graph, model.SerializeToString()).run(inputs)
    assert all(np.array_equal(got[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("size", ["H", 7])
def test_an_output_shape_is_the_size_of_what_was_pooled(size, tmp_path: Path):
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p", "i"], **HALVES),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("MaxUnpool", ["p", "i", "s"], ["y"], **HALVES),
    ]
    graph = read(tmp_path, *nodes, outputs=["y"], inputs={"x": ["N", 2, size, 5]})
    assert str(graph.outputs[0].type) == f"f32[N,2,{size},5]"
    sizes = {"N": 2} | ({"H": 7} if size == "H" else {})
    hold_onnxruntime(graph, to_model(graph), normal_inputs(graph, **sizes))


def test_another_batch_in_the_output_shape_is_not_read(tmp_path: Path):
    nodes = [helper.make_node("MaxPool", ["x"], ["p", "i"], **HALVES), helper.make_node("MaxUnpool", ["p", "i", "s"], ["y"], **HALVES)]
    graph = read(tmp_path, *nodes, outputs=["y"], inputs={"x": [2, 2, 4, 4]}, constants={"s": np.array([1, 4, 4, 4])})
    assert graph.outputs[0].kind.name == "opaque"


def test_values_and_places_are_one_node_whichever_comes_first():
    graph = typed_graph("""graph @g(%x: f32[N,2,6,6]) {
        %i = max_pool_indices(%x) {kernel=[2,2], strides=[2,2], column_major=true}
        %other = max_pool(%x) {kernel=[2,2], strides=[2,1]}
        %p = max_pool(%x) {kernel=[2,2], strides=[2,2]}
        %again = max_pool_indices(%x) {kernel=[2,2], strides=[2,2]}
        return %i, %other, %p, %again }""")
    model = to_model(graph)
    assert [list(node.output) for node in model.graph.node] == [["p", "i"], ["other"], ["again.values", "again"]]
    hold_onnxruntime(graph, model, normal_inputs(graph, N=2))


def test_places_need_an_opset_that_has_them():
    graph = typed_graph("graph @g(%x: f32[N,2,6,6]) { %i = max_pool_indices(%x) {kernel=[2,2]} return %i }")
    with pytest.raises(UnsupportedOp, match="needs ONNX opset 8, not 7"):
        to_model(graph, 7)
