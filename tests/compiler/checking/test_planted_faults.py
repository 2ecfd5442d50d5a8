"""Planted faults, in passes and in a backend's results: every one is found and named to the rewrite or the node."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.checking.pass_check import PassCheck, bisect, refuse_failures
from convc.compiler.checking.verify import first_difference
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.table import ENGINES
from convc.compiler.files.inputs import random_inputs
from convc.ir.errors import Mismatch, PassFault, PassRolledBack
from convc.ir.graph import Graph, Node
from convc.ir.ops import OPS
from convc.ir.ops.activation import LeakyRelu
from convc.ir.ops.leaf import Param
from convc.ir.weights import Weights
from convc.passes.catalog import PASSES, Pass
from convc.passes.manager import Step, run_passes
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.faults import faulty_pass, spoilt
from convc.tests.support.graphs import typed_graph

NET = typed_graph(
    """graph @victim(%x: f32[N,4,13,11]) {
  %w1 = param : f32[8,2,3,3]
  %b1 = param {init=small} : f32[8]
  %s = param : f32[8]
  %t = param {init=small} : f32[8]
  %c1 = conv2d(%x, %w1, %b1) {strides=[2,1], pads=[1,0,2,1], groups=2}
  %n1 = batch_norm(%c1, %s, %t, %t, %s) {epsilon=0.001}
  %r1 = leaky_relu(%n1) {alpha=0.2}
  %w2 = param : f32[8,8,3,3]
  %c2 = conv2d(%r1, %w2, %b1) {pads=[2,1,2,3], dilations=[2,2]}
  %n2 = batch_norm(%c2, %s, %t, %t, %s) {epsilon=0.001}
  %r2 = relu(%n2)
  %p1 = max_pool(%r2) {kernel=[3,3], strides=[2,2], pads=[1,1,0,0], ceil_mode=true}
  %p2 = avg_pool(%p1) {kernel=[3,3], strides=[1,1], pads=[1,1,1,1]}
  %e = pad(%p2) {pads=[0,0,1,0,0,0,0,2], value=0.5}
  %k = concat(%e, %e, %e) {axis=1}
  %l = slice(%k) {axes=[1], starts=[4], ends=[20]}
  %u = resize(%l) {scales=[2.0,2.0], mode=bilinear, coordinates=half_pixel}
  %w3 = param : f32[16,3,2,2]
  %d = conv_transpose2d(%u, %w3) {strides=[2,2], groups=2}
  %q = transpose(%d) {perm=[0,1,3,2]}
  %g = reduce_mean(%q) {axes=[2]}
  %f = flatten(%g)
  %w4 = param : f32[5,120]
  %b4 = param {init=small} : f32[5]
  %h = dense(%f, %w4, %b4)
  %y = softmax(%h)
  return %y
}"""
)


def swap(values, i, j):
    values = list(values)
    values[i], values[j] = values[j], values[i]
    return tuple(values)


def scaled(node, operand, factor):
    """`node` reading another parameter in place of one operand: its values times a factor."""
    old = node.inputs[operand]
    weights = Weights.derived(old.typed, f"{node.name}.bad", lambda: old.weights.wide() * factor)
    new = Node(f"{node.name}.bad", old.kind, Param("given"), (), old.type, weights=weights)
    return node.reading(tuple(new if i == operand else x for i, x in enumerate(node.inputs)))


def op(**changes):
    return lambda node: node.like(op=replace(node.op, **changes))


# The victim, and what a faulty rewrite makes of it.
FAULTS = {
    "wrong epsilon": ("n1", op(epsilon=1e-5)),
    "swapped pads": ("c1", lambda n: n.like(op=replace(n.op, pads=swap(n.op.pads, 0, 2)))),
    "swapped axes of pads": ("c2", lambda n: n.like(op=replace(n.op, pads=(n.op.pads[0], n.op.pads[3], n.op.pads[2], n.op.pads[1])))),
    "ignored groups": ("c1", lambda n: n.like(inputs=(n.inputs[0], regrouped(n.inputs[1]), n.inputs[2]))),
    "dilation and pads halved": ("c2", op(dilations=(1, 1), pads=(1, 0, 1, 2))),
    "lost bias": ("c1", lambda n: n.like(inputs=n.inputs[:2])),
    "shared weight scaled twice": ("c2", lambda n: scaled(n, 1, 1.01)),
    "weights rounded to half": ("c2", lambda n: scaled(n, 1, 1 + 2**-12)),
    "one weight ulp too many": ("h", lambda n: scaled(n, 1, 1 + 2**-20)),
    "mean for shift": ("n2", lambda n: n.reading((*n.inputs[:2], n.inputs[1], *n.inputs[3:]))),
    "scale and variance swapped": ("n2", lambda n: n.reading((n.inputs[0], n.inputs[2], *n.inputs[2:]))),
    "slope ignored": ("r1", op(alpha=0.01)),
    "dropped relu": ("r2", lambda n: n.like(kind=OPS["leaky_relu"], op=LeakyRelu(1.0))),
    "ceil_mode off by one": ("p1", op(ceil_mode=False, pads=(0, 0, 1, 1))),
    "max for average": ("p2", lambda n: n.like(kind=OPS["max_pool"], op=OPS["max_pool"].Attrs((3, 3), (1, 1), (1, 1, 1, 1)))),
    "pads counted": ("p2", op(count_include_pad=True)),
    "pad value lost": ("e", op(value=0.0)),
    "pad on the other side": ("e", op(pads=(0, 0, 0, 2, 0, 0, 1, 0))),
    "slice off by one": ("l", op(starts=(3,), ends=(19,))),
    "other coordinates": ("u", op(coordinates="asymmetric")),
    "nearest for bilinear": ("u", op(mode="nearest")),
    "perm forgotten": ("q", lambda n: n.like(kind=OPS["reshape"], op=OPS["reshape"].Attrs(n.typed.shape))),
    "mean over the other axis": ("g", op(axes=(3,))),
}


def regrouped(weight):
    """The same filters, the two halves exchanged: what comes of folding by output block in place of group."""
    values = Weights.derived(weight.typed, "bad", lambda: np.roll(weight.weights.wide(), 4, axis=0))
    return Node("bad", weight.kind, Param("given"), (), weight.type, weights=values)


STEPS = (Step("drop-identity", "before"), Step("faulty", "the planted one"), Step("fuse-conv-bn", "after"))


@pytest.mark.parametrize("fault", FAULTS)
def test_bisect_names_the_pass_and_the_rewrite(fault):
    victim, break_ = FAULTS[fault]
    found = bisect(NET, STEPS, PassCheck(NET), ONNXRUNTIME.prices, {**PASSES, "faulty": faulty_pass(victim, break_)})
    assert found is not None, "the fault went unnoticed"
    assert found.name == "faulty"
    assert found.rewrite.root == victim
    assert [node.name for node in NET.ops][found.number - 1] == victim


@pytest.mark.parametrize("fault", ["wrong epsilon", "slope ignored", "mean for shift", "other coordinates", "pad value lost"])
def test_the_first_value_that_differs_is_named(fault):
    victim, break_ = FAULTS[fault]
    broken = faulty_pass(victim, break_).run(NET, Ledger(ONNXRUNTIME.prices))
    assert first_difference(NET, broken, random_inputs(NET)).name == victim


def test_a_failing_pass_is_rolled_back_and_a_reproducer_written(tmp_path):
    catalog = {**PASSES, "faulty": faulty_pass(*FAULTS["wrong epsilon"])}
    check = PassCheck(NET)
    better, trace = run_passes(NET, STEPS, ONNXRUNTIME.prices, check=check, catalog=catalog)
    assert "y DIFFERS" in trace[1].problem
    assert trace[1].graph is trace[0].graph, "rolled back"
    assert "batch_norm" not in trace[2].op_counts, "later passes ran"
    assert not PassCheck(NET)(NET, better)
    with pytest.raises(Mismatch, match="pass faulty was rolled back"):
        refuse_failures(NET, trace, check, tmp_path)
    files = {path.name for path in (tmp_path / "reproducer-faulty").iterdir()}
    assert files == {"before.cir", "weights.safetensors", "inputs.npz", "command.txt"}
    assert (tmp_path / "reproducer-faulty" / "command.txt").read_text().startswith("convc bisect before.cir -p faulty")


@pytest.mark.parametrize(
    ("name", "run", "words"),
    [
        ("raises", lambda graph, ledger: {}["missing"], "KeyError"),
        (
            "renames",
            lambda graph, ledger: graph.rebuild(lambda n, o: n.reading(o).like(name="z" if n.name == "y" else n.name)),
            "the outputs were",
        ),
        ("dangles", lambda graph, ledger: Graph(graph.name, graph.inputs, graph.outputs, graph.nodes[5:]), "not defined before it"),
        (
            "retypes",
            lambda graph, ledger: graph.rebuild(
                lambda n, o: n.reading(o).like(op=OPS["softmax"].Attrs(5)) if n.name == "y" else n.reading(o)
            ),
            "axis 5",
        ),
    ],
)
def test_a_pass_that_breaks_the_graph_is_rolled_back(name, run, words):
    steps, catalog = (Step("broken", ""), Step("fuse-conv-bn", "")), {**PASSES, "broken": Pass("broken", run, "")}
    for check in (None, PassCheck(NET)):
        with pytest.warns(PassRolledBack, match="pass broken broke the graph, which is a fault of convc: .*goes on without it"):
            _, trace = run_passes(NET, steps, ONNXRUNTIME.prices, check=check, catalog=catalog)
        assert trace[0].graph is NET
        assert words in trace[0].problem
        assert trace[1].changed, "later passes ran"
        refuse_failures(NET, trace, PassCheck(NET))  # what came of the others is right
    assert bisect(NET, steps, PassCheck(NET), ONNXRUNTIME.prices, catalog).name == "broken"


def test_a_broken_pass_that_is_no_optimization_ends_the_work():
    catalog = {"narrow": Pass("narrow", lambda graph, ledger: {}["missing"], "", exact=False)}
    with pytest.raises(PassFault, match=r"fault of convc: KeyError: 'missing' \(test_planted_faults.py:\d+\)") as caught:
        run_passes(NET, [Step("narrow", "")], ONNXRUNTIME.prices, catalog=catalog)
    assert caught.value.exit_code == 1


def test_memory_that_is_not_there_is_no_fault_of_a_pass():
    def run(graph, ledger):
        raise MemoryError

    with pytest.raises(MemoryError):
        run_passes(NET, [Step("broken", "")], ONNXRUNTIME.prices, catalog={"broken": Pass("broken", run, "")})


def one_element(value, change):
    at = np.unravel_index(abs(value).argmax(), value.shape)
    value[at] = change(value[at])
    return value


SPOILS = {
    "one pixel off by a thousandth": ("c2", lambda v: one_element(v, lambda e: e * 1.001)),
    "one NaN": ("n1", lambda v: one_element(v, lambda e: math.nan)),
    "one infinity": ("p2", lambda v: one_element(v, lambda e: math.inf)),
    "a shifted row": ("c1", lambda v: np.roll(v, 1, axis=2)),
    "swapped channels": ("d", lambda v: v[:, ::-1].copy()),
    "all zero": ("r1", lambda v: v * 0),
    "a relu that lets a little through": ("r2", lambda v: np.where(v == 0, -1e-6, v).astype(v.dtype)),
    "rounded to half": ("h", lambda v: v.astype(np.float16).astype(v.dtype)),
    "rows that do not sum to one": ("y", lambda v: v * np.float32(1.0001)),
    "a transpose of the wrong axes": ("q", lambda v: np.ascontiguousarray(v[:, :, ::-1])),
    "one max too low": ("p1", lambda v: one_element(v, lambda e: np.nextafter(e, np.float32(-np.inf)))),
    "one mean": ("g", lambda v: one_element(v, lambda e: e + np.float32(1e-4))),
}


@pytest.mark.parametrize("fault", SPOILS)
@pytest.mark.parametrize("engine", ["reference", "onnx"])
def test_the_node_check_names_the_faulty_node(engine, fault):
    victim, spoil = SPOILS[fault]
    check = check_nodes(NET, spoilt(ENGINES[engine], victim, spoil), random_inputs(NET), fused=False)
    assert check.first_bad is not None, "the fault went unnoticed"
    assert check.first_bad.node.name == victim


@pytest.mark.parametrize("engine", ["reference", "onnx", "tvm"])
@pytest.mark.parametrize("fused", [True, False])
def test_honest_engines_pass(engine, fused):
    graph, _ = run_passes(NET, [Step("fuse-conv-bn", "")], ONNXRUNTIME.prices)
    check = check_nodes(graph, ENGINES[engine], random_inputs(NET), 1, fused=fused)
    assert check.agrees, str(check)
    # the convs cover the two activations after them; TVM's dense layer the flatten before it, too
    covered = {"reference": 0, "onnx": 2, "tvm": 3}[engine] if fused else 0
    assert check.checked == len(list(graph.ops)) - covered


def test_a_fault_in_a_fused_group_is_named_with_what_it_covers():
    graph, _ = run_passes(NET, [Step("fuse-conv-bn", "")], ONNXRUNTIME.prices)
    check = check_nodes(graph, spoilt(ONNXRUNTIME, "r2", lambda v: v * np.float32(1.01)), random_inputs(NET))
    assert check.first_bad.node.name == "r2"
    assert check.first_bad.covers == ("r2",), "it is there without fusion too, in one node"


def test_what_is_lost_of_small_numbers_is_seen():
    """Beside 1e-20 the least normal float32 is nothing: who has 0 there has flushed no denormal."""
    graph = typed_graph("graph @g(%x: f32[4]) { %y = add(%x, %x) return %y }")
    lost = spoilt(ENGINES["reference"], "y", lambda value: value * 0)
    assert check_nodes(graph, lost, {"x": np.full(4, 1e-39, np.float32)}).agrees
    assert not check_nodes(graph, lost, {"x": np.full(4, 1e-20, np.float32)}).agrees


def test_what_goes_by_leaps_is_right_or_wrong():
    graph = typed_graph("""graph @g(%b: f32[1,6,4], %s: f32[1,2,6]) {
        %most = param {init=full, value=3.0} : i64[]
        %y = non_max_suppression(%b, %s, %most) {count=K, given=[most]} return %y }""")
    draws = np.random.default_rng(0)
    inputs = {"b": draws.random((1, 6, 4), np.float32), "s": draws.random((1, 2, 6), np.float32)}
    assert check_nodes(graph, ENGINES["reference"], inputs).agrees
    assert not check_nodes(graph, spoilt(ENGINES["reference"], "y", lambda value: value[::-1].copy()), inputs).agrees
