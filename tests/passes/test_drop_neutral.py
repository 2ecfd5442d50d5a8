"""Biases of 0 and gains of 1 that a file holds: they go where the result keeps its type, and only where the values are there."""

from __future__ import annotations

import numpy as np
import pytest

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.graph import Graph, Node
from convc.ir.weights import Weights
from convc.passes.manager import Step, run_passes
from convc.tests.support.graphs import typed_graph


def left(op: str, operands: str, constant: np.ndarray | None, x: str = "f32[N,3]") -> list[str]:
    dims = ",".join(map(str, constant.shape)) if constant is not None else "3"
    graph = typed_graph(f"""graph @g(%x: {x}) {{
        %c = param {{init=zeros}} : f32[{dims}]
        %r = relu(%x)
        %s = {op}({operands})
        %y = tanh(%s)
        return %y
    }}""")

    def visit(node: Node, inputs: tuple[Node, ...]) -> Node:
        node = node.reading(inputs)
        return node if node.name != "c" or constant is None else node.like(weights=Weights.of(constant, "c"))

    after: Graph = run_passes(graph.rebuild(visit), [Step("drop-identity", "test")], ONNXRUNTIME.prices)[0]
    return [node.kind.name for node in after.ops]


ZEROS, ONES = np.zeros(3, np.float32), np.ones((1, 3), np.float32)


@pytest.mark.parametrize(
    ("op", "operands", "constant"),
    [("add", "%r, %c", ZEROS), ("add", "%c, %r", ZEROS), ("sub", "%r, %c", ZEROS), ("mul", "%c, %r", ONES), ("div", "%r, %c", ONES)],
)
def test_neutral_constants_go(op: str, operands: str, constant: np.ndarray) -> None:
    assert left(op, operands, constant) == ["relu", "tanh"]


@pytest.mark.parametrize(
    ("op", "operands", "constant"),
    [
        ("sub", "%c, %r", ZEROS),  # a sign
        ("div", "%c, %r", ONES),
        ("add", "%r, %c", np.array([0, 0, 1e-30], np.float32)),
        ("mul", "%r, %c", np.ones((2, 1, 3), np.float32)),  # it spreads
        ("add", "%r, %c", None),  # a recipe: weights may still come
    ],
)
def test_others_stay(op: str, operands: str, constant: np.ndarray | None) -> None:
    assert left(op, operands, constant) == ["relu", op, "tanh"]
