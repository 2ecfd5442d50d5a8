"""What is computed while a network is read or improved has a bound on what it takes on the way, whatever size its result has."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convc.backends.onnx.read.importer import read_graph
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.effort import CALL_FLOPS, effort_of
from convc.ir.ops.window import taps_of
from convc.passes.manager import Step, run_passes
from convc.tests.support.graphs import typed_graph
from convc.tests.support.onnx_files import model_of, written

FAR = 10**8  # elements of padding, or taps
WIDE = [
    f"lp_pool(%c) {{kernel=[1,2], dilations=[1,{FAR}], pads=[0,{FAR},0,{FAR}], strides=[1,{2 * FAR}]}}",
    f"max_pool(%c) {{kernel=[1,{FAR}], pads=[0,{FAR - 1},0,{FAR - 1}], strides=[1,{2 * FAR}]}}",
    f"conv2d(%c, %w) {{pads=[0,{FAR},0,{FAR}], strides=[1,{2 * FAR}]}}",
    f"conv_transpose2d(%c, %w) {{pads=[0,{FAR},0,{FAR}], strides=[1,{FAR}]}}",
]


def of_constant(text: str) -> str:
    return f"""graph @wide(%x: f32[1,1,1,1]) {{
        %c = param {{init=ones}} : f32[1,1,1,3]
        %w = param {{init=ones}} : f32[1,1,1,1]
        %p = {text}
        %y = add(%p, %x)
        return %y
    }}"""


@pytest.mark.parametrize("text", WIDE)
def test_what_holds_more_on_the_way_than_there_is_room_for_is_not_folded(text: str):
    after, _ = run_passes(typed_graph(of_constant(text)), [Step("fold-constants", "test")], ONNXRUNTIME.prices)
    assert next(iter(after.ops)).kind.name == text.split("(")[0]


def test_what_is_within_reason_is_folded():
    text = "lp_pool(%c) {kernel=[1,2], dilations=[1,100], pads=[0,100,0,100], strides=[1,200]}"
    after, _ = run_passes(typed_graph(of_constant(text)), [Step("fold-constants", "test")], ONNXRUNTIME.prices)
    assert [node.kind.name for node in after.ops] == ["add"]


def test_a_file_is_read_without_it(tmp_path: Path):
    """The small result would be looked into in case it is a shape."""
    far = 4 * 10**6
    window = {"kernel_shape": [1, 2], "dilations": [1, far], "pads": [0, far, 0, far], "strides": [1, 2 * far]}
    nodes = [helper.make_node("MaxPool", ["c"], ["p"], **window), helper.make_node("Add", ["x", "p"], ["y"])]
    path = written(tmp_path, model_of(nodes, {"x": [1]}, ["y"], {"c": np.ones((1, 1, 1, 3), np.float32)}))
    tracemalloc.start()
    try:
        graph = read_graph(path).graph
        assert tracemalloc.get_traced_memory()[1] < 4 * far
    finally:
        tracemalloc.stop()
    assert [node.kind.name for node in graph.ops] == ["max_pool", "add"]


def test_a_stretched_filter_sees_the_more_the_more_it_shrinks():
    text = "graph @g(%x: f32[1,1,1,4000]) {{ %y = resize(%x) {{sizes=[1,4], mode=bilinear{}}} return %y }}"
    plain, stretched = (next(iter(typed_graph(text.format(more)).ops)) for more in ("", ", antialias=true"))
    assert effort_of(plain).flops == 0
    assert effort_of(stretched).flops == CALL_FLOPS * (4 + 4000)


def test_taps_are_walked_and_not_listed():
    tracemalloc.start()
    try:
        taps = taps_of((10**6, 10**6))
        assert [next(taps), next(taps)] == [(0, 0), (0, 1)]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert list(taps_of((2, 1, 2))) == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]
