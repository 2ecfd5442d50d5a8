"""What rules leave to stock rows, since kernels would compute something else, and what none of them may leave."""

from __future__ import annotations

import re

import pytest

from convc.backends.tvm.cuda.casts import moved_casts
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.gpus.architectures import ARCHITECTURES
from convc.ir.printer import print_graph
from convc.tests.support.graphs import typed_graph

LAID = "%p = max_pool(%x) {kernel=[1,1]}"  # in the layout, of 11 channels, 9 rows and 7 columns, of 2 images
SCORES = "%g = global_max_pool(%x) %f = flatten(%g)"
TURNED = f"{LAID} %t = transpose(%p) {{perm=[0,2,3,1]}}"
CONV = "%w = param : f16[16,11,1,1] %c = conv2d(%x, %w)"
LEFT = {
    "a bias that is computed": "%w = param : f16[16,11,1,1] %b = relu(%k) %y = conv2d(%x, %w, %b)",
    "a bias of a transposed layer that is computed": "%w = param : f16[11,16,1,1] %b = relu(%k) %y = conv_transpose2d(%x, %w, %b)",
    "more than 8 phases along an axis": "%w = param : f16[11,8,9,1] %y = conv_transpose2d(%x, %w) {strides=[9,1]}",
    "channels flattened apart": f"{LAID} %y = flatten(%p) {{axis=2}} %w = param : f16[5,63] %d = dense(%y, %w)",
    "one pixel flattened otherwise": "%g = global_max_pool(%x) %y = flatten(%g) {axis=2}",
    "pixels flattened for no layer": f"{LAID} %y = flatten(%p)",
    "a number a row": f"{LAID} %n = param : f16[1,11,9,1] %y = mul(%p, %n)",
    "numbers along more axes": f"{LAID} %n = param : f16[1,1,11,1,1] %y = mul(%p, %n)",
    "a gate a pixel": f"{LAID} %n = reduce_max(%p) {{axes=[1]}} %y = mul(%p, %n)",
    "a gate of one channel": f"%g = global_max_pool(%x) %w = param : f16[1,11,1,1] %n = conv2d(%g, %w) {LAID} %y = mul(%p, %n)",
    "constants by constants": "%a = param : f16[2,11,9,7] %b = param : f16[11,1,1] %y = mul(%a, %b) %z = add(%y, %x)",
    "a softmax of rows": f"{LAID} %y = softmax(%p) {{axis=2}}",
    "rows backwards": f"{LAID} %y = slice(%p) {{axes=[2], starts=[8], ends=[0], steps=[-1]}}",
    "some images": f"{LAID} %y = slice(%p) {{axes=[0], starts=[1], ends=[2]}}",
    "every other channel": f"{LAID} %y = slice(%p) {{axes=[1], starts=[0], ends=[11], steps=[2]}}",
    "more images": f"{LAID} %y = pad(%p) {{pads=[0,0,0,0,1,0,0,0]}}",
    "channels reflected": f'{LAID} %y = pad(%p) {{pads=[0,1,0,0,0,0,0,0], mode="reflect"}}',
    "channels by their edge": f'{LAID} %y = pad(%p) {{pads=[0,0,0,0,0,1,0,0], mode="edge"}}',
    "channels by a table": f"{LAID} %i = param {{init=zeros}} : i64[2,3] %y = gather(%p, %i) {{axis=1}}",
    "rows by a list": f"{LAID} %i = param {{init=zeros}} : i64[3] %y = gather(%p, %i) {{axis=2}}",
    "images under each other": f"{LAID} %y = concat(%p, %x) {{axis=2}}",
    "more operands than a kernel has arguments": f"{LAID} %y = concat({', '.join(['%p'] * 65)}) {{axis=1}}",
    "groups that fill no chunk": "%w = param : f16[24,11,1,1] %c = conv2d(%x, %w) %s = param : f16[24] %y = group_norm(%c, %s, %s) {groups=2}",
    "a norm of all scores": f"{SCORES} %s = param : f16[2,11] %y = layer_norm(%f, %s) {{axis=0}}",
    "a norm of columns and channels": f"{TURNED} %s = param : f16[7,11] %y = layer_norm(%t, %s) {{axis=2}} %b = transpose(%y) {{perm=[0,3,1,2]}}",
    "a norm that turns otherwise": f"{TURNED} %s = param : f16[11] %y = layer_norm(%t, %s) %b = transpose(%y) {{perm=[0,2,1,3]}}",
    "a norm of rows": f"{LAID} %t = transpose(%p) {{perm=[0,3,1,2]}} %s = param : f16[9] %y = layer_norm(%t, %s) %b = transpose(%y) {{perm=[0,2,3,1]}}",
    "a cast that no kernel reads": "%f = cast(%x) {to=f32} %t = tan(%f) %y = cast(%t) {to=f16} %z = reduce_sum(%y)",
}  # fmt: skip
WIDE = f"{CONV} %f = cast(%c) {{to=f32}}"
PLANS = {
    "many operands": (f"{LAID} %y = concat({', '.join(['%p', '%x'] * 20)}) {{axis=1}}", "max pool: p; concat, channel by channel: y"),
    "a last operand of no whole chunk": (f"{CONV} %r = relu(%c) %y = concat(%r, %c, %x) {{axis=1}}", "pointwise: r; concat of 2, 1 in place: y"),
    "8 phases": ("%w = param : f16[11,8,8,1] %y = conv_transpose2d(%x, %w) {strides=[8,1]}", "transposed conv 8 phases, tile 64x16 by mma.sync: y"),
    "scores in float32": (f"{SCORES} %d = cast(%f) {{to=f32}} %y = log_softmax(%d)", "softmax: y"),
    "a softmax that is asked for": (f"{CONV} %y = softmax(%c)", "softmax: y"),
    "an image in float32, and back": (f'{WIDE} %r = resize(%f) {{mode="nearest", scales=[2.0,2.0]}} %y = cast(%r) {{to=f16}}', "resize: r, y; leave: y"),
    "a maximum in float32": (f"{WIDE} %l = local_response_norm(%f) {{size=3}} %y = global_max_pool(%l)", "local response norm: l; global max pool: y"),
    "another type of 16 bits": (f"{WIDE} %h = cast(%f) {{to=bf16}} %v = param : bf16[8,16,1,1] %y = conv2d(%h, %v)", "leave: f; enter: h; conv 1x1, tile 64x16 by mma.sync: y"),
    "a widened value that is asked for": (f"{CONV} %z = cast(%c) {{to=f32}} %y = local_response_norm(%z) {{size=3}}", "leave: z; local response norm: y; leave: y"),
    "a relu between casts": (f"{WIDE} %q = concat(%f, %f) {{axis=1}} %r = relu(%q) %y = global_avg_pool(%r)", "concat: q.f16; pointwise: r.f16; global avg pool: y"),
    "channels counted from the end": (f"{CONV} %y = concat(%x, %c) {{axis=-3}}", "concat, channel by channel: y"),
    "scores flattened between casts": (f"{WIDE} %l = flatten(%f) %h = cast(%l) {{to=f16}} %v = param : f16[5,1008] %y = dense(%h, %v)", ": l.f16, y; leave: y"),
    "what nobody reads": (f"{LAID} %d = tanh(%p) %y = tan(%x)", "stock: y"),
}  # fmt: skip


def lines_of(lines: str) -> list[str]:
    """The plan of a graph that returns %z, and what nobody reads from %y on."""
    given = "%x: f16[2,11,9,7]" + (", %k: f16[16]" if "%k" in lines else "")
    made = re.findall("(%[yzbd]) = ", lines)
    returned = [name for name in made if name == "%z" or (lines.count(name) == 1 and lines.index(name) >= lines.index("%y"))]
    return gpu_plan(typed_graph(f"graph @g({given}) {{ {lines} return {', '.join(returned)} }}")).lines()


@pytest.mark.parametrize("lines", LEFT.values(), ids=LEFT)
def test_what_kernels_do_not_compute_is_left_to_its_row(lines: str) -> None:
    assert "stock: y" in lines_of(lines)


@pytest.mark.parametrize(("lines", "planned"), PLANS.values(), ids=PLANS)
def test_what_they_do_is_not(lines: str, planned: str) -> None:
    assert planned in "; ".join(lines_of(lines))


STAY = {
    "two types of 16 bits": "%b = cast(%x) {to=bf16} %e = cast(%b) {to=f32} %f = cast(%x) {to=f32} %y = concat(%e, %f) {axis=1}",
    "weights": "%w = param : f32[2,11,9,7] %r = relu(%w) %h = cast(%r) {to=f16} %y = add(%x, %h)",
    "a mean": "%f = cast(%x) {to=f32} %a = avg_pool(%f) {kernel=[2,2]} %y = cast(%a) {to=f16}",
}


@pytest.mark.parametrize("lines", STAY.values(), ids=STAY)
def test_casts_that_stay(lines: str) -> None:
    graph = typed_graph(f"graph @g(%x: f16[2,11,9,7]) {{ {lines} return %y }}")
    assert print_graph(moved_casts(graph)) == print_graph(graph)


def test_a_plan_is_for_its_gpus_and_its_precision() -> None:
    """Which those for each batch are made like."""
    text = "graph @g(%x: f16[64,64,28,28]) { %w = param : f16[256,64,3,3] %y = conv2d(%x, %w) return %y }"
    lines = {name: gpu_plan(typed_graph(text), arch=arch).lines()[1] for name, arch in ARCHITECTURES.items()}
    assert "by wgmma" in lines["sm_90a"]
    assert "tile 128x128" in lines["sm_86"]
    assert "tile 128x256 by mma.sync" in lines["sm_90"]
    plan = gpu_plan(typed_graph(text.replace("f16", "f32")), arch=ARCHITECTURES["sm_86"], tf32=True)
    assert (plan.arch.name, plan.tf32) == ("sm_86", True)
