"""Outputs of whole numbers: rounding turns a few of them, and how many tells an engine's rounding from a fault."""

from __future__ import annotations

import numpy as np
import pytest

from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.engines.table import ENGINES
from convc.tests.support.graphs import typed_graph

CLASSES = 8
MAP = f"""graph @map(%x: f32[N,16,64,64]) {{
    %w = param : f32[{CLASSES},16,3,3]
    %c = conv2d(%x, %w) {{pads=[1,1,1,1]}}
    %t = tanh(%c)
    %y = arg_max(%t) {{axis=1}}
    return %y
}}"""


def image(scale: float) -> np.ndarray:
    return (scale * np.random.default_rng(1).standard_normal((1, 16, 64, 64))).astype(np.float32)


@pytest.mark.parametrize(("scale", "ties"), [(1.0, False), (3.0, True)])  # the greater the scores, the more are alike by tanh
def test_engines_turn_no_more_of_a_map_than_rounding_explains(scale, ties):
    graph, inputs = typed_graph(MAP), {"x": image(scale)}
    oracle = Oracle.of(graph, inputs)
    exact, turned = oracle.values["y"], 0
    for engine in ENGINES.values():
        got = dict(engine.capture(graph, [graph.by_name["y"]], inputs, None))
        turned += int((got["y"] != exact).sum())
        line = compare(engine.name, oracle, got)[0]
        assert line.agrees, str(line)
    assert (turned > 0) is ties


@pytest.mark.parametrize(("scale", "share"), [(1.0, 0), (3.0, 0.05)])
def test_a_map_with_more_other_pixels_differs(scale, share):
    """Each off by no more than ties are; one is enough where there are no ties."""
    oracle = Oracle.of(typed_graph(MAP), {"x": image(scale)})
    wrong = oracle.values["y"].copy()
    pixels = np.random.default_rng(2).permutation(wrong.size)[: max(1, int(share * wrong.size))]
    wrong.flat[pixels] = (wrong.flat[pixels] + CLASSES // 2) % CLASSES
    line = compare("wrong", oracle, {"y": wrong})[0]
    assert not line.agrees
    assert line.worst > 1
    assert "DIFFERS" in str(line)
