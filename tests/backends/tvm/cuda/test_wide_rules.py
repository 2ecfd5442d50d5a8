"""Float32 among 16 bits: which chains stay in the layout, and that they are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends import reference
from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.casts import moved_casts
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.library.run import LoadedLibrary
from convc.tests.support.graphs import normal_inputs, typed_graph

NORM = """%s = param {init=ones} : f32[24] %t = param {init=small} : f32[24] %e = param {init=small} : f32[24]
    %v = param {init=ones} : f32[24] %b = batch_norm(%f, %s, %t, %e, %v) %r = relu(%b)"""
# Between two blocks of DenseNet, and at its end.
TRANSITION = f"""graph @transition(%x: f16[N,12,8,6]) {{
    %w = param : f16[24,12,1,1] %c = conv2d(%x, %w) %f = cast(%c) {{to=f32}} {NORM}
    %a = avg_pool(%r) {{kernel=[2,2], strides=[2,2]}} %h = cast(%a) {{to=f16}}
    %u = param : f16[10,24,1,1] %d = conv2d(%h, %u) %g = cast(%d) {{to=f32}}
    %p = global_avg_pool(%g) %l = flatten(%p) %y = softmax(%l)
    return %y
}}"""
# A norm that is kept in float32 twice over, and whose sum with another goes on so.
CHAIN = f"""graph @chain(%x: f16[2,24,5,6]) {{
    %c = max_pool(%x) {{kernel=[1,1]}} %f = cast(%c) {{to=f32}} {NORM}
    %k = local_response_norm(%r) {{size=3}} %z = add(%k, %r) %q = sigmoid(%z) %h = cast(%q) {{to=f16}}
    %w = param : f16[8,24,1,1] %y = conv2d(%h, %w)
    return %y
}}"""

# A sum in float32 with a value of float32 that stands before the norm: none of its kernel's steps can read it, which reads 16 bits.
RESIDUAL = f"""graph @residual(%x: f16[2,24,5,6]) {{
    %c = max_pool(%x) {{kernel=[1,1]}} %f = cast(%c) {{to=f32}} %k = local_response_norm(%f) {{size=3}} {NORM}
    %z = add(%r, %k) %h = cast(%z) {{to=f16}} %w = param : f16[8,24,1,1] %y = conv2d(%h, %w)
    return %y
}}"""

# An activation in float32, as a precision's pass leaves it, and one more after it.
ACTIVATED = """graph @activated(%x: f16[2,24,5,6]) {
    %w = param : f16[16,24,3,3] %c = conv2d(%x, %w) {pads=[1,1,1,1]} %f = cast(%c) {to=f32} %g = gelu(%f) %h = cast(%g) {to=f16} %r = relu(%h)
    %f2 = cast(%r) {to=f32} %k = mish(%f2) %h2 = cast(%k) {to=f16} %v = param : f16[8,16,1,1] %y = conv2d(%h2, %v)
    return %y
}"""

# One that squeeze and excitation reads twice: rounded for the gate, and in float32 for the average.
GATED = """graph @gated(%x: f16[2,24,5,6]) {
    %w = param : f16[16,24,3,3] %c = conv2d(%x, %w) {pads=[1,1,1,1]} %f = cast(%c) {to=f32} %g = gelu(%f) %h = cast(%g) {to=f16}
    %p = global_avg_pool(%g) %q = cast(%p) {to=f16} %v = param : f16[16,16,1,1] %e = conv2d(%q, %v) %s = sigmoid(%e) %y = mul(%h, %s)
    return %y
}"""

# As ConvNeXt and its like have them, where a precision's pass keeps norms in float32: of pixels, of groups.
NORMS = """graph @norms(%x: f16[2,24,5,6]) {
    %w = param : f16[16,24,3,3] %c = conv2d(%x, %w) {pads=[1,1,1,1]} %f = cast(%c) {to=f32} %p = transpose(%f) {perm=[0,2,3,1]}
    %s = param {init=around_one} : f32[16] %t = param : f32[16] %n = layer_norm(%p, %s, %t) %q = cast(%n) {to=f16}
    %b = transpose(%q) {perm=[0,3,1,2]} %v = param : f16[16,16,1,1] %d = conv2d(%b, %v) %g = cast(%d) {to=f32}
    %k = group_norm(%g, %s, %t) {groups=4} %e = gelu(%k) %h = cast(%e) {to=f16} %u = param : f16[8,16,1,1] %y = conv2d(%h, %u)
    return %y
}"""


def test_float32_between_two_casts_changes_no_layout() -> None:
    assert gpu_plan(typed_graph(TRANSITION)).lines() == [
        "enter: x",
        "conv 1x1, tile 64x32 by mma.sync: c",
        "batch norm: b, r",
        "avg pool: a, h",
        "conv 1x1, tile 64x16 by mma.sync: d",
        "global avg pool: p",
        "view: l",
        "softmax: y",
    ]
    assert gpu_plan(typed_graph(CHAIN)).lines() == [
        "enter: x",
        "max pool: c",
        "batch norm: b, r",
        "local response norm: k",
        "pointwise: z, q, h",
        "conv 1x1, tile 64x16 by mma.sync: y",
        "leave: y",
    ]


def test_a_kernel_of_16_bits_has_no_step_that_reads_float32() -> None:
    lines = gpu_plan(typed_graph(RESIDUAL)).lines()
    assert lines[3:5] == ["batch norm: b", "pointwise: r, z, h"]


def test_a_cast_that_is_returned_keeps_its_name() -> None:
    """Though it says what was there before it was widened; one that is not returned goes."""
    text = "graph @g(%x: f16[2,8,4,4]) { %a = relu(%x) %f = cast(%a) {to=f32} %h = cast(%f) {to=f16} %y = neg(%h) return %h, %y }"
    graph = moved_casts(typed_graph(text))
    assert [node.name for node in graph.outputs] == ["h", "y"]
    assert "cast" not in {node.kind.name for node in moved_casts(typed_graph(text.replace("return %h, ", "return "))).nodes}


def test_activations_in_float32_are_steps_of_the_kernel_before() -> None:
    lines = gpu_plan(typed_graph(ACTIVATED)).lines()
    assert lines == [
        "enter: x",
        "conv 3x3, tile 64x16 by mma.sync: c, f, g, h, r, f2, k, h2",
        "conv 1x1, tile 64x16 by mma.sync: y",
        "leave: y",
    ]


@pytest.mark.parametrize("kind", ["gelu", "mish", "softplus", "tanh", "elu", "selu", "sigmoid", "hard_swish", "erf", "abs"])
def test_an_activation_that_an_average_reads_too_is_a_step_all_the_same(kind: str) -> None:
    lines = gpu_plan(typed_graph(GATED.replace("gelu(", f"{kind}("))).lines()
    assert [line.split(":")[0] for line in lines] == [
        "enter",
        "conv 3x3, tile 64x16 by mma.sync",
        "global avg pool",
        "matvec 1x1",
        "by channel",
        "leave",
    ]
    alone = GATED.replace("%h = cast(%g) {to=f16}", "").replace("%y = mul(%h, %s)", "%y = neg(%s)")
    assert not any(line.startswith(("stock", "by channel")) for line in gpu_plan(typed_graph(alone)).lines())


def test_one_that_is_returned_in_float32_is_not_rounded() -> None:
    assert "stock: g" in gpu_plan(typed_graph(GATED.replace("return %y", "return %y, %g"))).lines()


def test_norms_in_float32_are_one_kernel_each() -> None:
    assert gpu_plan(typed_graph(NORMS)).lines() == [
        "enter: x",
        "conv 3x3, tile 64x16 by mma.sync: c",
        "group norm: p, n, q, b",
        "conv 1x1, tile 64x16 by mma.sync: d",
        "group norm: k, e, h",
        "conv 1x1, tile 64x16 by mma.sync: y",
        "leave: y",
    ]


def test_what_else_is_read_between_transposes_stays() -> None:
    lines = gpu_plan(typed_graph(NORMS.replace("return %y", "return %y, %p"))).lines()
    assert "stock: n" in lines


def test_a_cast_that_something_else_reads_ends_the_chain() -> None:
    text = ACTIVATED.replace("return %y", "%z = reduce_sum(%f) return %y, %z")
    assert "conv 3x3, tile 64x16 by mma.sync: c" in gpu_plan(typed_graph(text)).lines()


def test_products_in_float32_are_left_to_their_rows() -> None:
    """Tensor cores would take digits from them."""
    text = TRANSITION.replace("%h = cast(%a) {to=f16}", "%i = param : f32[10,24,1,1] %j = conv2d(%a, %i)").replace(
        "%u = param : f16[10,24,1,1] %d = conv2d(%h, %u) %g = cast(%d) {to=f32}", "%g = relu(%j)"
    )
    lines = gpu_plan(typed_graph(text)).lines()
    assert "stock: j" in lines
    assert lines[lines.index("avg pool: a") + 1] == "leave: a"


def test_what_is_asked_for_in_float32_leaves_once() -> None:
    text = "graph @g(%x: f16[2,8,4,4]) { %a = max_pool(%x) {kernel=[1,1]} %f = cast(%a) {to=f32} %r = relu(%f) %s = tan(%r) return %s }"
    assert [line.split()[0] for line in gpu_plan(typed_graph(text)).lines()].count("leave:") == 1


def _off(text: str, folder: Path) -> float:
    """The greatest error, of the greatest value."""
    graph = typed_graph(text)
    emulated()
    loaded = LoadedLibrary.load(build_cuda(graph, folder, check=False).library)
    inputs = normal_inputs(graph, 0, **dict.fromkeys(graph.symbols, 3))
    (wanted,), (got,) = (each.values() for each in (reference.run(graph, inputs, "f64"), loaded.run(inputs)))
    return float(abs(got - wanted).max() / abs(wanted).max())


@pytest.mark.parametrize(
    "text",
    [TRANSITION, CHAIN, RESIDUAL, ACTIVATED, GATED, NORMS],
    ids=["transition", "chain", "residual", "activated", "gated", "norms"],
)
def test_they_are_right(apart: Callable[..., Any], text: str, tmp_path: Path) -> None:
    assert apart(_off, text, tmp_path) < 3e-3


@pytest.mark.parametrize(
    ("lines", "given", "why"),
    [
        ("%y = tan(%x)", "%x: f16[2,8,4,4]", "no kernel for tan"),
        ("%w = param : f16[8,8,1,1,1] %y = conv3d(%x, %w)", "%x: f16[2,8,4,4,4]", "no kernel for conv3d"),
        ("%w = param : f32[8,8,1,1] %y = conv2d(%x, %w)", "%x: f32[2,8,4,4]", "a product in float32"),
        ("%y = gelu(%x)", "%x: f32[2,8,4,4]", "in float32, and not between two casts"),
        ("%y = max_pool(%x) {kernel=[2,2]}", "%x: f16[2,8,H,W]", "named sizes besides the batch"),
        ("%y = softmax(%x) {axis=2}", "%x: f16[2,8,4,4]", "of shapes, constants or attributes that no kernel takes"),
    ],
)
def test_a_stock_row_says_why_it_is_one(lines: str, given: str, why: str) -> None:
    told = gpu_plan(typed_graph(f"graph @g({given}) {{ {lines} return %y }}")).lines(reasons=True)
    assert f"stock: y ({why})" in told
