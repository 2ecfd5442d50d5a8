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
from convc.ir.errors import UnsupportedOp
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


def product(opset: int = 17) -> Any:
    """A product before what computes in float32: casts on both sides."""
    constants = {"k": np.random.default_rng(0).standard_normal((8, 8, 1, 1)).astype(np.float32)}
    nodes = [helper.make_node("Dropout", ["x"], ["d"]), helper.make_node("Conv", ["d", "k"], ["c"]), helper.make_node("Exp", ["c"], ["y"])]
    return model_of(nodes, {"x": [1, 8, 8, 8]}, ["y"], constants, opset)


def named(graph: Any, left_out: tuple[str, ...]) -> Any:
    enabled = [name for name in ("to-bfloat16",) if name not in left_out]
    return run_passes(graph, select(LEVELS[2], enable=enabled), ONNXRUNTIME.prices)


def test_a_pass_that_is_named_is_done_whatever_rises(tmp_path: Path):
    heard: list[str] = []
    path = written(tmp_path, product(22))
    better = better_file(path, named, {}, named=["to-bfloat16"], say=heard.append)
    figures = "nodes from 3 to 4, bookkeeping nodes from 0 to 2, arena from 2,048 to 3,072"
    assert heard == [f"note: to-bfloat16 asked for by name, whatever rises: {figures}"]
    assert [node.op_type for node in better.model.graph.node] == ["Cast", "Conv", "Cast", "Exp"]
    assert better_file(path, named, {}).model is None  # where nobody named it


def test_a_pass_that_is_named_and_needs_a_newer_opset_is_refused(tmp_path: Path):
    with pytest.raises(UnsupportedOp, match=r"^to-bfloat16 was asked for, and %c = .*ONNX Conv has no bf16 at opset 17; opset 22 has it"):
        better_file(written(tmp_path, product()), named, {}, named=["to-bfloat16"])


def test_a_pass_that_is_named_and_finds_nothing_says_so(tmp_path: Path):
    nodes = [helper.make_node("Exp", ["x"], ["y"])]
    heard: list[str] = []
    better = better_file(written(tmp_path, model_of(nodes, {"x": [1, 8]}, ["y"])), named, {}, named=["to-bfloat16"], say=heard.append)
    assert better.model is None
    assert heard == ["to-bfloat16 changed nothing; -v says what declined"]


@pytest.mark.parametrize("name", ["resize_ts11", "masks_ts17", "pools_ts12_bn", "pads_dynamo20", "shuffle_ts13", "norms_dynamo21"])
def test_no_figure_rises(name: str):
    better = better_file(TORCH / f"{name}.onnx", run, {})
    old, new = better.figures
    assert better.model is not None
    assert not list(rises(old, new))
    assert all(new.value(what) <= old.value(what) for what in FIGURES if what != "params")
