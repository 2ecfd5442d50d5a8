"""`convc train` and `convc export --training`, each as a process: what they write, and how they end."""

import functools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from convc.tests.support.shell import convc, refused

NET = """
import convc as cc

@cc.network(image="N,1,8,8")
def small(image, classes=10):
    return cc.softmax(cc.dense(cc.relu(cc.dense(image, 16)), classes))
"""
PLAN = ("--data", "digits", "-b", "reference", "--lr", "0.1", "--epochs", "3", "--batch", "128")


@pytest.fixture
def model(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:small"


def test_train_writes_weights_that_run(model, tmp_path):
    weights = tmp_path / "w.safetensors"
    done = convc("train", model, *PLAN, "-o", weights, "--augment", "crop,rotate", "--json")
    assert done.code == 0, done.err
    assert "epoch 3: loss" in done.err
    epochs = json.loads(done.out)["epochs"]
    assert epochs[-1]["validation_accuracy"] > 0.4  # by chance it is 0.1
    assert {path.name for path in tmp_path.iterdir()} >= {"w.safetensors", "w.svg", "w.jsonl", "w.checkpoint.safetensors"}
    assert convc("summary", model, "--weights", weights).code == 0
    again = convc("train", model, *PLAN, "-o", weights, "--augment", "crop,rotate", "--resume")
    assert "3 of 3 epochs done" in again.err
    other = convc("train", model, *PLAN, "-o", weights, "--augment", "crop,rotate", "--average", "0.9", "--resume")
    why = "w.checkpoint.safetensors' cannot go on to the same bits: average was none, and is 0.9; give what it had, or begin anew from what"
    refused(other, 3, why)


def interrupted(words: list[str], at_last: Callable[[], bool], by: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    """The exit code and what was said, of a Ctrl-C in a terminal, which all processes get; of a SIGTERM, ours alone."""
    with subprocess.Popen([sys.executable, "-m", "convc", *words], stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            while not at_last():
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.02)
            os.killpg(process.pid, by) if by is signal.SIGINT else process.send_signal(by)
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, said


@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_loses_nothing(model, tmp_path, workers):
    weights, checkpoint = tmp_path / "w.safetensors", tmp_path / "w.checkpoint.safetensors"
    words = ["-v", "train", model, "--data", "digits", "-b", "reference", "--epochs", "500", "-o", str(weights), "--workers", workers]
    code, said = interrupted(words, weights.exists)
    assert code == 130
    assert "has all of it: go on with --resume" in said
    stopped = int(said.split("stopped after step ")[1].split(";")[0])
    assert f"step {stopped}: loss" in said
    began = checkpoint.stat().st_mtime_ns
    code, said = interrupted([*words, "--resume"], lambda: checkpoint.stat().st_mtime_ns != began)
    assert code == 130
    assert f"go on after step {stopped}," in said
    assert f"step {stopped + 1}: loss" in said


def test_sigterm_loses_nothing_and_a_checkpoint_is_no_file_of_weights(model, tmp_path):
    weights, checkpoint = tmp_path / "w.safetensors", tmp_path / "w.checkpoint.safetensors"
    words = ["train", model, "--data", "digits", "-b", "reference", "--epochs", "500", "-o", str(weights), "--workers", "2"]
    code, said = interrupted(words, checkpoint.exists, signal.SIGTERM)
    assert (code, said.splitlines()[-1]) == (143, "convc: ended by SIGTERM")
    assert f"'{checkpoint}' has all of it: go on with --resume" in said
    done = convc("summary", model, "--weights", checkpoint)
    assert done.code == 3
    assert (
        f"is a checkpoint of `convc train`, which goes on from it with --resume; the weights of its best epoch are in '{weights}'"
        in done.err
    )
    weights.unlink()
    assert convc("summary", model, "--weights", weights).err == f"convc: there is no file '{weights}'\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--data", "digit"), 2, "there is no folder or file 'digit'; did you mean 'digits'"),
        (("--data", "digits", "--augment", "flop"), 2, "unknown augmentation 'flop'; did you mean 'flip'"),
        (("--data", "digits", "--set", "classes=5"), 3, "'digits' has 10 classes, and the network 5; pass --set classes=10"),
        (("--data", "digits", "--freeze", "fc9.*"), 2, "no parameter of @small is called 'fc9.*'"),
        (("--data", "digits", "--resume"), 2, "there is no checkpoint"),
        (("--data", "digits", "--optimizer", "adam", "--nesterov"), 2, "--nesterov is sgd's"),
        (("--data", "digits", "--average", "1"), 2, "'--average': 1.0 is not in the range 0<x<1"),
        (("--data", "digits", "--loss", "mean_squared"), 2, "--loss mean_squared needs numbers for labels, and --data gives classes"),
        (("--data", "digits", "--lr", "1e30", "-b", "reference"), 1, "the loss is"),
        (("--data", "labels.npz"), 3, "'labels.npz' has the label 12, outside the 10 classes"),
        (("--data", "empty"), 3, "class 'b' of 'empty' has no pictures"),
        (("--data", "digits", "--input", "image:1,1,8,8"), 3, "train it with --input image:N,1,8,8"),
    ],
)
def test_bad_input_is_told_in_a_sentence(model, tmp_path, words, code, said):
    np.savez(tmp_path / "labels.npz", x=np.zeros((3, 8, 8), np.uint8), y=np.array([0, 1, 12]))
    (tmp_path / "empty" / "b").mkdir(parents=True)
    done = convc("train", model, *words, "-o", "w.safetensors", cwd=tmp_path)
    assert (done.code, said in done.err) == (code, True), done.err
    assert "Traceback" not in done.err


def test_a_loss_that_is_no_number_says_where_the_last_good_weights_are(model, tmp_path):
    weights = tmp_path / "w.safetensors"
    done = convc("train", model, "--data", "digits", "-b", "reference", "--lr", "1e30", "-o", weights)
    assert done.code == 1
    assert "the last good weights: no epoch was over, so none were written, 'w.checkpoint.safetensors' those before this step" in done.err
    assert re.search(r"convc: step \d+: the loss is nan, which began at %fc2 = dense \(net.py:6\); try a smaller learning rate", done.err)
    arrays = load_file(tmp_path / "w.checkpoint.safetensors")
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_no_room_for_a_checkpoint(model, tmp_path):
    (tmp_path / "w.checkpoint.safetensors").mkdir()
    done = convc("train", model, *PLAN, "-o", tmp_path / "w.safetensors")
    assert done.code == 2
    assert "cannot write" in done.err


def test_a_disk_without_room_keeps_what_was_written(model, tmp_path):
    """No file may be longer than 2 KiB: of the weights or of a checkpoint, none is torn."""
    weights = tmp_path / "w.safetensors"
    assert convc("train", model, *PLAN, "-o", weights).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    words = [sys.executable, "-B", "-m", "convc", "train", model, *PLAN, "--seed", "7", "-o", str(weights)]
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (2048, 2048))
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert (done.returncode, "cannot write" in done.stderr, "File too large" in done.stderr) == (2, True, True), done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


MOVING = """graph @moving(%x: f32[N,1,8,8]) {
  %ow = param : f32[18,1,3,3]
  %o = conv2d(%x, %ow) {pads=[1,1,1,1]}
  %w = param : f32[10,1,3,3]
  %d = deform_conv2d(%x, %w, %o) {pads=[1,1,1,1]}
  %p = global_avg_pool(%d)
  %y = flatten(%p)
"""


@pytest.mark.parametrize(
    ("rest", "words", "code", "said"),
    [
        ("return %y }", (), 4, "(%ow, %w) stands before it, so that freezing does not help; put another op in its place"),
        ("%v = param : f32[10,10] %z = dense(%y, %v) return %z }", (), 4, "freeze what stands before it (%ow, %w), and the other 1 can be"),
        ("%v = param : f32[10,10] %z = dense(%y, %v) return %z }", ("--freeze", "ow", "--freeze", "w"), 0, "epoch 3"),
    ],
)
def test_an_op_without_a_gradient_is_named_with_the_way_out(tmp_path, rest, words, code, said):
    (tmp_path / "net.cir").write_text(MOVING + rest)
    done = convc("train", "net.cir", *PLAN, *words, "-o", "w.safetensors", cwd=tmp_path)
    assert (done.code, said in done.err) == (code, True), done.err
    assert code == 0 or "%d = deform_conv2d (net.cir:5) has no gradient: where it reads depends on its offsets" in done.err


def test_a_step_and_an_evaluation_are_exported(model, tmp_path):
    for flag, outputs in (("--training", 6), ("--evaluation", 2)):
        file = tmp_path / f"{flag[2:]}.onnx"
        assert convc("export", model, flag, "-o", file, "--opset", "17").code == 0
        written = onnx.load(file)
        onnx.checker.check_model(written, full_check=True)
        assert len(written.graph.output) >= outputs
        assert "convc.readme" in {entry.key for entry in written.metadata_props}
    done = convc("export", model, "--training", "--evaluation", "-o", tmp_path / "x.onnx")
    assert done.code == 2
    assert "each write one .onnx file of their own" in done.err


def test_what_is_learned_from_is_not_written_over(model, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 8, 8), np.uint8), y=np.arange(4))
    kept = (tmp_path / "d.npz").read_bytes()
    done = convc("train", model, "--data", "d.npz", "-b", "reference", "-o", "d.npz", cwd=tmp_path)
    assert (done.code, (tmp_path / "d.npz").read_bytes() == kept) == (2, True)
    assert "would be written over the pictures it learns from" in done.err


NORMED = """
import convc as cc

@cc.network(image="N,1,8,8")
def normed(image, classes=10):
    for _ in range(3):
        image = cc.conv_bn_relu(image, 4, 3, pad=1)
    return cc.softmax(cc.dense(cc.global_avg_pool(image), classes))
"""


FLAT = """
import convc as cc

@cc.network(image="N,1,8,8")
def flat(image, classes=10):
    return cc.softmax(cc.dense(cc.tanh(cc.dense(cc.flatten(image), 12)), classes))
"""


@pytest.fixture
def normed(tmp_path):
    (tmp_path / "normed.py").write_text(NORMED)
    return f"{tmp_path / 'normed.py'}:normed"


def test_less_memory_and_the_same_bits(normed, tmp_path):
    plan = ("--data", "digits", "-b", "reference", "--epochs", "1", "--batch", "300")
    whole, less = tmp_path / "whole.safetensors", tmp_path / "less.safetensors"
    assert convc("train", normed, *plan, "-o", whole).code == 0
    done = convc("train", normed, *plan, "-o", less, "--memory", "0.8")
    assert re.search(r"values are computed again: peak [\d,]+ -> [\d,]+ bytes \(0\.[67]\d+\), for \d+\.\d\d % more FLOPs", done.err)
    assert less.read_bytes() == whole.read_bytes()
    assert convc("train", normed, *plan, "-o", whole, "--memory", "0.8", "--resume").code == 0


@pytest.fixture
def flat(tmp_path):
    (tmp_path / "flat.py").write_text(FLAT)
    return f"{tmp_path / 'flat.py'}:flat"


ONE_EPOCH = ("--data", "digits", "--threads", "1", "--epochs", "1", "--batch", "300")


def test_in_place_and_the_same_bits(flat, tmp_path):
    apart, over = tmp_path / "apart.safetensors", tmp_path / "over.safetensors"
    assert convc("train", flat, *ONE_EPOCH, "-o", apart).code == 0
    assert convc("train", flat, *ONE_EPOCH, "-o", over, "--in-place").code == 0
    assert over.read_bytes() == apart.read_bytes()


def test_what_was_trained_apart_goes_on_in_place(normed, tmp_path):
    apart = tmp_path / "apart.safetensors"
    assert convc("train", normed, *ONE_EPOCH, "-o", apart).code == 0
    assert convc("train", normed, *ONE_EPOCH, "-o", apart, "--in-place", "--resume").code == 0


def test_a_step_is_compiled_in_less_memory_and_in_place(normed, tmp_path):
    done = convc("compile", normed, "--training", "--memory", "0.8", "--in-place", "--no-check", "-o", tmp_path / "step")
    assert "for batches of 16: 6 values are computed again" in done.err
    assert "28 of 28 outputs are written over the inputs that they follow" in done.err
    target = json.loads((tmp_path / "step" / "manifest.json").read_text())["target"]
    assert target["in_place"]["conv1.w.next"] == "conv1.w"
    assert ".again = relu" in (tmp_path / "step" / "model.cir").read_text()


def test_a_step_in_a_share_of_its_memory_is_planned_shown_and_exported(normed, tmp_path):
    planned = convc("plan", normed, "--memory", "0.8", "--json", "-o", tmp_path / "step.cir")
    found = json.loads(planned.out)
    assert found["after_bytes"] <= 0.8 * found["before_bytes"]
    in_place = json.loads(convc("plan", normed, "--memory", "0.8", "--in-place", "--json").out)
    assert in_place["before_bytes"] != found["before_bytes"]  # what waits for the last reader of a weight lives longer
    assert ".again = relu" in (tmp_path / "step.cir").read_text()
    shown = convc("inspect", normed, "--training", "--memory", "0.8", "-O1")
    assert "recompute" in shown.out
    assert "for batches of 16" in shown.err
    exported = convc("export", normed, "--training", "--memory", "0.8", "-o", tmp_path / "step.onnx")
    assert exported.code == 0
    assert any(name.endswith(".again") for node in onnx.load(tmp_path / "step.onnx").graph.node for name in node.output)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", "--memory", "0.01"), "is as little as it comes to by computing values again"),
        (("plan", "--memory", "0.8", "--macs", "0.5"), "--macs has no meaning with --memory; leave it out"),
        (("plan", "--memory", "0.8", "--calibration", "nosuchfile.png"), "--calibration has no meaning with --memory"),
        (("plan", "--memory", "0.8", "--threads", "1"), "--threads has no meaning with --memory"),
        (("plan", "--memory", "0.8", "--no-measure"), "--measure has no meaning with --memory"),
        (("plan", "--memory", "0.8", "--apply", "plan.json"), "--apply has no meaning with --memory"),
        (("plan", "--memory", "0.8", "--advise"), "--memory has no meaning with --advise"),
        (("export", "--memory", "0.8", "-o", "x.onnx"), "give --training too"),
        (("inspect", "--memory", "0.8"), "give --training too"),
        (("compile", "--memory", "0.8", "-o", "x"), "give --training too"),
        (("compile", "--in-place", "-o", "x"), "give a step of training"),
        (("plan", "--macs", "0.8", "--in-place"), "--in-place is of a step of training, which --memory plans; give both"),
        (("compile", "--training", "--in-place", "-t", "cuda", "-o", "x"), "--in-place is for a CPU"),
        (("train", "--in-place", "--data", "digits", "-b", "onnx", "-o", "x.npz"), "onnx writes over nothing that it is given"),
    ],
)
def test_memory_that_cannot_be(normed, words, said):
    command, *rest = words
    done = convc(command, normed, *rest)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_weights_say_how_pictures_enter(normed, tmp_path):
    """A photograph comes to what the same pixels, normalized by hand, come to; classes have the names of their folders."""
    draws = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(6):
            pixels = draws.integers(100, 200, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    photo, weights = tmp_path / "photos" / "cat" / "0.png", tmp_path / "w.safetensors"
    two = (normed, "--set", "classes=2")
    plan = ("--data", tmp_path / "photos", "-b", "reference", "--epochs", "1", "--batch", "4", "-o", weights)
    assert convc("train", *two, *plan).code == 0
    with safe_open(weights, "numpy") as file:
        said = json.loads(file.metadata()["convc"])
    by_hand = (np.asarray(Image.open(photo), np.float32)[None, None] / 255 - said["mean"][0]) / said["deviation"][0]
    np.save(tmp_path / "x.npy", by_hand.astype(np.float32))
    run = ("run", *two, "--weights", weights, "-b", "reference")
    shown, wanted = convc(*run, "-i", photo, "--json"), convc(*run, "-i", tmp_path / "x.npy", "--json")
    assert json.loads(shown.out) == json.loads(wanted.out)
    assert f"{weights}: pictures are normalized by mean 0." in shown.err
    assert {entry["name"] for entry in json.loads(shown.out)["outputs"]["softmax1"]["top"][0]} == {"cat", "dog"}
    assert "class 0 (cat): 0." in convc(*run, "-i", photo).out
    assert "leave that out" in convc(*run, "-i", photo, "--imagenet").err
    assert convc("export", *two, "--weights", weights, "--evaluation", "-o", tmp_path / "eval.onnx").code == 0
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "eval.onnx").metadata_props}
    assert (json.loads(metadata["convc.mean"]), json.loads(metadata["convc.classes"])) == (said["mean"], ["cat", "dog"])
