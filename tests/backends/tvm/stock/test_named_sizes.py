"""Rows, columns and lengths that have only names compile as a batch does: one library for all numbers, by either way of building."""

from __future__ import annotations

import pytest

from convc.backends.tvm.stock.relax_emitter import told_sizes
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.tvm import TVM
from convc.ir.usual_sizes import other_sizes, usual_sizes
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph
from convc.tests.support.tvm_modules import start_stock

NETS = {
    "sound, whose lengths are quotients": """(%x: f32[N,1,1,T]) {
        %w = param {init=he} : f32[8,1,1,40]
        %v = param {init=he} : f32[8,1,1,3]
        %s = param {init=around_one} : f32[4]
        %a = conv2d(%x, %w) {strides=[1,16]}
        %p = max_pool(%a) {kernel=[1,4], strides=[1,4]}
        %c = conv2d(%p, %v) {pads=[0,1,0,1], groups=8}
        %g = reshape(%c) {shape=[N,4,-1]}
        %n = instance_norm(%g, %s, %s)
        %y = reshape(%n) {shape=[N,8,-1]}
        return %y""",
    "a shuffle of pixels, of which no input shows half": """(%x: f32[N,3,2*H,2*W]) {
        %w = param {init=he} : f32[8,12,3,3]
        %r = reshape(%x) {shape=[N,3,H,2,W,2]}
        %t = transpose(%r) {perm=[0,1,3,5,2,4]}
        %d = reshape(%t) {shape=[N,12,H,W]}
        %c = conv2d(%d, %w) {pads=[1,1,1,1]}
        %y = depth_to_space(%c) {block=2}
        return %y""",
    "pads of computed sizes": """(%x: f32[N,3,H,W]) {
        %w = param {init=he} : f32[4,3,3,3]
        %v = param {init=he} : f32[4,4,3,3]
        %edge = pad(%x) {pads=[0,0,1,2,0,0,1,0], mode=edge}
        %a = conv2d(%edge, %w) {strides=[2,2]}
        %reflect = pad(%a) {pads=[0,0,2,1,0,0,2,1], mode=reflect}
        %b = conv2d(%reflect, %v) {strides=[1,2]}
        %y = pad(%b) {pads=[0,1,1,0,0,0,1,3], value=-1.0}
        return %y""",
    "windows that round up, and what is cut off": """(%x: f32[N,2,H,W]) {
        %a = max_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,1,1,1], ceil_mode=true}
        %b = avg_pool(%a) {kernel=[2,3], strides=[2,2], pads=[0,1,1,1], ceil_mode=true}
        %last = slice(%b) {axes=[2], starts=[(H//2+1)//2], ends=[2147483647]}
        %tail = slice(%b) {axes=[3], starts=[-2], ends=[2147483647]}
        %g = global_avg_pool(%tail)
        %up = resize(%b) {scales=[1.5,2.0]}
        return %g, %up""",
    "planes as rows": """(%x: f32[N,4,H,W]) {
        %w = param {init=he} : f32[6,4,7,5]
        %a = conv2d(%x, %w)
        %b = reshape(%a) {shape=[N,2,3,-1]}
        %t = transpose(%b) {perm=[0,3,1,2]}
        %s = softmax(%t)
        %f = flatten(%a) {axis=2}
        %m = reduce_mean(%f) {axes=[1]}
        return %s, %m""",
}
BUILDS = {"own kernels": TVM.start, "stock": start_stock}


@pytest.mark.parametrize(("net", "build"), [*((net, "own kernels") for net in NETS), (next(iter(NETS)), "stock")])
def test_at_two_sizes(net, build):
    graph, _ = optimize(typed_graph(f"graph @net{NETS[net]}\n}}"), 2 if build == "own kernels" else 0, prices=TVM.prices)
    run = BUILDS[build](graph, 1)
    for seed, sizes in enumerate((usual_sizes(graph), other_sizes(graph) | {"N": 2})):
        inputs = normal_inputs(graph, seed, **sizes)
        hold_to_reference(graph, run(inputs), inputs)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ("%x: f32[N,3,8,8]", []),
        ("%x: f32[N,3,H,W]", ["(H+1)//2", "(W+1)//2"]),
        ("%x: f32[N,3,2*H,8]", ["H"]),
        ("%x: f32[8*N,3,8,8]", ["N"]),
    ],
)
def test_what_a_library_is_told(inputs, told):
    text = f"graph @net({inputs}) {{ %y = max_pool(%x) {{kernel=[1,1], strides=[2,2]}} return %y }}"
    assert [str(dim) for dim in told_sizes(typed_graph(text))] == told
