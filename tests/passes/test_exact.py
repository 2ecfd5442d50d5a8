"""What golden files cannot show of the exact passes: values that are given, long chains, laziness, the zoo."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.checking.verify import verify
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.ir.graph import Graph, Node
from convc.ir.weights import Weights
from convc.models import ZOO
from convc.passes.analysis.cost import graph_cost
from convc.passes.analysis.prices import Prices
from convc.passes.catalog import PASSES
from convc.passes.manager import Step, run_passes
from convc.passes.pipelines import LEVELS
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tiers import EACH_NETWORK, GREAT, small

LONG = 1500  # half as far again as Python's recursion goes


def run(graph: Graph, *names: str) -> Graph:
    return run_passes(graph, [Step(name, "test") for name in names], ONNXRUNTIME.prices)[0]


def kinds(graph: Graph) -> list[str]:
    return [node.kind.name for node in graph.ops]


# --- fold-constants ---------------------------------------------------------------------------------------------------


def test_long_constant_computations_have_their_values():
    """Doubled again and again, each twice read: neither the depth nor the number of paths may tell."""
    lines = ["graph @g(%x: f32[2]) {", "  %c0 = param {init=ones} : f32[2]", "  %half = param {init=full, value=0.5} : f32[]"]
    for i in range(1, LONG):
        lines += [f"  %d{i} = add(%c{i - 1}, %c{i - 1})", f"  %c{i} = mul(%d{i}, %half)"]
    graph = run(typed_graph("\n".join([*lines, f"  %y = mul(%x, %c{LONG - 1})", f"  return %y, %c{LONG // 2}", "}", ""])), "fold-constants")
    assert kinds(graph) == ["mul"]
    assert all(node.weights.array().tolist() == [1, 1] for node in graph.params)


def test_what_follows_a_folded_cast_is_computed_in_float64():
    """The cast rounds to half precision as it does at run time; the norm after it is no more rounded than by being stored."""
    graph = typed_graph("""graph @g(%x: f16[60]) {
        %w = param : f64[60]
        %s = param {init=ones} : f16[60]
        %c = cast(%w) {to=f16}
        %n = layer_norm(%c, %s)
        %y = add(%x, %n)
        return %y
    }""")
    inputs = {"x": np.zeros(60, np.float16)}
    folded = run(graph, "fold-constants")
    assert kinds(folded) == ["add"]
    (norm,) = (node for node in folded.params)
    assert np.array_equal(norm.weights.wide(), reference.run(graph, inputs, "f64")["y"])


# --- merge-common ----------------------------------------------------------------------------------------------------


def two_params(a: Weights, b: Weights) -> Graph:
    graph = typed_graph(
        "graph @g(%x: f32[N,3]) {\n  %a = param {init=given} : f32[3]\n  %b = param {init=given} : f32[3]\n"
        "  %p = mul(%x, %a)\n  %q = mul(%x, %b)\n  %y = sub(%p, %q)\n  return %y\n}\n"
    )
    values = {"a": a, "b": b}
    return graph.rebuild(lambda node, operands: node.like(weights=values[node.name]) if node.name in values else node.reading(operands))


def test_parameters_that_share_their_values_merge():
    weights = Weights.of(np.arange(3, dtype=np.float32), "a")
    assert kinds(run(two_params(weights, weights), "merge-common")) == ["mul", "sub"]


def test_given_values_are_not_compared():
    graph = two_params(Weights.of(np.zeros(3, np.float32), "a"), Weights.of(np.zeros(3, np.float32), "b"))
    assert run(graph, "merge-common") is graph


# --- long chains -----------------------------------------------------------------------------------------------------


def chain(line: str, last: str = "relu({x})") -> Graph:
    """LONG lines of which each reads the one before as {x}."""
    lines = ["%k = param {init=full, value=1.001} : f32[]", "%w = param : f32[2,2,1,1]", "%v0 = conv2d(%x, %w)"]
    lines += [f"%v{i} = {line.format(x=f'%v{i - 1}')}" for i in range(1, LONG)]
    lines += [f"%y = {last.format(x=f'%v{LONG - 1}')}"]
    return typed_graph("graph @long(%x: f32[1,2,2,2]) {\n" + "".join(f"  {text}\n" for text in lines) + "  return %y\n}\n")


@pytest.mark.parametrize(
    ("line", "last"),
    [
        ("add({x}, %k)", "relu({x})"),
        ("mul(%k, {x})", "relu({x})"),
        ("relu({x})", "max_pool({x}) {{kernel=[2,2], strides=[2,2]}}"),
        ("tanh({x})", "global_max_pool({x})"),
        ("dropout({x})", "relu({x})"),
        ("transpose({x}) {{perm=[0,1,3,2]}}", "relu({x})"),
    ],
)
def test_a_long_chain_passes_every_level(line: str, last: str):
    graph = chain(line, last)
    for level in range(len(LEVELS)):
        assert verify(graph, optimize(graph, level)[0])


def test_folds_that_wait_for_each_other_stop_in_time():
    graph = chain("mul({x}, %k)")
    (add,) = typed_graph("graph @a(%x: f32[2]) {\n  %y = add(%x, %x)\n  return %y\n}\n").ops

    def alternate(node: Node, operands: tuple[Node, ...]) -> Node:
        odd = node.kind.name == "mul" and int(node.name[1:]) % 2
        return node.like(kind=add.kind, op=add.op, inputs=operands) if odd else node.reading(operands)

    alternating = graph.rebuild(alternate)
    better = run(alternating, "fold-affine")
    assert len(kinds(better)) < len(kinds(alternating))
    assert verify(alternating, better)


@pytest.mark.parametrize("nodes", GREAT)
def test_a_great_graph(nodes: int):
    pairs = nodes // 2
    lines = "".join(f"  %v{i} = sigmoid(%v{i - 1})\n  %w{i} = sigmoid(%v{i - 1})\n" for i in range(1, pairs + 1))
    graph = typed_graph(f"graph @wide(%v0: f32[2]) {{\n{lines}  %y = add(%v{pairs}, %w{pairs})\n  return %y\n}}\n")
    for name in (
        "canonicalize",
        "drop-identity",
        "flatten-concat",
        "fold-affine",
        "fold-pad",
        "fuse-conv-bn",
        "hoist-stride",
        "pool-before-relu",
    ):
        assert run(graph, name) is graph
    assert len(kinds(run(graph, "merge-common"))) == pairs + 1


# --- weights stay lazy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg16_bn", "unet_resnet18"])
def test_optimizing_computes_no_weights(name: str):
    graph = ZOO[name].network()
    better = run(optimize(graph, 3)[0], "dense-to-conv")
    assert not any(node.weights._made for each in (graph, better) for node in each.params)


# --- the zoo ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_every_network_of_the_zoo_at_level_three(name: str):
    graph = small(name)
    better, trace = optimize(graph, 3)
    assert verify(graph, better)
    assert ONNXRUNTIME.prices.whole(better) <= ONNXRUNTIME.prices.whole(graph)
    _, again = run_passes(better, [Step(stage.name, "again") for stage in trace], ONNXRUNTIME.prices)
    assert not any(stage.rewrites for stage in again), "a second run finds more"


@pytest.mark.parametrize("name", ["lenet5", "vgg11", "alexnet", "googlenet", "resnet18", "mlp"])
def test_fully_convolutional_forms(name: str):
    graph = small(name)
    better = run(graph, "canonicalize", "dense-to-conv")
    assert "dense" not in kinds(better)
    assert verify(graph, better)


# Multiply-adds before and after -O2, in millions.
SAVED = {
    "resnet50": (3858, 3482),  # hoist-stride: the last 3x3 and 1x1 of three stages
    "resnet152": (11282, 10907),
    "resnet50_v1_5": (4089, 4089),  # the stride sits on a 3x3 there
    "densenet121": (2834, 2603),  # move-pointwise: three transitions
    "unet_vgg11": (31188, 30109),  # move-pointwise: four decoders
    "unet_resnet18": (5431, 5258),
}


@pytest.mark.parametrize("name", SAVED)
def test_multiply_adds_saved(name: str):
    graph = ZOO[name].network()
    found = tuple(round(graph_cost(g).macs / 1e6) for g in (graph, optimize(graph, 2)[0]))
    assert found == SAVED[name]


# --- by price --------------------------------------------------------------------------------------------------------

FREE_CUTS = Prices(macs=1e12, bytes=1e9, layer=0.0, cut=0, appends=ONNXRUNTIME.prices.appends)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_siblings_are_left_where_slices_cost_more(name: str):
    _, (stage,) = run_passes(optimize(ZOO[name].network(), 2)[0], [Step("merge-siblings", "test")], ONNXRUNTIME.prices)
    assert not stage.rewrites
    assert all("one and its slices" in decline.why for decline in stage.declined)
    assert len(stage.declined) >= 9


def test_siblings_of_the_inception_modules_merge_where_cuts_are_free():
    graph = optimize(small("googlenet"), 2)[0]
    ledger = Ledger(FREE_CUTS)
    merged = PASSES["merge-siblings"].run(graph, ledger)
    modules = len({node.origin.scope for node in graph.ops if "inception" in node.origin.scope})
    assert [rewrite.rule for rewrite in ledger.rewrites].count("merge") == modules
    assert verify(graph, merged)


def test_squeeze_layers_sum_their_parts():
    graph = ZOO["squeezenet1_1"].network()
    better, _ = optimize(graph, 2)
    assert (kinds(graph).count("concat"), kinds(better).count("concat")) == (8, 2)  # two are read by a pool
    assert graph_cost(better).bytes_moved < graph_cost(graph).bytes_moved
