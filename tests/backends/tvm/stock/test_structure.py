"""Ops on structure in TVM where variants with normal values do not reach: NaN, ties, wild indices, named heights, far-off means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.library.build import build_cpu
from convc.backends.tvm.library.run import LoadedLibrary
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold

NAMED = """graph @named(%x: f32[N,8,H,W], %i: i64[K]) {
    %scale = param : f32[8]
    %bias = param {init=small} : f32[8]
    %instance = instance_norm(%x, %scale, %bias)
    %group = group_norm(%x, %scale, %bias) {groups=2}
    %rows = transpose(%x) {perm=[0,2,3,1]}
    %layer = layer_norm(%rows, %scale, %bias)
    %grown = depth_to_space(%x) {block=2, mode=CRD}
    %back = space_to_depth(%grown) {block=2}
    %tiled = tile(%x) {repeats=[1,1,2,1]}
    %first = slice(%x) {axes=[1], starts=[0], ends=[1]}
    %wide = expand(%first) {shape=[1,3,H,W]}
    %sum = reduce_sum(%x) {axes=[2,3]}
    %most = reduce_max(%x) {axes=[1,3], keepdims=false}
    %place = arg_max(%x) {axis=2}
    %line = flatten(%x)
    %best = top_k_values(%line) {k=5}
    %where = top_k_indices(%line) {k=5, largest=false}
    %smooth = resize(%x) {scales=[2.0,1.0], mode=cubic}
    return %instance, %group, %layer, %grown, %back, %tiled, %wide, %sum, %most, %place, %best, %where, %smooth, %i
}"""


def test_heights_and_widths_may_be_named() -> None:
    build_and_hold(typed_graph(NAMED), {"N": 1, "H": 6, "W": 5, "K": 2}, {"N": 2, "H": 3, "W": 9, "K": 1})


EXTREMES = """graph @extremes(%x: f32[2,6]) {
    %max = reduce_max(%x) {axes=[1]}
    %min = reduce_min(%x) {axes=[1], keepdims=false}
    %most = arg_max(%x) {axis=1}
    %last = arg_max(%x) {axis=1, select_last_index=true}
    %least = arg_min(%x) {axis=1, keepdims=false}
    return %max, %min, %most, %last, %least
}"""


@pytest.mark.parametrize(
    "row",
    [[np.nan, 1, 2, -3, 2, 1], [1, 2, np.nan, 3, np.nan, 0], [-np.inf] * 6, [np.inf] * 6, [0, -0.0, 0, -0.0, 0, 0]],
    ids=["nan-first", "nan-twice", "minus-infinity", "infinity", "zeros"],
)
def test_extremes_mean_what_they_mean_in_the_reference(row: list[float]) -> None:
    build_and_hold(typed_graph(EXTREMES), inputs={"x": np.array([row, [3, 1, 3, 1, 2, 2]], dtype=np.float32)})


def test_the_ends_of_whole_numbers() -> None:
    text = """graph @g(%a: i32[4], %b: u8[4]) {
        %max = reduce_max(%a) %min = reduce_min(%b) %most = arg_max(%a) %least = arg_min(%b) {select_last_index=true}
        return %max, %min, %most, %least }"""
    build_and_hold(typed_graph(text), inputs={"a": np.full(4, np.iinfo(np.int32).min, np.int32), "b": np.full(4, 255, np.uint8)})


def test_a_wild_index_reads_the_nearest_slice_and_nothing_else(tmp_path: Path) -> None:
    """The reference refuses it; a kernel cannot, but what lies beyond the tensor stays there."""
    graph = typed_graph("graph @g(%x: f32[3], %i: i64[4]) { %y = gather(%x, %i) return %y }")
    module = LoadedLibrary.load(build_cpu(graph, tmp_path / "model.so").library)
    wild: dict[str, Array] = {"x": np.array([1, 2, 3], np.float32), "i": np.array([2**62, -(2**62), 3, -4])}
    assert module.run(wild)["y"].tolist() == [3, 1, 3, 1]


def test_a_mean_far_off_does_not_cancel() -> None:
    """E[x^2]-E[x]^2 in float32 would lose all digits of the variance here."""
    text = """graph @g(%x: f32[2,4,8,8]) {
        %one = param {init=ones} : f32[4]
        %row = param {init=ones} : f32[8]
        %i = instance_norm(%x, %one, %one) %g = group_norm(%x, %one, %one) {groups=2} %l = layer_norm(%x, %row)
        return %i, %g, %l }"""
    x = np.random.default_rng(0).integers(-4, 5, (2, 4, 8, 8)).astype(np.float32) + 2.0**13  # every mean is nearly exact
    build_and_hold(typed_graph(text), inputs={"x": x})


def test_quantization_at_ties_and_ends() -> None:
    text = """graph @g(%x: f32[9]) {
        %one = param {init=ones} : f32[] %z = param {init=ones} : i8[] %u = param {init=ones} : u8[]
        %signed = quantize_linear(%x, %one, %z) %byte = quantize_linear(%x, %one, %u) return %signed, %byte }"""
    build_and_hold(typed_graph(text), inputs={"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf, -np.inf], np.float32)})
