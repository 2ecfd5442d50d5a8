"""Whose fault it is: an engine's own optimizer, a NaN that nobody promised, or the network that was compiled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.compiler.checking.hold import Readied, hold
from convc.compiler.checking.oracle import Oracle
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.reference import REFERENCE
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph
from convc.ir.ops.elementwise import ADD, Add
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.onnx_files import model_of, written

# onnxruntime pads by -inf what says 0, and all that is below 0 comes out otherwise
PADDED = """graph @padded(%x: f32[1,2,8,8]) {
    %low = neg(%x) %small = exp(%low) %below = neg(%small)
    %p = pad(%below) {pads=[0,0,1,1,0,0,1,1]} %y = max_pool(%p) {kernel=[3,3], strides=[2,2]} return %y }"""


def lines_of(graph, run, plain, inputs):
    engine = replace(ONNXRUNTIME, plain=replace(REFERENCE, name="plain"))
    return hold("onnx", Readied(graph, engine, run, {}, lambda engine: plain), inputs, Oracle.of(graph, inputs))


def test_what_only_its_optimizer_gets_wrong_is_the_engines_fault():
    graph = typed_graph(PADDED)
    inputs, run = normal_inputs(graph), ONNXRUNTIME.start(graph, None)
    plain = ONNXRUNTIME.plain
    assert plain is not None
    (line,) = hold("onnx", Readied(graph, ONNXRUNTIME, run, {}, lambda engine: engine.start(graph, None)), inputs, Oracle.of(graph, inputs))
    assert line.agrees
    assert line.astray > 0.01
    assert "warning: that is with its optimizer off; with it on it is off by" in str(line)
    assert "it is at fault, and not this network" in str(line)
    (line,) = hold("onnx", Readied(graph, ONNXRUNTIME, run), inputs, Oracle.of(graph, inputs))
    assert not line.agrees, "nobody looked at it without"


def test_what_is_wrong_without_its_optimizer_too_is_wrong():
    graph = typed_graph(PADDED)
    inputs = normal_inputs(graph)

    def off(feed):
        return {"y": reference.run(graph, feed)["y"] + np.float32(1e-3)}

    (line,) = lines_of(graph, off, off, inputs)
    assert (line.agrees, line.astray, line.fault) == (False, 0.0, "")


@pytest.mark.parametrize(
    ("text", "is_free"),
    [
        ("%y = max_pool(%r) {kernel=[2,2], strides=[2,2]}", True),
        ("%m = reduce_max(%r) {axes=[3], keepdims=true} %y = add(%m, %m)", True),
        ("%y = relu(%r)", True),
        ("%y = avg_pool(%r) {kernel=[2,2], strides=[2,2]}", False),
        ("%y = add(%r, %r)", False),
    ],
)
def test_a_choice_among_numbers_and_nan_may_pass_over_the_nan(text, is_free):
    graph = typed_graph(f"graph @g(%x: f32[1,2,4,4]) {{ %r = sqrt(%x) {text} return %y }}")
    inputs = {"x": np.where(np.arange(32).reshape(1, 2, 4, 4) % 5 == 0, -1, 4).astype(np.float32)}
    exact = reference.run(graph, inputs)["y"]
    numbers = np.where(np.isnan(exact), 2, exact).astype(np.float32)
    wrong = np.where(np.isnan(exact), exact, exact + 1).astype(np.float32)
    oracle = Oracle.of(graph, inputs)
    for got, agrees in ((exact, True), (numbers, is_free), (wrong, False), (np.full_like(exact, np.nan), False)):
        (line,) = hold("it", Readied(graph, REFERENCE, lambda feed, got=got: {"y": got}), inputs, oracle)
        assert line.agrees is agrees, str(line)


def leaping(folder: Path) -> Graph:
    """By how much two roundings of one sum are apart, each once: no two engines agree even on how many that are."""
    draw = np.random.default_rng(0)
    w, g = draw.standard_normal((8, 3, 3, 3)).astype(np.float32), draw.random(8).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Conv", ["x", "v"], ["b"]),
        helper.make_node("Mul", ["b", "g"], ["c"]),
        helper.make_node("Sub", ["a", "c"], ["d"]),
        helper.make_node("Unique", ["d"], ["values"]),
        helper.make_node("ReduceSum", ["values"], ["y"], keepdims=0),
    ]
    constants = {"w": w, "v": w / g[:, None, None, None], "g": g[:, None, None]}
    return read_graph(written(folder, model_of(nodes, {"x": [1, 3, 12, 12]}, ["values", "y"], constants))).graph


def test_an_opaque_node_may_leap_where_rounding_decides(tmp_path: Path):
    graph = leaping(tmp_path)
    inputs = random_inputs(graph)
    lines = hold("onnx", Readied(graph, ONNXRUNTIME, ONNXRUNTIME.start(graph, 1)), inputs, Oracle.of(graph, inputs))
    assert [line.agrees for line in lines] == [True, True]


def test_what_an_opaque_node_is_given_is_held_all_the_same(tmp_path: Path):
    graph = leaping(tmp_path)
    inputs = random_inputs(graph)
    d = graph.by_name["d"]
    wrong = graph.rebuild(lambda node, operands: node.reading(operands).like(kind=ADD, op=Add()) if node is d else node.reading(operands))
    engine = replace(REFERENCE, capture=lambda _, wanted, feed, threads: REFERENCE.capture(wrong, wanted, feed, threads))
    lines = hold("bad", Readied(graph, engine, lambda feed: reference.run(wrong, feed)), inputs, Oracle.of(graph, inputs))
    assert not any(line.agrees for line in lines)
