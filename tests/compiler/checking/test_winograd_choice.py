"""Where `auto` stops to trust Winograd's way, and that an artifact says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.processor import AVX512, ZEN, ZEN_5
from convc.compiler.checking.oracle import Oracle
from convc.compiler.checking.winograd_choice import LIMIT, choose_tiles
from convc.compiler.compiling.compile import compile_network
from convc.compiler.engines.tvm import tvm_engine
from convc.compiler.files.artifact import MANIFEST, Artifact, sealed
from convc.compiler.files.inputs import random_inputs
from convc.compiler.files.weights import bind_weights
from convc.ir.errors import ArtifactError
from convc.ir.graph import Graph
from convc.tests.support.graphs import typed_graph

DIFFERENCE = """graph @difference(%x: f32[1,16,24,24]) {
  %w = param : f32[16,16,3,3]
  %v = param : f32[16,16,3,3]
  %a = conv2d(%x, %w) {pads=[1,1,1,1]}
  %b = conv2d(%x, %v) {pads=[1,1,1,1]}
  %y = sub(%a, %b)
  return %y
}
"""

DEEP = """graph @deep(%x: f32[1,512,7,7]) {
  %w = param : f32[512,512,3,3]
  %y = conv2d(%x, %w) {pads=[1,1,1,1]}
  return %y
}
"""


def difference(apart: float) -> Graph:
    """Of two convolutions with nearly the same weights: their noise is enlarged by 1/apart."""
    rng = np.random.default_rng(0)
    w, change = (rng.standard_normal((16, 16, 3, 3)).astype(np.float32) for _ in range(2))
    return bind_weights(typed_graph(DIFFERENCE), {"w": w, "v": w + np.float32(apart) * change}, "test")


@pytest.mark.parametrize(("apart", "tile"), [(1e-2, 4), (6e-4, 2), (1e-4, 2)])
def test_auto_falls_back_where_the_network_enlarges_the_noise(apart: float, tile: int):
    graph = difference(apart)
    oracle = Oracle.by_tiles(graph, graph, random_inputs(graph))
    choice = choose_tiles(graph, "auto", oracle)
    assert choice.tiles == {"a": tile, "b": tile}
    assert oracle(choice.tiles).noise <= max(LIMIT, oracle({}).noise)
    assert len(choice.why) == {4: 1, 2: 2}[tile]
    assert choose_tiles(graph, "f4", oracle).tiles == {"a": 4, "b": 4}, "what the user asks for is done"


@pytest.mark.parametrize(("direct", "tile"), [(LIMIT / 10, 0), (LIMIT * 30, 2), (LIMIT * 300, 4)])
def test_tiles_are_kept_where_they_are_no_noisier_than_none(direct: float, tile: int):
    exact, levels = np.zeros(()), {0: direct, 2: LIMIT * 20, 4: LIMIT * 200}

    def oracle(tiles: Mapping[str, int]) -> Oracle:
        return Oracle({"y": exact}, {"y": exact}, levels[max(tiles.values(), default=0)])

    choice = choose_tiles(difference(1e-2), "auto", oracle)
    assert choice.tiles == ({"a": tile, "b": tile} if tile else {})
    assert len(choice.why) == {4: 1, 2: 2, 0: 3}[tile]


def test_tiles_of_5x5_go_with_those_of_4x4():
    text = DIFFERENCE.replace("%v = param : f32[16,16,3,3]", "%v = param : f32[16,16,5,5]")
    graph = typed_graph(text.replace("conv2d(%x, %v) {pads=[1,1,1,1]}", "conv2d(%x, %v) {pads=[2,2,2,2]}"))
    exact, seen = np.zeros(()), list[Mapping[str, int]]()

    def oracle(tiles: Mapping[str, int]) -> Oracle:
        seen.append(tiles)
        return Oracle({"y": exact}, {"y": exact}, LIMIT * 2 if 4 in tiles.values() else LIMIT / 2)

    assert choose_tiles(graph, "auto", oracle).tiles == {"a": 2}
    assert {"a": 4, "b": 2} in seen


def test_weights_that_memory_must_bring_are_weighed_against_products():
    graph = typed_graph(DEEP)
    assert choose_tiles(graph, "auto", processor=ZEN).tiles == {"y": 2}, "few products in a cycle: those saved are worth more bytes"
    assert choose_tiles(graph, "auto", processor=ZEN_5).tiles == {"y": 2}
    assert choose_tiles(graph, "auto", processor=AVX512).tiles == {}


def test_predicted_noise_is_what_the_library_shows():
    graph = difference(1e-2)
    inputs = random_inputs(graph)
    oracle = Oracle.by_tiles(graph, graph, inputs)
    exact = oracle({})
    for asked in ("off", "f2", "f4"):
        choice = choose_tiles(graph, asked, oracle)
        got = dict(tvm_engine(choice.tiles).capture(graph, graph.outputs, inputs, 1))["y"]
        seen = np.sqrt(np.mean((got - exact.values["y"]) ** 2)) / abs(exact.values["y"]).max()
        assert 1 / 4 < oracle(choice.tiles).noise / seen < 4, asked  # the two errors resemble each other, which nobody predicts


def test_an_artifact_says_what_was_chosen_and_why(tmp_path: Path):
    made = compile_network(difference(6e-4), tmp_path / "net", threads=1)
    assert made.target.tiles == {"a": 2, "b": 2}
    report = (made.path / "report.txt").read_text()
    assert "not F(4x4) for 2 (auto)" in report
    assert "  a: F(2x2)\n" in report
    manifest = json.loads((made.path / MANIFEST).read_text())
    manifest["target"]["tiles"] = {"a": 3}
    (made.path / MANIFEST).write_bytes(sealed(manifest))
    with pytest.raises(ArtifactError, match="has no valid 'tiles'"):
        Artifact.open(made.path)
