"""`convc run --score`: how many photographs of a labelled folder a network gets right."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from convc.compiler.commands.score import ClassFolders
from convc.tests.support.shell import convc, refused

# The score of a class is what its channel has in the mean: red, green, blue.
NET = "graph @g(%x: f32[N,3,4,4]) {\n  %m = global_avg_pool(%x)\n  %y = flatten(%m)\n  return %y\n}\n"
RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)
FOLDERS = {"a": [RED, RED, GREEN], "b": [GREEN], "c": [BLUE, RED]}  # four of six are right


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "net.cir").write_text(NET)
    (folder / "data" / ".hidden").mkdir(parents=True)
    for name, colours in FOLDERS.items():
        (folder / "data" / name).mkdir(parents=True)
        for number, colour in enumerate(colours):
            Image.new("RGB", (4, 4), colour).save(folder / "data" / name / f"{number}.png")
    return folder


RUN = ("run", "net.cir", "-b", "reference", "-i", "data", "--score")


def test_how_many_are_right(folder):
    done = convc(*RUN, cwd=folder)
    assert (done.code, done.out) == (0, "y: 6 photographs of 3 classes: top-1 0.6667 (4 of 6), top-5 1.0000 (6 of 6)\n")
    rows = [line.split() for line in convc(*RUN, "-v", cwd=folder).out.splitlines()[:-1]]
    assert rows == [["class", "photographs", "top-1"], ["a", "3", "0.6667"], ["b", "1", "1.0000"], ["c", "2", "0.5000"]]


def test_in_json(folder):
    found = json.loads(convc(*RUN, "--json", cwd=folder).out)["score"]
    assert (found["output"], found["photographs"], found["top1"], found["top5"]) == ("y", 6, pytest.approx(4 / 6), 1)
    assert [(each["name"], each["photographs"]) for each in found["classes"]] == [("a", 3), ("b", 1), ("c", 2)]
    assert found["skipped"] == 0


def test_what_was_skipped_is_counted_apart(folder, tmp_path):
    copytree(folder / "data", tmp_path / "data")
    for name in ("a/3.png", "b/0.png"):
        (tmp_path / "data" / name).write_bytes(b"none")
    found = json.loads(convc("run", folder / "net.cir", *RUN[2:], "--json", cwd=tmp_path).out)["score"]
    assert (found["photographs"], found["skipped"], found["top1"]) == (5, 2, pytest.approx(3 / 5))
    assert [(each["name"], each["photographs"]) for each in found["classes"]] == [("a", 3), ("c", 2)]


def test_five_are_best_and_of_equal_scores_the_first_classes_are():
    folders = ClassFolders({Path("data", str(number)): number for number in range(7)}, "y")
    found = folders.score([f"data/{number}/a.png" for number in (0, 1, 4, 5)], {"y": np.zeros((4, 7))})
    assert (found.photographs, found.first, found.among) == (4, 1, 3)


def test_labels_say_which_folder_is_which_class(folder):
    (folder / "labels.txt").write_text("c\nb\na\n")
    found = json.loads(convc(*RUN, "--labels", "labels.txt", "--json", cwd=folder).out)["score"]
    assert found["top1"] == pytest.approx(2 / 6)  # what is right then is one of b, and the red one of c
    (folder / "labels.txt").write_text("a\nb\nsee\n")
    refused(convc(*RUN, "--labels", "labels.txt", cwd=folder), 3, "'data' has a folder 'c', which is no class of the network")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    refused(
        convc(*RUN, "--labels", "labels.txt", cwd=folder),
        3,
        "has a folder 'a', which is no class of the network; some are red, green, blue",
    )


def test_one_photograph(folder, tmp_path):
    (tmp_path / "data" / "b").mkdir(parents=True)
    Image.new("RGB", (4, 4), GREEN).save(tmp_path / "data" / "b" / "it.png")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    words = ("run", folder / "net.cir", "-b", "reference", "-i", "data", "--score", "--labels", "labels.txt")
    done = convc(*words, cwd=tmp_path)
    assert (done.code, done.out) == (0, "y: 1 photograph of 1 class: top-1 1.0000 (1 of 1), top-5 1.0000 (1 of 1)\n")
    (tmp_path / "data" / "c").mkdir()
    refused(convc(*words, cwd=tmp_path), 2, "'data/c' has no photographs")


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("-i", "dta"), 2, "there is no folder 'dta'; did you mean 'data'?"),
        (("-i", "data/a/0.png"), 2, "--score takes one -i: a folder with a folder of photographs for each class"),
        ((), 2, "--score takes one -i: a folder with a folder of photographs for each class"),
        (("-i", "data/a"), 3, "'data/a' has no folders; each class is a folder of its photographs"),
        (("-i", "two"), 3, "'two' has 2 folders and output 'y' 3 classes; say by --labels what each is called, and name the folders so"),
    ],
)
def test_what_cannot_be_scored(folder, words, code, complaint):
    for name in ("a", "b"):
        (folder / "two" / name).mkdir(parents=True, exist_ok=True)
    refused(convc("run", "net.cir", "-b", "reference", "--score", *words, cwd=folder), code, complaint)


def test_an_output_that_has_no_classes(folder):
    (folder / "map.cir").write_text("graph @g(%x: f32[N,3,4,4]) {\n  %y = relu(%x)\n  return %y\n}\n")
    done = convc("run", "map.cir", "-b", "reference", "-i", "data", "--score", cwd=folder)
    refused(done, 3, "--score needs one output [N,classes], and @g has y f32[N,3,4,4]")
    np.save(folder / "x.npy", np.zeros((1, 3, 4, 4), np.float32))
    refused(convc("run", "net.cir", "-b", "reference", "-i", "x.npy", "--score", cwd=folder), 2, "--score takes one -i")
