"""What is folded stays within the range of its type, and nothing is drawn to tell."""

from __future__ import annotations

import numpy as np
import pytest

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.files.weights import bind_weights
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.ir.weights import Recipe, Weights
from convc.passes.manager import Step, run_passes
from convc.tests.support.graphs import typed_graph


def scaled(w: Array, gain: Array) -> tuple[Graph, list[str]]:
    """dense(x, w) times a gain, folded where it may be, and why it was not."""
    return folded(bind_weights(with_gain("given"), {"w": w, "g": gain}, "test"))


def with_gain(init: str) -> Graph:
    return typed_graph(f"""graph @g(%x: f32[N,4]) {{
  %w = param {{init={init}}} : f32[3,4]
  %c = dense(%x, %w)
  %g = param {{init={"given" if init == "given" else "full, value=1e+30"}}} : f32[3]
  %y = mul(%c, %g)
  return %y
}}""")


def folded(graph: Graph) -> tuple[Graph, list[str]]:
    after, trace = run_passes(graph, [Step("fold-affine", "test")], ONNXRUNTIME.prices)
    return after, [decline.why for stage in trace for decline in stage.declined]


WEIGHTS = np.array([[1e20] * 4, [1.0] * 4, [1e-20] * 4], np.float32)


def test_one_channel_beyond_the_range_is_enough():
    after, why = scaled(WEIGHTS, np.array([1e25, 1, 1], np.float32))
    assert [node.kind.name for node in after.ops] == ["dense", "mul"]
    assert why == ["%w and %g make weights beyond the range of f32"]


def test_each_channel_has_its_own_gain():
    """The largest weight times the largest gain would be beyond it."""
    after, why = scaled(WEIGHTS, np.array([1e-20, 1, 1e25], np.float32))
    assert ([node.kind.name for node in after.ops], why) == (["dense"], [])
    (w,) = after.params
    assert w.weights is not None
    assert np.isfinite(w.weights.array()).all()


def test_what_is_no_number_already_is_folded():
    w = WEIGHTS.copy()
    w[0, 0] = np.inf
    assert [node.kind.name for node in scaled(w, np.array([1e25, 1, 1], np.float32))[0].ops] == ["dense"]


def test_what_nobody_has_given_yet_is_folded_unseen():
    """Two factors make one that is derived of them; a third product would have to look at it."""
    text = """graph @g(%x: f32[N,4]) {
  %w = param {init=given} : f32[3,4]
  %c = dense(%x, %w)
  %s = param {init=given} : f32[3]
  %y = mul(%c, %s)
  %t = param {init=given} : f32[3]
  %z = mul(%y, %t)
  return %z
}"""
    steps = [Step("canonicalize", "test"), Step("fold-affine", "test")]
    after, _ = run_passes(typed_graph(text), steps, ONNXRUNTIME.prices)
    assert [node.kind.name for node in after.ops] == ["dense"]


def test_nothing_is_drawn_for_it():
    after, _ = folded(with_gain("he"))
    (w,) = after.params
    assert [node.kind.name for node in after.ops] == ["dense"]
    assert w.weights is not None
    assert w.weights.largest == pytest.approx(1e32)
    assert not w.weights._made


@pytest.mark.parametrize("init", ["he", "he_uniform", "xavier", "around_one", "small", "tenth", "zeros", "ones", "full"])
def test_bounds_hold_of_what_is_drawn(init: str):
    type_ = typed_graph("graph @g(%x: f32[4000,1]) { return %x }").inputs[0].typed
    weights = Weights(type_, Recipe(init, "key", value=-3.0))
    assert abs(weights.drawn()).max() <= weights.largest
    assert Weights.of(weights.drawn(), "key").largest == abs(weights.drawn()).max()
