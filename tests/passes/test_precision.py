"""What golden files cannot show of to-float16 and to-bfloat16: random networks, long chains, one rounding of weights."""

from __future__ import annotations

import numpy as np
import pytest

from convc.compiler.checking.verify import verify
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.graph import Graph, Node, given_param
from convc.ir.weights import Weights
from convc.passes.catalog import PASSES
from convc.passes.rewriting.ledger import Ledger
from convc.tests.fuzz.random_networks import random_network
from convc.tests.support.graphs import typed_graph

LONG = 5000  # nodes, through which a cut of each would not come in time


def run(graph: Graph, name: str = "to-float16") -> tuple[Graph, Ledger]:
    ledger = Ledger(ONNXRUNTIME.prices)
    return PASSES[name].run(graph, ledger), ledger


def is_undone(node: Node) -> bool:
    """A cast to 16 bits and back, or the other way round."""
    before = node.inputs[0] if node.inputs else node
    if not node.kind.name == before.kind.name == "cast" or before.typed.dtype not in ("f16", "bf16", "f32"):
        return False
    return node.typed.dtype == before.inputs[0].typed.dtype != before.typed.dtype


def halves(graph: Graph) -> int:
    return sum(node.typed.dtype in ("f16", "bf16") and node.kind.name != "cast" for node in graph.ops)


def check(seed: int, name: str, *, values: bool) -> bool:
    """Whether there was anything to narrow; what came of it needs no second run, casts nothing to and fro, and keeps the interface."""
    graph = random_network(seed)
    narrow, ledger = run(graph, name)
    if narrow is graph:
        return False
    again, second = run(narrow, name)
    assert again is narrow, f"seed {seed}: {[rewrite.root for rewrite in second.rewrites]}"
    assert [node.name for node in narrow.ops if is_undone(node) and node.name not in graph.by_name] == [], f"seed {seed}"
    for before, after in ((graph.inputs, narrow.inputs), (graph.outputs, narrow.outputs)):
        assert [(node.name, node.type) for node in before] == [(node.name, node.type) for node in after]
    assert halves(narrow) - halves(graph) == len(ledger.rewrites)
    if values:
        assert all(line.agrees for line in verify(graph, narrow))
    return True


def test_random_networks():
    assert sum(check(seed, "to-float16", values=seed % 8 == 0) for seed in range(48)) > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["to-float16", "to-bfloat16"])
def test_more_random_networks(name: str):
    assert sum(check(seed, name, values=True) for seed in range(300)) > 100


def test_a_long_chain_between_narrow_and_wide_is_cut_once_and_late():
    lines = ["%w = param : f32[2,2,1,1]", "%v0 = conv2d(%x, %w)", *(f"%v{i} = tanh(%v{i - 1})" for i in range(1, LONG))]
    graph = typed_graph("graph @g(%x: f32[1,2,2,2]) { " + " ".join(lines) + f" %y = global_avg_pool(%v{LONG - 1}) return %y }}")
    narrow, ledger = run(graph)
    assert [node.name for node in narrow.ops if node.kind.name == "cast"] == ["x.f16", f"v{LONG - 1}.f32"]
    assert len(ledger.rewrites) == LONG


def test_weights_are_made_when_somebody_looks_and_rounded_once():
    """A weight that passes computed is rounded to float16 from float64: by way of float32 it would come out as another."""
    graph = typed_graph("graph @g(%x: f32[1,1]) { %w = param {init=given} : f32[1,1] %y = dense(%x, %w) return %y }")
    tie = 1 + 2.0**-11 + 2.0**-40  # above the middle of two neighbours of float16, and in float32 that middle itself
    asked: list[str] = []

    def compute() -> np.ndarray:
        asked.append("w")
        return np.full((1, 1), tie)

    def with_values(node: Node, operands: tuple[Node, ...]) -> Node:
        return node.like(weights=Weights.derived(node.typed, "w", compute)) if node.name == "w" else node.reading(operands)

    narrow, _ = run(graph.rebuild(with_values))
    looks = len(asked)  # at its range
    (param,) = narrow.params
    assert len(asked) == looks
    assert param.weights is not None
    assert param.weights.array().dtype == np.float16
    assert param.weights.array().item() == param.weights.wide().item() == 1 + 2.0**-10


FEW = "where float16 has few digits left"


@pytest.mark.parametrize(
    ("product", "shape", "small", "why"),
    [
        ("conv2d(%x, %w)", (4, 8, 3, 3), np.s_[2], "filter 2 of %w is 1e-07 at most"),
        ("conv2d(%x, %w) {groups=2}", (4, 4, 3, 3), np.s_[1:], "3 filters, first 1, of %w is 1e-07 at most"),
        ("conv_transpose2d(%x, %w) {groups=2}", (8, 3, 2, 2), np.s_[4:, 1], "filter 4 of %w is 1e-07 at most"),
        ("matmul(%x, %w)", (6, 5), np.s_[:, 3], "filter 3 of %w is 1e-07 at most"),
        ("conv2d(%x, %w)", (4, 8, 3, 3), np.s_[2, 1], ""),
    ],
)
def test_a_filter_that_float16_makes_nothing_of_keeps_its_layer_wide(product: str, shape: tuple[int, ...], small: object, why: str):
    """The greatest weight says nothing of it: what follows may scale each channel by itself."""
    graph = typed_graph(f"graph @g(%x: f32[1,8,6,6]) {{ %w = param : f32{list(shape)} %y = {product} return %y }}".replace(", ", ","))
    values = np.random.default_rng(0).choice([-1.0, 1.0], shape).astype(np.float32)
    values[small] *= np.float32(1e-7)

    def given(node: Node, operands: tuple[Node, ...]) -> Node:
        return (
            given_param("w", Weights.derived(node.typed, "w", lambda: values), node.origin) if node.name == "w" else node.reading(operands)
        )

    low, ledger = run(graph.rebuild(given))
    assert [each.why for each in ledger.declines] == ([f"{why}, {FEW}"] if why else [])
    assert any(node.typed.dtype == "f16" for node in low.ops) != bool(why)
