"""Where results go: into whole files, through links and pipes, or nowhere, with a sentence."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

import convc as cc
from convc.compiler.commands.cli import COMMANDS
from convc.compiler.commands.console import Console
from convc.compiler.commands.look import LOOKS
from convc.compiler.commands.outputs import OUTPUT_FILE, OUTPUT_FOLDER, Output
from convc.ir.errors import UsageError
from convc.tests.support.shell import convc, refused

FILES = {  # what writes a file, but for its name; the network is not there, so that whatever comes first is seen
    "export": ("export", "none.cir", "-o"),
    "opt": ("opt", "none.cir", "-o"),
    "opt weights": ("opt", "none.cir", "--save-weights"),
    "optimize": ("optimize", "none.onnx"),
    "run": ("run", "none.cir", "-o"),
    "train": ("train", "none.cir", "--data", "digits", "-o"),
    "draw": ("draw", "none.cir", "-o"),
    "plan": ("plan", "none.cir", "--macs", "0.5", "-o"),
    "plan again": ("plan", "none.cir", "--macs", "0.5", "-o", "fine.onnx", "-o"),
    "plan weights": ("plan", "none.cir", "--macs", "0.5", "--save-weights"),
    "look": ("look", "filters", "none.cir", "-o"),
    **{f"{name} report": (name, "none.cir", "--html") for name in ("inspect", "verify", "plan")},
    "diff report": ("diff", "none.cir", "none.cir", "--html"),
    "compile report": ("compile", "none.cir", "-o", "fine", "--html"),
    "optimize report": ("optimize", "none.onnx", "fine.onnx", "--html"),
    "bench report": ("bench", "none.cir", "--profile", "--html"),
    "bench rows": ("bench", "none.cir", "--csv"),
    "bench trace": ("bench", "none.cir", "--profile", "--trace"),
}
FOLDERS = {
    "compile": ("compile", "none.cir", "-o"),
    "inspect": ("inspect", "none.cir", "--dump-dir"),
    "tune": ("tune", "none.cir", "--database"),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder and a file where others are wanted, and a folder that nobody may write to, root excepted."""
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "closed").mkdir(mode=0o555)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {"folder.onnx", "file", "closed"}
    assert (tmp_path / "file").read_text() == "mine"


def test_every_output_is_among_these():
    """An option that takes a path to write is of the kind that looks at it first."""
    ways = [importlib.import_module(f"convc.compiler.commands.looking.{way}").command for way in LOOKS]
    commands = [importlib.import_module(f"convc.compiler.commands.{name}").command for name in COMMANDS]
    kinds = {(each.name, param.name): param.type for each in (*commands, *ways) for param in each.params}
    outputs = {key for key, kind in kinds.items() if isinstance(kind, Output)}
    assert {name for name, _ in outputs} >= {words[0] for words in (*FILES.values(), *FOLDERS.values())} - {"look", "tune"} | set(LOOKS)
    writing = {"output", "outputs", "html", "csv", "trace", "save_weights", "dump_dir"}  # tune's database may be "off" too
    assert {key for key in kinds if key[1] in writing} == outputs


def refused_within(words: tuple[str, ...], *said: str) -> None:
    """By the command in this process, which takes a hundredth of one of its own."""
    home, words = ("looking.", words[1:]) if words[0] == "look" else ("", words)
    command = importlib.import_module(f"convc.compiler.commands.{home}{words[0]}").command
    with pytest.raises(UsageError) as error:
        command.main(words[1:], standalone_mode=False, obj=Console({}))
    for each in said:
        assert each in str(error.value)


@pytest.mark.parametrize("words", FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(place, words):
    refused_within((*words, "gone/x.onnx"), "'gone/x.onnx': there is no folder 'gone'; make it first")
    refused_within((*words, "folder.onnx"), "'folder.onnx': that is a folder, and a file is wanted; name one in it")
    refused_within((*words, "file/x.onnx"), "'file/x.onnx': ", "is no folder; choose another path")
    if os.geteuid():
        refused_within((*words, "closed/x.onnx"), "'closed/x.onnx': the folder ", " cannot be written to; choose another path")


@pytest.mark.parametrize("words", FOLDERS.values(), ids=FOLDERS)
def test_so_is_a_folder(place, words):
    refused_within((*words, "file"), "'file': that is a file, and a folder is wanted; choose another path or remove it")
    refused_within((*words, "file/x/y"), "'file/x/y': ", "is no folder; choose another path")
    if os.geteuid():
        refused_within((*words, "closed/x"), "'closed/x': the folder ", " cannot be written to; choose another path")


def test_a_command_ends_with_its_sentence_and_makes_the_parents_of_a_folder_later(place):
    refused(convc(*FILES["export"], "gone/x.onnx", cwd=place), 2, "convc: -o 'gone/x.onnx': there is no folder 'gone'; make it first\n")
    refused(convc(*FOLDERS["compile"], "gone/x", cwd=place), 2, "there is no file 'none.cir'")


def test_a_folder_that_the_user_may_not_write_to(place, monkeypatch):
    """Asked of the system, which lets root write everywhere."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed")
    option = click.Option(["-o", "--output"])
    for kind in (OUTPUT_FILE, OUTPUT_FOLDER):
        with pytest.raises(UsageError, match=r"^-o '.*closed/x.onnx': the folder '.*closed' cannot be written to; choose another path$"):
            kind.convert(str(place / "closed" / "x.onnx"), option, None)
        assert kind.convert(str(place / "x.onnx"), option, None) == place / "x.onnx"


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
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    refused(convc("compile", "lenet5", "-o", tmp_path / "folder"), 2, "holds what convc did not write there")
    assert (tmp_path / "folder" / "file").read_text() == "mine"


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


def test_an_onnx_file_from_python_has_its_ending_too(tmp_path):
    with pytest.raises(UsageError, match=r"'.*x\.txt' does not end in \.onnx"):
        cc.export_onnx(cc.models.mlp(), tmp_path / "x.txt")
    assert not any(tmp_path.iterdir())
