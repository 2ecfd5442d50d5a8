"""The node check takes every kind of kernel that the plan for a CPU has, with what each covers, and nothing is too much for it."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

import numpy as np
import pytest

from convc.backends.tvm.cpu import kernels
from convc.backends.tvm.cpu.kernels.kernel import Kind
from convc.backends.tvm.cpu.kernels.strassen.quarters import QUARTERED
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.cpu.tiles import tiles_by_size
from convc.backends.tvm.processor import AVX512
from convc.compiler.checking.carried import carried
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.engines.engine import Kernel
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.reference import REFERENCE
from convc.compiler.engines.tvm import TVM, tvm_engine
from convc.ir.graph import Graph
from convc.ir.ops.activation import SOFTMAX
from convc.passes.differentiate import with_gradients
from convc.tests.support.faults import spoilt
from convc.tests.support.graphs import normal_inputs, typed_graph

NETS = {
    "convolutions": """graph @g(%x: f32[2,32,12,12]) {
        %w = param : f32[32,32,3,3]
        %d = param : f32[32,1,3,3]
        %n = param : f32[32,8,3,3]
        %p = param : f32[48,32,1,1]
        %t = param : f32[48,8,2,2]
        %u = param : f32[32,1,2,2]
        %g = param : f32[32,16,3,3]
        %c1 = conv2d(%x, %w) {pads=[1,1,1,1]}
        %winograd = relu(%c1)
        %c2 = conv2d(%winograd, %d) {pads=[1,1,1,1], groups=32}
        %s2 = sigmoid(%c2)
        %depthwise = mul(%c2, %s2)
        %c3 = conv2d(%depthwise, %n) {pads=[1,1,1,1], groups=4}
        %t3 = tanh(%c3)
        %narrow = sub(%t3, %depthwise)
        %c4 = conv2d(%narrow, %p)
        %direct = gelu(%c4)
        %c5 = conv_transpose2d(%direct, %t) {strides=[2,2]}
        %transposed = elu(%c5)
        %c6 = conv_transpose2d(%narrow, %u) {strides=[2,2], groups=32}
        %planes = mish(%c6)
        %c7 = conv2d(%narrow, %g) {pads=[1,1,1,1], groups=2}
        %s7 = sigmoid(%c7)
        %m7 = mul(%c7, %s7)
        %groups = add(%m7, %x)
        return %transposed, %planes, %groups
    }""",
    "others": """graph @g(%x: f32[2,48,8,8]) {
        %k = param : f32[48,1,1]
        %w = param : f32[20,48]
        %p = max_pool(%x) {kernel=[2,2], strides=[2,2]}
        %c = mul(%p, %k)
        %channel = elu(%c)
        %m = global_avg_pool(%channel)
        %one = hard_sigmoid(%m)
        %i = mul(%channel, %one)
        %image = tanh(%i)
        %r = resize(%image) {scales=[2.0,2.0], mode=bilinear}
        %l = local_response_norm(%r) {size=3}
        %a = avg_pool(%l) {kernel=[2,2]}
        %s = slice(%a) {axes=[1], starts=[16], ends=[48]}
        %both = concat(%s, %a)
        %g = global_max_pool(%image)
        %f = flatten(%g)
        %e = dense(%f, %w)
        %scores = relu(%e)
        %shares = softmax(%scores) {axis=1}
        %of_channels = softmax(%r) {axis=1}
        return %both, %shares, %of_channels
    }""",
    "shuffle": """graph @g(%x: f32[2,20,5,7]) {
        %w = param : f32[20,20,1,1]
        %a = conv2d(%x, %w)
        %b = conv2d(%a, %w)
        %c = concat(%b, %a)
        %s = reshape(%c) {shape=[2,2,20,5,7]}
        %t = transpose(%s) {perm=[0,2,1,3,4]}
        %m = reshape(%t) {shape=[2,40,5,7]}
        %p = slice(%m) {axes=[1], starts=[0], ends=[20]}
        %q = slice(%m) {axes=[1], starts=[20], ends=[40]}
        %y = add(%p, %q)
        return %y
    }""",
    "few channels": """graph @g(%x: f32[2,3,9,40], %v: f32[2,3,6,8,8]) {
        %w = param : f32[3,1,3,3]
        %u = param : f32[20,3,3,3,3]
        %a = conv2d(%x, %w) {pads=[1,1,1,1], groups=3}
        %planes = tanh(%a)
        %b = conv3d(%v, %u) {pads=[1,1,1,1,1,1]}
        %volume = relu(%b)
        return %planes, %volume
    }""",
    "attention": """graph @g(%x: f32[2,7,32], %h: f32[2,2,7,7]) {
        %s = param {init=around_one} : f32[32]
        %t = param : f32[32]
        %w = param : f32[32,96]
        %b = param : f32[96]
        %scale = param {init=around_one} : f32[]
        %mask = param : f32[7,7]
        %n = layer_norm(%x, %s, %t) {axis=2}
        %m = matmul(%n, %w)
        %a = add(%m, %b)
        %r = reshape(%a) {shape=[2,7,3,2,16]}
        %p = transpose(%r) {perm=[2,0,3,1,4]}
        %q1 = slice(%p) {axes=[0], starts=[0], ends=[1]}
        %k1 = slice(%p) {axes=[0], starts=[1], ends=[2]}
        %v1 = slice(%p) {axes=[0], starts=[2], ends=[3]}
        %q = reshape(%q1) {shape=[2,2,7,16]}
        %k2 = reshape(%k1) {shape=[2,2,7,16]}
        %v = reshape(%v1) {shape=[2,2,7,16]}
        %k = transpose(%k2) {perm=[0,1,3,2]}
        %z = matmul(%q, %k)
        %scaled = div(%z, %scale)
        %masked = add(%scaled, %mask)
        %e = softmax(%masked) {axis=3}
        %y = matmul(%e, %v)
        %u = transpose(%y) {perm=[0,2,1,3]}
        %f = reshape(%u) {shape=[2,7,32]}
        %pairs = matmul(%h, %v)
        %gated = gelu(%pairs)
        %sum = add(%f, %x)
        %chain = tanh(%sum)
        return %chain, %gated
    }""",
    "channels last": """graph @g(%x: f32[2,32,6,6]) {
        %w = param : f32[32,1,3,3]
        %s = param {init=around_one} : f32[32]
        %t = param : f32[32]
        %v = param : f32[32,48]
        %u = param : f32[48,32]
        %a = conv2d(%x, %w) {pads=[1,1,1,1], groups=32}
        %b = transpose(%a) {perm=[0,2,3,1]}
        %c = layer_norm(%b, %s, %t) {axis=3}
        %norm = transpose(%c) {perm=[0,3,1,2]}
        %d = conv2d(%norm, %w) {pads=[1,1,1,1], groups=32}
        %last = transpose(%d) {perm=[0,2,3,1]}
        %e = matmul(%last, %v)
        %f = gelu(%e)
        %g = matmul(%f, %u)
        %h = transpose(%g) {perm=[0,3,1,2]}
        %y = conv2d(%h, %w) {pads=[1,1,1,1], groups=32}
        %turned = transpose(%x) {perm=[1,0,3,2]}
        return %y, %turned
    }""",
    "quarters": """graph @g(%x: f32[2,64,5,5], %t: f32[1,3,7,64]) {
        %w = param : f32[96,64,1,1]
        %b = param : f32[96]
        %v = param : f32[64,64]
        %u = param : f32[60,64]
        %a = param : f32[64]
        %o = param : f32[60]
        %pixels = conv2d(%x, %w, %b)
        %y = relu(%pixels)
        %rows = matmul(%t, %v)
        %biased = add(%rows, %a)
        %long = gelu(%biased)
        %r = reshape(%long) {shape=[21,64]}
        %dense = dense(%r, %u, %o)
        %z = tanh(%dense)
        return %y, %z
    }""",
    "sums": """graph @g(%x: f32[2,5,20], %g: f32[2,5,20], %m: f32[20,9], %i: f32[2,20,6,6], %j: f32[2,20,6,6]) {
        %mean = reduce_mean(%x) {axes=[2], keepdims=true}
        %off = sub(%x, %mean)
        %product = mul(%off, %g)
        %of_columns = reduce_sum(%product) {axes=[0,1], keepdims=false}
        %of_rows = reduce_mean(%product) {axes=[-1], keepdims=false}
        %p = matmul(%g, %m)
        %computed = relu(%p)
        %y = max_pool(%i) {kernel=[2,2], pads=[0,0,1,1]}
        %gate = mul(%j, %y)
        %of_images = reduce_sum(%gate) {axes=[2,3], keepdims=true}
        %back = mul(%y, %of_images)
        return %of_columns, %of_rows, %computed, %back
    }""",
    "training": """graph @g(%x: f32[4,32,16,16], %w: f32[32,32,3,3], %s: f32[32], %h: f32[32], %d: f32[32,1,3,3], %k: f32[16,32,1,1]) {
        %c = conv2d(%x, %w) {pads=[1,1,1,1]}
        %m = reduce_mean(%c) {axes=[0,2,3], keepdims=false}
        %mean = reshape(%m) {shape=[1,32,1,1]}
        %off = sub(%c, %mean)
        %square = mul(%off, %off)
        %v = reduce_mean(%square) {axes=[0,2,3], keepdims=false}
        %b = batch_norm(%c, %s, %h, %m, %v)
        %r = relu(%b)
        %p = max_pool(%r) {kernel=[2,2], strides=[2,2]}
        %e = conv2d(%p, %d) {pads=[1,1,1,1], groups=32}
        %f = conv2d(%e, %k)
        %q = mul(%f, %f)
        %loss = reduce_sum(%q) {keepdims=false}
        return %loss
    }""",
    "moves": """graph @g(%x: f32[2,32,6,6]) {
        %v = max_pool(%x) {kernel=[1,1]}
        %wider = pad(%v) {pads=[0,16,0,0,0,3,0,0]}
        %split = reshape(%v) {shape=[2,32,6,1,6]}
        %zeros = pad(%split) {pads=[0,0,0,0,0,0,0,0,1,0]}
        %few = reshape(%zeros) {shape=[2,32,12,6]}
        %far = max_pool(%few) {kernel=[1,1]}
        %wide = max_pool(%wider) {kernel=[2,2]}
        %padded = pad(%v) {pads=[0,1,0,0,0,1,0,0]}
        %s0 = slice(%padded) {axes=[1], starts=[0], ends=[32]}
        %s1 = slice(%padded) {axes=[1], starts=[1], ends=[33]}
        %s2 = slice(%padded) {axes=[1], starts=[2], ends=[34]}
        %a1 = add(%s0, %s1)
        %a2 = add(%a1, %s2)
        %near = max_pool(%a2) {kernel=[2,2]}
        return %far, %wide, %near
    }""",
}
QUARTERS = dict.fromkeys(("pixels", "rows", "dense"), QUARTERED)
BETWEEN = {
    "pack",
    "unpack",
    "arrange",
    "winograd weights",
}  # into blocks and out of them, and weights for a kernel: no value of the network comes from it


def net(name: str) -> Graph:
    if name == "training":
        return with_gradients(typed_graph(NETS[name]), "loss", ["w", "s", "h", "d", "k"])
    return optimize(typed_graph(NETS[name]), 2)[0] if name == "shuffle" else typed_graph(NETS[name])


def tiles(graph: Graph, name: str) -> dict[str, int]:
    return QUARTERS if name == "quarters" else tiles_by_size(graph, "auto", AVX512)


def test_the_networks_have_every_kind_of_kernel():
    modules = [importlib.import_module(found.name) for found in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}.")]
    kinds = {value.name for module in modules for value in vars(module).values() if isinstance(value, Kind)}
    found = {work.kernel.name.split(" F(")[0] for name in NETS for work in plan(net(name), tiles(net(name), name)).works.values()}
    assert kinds - BETWEEN == found


def test_kernels_of_a_training_are_checked():
    """Three of them as the values that they cover, which no slope bounds."""
    graph = net("training")
    check = check_nodes(graph, TVM, normal_inputs(graph), 1)
    assert check.agrees, str(check)
    assert check.checked == len([node for node in graph.ops if graph.uses[node]])
    assert check.tightest is not None
    assert check.tightest.worst > 1e-3


@pytest.mark.parametrize("name", [name for name in NETS if name != "training"])
def test_every_kernel_is_checked_as_one(name: str):
    graph = net(name)
    engine = tvm_engine(tiles(graph, name))
    check = check_nodes(graph, engine, normal_inputs(graph), 1)
    assert check.agrees, str(check)
    assert check.checked == len(engine.stores(graph)) < len([node for node in graph.ops if graph.uses[node]])
    assert check.tightest is not None
    assert check.tightest.worst > 1e-3, "a bound that no engine comes near says nothing"


@pytest.mark.parametrize(("name", "victim"), [("attention", "f"), ("channels last", "norm"), ("shuffle", "p")])
def test_a_fault_is_seen_through_what_a_kernel_covers(name: str, victim: str):
    graph = net(name)
    check = check_nodes(graph, spoilt(TVM, victim, lambda value: value * np.float32(1.001)), normal_inputs(graph), 1)
    assert check.first_bad is not None, "the fault went unnoticed"
    assert check.first_bad.node.name == victim


@pytest.mark.parametrize("size", [1e-4, 0.1, 3.0])
@pytest.mark.parametrize(
    "text",
    [
        "%y = softmax(%x) {axis=2}",
        "%y = softmax(%x) {axis=1}",
        "%y = layer_norm(%x, %s, %t) {axis=1}",
        "%y = layer_norm(%x, %g, %g) {axis=2, epsilon=0.5}",
        "%y = div(%x, %s)",
        "%y = exp(%x)",
        "%y = transpose(%x) {perm=[2,0,1]}",
        "%y = pad(%x) {pads=[0,1,2,0,0,2], mode=reflect}",
    ],
)
def test_errors_of_any_size_stay_within_what_is_carried(text: str, size: float):
    """The worst of a hundred draws, each at an end of what is allowed or anywhere within."""
    graph = typed_graph(
        f"graph @g(%x: f32[3,4,5]) {{ %s = param {{init=around_one}} : f32[4,5] %t = param : f32[4,5] %g = param : f32[5] {text} return %y }}"
    )
    (node,) = graph.outputs
    draws = np.random.default_rng(0)
    x, off = draws.standard_normal((3, 4, 5)), size * draws.uniform(0, 1, (3, 4, 5))
    others = [param.weights.array().astype(np.float64) for param in node.inputs[1:]]
    bound = carried(node, [x, *others], [off, *(None for _ in others)])
    y, worst = node.kind.meaning(node.op, x, *others), 0.0
    for turn in range(100):
        share = draws.choice([-1.0, 1.0], x.shape) if turn % 2 else draws.uniform(-1, 1, x.shape)
        worst = max(worst, (abs(node.kind.meaning(node.op, x + share * off, *others) - y) / bound).max())
    assert worst <= 1 + 1e-9
    assert worst > 0.3 or size > 1


def test_what_a_constant_pads_is_exact():
    graph = typed_graph("graph @g(%x: f32[3]) { %y = pad(%x) {pads=[1,2], value=5} return %y }")
    assert np.array_equal(carried(graph.outputs[0], [np.ones(3)], [np.array([0.1, 0.2, 0.3])]), [0, 0.1, 0.2, 0.3, 0, 0])


@pytest.mark.parametrize("function", ["sqrt", "log", "floor"])
def test_errors_of_what_no_slope_bounds_stay_within_what_is_carried(function: str):
    """Up to 0, where a root begins, and over the edges of steps."""
    (node,) = typed_graph(f"graph @g(%x: f32[9]) {{ %y = {function}(%x) return %y }}").outputs
    x = np.array([0.5, 1e-9, 1.0, 0.99, 2.0, 7.3, 1e4, 0.25, 3.0])
    for off in (1e-9 * (1 - 1e-6), 0.2 * x, 0.9 * x):
        bound = carried(node, [x], [np.broadcast_to(off, x.shape)])
        y, ends = node.kind.meaning(node.op, x), [node.kind.meaning(node.op, x + way * off) for way in (-1, -0.3, 0.7, 1)]
        worst = np.maximum.reduce([abs(end - y) for end in ends])
        assert (worst <= bound * (1 + 1e-9)).all()
        assert (worst >= bound * (1 - 1e-9)).all()
    with np.errstate(all="ignore"):
        at_0 = carried(node, [np.zeros(1)], [np.full(1, 1e-6)])
    assert np.allclose(at_0, {"sqrt": 1e-3, "log": np.inf, "floor": 1.0}[function])


def test_masked_scores_have_no_error_that_others_share():
    graph = typed_graph("graph @g(%x: f32[1,4]) { %y = softmax(%x) return %y }")
    x = np.array([[0.5, -np.inf, 1.0, -np.inf]])
    off = carried(graph.outputs[0], [x], [np.where(np.isfinite(x), 1e-6, np.inf)])
    assert (off <= 2.1e-6 * SOFTMAX.meaning(graph.outputs[0].op, x)).all()


def test_what_nobody_knows_the_slope_of_is_looked_at_node_by_node():
    graph = typed_graph("graph @g(%x: f32[3,4]) { %a = tan(%x) %y = atanh(%a) return %y }")
    a, y = graph.by_name["a"], graph.by_name["y"]

    def stored(graph: Graph) -> list[Kernel]:
        return [Kernel((node,)) for node in (a, y)] if a in graph.outputs else [Kernel((a, y))]

    check = check_nodes(graph, replace(REFERENCE, kernels=stored), normal_inputs(graph))
    assert check.agrees
    assert check.checked == 2
