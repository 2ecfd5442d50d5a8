"""Looking back: a linear network's pass is its exact adjoint, a rectifier rectifies, switches are remembered; against NumPy, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.backends.reference import run
from convc.compiler.look.backward import DECONVNET, GRADIENT, GUIDED, looking_back
from convc.ir.errors import UsageError
from convc.tests.support.graphs import typed_graph

WAYS = [DECONVNET, GUIDED, GRADIENT]


@cc.network(image="N,2,13,11")
def linear(image):
    """All that is linear in classic networks: strides, pads, dilations and groups, norms, averages, two paths, a product."""
    x = cc.batch_norm(cc.conv(image, 6, 3, stride=2, pad=(1, 0, 2, 1), bias=False))
    y = cc.conv(x, 6, 3, pad=2, dilation=2, groups=3, bias=False)
    x = cc.avg_pool(x + y, 2)
    return cc.dense(x, 5, bias=False)


@cc.network(image="N,1,8,8")
def pooled(image):
    return cc.max_pool(cc.relu(cc.conv(image, 3, 3, pad=1)), 2)


def back(graph, way, layer, unit, at, x, times_input=False):
    network = looking_back(graph, way, layer, unit, at, times_input=times_input)
    return list(run(network, {"image": x}, "f64").values())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize(("layer", "unit", "at"), [("conv1", 4, (3, 2)), ("conv2", 1, (0, 4)), ("fc1", 3, None)])
def test_of_a_linear_network_it_is_the_exact_adjoint(way, layer, unit, at):
    """<J v, s> = <v, J* s>: J v is a difference of two runs, which has no error but rounding, for the network is linear."""
    graph, draws = linear(), np.random.default_rng(0)
    x, v = (np.rint(64 * draws.standard_normal((2, 2, 2, 13, 11))) / 64).astype(np.float32)  # so that their sum is exact
    value, seen = back(graph, way, layer, unit, at, x)
    moved = back(graph, way, layer, unit, at, x + v)[0] - value
    sent = value if way.sends_value else np.ones_like(value)
    images = (0, 1)
    for n in images:
        assert np.sum(moved[n] * sent[n]) == pytest.approx(np.sum(v[n] * seen[n]), rel=1e-10, abs=1e-12)


def test_a_deconvnet_by_hand():
    """Zeiler & Fergus 2014: the strongest place of the pool goes to its switch, is rectified, and spreads the filter."""
    graph, draws = pooled(), np.random.default_rng(1)
    x = draws.standard_normal((1, 1, 8, 8)).astype(np.float32)
    got = {node.name: value for node, value in zip(graph.outputs, run(graph, {"image": x}, "f64").values(), strict=True)}["max_pool1"][0]
    unit = 2
    filters = graph.by_name["conv1.w"].weights.wide()
    value, seen = back(graph, DECONVNET, "max_pool1", unit, None, x)
    row, col = np.unravel_index(got[unit].argmax(), got[unit].shape)
    assert value.max() == got[unit].max() > 0
    inner = run(cc.Graph.of("g", graph.inputs, [graph.by_name["relu1"]], graph.nodes), {"image": x}, "f64")["relu1"][0, unit]
    window = inner[2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
    above, beside = np.unravel_index(window.argmax(), (2, 2))
    spread = np.zeros((10, 10))
    top, left = 2 * row + above, 2 * col + beside
    spread[top : top + 3, left : left + 3] = window.max() * filters[unit, 0]
    np.testing.assert_allclose(seen[0, 0], spread[1:-1, 1:-1], rtol=1e-12, atol=1e-15)


@cc.network(image="N,2,9,9")
def overlapping(image):
    """A pool whose windows overlap: one pixel is the greatest of several, so that strongest places are equal."""
    return cc.max_pool(cc.relu(cc.conv(image, 3, 3, pad=1)), 3, stride=1)


@pytest.mark.parametrize("sizes", ["9,9", "H,W"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_of_equal_places_the_first_goes_back(way, sizes):
    graph = overlapping(image=f"N,2,{sizes}")
    x = np.random.default_rng(4).standard_normal((2, 2, 9, 9)).astype(np.float32)
    value, seen = back(graph, way, "max_pool1", 1, None, x)
    for n in (0, 1):
        assert np.count_nonzero(value[n, 0] == value[n].max()) > 1
        at = np.unravel_index(value[n, 0].argmax(), value[n, 0].shape)
        _, alone = back(overlapping(), way, "max_pool1", 1, tuple(map(int, at)), x[n : n + 1])
        assert alone.any()
        np.testing.assert_array_equal(seen[n : n + 1], alone)


@cc.network(image="N,1,4,4")
def two_rectifiers(image):
    return cc.conv(cc.relu(cc.conv(image, 2, 1, bias=False)), 1, 1, bias=False)


def test_what_goes_back_through_a_rectifier_differs_in_the_three():
    graph = two_rectifiers()
    x = np.random.default_rng(2).standard_normal((1, 1, 4, 4)).astype(np.float32)
    a, b = (graph.by_name[name].weights.wide().ravel() for name in ("conv1.w", "conv2.w"))
    at = (1, 2)
    forth = a * x[0, 0, 1, 2]
    expected = {
        "gradient": (a * b * (forth > 0)).sum(),
        "guided": (a * np.maximum(b, 0) * (forth > 0)).sum(),
        "deconvnet": (a * np.maximum(b * (b * np.maximum(forth, 0)).sum(), 0)).sum(),
    }
    for way in WAYS:
        _, seen = back(graph, way, "conv2", 0, at, x)
        assert seen[0, 0, 1, 2] == pytest.approx(expected[way.name], abs=1e-12)
        assert np.count_nonzero(seen) <= 1


@pytest.mark.parametrize("kind", ["relu", "clip", "leaky_relu", "prelu", "elu", "selu", "gelu", "hard_swish", "mish"])
@pytest.mark.parametrize("way", [DECONVNET, GUIDED], ids=lambda way: way.name)
def test_every_rectifier_stops_what_comes_back_below_zero(way, kind):
    """Though what went forth was positive, and the rectifier's own slope is not 0 there."""
    more = {"clip": " {min=0.0, max=6.0}", "prelu": ""}.get(kind, "")
    graph = typed_graph(f"""graph @g(%image: f32[1,1,1,1]) {{
      %a = param {{init=full, value=0.25}} : f32[1]
      %three = param {{init=full, value=3.0}} : f32[]
      %r = {kind}(%image{", %a" if kind == "prelu" else ""}){more}
      %falls = sub(%three, %r)
      %rises = add(%three, %r)
      return %falls, %rises
    }}""")
    x = np.full((1, 1, 1, 1), 1.5, np.float32)
    assert back(graph, GRADIENT, "falls", 0, None, x)[1].item() < 0
    assert back(graph, way, "falls", 0, None, x)[1].item() == 0
    assert back(graph, way, "rises", 0, None, x)[1].item() > 0


def test_windows_overlap_by_what_their_dilation_reaches():
    """A kernel of 2 by a stride of 2 overlaps where its taps are 2 apart, and what two windows send to one pixel is added up."""
    graph = typed_graph("""graph @g(%image: f32[1,1,1,5]) {
      %p = max_pool(%image) {kernel=[1,2], strides=[1,2], dilations=[1,2]}
      %m = reduce_mean(%p) {axes=[2,3], keepdims=true}
      return %m
    }""")
    x = np.array([[[[0, 0, 1, 0, 0]]]], np.float32)
    value, seen = back(graph, DECONVNET, "m", 0, None, x)
    assert value.item() == 1
    np.testing.assert_array_equal(seen[0, 0, 0], [0, 0, 1, 0, 0])


def test_gradient_times_input_of_a_class_sums_to_its_score_without_biases():
    """Of a network that is linear in pieces and has no bias the sum is the score itself: Euler's theorem."""
    graph = two_rectifiers()
    x = np.random.default_rng(3).standard_normal((1, 1, 4, 4)).astype(np.float32)
    value, seen = back(graph, GRADIENT, "conv2", 0, (2, 2), x, times_input=True)
    assert seen.sum() == pytest.approx(value.item(), rel=1e-12)


def test_it_is_a_graph_that_prints_and_reads_back():
    text = cc.print_graph(cc.deconvnet(pooled(), "max_pool1", 1))
    assert "max_unpool" in text
    assert "max_pool_indices" in text
    assert cc.print_graph(cc.parse_graph(text)) == text


def test_windows_that_overlap_add_up_what_they_send_to_one_place():
    @cc.network(image="N,1,5,5")
    def overlapping(image):
        return cc.conv(cc.max_pool(image, 3, stride=1), 1, 3, bias=False)

    graph = overlapping()
    x = np.zeros((1, 1, 5, 5), np.float32)
    x[0, 0, 2, 2] = 1  # the greatest of all nine windows
    value, seen = back(graph, DECONVNET, "conv1", 0, (0, 0), x)
    assert seen[0, 0, 2, 2] == pytest.approx(value.item() * graph.by_name["conv1.w"].weights.wide().sum())


@pytest.mark.parametrize(
    ("layer", "unit", "at", "said"),
    [
        ("relu", 0, None, "no layer 'relu'; did you mean relu1"),
        ("conv1.w", 0, None, "%conv1.w is a parameter of @pooled, and no layer"),
        ("conv1", 3, None, "%conv1 has no unit 3; its 3 units are 0 to 2"),
        ("conv1", -1, None, "%conv1 has no unit -1"),
        ("conv1", 0, (8, 0), "%conv1 has no row 8; it has 8, 0 to 7"),
        ("conv1", 0, (0, -1), "%conv1 has no column -1"),
        ("conv1", 0, (1,), "a place in it is 2 numbers"),
    ],
)
def test_what_does_not_exist_is_refused(layer, unit, at, said):
    with pytest.raises(UsageError) as refused:
        cc.deconvnet(pooled(), layer, unit, at)
    assert said in str(refused.value)
