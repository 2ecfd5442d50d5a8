"""An empty batch gives an empty result in every engine, whether the batch has a name or the network has it in numbers."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.backends import reference
from convc.compiler.checking.verify import verify
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.table import ENGINES
from convc.ir.binding import specialize
from convc.ir.errors import ConvcError, UnsupportedOp
from convc.ir.graph import Graph
from convc.tests.support.graphs import typed_graph

NET = """graph @net(%x: f32[N,4,9,8]) {
    %w = param : f32[6,4,3,3]
    %b = param {init=small} : f32[6]
    %k = param : f32[6,3,2,2]
    %s = param : f32[3]
    %v = param : f32[12,10]
    %c = conv2d(%x, %w, %b) {strides=[2,1], pads=[1,1,1,1]}
    %r = relu(%c)
    %m = max_pool(%r) {kernel=[2,2], strides=[2,2]}
    %t = conv_transpose2d(%m, %k) {strides=[2,2]}
    %n = instance_norm(%t, %s, %s)
    %a = global_avg_pool(%n)
    %f = flatten(%n)
    %part = slice(%f) {axes=[1], starts=[0], ends=[12]}
    %d = matmul(%part, %v)
    %y = softmax(%d)
    return %y, %n, %a
}"""
SUMS = "graph @g(%x: f32[N,3], %z: f32[N,4]) { %y = reduce_sum(%x) {axes=[0]} %p = reduce_prod(%x) {axes=[0]} return %y, %p }"
INNER = "graph @g(%x: f32[N,3], %z: f32[N,4]) { %t = transpose(%x) {perm=[1,0]} %y = matmul(%t, %z) return %y }"


def nothing(graph: Graph) -> dict[str, np.ndarray]:
    return {node.name: np.empty((0, *node.typed.shape[1:]), np.float32) for node in graph.inputs}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("is_named", [True, False])
def test_an_empty_batch(engine, level, is_named):
    graph = typed_graph(NET) if is_named else specialize(typed_graph(NET), {"N": 0})
    better, _ = optimize(graph, level)
    run = ENGINES[engine].start(better, 1)
    got = run(nothing(graph))
    assert {name: (value.shape, value.dtype) for name, value in got.items()} == {
        name: (value.shape, value.dtype) for name, value in reference.run(graph, nothing(graph)).items()
    }
    assert got["y"].shape == (0, 10)
    if is_named:  # and the next one is as usual
        assert run({"x": np.ones((2, 4, 9, 8), np.float32)})["y"].shape == (2, 10)
    assert all(line.agrees for line in verify(graph, better, nothing(graph)))


def test_a_module_takes_one():
    module = cc.compile(typed_graph(NET))
    assert module(np.empty((0, 4, 9, 8), np.float32))["y"].shape == (0, 10)
    assert module(np.empty((0, 4, 9, 8)))["n"].shape == (0, 3, 4, 8)


@pytest.mark.parametrize("engine", ENGINES)
def test_reductions_of_nothing(engine):
    graph = specialize(typed_graph(SUMS), {"N": 0})
    got = ENGINES[engine].start(graph, 1)(nothing(graph))
    assert np.array_equal(got["y"], np.zeros((1, 3)))
    assert np.array_equal(got["p"], np.ones((1, 3)))


@pytest.mark.parametrize("text", [SUMS, INNER])
def test_sums_over_a_size_that_turns_out_to_be_nothing(text):
    """TVM leaves their results unwritten, so it refuses, and the others do not."""
    graph = typed_graph(text)
    for name in ("reference", "onnx"):
        assert (ENGINES[name].start(graph, 1)(nothing(graph))["y"] == 0).all()
    run = ENGINES["tvm"].start(graph, 1)
    with pytest.raises(UnsupportedOp, match=r"%y = (matmul|reduce_sum) reads f32\[.*\] of no elements, which TVM cannot"):
        run(nothing(graph))


def test_a_product_that_sums_over_nothing_is_not_built():
    with pytest.raises(UnsupportedOp, match="of no elements, which TVM cannot"):
        ENGINES["tvm"].start(specialize(typed_graph(INNER), {"N": 0}), 1)


@pytest.mark.parametrize(
    "body",
    [
        "%w = param : f32[3,0,3,3] %b = param : f32[3] %y = conv2d(%a, %w, %b)",
        "%w = param : f32[0,4,3,3] %y = conv2d(%x, %w)",
        "%w = param : f32[0,3,3,3] %y = conv_transpose2d(%a, %w)",
        "%f = flatten(%a) %w = param : f32[5,0] %y = dense(%f, %w)",
        "%e = slice(%x) {axes=[2], starts=[5], ends=[5]} %w = param : f32[3,4,1,1] "
        "%o = param : f32[2,2,2,5] %y = deform_conv2d(%e, %w, %o) {pads=[1,0,1,0]}",
        "%t = transpose(%a) {perm=[0,2,1,3]} %u = transpose(%a) {perm=[0,2,3,1]} %y = matmul(%u, %t)",
    ],
)
def test_channels_of_nothing(body):
    graph = typed_graph(f"graph @g(%x: f32[2,4,5,5]) {{ %a = slice(%x) {{axes=[1], starts=[0], ends=[0]}} {body} return %y }}")
    with pytest.raises(UnsupportedOp, match="of no elements, which TVM cannot"):
        ENGINES["tvm"].start(graph, 1)


def test_rows_that_a_size_leaves_none_of():
    """TVM reads outside of them, and the size is known when a run says it."""
    graph = typed_graph(
        "graph @g(%x: f32[N,2,H,3]) { %w = param : f32[3,2,1,1] %r = slice(%x) {axes=[2], starts=[4], ends=[2147483647]} "
        "%y = conv2d(%r, %w) {pads=[1,0,1,0]} return %y }"
    )
    run = ENGINES["tvm"].start(graph, 1)
    assert run({"x": np.ones((1, 2, 6, 3), np.float32)})["y"].shape == (1, 3, 4, 3)
    with pytest.raises(UnsupportedOp, match=r"%y = conv2d reads f32\[1,2,0,3\] of no elements, which TVM cannot"):
        run({"x": np.ones((1, 2, 4, 3), np.float32)})


def test_an_input_that_may_not_be_empty_is_refused_in_one_sentence():
    graph = typed_graph("graph @g(%x: f32[N,3,4,5]) { %y = arg_max(%x) {axis=0} return %y }")
    for engine in ENGINES.values():
        with pytest.raises(ConvcError, match=r"does not work with N=0: %y = arg_max: .* axis 0 has no elements"):
            engine.start(graph, 1)(nothing(graph))


def test_a_batch_that_is_too_small_for_an_op_is_refused_in_one_sentence():
    """TVM would read beyond the one image, and give numbers."""
    graph = typed_graph("graph @g(%x: f32[N,6]) { %t = top_k_values(%x) {k=2, axis=0} return %t }")
    for engine in ENGINES.values():
        run = engine.start(graph, 1)
        assert run({"x": np.ones((2, 6), np.float32)})["t"].shape == (2, 6)
        with pytest.raises(ConvcError, match=r"does not work with N=1: %t = top_k_values: k is 2, expected 1 to 1"):
            run({"x": np.ones((1, 6), np.float32)})
