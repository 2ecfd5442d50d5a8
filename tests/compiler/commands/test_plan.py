"""`convc plan` as a user calls it: budgets, certificates, plans that are edited and applied, advice, refusals."""

from __future__ import annotations

import json
import os
from xml.etree import ElementTree

import numpy as np
import pytest

from convc.compiler.planning.advice import PUBLISHED
from convc.compiler.planning.budget import Budget
from convc.compiler.planning.certificate import Certificate, LayerErrors, OutputErrors, beyond, far_off
from convc.models.googlenet import STAGES
from convc.tests.support.places import DATA
from convc.tests.support.shell import convc, refused

PHOTOS = [word for name in ("coffee", "cat") for word in ("--calibration", str(DATA / f"{name}.jpg"))]
NET = """
import convc as cc
from convc import conv, dense, global_avg_pool, max_pool, relu, softmax

@cc.network(image="N,3,32,32")
def net(image, classes=10, width=32):
    x = relu(conv(image, 16, 3, pad="same", name="a"))
    x = max_pool(relu(conv(x, width, 3, pad="same", name="b")), 2)
    x = relu(conv(relu(conv(x, width, 3, pad="same", name="c")), 2 * width, 1, name="d"))
    return softmax(dense(global_avg_pool(x), classes, name="e"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan")
    (path / "net.py").write_text(NET)
    done = convc("plan", "net.py:net", "--macs", "0.5", *PHOTOS, "--images", "8", "--no-measure", "--json",
                 "-o", "plan.json", "-o", "net.onnx", "-o", "net.cir", "--save-weights", "w.safetensors", "-o", "f.svg", cwd=path)  # fmt: skip
    assert done.code == 0, done.err
    (path / "out.json").write_text(done.out)
    return path


def test_the_budget_is_met_and_the_certificate_says_what_it_costs(folder):
    found = json.loads((folder / "out.json").read_text())
    before, after = found["costs"]["macs"]
    assert 0.4 * before <= after <= 0.5 * before
    assert found["missed"] == 0
    summary = json.loads(convc("summary", "net.onnx", "--json", cwd=folder).out)
    assert summary["totals"]["macs"] == after
    assert {line["inputs"] for line in found["outputs"]} == {"calibration", "held out"}
    for line in found["outputs"]:
        assert line["relative"] <= 3 * line["predicted"]
    for layer in found["layers"]:
        assert layer["predicted"] / 2 <= layer["measured"] <= layer["predicted"] * 2
    assert {layer["name"] for layer in found["layers"]} <= {"b", "c", "d"}  # the first and last stay
    assert found["latency_ms"]["onnx"][0] > 0


def test_a_planned_network_is_a_network(folder):
    """What was written as text with weights, and as ONNX, is one network; it runs, and says where its layers came from."""
    done = convc("verify", "net.cir", "net.onnx", "--weights", "w.safetensors", cwd=folder)
    assert done.code == 0, done.err
    assert 'from "c"' in (folder / "net.cir").read_text()


def test_the_picture_is_svg(folder):
    root = ElementTree.fromstring((folder / "f.svg").read_text())
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{*}circle")) == 3  # predicted, and measured on both kinds of inputs


def test_a_plan_is_edited_and_applied_again(folder):
    again = convc("plan", "net.py:net", "--apply", "plan.json", "--json", "-o", "again.json", cwd=folder)
    assert again.code == 0, again.err
    first, second = (json.loads((folder / name).read_text()) for name in ("plan.json", "again.json"))
    assert first["layers"] == second["layers"]
    assert json.loads(again.out)["outputs"] == first["certificate"]["outputs"]
    edited = {**first, "layers": {"c": {"form": "both", "ranks": [8, 8]}}}
    (folder / "edited.json").write_text(json.dumps(edited))
    done = convc("plan", "net.py:net", "--apply", "edited.json", "--json", cwd=folder)
    assert [layer["split"] for layer in json.loads(done.out)["layers"]] == ["both 8x8"]


def test_a_pipe_takes_the_plan(folder, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    done = convc("plan", "net.py:net", "--params", "0.7", "-o", tmp_path / "pipe", cwd=folder)
    assert done.code == 0, done.err
    assert json.loads(os.read(reader, 1 << 16))["budget"] == "params 0.7"
    os.close(reader)


def test_of_weights_alone_nothing_is_predicted(folder):
    """Once 3.5e-06 was, of layers that then lost 0.036."""
    done = convc("plan", "net.py:net", "--macs", "0.5", "--no-measure", "--runs", "1", cwd=folder)
    assert "measured on random inputs and not predicted" in done.err
    assert [line[:7] for line in done.err.splitlines() if " of 3: " in line] == ["1 of 3:", "2 of 3:", "3 of 3:"]
    assert "output error on 4 random: not predicted, measured 0." in done.out
    rows = [line.split() for line in done.out.splitlines() if line.split()[0] in "bcd"]
    assert rows
    assert {row[-3] for row in rows} == {"-"}
    assert "was predicted" not in done.err


def test_what_is_far_from_its_prediction_is_said():
    layers = [LayerErrors("near", "", 0.1, 0.25, 0.3), LayerErrors("far", "", 0.07, 0.93, 1.0), LayerErrors("small", "", 1e-6, 1e-3, 1e-3)]
    outputs = [OutputErrors("held out", 4, 0.01, 0.02, None, None, None), OutputErrors("calibration", 4, 0.01, 0.4, None, None, None)]
    found = list(far_off(Certificate(layers, outputs, {}, {})))
    assert [line.split(";")[0] for line in found] == [
        "far: an error of 0.07 was predicted and 0.93 measured",
        "the outputs on 4 calibration: an error of 0.01 was predicted and 0.4 measured",
    ]


def test_a_bound_that_held_out_inputs_break_is_said_and_one_in_which_nothing_fits(folder):
    outputs = [OutputErrors(inputs, 4, 0.03, error, None, None, None) for inputs, error in (("calibration", 0.0499), ("held out", 0.0558))]
    found = Certificate([LayerErrors("a", "", 0.1, 0.1, 0.1)], outputs, {}, {})
    (said,) = beyond(found, Budget("error", 0.05))
    assert said.startswith("the output error on 4 held out, 0.0558, is above --error 0.05, which holds on calibration inputs; ")
    assert [*beyond(found, Budget("macs", 0.05)), *beyond(found, None)] == []
    done = convc("plan", "net.py:net", "--error", "1e-7", "--no-measure", "--runs", "1", cwd=folder)
    assert done.code == 0, done.err
    assert "warning: nothing was split: nothing that saves multiply-adds fits in --error 1e-07" in done.err


def test_an_error_bound_and_other_budgets(folder):
    tight, loose = (
        json.loads(convc("plan", "net.py:net", "--error", error, "--no-measure", "--json", cwd=folder).out)["costs"]["macs"]
        for error in ("0.02", "0.3")
    )
    assert loose[1] < tight[1] <= tight[0]
    done = convc("plan", "net.py:net", "--params", "0.7", "--exclude", "c", "--json", cwd=folder)
    found = json.loads(done.out)
    assert found["costs"]["params"][1] <= 0.7 * found["costs"]["params"][0]
    assert "c" not in {layer["name"] for layer in found["layers"]}
    done = convc("plan", "net.py:net", "--latency", "0.8", "--no-measure", "--json", cwd=folder)
    assert done.code == 0, done.err


def test_advice_is_googlenets_table():
    found = {m["name"].removeprefix("inception_"): m for m in json.loads(convc("plan", "googlenet", "--advise", "--json").out)["modules"]}
    published = {"3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170, "5a": 51, "5b": 71}  # NETWORKS.md, true
    assert {name: module["reduced_macs"] // 10**5 / 10 for name, module in found.items()} == pytest.approx(published, rel=0.01)
    assert (found["3a"]["naive_macs"], found["4e"]["naive_macs"]) == (303_464_448, 655_699_968)
    naive = json.loads(convc("plan", "googlenet_naive", "--advise", "--json").out)["modules"]
    assert (naive[0]["naive_macs"], naive[0]["reduced_macs"], naive[0]["here"]) == (303_464_448, found["3a"]["reduced_macs"], "naive")
    assert "303.5M  128.0M" in " ".join(convc("plan", "googlenet", "--advise").out.split()).replace(" ", "  ")


def test_published_reductions_are_the_zoos():
    rows = [widths for stage in STAGES for widths in stage.values()]
    assert {(w.conv1, w.conv3, w.conv5): (w.reduce3, w.reduce5, w.project) for w in rows} == PUBLISHED


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["--macs", "0.01"], 2, ("--macs 0.01 cannot be met", "at the smallest ranks 0.", "; give a larger --macs, exclude")),
        (["--macs", "0.5", "--params", "0.5"], 2, ("give one of",)),
        ([], 2, ("give one of",)),
        (["--macs", "0.5", "--exclude", "bb"], 2, ("--exclude bb", "no such layer", "did you mean 'b'")),
        (["--macs", "0.5", "-o", "plan.toml"], 2, ("plan.toml", ".json")),
        (["--macs", "0.5", "--calibration", "shape.npz"], 3, ("shape.npz", "[8, 3, 31, 32]", "f32[N,3,32,32]")),
        (["--macs", "0.5", "--calibration", "same.npz"], 3, ("same.npz", "1 distinct input", "at least 2")),
        (["--macs", "0.5", "--calibration", "nan.npz"], 3, ("nan.npz", "NaN")),
        (["--macs", "0.5", "--calibration", "number.npz"], 3, ("'number.npz': 'image' is a single number", "along the first axis")),
        (["--macs", "0.5", "--calibration", "same.npz", "--calibration", str(DATA / "cat.jpg")], 2, ("not both", "same.npz")),
        (["--macs", "0.5", "--weights", "zero.safetensors"], 3, ("%c = conv2d", "all zero")),
        (["--macs", "0.5", "--weights", "nan.safetensors"], 3, ("%c.w", "weights are NaN;")),
        (["--macs", "0.5", "--weights", "infinite.safetensors"], 3, ("%c = conv2d", "NaN or infinite")),
        (["--apply", "net.py"], 3, ("net.py", "cannot be read as a plan")),
        (["--apply", "form.json"], 3, ("layer 'd' cannot be 'both'", "factors")),
        (["--apply", "layer.json"], 3, ("no layer 'cc'", "did you mean 'c'")),
        (["--apply", "rank.json"], 3, ("layer 'c' has input rank 33", "at most 32")),
        (["--apply", "dense.json"], 3, ("layer 'd' has rank 4000, and at most",)),
        (["--apply", "another.json"], 3, ("@net has no layer 'cc' to split; it is a plan of @resnet50",)),
        (["--apply", "key.json"], 3, ("no entry 'layer'",)),
    ],
)
def test_refusals(folder, words, code, complaint):
    draws = np.random.default_rng(0)
    arrays = {"shape": (8, 3, 31, 32), "same": (1, 3, 32, 32), "nan": (8, 3, 32, 32)}
    for name, shape in arrays.items():
        values = draws.random(shape).astype(np.float64 if name == "same" else np.float32)  # which is cast
        values[0, 0, 0, 0] = np.nan if name == "nan" else 0
        np.savez(folder / f"{name}.npz", image=np.repeat(values, 8, axis=0) if name == "same" else values)
    np.savez(folder / "number.npz", image=np.float32(3))
    plans = {"form": {"d": {"form": "both", "ranks": [2, 2]}}, "layer": {"cc": {"form": "reduce", "ranks": [2]}}}
    plans |= {"rank": {"c": {"form": "reduce", "ranks": [33]}}, "dense": {"d": {"form": "factors", "ranks": [4000]}}}
    for name, layers in plans.items():
        (folder / f"{name}.json").write_text(json.dumps({"layers": layers}))
    (folder / "another.json").write_text(json.dumps({"network": "resnet50", "layers": plans["layer"]}))
    (folder / "key.json").write_text('{"layers": {}, "layer": {}}')
    if "--weights" in words:
        _weights(folder)
    done = convc("-q", "plan", "net.py:net", "--no-measure", *words, cwd=folder)
    refused(done, code, *complaint)


def _weights(folder):
    from safetensors.numpy import load_file, save_file

    assert convc("export", "net.py:net", "-o", "own.safetensors", cwd=folder).code == 0
    own = load_file(folder / "own.safetensors")
    save_file({**own, "c.w": np.zeros_like(own["c.w"])}, folder / "zero.safetensors")
    save_file({**own, "c.w": np.full_like(own["c.w"], np.nan)}, folder / "nan.safetensors")
    save_file({**own, "c.w": np.full_like(own["c.w"], np.inf)}, folder / "infinite.safetensors")
