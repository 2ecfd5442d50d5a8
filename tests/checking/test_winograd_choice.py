"""Where `auto` stops to trust Winograd's way, and that an artifact says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from graphs import typed_graph

from convc.compiler.artifact import MANIFEST, Artifact
from convc.compiler.capture import capture_of
from convc.compiler.compile import compile_network
from convc.compiler.inputs import random_inputs
from convc.compiler.verify import Oracle
from convc.compiler.weights import bind_weights
from convc.compiler.winograd import LIMIT, choose
from convc.ir.errors import ArtifactError
from convc.ir.graph import Graph

DIFFERENCE = """graph @difference(%x: f32[1,16,24,24]) {
  %w = param : f32[16,16,3,3]
  %v = param : f32[16,16,3,3]
  %a = conv2d(%x, %w) {pads=[1,1,1,1]}
  %b = conv2d(%x, %v) {pads=[1,1,1,1]}
  %y = sub(%a, %b)
  return %y
}
"""


def difference(apart: float) -> Graph:
    """Of two convolutions with nearly the same weights: their noise is enlarged by 1/apart."""
    rng = np.random.default_rng(0)
    w, change = (rng.standard_normal((16, 16, 3, 3)).astype(np.float32) for _ in range(2))
    return bind_weights(typed_graph(DIFFERENCE), {"w": w, "v": w + np.float32(apart) * change}, "test")


@pytest.mark.parametrize(("apart", "tile"), [(1e-2, 4), (6e-4, 2), (1e-4, 0)])
def test_auto_falls_back_where_the_network_enlarges_the_noise(apart: float, tile: int):
    graph = difference(apart)
    oracle = Oracle.by_tiles(graph, graph, random_inputs(graph))
    choice = choose(graph, "auto", oracle)
    assert choice.tiles == ({"a": tile, "b": tile} if tile else {})
    assert oracle(choice.tiles).noise <= LIMIT or not tile
    assert len(choice.why) == {4: 1, 2: 2, 0: 3}[tile]
    assert choose(graph, "f4", oracle).tiles == {"a": 4, "b": 4}, "what the user asks for is done"


def test_predicted_noise_is_what_the_library_shows():
    graph = difference(1e-2)
    inputs = random_inputs(graph)
    oracle = Oracle.by_tiles(graph, graph, inputs)
    exact = oracle({})
    for asked in ("off", "f2", "f4"):
        choice = choose(graph, asked, oracle)
        got = dict(capture_of("tvm", choice.tiles)(graph, graph.outputs, inputs, 1))["y"]
        seen = np.sqrt(np.mean((got - exact.values["y"]) ** 2)) / abs(exact.values["y"]).max()
        assert 1 / 4 < oracle(choice.tiles).noise / seen < 4, asked  # the two errors resemble each other, which nobody predicts


def test_an_artifact_says_what_was_chosen_and_why(tmp_path: Path):
    made = compile_network(difference(6e-4), tmp_path / "net", threads=1)
    assert made.manifest["target"]["tiles"] == {"a": 2, "b": 2}
    report = (made.path / "report.txt").read_text()
    assert "not F(4x4) for 2 (auto)" in report
    assert "  a: F(2x2)\n" in report
    manifest = json.loads((made.path / MANIFEST).read_text())
    manifest["target"]["tiles"] = {"a": 3}
    (made.path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="tiles that do not exist"):
        _ = Artifact.open(made.path).tiles
