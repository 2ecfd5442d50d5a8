"""What serves a batch is checked too, by an image whose results alone are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convc.backends import reference
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.checking.batches import compare_batches
from convc.compiler.checking.hold import Readied
from convc.compiler.checking.oracle import Oracle
from convc.compiler.compiling.compile import compile_network
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph

APART = typed_graph("graph @apart(%x: f32[N,8], %k: f32[8]) { %s = mul(%x, %k) %y = softmax(%s) return %y, %s }")
TOGETHER = typed_graph("graph @together(%x: f32[N,8]) { %m = reduce_mean(%x) {axes=[0], keepdims=true} %y = sub(%x, %m) return %y, %m }")


OF_ROWS = typed_graph(  # of two images there are four rows of k, and three columns of z
    "graph @of_rows(%x: f32[N,8], %k: f32[2*N,8], %z: f32[8,N+1]) { %r = concat(%x, %k) {axis=0} %y = matmul(%r, %z) return %y }"
)


def agreements(graph: Graph, fault: str = "") -> list[bool]:
    """Of an engine that is right for one image, and for several but for the fault."""
    inputs = random_inputs(graph)

    def run(given: dict[str, Array]) -> dict[str, Array]:
        results = reference.run(graph, given)
        if len(given["x"]) == 1 or not fault:
            return results
        changed = {"turned": lambda y: y[::-1], "first": lambda y: np.repeat(y[:1], 2, 0), "second": lambda y: np.add(y, [[0], [0.1]])}
        return results | {"y": changed[fault](results["y"]).astype(np.float32)}

    return [line.agrees for line in compare_batches(Readied(graph, ONNXRUNTIME, run), inputs, Oracle.of(graph, inputs))]


@pytest.mark.parametrize("graph", [APART, TOGETHER], ids=lambda graph: graph.name)
def test_an_engine_that_is_wrong_for_several_images(graph: Graph):
    assert agreements(graph) == [True, True]
    for fault in ("turned", "first", "second"):
        assert agreements(graph, fault) == [True, True, False], fault


def test_what_is_as_long_as_there_are_images_is_given_anew_for_two():
    assert agreements(OF_ROWS) == [True]
    assert agreements(OF_ROWS, "turned") == [True, False]


def test_compile_runs_both_libraries_of_an_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = set[tuple[bool, bool]]()
    function = LoadedLibrary._function

    def watched(self: LoadedLibrary, is_single: bool):
        seen.add((is_single, self._single is not None))
        return function(self, is_single)

    monkeypatch.setattr(LoadedLibrary, "_function", watched)
    net = typed_graph("graph @g(%x: f32[N,16,8,8]) { %w = param : f32[16,16,3,3] %y = conv2d(%x, %w) return %y }")
    compile_network(net, tmp_path / "net")
    assert (tmp_path / "net" / "model.one.so").is_file()
    assert seen == {(True, True), (False, True)}
