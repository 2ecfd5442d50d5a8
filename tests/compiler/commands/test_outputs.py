"""Where results go: into whole files, through links and pipes, or nowhere, with a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from convc.tests.support.shell import RELU, convc, refused


@pytest.mark.parametrize(
    "words",
    [("export", "mlp", "-o", "none/out.npz"), ("opt", "-", "-o", "none/out.cir"), ("run", "mlp", "-o", "none/out.npz")],
    ids=" ".join,
)
def test_an_output_in_a_folder_that_does_not_exist(tmp_path, words):
    done = convc(*words, "--backend", "reference", cwd=tmp_path) if words[0] == "run" else convc(*words, cwd=tmp_path, stdin=RELU)
    refused(done, 2, "cannot write", "No such file or directory")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("export", "none.cir", "-o", "x.txt"), "-o 'x.txt' is none of .onnx, .safetensors, .npz"),
        (("export", "none.cir", "-o", "build"), "-o 'build' is none of .onnx, .safetensors, .npz"),
        (("optimize", "none.onnx", "x.txt"), "both must be .onnx files"),
        (("plan", "none.cir", "--macs", "0.5", "--save-weights", "w.onnx"), "--save-weights 'w.onnx' is none of .safetensors, .npz"),
        (("opt", "none.cir", "--save-weights", "w.pt"), "--save-weights 'w.pt' is none of .safetensors, .npz"),
    ],
)
def test_an_output_whose_suffix_says_nothing(tmp_path, words, complaint):
    """Refused before anything is read."""
    refused(convc(*words, cwd=tmp_path), 2, complaint)


def test_an_unwritable_path(tmp_path):
    refused(convc("export", "lenet5", "-o", tmp_path / "no" / "net.onnx"), 2, "cannot write", "No such file or directory")
    (tmp_path / "file").write_text("mine")
    refused(convc("compile", "lenet5", "-o", tmp_path / "file"), 2, "holds what convc did not write there")
    refused(convc("compile", "lenet5", "-o", tmp_path / "file" / "net"), 2, "cannot write")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_export_keeps_what_was_there(tmp_path):
    target = tmp_path / "net.onnx"
    target.write_text("precious")
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[N,3,8,8]) {\n  %y = avg_pool(%x) {kernel=[2,2], dilations=[2,2]}\n  return %y\n}\n")
    refused(convc("export", tmp_path / "net.cir", "-o", target, "--opset", "17"), 4, "%y = avg_pool", "needs ONNX opset 19")
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.cir", "net.onnx"]


class TestWhereResultsGo:
    def test_a_pipe_stays_a_pipe_and_a_link_a_link(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        assert convc("export", "shared", "-o", tmp_path / "pipe").code == 0
        assert os.read(reader, 100)
        assert (tmp_path / "pipe").is_fifo()
        (tmp_path / "real.onnx").write_text("old")
        (tmp_path / "real.onnx").chmod(0o600)
        (tmp_path / "link.onnx").symlink_to("real.onnx")
        assert convc("export", "shared", "-o", tmp_path / "link.onnx").code == 0
        assert (tmp_path / "link.onnx").is_symlink()
        assert (tmp_path / "real.onnx").read_bytes() != b"old"
        assert (tmp_path / "real.onnx").stat().st_mode & 0o777 == 0o600

    def test_standard_output_may_be_named(self):
        text = "graph @g(%x: f32[1,2]) {\n  %y = relu(%x)\n  return %y\n}\n"
        done = convc("opt", "-", "-O0", "-o", "/dev/stdout", stdin=text)
        assert done.code == 0, done.err
        assert done.out.startswith("graph @g(")

    def test_a_full_disk_is_said_in_one_sentence(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([sys.executable, "-m", "convc", "models"], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr == "convc: cannot write the results: No space left on device\n"

    def test_a_reader_that_goes_away_is_no_failure(self):
        done = subprocess.run(
            f"set -o pipefail; {sys.executable} -m convc summary resnet152 | head -1",
            shell=True,
            executable="/bin/bash",
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_integer_and_boolean_results(tmp_path):
    (tmp_path / "net.cir").write_text(
        "graph @g(%x: f32[1,12]) {\n  %file = cast(%x) {to=u8}\n  %b = cast(%x) {to=bool}\n  return %file, %b\n}\n"
    )
    np.savez(tmp_path / "x.npz", x=np.arange(12, dtype=np.float32)[None])
    done = convc("run", tmp_path / "net.cir", "-i", tmp_path / "x.npz", "--backend", "reference", "-o", tmp_path / "y.npz")
    assert done.code == 0, done.err
    assert "class 11: 11  class 10: 10" in done.out
    assert np.load(tmp_path / "y.npz")["file"].dtype == np.uint8
    assert convc("verify", tmp_path / "net.cir", "-i", tmp_path / "x.npz").code == 0


def test_json_has_nan_and_infinity_as_texts(tmp_path):
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[1,2]) {\n  %y = log(%x)\n  return %y\n}\n")
    np.savez(tmp_path / "x.npz", x=np.float32([[-1, 0]]))
    done = convc("run", tmp_path / "net.cir", "-i", tmp_path / "x.npz", "-b", "reference", "--json")
    assert done.code == 0, done.err

    def refuse(word):
        raise AssertionError(word)

    values = json.loads(done.out, parse_constant=refuse)["outputs"]["y"]["top"][0]
    assert sorted(entry["value"] for entry in values) == ["-Infinity", "NaN"]
