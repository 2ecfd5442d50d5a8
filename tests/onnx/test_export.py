"""Export against onnx's own checker, and every op against onnxruntime at several opsets."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graphs import EVERY_OP, typed

import convc as cc
from convc.backends import reference
from convc.backends.onnx.export import MIN_OPSET, newest_opset, to_model
from convc.backends.onnx.session import Session
from convc.compiler.inputs import random_inputs
from convc.compiler.verify import Oracle, compare
from convc.ir.errors import UnsupportedOp, UsageError
from convc.ir.ops import OPS
from convc.models import ZOO

OPSETS = (13, 17, 18, 22)


def test_the_cases_cover_every_op():
    used = {node.kind.name for text in EVERY_OP.values() for node in typed(text).ops}
    assert used == set(OPS) - {"input", "param"}


@pytest.mark.parametrize("opset", [*OPSETS, None], ids=str)
@pytest.mark.parametrize("name", EVERY_OP)
def test_op_agrees_with_onnxruntime(name, opset):
    graph = typed(EVERY_OP[name])
    if opset is not None and opset < 19 and "dilated average" in name:
        with pytest.raises(UnsupportedOp, match="a dilated average pool needs ONNX opset 19"):
            to_model(graph, opset)
        return
    model = to_model(graph, opset)
    onnx.checker.check_model(model, full_check=True)
    for batch in (1, 3):
        inputs = random_inputs(graph, seed=batch, sizes={"N": batch})
        inputs = {name: value * 2 - 1 if value.dtype.kind == "f" else value for name, value in inputs.items()}
        outputs = Session(graph, model.SerializeToString()).run(inputs)
        for line in compare("onnx", Oracle.of(graph, inputs), outputs):
            assert line.agrees, f"{name}: {line}"


@pytest.mark.parametrize("name", ZOO)
def test_zoo_model_passes_the_full_checker_and_keeps_its_names(name):
    graph = ZOO[name].network(**ZOO[name].small)
    model = to_model(graph)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == [node.name for node in graph.inputs]
    assert [value.name for value in model.graph.output] == [node.name for node in graph.outputs]
    assert {node.name for node in model.graph.node} == {node.name for node in graph.ops}
    assert model.producer_name == "convc"
    assert all(node.doc_string.startswith("at ") for node in model.graph.node), "a node without its source line"


def test_a_named_batch_stays_symbolic():
    graph = cc.models.lenet5()
    model = to_model(graph)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    session = Session(graph, model.SerializeToString())
    for batch in (1, 7):
        inputs = random_inputs(graph, sizes={"N": batch})
        np.testing.assert_allclose(session.run(inputs)["softmax1"], reference.run(graph, inputs)["softmax1"], rtol=1e-4)


def test_bytes_are_deterministic():
    first, second = (to_model(cc.models.resnet20()).SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("opset", range(MIN_OPSET, 23))
def test_every_opset_exports_and_runs(opset):
    graph = cc.models.resnet20()
    model = to_model(graph, opset)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == opset
    inputs = random_inputs(graph)
    np.testing.assert_allclose(
        Session(graph, model.SerializeToString()).run(inputs)["softmax1"], reference.run(graph, inputs)["softmax1"], rtol=1e-3
    )


def test_the_default_opset_is_the_newest_that_runs():
    """One more than the default is refused by onnxruntime, or unknown to onnx."""
    graph = typed("graph @g(%x: f32[N,3]) {\n  %y = relu(%x)\n  return %y\n}\n")
    newest = newest_opset()
    assert to_model(graph).opset_import[0].version == newest >= 22
    Session(graph, to_model(graph).SerializeToString())
    if newest < onnx.defs.onnx_opset_version():
        with pytest.raises(cc.ConvcError, match="onnxruntime refuses"):
            Session(graph, to_model(graph, newest + 1).SerializeToString())


@pytest.mark.parametrize("opset", [0, 12, 1000])
def test_an_opset_nobody_supports_is_refused(opset):
    with pytest.raises(UsageError, match=f"opset {opset} is not supported; choose 13 to"):
        to_model(cc.models.mlp(), opset)


def test_a_reshape_that_onnx_cannot_infer_is_refused():
    graph = typed("graph @g(%x: f32[N,H,4]) {\n  %y = reshape(%x) {shape=[4,H,N]}\n  return %y\n}\n")
    with pytest.raises(UnsupportedOp, match="%y = reshape: a reshape to f32\\[4,H,N\\]"):
        to_model(
            typed("graph @g(%x: f32[N,H,4]) {\n  %t = transpose(%x) {perm=[2,0,1]}\n  %y = reshape(%t) {shape=[H,N,4]}\n  return %y\n}\n")
        )
    assert to_model(graph).graph.node[0].op_type == "Reshape"
