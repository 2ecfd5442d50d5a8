"""An engine is a file and a line in the table: one that is added here, in memory, is known to every command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from convc.backends import reference
from convc.compiler.bench import worker
from convc.compiler.bench.measure import write_network
from convc.compiler.bench.worker import Assignment
from convc.compiler.commands.console import Console
from convc.compiler.commands.doctor import command as doctor
from convc.compiler.commands.run import command as run
from convc.compiler.commands.verify import command as verify
from convc.compiler.engines.engine import Engine, Kernel, Run, capture_by, one_by_one, opened_by
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import BackendMissing, Mismatch, UsageError
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph

# By its prices the two convs become one, whose result is cut apart again; by those of onnxruntime they do not.
SIBLINGS = """graph @siblings(%x: f32[N,8,12,12]) {
  %v = param : f32[8,8,3,3]
  %w = param : f32[8,8,3,3]
  %a = conv2d(%x, %v)
  %b = conv2d(%x, %w)
  %ra = elu(%a)
  %rb = elu(%b)
  %y = mul(%ra, %rb)
  return %y
}
"""


def _start(graph: Graph, threads: int | None) -> Run:
    return lambda inputs: {name: value.astype("f4") for name, value in reference.run(graph, inputs, "f64").items()}


WIDE = Engine(
    name="wide",
    about="the reference in float64, rounded once",
    start=_start,
    open=opened_by(_start),
    capture=capture_by(_start),
    kernels=lambda graph: [Kernel(tuple(graph.ops))],  # nothing is rounded in between
    prices=replace(ONNXRUNTIME.prices, macs=1e12, layer=0.0, cut=0),
    word=lambda: "as wide as the oracle",
)


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network's file, where `wide` is an engine."""
    monkeypatch.setitem(ENGINES, WIDE.name, WIDE)
    (tmp_path / "net.cir").write_text(SIBLINGS)
    return str(tmp_path / "net.cir")


def said(command: click.Command, *words: str) -> str:
    done = CliRunner().invoke(command, words, obj=Console({}), catch_exceptions=False, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_verify_holds_it_to_the_oracle_end_to_end_and_node_by_node(net: str):
    text = said(verify, net, "--backends", "wide", "--nodes")
    assert "wide: y agrees" in text
    assert "wide: 1 values within their local bounds" in text


def test_verify_names_the_node_where_it_is_wrong(net: str, monkeypatch: pytest.MonkeyPatch):
    def start(graph: Graph, threads: int | None) -> Run:
        def wrong(inputs: dict[str, Array]) -> dict[str, Array]:
            return reference.run(graph, inputs, on_value=lambda node, operands, value: value * 1.01 if node.name == "rb" else None)

        return wrong

    monkeypatch.setitem(ENGINES, WIDE.name, replace(WIDE, start=start, capture=capture_by(start), kernels=one_by_one))
    with pytest.raises(Mismatch, match="wide: first node out of bounds: %rb = elu"):
        said(verify, net, "--backends", "wide")


def test_run_and_its_refusals_know_it(net: str):
    assert "y: f32[1, 8, 10, 10]" in said(run, net, "--backend", "wide")
    with pytest.raises(UsageError, match="did you mean 'wide'"):
        said(run, net, "--backend", "wid")


@pytest.mark.parametrize(("engine", "convs"), [("wide", 1), ("onnx", 2)])
def test_bench_optimizes_by_its_prices(net: str, engine: str, convs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where cuts are free, one conv takes the place of two."""
    seen: list[Graph] = []
    found = ENGINES[engine]
    kept = replace(found, start=lambda graph, threads: seen.append(graph) or found.start(graph, threads), start_profiled=None)
    monkeypatch.setitem(ENGINES, engine, kept)
    write_network(typed_graph(SIBLINGS), tmp_path)
    worker.job_of(Assignment(engine, 2, 1, {"N": 1}, str(tmp_path))).run()
    (graph,) = seen
    assert sum(node.kind.name == "conv2d" for node in graph.ops) == convs


def test_doctor_has_its_word(net: str, monkeypatch: pytest.MonkeyPatch):
    assert "as wide as the oracle" in said(doctor)

    def missing() -> str:
        raise BackendMissing("not today")

    monkeypatch.setitem(ENGINES, WIDE.name, replace(WIDE, word=missing))
    with pytest.raises(BackendMissing, match="wide cannot run here"):
        said(doctor)
