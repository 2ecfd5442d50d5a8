"""Products of bytes summed in 32 bits, and dynamic quantization: exact sums, what they refuse, and the ends of the range."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import KernelMissing, ShapeError
from convc.ir.ops.integer import MATMUL_INTEGER, ConvInteger1d, ConvInteger2d, MatMulInteger, conv_integer, matmul_integer
from convc.ir.ops.quantize import DynamicScale, DynamicZero, dynamic_scale, dynamic_zero
from convc.ir.types import TensorType
from convc.tests.support.graphs import typed_graph

DRAWS = np.random.default_rng(3)


def scalar(value: int, dtype: type) -> np.ndarray:
    return np.array(value, dtype)


def test_sums_are_those_of_whole_numbers():
    a, b = DRAWS.integers(0, 256, (2, 3, 40)).astype(np.uint8), DRAWS.integers(-128, 128, (40, 5)).astype(np.int8)
    zero, columns = scalar(200, np.uint8), DRAWS.integers(-128, 128, 5).astype(np.int8)
    wanted = (a.astype(np.int64) - 200) @ (b.astype(np.int64) - columns)
    assert np.array_equal(matmul_integer(MatMulInteger(), a, b, zero, columns), wanted)
    rows = np.array([1, 2, 3], np.uint8)
    assert np.array_equal(matmul_integer(MatMulInteger(), a, b, rows), (a.astype(np.int64) - rows[:, None]) @ b.astype(np.int64))


def test_padding_is_the_zero_point_and_filters_have_their_own():
    x, w = np.full((1, 1, 2, 2), 9, np.uint8), np.full((2, 1, 3, 3), 5, np.int8)
    y = conv_integer(ConvInteger2d(pads=(1, 1, 1, 1)), x, w, scalar(2, np.uint8), np.array([5, -1], np.int8))
    assert y.dtype == np.int32
    assert np.array_equal(y, np.array([0, 4 * 7 * 6])[None, :, None, None] * np.ones((1, 2, 2, 2)))


def test_sums_wrap_at_32_bits():
    """That takes 33,026 products of the greatest and the least factor."""
    x, w = np.full((1, 33_100, 1), 255, np.uint8), np.full((1, 33_100, 1), 255, np.uint8)
    exact = 33_100 * 255 * 255
    assert exact > 2**31
    assert conv_integer(ConvInteger1d(), x, w).item() == exact - 2**32
    assert matmul_integer(MatMulInteger(), x[:, :, 0], w[0]).item() == exact - 2**32


def test_costs_are_those_of_the_product():
    types = TensorType("u8", (2, 3, 7)), TensorType("i8", (7, 5))
    assert MATMUL_INTEGER.cost(MatMulInteger(), types, TensorType("i32", (2, 3, 5))).macs == 2 * 3 * 7 * 5


@pytest.mark.parametrize(
    ("x", "scale", "zero"),
    [
        ([0.0, 0.0], 1.0, 0),
        ([], 1.0, 0),
        ([3.0, 51.0], 51 / 255, 0),
        ([-51.0, -3.0], 51 / 255, 255),
        ([-255.0, 255.0], 2.0, 128),  # 127.5 to the even number
        ([-1.0, 254.0], 1.0, 1),
        ([-12.5, 242.5], 1.0, 12),
    ],
)
def test_the_range_reaches_from_the_least_to_the_greatest_and_to_zero(x, scale, zero):
    x = np.array(x, np.float32)
    got = dynamic_scale(DynamicScale(), x)
    assert (got.shape, got.dtype, float(got)) == ((), np.float32, np.float32(scale))
    place = dynamic_zero(DynamicZero(), x, got)
    assert (place.shape, place.dtype, int(place)) == ((), np.uint8, zero)


def test_quantized_values_span_a_byte():
    graph = typed_graph("""graph @g(%x: f32[N,4]) {
        %scale = dynamic_scale(%x) %zero = dynamic_zero(%x, %scale) %y = quantize_linear(%x, %scale, %zero)
        %back = dequantize_linear(%y, %scale, %zero) return %y, %back, %scale }""")
    x = DRAWS.standard_normal((50, 4)).astype(np.float32)
    got = reference.run(graph, {"x": x})
    assert (got["y"].min(), got["y"].max()) == (0, 255)
    assert abs(got["back"] - x).max() <= got["scale"]


@pytest.mark.parametrize(
    ("body", "inputs", "why"),
    [
        ("matmul_integer(%a, %b)", ["f32[N,3]", "i8[3,2]"], r"first operand is f32\[N,3\], expected i8 or u8"),
        ("matmul_integer(%a, %b)", ["u8[N,3]", "i32[3,2]"], r"second operand is i32\[3,2\], expected i8 or u8"),
        ("matmul_integer(%a, %b)", ["u8[N,3]", "i8[4,2]"], "3 against 4"),
        ("matmul_integer(%a, %b, %c)", ["u8[2,3]", "i8[3,4]", "i8[]"], r"zero point of the first operand is i8\[\], expected u8"),
        ("matmul_integer(%a, %b, %c)", ["u8[2,3]", "i8[3,4]", "u8[3]"], r"u8\[3\], expected one number, or one for each row of u8\[2,3\]"),
        ("matmul_integer(%a, %b, %c, %d)", ["u8[2,3]", "i8[3,4]", "u8[]", "i8[3]"], "one for each column"),
        ("matmul_integer(%a, %b, %c)", ["u8[7,2,3]", "i8[3,4]", "u8[2,1]"], "one for each row"),
        ("conv_integer2d(%a, %b)", ["u8[N,3,5,5]", "f32[2,3,3,3]"], r"weight is f32\[2,3,3,3\], expected i8 or u8"),
        ("conv_integer2d(%a, %b)", ["u8[N,3,5,5]", "i8[2,2,3,3]"], "weight covers 2\\*1 channels, input has 3"),
        ("conv_integer2d(%a, %b, %c)", ["u8[N,3,5,5]", "i8[2,3,3,3]", "u8[3]"], r"zero point of the input is u8\[3\], expected one number"),
        ("conv_integer2d(%a, %b, %c, %d)", ["u8[N,3,5,5]", "i8[2,3,3,3]", "u8[]", "i8[3]"], "one for each of 2 filters"),
        ("conv_integer1d(%a, %b)", ["u8[N,3,5,5]", "i8[2,3,3,3]"], "expected 3 axes"),
        ("dynamic_scale(%a)", ["f16[N,3]"], r"input is f16\[N,3\], expected f32; cast it"),
        ("dynamic_zero(%a, %b)", ["f32[N,3]", "f32[1]"], r"scale is f32\[1\], expected f32\[\]"),
    ],
)
def test_what_does_not_fit_is_refused(body, inputs, why):
    heads = ", ".join(f"%{'abcd'[i]}: {type_}" for i, type_ in enumerate(inputs))
    with pytest.raises(ShapeError, match=why):
        typed_graph(f"graph @g({heads}) {{ %y = {body} return %y }}")


@pytest.mark.parametrize(
    "text",
    [
        "%w = param {init=ones} : i8[4,3] %z = param {init=ones} : u8[2] %y = matmul_integer(%x, %w, %z)",
        """%w = param {init=ones} : i8[3,2,2] %z = param {init=zeros} : u8[] %f = param {init=ones} : i8[3]
        %y = conv_integer1d(%x, %w, %z, %f)""",
    ],
)
def test_zero_points_that_onnxruntime_has_no_kernel_for(text):
    """It loads the file and fails in the run. Another backend can be held, so that is said, and not taken for a fault of the network."""
    graph = typed_graph(f"graph @g(%x: u8[N,2,4]) {{ {text} return %y }}")
    with pytest.raises(KernelMissing, match=r"onnxruntime lacks a kernel for @g: %y = \w+_integer\w*.* with the zero points %[zf]: "):
        ENGINES["onnx"].start(graph, None)
