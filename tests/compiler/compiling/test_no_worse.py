"""A pass that makes a figure of the file worse, or needs a newer opset, is left out and named; a figure never rises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from convc.backends.onnx.read.call import given
from convc.compiler.compiling.better_onnx import better_file
from convc.compiler.compiling.figures import FIGURES, Figures, is_better, rises
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.graph import Node
from convc.ir.ops import OPS
from convc.passes.catalog import PASSES, Pass
from convc.passes.manager import Step, run_passes, select
from convc.passes.pipelines import LEVELS
from convc.tests.support.onnx_files import model_of, written
from convc.tests.support.places import TORCH


def run(graph: Any, left_out: tuple[str, ...]) -> Any:
    return run_passes(graph, select(LEVELS[3], skip=left_out), ONNXRUNTIME.prices)


def figures(**changes: Any) -> Figures:
    plain: dict[str, Any] = {"operators": {"Conv": 3}, "params": 320, "macs": 100, "nanoseconds": 50, "file_bytes": 6400, "arena": 64}
    return Figures(**(plain | changes))


@pytest.mark.parametrize(
    ("changes", "worse"),
    [
        ({}, []),
        ({"nanoseconds": 99}, []),
        ({"macs": 101}, ["macs"]),
        ({"arena": 65}, ["arena"]),
        ({"params": 321, "file_bytes": 6401}, ["params", "file bytes"]),
        ({"operators": {"Conv": 2}, "params": 330, "file_bytes": 6600}, []),  # a bias for a node
        ({"operators": {"Conv": 2}, "params": 331, "file_bytes": 6601}, ["params", "file bytes"]),
        ({"operators": {"Conv": 2}, "params": 999}, []),  # stored where it was computed
        ({"macs": 99, "params": 321}, []),
        ({"operators": {"Conv": 2, "Reshape": 1}}, ["bookkeeping", "Reshape"]),
        ({"operators": {"Conv": 2, "Flatten": 2}}, ["nodes", "bookkeeping"]),
    ],
)
def test_what_is_worse(changes: Any, worse: list[str]):
    assert [rise.what for rise in rises(figures(), figures(**changes))] == worse


def test_a_few_bytes_are_not_better():
    assert not is_better(figures(), figures(file_bytes=6390))
    assert is_better(figures(), figures(nanoseconds=49))


def test_a_pass_that_adds_nodes_is_left_out_and_named(tmp_path: Path):
    """A 1x1 convolution of a concatenation, as three whose results are added, is fewer bytes moved and more nodes."""
    constants = {"k": np.random.default_rng(0).standard_normal((32, 64, 1, 1)).astype(np.float32)}
    nodes = [helper.make_node("Identity", ["x"], ["0"])]
    nodes += [helper.make_node("MaxPool", [str(i)], [str(i + 1)], kernel_shape=[5, 5], pads=[2, 2, 2, 2]) for i in range(3)]
    nodes += [helper.make_node("Concat", ["x", "1", "2", "3"], ["j"], axis=1), helper.make_node("Conv", ["j", "k"], ["y"])]
    heard: list[str] = []
    better = better_file(written(tmp_path, model_of(nodes, {"x": [1, 16, 112, 112]}, ["y"], constants)), run, {}, say=heard.append)
    assert heard == ["split-concat is left out: nodes would rise from 6 to 10"]
    assert better.model is not None
    assert not list(rises(*better.figures))
    assert "split-concat" not in {stage.name for stage in better.trace}


def test_a_pass_that_needs_a_newer_opset_is_left_out_and_named(tmp_path: Path):
    """relu(-c) as -min(c, 0), which broadcasts from opset 8 on."""

    def lowest(graph: Any, ledger: Any) -> Any:
        def visit(node: Any, operands: Any) -> Any:
            if node.name != "y":
                return node.reading(operands)
            (c,), origin = operands[0].inputs, node.origin
            ledger.record("lowest", "y", ("y",))
            low = Node("low", OPS["minimum"], OPS["minimum"].Attrs(), (c, given("zero", np.zeros(1, np.float32), origin)), c.type, origin)
            return node.like(kind=OPS["neg"], op=OPS["neg"].Attrs(), inputs=(low,))

        return graph.rebuild(visit)

    catalog = {**PASSES, "lowest": Pass("lowest", lowest, "a test's")}

    def run_it(graph: Any, left_out: tuple[str, ...]) -> Any:
        steps = [step for step in (*LEVELS[1], Step("lowest", "a test's")) if step.name not in left_out]
        return run_passes(graph, steps, ONNXRUNTIME.prices, catalog=catalog)

    nodes = [
        helper.make_node(kind, [x], [y]) for kind, x, y in (("Dropout", "x", "d"), ("Exp", "d", "c"), ("Neg", "c", "n"), ("Relu", "n", "y"))
    ]
    heard: list[str] = []
    better = better_file(written(tmp_path, model_of(nodes, {"x": [1, 8, 8, 8]}, ["y"], opset=7)), run_it, {}, say=heard.append)
    assert heard == ["lowest is left out: %low = minimum: Min of operands of different shapes needs ONNX opset 8, not 7"]
    assert better.model is not None
    assert [node.op_type for node in better.model.graph.node] == ["Exp", "Neg", "Relu"]


@pytest.mark.parametrize("name", ["resize_ts11", "masks_ts17", "pools_ts12_bn", "pads_dynamo20", "shuffle_ts13", "norms_dynamo21"])
def test_no_figure_rises(name: str):
    better = better_file(TORCH / f"{name}.onnx", run, {})
    old, new = better.figures
    assert better.model is not None
    assert not list(rises(old, new))
    assert all(new.value(what) <= old.value(what) for what in FIGURES if what != "params")
