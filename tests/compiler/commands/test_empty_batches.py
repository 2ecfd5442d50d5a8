"""A network for an empty batch: each command does what it can for it, or says in one sentence what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.compiler.report.network_summary import summary
from convc.ir.errors import UsageError
from convc.ir.parser import parse_graph
from convc.tests.support.graphs import typed_graph
from convc.tests.support.shell import convc, refused

NET = """graph @g(%x: f32[0,3,16,16]) {
  %w = param : f32[8,3,3,3]
  %c = conv2d(%x, %w) {pads=[1,1,1,1]} : f32[0,8,16,16]
  %r = relu(%c) : f32[0,8,16,16]
  %a = global_avg_pool(%r) : f32[0,8,1,1]
  %f = flatten(%a) : f32[0,8]
  %v = param : f32[10,8]
  %y = dense(%f, %v) : f32[0,10]
  return %y
}
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.cir").write_text(NET)
    return tmp_path / "net.cir"


@pytest.mark.parametrize(
    ("command", "use"),
    [
        (("summary",), "count for an image"),
        (("bench",), "time"),
        (("tune",), "time"),
        (("plan", "--macs", "0.5"), "measure a plan on"),
        (("compile", "-t", "cuda", "-o", "net"), "launch kernels for"),
    ],
)
def test_commands_that_need_an_image(net, command, use):
    done = convc("-q", command[0], net, *command[1:], cwd=net.parent)
    refused(done, 2, f"input 'x' is f32[0,3,16,16], of no elements, so there is nothing to {use}; try --input x:1,3,16,16")


def test_the_way_out_is_one(net):
    done = convc("summary", net, "--input", "x:1,3,16,16")
    assert done.code == 0, done.err
    assert "multiply-adds" in done.out


def test_python_says_it_too_and_a_report_is_written(net):
    with pytest.raises(UsageError, match="of no elements, so there is nothing to count for an image"):
        summary(parse_graph(NET))
    done = convc("inspect", net, "--html", net.with_suffix(".html"))
    assert (done.code, net.with_suffix(".html").exists()) == (0, True), done.err


def test_of_nothing_nothing_is_compared(net):
    done = convc("verify", net, "-b", "reference,onnx")
    assert done.code == 0, done.err
    assert "has no values, so nothing was compared" in done.out
    assert "agrees" not in done.out


def test_a_convolution_by_tiles_of_no_images(tmp_path):
    """Tiles of nothing cannot be scheduled."""
    text = "graph @g(%x: f32[0,16,8,8]) {\n  %w = param : f32[16,16,3,3]\n  %y = conv2d(%x, %w)\n  return %y\n}\n"
    module = cc.compile(typed_graph(text), check=False)
    assert module(np.zeros((0, 16, 8, 8), np.float32)).shape == (0, 16, 6, 6)


def test_commands_that_do_not(net):
    there = net.parent
    for words in (
        ("export", net, "-o", there / "net.onnx"),
        ("optimize", there / "net.onnx", there / "better.onnx"),
        ("inspect", there / "net.onnx"),
        ("diff", net, there / "better.onnx"),
        ("verify", net, there / "better.onnx"),
        ("verify", net),
        ("bisect", net),
        ("compile", net, "-o", there / "net"),
    ):
        done = convc(*words)
        assert done.code == 0, (words, done.out, done.err)
        assert "Warning" not in done.err
    for words in (
        (net, "--backend", "reference"),
        (there / "better.onnx", "--backend", "onnx"),
        (net, "--backend", "tvm"),
        (there / "net",),
    ):
        done = convc("run", *words)
        assert done.code == 0, (words, done.err)
        assert "f32[0, 10]" in done.out + done.err
