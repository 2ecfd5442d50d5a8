"""The predicted rounding noise against the errors that float32 engines really make, on every zoo network."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.checking.units import UNIT
from convc.compiler.engines.table import ENGINES
from convc.compiler.files.inputs import random_inputs
from convc.tests.support.graphs import typed_graph
from convc.tests.support.noise_ratio import predicted_over_seen
from convc.tests.support.tiers import EACH_NETWORK, small


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_predicted_over_seen_is_within_a_factor_of_4(name):
    """TVM, which has a noise of its own, is held to it in test_engines.py, where it is compiled."""
    graph = small(name)
    ratio = predicted_over_seen(graph, [ENGINES["onnx"].start(graph, 1), ENGINES["reference"].start(graph, 1)])
    assert 1 / 4 <= ratio <= 4, f"predicted over seen is {ratio:.2f}"


NORMS = """graph @style(%x: f32[1,3,128,128]) {{
    %w = param : f32[8,3,3,3] %g = param : f32[8] %b = param {{init=small}} : f32[8] %v = param : f32[3,8,3,3]
    %h = param : f32[3] %o = param {{init=zeros}} : f32[3] %far = param {{init=full, value=2.0}} : f32[] %p = param : f32[128]
    %c = conv2d(%x, %w) {{pads=[1,1,1,1]}} %m = add(%c, %far) %n = instance_norm(%m, %g, %b) {{epsilon={epsilon}}} %r = relu(%n)
    %d = conv2d(%r, %v) {{pads=[1,1,1,1]}} %e = group_norm(%d, %h, %o) {{groups=1}} %y = layer_norm(%e, %p) return %y }}"""


def test_statistics_of_many_values_are_off_for_all_of_them_at_once():
    """Engines add in turn or in blocks, so that one may be ten times another; a wrong epsilon is far beyond both."""
    graph, wrong = (typed_graph(NORMS.format(epsilon=epsilon)) for epsilon in (1e-5, 1.1e-3))
    inputs = random_inputs(graph)
    oracle = Oracle.of(graph, inputs)
    for name, engine in ENGINES.items():
        (line,) = compare(name, oracle, engine.start(graph, 1)(inputs))
        assert 1e-3 < line.worst < 0.5, str(line)
    (line,) = compare("wrong", oracle, reference.run(wrong, inputs, "f64"))
    assert line.worst > 2, str(line)


@pytest.mark.parametrize(("axes", "most"), [("[1]", 40), ("[0, 1]", 130), ("[0]", 30)])
def test_what_is_summed_where_it_lies_together_is_not_added_in_turn(axes, most):
    """In units of the last place: 65,536 floats in turn would be off by 86, and a million by 343."""
    graph = typed_graph(f"graph @mean(%x: f32[16,65536]) {{ %y = reduce_mean(%x) {{axes={axes}, keepdims=false}} return %y }}")
    inputs = {"x": np.random.default_rng(0).uniform(0, 1, (16, 65536)).astype(np.float32)}
    oracle = Oracle.of(graph, inputs)
    assert 0.5 < oracle.noise / UNIT["f32"] < most
    for name in ("onnx", "reference", "tvm"):
        (line,) = compare(name, oracle, ENGINES[name].start(graph, 1)(inputs))
        assert line.worst < 0.5, str(line)


def test_what_float16_has_no_digits_for_is_noise() -> None:
    """Of results around 1e-7, between whose neighbours are 6e-8."""
    graph = typed_graph("graph @g(%x: f32[1000]) { %h = cast(%x) {to=f16} %n = neg(%h) %y = cast(%n) {to=f32} return %y }")
    inputs = {"x": np.linspace(1e-7, 2e-7, 1000, dtype=np.float32)}
    tolerance = Oracle.of(graph, inputs).tolerance["y"]
    assert tolerance.min() >= 2**-25
    assert tolerance.max() < 2**-18
