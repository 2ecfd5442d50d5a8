"""A few hundred random networks in every test run; `make fuzz` tries as many as there is time for."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from convc.backends import reference
from convc.backends.tvm.cpu.kernels.layout import LANES
from convc.backends.tvm.cpu.tiles import tiles_by_size
from convc.backends.tvm.processor import AVX2
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.graph import Graph, Node
from convc.ir.ops import OPS
from convc.ir.ops.leaf import INPUT, Input
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.ir.verifier import verify_graph
from convc.passes import catalog
from convc.passes.analysis.prices import Prices
from convc.passes.catalog import Pass
from convc.passes.manager import Step, run_passes
from convc.passes.rewriting.ledger import Ledger
from convc.tests.fuzz import fuzz
from convc.tests.fuzz.checks import EXACT, PASS_CHECKS, Subject, capped_nothing, complaint, pass_checks, without_casts
from convc.tests.fuzz.random_networks import RARE, alone, networks, random_inputs_of, random_network
from convc.tests.fuzz.shrink import changed, shrink
from convc.tests.support.graphs import typed_graph

EXAMPLES = settings(
    deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
BLOCK = 50


def hold(name: str, graph: Graph) -> None:
    wrong = complaint(name, Subject(graph))
    assert wrong is None, f"{name}: {wrong}\n{print_graph(graph)}"


@given(networks())
@EXAMPLES
def test_text_survives_the_round_trip(graph):
    verify_graph(graph)
    hold("text", graph)


@given(networks())
@EXAMPLES
def test_every_pass_and_level_keeps_results(graph):
    subject = Subject(graph)
    for name in PASS_CHECKS:
        wrong = complaint(name, subject)
        assert wrong is None, f"{name}: {wrong}"


def test_a_size_that_no_empty_batch_leaves_is_refused_in_a_sentence():
    hold("empty batch", parse_graph("graph @net(%x0: f32[N,1], %x1: f32[1,(N+1)//2+N-1]) { return %x1 }"))


@pytest.mark.parametrize("first", range(0, 6 * BLOCK, BLOCK))
def test_passes_alone_and_in_random_order(first):
    for seed in range(first, first + BLOCK):
        subject = Subject(random_network(seed))
        for name in pass_checks(seed):
            wrong = complaint(name, subject)
            assert wrong is None, f"seed {seed}, {name}: {wrong}\n{print_graph(subject.graph)}"
        assert capped_nothing(subject.graph), f"seed {seed}: a pass that may make no rewrite makes one"


@pytest.mark.parametrize("name", ["reference -O0", "onnx -O0", "onnx -O3"])
def test_engines_agree(name):
    for seed in range(1000, 1040):
        hold(name, random_network(seed))


@pytest.mark.parametrize("seed", range(2000, 2006))
def test_tvm_agrees(seed):
    hold("tvm -O0", random_network(seed))
    hold("tvm -O3", random_network(seed))
    hold("stock -O0", random_network(seed))


@pytest.mark.parametrize("first", range(20, 40, 5))
def test_stock_rows_agree_on_transposed_convolutions(first: int):
    """One in ten of these is wrong where LLVM vectorizes what wraps around at a power of two: of twenty four on a Zen 4."""
    single = (g for g in map(random_network, range(6000, 7000)) if all(n.typed.dtype == "f32" for n in g.nodes if n.typed.is_float))
    for graph in islice((g for g in single if any(map(is_grown, g.ops))), first, first + 5):
        hold("stock -O0", grown_alone(graph))


def is_grown(node: Node) -> bool:
    return node.kind is OPS["conv_transpose2d"] and max(node.op.strides) > 2


def grown_alone(graph: Graph) -> Graph:
    """These convolutions of a network, of inputs in place of what it computes for them."""
    grown = [node for node in graph.ops if is_grown(node)]
    computed = {
        operand: lambda _, at=operand: Node(at.name, INPUT, Input(), (), at.type)
        for node in grown
        for operand in node.inputs
        if operand.inputs
    }
    cut = changed(Graph(graph.name, graph.inputs, tuple(grown), graph.nodes), computed)
    assert cut is not None
    return Graph.of(cut.name, cut.inputs, cut.outputs, cut.nodes)


def test_the_generator_repeats_itself_and_makes_every_op_without_nan():
    made = set()
    for seed in range(600):
        graph = random_network(seed)
        assert print_graph(random_network(seed)) == print_graph(graph)
        made |= {node.kind.name for node in graph.nodes}
        for value in reference.run(graph, random_inputs_of(graph), "f64").values():
            assert not np.isnan(value).any(), f"seed {seed}"
    made |= {node.kind.name for motif in RARE for seed in range(60) for node in alone(motif, seed).nodes}
    # importers alone make these, from named sizes and foreign operators; tests/backends/onnx has their cases
    assert OPS.keys() - made == {"range", "random_uniform", "opaque", "opaque_result", "non_max_suppression"}


def test_what_is_mixed_is_in_networks_for_tvm():
    """Of 10,000 at -O3 that were asked for, each of these is in hundreds."""
    found = Counter[str]()
    for seed in range(200):
        graph = random_network(seed, mixing=True)
        in_tiles = tiles_by_size(graph, "auto", AVX2)
        found.update({part for node in graph.ops for part in (*parts_of(node), *groups_of(node, in_tiles))})
    assert {name: count for name, count in found.items() if count < 15} == {}
    kinds = {"tokens", "channels last", "norms", "heads", "attention", "narrow groups", "shuffles"}
    assert set(found) == kinds | {"whole groups", "strided whole groups", "dilated whole groups", "whole groups in tiles"}


def parts_of(node: Node) -> Iterator[str]:
    x = node.inputs[0] if node.inputs else node
    if node.kind is OPS["matmul"] and node.inputs[1].weights is not None:
        yield {3: "tokens", 4: "channels last"}.get(node.typed.rank, "tokens")
    if node.kind is OPS["matmul"] and x.kind is OPS["softmax"]:
        yield "heads"
    if node.kind.name in ("layer_norm", "group_norm", "instance_norm"):
        yield "norms"
    if node.kind is OPS["attention"]:
        yield "attention"
    if node.kind is OPS["conv2d"] and node.op.groups > 1 and 2 <= node.inputs[1].typed.shape[1] <= 15:
        yield "narrow groups"
    if node.kind is OPS["reshape"] and x.kind is OPS["transpose"] and x.inputs[0].kind is OPS["reshape"] and x.op.perm[:3] == (0, 2, 1):
        yield "shuffles"


def groups_of(node: Node, in_tiles: Collection[str]) -> Iterator[str]:
    """Of a convolution in groups of whole blocks of channels."""
    if node.kind is not OPS["conv2d"] or node.op.groups == 1 or node.inputs[1].typed.shape[1] % LANES:
        return
    yield "whole groups"
    yield from ["strided whole groups"] * (node.op.strides != (1, 1))
    yield from ["dilated whole groups"] * (node.op.dilations != (1, 1))
    yield from ["whole groups in tiles"] * (node.name in in_tiles)


def test_every_pass_is_reached():
    """A pass that no random network triggers is not fuzzed."""
    missing = set(EXACT) - {"infer-shapes"}  # these networks have their types
    for seed in range(800):
        graph = random_network(seed)
        for name in sorted(missing):
            ledger = Ledger(ONNXRUNTIME.prices)
            catalog.PASSES[name].run(graph, ledger)
            missing -= {name} if ledger.rewrites else set()
        if not missing:
            return
    assert missing == set()


def test_siblings_merge_where_cuts_are_free():
    """The prices of real targets leave most slices alone, so here they cost nothing."""
    free, merged = Prices(macs=1e12, bytes=1e9, layer=0.0, cut=0, appends=ONNXRUNTIME.prices.appends), 0
    for seed in range(320):
        graph = random_network(seed)
        better, (stage,) = run_passes(graph, [Step("merge-siblings", "free")], free)
        merged += len(stage.rewrites)
        if stage.rewrites:
            subject = Subject(graph)
            wrong = subject.differs(subject.exact, "f64", reference.run(without_casts(better), subject.inputs, "f64"))
            assert wrong is None, f"seed {seed}: {wrong}\n{print_graph(graph)}"
    assert merged > 20


def forget_the_shift(graph: Graph, ledger: Ledger) -> Graph:
    """A planted fault: relu(batch_norm(x)) becomes relu(x)."""

    def visit(node: Node, operands: tuple[Node, ...]) -> Node:
        node = node.reading(operands)
        if not ledger.is_open or node.kind is not OPS["relu"] or operands[0].kind is not OPS["batch_norm"]:
            return node
        ledger.record("forget", node.name, (operands[0].name,))
        return node.reading(operands[0].inputs[:1])

    return graph.rebuild(visit)


def test_a_planted_fault_is_found_shrunk_and_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(catalog.PASSES, "planted", Pass("planted", forget_the_shift, "wrong"))
    graph = next(g for g in map(random_network, range(1000)) if complaint("pass planted", Subject(g)) and len(g.nodes) > 15)
    tally = fuzz.Tally()
    fuzz.examine(graph, ("pass planted",), tally, tmp_path)
    assert tally.failures == {"pass planted: results differ": 1}
    small = parse_graph(Path(tally.written[0]).read_text())
    assert [node.kind.name for node in small.ops] == ["batch_norm", "relu"]
    assert small.inputs[0].typed.shape == (1, 1, 1, 1) or small.inputs[0].typed.shape == (1, 1)
    assert fuzz.again([Path(tally.written[0])], "pass planted") == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_shrinking_keeps_what_fails():
    graph = next(g for g in map(random_network, range(1000)) if any(n.kind is OPS["concat"] and len(n.inputs) > 2 for n in g.ops))
    small = shrink(graph, lambda g: any(node.kind is OPS["concat"] for node in g.ops))
    assert [node.kind.name for node in small.ops] == ["concat"]
    assert small.nodes[-1].typed.numel == 1


def test_the_fuzzer_says_count_seed_and_time(tmp_path):
    script = Path(fuzz.__file__)
    words = ("--count", "12", "--seed", "7", "--jobs", "1", "--corpus", str(tmp_path / "corpus"), "--out", str(tmp_path))
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("12 networks of ")
    assert "0 failures; seed 7" in done.stdout
    assert list((tmp_path / "corpus").glob("*.cir"))


def test_casts_that_go_leave_one_type_to_each_node():
    """A node of float32 beside the operand of a cast that is none now: sizes with names are verified with their numbers."""
    text = "graph @g(%x: f64[1,N], %y: f32[1,N]) {\n  %a = cast(%x) {to=f32}\n  %z = add(%a, %y)\n  return %z, %a\n}\n"
    wide = without_casts(typed_graph(text))
    x, y = np.full((1, 3), 1 + 2.0**-40), np.ones((1, 3), np.float32)
    assert reference.run(wide, {"x": x, "y": y}, "f64")["z"].tolist() == [[2 + 2.0**-40] * 3]
    verify_graph(wide)
