"""Outputs in the place of inputs: an order in which nobody reads what is gone, or a refusal that names who would."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.backends.reference import run
from convc.ir.donation import aligned, check_given_up, following, holds_order, in_order
from convc.ir.errors import InvalidInput, InvalidModel
from convc.tests.support.graphs import typed_graph

LATE = """graph @late(%x: f32[4], %w: f32[4]) {
    %w.next = sub(%w, %x)
    %y = mul(%w, %x)
    return %y, %w.next }"""
NEEDS = "graph @needs(%x: f32[4], %w: f32[4]) { %w.next = sub(%w, %x) %moved = sub(%w.next, %w) return %moved, %w.next }"
RETURNED = "graph @kept(%x: f32[4], %w: f32[4]) { %w.next = sub(%w, %x) return %w, %w.next }"
SHOWN = "graph @shown(%x: f32[4], %w: f32[4]) { %w.next = sub(%w, %x) %v = reshape(%w) {shape=[2,2]} return %v, %w.next }"
CIRCLE = """graph @circle(%a: f32[4], %b: f32[4]) {
    %a.next = neg(%a) %b.next = neg(%b) %p = mul(%a, %b.next) %q = mul(%b, %a.next)
    return %a.next, %b.next, %p, %q }"""


def test_what_follows_an_input_is_found_by_name_and_type():
    graph = typed_graph(
        "graph @f(%w: f32[4], %v: f32[2]) { %w.next = neg(%w) %v.next = neg(%w) %u.next = neg(%v) return %w.next, %v.next, %u.next }"
    )
    assert following(graph) == {"w.next": "w"}


def test_a_step_of_training_reads_no_weight_after_its_update():
    step = cc.training_step(cc.models.resnet20())
    donated = following(step)
    assert len(donated) == len([name for name in donated.values() if f"{name}.next" in step.by_name]) > 100
    assert in_order(step, donated) is step


def test_a_reader_that_stands_behind_is_put_before():
    graph = typed_graph(LATE)
    assert not holds_order(graph, following(graph))
    ordered = in_order(graph, following(graph))
    assert [node.name for node in ordered.ops] == ["y", "w.next"]
    assert [node.name for node in ordered.outputs] == ["y", "w.next"]
    feed = {"x": np.arange(4, dtype=np.float32), "w": np.ones(4, np.float32)}
    assert all(np.array_equal(value, run(graph, feed, "f64")[name]) for name, value in run(ordered, feed, "f64").items())


def test_what_reads_a_view_reads_the_input():
    """It stands behind the output, though the view does not."""
    graph = typed_graph("""graph @seen(%x: f32[4], %w: f32[4]) {
        %v = reshape(%w) {shape=[2,2]} %turned = reshape(%v) {shape=[1,4]} %w.next = sub(%w, %x) %y = neg(%turned)
        return %y, %w.next }""")
    assert not holds_order(graph, following(graph))
    assert [node.name for node in in_order(graph, following(graph)).ops] == ["v", "turned", "y", "w.next"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NEEDS, "%moved = sub reads %w after %w.next = sub is written over it, which needs it"),
        (RETURNED, "%w.next = sub cannot be written over %w, which is returned as %w"),
        (SHOWN, "%w.next = sub cannot be written over %w, which is returned as %v"),
        (CIRCLE, "by way of another output that waits for it"),
    ],
)
def test_what_no_order_saves_is_refused_by_name(text, said):
    graph = typed_graph(text)
    with pytest.raises(InvalidModel) as caught:
        in_order(graph, following(graph))
    assert said in str(caught.value)


def test_a_place_of_another_type():
    graph = typed_graph("graph @f(%w: f32[4], %v: f32[2]) { %y = neg(%w) return %y }")
    with pytest.raises(InvalidModel, match="cannot take the place of"):
        in_order(graph, {"y": "v"})


def test_copies_that_may_be_given_up_lie_where_engines_take_them():
    for size in (1, 3, 1000):
        given = np.arange(size, dtype=np.float32)
        made = aligned(given)
        assert np.array_equal(made, given)
        assert made.ctypes.data % 64 == 0
        assert made.flags.writeable


def test_memory_is_shared_with_what_reaches_farthest():
    """Not with what began last: that lies within the first, and ends before."""
    room = np.zeros(24, np.float32)
    with pytest.raises(InvalidInput, match="input 'late' is written over, and shares memory with 'whole'"):
        check_given_up({"whole": room, "inner": room[4:8], "late": room[16:20]}, ["late"])
    check_given_up({"whole": room[:16], "inner": room[4:8], "late": room[16:20]}, ["late"])
