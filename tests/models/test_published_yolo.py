"""YOLOv8 against the counts that its release prints, and the boxes that its head says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from convc import models
from convc.backends.reference import run
from convc.compiler.dsl.network import network
from convc.compiler.dsl.trace import Value
from convc.compiler.report.layer_table import layer_table
from convc.compiler.training.step import trainable
from convc.models.yolo import BINS, boxes, grid
from convc.tests.models.counting import learnable, macs, output, weight_layers

IN_BINS = 16  # counted as parameters there: the numbers 0 to 15 that a side's shares are weighed with


@pytest.mark.parametrize(("width", "count", "giga_macs"), [(16, 3_157_200, 4.37), (32, 11_166_560, 14.30)])
def test_parameters_and_multiply_adds(width: int, count: int, giga_macs: float):
    """The release's yolov8.yaml, and half of the 8.7 and 28.6 GFLOPs of its documentation's table for 640x640: YOLOv8n and YOLOv8s."""
    graph = models.yolo_v8n(width=width)
    assert learnable(graph) + IN_BINS == count
    assert sum(math.prod(param.typed.concrete()) for param in trainable(graph)) == count - IN_BINS
    assert layer_table(graph).totals["trainable"] == count - IN_BINS
    assert round(macs(graph) / 1e9, 2) == giga_macs
    assert len(weight_layers(graph)) == 63


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("stem_bn", "320x320x16"),
        ("stage2.join_bn", "160x160x32"),
        ("stage3.join_bn", "80x80x64"),
        ("stage4.join_bn", "40x40x128"),
        ("stage5.join_bn", "20x20x256"),
        ("up4.join_bn", "40x40x128"),
        ("up3.join_bn", "80x80x64"),
        ("down4.join_bn", "40x40x128"),
        ("down5.join_bn", "20x20x256"),
        ("box8.out", "80x80x64"),
        ("class32.out", "20x20x80"),
    ],
)
def test_sizes(layer: str, shape: str):
    assert output(models.yolo_v8n(), layer) == shape


def test_a_box_is_where_its_sides_are_said_to_lie():
    """At the second pixel of the second row of the level of stride 8: a side 1 away to the left, 2 up, 3 right, 4.5 down, in pixels of 8."""

    @network(shares="N,64,336")
    def said(shares: Value) -> Value:
        return boxes(shares, *grid(128, 128))

    shares, place = np.zeros((1, 4, BINS, 336), np.float32), 16 + 1
    for side, far in enumerate(((1,), (2,), (3,), (4, 5))):
        shares[0, side, far, place] = 100
    (found,) = run(said(), {"shares": shares.reshape(1, 64, 336)}, "f64").values()
    left, top, right, bottom = 8 * (1.5 - 1), 8 * (1.5 - 2), 8 * (1.5 + 3), 8 * (1.5 + 4.5)
    np.testing.assert_allclose(found[0, :, place], [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
    # where nothing is said, every side is 7.5 pixels of the level away, around the middle of the pixel
    np.testing.assert_allclose(found[0, :, 256 + 8 + 3], [16 * 3.5, 16 * 1.5, 16 * 15, 16 * 15])
    np.testing.assert_allclose(found[0, :, -1], [32 * 3.5, 32 * 3.5, 32 * 15, 32 * 15])
