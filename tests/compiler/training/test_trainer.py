"""Trainer and runs: LeNet-5 learns digits, runs go on to the same bits, and what cannot be learned from is told in a sentence."""

import dataclasses
import json
import pickle
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

import convc as cc
from convc.compiler.dsl.zoo_entry import Checkpoint, CheckpointRow
from convc.compiler.training.batches import Batches, split
from convc.compiler.training.checkpoint import read_checkpoint
from convc.compiler.training.initial import initial_values
from convc.compiler.training.pictures import read_pictures
from convc.compiler.training.run import Plan, TrainingRun, files_of
from convc.compiler.training.schedules import SCHEDULES, Moment, plateau_drops
from convc.compiler.training.trainer import Diverged, Trainer
from convc.ir.errors import InvalidInput, InvalidModel, UsageError
from convc.ir.types import TensorType
from convc.ir.weights import FANS, Recipe, Weights
from convc.tests.compiler.training.networks import dropping, residual

GREY, COLOUR = TensorType("f32", ("N", 1, 8, 8)), TensorType("f32", ("N", 3, 8, 8))


def ten(net):
    return net(classes=10)


def run_of(digits, epochs=3, net=dropping, **plan):
    trainer = Trainer(ten(net), engine="reference", optimizer=cc.adam())
    return TrainingRun(trainer, digits, Plan(epochs=epochs, batch=32, learning_rate=0.01, **plan))


def finished(run, folder):
    files = files_of(folder / "w.safetensors")
    run.go(files, lambda epoch: None)
    return files


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_run_writes_weights_a_curve_and_lines(digits, tmp_path):
    run = run_of(digits, augmentations=("flip", "crop", "rotate", "brightness"))
    files = finished(run, tmp_path)
    lines = [json.loads(line) for line in files.lines.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert files.curve.read_text().count("<polyline") == 4
    best = max(run.epochs, key=lambda each: each.worth)
    assert len(run.training) + len(run.held) == 160
    assert run.best.keys() == {node.name for node in run.trainer.graph.params}
    assert best.validation_accuracy == max(line["validation_accuracy"] for line in lines)
    with safe_open(files.weights, "numpy") as weights:
        said = json.loads(weights.metadata()["convc"])
    assert said["classes"] == [str(digit) for digit in range(10)]
    images, _ = run.batches.of(run.held[:4])
    pixels = np.stack([run.batches.pictures.pixel(int(index)) for index in run.held[:4]]).transpose(0, 3, 1, 2)
    assert (pixels.min(), pixels.max()) == (0, 1)
    np.testing.assert_allclose((pixels - said["mean"][0]) / said["deviation"][0], images, rtol=1e-5)


def test_weights_are_written_by_other_names(digits, tmp_path):
    """A checkpoint keeps convc's own."""
    names = Checkpoint((CheckpointRow("stem", "conv1"), CheckpointRow("fc.0", "fc1"), CheckpointRow("head", "fc2")))
    run = run_of(digits, epochs=1)
    run.names = names
    files = finished(run, tmp_path)
    with safe_open(files.weights, "numpy") as weights:
        assert set(weights.keys()) == {f"{layer}.{part}" for layer in ("stem", "fc.0", "head") for part in ("weight", "bias")}
    assert "conv1.w" in read_checkpoint(files.checkpoint).best


class Stop(Exception):
    """As Ctrl-C, at a step of one's own choice."""


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("at", [4, 7])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(digits, tmp_path, at, schedule):
    """At the end of an epoch, and in the middle of one."""
    whole = run_of(digits, schedule=schedule, augmentations=("crop",))
    finished(whole, tmp_path)
    (other := tmp_path / "other").mkdir()
    files, begun = files_of(other / "w.safetensors"), run_of(digits, schedule=schedule, augmentations=("crop",))

    def stop(step, score):
        if step == at:
            raise Stop

    with pytest.raises(Stop):
        begun.go(files, lambda epoch: None, stop)
    again = run_of(digits, schedule=schedule, augmentations=("crop",))
    again.resume(files.checkpoint)
    assert again.trainer.steps == at
    again.go(files, lambda epoch: None)
    assert same(again.trainer.values, whole.trainer.values)
    assert same(again.best, whole.best)
    assert [dataclasses.replace(each, seconds=0) for each in again.epochs] == [
        dataclasses.replace(each, seconds=0) for each in whole.epochs
    ]


def test_processes_make_the_same_batches(digits):
    batches = Batches(digits, *digits.moments(np.arange(160)), ("flip", "crop"), seed=5)
    orders = batches.order(np.arange(160), 2, 32)
    with batches.made(orders, 2, 0) as here, batches.made(orders, 2, 2) as there:
        pairs = list(zip(here, there, strict=True))
    assert len(pairs) == 5
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in pairs)
    assert not np.array_equal(batches.of(orders[0], 2)[0], batches.of(orders[0], 3)[0])


def test_processes_map_the_pictures_and_get_no_copies(digits):
    batches = Batches(digits, *digits.moments(np.arange(160)), ("flip",), seed=5)
    orders = batches.order(np.arange(160), 0, 80)
    with batches.lent(2) as lent:
        assert len(pickle.dumps(lent.handed)) < digits.pixels.nbytes / 10 < len(pickle.dumps(batches.handed))
        assert isinstance(lent.handed.taken.pictures.pixels, np.memmap)
        with lent.made(orders, 0, 2) as made:
            assert all(np.array_equal(one[0], batches.of(order, 0)[0]) for one, order in zip(made, orders, strict=True))
        place = lent.place
    assert not place.exists()


def test_a_loss_that_is_no_number_keeps_the_weights_before(digits, tmp_path):
    trainer = Trainer(ten(dropping), engine="reference")
    images, labels = Batches(digits, *digits.moments(np.arange(160))).of(np.arange(8))
    trainer.step(images, labels, 0.01)
    before = dict(trainer.values)
    trainer.values["fc2.w"] = before["fc2.w"] = np.full((10, 6), 3e38, np.float32)
    with pytest.raises(Diverged, match=r"step 2: the loss is nan, which began at %fc2 = dense \(\w+.py:\d+\)"):
        trainer.step(images, labels, 0.01)
    assert same(trainer.values, before)


@pytest.mark.parametrize("labels", [[0, 10], [-1, 0]])
def test_labels_outside_the_classes(labels):
    with pytest.raises(InvalidInput, match="outside the 10 classes of @dropping, which are 0 to 9"):
        Trainer(ten(dropping), engine="reference").step(np.zeros((2, 1, 8, 8), np.float32), np.array(labels), 0.1)


def test_one_image_for_a_norm_over_the_batch():
    @cc.network(image="N,4,1,1")
    def normed(image):
        return cc.dense(cc.batch_norm(image), 3)

    trainer = Trainer(normed, engine="reference")
    with pytest.raises(InvalidInput, match="one number for each channel"):
        trainer.step(np.zeros((1, 4, 1, 1), np.float32), np.array([0]), 0.1)


def test_batches_too_small_for_a_norm_end_a_run_before_it_begins(digits):
    @cc.network(image="N,1,8,8")
    def normed(image):
        return cc.dense(cc.batch_norm(cc.dense(cc.flatten(image), 4)), 10)

    with pytest.raises(InvalidInput, match="one number for each channel, of which there is no variance; train with batches of 2"):
        TrainingRun(Trainer(normed, engine="reference"), digits, Plan(batch=1))


def test_what_training_begins_with():
    start = initial_values(residual(), seed=1)
    assert (start["bn1.scale"] == 1).all()
    assert (start["bn1.var"] == 1).all()
    assert not any(start[name].any() for name in ("bn1.shift", "bn1.mean", "fc1.b"))
    assert not np.array_equal(start["conv1.w"], initial_values(residual(), seed=2)["conv1.w"])
    given = residual().rebuild(
        lambda n, o: n.like(weights=Weights.of(np.full((4,), 7, np.float32), n.name)) if n.name == "bn1.shift" else n.reading(o)
    )
    assert (initial_values(given)["bn1.shift"] == 7).all()


@pytest.mark.parametrize(("name", "variance"), [("he", 2 / 450), ("he_out", 2 / 900), ("xavier", 2 / 1350)])
def test_weights_are_drawn_as_the_papers_have_it(name, variance):
    """Of 100 filters of 50 channels and 3x3."""
    for shape in ("", "_uniform"):
        values = Recipe(f"{name}{shape}", "w").make(TensorType("f32", (100, 50, 3, 3)))
        assert values.var() == pytest.approx(variance, rel=0.05)
        assert abs(values).max() == pytest.approx((3 * variance) ** 0.5, rel=0.01) if shape else abs(values).max() > (9 * variance) ** 0.5
    assert f"{name}_uniform" in FANS


def test_a_layer_says_how_its_filters_are_drawn():
    @cc.network(image="N,8,8,8")
    def drawn(image):
        return cc.dense(cc.conv(image, 64, 3, init="xavier_uniform"), 5, init="he_out")

    start = initial_values(drawn())
    assert abs(start["conv1.w"]).max() == pytest.approx((6 / (72 + 576)) ** 0.5, rel=0.01)
    assert start["fc1.w"].std() == pytest.approx((2 / 5) ** 0.5, rel=0.05)

    @cc.network(image="N,8,8,8")
    def wrong(image):
        return cc.conv(image, 4, 3, init="xaver")

    with pytest.raises(InvalidModel, match="unknown initialization 'xaver'; did you mean 'xavier'"):
        wrong()


def test_schedules():
    assert [SCHEDULES["step"](Moment(done, ())) for done in (0, 0.5, 0.75)] == pytest.approx([1, 0.1, 0.01])
    assert [SCHEDULES["cosine"](Moment(done, ())) for done in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert plateau_drops([3, 2, 2, 2, 2, 2], 5) == 0
    assert plateau_drops([3, 2, 2, 2, 2, 2, 2], 5) == 1
    assert plateau_drops([2] * 11, 5) == 2


def folder_of(path, **counts):
    draws = np.random.default_rng(0)
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(draws.integers(0, 256, (10, 12, 3)).astype(np.uint8)).save(path / name / f"{i}.png")
    return path


def test_a_folder_a_class(tmp_path):
    folder = folder_of(tmp_path / "d", cat=3, dog=2)
    (folder / "cat" / "torn.png").write_bytes(b"not a picture")
    (folder / "dog" / "notes.txt").write_text("a dog")
    said = []
    found = read_pictures(str(folder), COLOUR, 5, said.append)
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.pixels.shape == (5, 8, 8, 3)
    assert "torn.png" in said[0]
    assert "skipped 2 files that are no pictures; 5 are left" in said[-1]


@pytest.mark.parametrize("layout", ["hw", "hwc", "chw"])
def test_arrays_in_any_layout(tmp_path, layout):
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "d.npz", x={"hw": x, "hwc": x[..., None], "chw": x[:, None]}[layout], y=np.arange(6) % 3)
    found = read_pictures(str(tmp_path / "d.npz"), GREY, 3)
    assert np.array_equal(found.pixels[..., 0], x)
    assert found.pixel(0).max() <= 1


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((4, 8, 8), np.uint8), "y": np.array([0, 1, 2, 7])}, "has the label 7, outside the 3 classes"),
        ({"x": np.zeros((4, 8, 8), np.uint8), "y": np.array([0, 1])}, "has 4 pictures and 2 labels"),
        ({"x": np.zeros((4, 8, 8), np.uint8)}, "has none of y, labels, y_train; it has x"),
        ({"x": np.zeros((4, 8), np.uint8), "y": np.arange(4)}, "pictures are"),
        ({"x": np.zeros((), np.uint8), "y": np.arange(4)}, "pictures are [] uint8"),
        ({"x": np.zeros((4, 0, 0), np.uint8), "y": np.arange(4)}, "each of some pixels"),
        ({"x": np.full((2, 8, 8), np.nan, np.float32), "y": np.arange(2)}, "are no numbers"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.zeros(2)}, "expected one whole number for each picture"),
    ],
)
def test_arrays_that_are_no_pictures(tmp_path, arrays, said):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InvalidInput) as caught:
        read_pictures(str(tmp_path / "d.npz"), GREY, 3)
    assert said in str(caught.value)


def test_an_empty_class_is_named(tmp_path):
    folder = folder_of(tmp_path / "d", cat=2, dog=0)
    with pytest.raises(InvalidInput, match=r"class 'dog' of '.*' has no pictures"):
        read_pictures(str(folder), COLOUR, 5)
    with pytest.raises(InvalidInput, match="has 2 classes, and the network 1; pass --set classes=2"):
        read_pictures(str(folder_of(tmp_path / "e", a=1, b=1)), COLOUR, 1)
    with pytest.raises(UsageError, match="there is no folder or file 'digit'; did you mean 'digits'"):
        read_pictures("digit", GREY, 10)


def test_a_class_of_broken_pictures_names_one(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "torn.png").write_bytes(b"no picture")
    with pytest.raises(InvalidInput, match=r"class 'a' of .* has no pictures that can be read \('.*a/torn.png': .*\); put some there"):
        read_pictures(str(tmp_path), GREY, 2)


def test_a_class_that_is_gone_when_a_run_goes_on(tmp_path):
    folder = folder_of(tmp_path / "d", a=4, b=4, c=4)

    def run():
        return TrainingRun(Trainer(dropping(), engine="reference"), read_pictures(str(folder), GREY, 4), Plan(epochs=1, batch=4))

    files = finished(run(), tmp_path)
    shutil.rmtree(folder / "b")
    with pytest.raises(InvalidInput, match="was begun with the class 'b', which the data has no more"):
        run().resume(files.checkpoint)


def test_a_checkpoint_of_another_network_or_plan(digits, tmp_path):
    files = finished(run_of(digits, epochs=1), tmp_path)
    with pytest.raises(InvalidInput, match=rf"'{files.checkpoint}' cannot go on: its values are of another network, or .*: 'conv1.w' is"):
        run_of(digits, epochs=1, net=residual).resume(files.checkpoint)
    with pytest.raises(InvalidInput, match="cannot go on to the same bits: schedule was cosine, and is step"):
        run_of(digits, epochs=1, schedule="step").resume(files.checkpoint)
    with pytest.raises(InvalidInput, match="is no checkpoint of convc"):
        read_checkpoint(files.weights)
    anew = f"epochs was 1, and is 2; give what it had, or begin anew from what it learned: --weights '{files.weights}' without --resume"
    with pytest.raises(InvalidInput, match=re.escape(anew)):
        run_of(digits, epochs=2).resume(files.checkpoint)
    files.weights.unlink()
    with pytest.raises(InvalidInput, match="epochs was 1, and is 2; give what it had, or begin without --resume"):
        run_of(digits, epochs=2).resume(files.checkpoint)
    with pytest.raises(UsageError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none.safetensors")


def test_of_what_is_held_out_nothing_is_learned():
    """Of each class its share; one of a single picture is learned."""
    labels = np.array([0] * 70 + [1] * 29 + [2])
    training, held = split(labels, 0.2, 3)
    assert np.bincount(labels[held], minlength=3).tolist() == [14, 6, 0]
    assert sorted([*training, *held]) == list(range(100))
    assert np.array_equal(split(labels, 0.2, 3)[1], held)
    assert not np.array_equal(split(labels, 0.2, 4)[1], held)
    assert [len(part) for part in split(np.array([0, 1]), 0.9, 0)] == [1, 1]
    assert [len(part) for part in split(np.array([0, 0]), 0.9, 0)] == [1, 1]


class Watched(Trainer):
    """Says which sizes of what it compiled have names."""

    def _started(self, graph):
        self.named = [*getattr(self, "named", []), graph.symbols]
        return super()._started(graph)


def test_batches_of_one_size_have_a_program_of_their_own():
    """Others, such as the last of an epoch, share the one that takes any number of images."""
    trainer, rng = Watched(ten(residual), engine="reference", batch=4), np.random.default_rng(2)
    for count in (4, 3, 4, 2):
        shape = [count if not isinstance(dim, int) else dim for dim in trainer.graph.inputs[0].typed.shape]
        assert np.isfinite(trainer.step(rng.standard_normal(shape), rng.integers(0, 10, count), 0.01).loss)
    assert trainer.named == [(), ("N",)]
    assert trainer.steps == 4


@pytest.mark.parametrize(
    ("labels", "said"),
    [([0, 1.7], "no whole numbers"), ([0, float("nan")], "no whole numbers"), (["a", "b"], "expected numbers"), ([], "no image to learn")],
)
def test_labels_that_are_no_classes(labels, said):
    with pytest.raises(InvalidInput, match=said):
        Trainer(ten(dropping), engine="reference").step(np.zeros((len(labels), 1, 8, 8), np.float32), np.array(labels), 0.1)


@pytest.mark.parametrize("plan", [{"learning_rate": float("nan")}, {"learning_rate": float("inf")}, {"validation": float("nan")}])
def test_a_plan_of_no_numbers(plan):
    with pytest.raises(UsageError, match=r"is (nan|inf), expected"):
        Plan(**plan)
