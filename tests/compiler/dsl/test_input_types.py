"""Shapes of inputs as people write them who come from PyTorch or Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convc as cc
from convc.ir.errors import ShapeError, UsageError


@cc.network(image="N,3,32,32")
def net(image: cc.Value) -> cc.Value:
    return cc.relu(image)


@pytest.mark.parametrize("given", [("N", 3, 8, 8), ["N", 3, 8, 8], ("N", np.int64(3), "8", 8), "N,3,8,8"])
def test_numbers_and_names_one_by_one_are_a_shape(given: Any) -> None:
    assert str(net(image=given).inputs[0].type) == "f32[N,3,8,8]"
    assert str(cc.network(image=given)(net.build)().inputs[0].type) == "f32[N,3,8,8]"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (3, '3 is no shape; write it as "N,3,224,224"'),
        (None, 'None is no shape; write it as "N,3,224,224", with a name for a size that is free'),
        ((None, 3, 8, 8), "None is no size; one that is free has a name, such as N in N,3,8,8"),
        ("None,3,8,8", "None is no size; one that is free has a name, such as N in N,3,8,8"),
        ((-1, 3, 8, 8), "-1 is no size; one that is free has a name"),
        ((1.5, 3, 8, 8), "1.5 is no size"),
        ("4x3x8x8", "sizes have commas between them; write 4,3,8,8"),
    ],
)
def test_what_is_no_shape_is_refused_with_how_it_is_written(given: Any, told: str) -> None:
    for make in (lambda: net(image=given), lambda: cc.network(image=given)(net.build)):
        with pytest.raises(UsageError, match="input 'image': ") as refusal:
            make()
        assert told in str(refusal.value)


@pytest.mark.parametrize("given", ["N,8,8", "N,3,4,8,8", (8, 8)])
def test_an_axis_that_is_forgotten_is_no_other_network(given: Any) -> None:
    with pytest.raises(UsageError, match=r"and the network is written for N,3,32,32; give a size for each .* network\(image="):
        cc.network(image="N,3,32,32")(filtered)(image=given)


def test_a_function_makes_a_network_of_each_number_of_axes_that_is_declared() -> None:
    assert [str(cc.network(image=shape)(filtered)().outputs[0].type) for shape in ("N,8,8", "N,3,4,8,8")] == [
        "f32[N,4,8]",
        "f32[N,4,4,8,8]",
    ]
    assert net(image="N,8")  # without windows, any will do


def test_channels_that_come_last_are_said_where_a_layer_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"input 'image' is f32\[N,32,32,3\], and channels come first here"):
        cc.network(image="N,32,32,3")(lambda image: cc.conv(image, 8, 7))()


def filtered(image: cc.Value) -> cc.Value:
    return cc.conv(image, 4, 3, pad=1)
