"""Pictures whose channels come last are spoken of where a layer takes them for channels first."""

from __future__ import annotations

from pathlib import Path

import pytest

from convc.ir.channels_last import channels_last
from convc.tests.support.graphs import typed_graph
from convc.tests.support.shell import convc

CONV = "graph @g(%image: f32[N,32,32,3]) { %w = param : f32[8,32,3,3] %y = conv2d(%image, %w) return %y }"


def test_it_is_said_with_the_way_out():
    assert channels_last(typed_graph(CONV)) == (
        "input 'image' is f32[N,32,32,3], which %y = conv2d reads as 32 channels of 32x3 pixels; if its channels are last, transpose it "
        "first, or make it N,3,32,32"
    )


@pytest.mark.parametrize(
    "text",
    [
        CONV.replace("N,32,32,3]", "N,32,32,32]"),
        CONV.replace("N,32,32,3]", "N,32,16,3]"),
        "graph @g(%image: f32[N,32,32,3]) { %t = transpose(%image) {perm=[0,3,1,2]} %y = max_pool(%t) {kernel=[2,2]} return %y }",
        "graph @g(%image: f32[N,3,3,3]) { %y = max_pool(%image) {kernel=[2,2]} return %y }",
        "graph @g(%image: f32[N,3,32,32]) { %y = max_pool(%image) {kernel=[2,2]} return %y }",
    ],
    ids=["square", "other sides", "transposed", "three by three", "first"],
)
def test_nothing_is_said_of_others(text: str):
    assert channels_last(typed_graph(text)) == ""


def test_a_command_says_it_once(tmp_path: Path):
    (tmp_path / "net.cir").write_text(CONV)
    done = convc("summary", tmp_path / "net.cir")
    assert done.code == 0, done.err
    assert done.err.count("note: input 'image' is f32[N,32,32,3]") == 1
