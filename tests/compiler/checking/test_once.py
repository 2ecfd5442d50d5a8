"""`cc.compile` holds what it built to float64 once: a wrong kernel is an error, and not a wrong result one day."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

import convc as cc
from convc.backends import reference
from convc.backends.tvm.stock.relax_rows import ROWS
from convc.compiler.checking import once
from convc.compiler.checking.oracle import Oracle
from convc.compiler.engines.engine import Run
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.tvm import TVM
from convc.ir.graph import Graph
from convc.ir.ops.unary import ABS
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph

NET = """graph @net(%x: f32[N,3,8,8]) {
    %w = param : f32[4,3,3,3]
    %v = param : f32[5,4]
    %conv = conv2d(%x, %w) {pads=[1,1,1,1]}
    %size = abs(%conv)
    %mean = global_avg_pool(%size)
    %flat = flatten(%mean)
    %y = dense(%flat, %v)
    return %y
}"""
ROWS_ONLY = "graph @g(%x: f32[1,3,H,W]) { %w = param : f32[4,3,3,3] %y = conv2d(%x, %w) return %y }"
WHERE = "graph @g(%x: f32[N,5,4,4]) { %y = arg_max(%x) {axis=1} return %y }"
MIXED = "graph @g(%x: f32[N,3]) { %m = reduce_mean(%x) {axes=[0], keepdims=true} %y = sub(%x, %m) return %y }"
HALF = "graph @g(%x: f16[N,3,8,8]) { %w = param : f16[4,3,3,3] %y = conv2d(%x, %w) return %y }"
TALL = "graph @g(%x: f32[1,2,H,3]) { %y = max_pool(%x) {kernel=[200000,1], strides=[200000,1]} return %y }"


def spoilt(run: Run, sizes: range) -> Run:
    """A run that is wrong for so many images."""

    def wrong(inputs: Mapping[str, Array]) -> dict[str, Array]:
        images = len(next(iter(inputs.values())))
        return {name: value + np.float32(0.01) if images in sizes else value for name, value in run(inputs).items()}

    return wrong


def check(graph: Graph, sizes: range = range(0)) -> None:
    better = optimize(graph, 2, prices=TVM.prices)[0]
    once.check_once(graph, better, TVM, spoilt(TVM.start(better, 1), sizes))


@pytest.mark.parametrize("text", [NET, ROWS_ONLY, WHERE, MIXED, HALF])
def test_what_is_right_passes(text: str) -> None:
    check(typed_graph(text))


@pytest.mark.parametrize("images", [1, 2])
def test_one_image_and_two_are_checked(images: int) -> None:
    with pytest.raises(cc.Mismatch, match=r"y DIFFERS: .*; check=False gives it as it is"):
        check(typed_graph(NET), range(images, images + 1))


def test_a_wrong_kernel_is_refused_by_name_unless_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS, ABS, lambda emitter, node, x: emitter.ops.exp(x))
    net = typed_graph(NET)
    with pytest.raises(cc.Mismatch, match=r"tvm: y DIFFERS: .*; the first node out of its bound is %size = abs"):
        cc.compile(net)
    x = np.ones((1, 3, 8, 8), np.float32)
    assert not np.allclose(cc.compile(net, check=False)(x), reference.run(net, {"x": x})["y"], rtol=1e-3)


def test_close_results_cost_one_run_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Oracle, "of", staticmethod(lambda *given, **named: pytest.fail("the noise was measured")))
    check(typed_graph(NET))


def test_a_network_that_no_usual_size_fits_is_let_pass() -> None:
    check(typed_graph(TALL), range(9))
