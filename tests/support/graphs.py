"""Typed graphs from text, and inputs that exercise them."""

from __future__ import annotations

from typing import Any

import numpy as np

from convc.backends import reference
from convc.ir.binding import specialize
from convc.ir.graph import Graph, Node
from convc.ir.op import OpDef
from convc.ir.parser import parse_graph
from convc.ir.types import DTYPES, Array
from convc.ir.verifier import infer_type

# Of the result's greatest value: sums of some hundred float32 (float16) terms stay well inside.
RELATIVE = {"bf16": 1.6e-2, "f16": 2e-3, "f32": 1e-5, "f64": 1e-12}
ABSOLUTE = {"bf16": 1e-3, "f16": 1e-4, "f32": 1e-6, "f64": 1e-13}


def typed_graph(text: str) -> Graph:
    def typed(node: Node, operands: tuple[Node, ...]) -> Node:
        node = node.reading(operands)
        return node if node.type is not None else node.like(type=infer_type(node))

    return parse_graph(text).rebuild(typed)


def made(name: str, kind: OpDef[Any], op: Any, *operands: Node) -> Node:
    """A typed node."""
    node = Node(name, kind, op, operands)
    return node.like(type=infer_type(node))


def with_params(inputs: str, shapes: dict[str, str], text: str) -> Graph:
    """Lines of text over inputs, with those of the parameters that they name; the result is `%y`."""
    params = [f"%{name} = param : f32[{shape}]" for name, shape in shapes.items() if f"%{name}" in text]
    return typed_graph(f"graph @g({inputs}) {{ {' '.join(params)} {text} return %y }}")


def without(graph: Graph, *outputs: str) -> Graph:
    """The graph with fewer outputs, and what only those need."""
    return Graph.of(graph.name, graph.inputs, [node for node in graph.outputs if node.name not in outputs], graph.nodes)


def normal_inputs(graph: Graph, seed: int = 0, **sizes: int) -> dict[str, Array]:
    """Normal floats; small whole numbers without 0; both truth values."""
    draws = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for node in specialize(graph, sizes).inputs:
        shape, dtype = node.typed.concrete(), DTYPES[node.typed.dtype]
        if node.typed.is_float:
            arrays[node.name] = draws.standard_normal(shape).astype(dtype)
        elif node.typed.dtype == "bool":
            arrays[node.name] = draws.integers(0, 2, shape).astype(dtype)
        else:
            low = 1 if dtype.kind == "u" else -100
            values = draws.integers(low, 100, shape)
            arrays[node.name] = np.where(values == 0, 7, values).astype(dtype)
    return arrays


def hold_to_reference(graph: Graph, got: dict[str, Array], inputs: dict[str, Array]) -> None:
    """Every output against the reference: shape, element type, and values within the bound of that type."""
    wanted = reference.run(graph, inputs, "f64")
    assert got.keys() == wanted.keys()
    for node in graph.outputs:
        have, want = got[node.name], wanted[node.name]
        assert (have.shape, have.dtype) == (want.shape, DTYPES[node.typed.dtype]), node.where
        if not node.typed.is_float:
            assert np.array_equal(have, want), node.where
            continue
        finite = np.isfinite(want)
        assert np.array_equal(have[~finite], want[~finite].astype(have.dtype), equal_nan=True), node.where
        scale = float(abs(want[finite]).max(initial=0.0))
        bound = RELATIVE[node.typed.dtype] * scale + ABSOLUTE[node.typed.dtype]
        error = float(abs(have[finite].astype(np.float64) - want[finite]).max(initial=0.0))
        assert error <= bound, f"{node.where}: off by {error:.3g}, bound {bound:.3g}"
