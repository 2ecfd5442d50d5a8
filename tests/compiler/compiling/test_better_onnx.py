"""What the check of an optimized file costs where all is well, and that it takes its time where something is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import convc as cc
from convc.backends import reference
from convc.compiler.checking import verify as verifying
from convc.compiler.compiling import better_onnx
from convc.compiler.compiling.better_onnx import Better, better_file, check_better
from convc.compiler.engines.optimize import optimize
from convc.compiler.files.inputs import random_inputs
from convc.tests.support.graphs import typed_graph

NET = """graph @net(%x: f32[1,3,12,12]) {
    %w = param : f32[8,3,3,3]
    %g = param {init=around_one} : f32[8]
    %b = param {init=small} : f32[8]
    %m = param {init=small} : f32[8]
    %v = param {init=around_one} : f32[8]
    %conv = conv2d(%x, %w)
    %norm = batch_norm(%conv, %g, %b, %m, %v)
    %y = relu(%norm)
    return %y
}"""


def better_of(text: str, tmp_path: Path) -> Better:
    cc.export_onnx(typed_graph(text), tmp_path / "net.onnx")
    made = better_file(tmp_path / "net.onnx", lambda graph, left_out: optimize(graph, 2), {})
    assert made.model is not None
    return made


@pytest.fixture
def better(tmp_path: Path) -> Better:
    return better_of(NET, tmp_path)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs of the float64 interpreter, by network."""
    made: list[str] = []
    real: Callable[..., Any] = reference.side_by_side

    def counted(graph: cc.Graph, inputs: Any, precision: str, on_values: Any, settle: Any = None) -> Any:
        made.extend([graph.name] * len(on_values))
        return real(graph, inputs, precision, on_values, settle)

    monkeypatch.setattr(reference, "side_by_side", counted)
    return made


def test_three_runs_in_float64_will_do(better: Better, runs: list[str]) -> None:
    lines: list[str] = []
    assert check_better(better, [random_inputs(better.before)], 0, lines.append)
    assert len(runs) == 3  # the network, the rewritten one, and how far rounding leads
    assert [line.split(":")[0] for line in lines] == ["@net", "onnx", "onnx on net.onnx"]
    assert all("agrees" in line for line in lines)


def test_one_run_is_no_measure_of_a_few_values(tmp_path: Path, runs: list[str]) -> None:
    few = NET.replace("return %y", "%mean = global_avg_pool(%y) return %mean")
    made = better_of(few, tmp_path)
    assert check_better(made, [random_inputs(made.before)], 0, lambda line: None)
    assert len(runs) == 5  # how far rounding leads by three


def test_what_is_not_as_close_is_held_to_the_noise(better: Better, runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "CLOSE", 0.0)
    monkeypatch.setattr(better_onnx, "all_agree", lambda lines: False)
    assert check_better(better, [random_inputs(better.before)], 0, lambda line: None)
    assert len(runs) > 8


def test_a_wrong_file_is_refused(better: Better, runs: list[str]) -> None:
    for node in better.model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Sigmoid"
    with pytest.raises(cc.Mismatch, match="onnx: y DIFFERS"):
        check_better(better, [random_inputs(better.before)], 0, lambda line: None)
