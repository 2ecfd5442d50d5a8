"""Every zoo network at a small input: three engines agree with the float64 reference, before and after -O2."""

from __future__ import annotations

import pytest

from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.checking.verify import verify
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.table import ENGINES
from convc.compiler.engines.tvm import TVM
from convc.compiler.files.inputs import random_inputs
from convc.ir.binding import batch_names, specialize
from convc.models import ZOO
from convc.tests.support.noise_ratio import predicted_over_seen
from convc.tests.support.tiers import EACH_NETWORK, SIBLINGS, slow_if, small

# TVM has libraries of their own for one image and for any batch. These networks stand for the others: they have most kinds of kernels.
IN_BATCHES = ("resnet20", "mobilenet_v2", "vit_b_16")


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_engines_agree(name):
    graph = small(name)
    better, _ = optimize(graph, 2)
    inputs = random_inputs(graph, seed=1)
    assert all(line.agrees for line in verify(graph, better, inputs))
    oracle = Oracle.by_tiles(graph, better, inputs)
    one_image = specialize(better, dict.fromkeys(batch_names(better), 1))
    for engine in ENGINES.values():
        asked = one_image if engine is TVM else better  # a library for any batch would not be run
        run, tiles = engine.start(asked, 1), engine.tiles(asked)
        for line in compare(engine.name, oracle(tiles), run(inputs)):
            assert line.agrees, str(line)
        if engine is TVM:
            ratio = predicted_over_seen(better, [run], tiles)
            assert 1 / 4 <= ratio <= 4, f"predicted noise over seen is {ratio:.2f}"


@pytest.mark.parametrize("name", slow_if(lambda name: name not in IN_BATCHES, [name for name in ZOO if name not in SIBLINGS]))
def test_tvm_agrees_on_one_image_and_on_several(name):
    better, _ = optimize(small(name), 2)
    run, tiles = TVM.start(better, 1), TVM.tiles(better)
    for images in (1, 2):
        inputs = random_inputs(better, 1, dict.fromkeys(batch_names(better), images))
        for line in compare("tvm", Oracle.of(better, inputs, tiles=tiles), run(inputs)):
            assert line.agrees, f"{images} images: {line}"


@pytest.mark.parametrize("name", ["resnet50", pytest.param("vgg16", marks=pytest.mark.slow), "googlenet"])
def test_full_size_in_onnxruntime(name):
    graph = ZOO[name].network()
    inputs = random_inputs(graph, seed=2)
    oracle = Oracle.of(graph, inputs)
    for line in compare("onnx", oracle, ENGINES["onnx"].start(graph, 1)(inputs)):
        assert line.agrees, str(line)
        assert line.top1 == 1
