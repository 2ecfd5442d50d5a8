"""Gradients where a formula divides by 0 or takes a power of it, and of statistics that a batch norm was not made with; by hand, in float64."""

import numpy as np
import pytest

from convc.backends.reference import run
from convc.ir.parser import parse_graph
from convc.passes.differentiate import with_gradients


def gradients_of(body: str, **values):
    """Of the sum of %y by each value."""
    inputs = ", ".join(f"%{name}: {'i64' if v.dtype.kind == 'i' else 'f64'}{list(v.shape)}" for name, v in values.items())
    shape = body.rsplit(" ", 1)[1]
    text = f"graph @g({inputs}) {{ {body} %loss = reduce_sum(%y) {{keepdims=false}} : f64[] return %loss, %y }}"
    assert shape.startswith("f64")
    leaves = [name for name, value in values.items() if value.dtype.kind == "f"]
    got = run(with_gradients(parse_graph(text), "loss", leaves), values, "f64")
    return {name: got[f"{name}.gradient"] for name in leaves}


def test_what_is_raised_to_0_does_not_move():
    got = gradients_of("%y = pow(%x, %n) : f64[4]", x=np.array([0.0, 0.0, 2.0, 0.0]), n=np.array([0.0, 2.0, 0.0, 1.0]))
    assert got["x"].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(("way", "x", "wanted"), [
    ("exclusive=false, reverse=false", [2.0, 0.0, 3.0, 5.0], [1, 2 + 6 + 30, 0, 0]),
    ("exclusive=true, reverse=false", [2.0, 0.0, 3.0, 5.0], [1, 2 + 6, 0, 0]),
    ("exclusive=false, reverse=true", [5.0, 3.0, 0.0, 2.0], [0, 0, 2 + 6 + 30, 1]),
    ("exclusive=false, reverse=false", [2.0, 0.0, 0.0, 5.0], [1, 2, 0, 0]),
    ("exclusive=false, reverse=false", [2.0, 3.0], [1 + 3, 2]),
])  # fmt: skip
def test_the_first_0_of_a_product_moves_what_would_be_without_it(way, x, wanted):
    got = gradients_of(f"%y = cum_prod(%x) {{axis=0, {way}}} : f64[{len(x)}]", x=np.array(x))
    assert got["x"].tolist() == wanted


def test_a_factor_of_0_moves_the_product_of_the_others():
    """Of one place each: a 0 and a 3 upon 5; two zeros upon 7; a 4 upon 0."""
    values = {"x": np.array([5.0, 7.0, 0.0]), "u": np.array([0.0, 3.0, 0.0, 0.0, 4.0]), "i": np.array([0, 0, 1, 1, 2])}
    got = gradients_of('%y = scatter_elements(%x, %i, %u) {axis=0, reduction="mul"} : f64[3]', **values)
    assert (got["x"].tolist(), got["u"].tolist()) == ([0, 0, 4], [15, 0, 0, 0, 0])
    values["i"] = values["i"][:, None]
    got = gradients_of('%y = scatter_nd(%x, %i, %u) {reduction="mul"} : f64[3]', **values)
    assert (got["x"].tolist(), got["u"].tolist()) == ([0, 0, 4], [15, 0, 0, 0, 0])


NORMED = """%m = reduce_mean(%x) {axes=[0,2], keepdims=false} : f64[3]
%r = reshape(%m) {shape=[SHAPE]} : f64[SHAPE]
%o = sub(%x, %r) : f64[2,3,3]
%q = mul(%o, %o) : f64[2,3,3]
%v = reduce_mean(%q) {axes=[0,2], keepdims=false} : f64[3]
%b = batch_norm(%x, %s, %h, %m, %v) : f64[2,3,3]
%c = mul(%b, %b) : f64[2,3,3]
%z = mul(%c, %b) : f64[2,3,3]
%k = reshape(%m) {shape=[1,3,1]} : f64[1,3,1]
%y = mul(%z, %k) : f64[2,3,3]
%loss = reduce_sum(%y) {keepdims=false} : f64[]"""


@pytest.mark.parametrize("asked", [["x", "m"], ["x"]], ids=["the mean asked for", "the mean passed over"])
@pytest.mark.parametrize("shape", ["1,3,1", "3,1", "1,1,3"], ids=["its own mean", "its own, of two axes", "the mean along another axis"])
def test_a_batch_norms_statistics_are_values_as_any_others(shape, asked):
    """The mean is read elsewhere too, and its deviation may be taken along another axis of as many elements."""
    text = f"graph @g(%x: f64[2,3,3], %s: f64[3], %h: f64[3]) {{ {NORMED.replace('SHAPE', shape)} return %loss }}"
    graph, draws = parse_graph(text), np.random.default_rng(0)
    values = {"x": draws.standard_normal((2, 3, 3)), "s": draws.random(3) + 1, "h": draws.standard_normal(3)}
    got = run(with_gradients(graph, "loss", asked), values, "f64")
    way = draws.standard_normal((2, 3, 3))
    ends = [run(graph, values | {"x": values["x"] + by * way}, "f64")["loss"] for by in (1e-5, -1e-5)]
    assert (got["x.gradient"] * way).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)
    if "m" not in asked:
        return
    cut = parse_graph(
        text.replace("%m = reduce_mean(%x) {axes=[0,2], keepdims=false} : f64[3]\n", "").replace("%h: f64[3]", "%h: f64[3], %m: f64[3]")
    )
    values["m"], way = values["x"].mean((0, 2)), draws.standard_normal(3)
    ends = [run(cut, values | {"m": values["m"] + by * way}, "f64")["loss"] for by in (1e-5, -1e-5)]
    assert (got["m.gradient"] * way).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(("x", "g"), [((2, 0, 5, 5), (2, 4, 3, 3)), ((2, 2, 5, 5), (2, 0, 3, 3)), ((0, 2, 5, 5), (0, 4, 3, 3))])
def test_a_convolution_of_no_channels_filters_or_images_has_weight_gradients(x, g):
    text = f"graph @g(%x: f64{list(x)}, %g: f64{list(g)}) {{ %y = conv2d_weight_gradient(%x, %g) {{kernel=[3,3]}} : f64[{g[1]},{x[1]},3,3] return %y }}"
    got = run(parse_graph(text), {"x": np.ones(x), "g": np.ones(g)}, "f64")["y"]
    assert got.shape == (g[1], x[1], 3, 3)
    assert not got.any()
