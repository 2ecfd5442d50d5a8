"""Layers over one axis and three: the value that they read says which, and the names with a number insist."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc import (
    avg_pool,
    batch_norm,
    conv,
    conv1d,
    conv3d,
    conv_transpose,
    dense,
    global_avg_pool,
    max_pool,
    max_pool3d,
    pad,
    relu,
    upsample,
)
from convc.ir.errors import ShapeError


@cc.network(sound="N,2,31")
def sound(sound):
    x = relu(batch_norm(conv1d(sound, 8, 5, stride=2, pad="same")))
    x = max_pool(conv(pad(x, (1, 0)), 8, 3, dilation=2, pad="same_lower", groups=2), 2)
    x = conv_transpose(upsample(x, 2), 4, 4, stride=2, pad=1)
    return dense(global_avg_pool(avg_pool(x, 3, stride=1, pad="same", count_include_pad=True)), 3)


@cc.network(film="N,2,5,8,9")
def film(film):
    x = relu(batch_norm(conv3d(film, 6, (1, 3, 3), pad="same")))
    x = max_pool3d(x, (1, 2, 2))
    x = conv_transpose(upsample(x, 2, mode="nearest"), 4, 2, stride=(1, 2, 2))
    return dense(global_avg_pool(x), 3)


@pytest.mark.parametrize(("net", "kinds"), [(sound, {"conv1d", "conv_transpose1d"}), (film, {"conv3d", "conv_transpose3d"})])
def test_a_network_of_one_axis_or_three_is_optimized_and_agrees(net, kinds):
    graph = net()
    better, _ = cc.optimize(graph, level=3)
    assert {node.kind.name for node in graph.ops} >= kinds
    assert "batch_norm" not in {node.kind.name for node in better.ops}
    cc.verify(graph, better)
    assert cc.print_graph(cc.parse_graph(cc.print_graph(better))) == cc.print_graph(better)


@pytest.mark.parametrize(("size", "stride"), [(7, 2), (8, 3), (5, 1)])
def test_same_lower_pads_the_odd_place_before(size, stride):
    from convc.backends.reference import run

    def net(pad):
        return cc.network(x=f"1,1,{size}")(lambda x: conv1d(x, 1, 4, stride=stride, pad=pad, bias=False))()

    lower, upper = net("same_lower"), net("same")
    assert lower.outputs[0].typed.shape == upper.outputs[0].typed.shape == (1, 1, -(-size // stride))
    pads = [graph.outputs[0].op.pads for graph in (lower, upper)]
    assert pads[0] == pads[1][::-1]
    x = np.arange(size, dtype=np.float32)[None, None]
    assert run(lower, {"x": x})[lower.outputs[0].name].shape == (1, 1, -(-size // stride))


def test_a_name_with_a_number_insists():
    with pytest.raises(ShapeError, match=r"conv1d reads a sequence \(N,C,L\), not %x = input .*, which is f32\[N,3,8,8\]"):
        cc.network(x="N,3,8,8")(lambda x: conv1d(x, 4, 3))()
    with pytest.raises(ShapeError, match=r"max_pool3d reads a volume"):
        cc.network(x="N,3,8")(lambda x: max_pool3d(x, 2))()


def test_as_many_numbers_as_axes():
    with pytest.raises(ShapeError, match=r"\(3, 3\) has 2 numbers, expected one, or 1, for 1 axes"):
        cc.network(x="N,3,8")(lambda x: conv(x, 4, (3, 3)))()
