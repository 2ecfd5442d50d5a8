"""Products that no direct sum can leave out, counted by convolving ones with ones: each product adds one to the sum of the results."""

from __future__ import annotations

import numpy as np
import pytest

from convc.ir.direct_products import direct_products
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph, with_params

WINDOWS = [
    "conv2d(%x, %w) {pads=[1,1,1,1]}",
    "conv2d(%x, %w) {pads=[2,0,0,2], strides=[2,3], dilations=[1,2]}",
    "conv2d(%x, %w) {pads=[9,9,9,9], strides=[4,4]}",
    "conv2d(%x, %v) {pads=[1,1,1,1], groups=2}",
    "conv_transpose2d(%x, %w) {pads=[1,1,1,1]}",
    "conv_transpose2d(%x, %w) {pads=[2,0,1,1], strides=[2,2], output_padding=[1,0]}",
    "conv_transpose2d(%x, %w) {pads=[3,3,3,3], dilations=[2,2], strides=[3,3], groups=2}",
    "conv2d_weight_gradient(%x, %g) {kernel=[3,3], pads=[1,1,1,1]}",
    "matmul(%x, %x)",
]


@pytest.mark.parametrize("call", WINDOWS)
def test_every_product_adds_one(call: str):
    (node,) = with_params("%x: f32[2,4,5,5], %g: f32[2,6,5,5]", {"w": "4,4,3,3", "v": "6,2,3,3"}, f"%y = {call}").outputs
    ones: list[Array] = [np.ones(operand.typed.concrete()) for operand in node.inputs]
    assert direct_products(node) == node.kind.meaning(node.op, *ones).sum()


def test_a_small_image_is_mostly_border():
    graph = typed_graph("graph @g(%x: f32[1,1,2,2]) { %w = param : f32[1,1,3,3] %z = conv2d(%x, %w) {pads=[1,1,1,1]} return %z }")
    assert direct_products(graph.outputs[0]) == 16
