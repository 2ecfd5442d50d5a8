"""Quantized networks: an engine's steps are followed where rounding explains them, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.compiler.checking.hold import Readied, all_agree, hold
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.checking.oracle import Agreement, Oracle
from convc.compiler.checking.verify import verify
from convc.compiler.engines.reference import REFERENCE
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import Mismatch
from convc.ir.graph import Graph, Node
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph
from convc.tests.support.onnx_files import written
from convc.tests.support.quantized import dynamic_model, quantized_constants, quantized_model


def image(seed: int) -> dict[str, Array]:
    return {"x": np.random.default_rng(seed).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)}


def held(graph: Graph, computed: Graph, inputs: dict[str, Array]) -> list[Agreement]:
    """`computed`, in float32, as if an engine had made it of `graph`; it shows its values as engines do."""

    def capture(graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None) -> Iterator[tuple[str, Array]]:
        names = {node.name for node in wanted}
        return ((node.name, value) for node, value in reference.stream(computed, inputs) if node.name in names)

    engine = replace(REFERENCE, capture=capture)
    return hold("it", Readied(graph, engine, lambda feed: reference.run(computed, feed)), inputs, Oracle.of(graph, inputs))


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Graph:
    return read_graph(written(tmp_path_factory.mktemp("net"), quantized_model())).graph


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_whatever_they_round(engine, network):
    turned = 0
    for seed in range(4):
        inputs = image(seed)
        found = ENGINES[engine]
        started = found.start(network, None)
        lines = hold(
            engine, Readied(network, found, started, {}, lambda plain: plain.start(network, None)), inputs, Oracle.of(network, inputs)
        )
        assert all_agree(lines), lines
        turned += lines[0].turned
    assert turned, "a case where nothing rounds to the other side shows nothing"


def one(constants: dict[str, Array], name: str, change) -> dict[str, Array]:
    values = np.array(constants[name])
    values.flat[0] = change(values.flat[0])
    return constants | {name: values}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("s1", lambda scale: scale * 1.01),
        ("wz2", lambda zero: zero + 1),
        ("w2", lambda weight: weight + 1),  # by one step, in one weight of 576
        ("ws3", lambda scale: scale * 1.02),
        ("b1", lambda bias: bias + 40),  # a sixth of a step
    ],
)
def test_what_is_off_by_more_is_found(name, change, network, tmp_path):
    wrong = read_graph(written(tmp_path, quantized_model(one(quantized_constants(), name, change)))).graph
    (line,) = held(network, wrong, image(0))
    assert not line.agrees, str(line)
    with pytest.raises(Mismatch, match="y DIFFERS"):
        verify(network, wrong, image(0))


TIES = """graph @ties(%x: f32[4], %off: f32[4]) {
    %s = param {init=ones} : f32[] %z = param {init=zeros} : i8[]
    %half = add(%x, %off)
    %q = quantize_linear(%half, %s, %z) %d = dequantize_linear(%q, %s, %z) %y = mul(%d, %d) return %y }"""


@pytest.mark.parametrize(("off", "turned"), [(0.0, 0), (-1e-7, 2), (1e-7, 2), (1e-4, None), (1.0, None)])
def test_a_value_between_two_steps_may_take_either(off, turned):
    """0.5 and 2.5 fall to the even step above 0, 1.5 and 3.5 rise to it."""
    graph = typed_graph(TIES)
    x = np.array([0.5, 1.5, 2.5, 3.5], np.float32)
    taken = np.array([0, 2, 2, 4] if not off else np.rint(np.float64(x) + off), np.int8)
    engine = replace(REFERENCE, capture=lambda graph, wanted, inputs, threads: iter([("q", taken)]))
    inputs = {"x": x, "off": np.zeros(4, np.float32)}
    (line,) = hold("it", Readied(graph, engine, lambda feed: {"y": np.float32(taken) ** 2}), inputs, Oracle.of(graph, inputs))
    if off < 1:
        assert (line.agrees, line.turned) == (True, turned if turned is not None else 2)
    else:
        assert not line.agrees


PRODUCT = """graph @product(%x: u8[1,4,6,6]) {
    %s = param {init=full, value=0.02} : f32[] %t = param {init=full, value=8.0} : f32[] %z = param {init=full, value=120.0} : u8[]
    %w = param {init=full, value=7.0} : i8[6,4,3,3] %ws = param : f32[6] %wz = param {init=zeros} : i8[6]
    %y = qlinear_conv2d(%x, %s, %z, %w, %ws, %wz, %t, %z) return %y }"""


@pytest.mark.parametrize(("off", "agrees"), [(0, True), (1, False)])
def test_a_quantized_product_is_held_to_the_step_that_it_should_take(off, agrees):
    graph = typed_graph(PRODUCT)
    inputs = {"x": np.random.default_rng(0).integers(0, 256, (1, 4, 6, 6)).astype(np.uint8)}
    got = reference.run(graph, inputs)["y"]
    got.flat[7] += off
    engine = replace(REFERENCE, capture=lambda graph, wanted, inputs, threads: iter([("y", got)]))
    (line,) = hold("it", Readied(graph, engine, lambda feed: {"y": got}), inputs, Oracle.of(graph, inputs))
    nodes = check_nodes(graph, engine, inputs)
    assert (line.agrees, nodes.agrees) == (agrees, agrees), (str(line), str(nodes))


def test_a_quantized_product_on_the_edge_may_take_either_step():
    """Each sum is half a step: 36 products of 1 at a scale of 1/72."""
    graph = typed_graph("""graph @edge(%x: u8[1,4,3,3]) {
        %s = param {init=ones} : f32[] %t = param {init=full, value=72.0} : f32[] %z = param {init=zeros} : u8[]
        %w = param {init=ones} : i8[6,4,3,3] %wz = param {init=zeros} : i8[]
        %y = qlinear_conv2d(%x, %s, %z, %w, %s, %wz, %t, %z) return %y }""")
    inputs = {"x": np.ones((1, 4, 3, 3), np.uint8)}
    for step in (0, 1, 2):
        got = np.full((1, 6, 1, 1), step, np.uint8)
        engine = replace(REFERENCE, capture=lambda graph, wanted, inputs, threads, got=got: iter([("y", got)]))
        (line,) = hold("it", Readied(graph, engine, lambda feed, got=got: {"y": got}), inputs, Oracle.of(graph, inputs))
        assert (line.agrees, check_nodes(graph, engine, inputs).agrees) == (step < 2, step < 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_on_ranges_that_are_found_at_run_time(engine, tmp_path):
    network = read_graph(written(tmp_path, dynamic_model())).graph
    found = ENGINES[engine]
    started = found.start(network, None)
    for seed in range(4):
        inputs = image(seed)
        lines = hold(
            engine, Readied(network, found, started, {}, lambda plain: plain.start(network, None)), inputs, Oracle.of(network, inputs)
        )
        assert all_agree(lines), lines
        assert check_nodes(network, found, inputs).agrees


RANGE = """graph @range(%x: f32[2]) {
    %s = dynamic_scale(%x) %z = dynamic_zero(%x, %s) %q = quantize_linear(%x, %s, %z) %y = dequantize_linear(%q, %s, %z) return %y }"""


@pytest.mark.parametrize(("zero", "agrees"), [(127, True), (128, True), (129, False)])
def test_a_zero_between_two_steps_may_take_either(zero, agrees):
    """-1 and 1 are 127.5 steps from 0 in 255 of them."""
    graph, x = typed_graph(RANGE), np.array([-1, 1], np.float32)
    scale = np.float32(2) / np.float32(255)
    steps = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8)
    shown = {"z": np.array(zero, np.uint8), "q": steps}
    engine = replace(REFERENCE, capture=lambda graph, wanted, inputs, threads: iter((n.name, shown[n.name]) for n in wanted))
    y = (steps.astype(np.float32) - zero) * scale
    (line,) = hold("it", Readied(graph, engine, lambda feed: {"y": y}), {"x": x}, Oracle.of(graph, {"x": x}))
    assert line.agrees == agrees, str(line)


PLACES = """graph @places(%x: f32[1,1,2,4], %off: f32[1,1,2,4]) {
    %near = add(%x, %off)
    %p = max_pool(%near) {kernel=[2,2], strides=[2,2]} %i = max_pool_indices(%near) {kernel=[2,2], strides=[2,2]}
    %y = max_unpool(%p, %i) {kernel=[2,2], strides=[2,2]} return %y }"""


@pytest.mark.parametrize(("place", "agrees"), [(0, True), (1, True), (4, False), (2, False), (7, False)])
def test_of_two_greatest_values_that_rounding_cannot_tell_apart_an_engine_may_find_either(place, agrees):
    graph = typed_graph(PLACES)
    x = np.array([[[[1, 1 + 1e-7, 7, 0], [0.5, 0, 0, 0]]]], np.float32)
    inputs = {"x": x, "off": np.full_like(x, 0.125)}
    taken, got = np.array([[[[place, 2]]]]), np.zeros_like(x)
    got.flat[[place, 2]] = 1.125, 7.125
    engine = replace(REFERENCE, capture=lambda graph, wanted, inputs, threads: iter([("i", taken)]))
    (line,) = hold("it", Readied(graph, engine, lambda feed: {"y": got}), inputs, Oracle.of(graph, inputs))
    assert line.agrees is agrees, str(line)
