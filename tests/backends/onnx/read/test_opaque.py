"""Operators that convc has no op for: read as opaque nodes, computed by onnxruntime, written back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convc.backends import reference
from convc.backends.onnx.read.importer import UnreadOperators, read_graph
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import InvalidModel, KernelMissing, OutOfMemory, UnsupportedOp
from convc.ir.graph import Graph
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.ir.types import Array
from convc.tests.support.onnx_files import model_of, written

IMAGE = {"x": [1, 3, 6, 6]}
W = {"w": np.float32(np.random.default_rng(0).standard_normal((4, 3, 3, 3)))}


def read(folder: Path, model: Any, **how: Any) -> Graph:
    graph = read_graph(written(folder, model), **how).graph
    text = print_graph(graph)
    assert print_graph(parse_graph(text)) == text
    return graph


def untyped(model: Any, *outputs: str) -> Any:
    """The model with outputs that are not said to be float32."""
    for value in model.graph.output:
        if value.name in outputs:
            value.ClearField("type")
    return model


def types(graph: Graph) -> dict[str, str]:
    return {node.name: str(node.type) for node in graph.ops}


def hold(folder: Path, model: Any, inputs: dict[str, Array], level: int = 2) -> Graph:
    """What is written after the passes gives what the file gives, and so does the reference with onnxruntime standing in."""
    graph = read(folder, model)
    before = Session(graph, model.SerializeToString()).run(inputs)
    better, _ = optimize(graph, level)
    written_back = to_model(better)
    after = Session(better, written_back.SerializeToString()).run(inputs)
    meant = reference.run(graph, inputs)
    for name, value in before.items():
        for other in (after, meant):
            np.testing.assert_allclose(other[name], value, rtol=1e-4, atol=1e-5)
    return better


def random(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def branches(then: list[Any], otherwise: list[Any], results: list[str] | None = None, **constants: Array) -> dict[str, Any]:
    names = results or ["r"]
    made = {}
    for word, nodes in (("then_branch", then), ("else_branch", otherwise)):
        outputs = [helper.make_empty_tensor_value_info(name) for name in names]
        tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
        made[word] = helper.make_graph(nodes, word, [], outputs, tensors)
    return made


def sign() -> list[Any]:
    """A condition that depends on the data: whether x sums to more than nothing."""
    return [helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0), helper.make_node("Greater", ["sum", "zero"], ["c"])]


ZERO = {"zero": np.float32(0)}


def test_an_operator_is_typed_by_what_convc_knows_of_its_operands(tmp_path: Path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Det", ["a"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    graph = hold(tmp_path, model_of(nodes, {"x": ["N", 3, 6, 6]}, ["y"], W), {"x": random(2, 3, 6, 6)})
    assert types(graph) == {"a": "f32[N,4,4,4]", "d": "f32[N,4]", "y": "f32[N,4]"}


def test_an_operator_of_another_vendor_is_typed_by_onnxruntime(tmp_path: Path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("QuickGelu", ["a"], ["g"], domain="com.microsoft"),
        helper.make_node("MaxPool", ["g"], ["y"], kernel_shape=[2, 2]),
    ]
    model = model_of(nodes, IMAGE, ["y"], W)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    graph = hold(tmp_path, model, {"x": random(1, 3, 6, 6)})
    assert types(graph) == {"a": "f32[1,4,4,4]", "g": "f32[1,4,4,4]", "y": "f32[1,4,3,3]"}
    assert graph.by_name["g"].op.label == "com.microsoft.QuickGelu"


def test_noise_reaches_a_number_of_unknown_rank(tmp_path: Path):
    """As a number of NumPy's own and in float64, it is nothing that onnxruntime takes."""
    then, otherwise = [helper.make_node("Relu", ["x"], ["r"])], [helper.make_node("ReduceSum", ["x"], ["r"], keepdims=0)]
    nodes = [*sign(), helper.make_node("If", ["c"], ["z"], **branches(then, otherwise)), helper.make_node("Celu", ["z"], ["y"])]
    graph = read(tmp_path, untyped(model_of(nodes, {"x": [1, 3]}, ["y"], ZERO), "y"))
    inputs = {"x": -np.ones((1, 3), np.float32)}
    (line,) = compare("onnx", Oracle.of(graph, inputs), ENGINES["onnx"].start(graph, 1)(inputs))
    assert line.agrees


def test_a_size_that_only_a_run_can_tell_is_a_new_name(tmp_path: Path):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Compress", ["r", "keep"], ["few"], axis=0),
        helper.make_node("Neg", ["few"], ["n"]),
        helper.make_node("Reshape", ["n", "shape"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("keep", TensorProto.BOOL, ["M"])]
    model = model_of(nodes, {"x": [5, 4]}, ["y"], {"shape": np.int64([-1, 2, 2])})
    model.graph.input.extend(inputs)
    graph = hold(tmp_path, model, {"x": random(5, 4), "keep": np.array([True, False, True, True, False])})
    assert types(graph) == {"r": "f32[5,4]", "few": "f32[few_0,4]", "n": "f32[few_0,4]", "y": "f32[few_0,2,2]"}


def test_several_results_are_one_call(tmp_path: Path):
    nodes = [
        helper.make_node("Unique", ["x"], ["values", "", "places", "counts"]),
        helper.make_node("Relu", ["values"], ["r"]),
        helper.make_node("Add", ["places", "places"], ["p"]),
    ]
    graph = hold(tmp_path, untyped(model_of(nodes, {"x": [7]}, ["r", "p"]), "p"), {"x": np.float32([3, 1, 3, -2, 1, 1, 0])})
    assert [node.kind.name for node in graph.ops] == ["opaque", "opaque_result", "opaque_result", "relu", "add"]
    assert [list(node.output) for node in to_model(graph).graph.node if node.op_type == "Unique"] == [["values", "", "places"]]


def test_what_is_drawn_at_random_is_drawn_as_often_as_before(tmp_path: Path):
    nodes = [helper.make_node("RandomNormalLike", ["x"], [name]) for name in "ab"]
    nodes.append(helper.make_node("Sub", ["a", "b"], ["y"]))
    graph, _ = optimize(read(tmp_path, model_of(nodes, {"x": [64]}, ["y"])), 2)
    assert [node.kind.name for node in graph.ops] == ["opaque", "opaque", "sub"]
    assert abs(reference.run(graph, {"x": random(64)})["y"]).max() > 0


def test_an_operator_without_operands_stays(tmp_path: Path):
    nodes = [helper.make_node("RandomUniform", [], ["u"], shape=[4], low=1.0, high=2.0), helper.make_node("Mul", ["x", "u"], ["y"])]
    graph, _ = optimize(read(tmp_path, model_of(nodes, {"x": [4]}, ["y"])), 2)
    value = reference.run(graph, {"x": np.ones(4, np.float32)})["y"]
    assert ((value >= 1) & (value <= 2)).all()
    assert [node.op_type for node in to_model(graph).graph.node] == ["RandomUniform", "Mul"]


def test_memory_that_an_operator_does_not_get(tmp_path: Path):
    ends = {name: np.int64(value) for name, value in (("start", 0), ("end", 2**60), ("step", 1))}
    graph = read(tmp_path, untyped(model_of([helper.make_node("Range", [*ends], ["y"])], {"x": [4]}, ["y"], ends), "y"))
    with pytest.raises(OutOfMemory, match=r"^%y = opaque: memory ran out for 8,589,934,592\.0 GiB; "):
        reference.run(graph, {"x": np.ones(4, np.float32)})


def test_sequences_and_strings_go_from_one_opaque_node_to_the_next(tmp_path: Path):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("SplitToSequence", ["r", "two"], ["parts"], axis=0),
        helper.make_node("SequenceAt", ["parts", "one"], ["part"]),
        helper.make_node("Neg", ["part"], ["y"]),
        helper.make_node("Cast", ["r"], ["words"], to=TensorProto.STRING),
        helper.make_node("Cast", ["words"], ["z"], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, {"x": [4, 3]}, ["y", "z"], {"two": np.int64(2), "one": np.int64(1)})
    graph = hold(tmp_path, model, {"x": random(4, 3)})
    assert types(graph)["parts"] == 'opaque["seq(tensor(float)[2,3])"]'
    assert types(graph)["z"] == "f32[4,3]"


def test_a_constant_of_an_operator_that_convc_lacks_is_of_16_bits(tmp_path: Path):
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.UINT16),
        helper.make_node("BitwiseAnd", ["whole", "mask"], ["low"]),
        helper.make_node("Cast", ["low"], ["y"], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, {"x": [4]}, ["y"], {"mask": np.uint16([1, 3, 7, 15])}, 18)
    graph = hold(tmp_path, model, {"x": np.float32([9, 9, 9, 9])})
    assert types(graph)["low"] == "u16[4]"


def test_a_branch_reads_what_passes_make_of_the_outside(tmp_path: Path):
    """The batch norm folds into the convolution, whose name the branches know; one of them has a name that the passes take."""
    norm = {name: random(4, seed=i) ** 2 + np.float32(0.5) for i, name in enumerate(("s", "m"))}
    nodes = [
        *sign(),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("BatchNormalization", ["a", "s", "s", "m", "s"], ["b"]),
        helper.make_node("Identity", ["b"], ["same"]),
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            **branches(
                [helper.make_node("Neg", ["same"], ["b.w"]), helper.make_node("Mul", ["b.w", "two"], ["r"])],
                [helper.make_node("Add", ["b", "same"], ["r"])],
                two=np.float32(2),
            ),
        ),
    ]
    model = model_of(nodes, IMAGE, ["y"], W | norm | ZERO)
    for seed in (1, 2, 3):
        graph = hold(tmp_path, model, {"x": random(1, 3, 6, 6, seed=seed)})
    assert [node.kind.name for node in graph.ops] == ["reduce_sum", "greater", "conv2d", "opaque"]


@pytest.mark.parametrize("condition", [True, False])
def test_a_known_condition_leaves_its_branch(tmp_path: Path, condition: bool):
    inner = helper.make_node(
        "If", ["k"], ["q"], **branches([helper.make_node("Exp", ["o"], ["r"])], [helper.make_node("Abs", ["o"], ["r"])])
    )
    chosen = branches(
        [helper.make_node("Relu", ["a"], ["o"]), inner, helper.make_node("Mul", ["q", "two"], ["r"])],
        [helper.make_node("Neg", ["a"], ["o"]), helper.make_node("Add", ["o", "two"], ["r"])],
        two=np.float32(2),
    )
    same = [helper.make_node("Identity", ["a"], ["s"])]
    nodes = [
        helper.make_node("Tanh", ["x"], ["a"]),
        helper.make_node("If", ["k"], ["first"], **chosen),
        helper.make_node("If", ["k"], ["y"], **chosen),  # the same names again
        helper.make_node("If", ["k"], ["z"], **branches(same, same, ["s"])),
    ]
    model = model_of(nodes, {"x": [4]}, ["first", "y", "z"], {"k": np.array(condition)})
    graph = hold(tmp_path, model, {"x": random(4)})
    assert not any(node.kind.facts.opaque for node in graph.nodes)


def test_branches_of_two_ranks_are_a_value_that_nobody_looks_into(tmp_path: Path):
    differ = branches([helper.make_node("Squeeze", ["x", "last"], ["r"])], [helper.make_node("Identity", ["x"], ["r"])])
    nodes = [*sign(), helper.make_node("If", ["c"], ["i"], **differ), helper.make_node("Relu", ["i"], ["y"])]
    model = model_of(nodes, {"x": [3, 1]}, ["y"], ZERO | {"last": np.int64([1])})
    for value in (1, -1):
        graph = hold(tmp_path, model, {"x": np.full((3, 1), value, np.float32)})
    assert types(graph)["y"] == 'opaque["tensor(float)"]'


def test_an_operator_of_which_nobody_knows_what_it_makes(tmp_path: Path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Wonder", ["a"], ["m"], domain="some.where", how="well", parts=[1, 2], weights=[0.5]),
        helper.make_node("Conv", ["m", "v"], ["y"]),
    ]
    model = model_of(nodes, IMAGE, ["y"], W | {"v": np.ones((2, 4, 1, 1), np.float32)})
    model.opset_import.append(helper.make_opsetid("some.where", 3))
    graph, _ = optimize(read(tmp_path, model), 2)
    assert types(graph) == {"a": "f32[1,4,4,4]", "m": "opaque[]", "y": "opaque[]"}
    back = to_model(graph)
    assert list(back.graph.node[1].attribute) == list(model.graph.node[1].attribute)
    assert {entry.domain: entry.version for entry in back.opset_import} == {"": 17, "some.where": 3}
    with pytest.raises(KernelMissing, match=r"nothing here computes some.where.Wonder"):
        reference.run(graph, {"x": random(1, 3, 6, 6)})
    with pytest.raises(UnreadOperators, match=r"1 operator cannot be read: some.where.Wonder \(node m\)"):
        read(tmp_path, model, strict=True)


def test_what_comes_out_otherwise_than_the_file_says(tmp_path: Path):
    nodes = [helper.make_node("QuickGelu", ["x"], ["g"], domain="com.microsoft"), helper.make_node("Relu", ["g"], ["y"])]
    model = model_of(nodes, {"x": None}, ["y"])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.value_info.append(helper.make_tensor_value_info("g", TensorProto.FLOAT, [2, 2]))
    graph = read(tmp_path, model)
    assert (str(graph.inputs[0].type), types(graph)["y"]) == ('opaque["tensor(float)"]', "f32[2,2]")
    with pytest.raises(InvalidModel, match=r"%g = opaque is said to be f32\[2,2\], but comes out as float32\[3\]"):
        reference.run(graph, {"x": random(3)})


def test_a_size_that_is_used_as_data_is_computed(tmp_path: Path):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["x", "f"], ["y"]),
    ]
    hold(tmp_path, model_of(nodes, {"x": ["N", 2]}, ["y"]), {"x": random(3, 2)})


def test_a_loop_over_rows(tmp_path: Path):
    body = helper.make_graph(
        [
            helper.make_node("Add", ["carried", "r"], ["next"]),
            helper.make_node("Identity", ["going"], ["on"]),
            helper.make_node("Shape", ["next"], ["shape"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [helper.make_empty_tensor_value_info(name) for name in ("on", "next", "shape")],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Loop", ["three", "", "x"], ["y", "shapes"], body=body),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    model = untyped(model_of(nodes, {"x": ["N", 2]}, ["z", "shapes"], {"three": np.int64(3)}), "shapes")
    graph = hold(tmp_path, model, {"x": random(4, 2)})
    assert graph.by_name["y.call"].op.absent == (1,)


def test_another_opset_only_where_the_operator_is_the_same(tmp_path: Path):
    graph = read(tmp_path, model_of([helper.make_node("GlobalLpPool", ["x"], ["y"])], IMAGE, ["y"]))
    assert to_model(graph).opset_import[0].version == 17
    with pytest.raises(UnsupportedOp, match="GlobalLpPool is another operator in opset 22; export at opset 17"):
        to_model(graph, 22)


def test_local_functions_are_written_out(tmp_path: Path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        net (float[N,4] x) => (float[N,4] y) { z = own.twice <k: float = 2.0> (x)  y = own.twice <k: float = 0.5> (z) }
        <domain: "own", opset_import: ["" : 17, "own" : 1]> twice <k> (a) => (b) {
            c = Constant <value_float: float = @k> ()  d = Mul(a, c)  b = own.act(d) }
        <domain: "own", opset_import: ["" : 17]> act (a) => (b) { b = Relu(a) }"""
    )
    graph = hold(tmp_path, model, {"x": random(3, 4)})
    assert [node.kind.name for node in graph.ops] == ["mul", "relu", "mul", "relu"]


def _itself(model: Any) -> None:
    model.functions[1].node[0].domain, model.functions[1].node[0].op_type = "own", "twice"


def _tower(model: Any) -> None:
    """Each calls the one below ten times: 10^8 nodes."""
    del model.functions[:]
    for level in range(8):
        word = "Relu" if not level else f"f{level - 1}"
        calls = [helper.make_node(word, [f"v{i}"], [f"v{i + 1}"], domain="own" if level else "") for i in range(10)]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        model.functions.append(helper.make_function("own", f"f{level}", ["v0"], ["v10"], calls, imports))
    model.graph.node[0].op_type = "f7"


def _twice(model: Any) -> None:
    model.functions.append(model.functions[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [(_itself, "function 'twice' calls itself"), (_tower, "come to over 250,000 nodes"), (_twice, "function 'twice' is there twice")],
)
def test_functions_that_do_not_come_to_an_end(tmp_path: Path, change: Any, words: str):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        net (float[N,4] x) => (float[N,4] y) { y = own.twice(x) }
        <domain: "own", opset_import: ["" : 17, "own" : 1]> twice (a) => (b) { b = own.act(a) }
        <domain: "own", opset_import: ["" : 17, "own" : 1]> act (a) => (b) { b = Relu(a) }"""
    )
    change(model)
    with pytest.raises(InvalidModel, match=words):
        read(tmp_path, model)
