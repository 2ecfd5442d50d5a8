"""Every zoo network at a small input: three engines agree with the float64 reference, before and after -O2."""

from __future__ import annotations

import pytest

from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.checking.verify import verify
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.table import ENGINES
from convc.compiler.files.inputs import random_inputs
from convc.models import ZOO
from convc.tests.support.noise_ratio import predicted_over_seen
from convc.tests.support.tiers import EACH_NETWORK, small


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_engines_agree(name):
    graph = small(name)
    better, _ = optimize(graph, 2)
    inputs = random_inputs(graph, seed=1)
    assert all(line.agrees for line in verify(graph, better, inputs))
    oracle = Oracle.by_tiles(graph, better, inputs)
    for engine in ENGINES.values():
        run, tiles = engine.start(better, 1), engine.tiles(better)
        for line in compare(engine.name, oracle(tiles), run(inputs)):
            assert line.agrees, str(line)
        if engine.name == "tvm":
            ratio = predicted_over_seen(better, [run], tiles)
            assert 1 / 4 <= ratio <= 4, f"predicted noise over seen is {ratio:.2f}"


@pytest.mark.parametrize("name", ["resnet50", pytest.param("vgg16", marks=pytest.mark.slow), "googlenet"])
def test_full_size_in_onnxruntime(name):
    graph = ZOO[name].network()
    inputs = random_inputs(graph, seed=2)
    oracle = Oracle.of(graph, inputs)
    for line in compare("onnx", oracle, ENGINES["onnx"].start(graph, 1)(inputs)):
        assert line.agrees, str(line)
        assert line.top1 == 1
