"""`convc look`: each way writes a picture and figures, of a network in the DSL and of an ONNX file alike, or refuses in a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from convc.tests.support.looking import NET, figures, masks_in, photographs_in, pixels_of
from convc.tests.support.shell import convc as run
from convc.tests.support.shell import refused

UNIT = ("--layer", "relu2", "--unit", "3")
WAYS = {
    "filters": (),
    "maps": ("photos/photo0.png", "--layer", "relu1"),
    "unit": ("photos/photo0.png", *UNIT),
    "best": ("photos", *UNIT),
    "deconvnet": ("photos/photo0.png", *UNIT),
    "guided": ("photos/photo0.png", *UNIT),
    "gradient": ("photos/photo0.png", "--class", "2"),
    "occlusion": ("photos/photo0.png", "--class", "2", "--side", "8", "--stride", "8"),
    "gradcam": ("photos/photo0.png", "--class", "2"),
    "maximize": ("--class", "2", "--steps", "3"),
    "dissect": ("photos", "--masks", "masks", "--layer", "relu2", "--quantile", "0.1"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    (folder / "net.py").write_text(NET)
    photographs_in(folder / "photos")
    masks_in(folder / "masks")
    assert run("export", "net.py:small", "-o", "small.onnx", cwd=folder).code == 0
    return folder


def look(place, way, *words, model="net.py:small"):
    return run("look", way, model, *words, "-b", "reference", cwd=place)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_writes_a_picture_and_says_its_figures(place, way):
    done = look(place, way, *WAYS[way], "-o", f"{way}.png", "--json")
    found = figures(done)
    assert found["schema"] == 1
    assert found["command"] == f"look {way}"
    page = pixels_of(place / f"{way}.png")
    assert page.shape[2] == 3
    assert len(np.unique(page.reshape(-1, 3), axis=0)) > 20
    assert f"wrote {way}.png ({page.shape[1]} x {page.shape[0]} pixels)" in done.err


@pytest.mark.parametrize("way", ["filters", "maps", "best", "deconvnet", "gradcam", "occlusion"])
def test_an_onnx_file_says_the_same(place, way):
    words = [*WAYS[way], "--json"]
    layers = {"relu1": "relu1", "relu2": "relu2"}
    mine = figures(look(place, way, *words))
    theirs = figures(look(place, way, *[layers.get(word, word) for word in words], model="small.onnx"))
    for key, value in mine.items():
        if isinstance(value, float):
            assert theirs[key] == pytest.approx(value, rel=1e-4, abs=1e-6)
        elif key not in ("model", "max", "mean", "active", "sizes", "means", "best", "map", "drops"):
            assert theirs[key] == value, key


@pytest.mark.parametrize("way", ["maps", "best", "deconvnet", "gradient", "gradcam", "maximize", "occlusion"])
def test_a_network_for_three_pictures_at_once_says_the_same(place, way):
    mine = figures(look(place, way, *WAYS[way], "--json"))
    theirs = figures(look(place, way, *WAYS[way], "--json", "--input", "image:3,3,24,24"))
    for key in set(mine) & {"value", "score", "shown", "largest", "at", "field"}:
        assert theirs[key] == pytest.approx(mine[key], rel=1e-4), key


def test_a_class_is_named_as_weights_name_it(place):
    saved = place / "named.safetensors"
    assert run("export", "net.py:small", "-o", saved, cwd=place).code == 0
    arrays = load_file(saved)
    save_file(
        arrays, saved, {"convc": json.dumps({"mean": [0.5] * 3, "deviation": [0.25] * 3, "classes": ["owl", "cat", "dog", "ox", "elk"]})}
    )
    words = ("photos/photo0.png", "--weights", saved)
    assert figures(look(place, "gradcam", *words, "--class", "dog", "--json"))["class"] == 2
    assert "class 2 (dog)" in look(place, "gradcam", *words, "--class", "dog", "-o", "named.png").out
    refused(look(place, "gradcam", *words, "--class", "dig", "-q", "--json"), 2, "there is no class 'dig'", "did you mean dog?")


def test_a_class_is_named_as_a_file_of_labels_names_it(place):
    (place / "labels.txt").write_text("owl\ncat\ndog\nox\nelk\n")
    words = ("photos/photo0.png", "--labels", "labels.txt", "--class")
    assert figures(look(place, "gradcam", *words, "dog", "--json"))["class"] == 2
    assert "class 2 (dog)" in look(place, "gradient", *words, "dog", "-o", "labelled.png").out
    assert "class 4 (elk)" in look(place, "maximize", *words[1:], "elk", "--steps", "1", "-o", "labelled.png").out
    refused(look(place, "occlusion", *words, "dig", "--json"), 2, "there is no class 'dig'", "did you mean dog?")
    (place / "labels.txt").write_text("owl\ncat\n")
    refused(look(place, "occlusion", *words, "owl", "--json"), 3, "'labels.txt' has 2 lines", "softmax1 f32[N,5]")


def test_several_units_make_a_grid_that_says_of_each_what_it_says_alone(place):
    words = ("photos/photo0.png", "--layer", "relu2", "--unit")
    for way in ("deconvnet", "gradient"):
        found = figures(look(place, way, *words, "3,0", "-o", "grid.png", "--json"))
        for unit, mine in zip((3, 0), found["units"], strict=True):
            alone = figures(look(place, way, *words, str(unit), "--json"))
            assert {key: alone[key] for key in mine} == mine
        assert pixels_of(place / "grid.png").shape[1] > 2 * 160


def test_what_the_unit_sees_holds_what_excites_it(place):
    """The receptive field of the strongest unit meets the only thing that there is to see."""
    found = figures(look(place, "unit", "photos/photo1.png", *UNIT, "--json"))["best"][0]
    left, top, right, bottom = found["field"]
    assert (right - left, bottom - top) == (8, 8)  # 3x3, a pool of 2, 3x3: 2*3+2
    at = figures(look(place, "unit", "photos/photo1.png", *UNIT, "--at", "2,5", "--json"))["best"][0]
    assert at["at"] == [2, 5]
    assert at["field"] == [7, 1, 15, 9]  # 2 apart, the first from -3
    assert at["value"] <= found["value"]


def test_best_are_in_order_and_at_most_as_many_as_asked(place):
    found = figures(look(place, "best", "photos", *UNIT, "--most", "2", "--json"))
    values = [each["value"] for each in found["best"]]
    assert found["pictures"] == 3
    assert len(values) == 2
    assert values == sorted(values, reverse=True)
    each = [figures(look(place, "unit", f"photos/photo{n}.png", *UNIT, "--json"))["best"][0]["value"] for n in range(3)]
    assert values == pytest.approx(sorted(each, reverse=True)[:2], rel=1e-5)


def test_broken_pictures_among_good_ones_are_named_skipped_and_counted(place, tmp_path):
    photos = photographs_in(tmp_path / "photos")
    for number in range(4):
        (photos / f"broken{number}\x1b[31m.png").write_bytes(b"\x89PNG torn")
    done = run("look", "best", place / "net.py:small", photos, *UNIT, "-b", "reference", "-o", tmp_path / "best.png", "--json", cwd=place)
    assert len(figures(done)["skipped"]) == 4
    assert done.err.count("warning: skipped 'broken") == 3
    assert "skipped 4 of 7 pictures that cannot be read; 3 are left" in done.err
    assert "\x1b[31m" not in done.err


def test_none_that_can_be_read_is_refused(place, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"torn")
    done = run("look", "best", place / "net.py:small", tmp_path, *UNIT, "-q", "-b", "reference", "--json", cwd=place)
    refused(done, 3)


def test_masks_of_another_size_are_refused_and_nothing_is_written(place, tmp_path):
    masks = masks_in(tmp_path / "masks")
    Image.new("L", (30, 20)).save(masks / "square" / "photo1.png")
    words = ("photos", "--masks", masks, "--layer", "relu2", "-o", tmp_path / "d.png")
    refused(look(place, "dissect", *words), 3, "photo1.png' is 30x20 pixels", "60x40")
    assert not (tmp_path / "d.png").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("look", "map", "net.py:small", "-o", "x.png"), 2, "look has no 'map'; did you mean 'maps'?"),
        (("look", "filters", "net.py:small"), 2, "give -o picture.png, or --json"),
        (("look", "filters", "net.py:small", "-o", "x.jpg"), 2, "-o 'x.jpg' is none of .png"),
        (("look", "filters", "net.py:small", "-o", "gone/x.png"), 2, "there is no folder 'gone'"),
        (("look", "filters", "net.py:small", "-o", "x.png", "--layer", "relu1"), 2, "%relu1 = relu (net.py:7) has no filters"),
        (
            ("look", "maps", "net.py:small", "photos/photo0.png", "--layer", "rel1", "-o", "x.png"),
            2,
            "has no layer 'rel1'; did you mean relu1",
        ),
        (("look", "maps", "net.py:small", "photos/photo0.png", "--layer", "fc1", "-o", "x.png"), 2, "has no maps of units"),
        (("look", "maps", "net.py:small", "photos/none.png", "--layer", "relu1", "-o", "x.png"), 2, "there is no file 'photos/none.png'"),
        (("look", "maps", "net.py:small", "net.py", "--layer", "relu1", "-o", "x.png"), 2, "'net.py' is no photograph"),
        (
            ("look", "unit", "net.py:small", "photos/photo0.png", "--layer", "relu1", "--unit", "6", "-o", "x.png"),
            2,
            "its 6 units are 0 to 5",
        ),
        (
            ("look", "unit", "net.py:small", "photos/photo0.png", "--layer", "relu1", "--unit", "0", "--at", "24,0", "-o", "x.png"),
            2,
            "no row 24",
        ),
        (
            ("look", "unit", "net.py:small", "photos/photo0.png", "--layer", "relu1", "--unit", "0", "--at", "1", "-o", "x.png"),
            2,
            "--at '1' is no place",
        ),
        (("look", "best", "net.py:small", "gone", *UNIT, "-o", "x.png"), 2, "there is no folder 'gone'"),
        (("look", "best", "net.py:small", "masks", "--layer", "relu2", "--unit", "9", "-o", "x.png"), 2, "its 8 units are 0 to 7"),
        (("look", "gradcam", "net.py:small", "photos/photo0.png", "--class", "5", "-o", "x.png"), 2, "there is no class 5; the 5 classes"),
        (
            ("look", "gradcam", "net.py:small", "photos/photo0.png", "--class", "cat", "-o", "x.png"),
            2,
            "there is no class 'cat'; classes are 0 to 4",
        ),
        (("look", "gradient", "net.py:small", "photos/photo0.png", "--layer", "relu1", "-o", "x.png"), 2, "give --layer NAME and --unit N"),
        (("look", "gradient", "net.py:small", "photos/photo0.png", *UNIT, "--class", "1", "-o", "x.png"), 2, "leave one out"),
        (
            ("look", "deconvnet", "net.py:small", "photos/photo0.png", "--layer", "relu2", "--unit", "1,9", "-o", "x.png"),
            2,
            "has no unit 9; its 8 units are 0 to 7",
        ),
        (
            ("look", "guided", "net.py:small", "photos/photo0.png", "--layer", "relu2", "--unit", "1,two", "-o", "x.png"),
            2,
            "--unit '1,two' is no unit",
        ),
        (
            ("look", "guided", "net.py:small", "photos/photo0.png", "--layer", "relu2", "--unit", "0,1,0", "-o", "x.png"),
            2,
            "--unit names 0 twice",
        ),
        (
            ("look", "gradcam", "net.py:small", "photos/photo0.png", "--labels", "gone.txt", "-o", "x.png"),
            2,
            "there is no file 'gone.txt'",
        ),
        (
            ("look", "occlusion", "net.py:small", "photos/photo0.png", "--side", "25", "-o", "x.png"),
            2,
            "--side 25 is more than the picture",
        ),
        (("look", "maximize", "net.py:small", "-o", "x.png"), 2, "give --class, or --layer and --unit"),
        (
            ("look", "dissect", "net.py:small", "photos", "--masks", "gone", "--layer", "relu2", "-o", "x.png"),
            2,
            "--masks: there is no folder 'gone'",
        ),
        (
            ("look", "dissect", "net.py:small", "photos", "--masks", "photos", "--layer", "relu2", "-o", "x.png"),
            3,
            "has no folders of masks",
        ),
        (("look", "filters", "relu.cir", "-o", "x.png"), 2, "@g has no 2-D convolution"),
        (("look", "gradcam", "relu.cir", "photos/photo0.png", "-o", "x.png"), 3, "it must take one picture"),
        (("look", "maps", "empty.cir", "photos/photo0.png", "--layer", "y", "-o", "x.png"), 2, "it computes nothing"),
        (("look", "filters", "net.py:small", "-o", "x.png", "-o", "y.png"), 2, "--output is given twice"),
        (("look", "filters", "net.py:small", "-o", "x.png", "-b", "onx"), 2, "unknown backend 'onx'; did you mean 'onnx'?"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_a_sentence(place, words, code, said):
    (place / "relu.cir").write_text("graph @g(%x: f32[N,4]) {\n  %y = relu(%x)\n  return %y\n}\n")
    (place / "empty.cir").write_text("graph @g(%x: f32[N,3,8,8]) {\n  return %x\n}\n")
    refused(run(*words, cwd=place), code, said)
    assert not (place / "x.png").exists()
