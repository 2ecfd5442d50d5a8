"""bfloat16 as an element type: the upper half of a float32, eight digits of a float64, and what NumPy makes of it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convc.backends import reference
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.files.numpy_file import load_npz, npz_bytes
from convc.compiler.files.weights import load_arrays, write_weights
from convc.ir.binding import as_declared
from convc.ir.errors import InvalidInput, InvalidModel
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.ir.types import DTYPES, HALVES, TensorType, is_floating, parse_type, widened
from convc.passes.fold_constants import fold_constants
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.graphs import typed_graph

BF16 = np.dtype(ml_dtypes.bfloat16)
CAST = "graph @g(%x: f32[N]) {\n  %y = cast(%x) {to=bf16} : bf16[N]\n  return %y\n}\n"


def upper_half(x: np.ndarray) -> np.ndarray:
    """Bits of the nearest, of two as near the even one, by whole numbers alone."""
    bits = x.view(np.uint32).astype(np.int64)
    low, up = bits & 0xFFFF, bits >> 16
    return (up + ((low > 0x8000) | ((low == 0x8000) & (up & 1 == 1)))).astype(np.uint16)


def test_its_type():
    assert str(parse_type("bf16[N,3]")) == "bf16[N,3]"
    type_ = TensorType.of(np.zeros((2, 3), BF16))
    assert (type_, type_.nbytes, type_.is_float) == (TensorType("bf16", (2, 3)), 12, True)
    assert DTYPES["bf16"] == BF16
    with pytest.raises(InvalidModel, match="arrays of float8_e5m2 are not supported"):
        TensorType.of(np.zeros(1, ml_dtypes.float8_e5m2))
    with pytest.raises(InvalidModel, match="are not supported"):
        TensorType.of(np.zeros(1, "V2"))


def test_text_in_text_out():
    assert print_graph(parse_graph(CAST)) == CAST


def test_arrays_of_it_hold_floats():
    x = np.ones(2, BF16)
    assert is_floating(x)
    assert not is_floating(np.zeros(2, "V2"))
    assert widened(x).dtype == np.float32
    assert widened(np.ones(2, np.float16)).dtype == np.float16


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=64))
@settings(deadline=None, derandomize=True)
def test_a_cast_rounds_to_nearest_even(patterns: list[int]):
    x = np.array(patterns, np.uint32).view(np.float32)
    got = reference.run(parse_graph(CAST), {"x": x})["y"]
    assert np.array_equal(got, x.astype(BF16).astype(np.float32), equal_nan=True)
    assert np.array_equal(np.isnan(got), np.isnan(x))
    numbers = ~np.isnan(x)
    assert np.array_equal(got[numbers].view(np.uint32), upper_half(x[numbers]).astype(np.uint32) << 16)


def test_beyond_its_range_lies_infinity():
    x = np.array([3.3895314e38, 3.3961775e38, -3.4e38, np.inf, -np.inf, np.nan, -0.0, 1e-45], np.float32)
    got = reference.run(parse_graph(CAST), {"x": x})["y"]
    assert np.array_equal(got, np.array([3.3895314e38, np.inf, -np.inf, np.inf, -np.inf, np.nan, 0, 0], np.float32), equal_nan=True)
    assert np.signbit(got[6])
    with pytest.raises(InvalidInput, match=r"holds 1e\+39, beyond the range of bfloat16"):
        as_declared(parse_graph("graph @g(%x: bf16[N]) { return %x }"), {"x": np.array([1e39])})


def test_between_the_halves_both_ways_round():
    """They are as large as each other, and neither has the other's numbers."""
    graph = typed_graph("graph @g(%x: f16[N], %z: bf16[N]) { %y = cast(%x) {to=bf16} %w = cast(%z) {to=f16} return %y, %w }")
    got = reference.run(graph, {"x": np.array([1.001], np.float16), "z": np.array([1e-9], BF16)})
    assert (got["y"].item(), got["w"].item()) == (1.0, 0.0)


def test_constants_are_folded_once_and_rounded_once():
    graph = typed_graph("""graph @g(%x: bf16[N]) {
        %a = param {init=full, value=1.00390625} : f32[]
        %b = cast(%a) {to=bf16}
        %c = add(%b, %b)
        %y = mul(%x, %c)
        return %y
    }""")
    folded = fold_constants(graph, Ledger(ONNXRUNTIME.prices))
    (param,) = folded.params
    assert param.weights is not None
    assert (param.typed.dtype, param.weights.array().dtype, param.weights.array().item()) == ("bf16", BF16, 2.0)


def test_weights_files_hold_it(tmp_path):
    text = "graph @g(%x: bf16[N,3]) { %w = param : bf16[4,3] %s = param : bf16[] %d = dense(%x, %w) %y = mul(%d, %s) return %y }"
    graph = typed_graph(text)
    for name in ("w.safetensors", "w.npz"):
        write_weights(graph, tmp_path / name)
        arrays = load_arrays(tmp_path / name)
        for node in graph.params:
            assert node.weights is not None
            assert arrays[node.name].dtype == BF16
            assert np.array_equal(arrays[node.name], node.weights.array())
    (tmp_path / "x.npz").write_bytes(npz_bytes({"x": np.array([1.5], BF16)}))
    assert load_npz(tmp_path / "x.npz")["x"].dtype == BF16


def test_halves_are_the_floats_of_two_bytes():
    types = [TensorType(dtype, ()) for dtype in DTYPES]
    assert {type_.dtype for type_ in types if type_.is_float and type_.itemsize == 2} == HALVES
