"""How pictures enter, as the metadata of weights says it: wherever pictures are read, and wherever weights are written."""

import json

import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from convc.compiler.files.calibration import read_calibration
from convc.compiler.files.entering import MOST, Entering, entering_of
from convc.compiler.files.images import Preparing
from convc.ir.errors import InvalidInput
from convc.tests.support.graphs import typed_graph
from convc.tests.support.shell import convc

NET = """graph @small(%image: f32[N,1,8,8]) {
  %w = param : f32[16,1,3,3]
  %c = conv2d(%image, %w) {pads=[1,1,1,1]}
  %r = relu(%c)
  %v = param : f32[16,16,3,3]
  %d = conv2d(%r, %v) {pads=[1,1,1,1]}
  %p = global_avg_pool(%d)
  %f = flatten(%p)
  %y = softmax(%f)
  return %y
}
"""
HALF = "graph @half(%image: f16[N,1,8,8]) {\n  %w = param : f16[1]\n  %y = mul(%image, %w)\n  return %y\n}\n"
GRAPH = typed_graph(NET)
SAID = {"mean": [0.5], "deviation": [0.25], "classes": ["cat", "dog"]}
NORMALIZED = "w.safetensors: pictures are normalized by mean 0.5, deviation "


@pytest.fixture
def folder(tmp_path):
    """With net.cir, photo.png of 8x8 and w.safetensors, which says SAID."""
    (tmp_path / "net.cir").write_text(NET)
    for name, seed in (("photo", 0), ("other", 1)):
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8)).astype(np.uint8)).save(tmp_path / f"{name}.png")
    assert convc("export", "net.cir", "-o", "plain.safetensors", cwd=tmp_path).code == 0
    say(tmp_path, SAID)
    return tmp_path


def say(folder, said):
    save_file(
        load_file(folder / "plain.safetensors"), folder / "w.safetensors", {"convc": said if isinstance(said, str) else json.dumps(said)}
    )


def said_in(path):
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["convc"])


def by_hand(folder):
    pixels = np.asarray(Image.open(folder / "photo.png"), np.float32)[None, None] / 255
    np.save(folder / "x.npy", (pixels - 0.5) / 0.25)


@pytest.mark.parametrize(
    "words",
    [
        ("net.cir", "--weights", "w.safetensors", "-b", "onnx"),
        ("net.cir", "--weights", "plain.safetensors", "net.cir", "--other-weights", "w.safetensors"),
    ],
)
def test_verify_holds_what_the_network_sees(folder, words):
    """Of two networks it is what either's weights say."""
    by_hand(folder)
    seen, wanted = (convc("verify", *words, "-i", file, "--json", cwd=folder) for file in ("photo.png", "x.npy"))
    assert (seen.code, wanted.code) == (0, 0), seen.err
    assert NORMALIZED in seen.err
    assert json.loads(seen.out) == json.loads(wanted.out)


def test_bisect_reads_what_the_network_sees(folder):
    """And where a narrow input does not hold it, that is no fault of the picture."""
    (folder / "half.cir").write_text(HALF)
    save_file({"w": np.ones(1, np.float16)}, folder / "w.safetensors", {"convc": json.dumps(SAID | {"mean": [1e6]})})
    done = convc("bisect", "half.cir", "--weights", "w.safetensors", "-i", "photo.png", cwd=folder)
    assert (done.code, done.out) == (3, "")
    assert "what 'mean' and 'deviation' of the weights make of 'photo.png' reaches 4e+06, and f16[N,1,8,8] ends at 65504" in done.err


def test_crops_for_calibration_are_normalized(folder):
    files = [str(folder / "photo.png")] * 2
    plain, made = (read_calibration(GRAPH, files, 4, preparing=Preparing(entering=each)) for each in (None, Entering((0.5,), (0.25,))))
    np.testing.assert_allclose(made.fit["image"], (plain.fit["image"] - 0.5) / 0.25, atol=1e-5)
    np.testing.assert_allclose(made.held_out["image"], (plain.held_out["image"] - 0.5) / 0.25, atol=1e-5)


CALIBRATION = ("--calibration", "photo.png", "--calibration", "other.png")


def test_plans_are_made_for_what_the_network_sees(folder):
    plan = ("plan", "net.cir", "--macs", "0.7", "--ends", "--no-measure", "--runs", "1", "--images", "4", *CALIBRATION, "--json")
    weights = ("--weights", "w.safetensors")
    seen, unseen = (
        convc(*plan, *weights, "--save-weights", "p.safetensors", cwd=folder),
        convc(*plan, "--weights", "plain.safetensors", cwd=folder),
    )
    assert (seen.code, unseen.code) == (0, 0), seen.err
    assert NORMALIZED in seen.err
    errors = [[line["relative"] for line in json.loads(done.out)["outputs"]] for done in (seen, unseen)]
    assert errors[0] != errors[1]
    assert said_in(folder / "p.safetensors") == SAID
    refused = convc(*plan, *weights, "--imagenet", cwd=folder)
    assert (refused.code, "leave that out" in refused.err) == (2, True)


@pytest.mark.parametrize(
    "words", [("export", "-o", "x.onnx"), ("compile", "-o", "made", "-t", "cuda:sm_80", "--no-check", "--batches", "1")]
)
def test_what_leaves_the_range_of_fp16_once_normalized(folder, words):
    say(folder, {"mean": [0.5], "deviation": [1e-6]})
    command, *rest = words
    done = convc(command, "net.cir", "--weights", "w.safetensors", "--precision", "fp16", *rest, *CALIBRATION, cwd=folder)
    assert NORMALIZED in done.err
    assert "stays in float32: " in done.err
    assert "the range ends at 65504" in done.err


def test_weights_that_are_written_keep_what_they_say(folder):
    words = ("export", "net.cir", "--weights", "w.safetensors", "-o")
    done = convc(*words, "again.safetensors", cwd=folder)
    assert (done.code, "warning" in done.err, said_in(folder / "again.safetensors")) == (0, False, SAID)
    done = convc(*words, "again.npz", cwd=folder)
    assert (done.code, "warning: 'again.npz' has no place for how pictures are normalized" in done.err) == (0, True)


@pytest.mark.parametrize(
    "words",
    [
        ("export", "-o", "x.onnx"),
        ("compile", "-o", "made", "--no-check"),
        ("plan", "--macs", "0.9", "--ends", "--no-measure", "-o", "x.onnx"),
    ],
)
def test_what_has_no_place_for_it_says_how_to_run(folder, words):
    command, *rest = words
    done = convc(command, "net.cir", "--weights", "w.safetensors", *rest, cwd=folder)
    assert done.code == 0, done.err
    lost = "has no place for how pictures are normalized by mean 0.5, deviation 0.25; 2 classes have names"
    assert f"warning: '{rest[rest.index('-o') + 1]}' {lost}; run it with --mean 0.5 --std 0.25 --labels FILE" in done.err
    assert "no place" not in convc(command, "net.cir", "--weights", "plain.safetensors", *rest, cwd=folder).err


def test_a_planned_step_is_the_file_that_export_writes(folder):
    weights = ("--weights", "w.safetensors")
    assert convc("plan", "net.cir", *weights, "--memory", "0.9", "-o", "p.onnx", cwd=folder).code == 0
    assert convc("export", "net.cir", *weights, "--training", "--memory", "0.9", "-o", "e.onnx", cwd=folder).code == 0
    assert (folder / "p.onnx").read_bytes() == (folder / "e.onnx").read_bytes()
    assert json.loads({entry.key: entry.value for entry in onnx.load(folder / "p.onnx").metadata_props}["convc.mean"]) == [0.5]


WRONG = [
    ('{"mean": [1%s], "deviation": [1]}' % ("0" * 400), "'mean' has inf, expected a number from -1e+18 to 1e+18"),
    ('{"mean": [1%s], "deviation": [1]}' % ("0" * 5000), "'mean' has inf, "),
    ('{"mean": [1e300], "deviation": [1]}', "'mean' has 1e+300, "),
    ('{"mean": [NaN], "deviation": [1]}', "'mean' has nan, "),
    ('{"mean": [true], "deviation": [1]}', "'mean' has True, "),
    ('{"mean": ["5"], "deviation": [1]}', "'mean' has 5, "),
    ('{"mean": "5", "deviation": "1"}', "'mean' is 5, expected a list of numbers, one for each channel"),
    ('{"mean": {"0.5": 1}, "deviation": [1]}', "'mean' is {'0.5': 1.0}, expected a list"),
    ('{"mean": [], "deviation": []}', "'mean' is empty"),
    ('{"mean": [0], "deviation": [1e-300]}', "'deviation' has 1e-300, expected a number from 1e-18 to 1e+18"),
    ('{"mean": [0], "deviation": [0.0]}', "'deviation' has 0.0, "),
    ('{"mean": [0], "deviation": 1}', "'deviation' is 1.0, expected a list"),
    ('{"mean": [0]}', "'deviation' is missing, expected a list"),
    ('{"mean": [0], "deviation": [1, 1]}', "'deviation' has 2 numbers, and 'mean' 1"),
    ('{"mean": [0, 0, 0], "deviation": [1, 1, 1]}', "'mean' has 3 numbers, and the network takes pictures of 1 channels"),
    ('{"mean": [0], "deviation": [1], "classes": "abcdefghij"}', "'classes' is abcdefghij, expected a list of texts"),
    ('{"mean": [0], "deviation": [1], "classes": {"a": 1}}', "'classes' is {'a': 1.0}, expected a list"),
    ('{"mean": [0], "deviation": [1], "classes": null}', "'classes' is None, expected a list"),
    ('{"mean": [0], "deviation": [1], "classes": ["a", 1]}', "'classes' has 1.0, which is no text"),
    (
        json.dumps({"mean": [0], "deviation": [1], "classes": [""] * (MOST + 1)}),
        "'classes' has 1,048,577 entries, expected at most 1,048,576",
    ),
    ("{", "Expecting property name"),
    ("[" * 100_000, "recursion"),
]


@pytest.mark.parametrize(("said", "why"), WRONG, ids=[why[:40] for _, why in WRONG])
def test_what_weights_say_that_cannot_be(tmp_path, said, why):
    path = tmp_path / "w.safetensors"
    save_file({"w": np.zeros(1, np.float32)}, path, {"convc": said})
    with pytest.raises(InvalidInput) as error:
        entering_of(path, GRAPH)
    assert str(error.value).startswith(f"'{path}' says in its metadata, under 'convc', how pictures enter, and that cannot be: ")
    assert why in str(error.value)
    assert len(str(error.value)) < 400 + len(str(path))


def test_a_sentence_blames_the_weights(folder):
    say(folder, WRONG[0][0])
    done = convc("run", "net.cir", "--weights", "w.safetensors", "-b", "reference", "-i", "photo.png", cwd=folder)
    assert (done.code, done.out) == (3, "")
    assert "'w.safetensors' says in its metadata, under 'convc'" in done.err
    assert "Traceback" not in done.err


def test_what_convc_train_writes_of_pictures_of_one_colour_is_read(tmp_path):
    """Their deviation is the least that is written."""
    path, entering = tmp_path / "w.safetensors", Entering((0.5,), (float(np.sqrt(np.float32(1e-12))),), ("a",))
    save_file({"w": np.zeros(1, np.float32)}, path, entering.metadata)
    assert entering_of(path, GRAPH) == entering


def test_plans_prepare_photographs_as_run_does(folder):
    """And an applied plan as that which was made, whose file says how."""
    plan = ("plan", "net.cir", "--weights", "plain.safetensors", "--ends", "--no-measure", "--runs", "1", "--images", "4", "--json")
    made = ("--macs", "0.7", *CALIBRATION)
    ways = {
        "weights": (*made, "--weights", "w.safetensors"),
        "numbers": (*made, "--mean", "0.5", "--std", "0.25", "-o", "plan.json"),
        "none": (*made, "--weights", "w.safetensors", "--preprocess", "none"),
        "plain": made,
        "applied": ("--apply", "plan.json"),
        "scaled": (*made, "--resize"),
    }
    outputs = {}
    for name, words in ways.items():
        shared = plan if "--weights" not in words else [word for word in plan if word not in ("--weights", "plain.safetensors")]
        done = convc(*shared, *words, cwd=folder)
        assert done.code == 0, done.err
        outputs[name] = json.dumps(json.loads(done.out)["outputs"])
    assert outputs["weights"] == outputs["numbers"] == outputs["applied"] != outputs["plain"] == outputs["none"] != outputs["scaled"]
    kept = json.loads((folder / "plan.json").read_text())
    assert {name: kept[name] for name in ("mean", "std", "preprocess", "resize", "imagenet")} == {
        "mean": [0.5], "std": [0.25], "preprocess": None, "resize": False, "imagenet": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mean", "0.5"), "say how photographs are prepared; give some with --calibration"),
        ((*CALIBRATION, "--mean", "0.5,0.5,0.5"), "1 channels, and 3 are normalized, by --mean and --std"),
        ((*CALIBRATION, "--mean", "0.5", "--imagenet"), "leave one out"),
    ],
)
def test_preparations_that_cannot_be(folder, words, said):
    done = convc("-q", "plan", "net.cir", "--macs", "0.7", "--ends", "--no-measure", *words, cwd=folder)
    assert (done.code in (2, 3), len(done.err.strip().splitlines()), said in done.err) == (True, 1, True), done.err


@pytest.mark.parametrize("scaled", [1.0, 1.25, None])
def test_crops_show_things_as_large_as_a_run_does(tmp_path, scaled):
    """A ramp of one level a column: the step between columns of a crop is that of its scale."""
    for name in ("a", "b"):
        Image.fromarray(np.tile(np.arange(0, 200, 2, np.uint8), (100, 1))).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / f"{name}.png") for name in ("a", "b")]
    found = read_calibration(typed_graph(NET.replace("8,8]", "20,20]")), files, 8, preparing=Preparing(scaled)).fit["image"]
    steps = {round(float(abs(np.diff(crop[0, 10, 5:15])).mean() * 255 / 2), 1) for crop in found}
    assert (steps == {5.0 / scaled}) if scaled else (len(steps) > 4)
