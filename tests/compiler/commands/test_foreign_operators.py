"""Operators that convc has not: what optimize leaves as it is around them, and what every command makes of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convc.tests.support.onnx_files import answers, model_of, written
from convc.tests.support.shell import convc


@pytest.fixture
def exotic(tmp_path: Path) -> Path:
    """conv, batch norm and relu; then operators that convc has not, and a relu behind one of them."""
    draw = np.random.default_rng(0)
    tensors = {
        "w": draw.standard_normal((4, 3, 3, 3)),
        **{name: draw.random(4) + 0.5 for name in ("scale", "shift", "mean", "var")},
        "k": draw.random(8),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"], name="norm"),
        helper.make_node("Relu", ["b"], ["r"], name="relu"),
        helper.make_node("BiasGelu", ["r", "k"], ["e"], name="turn", domain="com.microsoft"),
        helper.make_node("Relu", ["e"], ["y"], name="last"),
        helper.make_node("NonZero", ["y"], ["where"], name="found"),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 8, 8]),
            helper.make_tensor_value_info("where", TensorProto.INT64, [4, "K"]),
        ],
        [
            *(numpy_helper.from_array(values.astype(np.float32), name) for name, values in tensors.items()),
        ],
    )
    path = tmp_path / "exotic.onnx"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_operators_that_convc_lacks_stay_as_they_are(exotic: Path, tmp_path: Path):
    output = tmp_path / "better.onnx"
    refused = convc("optimize", str(exotic), str(output), "--strict")
    assert refused.code == 4
    assert refused.err.endswith("2 operators cannot be read: NonZero (node found); com.microsoft.BiasGelu (node turn)\n")
    assert not output.exists()
    done = convc("optimize", str(exotic), str(output))
    assert done.code == 0, done.err
    better = onnx.load(output)
    onnx.checker.check_model(better, full_check=True)
    assert sorted(node.op_type for node in better.graph.node) == ["BiasGelu", "Conv", "NonZero", "Relu", "Relu"]
    assert {node.name for node in better.graph.node} >= {"turn", "found"}
    assert [value.name for value in better.graph.output] == ["y", "where"]
    feed = {"x": np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    for got, wanted in zip(answers(output, feed), answers(exotic, feed), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_an_operator_stays_only_in_an_opset_where_it_is_the_same(exotic: Path, tmp_path: Path):
    model = onnx.load(exotic)
    model.graph.node.append(helper.make_node("GlobalLpPool", ["y"], ["pooled"]))
    model.graph.output.append(helper.make_empty_tensor_value_info("pooled"))
    onnx.save(model, exotic)
    assert convc("optimize", str(exotic), str(tmp_path / "o.onnx"), "--opset", "17").code == 0
    done = convc("optimize", str(exotic), str(tmp_path / "o.onnx"), "--opset", "22")
    assert done.code == 4
    assert "GlobalLpPool is another operator in opset 22; export at opset 17" in done.err


def test_a_new_weight_never_stands_for_one_that_a_foreign_operator_reads(exotic: Path, tmp_path: Path):
    """Folding names the new filters after the batch norm: b.w, as the file named what reads it."""
    model = onnx.load(exotic)
    next(tensor for tensor in model.graph.initializer if tensor.name == "k").name = "b.w"
    model.graph.node[3].input[1] = "b.w"
    onnx.save(model, exotic)
    done = convc("optimize", str(exotic), str(tmp_path / "o.onnx"))
    assert done.code == 0, done.err
    feed = {"x": np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    for got, wanted in zip(answers(tmp_path / "o.onnx", feed), answers(exotic, feed), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_typed", [True, False])
def test_around_what_nothing_here_computes(is_typed: bool, tmp_path: Path):
    """Where its type is known, what comes after it is optimized and checked as well."""
    draw = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s", "s", "s", "s"], ["b"]),
        helper.make_node("Wonder", ["b"], ["m"], domain="some.where"),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("Relu", ["r"], ["y"]),
    ]
    constants = {"w": np.float32(draw.standard_normal((4, 3, 3, 3))), "s": np.float32(draw.random(4) + 0.5)}
    model = model_of(nodes, {"x": [1, 3, 8, 8]}, ["y"], constants)
    model.opset_import.append(helper.make_opsetid("some.where", 1))
    if is_typed:
        model.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, [1, 4, 6, 6]))
    done = convc("optimize", str(written(tmp_path, model)), str(tmp_path / "o.onnx"))
    assert done.code == 0, done.err
    assert "warning: what such nodes give was drawn at random, and the rest was checked with it" in done.err
    assert "onnx: m.operand0 agrees" in done.err
    left = [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node]
    assert left == ["Conv", "Wonder", "Relu"] if is_typed else ["Conv", "Wonder", "Relu", "Relu"]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["summary"], 0, "DET:"),
        (["verify"], 0, "not in tvm: 1 node needs another runtime: Det (%d)"),
        (["verify", "-b", "tvm"], 4, "not compiled for TVM: 1 node needs another runtime: Det (%d)"),
        (["run", "-b", "onnx"], 0, ""),
        (
            ["compile", "-o", "made"],
            4,
            "@net is not compiled for cpu: 1 node needs another runtime: Det (%d); onnxruntime runs it (-b onnx)",
        ),
        (["summary", "--strict"], 4, "1 operator cannot be read: Det (node d)"),
    ],
)
def test_an_opaque_node_in_every_command(command: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Det", ["r"], ["d"]), helper.make_node("Neg", ["d"], ["y"])]
    written(tmp_path, model_of(nodes, {"x": [2, 3, 3]}, ["y"]))
    done = convc(command[0], "net.onnx", *command[1:])
    assert (done.code, words in done.out + done.err) == (code, True), done.err
    assert not (tmp_path / "made").exists()
