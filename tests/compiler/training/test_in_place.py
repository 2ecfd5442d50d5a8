"""Steps that write the next weights over the old ones: the same bits, the same memory, and nothing that is read when it is gone."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.compiling.compile import compile_network
from convc.compiler.engines.tvm import TVM
from convc.compiler.files.artifact import sealed
from convc.compiler.training.checkpoint import read_checkpoint
from convc.compiler.training.run import Plan, TrainingRun, files_of
from convc.compiler.training.trainer import Diverged, Trainer
from convc.ir.binding import specialize
from convc.ir.donation import aligned, following, holds_order, in_order
from convc.ir.errors import ArtifactError, InvalidInput, InvalidModel, UsageError
from convc.passes.recompute import step_within
from convc.tests.compiler.training.networks import dropping, residual
from convc.tests.support.graphs import typed_graph

DRAWS = np.random.default_rng(0)
BATCHES = [(DRAWS.standard_normal((6, 1, 8, 8)).astype(np.float32), DRAWS.integers(0, 4, 6)) for _ in range(3)]
WRONG = """graph @wrong(%x: f32[4,64], %w: f32[4,64]) {
    %w.next = sub(%w, %x) %turned = transpose(%w) {perm=[1,0]} %y = matmul(%x, %turned) return %y, %w.next }"""


@pytest.mark.parametrize("net", [residual, dropping], ids=lambda net: net.name)
@pytest.mark.parametrize("optimizer", [cc.sgd(nesterov=True), cc.adam()], ids=["sgd", "adam"])
def test_steps_in_place_have_the_same_bits(net, optimizer):
    apart, over = (Trainer(net, optimizer=optimizer, batch=6, threads=1, in_place=flag) for flag in (False, True))
    arrays = dict(over.values)
    for images, labels in BATCHES:
        assert apart.step(images, labels, 0.05) == over.step(images, labels, 0.05)
    assert all(np.array_equal(value, over.values[name]) for name, value in apart.values.items())
    assert all(over.values[name] is array for name, array in arrays.items())


def test_outputs_lie_in_inputs_and_take_no_memory():
    step = cc.training_step(residual)
    donated = following(step)
    found = step_within(step, 0.9, 8, donated)
    assert holds_order(found.graph, donated)
    assert found.after < step_within(step, 0.9, 8).after


def test_resnet20_of_16_pictures_comes_to_its_share_in_place():
    """Weights and state of the next step would be a tenth of what is live at once."""
    step = cc.training_step(cc.models.resnet20())
    with pytest.raises(UsageError, match=r"0\.6 of its memory with N=16: 0\.61"):
        step_within(step, 0.6, 16)
    found = step_within(step, 0.6, 16, following(step))
    assert found.share <= 0.6
    assert found.paid <= 0.01 * found.flops


def test_an_order_in_which_a_weight_is_read_when_it_is_gone_is_found(tmp_path):
    graph = typed_graph(WRONG)
    with pytest.raises(InvalidModel, match="writes over an input before all have read it"):
        build_cpu(graph, tmp_path / "model.so", BuildOptions(donated=following(graph)))


def test_an_output_waits_for_a_kernel_that_reads_what_it_takes_the_place_of():
    """The product is computed with what follows it, where that stands: behind the output, by the graph's own order."""
    graph = typed_graph("""graph @waits(%x: f32[16,64], %w: f32[64,64], %g: f32[64,64]) {
        %y = matmul(%x, %w) %w.next = sub(%w, %g) %z = relu(%y) return %z, %w.next }""")
    assert [call.node.name for call in plan(graph).calls] == ["w.next", "z"]
    waiting = plan(graph).waiting(following(graph))
    assert [call.node.name for call in waiting.calls] == ["z", "w.next"]
    assert waiting.waiting(following(graph)) is waiting


def test_every_weight_of_a_step_of_lenet5_is_read_before_it_is_written_over():
    step = cc.training_step(cc.models.lenet5())
    ordered = in_order(specialize(step, {"N": 16}), following(step))
    made = plan(ordered).waiting(following(step))
    at = {call.node.name: place for place, call in enumerate(made.calls)}
    for result, given in following(step).items():
        readers = [at[node.name] for node, work in made.works.items() if reads(work, given)]
        assert max(readers, default=0) <= at[result]


def reads(work, name):
    return any(operand.name == name for node in work.covers for operand in node.inputs)


def test_what_is_not_read_place_by_place_keeps_memory_of_its_own(tmp_path):
    """The result of a product is written while other rows are still read."""
    graph = typed_graph("graph @product(%x: f32[64,64], %w: f32[64,64]) { %w.next = matmul(%w, %x) return %w.next }")
    built = build_cpu(graph, tmp_path / "model.so", BuildOptions(donated=following(graph)))
    assert built.library.in_place == {}
    feed = {name: aligned(DRAWS.standard_normal((64, 64)).astype(np.float32)) for name in "xw"}
    wanted = feed["w"] @ feed["x"]
    assert np.allclose(LoadedLibrary.load(built.library, threads=1).run_over(feed)["w.next"], wanted, 1e-4, 1e-4)


@pytest.fixture(scope="module")
def over(tmp_path_factory):
    """x - w in the place of w."""
    graph = typed_graph("graph @over(%x: f32[2,64], %w: f32[2,64]) { %w.next = sub(%x, %w) return %w.next }")
    return compile_network(graph, tmp_path_factory.mktemp("over") / "net", level=0, check=True, in_place=True)


def feed_of(over):
    return {name: aligned(np.full((2, 64), value, np.float32)) for name, value in (("x", 5), ("w", 3))}


def test_an_artifact_says_what_it_writes_over_and_a_module_returns_it(over):
    assert over.manifest["target"]["in_place"] == {"w.next": "w"}
    feed = feed_of(over)
    got = cc.Module.open(over.path, threads=1)(**feed)
    assert got is feed["w"]
    assert (got == 2).all()
    assert (feed["x"] == 5).all()


def test_what_comes_unaligned_is_the_output_too(over):
    feed = feed_of(over)
    feed["w"] = np.full(129, 3, np.float32)[1:].reshape(2, 64)
    got = cc.Module.open(over.path, threads=1)(**feed)
    assert got is feed["w"]
    assert (got == 2).all()


def test_engines_leave_the_inputs_of_an_artifact_as_they_are(over):
    feed = feed_of(over)
    assert (TVM.open(over, 1)(feed)["w.next"] == 2).all()
    assert (feed["w"] == 3).all()


def test_memory_that_cannot_be_given_up(over):
    module, feed = cc.Module.open(over.path, threads=1), feed_of(over)
    with pytest.raises(InvalidInput, match="'w' is written over, and shares memory with 'x'"):
        module(x=feed["w"], w=feed["w"])
    feed["w"].flags.writeable = False
    with pytest.raises(InvalidInput, match="'w' is written over, and this array cannot be"):
        module(**feed)


def test_a_manifest_that_names_what_is_not_there(over, tmp_path):
    import json
    import shutil

    shutil.copytree(over.path, tmp_path / "net")
    path = tmp_path / "net" / "manifest.json"
    manifest = json.loads(path.read_text())
    for pairs in ({"w.next": "elsewhere"}, {"w.next": "x", "other": "w"}, ["w"], {"w.next": 3}):
        path.write_bytes(sealed(manifest | {"target": manifest["target"] | {"in_place": pairs}}))
        with pytest.raises(ArtifactError, match=r"in_place|in place of inputs"):
            cc.Module.open(tmp_path / "net", threads=1)


def test_a_step_that_fails_in_place_leaves_no_weights():
    trainer = Trainer(residual, engine="tvm", batch=6, threads=1, in_place=True)
    start = {name: value.copy() for name, value in trainer.values.items()}
    images, labels = BATCHES[0]
    with pytest.raises(UsageError, match="the learning rate is nan, expected a finite number"):
        trainer.step(images, labels, np.nan)
    with pytest.raises(Diverged, match="step 1: the loss is nan, which began at %image"):
        trainer.step(images * np.float32(np.nan), labels, 0.1)
    for ask in (lambda: trainer.step(images, labels, 0.1), lambda: trainer.evaluate(images, labels), trainer.weights, trainer.network):
        with pytest.raises(UsageError, match="left no weights; go on with `restore`"):
            ask()
    trainer.restore(start, 0)
    fresh = Trainer(residual, engine="tvm", batch=6, threads=1)
    assert trainer.step(images, labels, 0.1) == fresh.step(images, labels, 0.1)


def test_the_node_of_a_step_that_fails_in_place_is_found_by_the_way_that_it_names():
    trainer = Trainer(residual, engine="tvm", batch=6, threads=1, in_place=True)
    images, labels = BATCHES[0]
    start = {name: value.copy() for name, value in trainer.values.items()} | {"fc1.w": np.full_like(trainer.values["fc1.w"], 3e38)}
    trainer.restore(start, 4)
    with pytest.raises(
        Diverged, match="step 5: the loss is nan, of weights that are written over: `restore` those of before and set `careful`"
    ):
        trainer.step(images, labels, 0.1)
    trainer.restore(start, 4)
    trainer.careful = True
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"step 5: the loss is nan, which began at .*%fc1"):
        trainer.step(images, labels, 0.1)
    assert all(np.array_equal(value, trainer.values[name]) for name, value in start.items())


@cc.network(image="N,1,8,8")
def flat(image):
    """Without a convolution, which takes most of the time to compile."""
    return cc.softmax(cc.dense(cc.dropout(cc.tanh(cc.dense(cc.flatten(image), 6)), 0.25), 10))


def test_a_run_broken_off_in_a_step_goes_on_from_its_last_epoch(digits, tmp_path):
    """What lies in the place of the weights then is no checkpoint; in the end there are the bits of a run that never stopped."""
    files = files_of(tmp_path / "w.safetensors")

    def run(**more):
        return TrainingRun(Trainer(flat(), batch=64, threads=1, **more), digits, Plan(epochs=2, batch=64))

    broken, steps = run(in_place=True), []

    def stepped(step, score):
        steps.append(step)
        if len(steps) == broken.per_epoch + 2:
            broken.trainer.torn = True  # as Ctrl-C leaves it in the middle of a step
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.go(files, lambda epoch: None, stepped)
    again = run(in_place=True)
    again.resume(files.checkpoint)
    assert (len(again.epochs), again.state.done) == (1, 0)
    again.go(files, lambda epoch: None)
    whole = run(in_place=True)
    whole.go(files_of(tmp_path / "v.safetensors"), lambda epoch: None)
    assert all(np.array_equal(value, again.trainer.values[name]) for name, value in whole.trainer.values.items())


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_loss_that_is_no_number_in_place_says_where_and_leaves_the_weights(epochs, digits, tmp_path, monkeypatch):
    """What was written over is learned again, from the checkpoint or from the beginning; what is left are the bits of a run not in place."""
    found, left = [], []
    for in_place in (False, True):
        files = files_of(tmp_path / f"{in_place}.safetensors")
        run = TrainingRun(Trainer(flat(), batch=32, threads=1, in_place=in_place), digits, Plan(epochs=2, batch=32))
        rates = [0.1] * (run.per_epoch * epochs + 1) + [3e38] * 9
        monkeypatch.setattr(run, "_rate", lambda epoch, step, rates=rates, run=run: rates[epoch * run.per_epoch + step])
        with np.errstate(all="ignore"), pytest.raises(Diverged, match="which began at %") as caught:
            run.go(files, lambda epoch: None)
        found.append(str(caught.value))
        left.append(read_checkpoint(files.checkpoint))
    assert found[0] == found[1]
    assert (left[0].steps, left[0].done) == (left[1].steps, left[1].done)
    assert all(np.array_equal(value, left[1].values[name]) for name, value in left[0].values.items())


def test_an_interruption_in_the_first_epoch_is_known_to_be_kept(digits, tmp_path):
    run = TrainingRun(Trainer(dropping(classes=10), engine="reference"), digits, Plan(epochs=1, batch=64))
    files = files_of(tmp_path / "w.safetensors")

    def stepped(step, score):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.go(files, lambda epoch: None, stepped)
    assert run.kept
    assert files.checkpoint.exists()


def test_an_engine_that_writes_over_nothing():
    with pytest.raises(UsageError, match="onnx writes over nothing that it is given"):
        Trainer(residual, engine="onnx", in_place=True)
