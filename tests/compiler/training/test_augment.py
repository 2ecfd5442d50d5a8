"""What each augmentation does to pixels, how far and how often, over many draws: each bound is missed by a change left out, doubled or
turned round."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convc.compiler.training.augment import augmented
from convc.compiler.training.batches import Batches
from convc.compiler.training.pictures import Pictures

DRAWS = 400
PICTURE = np.random.default_rng(0).uniform(0.1, 1, (32, 48, 3)).astype(np.float32)


def changed(name, picture=PICTURE, draws=DRAWS):
    return [augmented(picture, (name,), np.random.default_rng(seed)) for seed in range(draws)]


def test_every_other_picture_is_flipped():
    found = changed("flip")
    flipped = sum(np.array_equal(each, PICTURE[:, ::-1]) for each in found)
    assert flipped + sum(np.array_equal(each, PICTURE) for each in found) == DRAWS
    assert 0.4 < flipped / DRAWS < 0.6


@pytest.mark.parametrize(("name", "part"), [("crop", 8), ("shift", 16)])
def test_a_picture_moves_by_up_to_its_part_either_way(name, part):
    """Each place is as likely as another, and zeros come in behind."""
    rows, cols = 32, 48
    point = np.zeros((rows, cols, 1), np.float32)
    point[16, 24] = 1
    places = np.array([np.argwhere(each[..., 0])[0] - (16, 24) for each in changed(name, point, 2000)])
    for axis, extent in enumerate((rows, cols)):
        far = extent // part
        moved, counts = np.unique(places[:, axis], return_counts=True)
        assert moved.tolist() == list(range(-far, far + 1))
        assert counts.min() > 0.6 * 2000 / (2 * far + 1)
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.1
    full = np.ones((rows, cols, 1), np.float32)
    for each, (down, right) in zip(changed(name, full, 50), places, strict=False):
        assert each.sum() == (rows - abs(down)) * (cols - abs(right))


def test_brightness_is_a_factor_from_six_to_fourteen_tenths():
    factors = np.array([each / PICTURE for each in changed("brightness")])
    assert np.ptp(factors, axis=(1, 2, 3)).max() < 1e-5
    assert_even(factors[:, 0, 0, 0], 0.6, 1.4)


def test_colour_is_a_factor_of_what_differs_from_grey():
    grey = PICTURE.mean(2, keepdims=True)
    found = np.array(changed("colour"))
    np.testing.assert_allclose(found.mean(3), np.broadcast_to(grey[..., 0], found.shape[:3]), rtol=1e-5)
    factors = ((found - grey) * (PICTURE - grey)).sum((1, 2, 3)) / ((PICTURE - grey) ** 2).sum()
    np.testing.assert_allclose(found, grey + factors[:, None, None, None] * (PICTURE - grey), atol=1e-5)
    assert_even(factors, 0.6, 1.4)


def test_a_picture_turns_by_up_to_ten_degrees_either_way():
    """Measured at a blob straight right of the middle: up there is against the clock. The generator's number decides which way."""
    blob = np.zeros((65, 65, 2), np.float32)
    blob[30:35, 55:60] = (1, 2)
    rows, cols = np.mgrid[-32:33, -32:33]
    angles = list[float]()
    for each in changed("rotate", blob):
        assert np.array_equal(each[..., 0] * 2, each[..., 1])
        plane = each[..., 0] / each[..., 0].sum()
        angles.append(float(np.degrees(np.arctan2(-(plane * rows).sum(), (plane * cols).sum()))))
        assert np.hypot((plane * rows).sum(), (plane * cols).sum()) == pytest.approx(25, abs=0.5)
    assert_even(np.array(angles), -10, 10, slack=0.3)
    drawn = [np.random.default_rng(seed).uniform(-10, 10) for seed in range(DRAWS)]
    np.testing.assert_allclose(angles, drawn, atol=0.5)


def assert_even(values, low, high, slack=1e-4):
    """Over the whole of this range, and as often in one quarter of it as in another."""
    assert low - slack <= values.min() < low + (high - low) / 20
    assert high - (high - low) / 20 < values.max() <= high + slack
    counts, _ = np.histogram(values, 4, (low, high))
    assert counts.min() > DRAWS / 4 * 0.7


def test_changes_come_one_after_another():
    draws = np.random.default_rng(3)
    expected = augmented(augmented(PICTURE, ("crop",), draws), ("brightness",), draws)
    assert np.array_equal(augmented(PICTURE, ("crop", "brightness"), np.random.default_rng(3)), expected)


@pytest.fixture
def coloured():
    """Three channels of other means and deviations."""
    draws = np.random.default_rng(5).normal((100, 130, 160), (10, 20, 30), (40, 8, 8, 3))
    return Pictures(draws.clip(0, 255).astype(np.uint8), np.zeros(40, np.int64))


def test_pictures_are_normalized_to_mean_0_and_deviation_1(coloured):
    images, _ = Batches(coloured, *coloured.moments(np.arange(40))).of(np.arange(40))
    assert images.shape == (40, 3, 8, 8)
    np.testing.assert_allclose(images.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(images.std((0, 2, 3)), 1, rtol=1e-4)


def test_pictures_are_changed_before_they_are_normalized(coloured):
    """What comes in at an edge is black, not the mean; another epoch draws others, and none are changed that are held out."""
    batches = Batches(coloured, *coloured.moments(np.arange(40)), ("crop",), seed=1)
    plain = dataclasses.replace(batches, augmentations=())
    (one, _), (two, _), (still, _), (known, _) = (
        batches.of(np.arange(40), 0),
        batches.of(np.arange(40), 1),
        batches.of(np.arange(40)),
        plain.of(np.arange(40), 0),
    )
    assert np.array_equal(still, known)
    assert not np.array_equal(one, two)
    black = (-batches.mean / batches.deviation)[:, None, None]
    at_edges = [image for image in one if not np.array_equal(image[:, 0], image[:, 1]) and np.allclose(image[:, :1], black, atol=1e-5)]
    assert len(at_edges) > 5


def test_elastic_pulls_neighbours_alike_and_places_far_apart_each_by_itself():
    """Measured on ramps, whose value is the place: a pixel of 32 is the deviation at a knot, and nothing leaves the picture."""
    rows, cols = np.mgrid[:64, :96].astype(np.float32)
    found = np.array(changed("elastic", np.stack([rows, cols], 2)))
    assert found.min() >= 0
    assert (found[..., 0].max(), found[..., 1].max()) == pytest.approx((63, 95))
    for axis, (place, extent) in enumerate(((rows, 64), (cols, 96))):
        pull = (found[..., axis] - place)[:, 8:-8, 8:-8] / extent
        assert 0.6 < np.std(pull) * 32 < 1.1
        assert abs(pull.mean()) < 0.2 / 32
        assert np.corrcoef(pull[:, 20, 20], pull[:, 20, 22])[0, 1] > 0.95
        assert abs(np.corrcoef(pull[:, 2, 2], pull[:, -2, -2])[0, 1]) < 0.15
