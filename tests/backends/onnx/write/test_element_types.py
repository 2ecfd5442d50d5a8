"""A file's own node stays only where passes that change element types left it operands and results that it can have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.write.export import to_model
from convc.compiler.compiling.no_worse import Exporter
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.ir.errors import UnsupportedOp
from convc.ir.graph import Graph, Node
from convc.ir.ops.linear import MATMUL
from convc.passes.catalog import PASSES
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.graphs import made, typed_graph
from convc.tests.support.onnx_files import model_of, written
from convc.tests.support.op_cases import CASES, text_of

QUICK = ("batch_norm", "arithmetic", "matmul", "softmax", "binary")
OWN = {
    "a norm of constants": [helper.make_node("InstanceNormalization", ["c", "g", "b"], ["y"])],
    "a mean, which sums in float32": [helper.make_node("ReduceMean", ["c"], ["y"], axes=[2], keepdims=1)],
    "halves of a product": [
        helper.make_node("Split", ["c"], ["u", "v"], axis=1),
        helper.make_node("Conv", ["u", "h"], ["p"]),
        helper.make_node("Conv", ["v", "h"], ["q"]),
        helper.make_node("Add", ["p", "q"], ["y"]),
    ],
}


def narrowed(path: Path, name: str = "to-float16") -> onnx.ModelProto:
    """As `convc optimize -p` writes it."""
    imported = read_graph(path)
    before, _ = optimize(imported.graph, 0)
    exporter = Exporter(imported, before, imported.model.opset[""], as_declared=True)
    found = exporter.write(PASSES[name].run(before, Ledger(ONNXRUNTIME.prices)))
    for tensor in found.model.graph.initializer:
        if tensor.name in found.values:
            tensor.raw_data = found.values[tensor.name]()
    return found.model


def misfit(model: onnx.ModelProto) -> str:
    """What onnxruntime says of a type that does not fit; kernels that it has not are another matter."""
    import onnxruntime as ort

    try:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error) if "Type Error" in str(error) else ""
    return ""


def through_products(graph: Graph) -> Graph:
    """Each input and output multiplied by a matrix, so that what lies between is worth its 16 bits."""

    def product(x: Node, name: str) -> Node:
        if x.typed.dtype != "f32" or x.typed.rank < 2 or not isinstance(size := x.typed.shape[-1], int):
            return x
        (weight,) = typed_graph(f"graph @g() {{ %{name}.w = param : f32[{size},{size}] return %{name}.w }}").params
        return made(name, MATMUL, MATMUL.Attrs(), x, weight)

    entering = {x: product(x, f"{x.name}.in") for x in graph.inputs}
    changed = graph.rebuild(lambda node, operands: node.reading(tuple(entering.get(x, x) for x in operands)) if node.inputs else node)
    return Graph.of(graph.name, graph.inputs, [product(x, f"{x.name}.out") for x in changed.outputs], [])


@pytest.mark.parametrize("case", [*QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in CASES if case not in QUICK)])
@pytest.mark.parametrize("name", ["to-float16", pytest.param("to-bfloat16", marks=pytest.mark.slow)])
def test_what_is_written_of_an_op_between_products_fits(case: str, name: str, tmp_path: Path):
    try:
        model = to_model(through_products(typed_graph(text_of(case))), 22)
    except UnsupportedOp:
        return  # no file has it
    assert misfit(model) == ""
    assert misfit(narrowed(written(tmp_path, model), name)) == ""


@pytest.mark.parametrize("case", OWN)
def test_a_files_own_node_between_products(case: str, tmp_path: Path):
    draw = np.random.default_rng(0)
    shapes = {"k": (4, 4, 3), "h": (2, 2, 1), "g": (4,), "b": (4,)}
    constants = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [helper.make_node("Conv", ["x", "k"], ["c"]), *OWN[case]]
    model = narrowed(written(tmp_path, model_of(nodes, {"x": [1, 4, 9]}, ["y"], constants)))
    assert misfit(model) == ""
    kinds = [node.op_type for node in model.graph.node]
    assert "Slice" not in kinds
    assert kinds.count("Cast") == 2


def test_a_product_between_casts_is_not_the_files_product(tmp_path: Path):
    """Its operands and its result have the types that they had, and what lies between was asked for."""
    model = model_of([helper.make_node("MatMul", ["x", "z"], ["y"])], {"x": [4, 5], "z": [5, 4]}, ["y"])
    kinds: list[Any] = [node.op_type for node in narrowed(written(tmp_path, model)).graph.node]
    assert kinds == ["Cast", "Cast", "MatMul", "Cast"]
