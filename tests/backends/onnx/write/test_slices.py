"""Slices in ONNX: those that are all of a value are one Split, at every opset; no others are."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.onnx.write.export import to_model
from convc.ir.graph import Graph
from convc.ir.parser import parse_graph
from convc.tests.support.onnx_files import hold_onnxruntime

X = np.arange(2 * 6 * 4, dtype=np.float32).reshape(2, 6, 4)


def cut(*parts: str) -> Graph:
    lines = [f"  %p{i} = slice(%r) {{{part}}}" for i, part in enumerate(parts)]
    names = ", ".join(f"%p{i}" for i in range(len(parts)))
    types = ["  %r = relu(%x) : f32[2,6,4]", *lines]
    graph = parse_graph("graph @cut(%x: f32[2,6,4]) {\n" + "\n".join(types) + f"\n  return {names}\n}}\n")
    return inferred(graph)


def inferred(graph: Graph) -> Graph:
    from convc.compiler.engines.onnxruntime import ONNXRUNTIME
    from convc.passes.infer_shapes import infer_shapes
    from convc.passes.rewriting.ledger import Ledger

    return infer_shapes(graph, Ledger(ONNXRUNTIME.prices))


def operators(graph: Graph, opset: int) -> list[str]:
    model = to_model(graph, opset)
    hold_onnxruntime(graph, model, {"x": X})
    return [node.op_type for node in model.graph.node]


THIRDS = ("axes=[1], starts=[2], ends=[4]", "axes=[-2], starts=[0], ends=[2]", "axes=[1], starts=[-2], ends=[99]")


@pytest.mark.parametrize("opset", [9, 11, 13, 18])
def test_parts_that_are_all_of_a_value_in_any_order(opset: int) -> None:
    assert operators(cut(*THIRDS), opset) == ["Relu", "Split"]


def test_two_cuts_of_one_value() -> None:
    rows = ("axes=[2], starts=[0], ends=[3]", "axes=[2], starts=[3], ends=[4]")
    assert operators(cut(*THIRDS, *rows), 17) == ["Relu", "Split", "Split"]


@pytest.mark.parametrize(
    "parts",
    [
        THIRDS[:2],  # not all of it
        ("axes=[1], starts=[0], ends=[3]", "axes=[1], starts=[2], ends=[6]"),  # some of it twice
        ("axes=[1], starts=[0], ends=[6], steps=[2]", "axes=[1], starts=[1], ends=[6], steps=[2]"),
        ("axes=[1,2], starts=[0,0], ends=[3,2]", "axes=[1], starts=[3], ends=[6]"),
        ("axes=[1], starts=[0], ends=[6]",),
    ],
)
def test_other_slices_stand_alone(parts: tuple[str, ...]) -> None:
    assert operators(cut(*parts), 17) == ["Relu", *["Slice"] * len(parts)]


def test_a_part_that_is_cut_twice_is_cut_once_more() -> None:
    assert operators(cut(*THIRDS, THIRDS[0]), 17) == ["Relu", "Split", "Slice"]
