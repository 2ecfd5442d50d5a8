"""Steps of training under the checks that networks have: verify, a check of each pass, bisect; and long runs, by growth of their distance."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import pytest

import convc as cc
from convc.backends.reference import run
from convc.compiler.checking.hold import all_agree
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.checking.pass_check import PassCheck, bisect
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.table import ENGINES
from convc.compiler.files.inputs import random_inputs
from convc.compiler.training.onnx_step import export_training
from convc.compiler.training.step import TrainingStep
from convc.ir.ops.elementwise import ADD, Add
from convc.passes.catalog import PASSES
from convc.passes.manager import Step, run_passes
from convc.tests.compiler.training.networks import dropping, residual, step_and_feed
from convc.tests.support.faults import faulty_pass
from convc.tests.support.shell import convc


@cc.network(image="N,2,14,14")
def strided(image):
    """Narrow and wide layers: the gradients of their filters are written in two ways."""
    x = cc.tanh(cc.conv(image, 12, 5, stride=2, pad=1))
    return cc.softmax(cc.dense(cc.avg_pool(cc.tanh(cc.conv(x, 5, 3)), 2), 4))


@pytest.mark.parametrize("opset", [17, None])
@pytest.mark.parametrize("net", [strided, residual, dropping], ids=lambda net: net.name)
def test_the_file_of_a_step_is_read_back(net, opset, tmp_path):
    """Also where a convolution sums over images, whose number is named."""
    step = cc.training_step(net)
    export_training(step, tmp_path / "step.onnx", opset)
    again = cc.read_onnx(tmp_path / "step.onnx")
    assert again.symbols == ("N",)
    assert [(node.name, node.type) for node in again.inputs] == [(node.name, node.type) for node in step.inputs]
    inputs = random_inputs(step, sizes={"N": 3})
    wanted, got = run(step, inputs, "f64"), run(again, inputs, "f64")
    assert all(np.allclose(got[name], wanted[name], rtol=1e-12, atol=1e-12) for name in wanted)


def test_verify_holds_a_step_and_its_file(tmp_path):
    export_training(cc.training_step(residual), tmp_path / "step.onnx", 17)
    done = convc("verify", tmp_path / "step.onnx", "-b", "onnx,reference", "--input", "image:3,1,8,8", "--input", "label:3")
    assert done.code == 0, done.err
    assert "onnx: conv1.w.velocity.next agrees" in done.out
    assert convc("optimize", tmp_path / "step.onnx", tmp_path / "better.onnx", "--verify-each").code == 0
    assert "no pass changes the results" in convc("bisect", tmp_path / "step.onnx").out


@pytest.mark.parametrize("net", [strided, residual, dropping, cc.models.lenet5], ids=lambda net: net.name)
def test_what_verify_draws_has_gradients(net):
    """That are more than rounding, in every layer."""
    step = cc.training_step(net)
    inputs = random_inputs(step, sizes={"N": 3})
    after = run(step, inputs, "f64")
    for node in step.inputs:
        if node.name.endswith(".w"):
            gradient = after[f"{node.name}.velocity.next"] - 0.9 * inputs[f"{node.name}.velocity"] - 5e-4 * inputs[node.name]
            assert abs(gradient).max() > 1e-4 * abs(inputs[node.name]).max(), node.name


def _moved(node):
    return node.like(op=replace(node.op, pads=(0, 1, 2, 1)))


def _first_for_second(node):
    return node.reading((node.inputs[0], node.inputs[0]))


def _second_for_first(node):
    return node.reading((node.inputs[1], node.inputs[1]))


# Of a step of `strided`: the node that a pass breaks, by its kind and part of its name, and how.
FAULTS = {
    "the window of a gradient moves": ("conv2d_weight_gradient", "conv1.back", _moved),
    "a product on the way back takes one factor twice": ("mul", "tanh1.back.mul_1", _second_for_first),
    "a weight does not move": ("sub", "conv1.w.next", lambda node: node.like(kind=ADD, op=Add())),
    "a velocity adds its gradient twice": ("add", "conv2.w.velocity.next", _first_for_second),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pass_that_spoils_a_step_is_found(fault):
    step = cc.training_step(strided)
    kind, part, break_ = FAULTS[fault]
    victim = next(node.name for node in step.nodes if node.kind.name == kind and part in node.name)
    catalog = {**PASSES, "faulty": faulty_pass(victim, break_)}
    steps = (Step("drop-identity", "before"), Step("faulty", "the planted one"), Step("merge-common", "after"))
    check = PassCheck(step, random_inputs(step, sizes={"N": 3}))
    _, trace = run_passes(step, steps, ONNXRUNTIME.prices, check=check, catalog=catalog)
    assert [bool(stage.problem) for stage in trace] == [False, True, False]
    found = bisect(step, steps, check, ONNXRUNTIME.prices, catalog)
    assert found is not None
    assert (found.name, found.rewrite.root) == ("faulty", victim)


def test_a_step_is_held_to_what_rounding_explains():
    _, made, feed = step_and_feed(strided)
    oracle, engine = Oracle.of(made.graph, feed), "onnx"
    got = dict(ENGINES[engine].start(made.graph, 1)(feed))
    assert all_agree(compare(engine, oracle, got))
    name = "conv1.w.next"
    got[name] = got[name] * np.float32(1 + 1e-4)
    assert [line.output for line in compare(engine, oracle, got) if not line.agrees] == [name]


UNIT = 2.0**-24
STEPS = 120
PATHS = 4  # of float64, with weights rounded to float32 after each step
FARTHER = 4  # than the farthest of these: a step rounds inside as well


@dataclass(frozen=True)
class Walk:
    """Steps one after another: of `one` what a step gives, by what it is fed first."""

    made: TrainingStep
    feed: dict[str, np.ndarray]

    def path(self, one, after=lambda value: value):
        found, feed = [], dict(self.feed)
        for step in range(STEPS):
            results = one(feed | {"seed": np.array(step, np.int32)})
            following = {name: after(results[f"{name}.next"]) for name in (*self.made.weights, *self.made.states)}
            found.append({"loss": results["loss"], **following})
            feed |= following
        return found

    def exact(self, after=lambda value: value):
        return self.path(lambda feed: run(self.made.graph, feed, "f64"), after)


@functools.cache
def _wide():
    """In float64, from the same start as in float32."""
    _, made, _ = step_and_feed(dropping, image="f64[N,1,8,8]")
    return Walk(made, {name: value.astype(np.float64) if value.dtype.kind == "f" else value for name, value in _narrow().feed.items()})


def _narrow():
    _, made, feed = step_and_feed(dropping, batch=16)
    return Walk(made, feed)


@functools.cache
def _exact():
    return _wide().exact()


def _distances(path):
    """After each step: of the weights, over the length of their own at first."""
    names = [name for name in path[0] if name.endswith(".w")]
    apart = [sum(((a[name] - b[name].astype(np.float64)) ** 2).sum() for name in names) for a, b in zip(_exact(), path, strict=True)]
    return np.sqrt(np.array(apart) / sum((_exact()[0][name] ** 2).sum() for name in names))


@functools.cache
def _limit():
    paths = []
    for seed in range(PATHS):
        draws = np.random.default_rng(seed)
        paths.append(_distances(_wide().exact(lambda value, draws=draws: value * (1 + UNIT * draws.standard_normal(value.shape)))))
    return FARTHER * np.maximum.accumulate(np.max(paths, axis=0))


@pytest.mark.parametrize("engine", ["onnx", "tvm"])
def test_a_long_run_leaves_float64_no_faster_than_rounding_does(engine):
    """Small differences grow while a network learns, in float64 too: by how much, paths with weights rounded anew tell."""
    one = ENGINES[engine].start(_narrow().made.graph, 1)
    assert _exact()[-1]["loss"] < 0.7 * _exact()[0]["loss"]
    found = _distances(_narrow().path(one))
    assert (found <= _limit()).all(), max(found / _limit())
    slower = _distances(_narrow().path(lambda feed: one(feed | {"learning_rate": np.array(0.04999, np.float32)})))
    assert (slower > _limit()).any()
