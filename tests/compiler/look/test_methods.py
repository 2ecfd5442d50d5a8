"""Occlusion, climbs, dissection and colours, by hand on networks and arrays so small that one can count."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.backends.reference import run
from convc.compiler.engines.reference import REFERENCE
from convc.compiler.look.ascent import climb
from convc.compiler.look.colours import NOT_FINITE, about_grey, diverging, sequential
from convc.compiler.look.dissect import agreement
from convc.compiler.look.occlusion import occlusion
from convc.compiler.look.photograph import Photograph
from convc.compiler.look.running import batches
from convc.compiler.look.sheet import boxed, cropped, fitted


@cc.network(image="N,1,6,6")
def summing(image):
    return cc.dense(cc.flatten(image), 2, bias=False)


def photograph(values):
    shape = values.shape[2:]
    return Photograph("photo", values, np.zeros((*shape, 3), np.uint8))


def test_what_covering_takes_is_what_the_covered_pixels_gave():
    graph, draws = summing(), np.random.default_rng(0)
    x = draws.standard_normal((1, 1, 6, 6)).astype(np.float32)
    weights = graph.by_name["fc1.w"].weights.wide().reshape(2, 6, 6)
    found = occlusion(graph, photograph(x), 1, REFERENCE, side=2, stride=3).figures
    lost = (x[0, 0].astype(np.float64) - x.mean()) * weights[1]
    expected = [[lost[max(top, 0) : top + 2, max(left, 0) : left + 2].sum() for left in (-1, 2)] for top in (-1, 2)]
    np.testing.assert_allclose(found["drops"], expected, rtol=1e-4, atol=1e-5)
    assert found["score"] == pytest.approx((x[0, 0] * weights[1]).sum(), rel=1e-4)


def test_a_step_of_a_climb_is_the_formula():
    graph, draws = summing(), np.random.default_rng(1)
    x = draws.standard_normal((1, 1, 6, 6)).astype(np.float32)
    slope = graph.by_name["fc1.w"].weights.wide().reshape(2, 6, 6)[0]
    step = cc.ascent_step(graph, "fc1", 0, decay=0.25)
    value, following = run(step, {"image": x, "rate": np.array(0.5, np.float32), "blur": np.array(0.75, np.float32)}, "f64").values()
    moved = x[0, 0] + 0.5 * (slope / np.sqrt((slope**2).mean() + 1e-12) - 0.25 * x[0, 0])
    around = np.pad(moved, 1, "edge")
    blurred = sum(a * b * around[i : i + 6, j : j + 6] for i, a in enumerate((1, 2, 1)) for j, b in enumerate((1, 2, 1))) / 16
    np.testing.assert_allclose(following[0, 0], moved + 0.75 * (blurred - moved), rtol=1e-6)
    assert value.item() == pytest.approx((slope * x[0, 0]).sum())


def test_a_climb_rises_and_stays_among_pixels():
    step = cc.ascent_step(summing(), "fc1", 1)
    low, high = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    start = np.full((1, 1, 6, 6), 0.5, np.float32)
    found = climb(lambda inputs: run(step, inputs), step, start, low, high, 6, 0.1)
    assert len(found.values) == 7
    assert found.values[-1] > found.values[0]
    assert 0 <= found.picture.min() < found.picture.max() <= 1


def test_agreement_counts_over_all_pictures_together():
    """A unit on in 2 of 4 places of one picture and 1 of the other; the concept in 1 and 2 of these, of which it meets 1 and 1."""
    maps = np.array([[[[1, 1], [0, 0]]], [[[0, 1], [0, 0]]]], np.float32)
    masks = [[np.array([[True, False], [False, False]])], [np.array([[False, True], [False, True]])]]
    np.testing.assert_allclose(agreement(maps, np.array([0.5]), masks), [[2 / (3 + 3 - 2)]])
    np.testing.assert_allclose(agreement(maps, np.array([0.5]), [masks[0], [None]]), [[1 / (3 + 1 - 1)]])


def test_a_network_for_a_batch_in_numbers_is_given_as_many():
    graph = summing(image="2,1,6,6")
    pictures = [np.full((1, 1, 6, 6), n, np.float32) for n in range(5)]
    got = list(batches(graph, lambda inputs: run(graph, inputs), pictures))
    assert [count for count, _ in got] == [2, 2, 1]
    values = np.concatenate([each["fc1"] for _, each in got])
    np.testing.assert_allclose(values, np.arange(5)[:, None] * values[1], rtol=1e-5, atol=1e-6)


def test_zero_is_white_grey_or_black_and_what_is_no_number_stands_out():
    values = np.array([[0.0, 1.0], [-1.0, np.nan]])
    assert diverging(values)[0, 0].tolist() == [247, 247, 247]
    assert sequential(values)[0, 0].tolist() == sequential(values)[1, 0].tolist() == [0, 0, 4]
    assert diverging(values)[0, 1, 0] > diverging(values)[0, 1, 2]
    assert diverging(values)[1, 0, 2] > diverging(values)[1, 0, 0]
    assert about_grey(np.zeros((3, 1, 1)))[0, 0].tolist() == [128, 128, 128]
    assert tuple(diverging(values)[1, 1]) == tuple(sequential(values)[1, 1]) == NOT_FINITE


def test_a_frame_and_a_cut_beyond_the_picture():
    pixels = np.full((20, 30, 3), 9, np.uint8)
    framed = boxed(pixels, (-5, -5, 10, 12), (255, 0, 0), 1)
    assert framed[0, 0].tolist() == framed[11, 9].tolist() == [255, 0, 0]
    assert framed[12, 9].tolist() == framed[11, 10].tolist() == [9, 9, 9]
    cut = cropped(pixels, (-10, 0, 10, 20), 20)
    assert cut[10, 4].tolist() == [128, 128, 128]
    assert cut[10, 15].tolist() == [9, 9, 9]
    assert cropped(pixels, (100, 100, 110, 110), 10).tolist() == np.full((10, 10, 3), 128).tolist()


def test_captions_are_one_line_of_what_the_font_has():
    from PIL import ImageFont

    font = ImageFont.load_default(12)
    assert fitted("a\nb\x1b[31m\u202ec", font, 1e6) == "a\\nb\\u{1b}[31m\\u{202e}c"
    cut = fitted("x" * 10_000, font, 60)
    assert cut.endswith("...")
    assert font.getlength(cut) <= 60
