"""A network of bfloat16, and one whose weights alone are, through every command: made in the DSL and as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import convc as cc
from convc.backends import reference
from convc.backends.onnx.session import Session
from convc.ir.types import DTYPES, Array
from convc.tests.support.shell import convc

BF16 = DTYPES["bf16"]
NET = """
import convc as cc
from convc import batch_norm, conv, dense, flatten, max_pool, relu, softmax

@cc.network(image="bf16[N,3,12,12]")
def tiny(image):
    x = relu(batch_norm(conv(image, 8, 3, pad="same")))
    x = max_pool(x * 0.5, 2, stride=2)
    return softmax(dense(flatten(x), 10))
"""
UNIT = 2.0**-8


def draws(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def model(nodes: list[onnx.NodeProto], weights: dict[str, Array], element: int, shape: list[int | str]) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", element, ["N", 3, 12, 12])]
    outputs = [helper.make_tensor_value_info("y", element, shape)]
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def of_bfloat16() -> onnx.ModelProto:
    """Conv, batch norm, relu, pool and dense at opset 22, the first whose Conv has bfloat16; the bias in int32_data, the rest raw."""
    ones = np.ones(8)
    weights = {"w": draws(8, 3, 3, 3) / 5, "scale": ones, "shift": ones / 8, "mean": ones / 16, "var": ones * 2, "m": draws(10, 288) / 17}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["y"], transB=1),
    ]
    made = model(nodes, {name: values.astype(BF16) for name, values in weights.items()}, TensorProto.BFLOAT16, ["N", 10])
    bits = np.linspace(-1, 1, 8).astype(BF16).view(np.uint16)
    made.graph.initializer.append(TensorProto(name="b", data_type=TensorProto.BFLOAT16, dims=[8], int32_data=bits.tolist()))
    onnx.checker.check_model(made)
    return made


def with_stored_weights() -> onnx.ModelProto:
    """What most such files are: weights of bfloat16, cast to float32 as they are read."""
    nodes = [
        helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "wide"], ["y"], pads=[1, 1, 1, 1]),
    ]
    return model(nodes, {"w": draws(64, 3, 3, 3).astype(BF16)}, TensorProto.FLOAT, ["N", 64, 12, 12])


def fine(*words: str | Path) -> str:
    done = convc(*words)
    assert done.code == 0, done.err
    return done.out + done.err


def test_one_made_in_the_dsl_is_compiled_checked_and_run(tmp_path: Path):
    (tmp_path / "net.py").write_text(NET)
    network = f"{tmp_path / 'net.py'}:tiny"
    assert "values * 2 bytes" in fine("summary", network)
    checked = fine("verify", network)
    assert "onnx was not held: onnxruntime lacks a kernel" in checked
    assert "tvm: 8 values within their local bounds" in checked
    fine("compile", network, "-o", tmp_path / "net")
    assert "bf16[1, 10]" in fine("run", tmp_path / "net", "-o", tmp_path / "y.npz")
    (written,) = np.load(tmp_path / "y.npz").values()
    assert (written.dtype, written.shape) == (np.float32, (1, 10))


def test_a_file_is_optimized_and_written_anew(tmp_path: Path):
    (tmp_path / "net.onnx").write_bytes(of_bfloat16().SerializeToString())
    fine("export", tmp_path / "net.onnx", "-o", tmp_path / "out.onnx", "--opset", "22")
    fine("optimize", tmp_path / "out.onnx", tmp_path / "better.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "better.onnx"), full_check=True)
    refused = convc("export", tmp_path / "net.onnx", "-o", tmp_path / "older.onnx", "--opset", "21")
    assert refused.code == 4
    assert "ONNX Conv has no bf16 at opset 21; opset 22 has it" in refused.err


def test_results_are_those_of_float64_within_its_rounding(tmp_path: Path):
    """ONNX's own evaluator too agrees about the file that comes out, which onnxruntime has no kernels for."""
    (tmp_path / "net.onnx").write_bytes(of_bfloat16().SerializeToString())
    graph = cc.read_onnx(tmp_path / "net.onnx")
    better, _ = cc.optimize(graph)
    cc.export_onnx(better, tmp_path / "better.onnx")
    x = draws(2, 3, 12, 12).astype(BF16)
    wanted = reference.run(graph, {"x": x}, "f64")["y"]
    by_onnx = ReferenceEvaluator(onnx.load(tmp_path / "better.onnx")).run(None, {"x": x})[0]
    by_tvm = cc.compile(graph)(x)
    for got in (by_onnx, by_tvm):
        assert got.dtype == BF16
        assert abs(got.astype(np.float64) - wanted).max() <= 4 * UNIT * abs(wanted).max()
    assert abs(by_tvm.astype(np.float64) - wanted).max() > 0  # it is not float64 that is compared with itself


def test_stored_weights_stay_as_small_as_they_are(tmp_path: Path):
    source, better = tmp_path / "net.onnx", tmp_path / "better.onnx"
    source.write_bytes(with_stored_weights().SerializeToString())
    fine("optimize", source, better)
    assert better.stat().st_size <= source.stat().st_size
    assert "onnx: y agrees" in fine("verify", source)
    graph, x = cc.read_onnx(better), draws(1, 3, 12, 12).astype(np.float32)
    got = Session(graph, better).run({"x": x})["y"]
    assert np.allclose(got, reference.run(cc.read_onnx(source), {"x": x}, "f64")["y"], atol=1e-4)


def test_onnxruntime_is_held_as_a_whole_in_float16(tmp_path: Path):
    """Layer by layer onnxruntime's own kernels are off by a little more than a rounding, which is no reason to refuse a file."""
    (tmp_path / "silu.cir").write_text("graph @silu(%x: f16[N,8,16,16]) {\n  %s = sigmoid(%x)\n  %y = mul(%x, %s)\n  return %y\n}\n")
    assert "onnx: 2 values within their local bounds" not in fine("verify", tmp_path / "silu.cir")
