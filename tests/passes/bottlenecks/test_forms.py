"""Low-rank forms: what they cost, that full ranks are exact, and that truncation loses what the spectrum says."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.graph import Graph
from convc.passes.analysis.cost import graph_cost
from convc.passes.bottlenecks.forms import Split, insert, pieces, price, splittable_layers
from convc.passes.bottlenecks.spectrum import LayerWeights, Moments, factors_of, spectrum
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.graphs import typed_graph

CONV = """graph @g(%x: f32[N,6,9,8]) {{
  %w = param : f32[10,6,{k}]
  %b = param {{init=small}} : f32[10]
  %y = conv2d(%x, %w, %b) {{{op}}}
  return %y
}}"""
DENSE = """graph @g(%x: f32[N,12]) {
  %w = param : f32[5,12]
  %y = dense(%x, %w)
  return %y
}"""
LAYERS = {
    "3x3": CONV.format(k="3,3", op="pads=[1,1,1,1]"),
    "3x5 stride, dilation, uneven pads": CONV.format(k="3,5", op="strides=[2,1], pads=[1,0,2,3], dilations=[1,2]"),
    "1x1 stride": CONV.format(k="1,1", op="strides=[2,2]"),
    "dense": DENSE,
}
FULL = {"3x3": [("reduce", 6), ("expand", 10), ("both", 6, 10)], "1x1 stride": [("factors", 6)], "dense": [("factors", 5)]}
FULL["3x5 stride, dilation, uneven pads"] = FULL["3x3"]
CASES = [(name, Split(form, tuple(ranks))) for name, splits in FULL.items() for form, *ranks in splits]


def known(text):
    graph = typed_graph(text)
    (layer,) = splittable_layers(graph, {"N": 1})
    return graph, layer, LayerWeights.of(layer)


def split_up(graph, layer, weights, found, split):
    return insert(
        graph, {layer.name: factors_of(weights, found, split, layer.kernel, layer.node.typed.rank == 2)}, Ledger(ONNXRUNTIME.prices)
    )


def images(graph, count, seed=0):
    """Correlated values with a mean, as activations are."""
    shape = (count, *graph.inputs[0].typed.shape[1:])
    draws = np.random.default_rng(seed)
    values = draws.standard_normal(shape) + draws.standard_normal((count, *[1] * (len(shape) - 1))) + 0.5
    return np.maximum(values, 0).astype(np.float32)


def moments_of(graph, layer, weights, x):
    """Over every patch: the patches are what a conv with unit filters gives."""
    m = Moments.none(layer, weights)
    if layer.node.kind.name == "dense":
        m.add(x[:, :, None], weights)
        return m
    width = layer.c_in * layer.taps
    picks = np.eye(width, dtype=np.float32).reshape(width, layer.c_in, *layer.kernel)
    patches = layer.node.kind.meaning(layer.node.op, x, picks)
    m.add(np.ascontiguousarray(np.moveaxis(patches, 1, -1)).reshape(-1, layer.c_in, layer.taps), weights)
    return m


@pytest.mark.parametrize(("name", "split"), CASES, ids=[f"{name} {split}" for name, split in CASES])
def test_full_ranks_are_exact(name, split):
    graph, layer, weights = known(LAYERS[name])
    x = images(graph, 6)
    for folds in (None, (moments_of(graph, layer, weights, x[:3]), moments_of(graph, layer, weights, x[3:]))):
        found = spectrum(layer, weights, folds)
        whole = split_up(graph, layer, weights, found, split)
        wanted, got = (reference.run(g, {"x": x}, "f64")["y"] for g in (graph, whole))
        assert np.max(abs(got - wanted)) <= 2e-5 * np.max(abs(wanted))
        assert found.lost(split) <= 1e-6


@pytest.mark.parametrize(("name", "split"), CASES, ids=[f"{name} {split}" for name, split in CASES])
def test_a_price_is_the_cost_of_what_is_inserted(name, split):
    graph, layer, weights = known(LAYERS[name])
    found = spectrum(layer, weights, None)
    for halved in (None, split, Split(split.form, tuple(rank // 2 for rank in split.ranks))):
        made = graph if halved is None else split_up(graph, layer, weights, found, halved)
        cost, priced = graph_cost(made), price(layer, halved)
        assert (priced.macs, priced.params, priced.nbytes) == (cost.macs, cost.params, cost.bytes_moved)
        assert len(list(made.ops)) == len(pieces(layer, halved))


def test_the_last_product_keeps_name_and_type_and_says_where_it_came_from():
    graph, layer, weights = known(LAYERS["3x3"])
    made = split_up(graph, layer, weights, spectrum(layer, weights, None), Split("both", (2, 3)))
    assert [node.name for node in made.ops] == ["y.1", "y.2", "y"]
    assert made.outputs[0].type == graph.outputs[0].type
    assert {node.origin.made_from for node in made.ops} == {("y",)}


def test_a_closed_ledger_inserts_nothing():
    graph, layer, weights = known(DENSE)
    factors = factors_of(weights, spectrum(layer, weights, None), Split("factors", (2,)), (1, 1), True)
    assert insert(graph, {"y": factors}, Ledger(ONNXRUNTIME.prices, 0)) is graph


def truncation_error(graph: Graph, made: Graph, x) -> float:
    """As a share of the variance of the outputs, channel by channel."""
    wanted, got = (
        np.moveaxis(reference.run(g, {"x": x}, "f64")["y"], 1, 0).reshape(made.outputs[0].typed.shape[1], -1) for g in (graph, made)
    )
    return float(np.sum((got - wanted) ** 2) / np.sum((wanted - wanted.mean(axis=1, keepdims=True)) ** 2))


@pytest.mark.parametrize("name", ["3x3", "1x1 stride", "dense"])
def test_output_ranks_lose_what_the_spectrum_says_and_no_rank_loses_less(name):
    """On the inputs that it was fitted on, with so many samples that shrinking is nothing."""
    graph, layer, weights = known(LAYERS[name])
    x = images(graph, 4000 if name == "dense" else 200)
    m = moments_of(graph, layer, weights, x)
    found = spectrum(layer, weights, (m, m))
    form = "expand" if name == "3x3" else "factors"
    for rank in range(1, 5):
        error = truncation_error(graph, split_up(graph, layer, weights, found, Split(form, (rank,))), x)
        assert error == pytest.approx(found.lost_outputs[rank], rel=0.02)
        plain = truncation_error(graph, split_up(graph, layer, weights, spectrum(layer, weights, None), Split(form, (rank,))), x)
        assert error <= plain * 1.001


def test_input_ranks_lose_about_what_the_model_says():
    """Taps (x) channels is a model: within a half, on values that it does not describe exactly (edges are zero)."""
    graph, layer, weights = known(LAYERS["3x3"])
    x = images(graph, 200)
    m = moments_of(graph, layer, weights, x)
    found = spectrum(layer, weights, (m, m))
    for rank in range(1, 6):
        error = truncation_error(graph, split_up(graph, layer, weights, found, Split("reduce", (rank,))), x)
        assert error == pytest.approx(found.lost_inputs[rank], rel=0.5)


def test_two_projections_lose_at_most_the_sum():
    graph, layer, weights = known(LAYERS["3x3"])
    x = images(graph, 200)
    m = moments_of(graph, layer, weights, x)
    found = spectrum(layer, weights, (m, m))
    for split in (Split("both", (2, 4)), Split("both", (4, 2)), Split("both", (5, 7))):
        assert truncation_error(graph, split_up(graph, layer, weights, found, split), x) <= 1.5 * found.lost(split)


@pytest.mark.parametrize("folded", [False, True])
def test_losses_fall_with_every_rank(folded):
    for text in LAYERS.values():
        graph, layer, weights = known(text)
        x = images(graph, 20)
        folds = (moments_of(graph, layer, weights, x[:10]), moments_of(graph, layer, weights, x[10:])) if folded else None
        found = spectrum(layer, weights, folds)
        for lost in (found.lost_outputs, found.lost_inputs):
            assert np.all(np.diff(lost) <= 1e-12)


def test_layers_with_groups_or_computed_weights_have_no_forms():
    text = """graph @g(%x: f32[N,4,5,5], %v: f32[4,4,3,3]) {
  %w = param : f32[4,1,3,3]
  %a = conv2d(%x, %w) {groups=4}
  %b = conv2d(%x, %v)
  return %a, %b
}"""
    assert splittable_layers(typed_graph(text), {"N": 1}) == []
