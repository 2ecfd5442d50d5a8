"""What ops make of errors of their operands, held to every corner of what operands may be: none lies beyond the bound, one comes near it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from convc.compiler.checking.carried import RULES, carried, is_known
from convc.ir.graph import Node
from convc.ir.ops import OPS
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph

# The op, and what share of its bound the worst corner comes to at least.
CASES = {
    "mul": ("%a: f32[3], %b: f32[3]", "mul(%a, %b)", 0.99),
    "div": ("%a: f32[3], %b: f32[3]", "div(%a, %b)", 0.99),
    "dense": ("%a: f32[1,3], %w: f32[1,3], %b: f32[1]", "dense(%a, %w, %b)", 0.8),
    "conv1d": ("%a: f32[1,1,3], %w: f32[2,1,1], %b: f32[2]", "conv1d(%a, %w, %b)", 0.8),
    "matmul": ("%a: f32[1,3], %w: f32[3,1]", "matmul(%a, %w)", 0.8),
    "max_pool": ("%a: f32[1,1,1,4]", "max_pool(%a) {kernel=[1,2], strides=[1,1]}", 0.99),
    "softmax": ("%a: f32[1,5]", "softmax(%a) {axis=1}", 0.5),
    "layer_norm": ("%a: f32[1,3], %s: f32[3], %b: f32[3]", "layer_norm(%a, %s, %b) {axis=1}", 0.1),
    "exp": ("%a: f32[4]", "exp(%a)", 0.99),
    "log": ("%a: f32[4]", "log(%a)", 0.99),
    "sqrt": ("%a: f32[4]", "sqrt(%a)", 0.99),
    "floor": ("%a: f32[4]", "floor(%a)", 0.99),
    "ceil": ("%a: f32[4]", "ceil(%a)", 0.99),
    "round": ("%a: f32[4]", "round(%a)", 0.99),
}


def node_of(inputs: str, op: str) -> Node:
    return typed_graph(f"graph @g({inputs}) {{ %y = {op} return %y }}").outputs[0]


def corners(node: Node, operands: list[Array], errors: list[Array]) -> list[Array]:
    """How far the value is off, for each way in which the elements of all operands may be."""
    right = node.kind.meaning(node.op, *operands)
    found = list[Array]()
    for signs in itertools.product((-1, 1), repeat=sum(each.size for each in operands)):
        ways, off = iter(signs), list[Array]()
        for x, error in zip(operands, errors, strict=True):
            off.append(x + error * np.array([next(ways) for _ in range(x.size)]).reshape(x.shape))
        found.append(abs(node.kind.meaning(node.op, *off) - right))
    return found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("first", "size"), [(1, 0.01), (1, 0.3), (0, 0.3)], ids=["small", "great", "of others alone"])
def test_no_corner_lies_beyond_the_bound(name: str, first: int, size: float):
    inputs, op, near = CASES[name]
    node, draws = node_of(inputs, op), np.random.default_rng(5)
    assert node.kind in RULES
    operands = [draws.uniform(0.6, 1.4, each.typed.concrete()) for each in node.inputs]
    operands[0] += np.arange(operands[0].size).reshape(operands[0].shape)  # a norm's deviation is more than an error
    errors = [size * draws.uniform(0.5, 1, each.shape) for each in operands]
    errors[0] *= first
    bound = np.broadcast_to(carried(node, operands, list(errors)), node.typed.concrete())
    worst = np.max(corners(node, operands, errors), axis=0)
    assert (worst <= bound * (1 + 1e-9)).all(), worst / bound
    if bound.any():  # steps may be too far for a small error
        assert (worst / np.where(bound == 0, 1, bound)).max() >= near


def test_a_divisor_that_may_be_0_bounds_nothing():
    node = node_of("%a: f32[2], %b: f32[2]", "div(%a, %b)")
    bound = carried(node, [np.ones(2), np.array([0.1, 0.3])], [None, np.array([0.2, 0.2])])
    assert (np.isinf(bound) == [True, False]).all()


MOVED = {
    "tile": ("%a: f32[2,3]", "tile(%a) {repeats=[1,2]}"),
    "expand": ("%a: f32[2,1]", "expand(%a) {shape=[2,3]}"),
    "depth_to_space": ("%a: f32[1,4,1,2]", "depth_to_space(%a) {block=2}"),
    "space_to_depth": ("%a: f32[1,1,2,4]", "space_to_depth(%a) {block=2}"),
    "center_crop_pad": ("%a: f32[2,3]", "center_crop_pad(%a) {shape=[4,1], axes=[0,1]}"),
    "concat": ("%a: f32[2,3], %b: f32[2,2]", "concat(%a, %b) {axis=1}"),
    "slice": ("%a: f32[2,3]", "slice(%a) {axes=[1], starts=[1], ends=[3]}"),
    "transpose": ("%a: f32[2,3]", "transpose(%a) {perm=[1,0]}"),
    "pad": ("%a: f32[2,3]", "pad(%a) {pads=[1,0,0,2]}"),
}


@pytest.mark.parametrize("name", MOVED)
def test_errors_go_where_their_elements_go(name: str):
    """Each element at its own place: what is true of one is of none of its neighbours."""
    node = node_of(*MOVED[name])
    assert node.kind is OPS[name]
    assert is_known(node.kind)
    errors = [np.random.default_rng(i).uniform(1, 2, each.typed.concrete()) for i, each in enumerate(node.inputs)]
    found = carried(node, [np.zeros_like(each) for each in errors], list(errors))
    assert np.array_equal(found, node.kind.meaning(node.op, *errors))
