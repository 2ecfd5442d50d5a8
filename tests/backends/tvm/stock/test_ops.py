"""Every op against the reference interpreter, in several variants: a graph for each op, an output for each variant."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.stock.relax_rows import ROWS
from convc.backends.unsupported import Unsupported
from convc.ir.ops import OPS
from convc.ir.parser import parse_graph
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph
from convc.tests.support.op_cases import CASES, text_of
from convc.tests.support.tvm_modules import build_and_hold


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_reference(case: str) -> None:
    build_and_hold(typed_graph(text_of(case)), {"N": 1}, {"N": 3})


def test_every_op_has_a_row() -> None:
    assert set(ROWS) == set(OPS.values())


def test_every_lowered_op_has_a_case() -> None:
    tried = {node.kind for case in CASES for node in parse_graph(text_of(case)).nodes}
    assert {kind for kind, row in ROWS.items() if not isinstance(row, Unsupported)} <= tried


HEIGHTS = """graph @heights(%x: f32[N,3,H,W]) {
    %w = param : f32[4,3,3,3]
    %v = param : f32[4,2,4,4]
    %b = param {init=small} : f32[4]
    %c = conv2d(%x, %w, %b) {strides=[2,2], pads=[1,1,1,1]}
    %r = relu(%c)
    %m = max_pool(%r) {kernel=[2,2], strides=[2,2]}
    %s = max_pool(%r) {kernel=[3,3], strides=[1,1], pads=[1,1,1,1]}
    %sum = add(%r, %s)
    %a = avg_pool(%r) {kernel=[3,3], strides=[2,2], pads=[1,1,0,0], ceil_mode=true}
    %t = conv_transpose2d(%m, %v) {strides=[2,2], pads=[1,1,1,1]}
    %near = resize(%m) {scales=[2.0,3.0]}
    %line = resize(%m) {sizes=[5,7], mode=bilinear, coordinates=align_corners}
    %edge = pad(%m) {pads=[0,0,2,1,0,0,1,3], mode=edge}
    %mirror = pad(%m) {pads=[0,0,3,2,0,0,1,4], mode=reflect}
    %wide = concat(%m, %m) {axis=3}
    %g = global_avg_pool(%sum)
    %f = flatten(%g)
    %flat = flatten(%m)
    return %sum, %m, %a, %t, %near, %line, %edge, %mirror, %wide, %f, %flat
}"""


def test_heights_and_widths_may_be_named() -> None:
    build_and_hold(typed_graph(HEIGHTS), {"N": 1, "H": 24, "W": 24}, {"N": 2, "H": 31, "W": 22}, {"N": 1, "H": 17, "W": 29})


def test_sizes_that_are_expressions() -> None:
    text = "graph @g(%x: f32[N,H,2*H+1], %y: f32[N,(H-1)//2+1]) { %r = relu(%x) %s = tanh(%y) return %r, %s }"
    build_and_hold(typed_graph(text), {"N": 1, "H": 4}, {"N": 3, "H": 7})


def test_an_empty_slice() -> None:
    text = "graph @g(%x: f32[2,5]) { %e = slice(%x) {axes=[1], starts=[3], ends=[3]} %r = relu(%e) return %r }"
    build_and_hold(typed_graph(text))


DOUBLE = """graph @double(%x: f64[N,4,5,6], %y: f64[N,1,5,6]) {
    %elu = elu(%x)
    %selu = selu(%x)
    %hard = hard_sigmoid(%x)
    %gelu = gelu(%x)
    %mish = mish(%x)
    %prelu = prelu(%x, %y)
    %erf = erf(%x)
    %softplus = softplus(%x)
    return %elu, %selu, %hard, %gelu, %mish, %prelu, %erf, %softplus
}"""


def test_functions_in_float64_that_onnxruntime_lacks() -> None:
    build_and_hold(typed_graph(DOUBLE), {"N": 1}, {"N": 3})


EXTREMES = """graph @extremes(%x: f32[1,1,2,4]) {
    %relu = relu(%x)
    %leaky = leaky_relu(%x)
    %clip = clip(%x) {min=-1.0, max=1.0}
    %low = clip(%x) {min=-1.0}
    %max = max_pool(%x) {kernel=[1,2], pads=[0,1,0,0]}
    %avg = avg_pool(%x) {kernel=[1,2], pads=[0,1,0,0]}
    %greatest = global_max_pool(%x)
    %soft = softmax(%x) {axis=3}
    %log = log_softmax(%x) {axis=3}
    %sigmoid = sigmoid(%x)
    %tanh = tanh(%x)
    return %relu, %leaky, %clip, %low, %max, %avg, %greatest, %soft, %log, %sigmoid, %tanh
}"""

MORE_EXTREMES = """graph @more_extremes(%x: f32[1,1,2,4]) {
    %c = param {init=full, value=1.5} : f32[]
    %elu = elu(%x)
    %selu = selu(%x)
    %hard = hard_sigmoid(%x)
    %swish = hard_swish(%x)
    %gelu = gelu(%x)
    %bent = gelu(%x) {approximate=tanh}
    %mish = mish(%x)
    %prelu = prelu(%x, %c)
    %thousandth = param {init=full, value=0.001} : f32[]
    %small = mul(%x, %thousandth)
    %exp = exp(%small)
    %ln = log(%x)
    %sqrt = sqrt(%x)
    %erf = erf(%x)
    %abs = abs(%x)
    %neg = neg(%x)
    %floor = floor(%x)
    %round = round(%x)
    %softplus = softplus(%x)
    %pow = pow(%x, %c)
    %most = maximum(%x, %c)
    %most_too = maximum(%c, %x)
    %least = minimum(%x, %c)
    %least_too = minimum(%c, %x)
    %equal = equal(%x, %x)
    %less = less_or_equal(%x, %c)
    %where = where(%less, %x, %c)
    return %elu, %selu, %hard, %swish, %gelu, %bent, %mish, %prelu, %exp, %ln, %sqrt, %erf, %abs, %neg, %floor, %round, %softplus, %pow, %most, %most_too, %least, %least_too, %equal, %less, %where
}"""


@pytest.mark.parametrize("text", [EXTREMES, MORE_EXTREMES], ids=["layers", "functions"])
@pytest.mark.parametrize(
    "row",
    [[np.nan, 1, 2, -3], [1, 2, np.nan, 3], [3, -1, -2, np.nan], [-np.inf] * 4, [np.inf, 1, -np.inf, 2], [100, -100, 1e4, -1e4]],
    ids=["nan-first", "nan-inside", "nan-last", "minus-infinity", "infinities", "large"],
)
def test_nan_and_infinity_mean_what_they_mean_in_the_reference(text: str, row: list[float]) -> None:
    build_and_hold(typed_graph(text), inputs={"x": np.array([row, [1, 2, 3, 4]], dtype=np.float32)[None, None]})


def test_a_nan_is_not_equal_to_itself_where_others_read_that() -> None:
    """So files ask for a NaN. Fused with what reads it, Relax's comparison is true."""
    text = "graph @g(%x: f64[3]) { %same = equal(%x, %x) %odd = logical_not(%same) %y = cast(%odd) {to=f64} return %y }"
    module = build_and_hold(typed_graph(text), inputs={"x": np.array([np.nan, np.inf, 1.0])})
    assert module.run({"x": np.array([2.0, np.nan, -np.inf])})["y"].tolist() == [0, 1, 0]


def test_slopes_of_0_keep_what_is_no_number() -> None:
    """TVM takes a product with the number 0 for 0."""
    lines = "%a = leaky_relu(%x) {alpha=0.0} %b = hard_sigmoid(%x) {alpha=0.0} %c = elu(%x) {alpha=0.0} %d = selu(%x) {gamma=0.0}"
    text = f"graph @g(%x: f64[4]) {{ {lines} return %a, %b, %c, %d }}"
    module = build_and_hold(typed_graph(text), inputs={"x": np.array([np.nan, -np.inf, np.inf, -1.5])})
    assert np.isnan(module.run({"x": np.full(4, np.nan)})["a"]).all()


def test_integer_division_never_traps() -> None:
    """By 0 it has no meaning, but the process lives; the least number over -1 wraps, as NumPy's does."""
    graph = typed_graph("graph @g(%a: i32[3], %b: i32[3], %c: u8[3], %d: u8[3]) { %q = div(%a, %b) %u = div(%c, %d) return %q, %u }")
    least = np.iinfo(np.int32).min
    ends: dict[str, Array] = {
        "a": np.array([least, least, 9], np.int32),
        "b": np.array([-1, 1, -2], np.int32),
        "c": np.array([1, 255, 7], np.uint8),
        "d": np.array([1, 255, 2], np.uint8),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the reference casts 2^31 to int32
        module = build_and_hold(graph, inputs=ends)
    module.run({**ends, "b": np.zeros(3, np.int32), "d": np.zeros(3, np.uint8)})


def test_cuda_kernels_for_named_heights(tmp_path: Path) -> None:
    """dlight's Matmul rule breaks on them; the kernel goes to the next rule."""
    assert "__global__" in build_cuda(typed_graph(HEIGHTS), tmp_path, check=False).source.read_text()
