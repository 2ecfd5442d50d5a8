"""Operators without a row, on constants: computed while the file is read, or left with what they are, and never a traceback."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from convc.backends.onnx.read import folding
from convc.backends.onnx.read.importer import UnreadOperators, read_graph
from convc.backends.onnx.write.export import to_model
from convc.backends.reference import run
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.ir.graph import Graph
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.ir.types import Array
from convc.ir.verifier import verify_graph
from convc.tests.support.onnx_files import hold_onnxruntime, model_of, written

X = np.arange(12, dtype=np.float32).reshape(1, 12)


def read(folder: Path, nodes: list, constants: dict[str, object] | None = None, **inputs: list) -> Graph:
    return read_graph(written(folder, model_of(nodes, inputs or {"x": [1, 12]}, ["y"], constants)), strict=True).graph


def value(folder: Path, nodes: list, constants: dict[str, object]) -> Array:
    """`y` of nodes on constants alone, `c`, added to zeros."""
    node = helper.make_node("Add", ["c", "x"], ["y"])
    graph = read(folder, [*nodes, node], constants, x=[1])
    assert {node.kind.name for node in graph.ops} <= {"add", "cast"}
    return run(graph, {"x": np.zeros(1, np.float32)})["y"]


def test_a_shape_that_another_operator_computes(tmp_path: Path) -> None:
    """BitShift on unsigned numbers, which convc has not, between casts: 24 >> 2 is an extent."""
    nodes = [
        helper.make_node("Cast", ["n"], ["u"], to=TensorProto.UINT32),
        helper.make_node("BitShift", ["u", "by"], ["v"], direction="RIGHT"),
        helper.make_node("Cast", ["v"], ["rows"], to=TensorProto.INT64),
        helper.make_node("Concat", ["rows", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"n": np.array([24]), "by": np.array([2], np.uint32), "rest": np.array([-1])}
    graph = read(tmp_path, nodes, constants)
    assert [str(node.type) for node in graph.ops] == ["f32[6,2]"]
    hold_onnxruntime(graph, model_of(nodes, {"x": [1, 12]}, ["y"], constants), {"x": X})


def test_the_shape_of_a_value_that_is_not_constant(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("BitwiseAnd", ["s", "mask"], ["t"]),
        helper.make_node("Tile", ["x", "t"], ["y"]),
    ]
    body = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", 1, [1, 12])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.array([1, 4]), "mask")],
    )
    path = written(tmp_path, helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    assert str(read_graph(path).graph.outputs[0].type) == "f32[1,48]"


def test_results_of_operators_that_convc_has_are_operands(tmp_path: Path) -> None:
    """More elements than shapes have, as the masks of windows: Tile and Mul stand in the graph, and are computed for what follows."""
    nodes = [
        helper.make_node("Tile", ["a", "times"], ["t"]),
        helper.make_node("Mul", ["t", "t"], ["m"]),
        helper.make_node("Det", ["small"], ["d"]),
        helper.make_node("Compress", ["m", "some"], ["c"], axis=0),
    ]
    a = np.linspace(0, 1, 5000, dtype=np.float32).reshape(5000, 1)
    some = np.arange(10_000) % 1000 == 0
    got = value(tmp_path, nodes, {"a": a, "times": np.array([2, 1]), "some": some, "small": np.eye(2, dtype=np.float32)})
    assert np.allclose(got.reshape(-1), np.tile(a, (2, 1))[some].reshape(-1) ** 2, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64, np.int16])
def test_constants_of_other_element_types(tmp_path: Path, dtype: type) -> None:
    """As an initializer and as a Constant."""
    nodes = [
        helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(np.array([1, 2, 3], dtype))),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Cast", ["s"], ["c"], to=TensorProto.FLOAT),
    ]
    assert value(tmp_path, nodes, {"a": np.array([10, 20, 30], dtype)}).tolist() == [11, 22, 33]


def loop(body: list, initializers: tuple = (), result: tuple | list = ()) -> object:
    """A Loop of `many` turns whose body computes `out` from its turn `i`."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), *body],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, [])],
        [helper.make_tensor_value_info("on", 9, []), helper.make_tensor_value_info("out", 7, list(result))],
        list(initializers),
    )
    return helper.make_node("Loop", ["many", "true"], ["y"], body=graph)


def test_a_loop_on_constants_that_reads_another(tmp_path: Path) -> None:
    body = [helper.make_node("Mul", ["i", "by"], ["product"]), helper.make_node("Reshape", ["product", "flat"], ["out"])]
    nodes = [loop(body, result=[1]), helper.make_node("Cast", ["y"], ["c"], to=TensorProto.FLOAT)]
    nodes[0].output[0] = nodes[1].input[0] = "turns"
    assert value(tmp_path, nodes, {"many": np.array(3), "true": np.array(True), "by": np.array(10), "flat": np.array([1])}).tolist() == [
        [0],
        [10],
        [20],
    ]


def test_a_result_of_another_shape_than_onnx_infers_is_none(tmp_path: Path) -> None:
    """The evaluator (onnx 1.23) makes [[0], [1], [2]] of numbers that a loop counts."""
    nodes = [loop([helper.make_node("Identity", ["i"], ["out"])])]
    assert "Loop" in refusal(tmp_path, nodes, {"many": np.array(3), "true": np.array(True)})


def refusal(folder: Path, nodes: list, constants: dict[str, object]) -> str:
    with pytest.raises(UnreadOperators) as caught:
        read(folder, nodes, constants)
    assert str(caught.value).isprintable()
    return str(caught.value)


RANDOM = helper.make_node("RandomUniformLike", ["c"], ["y"])


def nested_random() -> object:
    def branch(name: str) -> object:
        node = helper.make_node("RandomNormal", [], [name], shape=[2])
        return helper.make_graph([node], name, [], [helper.make_empty_tensor_value_info(name)])

    return helper.make_node("If", ["true"], ["y"], then_branch=branch("a"), else_branch=branch("b"))


@pytest.mark.parametrize(
    "node",
    [
        RANDOM,
        nested_random(),
        helper.make_node("Det", ["c"], ["y"]),  # of what is no matrix
        helper.make_node("HannWindow", ["many"], ["y"]),  # 7.5 GiB
        helper.make_node("HannWindow", ["some"], ["y"]),  # 3.8 MiB of one number
        helper.make_node("StringSplit", ["c"], ["y", "z"]),
    ],
    ids=lambda node: node.op_type,
)
def test_what_is_not_computed(tmp_path: Path, node: object) -> None:
    constants = {"c": np.ones(3, np.float32), "many": np.array(2_000_000_000), "some": np.array(1_000_000), "true": np.array(True)}
    assert "1 operator cannot be read" in refusal(tmp_path, [node], constants)


def test_no_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is ended, and what follows is not computed either."""
    monkeypatch.setattr("convc.backends.onnx.read.evaluator.SECONDS", 1)
    nodes = [loop([helper.make_node("Identity", ["i"], ["out"])]), helper.make_node("Det", ["square"], ["z"])]
    constants = {"many": np.array(2_000_000_000), "true": np.array(True), "square": np.eye(2, dtype=np.float32)}
    assert "2 operators cannot be read: Det" in refusal(tmp_path, nodes, constants)


def test_operands_over_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "OPERAND_BYTES", 100)
    assert "Det" in refusal(tmp_path, [helper.make_node("Det", ["square"], ["y"])], {"square": np.eye(6, dtype=np.float32)})


def test_a_great_operand_that_a_few_numbers_say_is_not_written_out(tmp_path: Path) -> None:
    nodes = [helper.make_node("ConstantOfShape", ["great"], ["c"]), helper.make_node("Det", ["c"], ["y"])]
    tracemalloc.start()
    try:
        assert "Det" in refusal(tmp_path, nodes, {"great": np.array([16_000, 16_000])})
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_what_operands_are_computed_from_is_under_a_budget_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matmul of constants that convc would have to compute for the one operator that it does not have."""
    nodes = [
        helper.make_node("Expand", ["one", "wide"], ["w"]),
        helper.make_node("MatMul", ["w", "w"], ["m"]),
        helper.make_node("MatMul", ["m", "w"], ["n"]),
        helper.make_node("Det", ["n"], ["y"]),
    ]
    constants = {"one": np.ones((1, 1), np.float32), "wide": np.array([70, 70])}
    assert "det" not in {node.kind.name for node in read(tmp_path, nodes, constants).ops}
    monkeypatch.setattr("convc.backends.onnx.read.constants.FLOPS", 1_000_000)
    assert "Det" in refusal(tmp_path, nodes, constants)


def test_an_index_beyond_a_constant(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["c", "i"], ["g"]), helper.make_node("Det", ["g"], ["y"])]
    constants = {"c": np.ones((70, 80, 80), np.float32), "i": np.array([99])}
    assert "Det" in refusal(tmp_path, nodes, constants)


def test_no_file_is_read_for_it(tmp_path: Path) -> None:
    """A tensor in an attribute that names a file beside the model."""
    tensor = TensorProto(name="t", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "w.bin").write_bytes(np.ones(1, np.float32).tobytes())
    body = [helper.make_node("Cast", ["t"], ["u"], to=TensorProto.INT64), helper.make_node("Add", ["i", "u"], ["out"])]
    assert "Loop" in refusal(tmp_path, [loop(body, (tensor,))], {"true": np.array(True), "many": np.array(2)})


NUMBERS = {"s": np.array([1, 64, 64, 64]), "e": np.ones((1, 64, 1, 1), np.float32), "zero": np.array(0), "many": np.array(64**3)}


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.array([2], np.float32)))],
        [helper.make_node("Expand", ["e", "s"], ["c"])],
        [
            helper.make_node("Range", ["zero", "many", "one"], ["r"]),
            helper.make_node("Cast", ["r"], ["f"], to=1),
            helper.make_node("Reshape", ["f", "s"], ["c"]),
        ],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_a_megabyte_that_a_few_numbers_say_stays_those_few(tmp_path: Path, nodes: list) -> None:
    nodes = [*nodes, helper.make_node("Add", ["x", "c"], ["y"])]
    constants = {**NUMBERS, "one": np.array(1)}
    graph, _ = optimize(read(tmp_path, nodes, constants, x=[1, 64, 64, 64]), 2, prices=ONNXRUNTIME.prices)
    model = to_model(graph, 17)
    assert model.ByteSize() < 2000
    assert len(model.graph.node) <= len(nodes)
    x = np.random.default_rng(0).random((1, 64, 64, 64), np.float32)
    hold_onnxruntime(graph, model_of(nodes, {"x": [1, 64, 64, 64]}, ["y"], constants), {"x": x})
    hold_onnxruntime(graph, model, {"x": x})


def test_a_fill_that_no_float_is(tmp_path: Path) -> None:
    """The largest of 64 bits is 2**63 as a float, which wraps around; 2**53 + 1 is 2**53."""
    for most in (2**63 - 1, 2**53 + 1):
        fill = helper.make_node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.array([most], np.int64)))
        graph = read(tmp_path, [fill, helper.make_node("Identity", ["c"], ["y"])], {"s": np.array([2**16])})
        for each in (graph, parse_graph(print_graph(graph)), read_graph(written(tmp_path, to_model(graph, 17))).graph):
            verify_graph(each)
            assert (run(each, {"x": X})["y"] == most).all()
