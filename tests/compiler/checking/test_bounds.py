"""The local bound against exact arithmetic: rational numbers, no rounding at all."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convc.backends import reference
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.checking.units import UNIT
from convc.compiler.engines.reference import REFERENCE
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph
from convc.ir.types import TensorType
from convc.tests.support.graphs import typed_graph

U = UNIT["f32"]


def gamma(n: int) -> float:
    return n * U / (1 - n * U)


@given(st.integers(1, 200), st.integers(0, 2**32), st.booleans())
@settings(deadline=None)
def test_a_sum_of_products_in_any_order_stays_within_gamma_n(n, seed, cancel):
    """float32, summed in a random order; exact by fractions. Higham 2002, sec. 3.1."""
    draws = np.random.default_rng(seed)
    x, w = draws.standard_normal(n).astype(np.float32), draws.standard_normal(n).astype(np.float32)
    if cancel:
        x, w = np.concatenate([x, x]), np.concatenate([w, -w * np.float32(1 + 1e-6)])
    total = np.float32(0)
    for i in draws.permutation(len(x)):
        total = np.float32(total + np.float32(x[i] * w[i]))
    pairs = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(x, w, strict=True)]
    exact, magnitude = sum(a * b for a, b in pairs), sum(abs(a * b) for a, b in pairs)
    assert abs(Fraction(float(total)) - exact) <= Fraction(gamma(len(x))) * magnitude


CASES = {
    "conv2d": "graph @g(%x: f32[1,4,5,4]) { %w = param : f32[4,2,3,2] %b = param {init=small} : f32[4] %y = conv2d(%x, %w, %b) {groups=2, pads=[1,0,1,1], strides=[2,1]} return %y }",
    "conv_transpose2d": "graph @g(%x: f32[1,4,3,2]) { %w = param : f32[4,2,3,2] %y = conv_transpose2d(%x, %w) {groups=2, strides=[2,2]} return %y }",
    "dense": "graph @g(%x: f32[2,30]) { %w = param : f32[4,30] %b = param {init=small} : f32[4] %y = dense(%x, %w, %b) return %y }",
    "avg_pool": "graph @g(%x: f32[1,2,5,5]) { %y = avg_pool(%x) {kernel=[3,3], pads=[1,1,1,1]} return %y }",
    "global_avg_pool": "graph @g(%x: f32[1,2,9,7]) { %y = global_avg_pool(%x) return %y }",
    "add": "graph @g(%x: f32[1,30]) { %w = param : f32[30] %y = add(%x, %w) return %y }",
    "mul": "graph @g(%x: f32[1,30]) { %w = param : f32[30] %y = mul(%x, %w) return %y }",
}


def exact_value(graph: Graph, x):
    """The node's meaning on arrays of fractions: NumPy sums objects exactly."""
    node = graph.outputs[0]
    rational = np.vectorize(Fraction, otypes=[object])
    operands = [rational(x.astype(float)) if p.weights is None else rational(p.weights.array().astype(float)) for p in node.inputs]
    kind = node.kind.name
    if kind in ("add", "mul"):
        return operands[0] + operands[1] if kind == "add" else operands[0] * operands[1]
    if kind == "dense":
        return operands[0] @ operands[1].T + operands[2]
    if kind == "global_avg_pool":
        return operands[0].sum(axis=(2, 3), keepdims=True) / Fraction(x.shape[2] * x.shape[3])
    return {"conv2d": exact_conv, "conv_transpose2d": exact_transpose, "avg_pool": exact_mean}[kind](node.op, *operands)


def exact_conv(op, x, w, b):
    padded = np.pad(x, ((0, 0), (0, 0), (op.pads[0], op.pads[2]), (op.pads[1], op.pads[3])), constant_values=Fraction(0))
    rows, cols = ((padded.shape[2 + i] - w.shape[2 + i]) // op.strides[i] + 1 for i in (0, 1))
    y = np.empty((1, w.shape[0], rows, cols), object)
    for o, i, j in np.ndindex(w.shape[0], rows, cols):
        first = o // (w.shape[0] // op.groups) * w.shape[1]
        top, left = i * op.strides[0], j * op.strides[1]
        y[0, o, i, j] = (padded[0, first : first + w.shape[1], top : top + w.shape[2], left : left + w.shape[3]] * w[o]).sum() + b[o]
    return y


def exact_transpose(op, x, w):
    per_group = w.shape[1]
    size = [(x.shape[2 + i] - 1) * op.strides[i] + w.shape[2 + i] for i in (0, 1)]
    y = np.full((1, per_group * op.groups, *size), Fraction(0), object)
    for c, i, j in np.ndindex(*x.shape[1:]):
        first = c // (x.shape[1] // op.groups) * per_group
        top, left = i * op.strides[0], j * op.strides[1]
        y[0, first : first + per_group, top : top + w.shape[2], left : left + w.shape[3]] += x[0, c, i, j] * w[c]
    return y


def exact_mean(op, x):
    y = np.empty_like(x)
    for c, i, j in np.ndindex(*x.shape[1:]):
        window = x[0, c, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
        y[0, c, i, j] = window.sum() / Fraction(window.size)
    return y


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(5))
def test_float32_results_lie_within_the_local_bound_of_the_exact_value(name, seed):
    graph = typed_graph(CASES[name])
    node = graph.outputs[0]
    x = np.random.default_rng(seed).standard_normal(graph.inputs[0].typed.concrete()).astype(np.float32)
    exact = exact_value(graph, x)
    operands = [x if p.weights is None else p.weights.array() for p in node.inputs]
    wide = [value.astype(np.float64) for value in operands]
    magnitude = abs(node.kind.meaning(node.op, *wide)) if node.kind.magnitude is None else node.kind.magnitude(node.op, *wide)
    bound = gamma(node.kind.roundings(node.op, tuple(TensorType.of(value) for value in operands), node.typed)) * magnitude
    got = reference.run(graph, {"x": x})["y"]
    for index in np.ndindex(*got.shape):
        assert abs(Fraction(float(got[index])) - exact[index]) <= Fraction(float(bound[index]))
    double = reference.run(graph, {"x": x}, "f64")["y"]  # the oracle itself is right to its own precision
    for index in np.ndindex(*got.shape):
        assert abs(Fraction(float(double[index])) - exact[index]) <= Fraction(float(bound[index])) / 2**28


def test_nan_and_infinity_agree_only_with_themselves():
    oracle = Oracle({"y": np.array([np.nan, np.inf, -np.inf, 1.0])}, {"y": np.full(4, 1e-3)})
    assert compare("e", oracle, {"y": np.array([np.nan, np.inf, -np.inf, 1.0005], np.float32)})[0].agrees
    for wrong in ([0, np.inf, -np.inf, 1], [np.nan, -np.inf, -np.inf, 1], [np.nan, np.inf, 3e38, 1], [np.nan, np.inf, -np.inf, np.nan]):
        assert not compare("e", oracle, {"y": np.array(wrong, np.float32)})[0].agrees


@pytest.mark.parametrize(("sums", "is_within"), [(np.float32, True), (np.float16, False)])
def test_a_product_of_float16_is_summed_in_float32(sums: type[np.floating], is_within: bool):
    """In turn: the first is rounded once at the end, the second with every term."""
    graph = typed_graph(
        "graph @g(%x: f16[1,2000]) { %w = param : f16[1,2000] %b = param {init=small} : f16[1] %y = dense(%x, %w, %b) return %y }"
    )
    inputs = random_inputs(graph)
    w, b = (node.weights.array() for node in graph.params)
    total = sums(0)
    for term in inputs["x"][0].astype(sums) * w[0].astype(sums):
        total = sums(total + term)
    y = np.float16(np.float16(total) + b).reshape(1, 1)
    check = check_nodes(graph, replace(REFERENCE, capture=lambda graph, wanted, inputs, threads: iter([("y", y)])), inputs)
    assert check.agrees == is_within, str(check)
    assert check.tightest.worst > 0.01
