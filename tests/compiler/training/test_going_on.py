"""Runs that are interrupted, diverge or go on: what is on disk is whole, and goes on to the same bits or not at all."""

import dataclasses
import json
import multiprocessing
import time

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import convc as cc
from convc.compiler.training import run as run_module
from convc.compiler.training.batches import Batches, split
from convc.compiler.training.run import Plan, TrainingRun, files_of
from convc.compiler.training.trainer import Diverged, Score, Trainer
from convc.ir.errors import ConvcError, InvalidInput, UsageError
from convc.tests.compiler.training.networks import dropping, residual
from convc.tests.compiler.training.test_trainer import finished, run_of, same, ten

SCALED = """graph @scaled(%x: f32[N,4]) {
  %gain = param : f32[]
  %w = param : f32[3,4]
  %y = dense(%x, %w) : f32[N,3]
  %z = mul(%y, %gain) : f32[N,3]
  return %z
}"""
ROOTED = """graph @rooted(%x: f32[N,4]) {
  %w = param : f32[3,4]
  %y = dense(%x, %w) : f32[N,3]
  %square = mul(%y, %y) : f32[N,3]
  %z = sqrt(%square) : f32[N,3]
  return %z
}"""


def test_frozen_weights_are_those_that_are_written():
    trainer = Trainer(ten(residual), engine="reference", frozen=["conv1.*", "bn1.*"], init="xavier", seed=3)
    written = trainer.weights()
    assert all(array.flags.writeable for array in written.values()), "as torch.from_numpy wants them"
    assert all(np.array_equal(node.weights.array(), written[node.name]) for node in trainer.made.graph.params if node.name in written)
    scaled = Trainer(cc.parse_graph(SCALED), engine="reference", seed=1)
    assert scaled.weights()["gain"] > 0.5
    images, labels = np.ones((2, 4), np.float32), np.array([0, 1])
    assert scaled.step(images, labels, 0.0).loss == pytest.approx(scaled.evaluate(images, labels).loss, rel=1e-6)


def five_images():
    draws = np.random.default_rng(4)
    return draws.standard_normal((5, 1, 8, 8)).astype(np.float32), draws.integers(0, 4, 5)


def test_each_step_drops_others():
    """At a rate of 0 nothing else changes; by the seed and the number of the step alone."""
    trainers = [Trainer(dropping, engine="reference", seed=7) for _ in range(2)]
    losses = [[trainer.step(*five_images(), 0.0).loss for _ in range(3)] for trainer in trainers]
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3


def test_each_image_of_an_evaluation_counts_once():
    """The last batch has fewer."""
    trainer, (images, labels) = Trainer(residual, engine="reference"), five_images()
    whole, parted = (trainer.evaluate(images, labels, batch) for batch in (5, 2))
    assert parted.loss == pytest.approx(whole.loss, rel=1e-6)
    assert parted.accuracy == pytest.approx(whole.accuracy)


class Torn(Exception):
    """A file that cannot be written, or Ctrl-C, between one line and the next."""


@pytest.mark.parametrize("torn", ["_write_weights", "write_checkpoint", "curve_svg", "Trainer.step", "Trainer.weights"])
def test_an_interruption_anywhere_loses_no_epoch(digits, tmp_path, monkeypatch, torn):
    """Where a run's own files were torn, or the trainer was ahead of the run, going on comes to the same bits and the same files."""
    whole = run_of(digits, epochs=2)
    finished(whole, tmp_path)
    (other := tmp_path / "other").mkdir()
    begun, files = run_of(digits, epochs=2), files_of(other / "w.safetensors")
    with monkeypatch.context() as patch:
        at, name = (Trainer, torn.split(".")[1]) if "." in torn else (run_module, torn)
        kept, calls = getattr(at, name), []

        def tears(*given):
            calls.append(given)
            made = kept(*given) if at is Trainer else None  # the trainer has moved on
            if len(calls) == 1:
                raise Torn
            return kept(*given) if at is not Trainer else made

        patch.setattr(at, name, tears)
        with pytest.raises(Torn):
            begun.go(files, lambda epoch: None)
    again = run_of(digits, epochs=2)
    again.resume(files.checkpoint)
    again.go(files, lambda epoch: None)
    assert same(again.trainer.values, whole.trainer.values)
    assert [each.loss for each in again.epochs] == [each.loss for each in whole.epochs]
    assert files.weights.read_bytes() == files_of(tmp_path / "w.safetensors").weights.read_bytes()


def test_a_gradient_that_is_no_number_under_a_loss_that_is_one():
    trainer = Trainer(cc.parse_graph(ROOTED), engine="reference")
    before = dict(trainer.values)
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"step 1: 'w' is no number after it"):
        trainer.step(np.zeros((2, 4), np.float32), np.array([0, 1]), 0.1)
    assert same(trainer.values, before)


def test_what_is_held_out_without_a_number_is_no_best_epoch(digits, tmp_path):
    @cc.network(image="N,1,8,8")
    def two(image, classes=10):
        return cc.dense(cc.dense(image, 6), classes)

    run = TrainingRun(Trainer(two, engine="reference"), digits, Plan(epochs=1, batch=200, learning_rate=1e30))
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"epoch 1: the loss of what is held out is (nan|inf)"):
        finished(run, tmp_path)
    assert not (tmp_path / "w.safetensors").exists()


def test_a_checkpoint_does_not_go_on_with_what_decides_bits(digits, tmp_path):
    """Another activation has the same parameters; so have other pictures, and other weights that stay frozen."""
    files = finished(run_of(digits, epochs=1), tmp_path)

    @cc.network(image="N,1,8,8")
    def dropping(image, classes=4):
        x = cc.max_pool(cc.relu(cc.conv(image, 3, 3)), 3, stride=2)
        return cc.softmax(cc.dense(cc.dropout(cc.relu(cc.dense(x, 6)), 0.25), classes))

    with pytest.raises(InvalidInput, match="the network is another, by"):
        run_of(digits, epochs=1, net=dropping).resume(files.checkpoint)
    changed = dataclasses.replace(digits, pixels=digits.pixels[::-1])
    with pytest.raises(InvalidInput, match="the pictures are others"):
        run_of(changed, epochs=1).resume(files.checkpoint)

    def frozen(seed):
        return Trainer(ten(residual), engine="reference", frozen=["conv1.*"], seed=seed).fingerprint()

    assert frozen(0) == frozen(0) != frozen(1)


def test_epochs_decide_no_bits_where_the_rate_does_not_look_to_the_end(digits, tmp_path):
    files = finished(run_of(digits, epochs=1, schedule="constant"), tmp_path)
    (longer := run_of(digits, epochs=2, schedule="constant")).resume(files.checkpoint)
    longer.go(files, lambda epoch: None)
    assert len(longer.epochs) == 2
    with pytest.raises(InvalidInput, match="schedule was constant, and is cosine"):
        run_of(digits, epochs=1, schedule="cosine").resume(files.checkpoint)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": "0x1p99999"}, "is no checkpoint of convc"),
        ({"done": -1}, "is no place in a run"),
        ({"done": 99, "epochs": []}, "is no place in a run"),
        ({"done": 99, "steps": 99, "epochs": []}, "is no place in a run"),  # more than an epoch has
        ({"steps": float("inf")}, "is no checkpoint of convc"),
        ({"settings": {"classes": 5}}, "its classes are no list"),
        ({"epochs": [{"epoch": 1}]}, "is no checkpoint of convc"),
        ({"accuracy": None}, "validation_accuracy of an epoch is 'x'"),
    ],
)
def test_a_hostile_checkpoint(digits, tmp_path, change, said):
    files = finished(run_of(digits, epochs=1), tmp_path)
    header = json.loads(safe_open(files.checkpoint, "numpy").metadata()["convc"])
    if "accuracy" in change:
        header["epochs"][0]["validation_accuracy"] = "x"
    else:
        header |= change
    save_file(load_file(files.checkpoint), files.checkpoint, {"convc": json.dumps(header)})
    with pytest.raises(InvalidInput, match=said):
        run_of(digits, epochs=1).resume(files.checkpoint)


def test_of_equal_epochs_the_first_is_the_best(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingRun, "trainer_score", lambda self, indices: Score(1.0, 0.5))
    run, weights = run_of(dataclasses.replace(digits, pixels=digits.pixels[::4], labels=digits.labels[::4]), epochs=2), []
    run.go(files_of(tmp_path / "w.safetensors"), lambda epoch: weights.append(run.trainer.weights()))
    assert same(run.best, weights[0])
    assert not same(run.best, weights[1])


def test_an_earlier_run_stays_until_an_epoch_is_over(digits, tmp_path):
    files = finished(run_of(digits, epochs=1), tmp_path)
    earlier = files.checkpoint.read_bytes()

    def stop(step, score):
        raise Torn

    with pytest.raises(Torn):
        run_of(digits, epochs=1, seed=1).go(files, lambda epoch: None, stop)
    assert files.checkpoint.read_bytes() == earlier


def test_weights_that_are_gone_are_written_again(digits, tmp_path):
    files = finished(run_of(digits, epochs=1), tmp_path)
    written = files.weights.read_bytes()
    files.weights.unlink()
    (again := run_of(digits, epochs=1)).resume(files.checkpoint)
    again.go(files, lambda epoch: None)
    assert files.weights.read_bytes() == written


@pytest.mark.parametrize("folder", ["none/w.safetensors", "taken/w.safetensors"])
def test_a_place_that_cannot_be_written_is_told_before_the_first_step(digits, tmp_path, folder):
    (tmp_path / "taken" / "w.svg").mkdir(parents=True)
    stepped = []
    with pytest.raises(UsageError, match=r"cannot write|none"):
        run_of(digits).go(files_of(tmp_path / folder), lambda epoch: None, lambda *step: stepped.append(step))
    assert not stepped


def test_a_process_that_was_killed_is_noticed_at_once(digits):
    batches = Batches(digits, *digits.moments(np.arange(160)), ("flip",))
    orders, begun = batches.order(np.arange(160), 0, 2), time.monotonic()
    others = set(multiprocessing.active_children())  # of earlier tests, which end in their own time
    with batches.made(orders, 0, 1) as made:
        next(made)
        (process,) = set(multiprocessing.active_children()) - others
        process.kill()
        with pytest.raises(ConvcError, match="has ended before its time; try --workers 0"):
            list(made)
    assert time.monotonic() - begun < 60


def test_what_is_drawn_for_one_purpose_is_not_drawn_for_another(digits):
    """A seed's first epoch was mixed as its split: numbers that end in zeros are one stream to NumPy."""
    batches = Batches(digits, *digits.moments(np.arange(160)), seed=4)
    mixed = np.random.default_rng([4]).permutation(160)
    assert not np.array_equal(np.concatenate(batches.order(np.arange(160), 0, 16)), mixed)
    assert not np.array_equal(split(np.zeros(160), 0.5, 4)[1], np.sort(mixed[:80]))
