"""Values of no elements: every op either makes what its type says of them, or its type rule refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.engines.table import ENGINES
from convc.ir.binding import specialize
from convc.ir.errors import InvalidInput, ShapeError
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph
from convc.tests.support.op_cases import CASES, text_of

CHOOSES = {
    "pad",
    "reduce_mean",
    "half",
    "places",
    "moments",
    "roi_align",
}  # some output reduces the batch, or repeats its edge


@pytest.mark.parametrize("case", CASES)
def test_an_empty_batch(case):
    graph = typed_graph(text_of(case))
    if "N" not in graph.symbols:
        return
    sizes = {name: 0 if name == "N" else 6 for name in graph.symbols}
    inputs = normal_inputs(graph, **sizes)
    if case in CHOOSES:
        with pytest.raises(InvalidInput, match=r"the network does not work with N=0: .*(has no elements|has none)"):
            reference.run(graph, inputs)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = reference.run(graph, inputs)
    for node in specialize(graph, sizes).outputs:
        assert got[node.name].shape == node.typed.shape, node.where


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("%y = reduce_mean(%x) {axes=[0]}", "axis 0 has no elements to choose from"),
        ("%y = arg_min(%x)", "axis 0 has no elements to choose from"),
        ("%t = transpose(%x) {perm=[1,2,0,3]} %y = global_max_pool(%t)", "axis 2 has no elements to choose from"),
        ("%t = transpose(%x) {perm=[1,2,0,3]} %y = global_avg_pool(%t)", "axis 2 has no elements to choose from"),
        ("%t = transpose(%x) {perm=[1,2,0,3]} %y = resize(%t) {sizes=[2,2]}", "axis 2 has no elements to choose from"),
        ("%i = param {init=zeros} : i64[1] %y = gather(%x, %i) {axis=0}", "axis 0 has no elements to choose from"),
        ("%y = pad(%x) {pads=[1,0,0,0,0,0,0,0], mode=edge}", "edge pads 1 and 0 repeat an element of axis 0, which has none"),
        ("%y = pad(%x) {pads=[0,0,0,0,1,0,0,0], mode=reflect}", "reflect pads 0 and 1 reach the size 0 of axis 0"),
    ],
)
def test_what_nothing_cannot_give(body, complaint):
    with pytest.raises(ShapeError, match=complaint):
        typed_graph(f"graph @g(%x: f32[0,3,4,5]) {{ {body} return %y }}")


def test_what_nothing_gives():
    graph = typed_graph("""graph @g(%x: f32[0,3,4,5]) {
        %rest = reshape(%x) {shape=[0,-1]}
        %sum = reduce_sum(%x) {axes=[0], keepdims=false}
        %prod = reduce_prod(%x) {axes=[0,1,2,3], keepdims=false}
        %max = reduce_max(%x) {axes=[2,0]}
        %min = reduce_min(%x)
        %small = cast(%x) {to=i8}
        %least = reduce_max(%small)
        %most = reduce_min(%small)
        %logs = reduce_log_sum_exp(%x) {axes=[0]}
        %soft = softmax(%x) {axis=0}
        %mirror = pad(%x) {pads=[0,0,1,1,0,0,2,2], mode=reflect}
        %edge = pad(%x) {pads=[0,0,1,1,0,0,2,2], mode=edge}
        %i = param {init=zeros} : i64[0]
        %none = gather(%x, %i) {axis=0}
        return %rest, %sum, %prod, %max, %min, %least, %most, %logs, %soft, %mirror, %edge, %none
    }""")
    got = reference.run(graph, {"x": np.empty((0, 3, 4, 5), np.float32)})
    shapes = {"rest": (0, 60), "soft": (0, 3, 4, 5), "mirror": (0, 3, 7, 8), "edge": (0, 3, 7, 8), "none": (0, 3, 4, 5)}
    assert {name: got[name].shape for name in shapes} == shapes
    assert np.array_equal(got["sum"], np.zeros((3, 4, 5)))
    assert got["prod"] == 1
    assert (got["max"] == -np.inf).all()
    assert got["max"].shape == (1, 3, 1, 5)
    assert [got[name].item() for name in ("min", "least", "most")] == [np.inf, -128, 127]
    assert (got["logs"] == -np.inf).all()


def test_what_tvm_and_onnxruntime_make_of_nothing():
    graph = typed_graph("""graph @g(%x: f32[2,0,4], %i: i32[2,0,4]) {
        %max = reduce_max(%x) {axes=[1]}
        %min = reduce_min(%x) {axes=[1,2], keepdims=false}
        %most = reduce_min(%i) {axes=[1]}
        %logs = reduce_log_sum_exp(%x) {axes=[1]}
        return %max, %min, %most, %logs
    }""")
    inputs = normal_inputs(graph)
    for engine in ("tvm", "onnx"):
        hold_to_reference(graph, ENGINES[engine].start(graph, None)(inputs), inputs)


def test_a_product_over_nothing_is_its_bias():
    graph = typed_graph("""graph @g(%x: f32[2,0,5,5]) {
        %w = param : f32[3,0,3,3]
        %v = param : f32[0,3,3,3]
        %b = param {init=ones} : f32[3]
        %none = param : f32[0,0,1,1]
        %y = conv2d(%x, %w, %b)
        %z = conv_transpose2d(%x, %v, %b)
        %n = conv2d(%x, %none)
        return %y, %z, %n
    }""")
    got = reference.run(graph, {"x": np.empty((2, 0, 5, 5), np.float32)})
    assert (got["y"] == 1).all()
    assert (got["z"] == 1).all()
    assert got["n"].shape == (2, 0, 5, 5)
