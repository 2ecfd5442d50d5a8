"""A small quantized network as ONNX files have it: pairs of QuantizeLinear and DequantizeLinear around each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from convc.ir.types import Array
from convc.tests.support.onnx_files import model_of

CHANNELS = 8


def quantized_constants(seed: int = 0) -> dict[str, Array]:
    """Three convolutions with weights of 8 bits, a scale a filter, and biases of 32; values between them have one scale each."""
    draw = np.random.default_rng(seed)
    made: dict[str, Array] = {"s0": np.float32(0.02), "z0": np.uint8(128)}
    for layer, (inputs, kernel) in enumerate(((3, 3), (CHANNELS, 3), (CHANNELS, 1)), 1):
        scales = (draw.random(CHANNELS) * 0.005 + 0.005).astype(np.float32)
        made |= {
            f"w{layer}": draw.integers(-127, 128, (CHANNELS, inputs, kernel, kernel)).astype(np.int8),
            f"b{layer}": draw.integers(-500, 500, CHANNELS).astype(np.int32),
            f"ws{layer}": scales,
            f"wz{layer}": np.zeros(CHANNELS, np.int8),
            f"bs{layer}": (scales * made[f"s{layer - 1}"]).astype(np.float32),
            f"bz{layer}": np.zeros(CHANNELS, np.int32),
            f"s{layer}": np.float32((0.05, 0.3, 0.7)[layer - 1]),
            f"z{layer}": np.uint8((0, 0, 120)[layer - 1]),
        }
    return made


def quantized_model(constants: dict[str, Array] | None = None, opset: int = 13) -> Any:
    """conv, relu, conv, relu, their sum, conv, and the mean: a value is quantized between any two."""
    nodes: list[Any] = []

    def add(op_type: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op_type, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def stored(x: str, layer: int, name: str) -> str:
        """As the next layer sees it."""
        pair = [f"s{layer}", f"z{layer}"]
        return add("DequantizeLinear", [add("QuantizeLinear", [x, *pair], f"{name}q"), *pair], f"{name}d")

    def conv(x: str, layer: int, pads: int) -> str:
        operands = [
            add("DequantizeLinear", [f"{what}{layer}", f"{what}s{layer}", f"{what}z{layer}"], f"{what}{layer}d", axis=0) for what in "wb"
        ]
        return add("Conv", [x, *operands], f"c{layer}", pads=[pads] * 4)

    one = stored(add("Relu", [conv(stored("x", 0, "x"), 1, 1)], "r1"), 1, "r1")
    two = stored(add("Relu", [conv(one, 2, 1)], "r2"), 2, "r2")
    both = stored(add("Add", [one, two], "sum"), 2, "sum")
    three = stored(conv(both, 3, 0), 3, "c3")
    add("GlobalAveragePool", [three], "y")
    return model_of(nodes, {"x": ["N", 3, 8, 8]}, ["y"], quantized_constants() if constants is None else constants, opset)


def dynamic_model(opset: int = 17) -> Any:
    """conv, relu, pool, flatten, matmul, as onnxruntime's quantize_dynamic writes them: ranges are found when the network runs."""
    draw = np.random.default_rng(1)
    nodes: list[Any] = []

    def add(op_type: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op_type, inputs, list(outputs), name=f"{outputs[0]}_node", **attributes))
        return outputs[0]

    def product(op_type: str, x: str, layer: int, **attributes: Any) -> str:
        steps = add("DynamicQuantizeLinear", [x], f"{x}q", f"{x}s", f"{x}z")
        sums = add(op_type, [steps, f"w{layer}", f"{x}z", f"wz{layer}"], f"sums{layer}", **attributes)
        scale = add("Mul", [f"{x}s", f"ws{layer}"], f"scale{layer}")
        wide = add("Mul", [add("Cast", [sums], f"wide{layer}", to=1), scale], f"product{layer}")
        return add("Add", [wide, f"b{layer}"], f"y{layer}")

    kept = add("Identity", ["x"], "kept")
    one = add("Relu", [product("ConvInteger", kept, 1, pads=[1, 1, 1, 1])], "r1")
    flat = add("Flatten", [add("MaxPool", [one], "p1", kernel_shape=[4, 4], strides=[4, 4])], "f1")
    product("MatMulInteger", flat, 2)
    constants = {
        "w1": draw.integers(0, 256, (CHANNELS, 3, 3, 3)).astype(np.uint8),
        "w2": draw.integers(-128, 128, (4 * CHANNELS, 5)).astype(np.int8),
        "wz1": np.uint8(130),
        "wz2": draw.integers(-3, 4, 5).astype(np.int8),
        "ws1": np.float32(0.004),
        "ws2": (draw.random(5) * 0.005 + 0.005).astype(np.float32),
        "b1": draw.standard_normal((CHANNELS, 1, 1)).astype(np.float32),
        "b2": draw.standard_normal(5).astype(np.float32),
    }
    return model_of(nodes, {"x": ["N", 3, 8, 8]}, ["y2"], constants, opset)
