"""Occlusion, climbs, dissection and colours, by hand on networks and arrays so small that one can count."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.backends.reference import run
from convc.compiler.engines.reference import REFERENCE
from convc.compiler.look.ascent import climb
from convc.compiler.look.attribution import projection
from convc.compiler.look.backward import WAYS
from convc.compiler.look.cam import class_map
from convc.compiler.look.colours import NOT_FINITE, about_grey, diverging, sequential
from convc.compiler.look.dissect import Masked, agreement, dissect
from convc.compiler.look.occlusion import occlusion
from convc.compiler.look.photograph import Photograph, field_box, fields_in
from convc.compiler.look.running import batches, ending_at
from convc.compiler.look.sheet import boxed, cropped, fitted
from convc.compiler.look.strongest import place_of
from convc.compiler.look.units import Unit
from convc.ir.errors import UnsupportedOp, UsageError
from convc.ir.progress import watched_by
from convc.tests.support.graphs import typed_graph


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


def test_a_class_map_weighs_maps_by_their_mean_slopes():
    """Each of 3x3 places moves the score by a ninth of a weight. Selvaraju et al. 2017, eq. 1 and 2."""
    graph = typed_graph("""graph @g(%image: f32[N,2,3,3]) { %w = param : f32[3,2]
        %a = relu(%image) %p = global_avg_pool(%a) %f = flatten(%p) %y = dense(%f, %w) return %y }""")
    x = np.random.default_rng(3).standard_normal((1, 2, 3, 3)).astype(np.float32)
    weights = graph.by_name["w"].weights.wide()[1].reshape(2, 1, 1)
    found = class_map(graph, photograph(x), 1, REFERENCE, layer="a").figures["map"]
    np.testing.assert_allclose(found, np.maximum((weights / 9 * np.maximum(x[0], 0)).sum(0), 0), rtol=1e-5, atol=1e-7)


def test_what_is_no_number_is_not_the_strongest():
    assert place_of(np.array([[1, np.nan], [3, 2]])) == (1, 0)


def test_what_covers_is_grey_by_channel():
    """The mean colour, not the mean of all that the colours are made of."""
    graph = typed_graph("graph @g(%x: f32[N,2,4,4]) { %w = param : f32[3,32] %f = flatten(%x) %y = dense(%f, %w) return %y }")
    x = (np.random.default_rng(2).standard_normal((1, 2, 4, 4)) + np.array([0, 9]).reshape(2, 1, 1)).astype(np.float32)
    found = occlusion(graph, photograph(x), 2, REFERENCE, side=4, stride=4).figures
    weights = graph.by_name["w"].weights.wide().reshape(3, 2, 4, 4)[2]
    lost = ((x[0] - x[0].mean((1, 2), keepdims=True)) * weights)[:, :2, :2].sum()
    np.testing.assert_allclose(found["drops"], [[lost]], rtol=1e-4, atol=1e-4)


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


class Hearing:
    """A watcher that remembers of each piece of work how much of it was done."""

    def __init__(self):
        self.heard = {}

    def begin(self, what, total):
        self.heard[what] = [0, total]
        return what

    def advance(self, task, by):
        self.heard[task][0] += by

    def end(self, task):
        pass


def test_long_looks_say_how_far_they_are():
    """To whoever listens, as all of convc does: nothing draws a bar of its own."""
    x = np.random.default_rng(6).standard_normal((1, 1, 6, 6)).astype(np.float32)
    pictures = [Masked(photograph(x), {"a": np.eye(6, dtype=bool)})] * 3
    hearing = Hearing()
    with watched_by(hearing):
        dissect(placed(), pictures, "relu1", REFERENCE, quantile=0.1)
        occlusion(summing(), photograph(x), 1, REFERENCE, side=2, stride=3)
        step = cc.ascent_step(summing(), "fc1", 1)
        climb(lambda inputs: run(step, inputs), step, x, -np.ones((1, 1, 1)), np.ones((1, 1, 1)), 4, 0.1)
    told = {what: counts for what, counts in hearing.heard.items() if counts[1]}
    assert told["running the pictures"] == told["comparing units with concepts"] == [3, 3]
    assert told["covering the photograph"] == told["climbing"] == [5, 5]


def test_a_unit_is_on_at_its_strongest_places():
    """Of 36 places a tenth, 4, exceed the limit; the concept lies where they are, and where they are not in the other picture."""
    x = np.random.default_rng(7).standard_normal((1, 1, 6, 6)).astype(np.float32)
    (maps,) = run(ending_at(placed(), ["relu1"]), {"image": x}, "f64").values()
    unit = int(maps[0].reshape(3, -1).max(1).argmax())
    limit = np.sort(maps[0, unit].ravel())[-4]
    concept = maps[0, unit] > limit
    found = dissect(placed(), [Masked(photograph(x), {"a": concept, "b": ~concept})], "relu1", REFERENCE, quantile=0.1).figures
    assert found["units"][unit]["concept"] == "a"
    assert found["units"][unit]["iou"] == 1
    assert found["units"][unit]["limit"] == pytest.approx(limit, rel=1e-5)


def test_the_field_of_a_place_has_its_row_and_its_column():
    @cc.network(image="N,1,20,30")
    def oblong(image):
        return cc.conv(image, 1, (3, 5), stride=(2, 3))

    graph = oblong()
    fields = fields_in(graph, graph.inputs[0])[graph.outputs[0]]
    assert field_box(fields, (4, 1), (20, 30)) == (3, 8, 8, 11)  # columns 3 to 7, rows 8 to 10


def test_a_network_for_a_batch_in_numbers_is_given_as_many():
    graph = summing(image="2,1,6,6")
    pictures = [np.full((1, 1, 6, 6), n, np.float32) for n in range(5)]
    got = list(batches(graph, lambda inputs: run(graph, inputs), pictures))
    assert [count for count, _ in got] == [2, 2, 1]
    values = np.concatenate([each["fc1"] for _, each in got])
    np.testing.assert_allclose(values, np.arange(5)[:, None] * values[1], rtol=1e-5, atol=1e-6)


@cc.network(image="N,1,6,6")
def placed(image):
    """A score for each place, as segmentation has it."""
    return cc.softmax(cc.conv(cc.relu(cc.conv(image, 3, 3, pad=1)), 6, 1), axis=1)


def test_a_class_map_of_scores_for_each_place_is_of_their_mean():
    """Its layer stands before the scores, its score is what the slopes are of, and what `occlusion` calls the whole."""
    graph = placed()
    x = np.random.default_rng(5).standard_normal((1, 1, 6, 6)).astype(np.float32)
    class_ = int(graph.by_name["conv2.w"].weights.wide().sum((1, 2, 3)).argmin())  # something speaks against it
    found = class_map(graph, photograph(x), class_, REFERENCE)
    values = run(ending_at(graph, ["relu1", "conv2"]), {"image": x}, "f64")
    weights = graph.by_name["conv2.w"].weights.wide()[class_, :, 0, 0]
    assert found.figures["layer"] == "relu1"
    assert found.figures["score"] == pytest.approx(values["conv2"][0, class_].mean(), rel=1e-5)
    slopes = weights / 36  # of the mean, along each place of a map
    cam = (slopes[:, None, None] * values["relu1"][0]).sum(0)
    assert (cam < 0).any()
    cam = np.maximum(cam, 0)
    np.testing.assert_allclose(found.figures["map"], cam, rtol=1e-4, atol=1e-6)
    assert f"mean score {found.figures['score']:.4g} of 6x6 places" in found.lines[0]
    whole = occlusion(graph, photograph(x), class_, REFERENCE, side=3, stride=3)
    assert whole.figures["score"] == pytest.approx(found.figures["score"], rel=1e-5)
    assert "mean score" in whole.lines[0]


def test_scores_of_places_with_no_layer_before_them_have_no_class_map():
    with pytest.raises(UsageError, match=r"no layer of maps, .* before its scores, %conv1"):
        cc.grad_cam(cc.Graph.of("head", placed().inputs, [placed().by_name["conv1"]], placed().nodes), 0)


@pytest.mark.parametrize("way", WAYS.values(), ids=lambda way: way.name)
def test_a_silent_unit_sends_nothing_and_says_so(way):
    graph = typed_graph("""graph @rectified(%image: f32[N,1,6,6]) {
      %w = param {init=full, value=-1.0} : f32[1,1,1,1]
      %c = conv2d(%image, %w)
      %r = relu(%c)
      %p = max_pool(%r) {kernel=[2,2], strides=[2,2]}
      return %p
    }""")
    bright = photograph(np.ones((1, 1, 6, 6), np.float32))
    silent = projection(graph, bright, Unit("p", 0), way, REFERENCE)
    assert silent.figures["largest"] == 0
    assert silent.figures["silent"] is True
    assert "it is silent here, and nothing goes back" in silent.lines[0]
    dark = projection(graph, photograph(-bright.values), Unit("p", 0), way, REFERENCE)
    assert dark.figures["silent"] is False
    assert dark.figures["largest"] == 1
    assert "silent" not in dark.lines[0]


def test_an_op_without_a_gradient_is_refused_without_a_word_of_training():
    graph = typed_graph("""graph @g(%x: f32[1,2,4,4]) {
      %g = param {init=zeros} : f32[1,4,4,2]
      %c = relu(%x)
      %q = grid_sample(%c, %g)
      return %q
    }""")
    with pytest.raises(UnsupportedOp, match=r"has no gradient: .*; look at a layer that stands before it$"):
        cc.deconvnet(graph, "q", 0)
    with pytest.raises(UnsupportedOp, match=r"has no gradient: .*; name a --layer that stands after it$"):
        cc.grad_cam(graph, 0)


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
