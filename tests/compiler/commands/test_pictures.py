"""Photographs by the folder: batches, labels, what is skipped and said, one reader for all commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from convc.tests.support.shell import convc, refused

NET = """graph @net(%image: f32[N,3,4,4]) {
  %w = param {init=full, value=1.0} : f32[3,3,1,1]
  %c = conv2d(%image, %w)
  %m = global_avg_pool(%image)
  %y = flatten(%m)
  return %y
}
"""
RUN = ("run", "net.cir", "-b", "reference")


@pytest.fixture
def folder(tmp_path):
    """Three photographs, red, green and blue, one of which is no picture."""
    (tmp_path / "net.cir").write_text(NET)
    (tmp_path / "photos").mkdir()
    for name, place in (("a", 0), ("b", 1), ("d", 2)):
        Image.fromarray(np.full((4, 4, 3), np.eye(3, dtype=np.uint8)[place] * 255)).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "c.jpg").write_bytes(b"no picture")
    (tmp_path / "photos" / "notes.txt").write_text("no picture, and not called one")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    return tmp_path


@pytest.mark.parametrize("given", [("photos",), ("image=photos/*",), ("photos/a.png", "photos/b.png", "photos/c.jpg", "photos/d.png")])
@pytest.mark.parametrize("batch", ["N", "1", "2", "5"])
def test_a_folder_is_run_and_what_is_broken_is_skipped(folder, given, batch):
    """A batch with a name, or a fixed one that the photographs do not fill."""
    inputs = [word for each in given for word in ("-i", each)]
    done = convc(*RUN, "--input", f"image:{batch},3,4,4", *inputs, "--labels", "labels.txt", "--top", "1", cwd=folder)
    assert done.code == 0, done.err
    names = [line.split(": ")[0].split("/")[-1] for line in done.out.splitlines()[1:]]
    assert names == ["a.png", "b.png", "d.png"]
    assert [line.split("class ")[1] for line in done.out.splitlines()[1:]] == ["0 (red): 1", "1 (green): 1", "2 (blue): 1"]
    assert "photos/c.jpg' cannot be read as an image" in done.err
    assert "1 of 4 photographs were skipped" in done.err


def test_one_that_is_broken_is_refused_alone(folder):
    refused(convc(*RUN, "-i", "photos/c.jpg", cwd=folder), 3, "cannot be read as an image")
    (folder / "none").mkdir()
    (folder / "none" / "x.jpg").write_bytes(b"")
    (folder / "none" / "y.jpg").write_bytes(b"")
    refused(convc(*RUN, "-i", "none", cwd=folder), 3, "none of 2 photographs can be used; the first: 'none/x.jpg' cannot be read")


def test_what_was_converted_is_said_once(folder):
    for name in "efg":
        Image.new("L", (4, 4)).save(folder / "photos" / f"{name}.png")
    done = convc(*RUN, "-i", "photos/[e-g].png", cwd=folder)
    assert done.err.splitlines() == ["'photos/e.png' and 2 others: grey, taken as three equal channels"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("-i", "nothing/*.png"), 2, "'nothing/*.png' has no photographs"),
        (
            ("-i", "classes"),
            2,
            "'classes' has no photographs itself, and folders in it have; give 'classes/*/*', in quotes; `convc run --score`",
        ),
        (("-i", "classes/*"), 2, "'classes/*' has no photographs itself, and folders in it have; give 'classes/*/*', in quotes"),
        (("-i", "photos/a.png", "photos/b.png"), 2, "or a pattern in quotes, as in -i 'photos/*.jpg'; see `convc run --help`"),
        (("-i", "photos", "--labels", "few.txt"), 3, "'few.txt' has 2 lines, and no output has as many classes: y f32[N,3]"),
        (("-i", "photos", "--labels", "absent.txt"), 2, "there is no file 'absent.txt'"),
        (("-i", "photos", "--mean", "123.7,116.3,103.5"), 2, "is not of pixels from 0 to 1; divide what is of 0 to 255 by 255"),
        (("-i", "photos", "--mean", "x"), 2, "--mean 'x' is no list of numbers such as 0.5,0.5,0.5"),
        (("-i", "photos", "--mean", "0.5", "--std", "1,1"), 2, "--mean has 1 numbers and --std 2"),
        (
            ("-i", "photos/a.png", "--mean", "0.5"),
            3,
            "has 3 channels, and 1 are normalized, by --mean and --std; give a number for each, R,G,B",
        ),
        (("-i", "photos", "--mean", "0.5,0.5,0.5", "--preprocess", "imagenet"), 2, "leave one out"),
        (("-i", "large"), 3, "is 6x6 pixels, the input wants 4x4; pass --resize"),
    ],
)
def test_what_does_not_fit_is_refused(folder, words, code, sentence):
    (folder / "few.txt").write_text("red\ngreen\n")
    (folder / "large").mkdir()
    (folder / "classes" / "red").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "classes" / "red" / "x.png")
    Image.new("RGB", (6, 6)).save(folder / "large" / "x.png")
    done = convc(*RUN, *words, cwd=folder)
    refused(done, code, sentence)


def test_photographs_of_different_sizes_are_no_batch(folder):
    Image.new("RGB", (6, 5)).save(folder / "e.png")
    (folder / "net.cir").write_text(NET.replace("N,3,4,4", "N,3,H,W"))
    done = convc(*RUN, "-i", "photos/a.png", "-i", "e.png", cwd=folder)
    refused(done, 3, "'e.png' is 6x5 pixels and 'photos/a.png' 4x4; a batch has one size")


def test_photographs_of_different_sizes_go_one_after_another(folder):
    """Where the network takes one; what they make must have one size, as scores have."""
    Image.new("RGB", (6, 5)).save(folder / "e.png")
    (folder / "net.cir").write_text(NET.replace("N,3,4,4", "1,3,H,W"))
    two = (*RUN, "-i", "photos/a.png", "-i", "e.png")
    assert len(json.loads(convc(*two, "--json", cwd=folder).out)["outputs"]["y"]["photographs"]) == 2
    (folder / "net.cir").write_text(NET.replace("N,3,4,4", "1,3,H,W").replace("return %y", "return %c"))
    done = convc(*two, cwd=folder)
    refused(done, 3, "result 'c' is [3, 4, 4] of 'photos/a.png' and [3, 5, 6] of 'e.png'", "one size with --input and --resize")
    sized = convc(*two, "--input", "image:1,3,4,4", "--resize", "--json", cwd=folder)
    assert json.loads(sized.out)["outputs"]["c"]["shape"] == [2, 3, 4, 4]


def test_channels_are_normalized_as_asked(folder):
    done = convc(*RUN, "-i", "photos/a.png", "--mean", "0.5,0,0.5", "--std", "0.25,1,0.5", "-o", "y.npz", cwd=folder)
    assert done.code == 0, done.err
    assert np.load(folder / "y.npz")["y"].tolist() == [[2, 0, -1]]


def test_rows_of_json_are_of_photographs(folder):
    record = json.loads(convc(*RUN, "-i", "photos", "--labels", "labels.txt", "--json", cwd=folder).out)["outputs"]["y"]
    assert record["photographs"] == ["photos/a.png", "photos/b.png", "photos/d.png"]
    assert [row[0]["name"] for row in record["top"]] == ["red", "green", "blue"]


def test_every_command_reads_them_alike(folder):
    for words in (("verify", "net.cir", "-b", "onnx", "-i"), ("bisect", "net.cir", "-i")):
        done = convc(*words, "photos", "--preprocess", "imagenet", cwd=folder)
        assert done.code == 0, done.err
        assert "1 of 4 photographs were skipped" in done.err
    plan = ("plan", "net.cir", "--macs", "0.9", "--ends", "--no-measure", "--runs", "1", "--images", "4", "--calibration", "photos")
    assert "1 of 4 photographs were skipped" in convc(*plan, cwd=folder).err


def test_two_inputs_have_a_folder_each(folder):
    two = NET.replace("(%image: f32[N,3,4,4])", "(%left: f32[N,3,4,4], %image: f32[N,3,4,4])").replace(
        "return %y", "%z = relu(%left) return %y, %z"
    )
    (folder / "net.cir").write_text(two)
    done = convc(*RUN, "-i", "left=photos/[ab].png", "-i", "image=photos/[bd].png", "-o", "y.npz", cwd=folder)
    assert done.code == 0, done.err
    assert np.load(folder / "y.npz")["y"].tolist() == [[0, 1, 0], [0, 0, 1]]
    assert np.load(folder / "y.npz")["z"][:, :, 0, 0].tolist() == [[1, 0, 0], [0, 1, 0]]
