"""Kernels whose index wraps around at a power of two compute what they say: by stock rows, for weights that are inputs."""

from __future__ import annotations

from typing import Any

import pytest

from convc.backends.tvm.host import host_target, tvm
from convc.backends.tvm.library.pipeline import cpu_pipeline
from convc.backends.tvm.library.wrapping import compiling_target
from convc.backends.tvm.stock.lower import lower
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold

# Input, weight and attributes. What LLVM gets wrong of these on processors with AVX-512: all that have strides or dilations in the columns,
# or only rows.
WINDOWS = {
    "a row": ("1,8,1,25", "8,4,1,8", "strides=[1,4]"),
    "a row, cut": ("1,8,1,40", "8,2,1,16", "strides=[1,4], pads=[0,3,0,1]"),
    "a row in groups": ("1,16,1,40", "16,4,1,16", "strides=[1,4], groups=4"),
    "a row, depthwise": ("2,4,1,25", "4,1,1,8", "strides=[1,4], groups=4"),
    "a row, strides of eight": ("1,8,1,25", "8,4,1,16", "strides=[1,8]"),
    "a row, grown": ("1,8,1,25", "8,4,1,8", "strides=[1,4], output_padding=[0,3]"),
    "a row for any batch": ("N,8,1,25", "8,4,1,8", "strides=[1,4]"),
    "a column": ("2,4,25,1", "4,3,2,1", "strides=[4,1], pads=[2,0,0,0], groups=4"),
    "a column of many": ("1,8,25,1", "8,4,8,1", "strides=[4,1]"),
    "an image": ("2,4,5,25", "4,1,4,4", "strides=[8,4], pads=[3,3,0,0], dilations=[2,1], output_padding=[1,0]"),
    "an image in groups": ("1,4,5,5", "4,3,2,2", "strides=[4,8], pads=[0,3,0,0], dilations=[2,1], groups=4, output_padding=[2,0]"),
    "an image, three rows": ("2,2,5,5", "2,3,3,2", "strides=[4,8], pads=[3,1,2,0], dilations=[2,1]"),
    "strides of three": ("1,8,1,25", "8,4,1,8", "strides=[1,3]"),
}


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
def test_transposed_convolutions_whose_weight_is_an_input(dtype: str) -> None:
    inputs = ", ".join(f"%x{i}: {dtype}[{x}], %w{i}: {dtype}[{w}]" for i, (x, w, _) in enumerate(WINDOWS.values()))
    layers = "\n".join(f"%y{i} = conv_transpose2d(%x{i}, %w{i}) {{{attributes}}}" for i, (_, _, attributes) in enumerate(WINDOWS.values()))
    text = f"graph @g({inputs}) {{ {layers} return {', '.join(f'%y{i}' for i in range(len(WINDOWS)))} }}"
    build_and_hold(typed_graph(text), {"N": 1}, {"N": 3})


def level_of(text: str) -> str:
    """LLVM's level for the one kernel of a graph, if it is not the target's own."""
    target = host_target()
    with target:
        module = cpu_pipeline(target)(lower(typed_graph(text)))
    kernels: list[Any] = [function for function in module.functions.values() if isinstance(function, tvm().tirx.PrimFunc)]
    (kernel,) = kernels
    return str(compiling_target(kernel, target).export().get("opt-level", ""))


@pytest.mark.parametrize(
    ("level", "text"),
    [
        ("1", "graph @g(%x: f32[1,8,1,25], %w: f32[8,4,1,8]) { %y = conv_transpose2d(%x, %w) {strides=[1,4]} return %y }"),
        ("", "graph @g(%x: f32[1,8,1,25], %w: f32[8,4,1,8]) { %y = conv_transpose2d(%x, %w) {strides=[1,3]} return %y }"),
        ("", "graph @g(%x: f32[1,8,1,25], %w: f32[8,4,1,8]) { %y = conv_transpose2d(%x, %w) return %y }"),
        ("", "graph @g(%x: f32[2,8,8,8]) { %y = reshape(%x) {shape=[16,64]} return %y }"),
        ("", "graph @g(%x: f32[2,8,8,8]) { %y = tanh(%x) return %y }"),
    ],
)
def test_only_what_wraps_at_a_power_of_two_goes_without_vectors_of_llvm(level: str, text: str) -> None:
    assert level_of(text) == level
