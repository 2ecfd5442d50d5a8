"""An artifact for some batches is held in each of them, in each place, and until its runs are replays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.checking.batches import compare_batches
from convc.compiler.checking.hold import Readied
from convc.compiler.checking.oracle import Agreement, Oracle
from convc.compiler.engines.engine import FixedRuns
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph

APART = typed_graph("graph @apart(%x: f32[N,8]) { %w = param : f32[4,8] %s = dense(%x, %w) %y = softmax(%s) return %y, %s }")
JOINED = typed_graph("graph @joined(%x: f32[N,8]) { %y = softmax(%x) {axis=0} return %y }")
WHOLE = typed_graph("graph @whole(%x: f32[2,8]) { %y = softmax(%x) {axis=0} return %y }")
ENGINE = replace(ONNXRUNTIME, fixed=FixedRuns((1, 8), (32,), 3), plain=None)
Fault = Callable[[int, int, Array, Array], Array]  # from batch, number of its run from 1 on, result and that of the run before


def lines(graph: Graph, fault: Fault | None = None, images: int = 1) -> list[Agreement]:
    """Of an engine that is right but for the fault, which is in the first output."""
    inputs = random_inputs(graph, sizes={"N": images})
    before: dict[int, list[Array]] = {}

    def run(given: dict[str, Array]) -> dict[str, Array]:
        results = reference.run(graph, given)
        batch = len(given["x"])
        seen = before.setdefault(batch, [])
        seen.append(results["y"])
        changed = fault(batch, len(seen), seen[-1], seen[-2]) if fault and len(seen) > 1 else seen[-1]
        return results | {"y": changed}

    return compare_batches(Readied(graph, ENGINE, run), inputs, Oracle.of(graph, inputs))


def of_batch(batch: int, count: int, now: Array, before: Array) -> Array:
    return now + np.float32(0.1) * (batch == 8)


def one_place(batch: int, count: int, now: Array, before: Array) -> Array:
    return np.where(np.arange(len(now))[:, None] == 5, now + np.float32(0.1), now)


def replayed(batch: int, count: int, now: Array, before: Array) -> Array:
    """From the third run on a graph that reads what lay there before."""
    return before if count > 2 else now


def test_each_batch_has_its_lines() -> None:
    found = lines(APART)
    assert [line.engine for line in found[2::2]] == ["onnx, batch of 1", "onnx, batch of 8"]
    assert all(line.agrees for line in found)


@pytest.mark.parametrize(("fault", "differs"), [(of_batch, [8]), (one_place, [8]), (replayed, [1, 8])])
def test_what_is_wrong_in_one_batch_place_or_run(fault: Fault, differs: list[int]) -> None:
    for images in (1, 3):
        bad = [line.engine for line in lines(APART, fault, images) if not line.agrees]
        assert bad == [f"onnx, batch of {batch}" for batch in differs], images


@pytest.mark.parametrize(("graph", "bad"), [(JOINED, 2), (WHOLE, 1)])
def test_images_that_depend_on_each_other_are_run_as_they_are(graph: Graph, bad: int) -> None:
    assert all(line.agrees for line in lines(graph))

    def third(batch: int, count: int, now: Array, before: Array) -> Array:
        return now + np.float32(0.1) * (count == 3)

    assert [line.agrees for line in lines(graph, third)].count(False) == bad
