"""Each family of kernels for GPUs, executed: odd sizes, remainders of channels, several images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cuda.kernels.kernel import VIEW
from convc.backends.tvm.cuda.kernels.moves import channel_places
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.tests.support.emulated import run_emulated
from convc.tests.support.graphs import typed_graph

# By family: what computes %m from %x, of 11 channels, and parameters that it reads.
CASES = {
    "max pool": "%m = max_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,1,0,1], ceil_mode=true}",
    "max pool, spread": "%m = max_pool(%x) {kernel=[2,2], dilations=[2,1]}",
    "avg pool": "%m = avg_pool(%x) {kernel=[3,2], strides=[2,2], pads=[1,1,0,1], ceil_mode=true}",
    "avg pool with pads": "%m = avg_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,1,1,1], ceil_mode=true, count_include_pad=true}",
    "global avg pool": "%m = global_avg_pool(%x)",
    "global max pool": "%m = global_max_pool(%x)",
    "depthwise": """%w = param : f16[11,1,3,3] %b = param : f16[11]
        %c = conv2d(%x, %w, %b) {groups=11, pads=[1,1,1,1], strides=[2,1]} %s = sigmoid(%c) %m = mul(%s, %c)""",
    "transposed conv": """%w = param : f16[11,9,3,2] %b = param : f16[9]
        %c = conv_transpose2d(%x, %w, %b) {strides=[2,3], pads=[1,0,0,1], output_padding=[1,2]} %m = relu(%c)""",
    "transposed conv, spread": "%w = param : f16[11,8,2,3] %m = conv_transpose2d(%x, %w) {strides=[2,2], dilations=[2,3], pads=[1,2,2,0]}",
    "transposed conv, twice as large": "%w = param : f16[11,16,2,2] %m = conv_transpose2d(%x, %w) {strides=[2,2]}",
    "transposed conv, in groups": """%e = param : f16[32,11,1,1] %f = conv2d(%x, %e) %w = param : f16[32,8,3,2] %b = param : f16[16]
        %m = conv_transpose2d(%f, %w, %b) {strides=[2,1], groups=2, pads=[1,0,0,1]}""",
    "transposed conv, in groups that fill tiles": """%e = param : f16[16,11,1,1] %f = conv2d(%x, %e) %w = param : f16[16,64,2,2]
        %b = param : f16[128] %m = conv_transpose2d(%f, %w, %b) {strides=[2,2], groups=2}""",
    "transposed conv, in groups of no chunk": """%e = param : f16[12,11,1,1] %f = conv2d(%x, %e) %w = param : f16[12,2,3,3]
        %m = conv_transpose2d(%f, %w) {strides=[2,2], groups=3, pads=[1,1,1,1]}""",
    "depthwise, transposed": """%w = param : f16[11,1,4,3] %b = param : f16[11]
        %c = conv_transpose2d(%x, %w, %b) {strides=[2,3], groups=11, pads=[1,0,0,1], output_padding=[1,2], dilations=[1,2]} %m = relu(%c)""",
    "pointwise": "%p = max_pool(%x) {kernel=[1,1]} %a = add(%p, %p) %t = tanh(%a) %c = max_pool(%t) {kernel=[1,1]} %d = add(%t, %c) %m = clip(%d) {min=0.0, max=6.0}",
    "pointwise, activations": """%p = max_pool(%x) {kernel=[1,1]} %a = softplus(%p) %b = mish(%p) %c = gelu(%p) %d = gelu(%p) {approximate="tanh"}
        %e = elu(%p) {alpha=0.7} %f = selu(%p) %g = erf(%p) %h = abs(%p) %i = neg(%p) %j = maximum(%a, %b) %k = minimum(%c, %d)
        %l = add(%e, %f) %o = mul(%g, %h) %q = add(%j, %k) %r = add(%l, %o) %s = add(%q, %r) %m = maximum(%s, %i)""",
    "pointwise, roots and steps": """%p = max_pool(%x) {kernel=[1,1]} %a = abs(%p) %b = sqrt(%a) %e = floor(%p) %f = ceil(%p) %g = round(%p)
        %h = exp(%p) %i = log(%h) %m = concat(%b, %e, %f, %g, %i) {axis=1}""",
    # of 0 by 0 and of the logarithm of 0, which is what channels beyond the last hold, nothing reaches the others
    "pointwise, quotients": """%p = max_pool(%x) {kernel=[1,1]} %a = add(%p, %p) %b = div(%p, %a) %w = param : f16[8,11,1,1] %c = conv2d(%b, %w)
        %d = maximum(%p, %p) %e = exp(%d) %s = sigmoid(%p) %f = pow(%s, %e) %g = log(%e) %v = param : f16[8,11,1,1] %h = conv2d(%g, %v) %m = concat(%c, %f, %h)""",
    "by channel, numbers": """%two = param {init=full, value=2} : f16[] %k = param {init=around_one} : f16[1,11,1,1] %p = max_pool(%x) {kernel=[1,1]}
        %a = pow(%p, %two) %b = div(%a, %k) %c = mul(%two, %b) %w = param : f16[8,11,1,1] %m = conv2d(%c, %w)""",
    "by channel, a gate": "%g = global_max_pool(%x) %s = sigmoid(%g) %d = mul(%x, %s) %m = relu(%d)",
    "by channel, constants": "%k = param : f16[11,1,1] %g = max_pool(%x) {kernel=[2,2]} %m = sub(%k, %g)",
    "batch norm": """%s = param {init=ones} : f16[11] %t = param {init=small} : f16[11] %u = param {init=small} : f16[11]
        %v = param {init=ones} : f16[11] %b = batch_norm(%x, %s, %t, %u, %v) %m = relu(%b)""",
    "local response norm": "%m = local_response_norm(%x) {size=5, alpha=0.1}",
    "group norm": """%w = param : f16[16,11,1,1] %c = conv2d(%x, %w) %s = param {init=around_one} : f16[16] %t = param : f16[16]
        %g = group_norm(%c, %s, %t) {groups=2} %m = relu(%g)""",
    "group norm, of each channel": """%p = max_pool(%x) {kernel=[1,1]} %s = param {init=around_one} : f16[11] %t = param : f16[11]
        %m = instance_norm(%p, %s, %t)""",
    "group norm, of scores": """%p = global_max_pool(%x) %f = flatten(%p) %s = param {init=around_one} : f16[11] %t = param : f16[11]
        %l = layer_norm(%f, %s, %t) %w = param : f16[5,11] %m = dense(%l, %w)""",
    "group norm, of pixels": """%p = max_pool(%x) {kernel=[1,1]} %a = transpose(%p) {perm=[0,2,3,1]} %s = param {init=around_one} : f16[11]
        %l = layer_norm(%a, %s) %b = transpose(%l) {perm=[0,3,1,2]} %m = relu(%b)""",
    "resize, bilinear": '%m = resize(%x) {mode="bilinear", scales=[2.0,1.5]}',
    "resize, nearest": '%m = resize(%x) {mode="nearest", scales=[1.5,2.0]}',
    "concat": "%w = param : f16[16,11,1,1] %c = conv2d(%x, %w) %m = concat(%c, %c, %x) {axis=1}",
    "concat, channel by channel": "%w = param : f16[3,11,1,1] %c = conv2d(%x, %w) %m = concat(%c, %x, %c) {axis=1}",
    "view": """%w = param : f16[16,11,1,1] %c = conv2d(%x, %w) %p = global_avg_pool(%c) %f = flatten(%p) %q = global_max_pool(%x)
        %g = flatten(%q) %m = concat(%f, %g) {axis=1}""",
    "softmax": "%p = max_pool(%x) {kernel=[1,1]} %m = softmax(%p)",
    "softmax, of scores": "%p = global_max_pool(%x) %f = flatten(%p) %w = param : f16[300,11] %d = dense(%f, %w) %m = log_softmax(%d)",
    "softmax, within": "%p = max_pool(%x) {kernel=[1,1]} %s = log_softmax(%p) {axis=-3} %w = param : f16[8,11,1,1] %m = conv2d(%s, %w)",
    "slice": "%p = max_pool(%x) {kernel=[1,1]} %s = slice(%p) {axes=[2,-1,1], starts=[1,-5,3], ends=[9,7,9], steps=[3,2,1]} %m = relu(%s)",
    "gather": """%p = max_pool(%x) {kernel=[1,1]} %i = param {init=full, value=-3} : i64[13] %g = gather(%p, %i) {axis=1}
        %w = param : f16[8,13,1,1] %m = conv2d(%g, %w)""",
    "slice, of chunks": """%w = param : f16[20,11,1,1] %c = conv2d(%x, %w) %s = slice(%c) {axes=[1,3], starts=[8,2], ends=[20,6]}
        %v = param : f16[8,12,1,1] %m = conv2d(%s, %v)""",
    "pad": "%p = max_pool(%x) {kernel=[1,1]} %s = pad(%p) {pads=[0,3,1,0,0,4,2,1], value=1.5} %w = param : f16[8,18,1,1] %m = conv2d(%s, %w)",
    "pad, by its edge": """%p = max_pool(%x) {kernel=[1,1]} %e = pad(%p) {pads=[0,0,1,0,0,0,2,9], mode="edge"}
        %r = pad(%p) {pads=[0,0,8,1,0,0,2,6], mode="reflect"} %f = relu(%e) %g = slice(%f) {axes=[2,3], starts=[0,0], ends=[11,9]}
        %h = slice(%r) {axes=[2,3], starts=[0,0], ends=[11,9]} %m = add(%g, %h)""",
    "pad, of chunks": """%w = param : f16[16,11,1,1] %c = conv2d(%x, %w) %s = slice(%c) {axes=[2,3], starts=[0,0], ends=[99,99], steps=[2,2]}
        %p = pad(%s) {pads=[0,8,0,0,0,16,0,0]} %m = add(%p, %p)""",
}
# The same families along one axis: a sequence lies as an image of one row, whose places are numbers that TVM knows.
SEQUENCES = {
    "max pool": "%m = max_pool(%x) {kernel=[3], strides=[2], pads=[1,1]}",
    "avg pool": "%m = avg_pool(%x) {kernel=[3], strides=[2], pads=[1,1], ceil_mode=true, count_include_pad=true}",
    "depthwise": "%w = param : f16[11,1,3] %m = conv1d(%x, %w) {groups=11, pads=[1,1]}",
    "transposed conv": "%w = param : f16[11,5,5] %b = param : f16[5] %m = conv_transpose1d(%x, %w, %b) {strides=[3], output_padding=[1], pads=[1,2]}",
    "depthwise, transposed": "%w = param : f16[11,1,5] %m = conv_transpose1d(%x, %w) {strides=[3], groups=11, pads=[1,2]}",
    "conv": "%e = param : f16[24,11,1] %f = conv1d(%x, %e) %w = param : f16[22,24,5] %m = conv1d(%f, %w) {strides=[3], pads=[2,1]}",
    "conv, in groups": "%w = param : f16[22,1,5] %m = conv1d(%x, %w) {groups=11, strides=[3], pads=[2,1]}",
    "global avg pool": "%m = global_avg_pool(%x)",
    "global max pool": "%m = global_max_pool(%x)",
    "pointwise": "%p = max_pool(%x) {kernel=[2]} %a = add(%p, %p) %m = tanh(%a)",
    "batch norm": """%s = param {init=ones} : f16[11] %t = param {init=small} : f16[11] %u = param {init=small} : f16[11]
        %v = param {init=ones} : f16[11] %m = batch_norm(%x, %s, %t, %u, %v)""",
    "by channel": "%k = param {init=around_one} : f16[11,1] %p = max_pool(%x) {kernel=[2]} %m = mul(%p, %k)",
    "local response norm": "%m = local_response_norm(%x) {size=5, alpha=0.1}",
    "resize, bilinear": '%m = resize(%x) {mode="bilinear", scales=[2.0]}',
    "resize, nearest": '%m = resize(%x) {mode="nearest", scales=[1.5]}',
    "concat": "%w = param : f16[16,11,1] %c = conv1d(%x, %w) %m = concat(%c, %c, %x) {axis=1}",
    "view": """%w = param : f16[16,11,1] %c = conv1d(%x, %w) %p = global_avg_pool(%c) %f = flatten(%p) %q = global_max_pool(%x)
        %g = flatten(%q) %m = concat(%f, %g) {axis=1}""",
    "softmax": "%p = max_pool(%x) {kernel=[2]} %m = softmax(%p) {axis=1}",
    "slice": "%p = max_pool(%x) {kernel=[2]} %m = slice(%p) {axes=[2], starts=[1], ends=[-1], steps=[2]}",
    "pad": "%p = max_pool(%x) {kernel=[2]} %m = pad(%p) {pads=[0,1,2,0,0,3]}",
}
# Sums and norms stay in float32 between casts, and are one kernel all the same, wherever between them a maximum or a relu stands.
WIDE = """%w = param : f16[16,11,1,1] %c = conv2d(%x, %w) %f = cast(%c) {to=f32} %l = local_response_norm(%f) {size=3}
    %n = max_pool(%l) {kernel=[2,2]} %p = cast(%n) {to=f16} %q = cast(%p) {to=f32} %a = avg_pool(%q) {kernel=[2,2]}
    %i = cast(%a) {to=f16} %u = cast(%i) {to=f32} %o = max_pool(%u) {kernel=[1,1]} %k = concat(%u, %o)
    %s = param {init=ones} : f32[32] %t = param {init=small} : f32[32] %e = param {init=small} : f32[32] %v = param {init=ones} : f32[32]
    %b = batch_norm(%k, %s, %t, %e, %v) %r = relu(%b) %y = cast(%r) {to=f16} %z = cast(%y) {to=f32}
    %big = resize(%z) {mode="bilinear", scales=[2.0,2.0]} %half = cast(%big) {to=f16} %wide = cast(%half) {to=f32}
    %g = global_avg_pool(%wide) %h = flatten(%g) %j = cast(%h) {to=f16} %d = param : f16[5,32] %m = dense(%j, %d)"""


def _text(case: str) -> str:
    lines = CASES.get(case, WIDE)
    return f"graph @g(%x: f16[N,11,9,7]) {{ {lines} return %m }}"


def _all_at_once(cases: Iterable[str], x: str = "f16[2,11,9,7]") -> str:
    """Every case but for its names, in one network: most of the time goes into what they share."""
    texts, results = list[str](), list[str]()
    for i, lines in enumerate(cases):
        words = [f"{word[0:1]}{word[1]}{i}{word[2:]}" if word.startswith("%") and word[1] != "x" else word for word in _words(lines)]
        texts.append(" ".join(words))
        results.append(f"%m{i}")
    return f"graph @g(%x: {x}) {{ {' '.join(texts)} return {', '.join(results)} }}"


def _words(lines: str) -> list[str]:
    for sign in ("(", ")", ",", "{"):
        lines = lines.replace(sign, f" {sign} ")
    return lines.split()


@pytest.mark.parametrize("case", CASES)
def test_each_is_planned(case: str) -> None:
    plan = gpu_plan(typed_graph(_text(case)))
    calls, written = plan.calls, {call.node for call in plan.calls if call.work and call.kernel != VIEW}
    assert set(plan.works) <= plan.needed
    assert {part for work in plan.works.values() for part in work.parts} <= written
    assert case.partition(",")[0].removesuffix(" with pads") in [call.kernel.partition(",")[0] for call in calls]
    assert "stock" not in [call.kernel for call in calls]


def test_a_gate_of_ones_own_is_part_of_its_kernel() -> None:
    assert [call.kernel for call in gpu_plan(typed_graph(_text("depthwise"))).calls] == ["enter", "depthwise", "leave"]


MANY = """graph @many(%x: f16[32,11,64,66]) { %w = param : f16[11,1,3,3] %b = param : f16[11]
    %c = conv2d(%x, %w, %b) {groups=11, pads=[1,1,1,1]} %m = relu(%c) return %m }"""


def test_layers_of_many_pixels_have_several_a_thread() -> None:
    assert "depthwise 4 pixels a thread: c, m" in gpu_plan(typed_graph(MANY)).lines()


@pytest.mark.slow
def test_layers_of_many_pixels_are_right(apart: Callable[..., Any], tmp_path: Path) -> None:
    apart(run_emulated, MANY, tmp_path, [{}])


def test_some_of_each_are_right(apart: Callable[..., Any], tmp_path: Path) -> None:
    """A maximum, means with and without pads, a product, an exponential, a difference whose first operand is the constant."""
    some = [CASES[name] for name in ("max pool", "avg pool", "avg pool with pads", "depthwise", "softmax", "by channel, constants")]
    apart(run_emulated, _all_at_once(some), tmp_path, [{}])


@pytest.mark.parametrize("part", [0, 1, 2])
def test_all_are_right(apart: Callable[..., Any], part: int, tmp_path: Path) -> None:
    apart(run_emulated, _all_at_once([*CASES.values()][part::3]), tmp_path, [{}])


def test_windows_over_sequences_are_right(apart: Callable[..., Any], tmp_path: Path) -> None:
    windows = [SEQUENCES[family] for family in ("max pool", "depthwise", "transposed conv")]
    apart(run_emulated, _all_at_once(windows, "f16[2,11,9]"), tmp_path, [{}])


def test_every_family_takes_sequences() -> None:
    planned = [call.kernel for call in gpu_plan(typed_graph(_all_at_once(SEQUENCES.values(), "f16[3,11,9]"))).calls]
    assert {family.partition(",")[0] for family in SEQUENCES} <= set(planned)
    assert "stock" not in planned


@pytest.mark.slow
@pytest.mark.parametrize("n", ["1", "3", "N"])
def test_every_family_is_right_on_sequences(apart: Callable[..., Any], n: str, tmp_path: Path) -> None:
    text = _all_at_once(SEQUENCES.values(), f"f16[{n},11,9]")
    planned = [call.kernel for call in gpu_plan(typed_graph(text)).calls]
    assert {family.partition(",")[0] for family in SEQUENCES} <= set(planned)
    assert "stock" not in planned
    apart(run_emulated, text, tmp_path, [{"N": 2} if n == "N" else {}])


def test_places_that_are_always_0_are_inside(apart: Callable[..., Any], tmp_path: Path) -> None:
    """One row of many, and a norm of one chunk of which each channel stands alone."""
    lines = "%p = avg_pool(%x) {kernel=[1,3], strides=[5,1]} %m = local_response_norm(%p) {size=1, alpha=0.1}"
    apart(run_emulated, f"graph @g(%x: f16[1,5,4,6]) {{ {lines} return %m }}", tmp_path, [{}])


@pytest.mark.slow
@pytest.mark.parametrize("of", ["f16", "bf16"])
@pytest.mark.parametrize("case", CASES)
def test_each_is_right_for_any_batch(apart: Callable[..., Any], case: str, of: str, tmp_path: Path) -> None:
    apart(run_emulated, _text(case).replace("f16", of), tmp_path, [{"N": 3}, {"N": 1}])


def test_what_is_computed_in_float32_is_one_kernel(apart: Callable[..., Any], tmp_path: Path) -> None:
    text = _text("in float32")
    assert gpu_plan(typed_graph(text)).lines() == [
        "enter: x",
        "conv 1x1, tile 64x16 by mma.sync: c",
        "local response norm: l, l.f16",
        "max pool: p",
        "avg pool: a, i",
        "max pool: o.f16",
        "concat of 1, 1 in place: k.f16",
        "batch norm: b, b.f16, y",
        "resize: big, half",
        "global avg pool: g, g.f16",
        "conv 1x1, tile 64x16 by mma.sync: j, m",
        "leave: m",
    ]
    apart(run_emulated, text.replace("[N,", "[2,"), tmp_path, [{}])


def test_places_of_channels_are_found_as_a_gather_has_them() -> None:
    """From the end, the nearest that there is, and the first for what fills the chunk."""
    places = channel_places(11, 4)
    assert places.pack(np.array([0, -1, 40, 5])).tolist() == [0, 10, 10, 5, 0, 0, 0, 0]
