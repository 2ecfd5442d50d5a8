"""The node check holds TVM to the kernels that it really runs: what they cover, and Winograd's form to a bound of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from convc.backends.tvm.cpu.tiles import tiles_by_size
from convc.backends.tvm.processor import AVX512
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.engines.engine import Engine
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.tvm import TVM, tvm_engine
from convc.ir.binding import specialize
from convc.ir.graph import Graph
from convc.ir.usual_sizes import usual_sizes
from convc.models import ZOO
from convc.tests.support.faults import spoilt
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tiers import small

# Kernels with a Winograd convolution at their head, and with every kind of step after it.
NET = typed_graph("""graph @fused(%x: f32[N,32,20,20]) {
    %w = param : f32[32,32,3,3]
    %v = param : f32[16,32,3,3]
    %b = param {init=small} : f32[32]
    %c0 = conv2d(%x, %w, %b) {pads=[1,1,1,1]}
    %leaky = leaky_relu(%c0) {alpha=-0.5}
    %pool = max_pool(%leaky) {kernel=[2,2], strides=[2,2]}
    %c1 = conv2d(%pool, %w, %b) {pads=[1,1,1,1]}
    %steep = leaky_relu(%c1) {alpha=-3.0}
    %swish = hard_swish(%steep)
    %c2 = conv2d(%swish, %w) {pads=[1,1,1,1]}
    %gate = hard_sigmoid(%c2) {alpha=0.3}
    %gated = mul(%swish, %gate)
    %c3 = conv2d(%gated, %w) {pads=[2,2,2,2], dilations=[2,2]}
    %hard = hard_sigmoid(%c3) {alpha=0.5}
    %back = sub(%gated, %hard)
    %c4 = conv2d(%back, %v) {strides=[2,2], pads=[1,1,1,1]}
    %six = clip(%c4) {min=0.0, max=6.0}
    %scale = param {init=around_one} : f32[16]
    %shift = param {init=small} : f32[16]
    %mean = param {init=small} : f32[16]
    %var = param {init=around_one} : f32[16]
    %p = param : f32[24,16,1,1]
    %norm = batch_norm(%six, %scale, %shift, %mean, %var)
    %on = leaky_relu(%norm) {alpha=-2.0}
    %last = conv2d(%on, %p)
    return %last
}""")
COVERS = [
    ("c0", "leaky", "pool"),
    ("c1", "steep", "swish"),
    ("c2", "gate", "gated"),
    ("c3", "hard", "back"),
    ("c4", "six"),
    ("norm", "on", "last"),
]
TILES = {"auto": {"c0": 4, "c1": 2, "c2": 2, "c3": 2}, **{f"f{m}": dict.fromkeys(("c0", "c1", "c2", "c3"), m) for m in (2, 4)}, "off": {}}


def engine(winograd: str) -> Engine:
    """With the forms that AVX-512 would have, whatever this machine is."""
    return tvm_engine(tiles_by_size(NET, winograd, AVX512))


def covered(winograd: str) -> list[tuple[str, ...]]:
    return [tuple(node.name for node in kernel.covers) for kernel in engine(winograd).stores(NET).values()]


def image(*, spark: bool) -> dict[str, np.ndarray]:
    """Values everywhere, or in a single pixel: its tile has an error where its window has no value."""
    x = np.random.default_rng(0).standard_normal((1, 32, 20, 20)).astype(np.float32)
    if spark:
        x = np.where((np.arange(20) == 9) & (np.arange(20) == 9)[:, None], x, 0).astype(np.float32)
    return {"x": x}


@pytest.mark.parametrize("winograd", TILES)
def test_kernels_and_their_tiles(winograd):
    assert covered(winograd) == (COVERS if winograd != "off" else [("c0", "leaky"), ("pool",), *COVERS[1:]])
    assert engine(winograd).tiles(NET) == TILES[winograd]
    assert not ONNXRUNTIME.tiles(NET)


@pytest.mark.parametrize("name", ZOO)
def test_looking_at_values_changes_no_kernel(name):
    """What the check compiles has every stored value as an output; the kernels are those of the network all the same."""
    graph, _ = optimize(small(name), 2)
    graph = specialize(graph, usual_sizes(graph))
    stored = tuple(dict.fromkeys([*TVM.stores(graph), *graph.outputs]))
    exposed = Graph(graph.name, graph.inputs, stored, graph.nodes)
    assert TVM.stores(exposed) == TVM.stores(graph)


@pytest.mark.parametrize("spark", [False, True])
@pytest.mark.parametrize("winograd", TILES)
def test_fused_kernels_are_within_their_bounds(winograd, spark):
    check = check_nodes(NET, engine(winograd), image(spark=spark), 1)
    assert check.agrees, str(check)
    assert check.checked == len(covered(winograd))
    assert check.tightest is not None
    assert check.tightest.worst > 1e-3, "a bound that no engine comes near says nothing"


@pytest.mark.parametrize("victim", ["pool", "swish", "gated", "back", "six", "last"])
def test_a_fault_in_a_kernel_is_named_with_what_it_covers(victim):
    check = check_nodes(NET, spoilt(TVM, victim, lambda value: value * np.float32(1.001)), image(spark=False), 1)
    assert check.first_bad is not None, "the fault went unnoticed"
    assert check.first_bad.node.name == victim


def test_an_error_within_the_bound_of_a_product_stays_within_that_of_its_kernel():
    """An engine whose products are as wrong as they may be, and whose other ops are exact."""

    def worst_allowed(graph, wanted, inputs, threads):
        values = {"x": inputs["x"].astype(np.float64)}
        for node in graph.nodes:
            if node.weights is not None:
                values[node.name] = node.weights.drawn().astype(np.float64)
            elif node.inputs:
                operands = [values[operand.name] for operand in node.inputs]
                values[node.name] = node.kind.meaning(node.op, *operands)
                if node.kind.name == "conv2d":
                    terms = node.inputs[1].typed.concrete()[1:]
                    gamma = (np.prod(terms) + 1) * 2.0**-24
                    magnitude = node.kind.magnitude(node.op, *operands)
                    values[node.name] += (
                        0.99 * gamma * magnitude * np.sign(np.sin(1e3 * np.arange(magnitude.size))).reshape(magnitude.shape)
                    )
                if node in wanted:
                    values[node.name] = values[node.name].astype(np.float32).astype(np.float64)
                    yield node.name, values[node.name]

    check = check_nodes(NET, replace(tvm_engine({}), capture=worst_allowed), image(spark=False))
    assert check.agrees, str(check)
    assert check.tightest is not None
    assert check.tightest.worst > 0.8


def test_end_to_end_noise_knows_of_tiles():
    """In an image with a single bright pixel, the noise of direct convolutions is not enough for Winograd's."""
    graph, inputs = NET, image(spark=True)
    oracle, tiles = Oracle.by_tiles(graph, graph, inputs), TVM.tiles(graph)
    assert oracle(tiles) is oracle(dict(reversed(tiles.items())))
    assert oracle({}).tolerance["last"].mean() < oracle(tiles).tolerance["last"].mean()
    got = TVM.start(graph, 1)(inputs)
    (line,) = compare("tvm", oracle(tiles), got)
    assert line.agrees, str(line)
    assert line.worst > 1e-2
