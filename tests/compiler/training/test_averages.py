"""Averages of weights and statistics over the steps: their formula, what is validated and written of them, and going on to the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.backends.reference import run
from convc.compiler.training.run import Plan, TrainingRun, files_of
from convc.compiler.training.step import step_of
from convc.compiler.training.trainer import Trainer
from convc.ir.donation import following, in_order
from convc.ir.errors import InvalidInput, InvalidModel, UsageError
from convc.tests.compiler.training.networks import residual
from convc.tests.compiler.training.test_trainer import finished, same, ten

DECAY = 0.6
IMAGES = np.random.default_rng(0).standard_normal((5, 6, 1, 8, 8)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 4, (5, 6))


def averaging(engine="reference", average=DECAY, net=residual, **how):
    return Trainer(net, engine=engine, optimizer=cc.adam(), average=average, threads=1, **how)


def steps_of(trainer):
    """Weights and statistics after each step."""
    for images, labels in zip(IMAGES, LABELS, strict=True):
        trainer.step(images, labels, 0.01)
        yield {name: np.array(trainer.values[name], np.float64) for name in trainer.made.weights}


def expected(after):
    shares = np.array([DECAY ** (len(after) - 1 - place) for place in range(len(after))])
    return {name: sum(share * each[name] for share, each in zip(shares, after, strict=True)) / shares.sum() for name in after[0]}


@pytest.mark.parametrize("engine", ["reference", "onnx"])
def test_an_average_is_of_all_steps_by_their_age(engine):
    trainer = averaging(engine)
    assert {"conv1.w", "bn1.scale", "bn1.mean", "bn1.var"} <= trainer.made.averages.keys()
    after = []
    for weights in steps_of(trainer):
        after.append(weights)
        for name, value in expected(after).items():
            np.testing.assert_allclose(trainer.values[f"{name}.average"], value, rtol=3e-5, atol=1e-6)


def test_training_itself_is_as_without():
    plain, with_averages = averaging(average=None), averaging()
    assert all(same(a, b) for a, b in zip(steps_of(plain), steps_of(with_averages), strict=True))
    assert not plain.made.averages


def test_what_is_evaluated_and_written_is_the_average():
    trainer = averaging(frozen=["fc1.b"])
    begun = trainer.weights()
    assert np.array_equal(begun["conv1.w"], trainer.values["conv1.w"])  # of no step there is no average
    list(steps_of(trainer))
    written = trainer.weights()
    assert written.keys() == begun.keys()
    for name in trainer.made.weights:
        assert np.array_equal(written[name], trainer.values[f"{name}.average"])
        assert not np.array_equal(written[name], trainer.values[name])
    assert np.array_equal(written["fc1.b"], begun["fc1.b"])
    (scores,) = run(trainer.network(), {"image": IMAGES[0]}).values()
    loss = -np.log(scores[np.arange(6), LABELS[0]]).mean()
    assert trainer.evaluate(IMAGES[0], LABELS[0]).loss == pytest.approx(loss, rel=1e-5)


def run_of(digits, epochs=3, average=DECAY):
    trainer = averaging(net=ten(residual), average=average)
    return TrainingRun(trainer, digits, Plan(epochs=epochs, batch=64, schedule="constant", learning_rate=0.01))


def test_a_run_goes_on_to_the_same_bits(digits, tmp_path):
    (other := tmp_path / "other").mkdir()
    whole = run_of(digits)
    finished(whole, tmp_path)
    files = finished(run_of(digits, epochs=1), other)
    again = run_of(digits)
    again.resume(files.checkpoint)
    again.go(files, lambda epoch: None)
    assert same(again.trainer.values, whole.trainer.values)
    assert files.weights.read_bytes() == files_of(tmp_path / "w.safetensors").weights.read_bytes()
    with pytest.raises(
        InvalidInput, match=rf"'{files.checkpoint}' cannot go on: an average of the weights was kept there, and none is here; "
    ):
        run_of(digits, average=None).resume(files.checkpoint)
    with pytest.raises(InvalidInput, match="the network is another, by its layers, the training's options"):
        run_of(digits, average=0.9).resume(files.checkpoint)
    without = finished(run_of(digits, epochs=1, average=None), other)
    with pytest.raises(InvalidInput, match="cannot go on: no average of the weights was kept there, and one is here; "):
        run_of(digits).resume(without.checkpoint)


def test_in_place_an_average_is_taken_before_its_weight_is_gone():
    """No order is refused: what reads a weight of before stands before what writes over it."""
    made = step_of(residual(), average=DECAY)
    donated = following(made.graph)
    assert set(donated.values()) >= {"conv1.w", "conv1.w.average", "bn1.mean.average", "average.steps"}
    assert {node.name for node in in_order(made.graph, donated).nodes} == {node.name for node in made.graph.nodes}


@pytest.mark.parametrize("average", [0.0, 1.0, -0.5, float("nan")])
def test_a_decay_that_makes_no_average_is_refused(average):
    with pytest.raises(UsageError, match=r"average is .*, expected more than 0 and less than 1, such as 0.99"):
        step_of(residual(), average=average)


def test_a_name_that_an_average_needs_is_refused():
    text = (
        "graph @g(%x: f32[N,4]) { %w = param : f32[3,4] %w.average = param : f32[3] %y = dense(%x, %w, %w.average) : f32[N,3] return %y }"
    )
    with pytest.raises(InvalidModel, match=r"%w\.average = param has a name that the step's own state needs; rename it"):
        step_of(cc.parse_graph(text), average=DECAY)
