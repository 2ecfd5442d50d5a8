"""Faults in networks of 16 bits, which lose much by rounding: each is found, and honest rounding is not taken for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.checking.narrowing import loss_of
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.checking.verify import verify
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.files.inputs import random_inputs
from convc.ir.errors import Mismatch
from convc.ir.graph import Graph, Node, given_param
from convc.ir.types import DTYPES, Array
from convc.ir.weights import Weights
from convc.tests.support.faults import spoilt
from convc.tests.support.graphs import typed_graph
from convc.tests.support.narrow import narrow
from convc.tests.support.shell import convc
from convc.tests.support.tiers import small


def rounded(node: Node, operands: list[Array], value: Array) -> Array | None:
    """What a device makes of it that adds in float32 and keeps floats of 16 bits."""
    dtype = node.typed.dtype
    return value.astype(np.float32).astype(DTYPES[dtype]).astype(np.float64) if dtype in ("f16", "bf16") else None


def with_weight(graph: Graph, name: str, change: object) -> Graph:
    def visit(node: Node, operands: tuple[Node, ...]) -> Node:
        if node.name != name:
            return node.reading(operands)
        values = np.array(node.weights.wide())
        values[change] = 0.0
        return given_param(name, Weights.derived(node.typed, name, lambda: values.astype(DTYPES[node.typed.dtype])), node.origin)

    return graph.rebuild(visit)


@pytest.mark.parametrize(
    ("name", "dtype"), [("lenet5", "f16"), ("lenet5", "bf16"), pytest.param("mobilenet_v2", "f16", marks=pytest.mark.slow)]
)
def test_an_engine_that_rounds_every_value_takes_a_fourth_of_the_tolerance(name: str, dtype: str):
    graph = small(name)
    low, inputs = narrow(graph, dtype), random_inputs(graph)
    got = reference.run(low, inputs, "f64", rounded)
    for oracle in (Oracle.of(low, inputs), loss_of(graph, low, inputs)):
        (line,) = compare("honest", oracle, got)
        assert 5e-3 < line.worst < 1 / 3.5, str(line)
    assert verify(graph, low)[0].agrees


def test_a_value_that_a_file_has_folded_and_named_as_before_is_no_fault():
    """%c is what it was, times the scale behind it; %y is the same."""
    text = "graph @g(%x: f32[1,4]) {{ {} %c = dense(%x, %w) {} return %y }}"
    wide = typed_graph(
        text.format("%w = param {init=full, value=0.5} : f32[4,4] %s = param {init=full, value=4.0} : f32[]", "%y = mul(%c, %s)")
    )
    low = "%v = param {init=full, value=2.0} : f16[4,4] %i = cast(%x) {to=f16} %c = dense(%i, %v) %y = cast(%c) {to=f32}"
    assert verify(wide, typed_graph(f"graph @g(%x: f32[1,4]) {{ {low} return %y }}"))[0].agrees


@pytest.fixture(scope="module")
def pair() -> tuple[Graph, Graph]:
    graph = small("mobilenet_v2")
    return graph, narrow(graph)


def test_a_filter_that_is_forgotten_is_found_where_it_is(pair: tuple[Graph, Graph]):
    """By the end of the network a fault may be less than what 16 bits lose."""
    graph, low = pair
    inputs, wrong = random_inputs(graph), with_weight(low, "bottleneck7_1.depthwise_bn.w", 2)
    (line,) = compare("wrong", loss_of(graph, low, inputs), reference.run(wrong, inputs, "f64"))
    assert line.agrees, "then the outputs would show it, and nobody need look inside"
    with pytest.raises(Mismatch, match=r"%bottleneck7_1\.depthwise_bn inside differs by more than float16 may lose until there"):
        verify(graph, wrong, inputs)


def test_a_bias_that_is_forgotten_is_found_at_the_end(pair: tuple[Graph, Graph]):
    graph, low = pair
    (bias,) = (node for node in low.params if node.typed.concrete() == (1000,))
    inputs = random_inputs(graph)
    (line,) = compare("wrong", loss_of(graph, low, inputs), reference.run(with_weight(low, bias.name, ...), inputs, "f64"))
    assert 1 < line.worst < 32 / 14 * 1.2, str(line)


def test_onnxruntime_is_looked_into(pair: tuple[Graph, Graph]):
    """It reads values of float16 unrounded, and is not at fault for that; a filter's channel of nothing is found."""
    graph, low = pair
    inputs = random_inputs(graph)
    check = check_nodes(low, ONNXRUNTIME, inputs, 1)
    assert check.agrees, str(check)
    assert not check_nodes(low, replace(ONNXRUNTIME, holds_wide=False), inputs, 1).agrees, "then the engine needs no such fact"

    def without_a_channel(value: Array) -> Array:
        value[:, 3] = 0
        return value

    victim = "bottleneck5_2.add1"
    check = check_nodes(low, spoilt(ONNXRUNTIME, victim, without_a_channel), inputs, 1)
    assert check.first_bad is not None
    assert check.first_bad.node.name == victim


def test_verify_looks_inside_of_itself(tmp_path: Path):
    done = convc("export", "lenet5", "--precision", "fp16", "-o", tmp_path / "half.onnx")
    assert done.code == 0, done.err
    done = convc("verify", tmp_path / "half.onnx", "-b", "reference,onnx")
    assert done.code == 0, done.err
    assert "reference: 19 values within their local bounds" in done.err
    assert "onnx: 15 values within their local bounds" not in done.err, "it has float16 of its own: only where it is asked for"
