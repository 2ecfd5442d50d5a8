"""Sums of many floats: in parts, so that they round as few do, to the same bits on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.engines.tvm import tvm_engine
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph

SUMS = """graph @sums(%x: f32[N,2,111,300], %y: f32[200003], %z: f32[700,3,30]) {
  %a = reduce_sum(%x) {axes=[1,2,3]}
  %b = reduce_mean(%x) {axes=[2,3], keepdims=false}
  %c = reduce_sum(%x) {keepdims=false}
  %d = reduce_sum(%y) {keepdims=false}
  %e = reduce_mean(%y)
  %f = reduce_sum(%z) {axes=[0,2], keepdims=false}
  %g = reduce_mean(%z) {axes=[0]}
  %h = reduce_mean(%z) {axes=[0,2]}
  return %a, %b, %c, %d, %e, %f, %g, %h
}
"""


@pytest.mark.parametrize("images", [1, 3])
def test_long_sums_round_as_short_ones(images: int) -> None:
    """Of one value again and again, every addition in turn would round to the same side."""
    graph, shapes = typed_graph(SUMS), {"x": (images, 2, 111, 300), "y": (200003,), "z": (700, 3, 30)}
    inputs: dict[str, Array] = {name: np.full(shape, 0.1, np.float32) for name, shape in shapes.items()}
    exact = reference.run(graph, inputs, "f64")
    made = [tvm_engine().start(graph, threads)(inputs) for threads in (1, 2)]
    for name, wanted in exact.items():
        assert made[0][name].shape == wanted.shape
        assert (abs(made[0][name] - wanted) < 2e-6 * wanted).all(), name
        assert np.array_equal(made[0][name], made[1][name])
