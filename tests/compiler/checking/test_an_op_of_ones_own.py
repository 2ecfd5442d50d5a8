"""An op added in memory, as a record and a row a backend: text, passes, engines and checks take it, and nothing else was touched."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from convc.backends import reference
from convc.backends.onnx.write.onnx_rows import ROWS as ONNX
from convc.backends.onnx.write.onnx_rows import simple
from convc.backends.tvm.stock.relax_rows import ROWS as TVM
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.checking.pass_check import PassCheck
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.table import ENGINES
from convc.compiler.report.layer_table import layer_table
from convc.compiler.training.optimizers import sgd
from convc.compiler.training.trainer import Trainer
from convc.ir.errors import UnsupportedOp
from convc.ir.facts import BY_PLACE, Facts, always, fixed
from convc.ir.op import OpDef, elementwise_cost, plain, rounded
from convc.ir.ops import OPS
from convc.ir.ops.check import float_alone
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.passes.analysis.liveness import liveness
from convc.passes.differentiate import with_gradients
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS
from convc.tests.support.graphs import normal_inputs, typed_graph


@dataclass(frozen=True, slots=True)
class Softsign:
    """x / (1 + |x|). ONNX Softsign."""


SOFTSIGN = OpDef(
    "softsign",
    Softsign,
    (1, 1),
    float_alone,
    plain(lambda x: x / (1 + abs(x))),
    elementwise_cost(3),
    roundings=rounded(4),
    facts=Facts(pointwise=True, reuse=BY_PLACE, activation=True, rising=always, slope=fixed(1.0), least=fixed(-1.0)),
    gradient=(lambda op, g, y, x: g * (1.0 - y.op("abs")) * (1.0 - y.op("abs")),),
)


def softsign(emitter: Any, node: Any, x: Any) -> Any:
    return emitter.ops.divide(x, emitter.ops.add(emitter.ops.abs(x), emitter.scalar(1.0, "float32")))


TEXT = """graph @net(%x: f32[N,4,12,12]) {
  %w = param : f32[6,4,3,3]
  %c = conv2d(%x, %w) {pads=[1,1,1,1]} : f32[N,6,12,12]
  %s = softsign(%c) : f32[N,6,12,12]
  %p = max_pool(%s) {kernel=[2,2], strides=[2,2]} : f32[N,6,6,6]
  %v = param : f32[8,6,3,3]
  %d = conv2d(%p, %v) {pads=[1,1,1,1]} : f32[N,8,6,6]
  %t = softsign(%d) : f32[N,8,6,6]
  %u = param : f32[5,8,1,1]
  %y = conv2d(%t, %u) {strides=[2,2]} : f32[N,5,3,3]
  return %y
}
"""


@pytest.fixture(autouse=True)
def added(monkeypatch) -> None:
    monkeypatch.setitem(OPS, SOFTSIGN.name, SOFTSIGN)
    monkeypatch.setitem(ONNX, SOFTSIGN, simple("Softsign"))
    monkeypatch.setitem(TVM, SOFTSIGN, softsign)


def test_text_in_text_out():
    assert print_graph(parse_graph(TEXT)) == TEXT
    assert typed_graph(TEXT.replace(" : f32[N,6,12,12]", "")).by_name["s"].type == parse_graph(TEXT).by_name["s"].type


def test_it_has_a_place_in_memory_and_none_in_the_table_of_layers():
    graph = parse_graph(TEXT)
    assert liveness(graph).shares[graph.by_name["s"]] == "in place"
    assert [line.name for line in layer_table(graph).lines] == ["x", "c", "p", "d", "y"]


def test_passes_know_it_by_its_facts():
    """Pooled before it, strided before it, and every pass of -O3 checked numerically."""
    net = parse_graph(TEXT)
    graph, trace = run_passes(net, LEVELS[3], ONNXRUNTIME.prices, check=PassCheck(net))
    assert not any(stage.problem for stage in trace)
    pooled = next(node for node in graph.ops if node.kind is SOFTSIGN)
    assert pooled.inputs[0].kind is OPS["max_pool"]
    assert graph.by_name["t.thin"].typed.shape[2:] == (3, 3)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_compute_it(engine):
    graph = parse_graph(TEXT)
    inputs = normal_inputs(graph, N=2)
    lines = compare(engine, Oracle.of(graph, inputs, tiles=ENGINES[engine].tiles(graph)), ENGINES[engine].start(graph, 1)(inputs))
    assert all(line.agrees for line in lines)
    assert check_nodes(graph, ENGINES[engine], inputs).agrees


def test_it_is_trained_through():
    """Its gradient is the slope of the loss, and a step with it learns."""
    net = parse_graph(
        TEXT.replace("%y = conv2d", "%k = conv2d").replace(
            "return %y", "%y = reduce_mean(%k) {axes=[2,3], keepdims=false} : f32[N,5]\n  return %y"
        )
    )
    trainer = Trainer(net, optimizer=sgd(momentum=0, weight_decay=0), engine="reference")
    draws = np.random.default_rng(0)
    images, labels = draws.standard_normal((8, 4, 12, 12)).astype(np.float32), draws.integers(0, 5, 8)
    losses = [trainer.step(images, labels, learning_rate=1.0).loss for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    loss = typed_graph(
        "graph @loss(%x: f64[6]) { %s = softsign(%x) %q = mul(%s, %s) %y = reduce_sum(%q) {axes=[0], keepdims=false} return %y }"
    )
    slopes, x = with_gradients(loss, "y", ["x"]), draws.standard_normal(6)
    for place in range(6):
        ends = [reference.run(loss, {"x": x + by * np.eye(6)[place]}, "f64")["y"] for by in (1e-6, -1e-6)]
        assert reference.run(slopes, {"x": x}, "f64")["x.gradient"][place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


def test_without_a_rule_it_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(OPS, SOFTSIGN.name, dataclasses.replace(SOFTSIGN, gradient=None))
    with pytest.raises(UnsupportedOp, match=r"%s = softsign has no gradient: its definition says nothing of one"):
        with_gradients(
            typed_graph("graph @loss(%x: f32[6]) { %s = softsign(%x) %y = reduce_sum(%s) {axes=[0], keepdims=false} return %y }"),
            "y",
            ["x"],
        )
