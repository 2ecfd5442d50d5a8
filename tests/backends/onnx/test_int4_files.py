"""Weights of 4 bits, as files with quantized weights have them: several to a byte in files, a byte each here, and widened where they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import convc as cc
from convc.backends import reference
from convc.backends.onnx.file.packed import packed, unpacked
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.compiler.files.weights import bind_weights, load_arrays, write_weights
from convc.ir.binding import as_declared
from convc.ir.errors import InvalidInput, ShapeError
from convc.ir.types import BITS, DTYPES, TensorType, range_of
from convc.tests.support.graphs import hold_to_reference, typed_graph
from convc.tests.support.tvm_modules import build_and_hold

FAKE = """graph @fake(%x: f32[N,5]) {
    %s = param {init=full, value=0.25} : f32[]
    %z = param {init=ones} : i4[]
    %v = param {init=zeros} : u2[]
    %q = quantize_linear(%x, %s, %z)
    %y = dequantize_linear(%q, %s, %z)
    %r = quantize_linear(%x, %s, %v)
    %t = transpose(%r) {perm=[1,0]}
    %w = cast(%t) {to=i32}
    return %y, %w, %q
}"""
WAVE = np.linspace(-4, 4, 40, dtype=np.float32).reshape(8, 5)


def drawn(dtype: str, *shape: int) -> np.ndarray:
    least, most = range_of(DTYPES[dtype])
    return np.random.default_rng(0).integers(least, most + 1, shape).astype(DTYPES[dtype])


def of_int4() -> onnx.ModelProto:
    """A convolution with a scale for each filter, and a dense layer with one for all and a zero point."""
    one = np.float32(0.1)
    weights = {"w": drawn("i4", 16, 3, 3, 3), "s": np.full(16, one), "z": drawn("i4", 16), "d": drawn("u4", 9, 16), "e": np.array(one)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wide"], axis=0),
        helper.make_node("Conv", ["x", "wide"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("DequantizeLinear", ["d", "e", "h"], ["dense"]),
        helper.make_node("Gemm", ["f", "dense"], ["y"], transB=1),
    ]
    constants = [numpy_helper.from_array(values, name) for name, values in (weights | {"h": np.array(7, DTYPES["u4"])}).items()]
    x, y = helper.make_tensor_value_info("x", 1, ["N", 3, 6, 6]), helper.make_tensor_value_info("y", 1, ["N", 9])
    graph = helper.make_graph(nodes, "small", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 64])
def test_bytes_hold_several(dtype: str, count: int):
    values = drawn(dtype, count)
    data = packed(values)
    assert data.tobytes() == numpy_helper.from_array(values).raw_data
    assert len(data) == TensorType(dtype, (count,)).nbytes
    assert np.array_equal(unpacked(data, DTYPES[dtype], (count,)), values)


def test_a_file_is_read_checked_compiled_and_no_larger_when_written(tmp_path: Path):
    source, better = tmp_path / "net.onnx", tmp_path / "better.onnx"
    source.write_bytes(of_int4().SerializeToString())
    graph = cc.read_onnx(source)
    assert {node.typed.dtype for node in graph.params} == {"i4", "u4", "f32"}
    cc.export_onnx(cc.optimize(graph)[0], better)
    written = onnx.load(better)
    assert {tensor.data_type for tensor in written.graph.initializer} >= {TensorProto.INT4, TensorProto.UINT4}
    x = np.random.default_rng(1).standard_normal((2, 3, 6, 6)).astype(np.float32)
    for path in (source, better):
        hold_to_reference(graph, Session(graph, path).run({"x": x}), {"x": x})
    hold_to_reference(graph, {"y": np.asarray(cc.compile(graph)(x))}, {"x": x})


def test_steps_of_less_than_8_bits_in_every_engine():
    """They saturate at their own ends, and are handed over as what they are."""
    graph = typed_graph(FAKE)
    got = build_and_hold(graph, inputs={"x": WAVE}).run({"x": WAVE})
    assert got["q"].dtype == DTYPES["i4"]
    assert (got["q"].astype(int).min(), got["q"].astype(int).max(), got["w"].min(), got["w"].max()) == (-8, 7, 0, 3)
    hold_to_reference(graph, Session(graph, to_model(graph, 25).SerializeToString()).run({"x": WAVE}), {"x": WAVE})


def test_a_cast_keeps_the_lowest_bits():
    graph = typed_graph(
        "graph @g(%x: i32[6], %f: f32[4]) { %y = cast(%x) {to=i4} %z = cast(%f) {to=u4} %w = cast(%y) {to=i8} return %w, %z }"
    )
    inputs = {"x": np.array([0, 7, 8, -9, 255, -(2**31)], np.int32), "f": np.array([1.9, 15.0, 0.0, 9.5], np.float32)}
    got = build_and_hold(graph, inputs=inputs).run(inputs)
    assert got["w"].tolist() == [0, 7, -8, 7, -1, 0]
    assert got["z"].astype(int).tolist() == [1, 15, 0, 9]


def test_nothing_is_computed_with_them():
    with pytest.raises(ShapeError, match=r"%y = add reads %x, which is i4\[N\]: such are only stored; cast it to i8 or u8"):
        typed_graph("graph @g(%x: i4[N]) { %y = add(%x, %x) return %y }")


@pytest.mark.parametrize("file", ["w.safetensors", "w.npz"])
def test_weights_files_have_a_byte_for_each(file: str, tmp_path: Path):
    graph = typed_graph("""graph @g(%x: f32[N,6]) {
        %w = param : i4[4,6]
        %s = param : f32[]
        %z = param {init=zeros} : i4[]
        %d = dequantize_linear(%w, %s, %z)
        %y = dense(%x, %d)
        return %y
    }""")
    graph = bind_weights(graph, {"w": drawn("i4", 4, 6).astype(np.int8), "s": np.array(0.5, np.float32), "z": np.array(1, np.int8)}, "here")
    write_weights(graph, tmp_path / file)
    arrays = load_arrays(tmp_path / file)
    assert arrays["w"].dtype == np.int8
    inputs = {"x": np.ones((1, 6), np.float32)}
    again = bind_weights(graph, arrays, file)
    assert np.array_equal(reference.run(again, inputs)["y"], reference.run(graph, inputs)["y"])
    with pytest.raises(InvalidInput, match=r"of another shape or type w is \[4, 6\] int8, expected i4\[4,6\]"):
        bind_weights(graph, arrays | {"w": np.full((4, 6), 8, np.int8)}, file)


def test_bytes_in_range_are_given_for_inputs():
    """No file of NumPy's can name the type itself."""
    graph = typed_graph("graph @g(%x: i4[N]) { %y = cast(%x) {to=f32} return %y }")
    given = as_declared(graph, {"x": np.array([7, -8], np.int8)})
    assert reference.run(graph, given)["y"].tolist() == [7, -8]
    with pytest.raises(InvalidInput, match="holds 100, beyond the range of i4, which is -8 to 7"):
        as_declared(graph, {"x": np.array([1, 100], np.int8)})
    with pytest.raises(InvalidInput, match="is uint8, expected i4"):
        reference.run(graph, as_declared(graph, {"x": np.array([1], np.uint8)}))
