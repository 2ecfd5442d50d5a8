"""Layers of tokens, scales that are learned, and products of the last axis, held to what the papers say of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

import convc as cc
from convc.backends import reference
from convc.ir.errors import ShapeError
from convc.ir.graph import Graph
from convc.ir.types import Array


def build(function, x="N,5,6") -> Graph:
    return cc.network(x=x)(function)()


def ran(graph: Graph, x: Array) -> tuple[Array, dict[str, Array]]:
    """In float64, and the parameters."""
    (y,) = reference.run(graph, {"x": x}, "f64").values()
    return y, {node.name: node.weights.array().astype(float) for node in graph.params if node.weights is not None}


def values(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_a_product_of_the_last_axis_has_pytorchs_matrix():
    graph, x = build(lambda x: cc.linear(x, 4, name="mix")), values(2, 5, 6)
    y, own = ran(graph, x)
    assert {name: array.shape for name, array in own.items()} == {"mix.w": (4, 6), "mix.b": (4,)}
    np.testing.assert_allclose(y, x @ own["mix.w"].T + own["mix.b"], rtol=1e-12)
    y, own = ran(build(lambda x: cc.linear(x, 4, bias=False)), x)
    np.testing.assert_allclose(y, x @ own["linear1.w"].T, rtol=1e-12)


def test_matrices_are_shared_by_name():
    graph = build(lambda x: cc.linear(cc.linear(x, 6, weights="both"), 6, weights="both"))
    assert [node.name for node in graph.params] == ["both.w", "both.b"]


def test_a_factor_for_each_channel():
    graph, x = build(lambda x: cc.layer_scale(x, name="gamma"), x="N,3,4,5"), values(2, 3, 4, 5)
    y, own = ran(graph, x)
    assert own["gamma.scale"].shape == (3, 1, 1)
    np.testing.assert_allclose(y, x * own["gamma.scale"], rtol=1e-12)


def test_a_token_before_the_others_and_a_row_for_each_place():
    graph, x = build(lambda x: cc.position_embedding(cc.class_token(x, name="class"), name="places")), values(2, 5, 6)
    assert str(graph.outputs[0].type) == "f32[N,6,6]"
    y, own = ran(graph, x)
    rows = np.concatenate([np.broadcast_to(own["class.token"], (2, 1, 6)), x], 1)
    np.testing.assert_allclose(y, rows + own["places.places"], rtol=1e-12)


def test_pixels_are_tokens_row_by_row():
    x = values(2, 3, 4, 5)
    np.testing.assert_array_equal(ran(build(cc.tokens, x="N,3,4,5"), x)[0], x.reshape(2, 3, 20).transpose(0, 2, 1))
    np.testing.assert_array_equal(ran(build(cc.tokens, x="N,3,H,5"), x)[0], x.reshape(2, 3, 20).transpose(0, 2, 1))


def test_attention_is_the_papers():
    """Of one image and one head at a time."""
    x = values(2, 5, 6)
    y, own = ran(build(lambda x: cc.self_attention(x, 2, name="gather")), x)
    wanted = np.empty((2, 5, 6))
    for n in range(2):
        q, k, v = np.split(x[n] @ own["gather.qkv.w"].T + own["gather.qkv.b"], 3, axis=1)
        for head in (slice(0, 3), slice(3, 6)):
            scores = np.exp(q[:, head] @ k[:, head].T / math.sqrt(3))
            wanted[n][:, head] = scores / scores.sum(1, keepdims=True) @ v[:, head]
    np.testing.assert_allclose(y, wanted @ own["gather.out.w"].T + own["gather.out.b"], rtol=1e-6)  # 1/sqrt(3) is a float32


def test_two_attentions_have_parameters_of_their_own():
    graph = build(lambda x: cc.self_attention(cc.self_attention(x, 1), 3))
    assert [name for name in graph.by_name if name.endswith("qkv.w")] == ["attention1.qkv.w", "attention2.qkv.w"]


@pytest.mark.parametrize(
    ("layer", "x", "why"),
    [
        (lambda x: cc.self_attention(x, 4), "N,5,6", "6 features do not divide into 4 heads"),
        (lambda x: cc.self_attention(x, 0), "N,5,6", "6 features do not divide into 0 heads"),
        (lambda x: cc.self_attention(x, 2), "N,5,6,1", r"is f32\[N,5,6,1\]; tokens are \[N,T,C\], T and C in numbers"),
        (lambda x: cc.class_token(x), "N,5", r"tokens are \[N,T,C\]"),
        (lambda x: cc.position_embedding(x), "N,T,6", r"is f32\[N,T,6\]; tokens are \[N,T,C\], T and C in numbers"),
        (lambda x: cc.linear(x, 4), "N,5,C", r"is f32\[N,5,C\]; a number of features is needed on the last axis"),
        (lambda x: cc.linear(x, 0), "N,5,6", "features is 0, expected a whole number of at least 1"),
        (lambda x: cc.layer_scale(x), "N,C,6", "a number of channels is needed on axis 1"),
        (lambda x: cc.tokens(x), "N,C,6,6", "a number of channels is needed on axis 1"),
    ],
)
def test_refusals_name_the_line(layer, x: str, why: str):
    with pytest.raises(ShapeError, match=rf"test_transformer\.py:\d+.*{why}"):
        build(layer, x)
