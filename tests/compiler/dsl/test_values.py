"""What Python lets one write with values: operators with their meaning, and a sentence where it has none."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

import convc as cc
from convc.ir.errors import ConvcError

X = np.array([[1.5, -2.0, 0.5, 3.0]], np.float32)


def made(build):
    """What the network of one input computes of X."""
    graph = cc.network(x="1,4")(build)()
    from convc.backends import reference

    return next(iter(reference.run(graph, {"x": X}).values()))


@pytest.mark.parametrize(
    "build",
    [
        lambda x: -x,
        lambda x: +x * 1,
        lambda x: abs(x),
        lambda x: abs(x) ** 2,
        lambda x: 2.0 ** x,
        lambda x: abs(x) % 2.0,
        lambda x: 7.0 % abs(x),
        lambda x: x @ np.eye(4, dtype=np.float32),
        lambda x: x < 1.0,
        lambda x: x <= 1.5,
        lambda x: x > x * 2,
        lambda x: x >= 0.5,
    ],
)  # fmt: skip
def test_operators_mean_what_they_mean_in_numpy(build):
    def net(x):
        return build(x)

    np.testing.assert_allclose(made(net), build(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (bool, "neither true nor false"),
        (float, "has no numbers"),
        (int, "has no numbers"),
        (len, "x.shape"),
        (np.asarray, "has no numbers"),
        (lambda x: x(3), "is a value and no layer"),
        (lambda x: x.__setitem__(0, 1), "cannot be written into"),
        *((use, "has no such operator") for use in (operator.invert, math.floor, math.trunc, round, lambda x: divmod(2, x))),
        *((lambda x, use=use: use(x, 2), "has no such operator") for use in (operator.and_, operator.floordiv, operator.lshift)),
        *((lambda x, use=use: use(2, x), "has no such operator") for use in (operator.or_, operator.floordiv, operator.rshift)),
    ],
)
def test_what_means_nothing_is_refused_with_the_line(use, words):
    @cc.network(x="1,4")
    def net(x):
        return use(x)

    with pytest.raises(ConvcError, match=words) as refused:
        net()
    assert "%x (f32[1,4])" in str(refused.value)
    assert "test_values.py:" in str(refused.value)


class TestBlocks:
    def test_groups_of_conv_bn_relu(self):
        @cc.network(image="1,8,6,6")
        def net(image):
            return cc.conv_bn_relu(image, 12, 3, pad="same", groups=4)

        assert net().by_name["conv1.w"].typed.shape == (12, 2, 3, 3)

    def test_a_separable_convolution_is_mobilenets(self):
        @cc.network(image="1,8,6,6")
        def net(image):
            return cc.separable_conv(image, 16, stride=2)

        graph = net()
        assert [node.kind.name for node in graph.ops] == ["conv2d", "batch_norm", "relu"] * 2
        assert [node.typed.shape for node in graph.params if node.name.endswith(".w")] == [(8, 1, 3, 3), (16, 8, 1, 1)]
        assert graph.outputs[0].typed.shape == (1, 16, 3, 3)

    def test_a_depthwise_convolution_has_filters_for_each_channel(self):
        @cc.network(image="1,8,6,6")
        def net(image):
            return cc.depthwise_conv(image, 3, multiplier=2)

        assert net().by_name["conv1.w"].typed.shape == (16, 1, 3, 3)

    def test_squeeze_and_excitation_weighs_channels(self):
        @cc.network(image="1,32,6,6")
        def net(image):
            return cc.squeeze_excite(image, 4)

        graph = net()
        assert [node.kind.name for node in graph.ops] == ["global_avg_pool", "conv2d", "relu", "conv2d", "sigmoid", "mul"]
        assert graph.by_name["conv1.w"].typed.shape == (8, 32, 1, 1)
        assert graph.outputs[0].typed.shape == (1, 32, 6, 6)
        with pytest.raises(ConvcError, match="reduction is 0, expected at least 1"):
            cc.network(image="1,32,6,6")(lambda image: cc.squeeze_excite(image, 0))()


def test_functions_of_pytorch_are_refused_with_those_of_convc():
    def relu(x):  # as PyTorch's own do, which ask their arguments first
        return type(x).__torch_function__(relu, (type(x),), (x,))

    with pytest.raises(ConvcError, match=r"PyTorch's relu takes no value of a network; .* cc\.relu\(x\)"):
        cc.network(x="1,4")(relu)()


def test_a_sum_of_other_channels_says_what_makes_them_alike():
    with pytest.raises(ConvcError, match=r"8 against 3; conv\(x, 8, 1\) makes another number of channels, and concat\(a, b\)"):
        cc.network(x="1,3,4,4")(lambda x: cc.conv(x, 8, 1) + x)()


def test_a_level_that_is_a_text():
    with pytest.raises(ConvcError, match="level is the text '2'; give a number, as in level=2"):
        cc.optimize(cc.network(x="1,4")(lambda x: cc.relu(x))(), level="2")
