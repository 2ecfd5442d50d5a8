"""What a training begins with, and its loss where a score is infinite."""

import numpy as np
import pytest

import convc as cc
from convc.backends.reference import run
from convc.compiler.training.initial import initial_values
from convc.compiler.training.step import step_of
from convc.ir.errors import UsageError

RECTIFIED = """graph @rectified(%x: f32[N,3,4,4]) {
  %slope = param {init=tenth} : f32[3,1,1]
  %scale = param : f32[3,4,4]
  %shift = param : f32[3,4,4]
  %p = prelu(%x, %slope) : f32[N,3,4,4]
  %n = layer_norm(%p, %scale, %shift) {axis=1} : f32[N,3,4,4]
  return %n
}"""


@pytest.mark.parametrize("init", [None, "he", "xavier_uniform"])
def test_norms_of_any_rank_begin_as_the_identity_and_a_prelu_at_a_quarter(init):
    values = initial_values(cc.parse_graph(RECTIFIED), init)
    of = {name: set(value.ravel().tolist()) for name, value in values.items()}
    assert of == {"slope": {0.25}, "scale": {1.0}, "shift": {0.0}}


def test_an_impossible_class_costs_nothing_unless_it_is_the_label():
    net = cc.parse_graph(
        "graph @g(%x: f32[N,3]) { %w = param {init=ones} : f32[3] %z = add(%x, %w) : f32[N,3] %p = softmax(%z) : f32[N,3] return %p }"
    )
    made = step_of(net, optimizer=cc.sgd(momentum=0, weight_decay=0))
    feed = {"x": np.array([[1, -np.inf, 2]], "f4"), "label": np.array([0]), "w": np.zeros(3, "f4"), "learning_rate": np.array(1, "f4")}
    got = run(made.graph, feed, "f64")
    assert got["loss"] == pytest.approx(np.log1p(np.e))
    share = np.e / (1 + np.e)
    assert got["w.next"] == pytest.approx([share, 0, -share])


def test_what_a_loss_has_no_use_for_is_refused():
    with pytest.raises(UsageError, match=r"label_smoothing is 0.1, and mean_squared has numbers for labels"):
        step_of(cc.parse_graph(RECTIFIED), "mean_squared", label_smoothing=0.1)
