"""Each command as a user calls it, in a process of its own."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
from PIL import Image

from convc.models import ZOO
from convc.tests.support.places import PHOTO
from convc.tests.support.shell import convc

TINY = """
import convc as cc
from convc import conv, dense, global_avg_pool, relu, softmax

@cc.network(image="N,3,32,32")
def tiny(image, classes=10):
    return softmax(dense(global_avg_pool(relu(conv(image, 8, 3, pad="same"))), classes))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "lenet"
    done = convc("compile", "lenet5", "-o", path)
    assert done.code == 0, done.err
    return path


def test_models_lists_the_zoo():
    done = convc("models", "--json")
    assert [row["name"] for row in json.loads(done.out)["networks"]] == list(ZOO)
    assert convc("models").out.count("\n") == len(ZOO)


def test_doctor_finds_three_backends():
    done = convc("doctor", "--json")
    assert done.code == 0
    found = json.loads(done.out)["found"]
    assert not any(found[name].startswith("missing") for name in ("reference", "onnx", "tvm"))


def test_summary_of_vgg16_is_the_courses_table():
    out = convc("summary", "vgg16").out
    assert "CONV3-64:   [224x224x64]   memory: 224*224*64=3.21M   params: (3*3*3)*64 = 1,728" in out
    assert "FC:         [1x1x4096]     memory: 4096               params: 7*7*512*4096 = 102,760,448" in out
    assert "TOTAL memory: 15,237,608 values * 4 bytes = 58.1 MiB / image" in out
    assert "TOTAL params: 138,344,128 weights" in out
    assert "15,470,264,320 multiply-adds" in out


def test_summary_notes_what_is_never_read(tmp_path):
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[N,1,7,7]) {\n  %p = max_pool(%x) {kernel=[3,3], strides=[3,3]}\n  return %p\n}\n")
    done = convc("summary", tmp_path / "net.cir")
    assert "the last 1 rows are never read" in done.err
    refused = convc("summary", tmp_path / "net.cir", "--strict-windows")
    assert refused.code == 3
    assert "window 3 with stride 3 does not fit 7 padded rows (1/3 of a step remain)" in refused.err


def test_summary_of_a_batch_that_cannot_be_one(tmp_path):
    """It once ended with an AssertionError; figures are of one image even so, and where a batch is the square of a name."""
    for shape, named, total in (("N,3,N-5,8", "24*N-120 = 72", "N=8"), ("N*N,3,4,4", "48", "N=32")):
        (tmp_path / "net.cir").write_text(f"graph @g(%x: f32[{shape}]) {{\n  %y = relu(%x)\n  return %y\n}}\n")
        done = convc("summary", tmp_path / "net.cir")
        assert done.code == 0, done.err
        assert f"{named} values * 4 bytes = " in done.out, done.out
        assert f"/ image, where {total}" in done.out


def test_summary_takes_other_sizes_and_options():
    layers = json.loads(convc("summary", "resnet18", "--input", "image:N,3,96,96", "--set", "classes=7", "--json").out)["layers"]
    assert layers[0]["shape"] == [1, 3, 96, 96]
    assert layers[-1]["shape"] == [1, 7]


def test_inspect_shows_what_each_pass_did():
    out = convc("inspect", "resnet18", "-O2", "--diff").out
    assert "fuse-conv-bn: 20 rewrites" in out
    assert "ops: batch_norm 20 -> 0" in out
    assert "    -  %bn1 = batch_norm(" in out
    assert "    +  %bn1 = conv2d(%image, %bn1.w, %bn1.b) {strides=[2,2], pads=[3,3,3,3]} : f32[N,64,112,112]" in out
    stages = json.loads(convc("inspect", "resnet18", "--json").out)["passes"]
    assert [stage["pass"] for stage in stages][-1] == "eliminate-dead"
    assert len(next(stage for stage in stages if stage["pass"] == "fuse-conv-bn")["rewrites"]) == 20


def test_inspect_prints_what_a_pass_declined_under_the_pass(tmp_path):
    text = "graph @g(%x: f32[1,64,56,56]) {\n  %v = param : f32[8,64,1,1]\n  %w = param : f32[64,8,1,1]\n  %a = conv2d(%x, %v)\n"
    (tmp_path / "net.cir").write_text(text + "  %y = conv2d(%a, %w)\n  return %y\n}\n")
    done = convc("-v", "inspect", "net.cir", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("compose-linear: "))
    assert lines[at + 1].startswith("    why: ")
    assert lines[at + 2].startswith("    declined at %y: both take ")
    assert "declined, for reasons that -v gives: 1 by compose-linear" in (plain := convc("inspect", "net.cir", cwd=tmp_path).out)
    assert "declined at" not in plain
    assert "compose-linear declined at %y: " in convc("-v", "inspect", "net.cir", "--ir", cwd=tmp_path).err


def test_inspect_can_stop_and_skip():
    out = convc("inspect", "resnet18", "--max-rewrites", "fuse-conv-bn=3").out
    assert "fuse-conv-bn: 3 rewrites" in out
    left = json.loads(convc("inspect", "resnet18", "--skip", "fuse-conv-bn", "--list-passes", "--json").out)["passes"]
    assert "fuse-conv-bn" not in [row["pass"] for row in left]
    assert re.search("^eliminate-dead +last: ", convc("inspect", "resnet18", "--list-passes").out, re.MULTILINE)


def test_opt_is_text_in_text_out():
    text = "graph @g(%x: f32[N,4]) {\n  %d = dropout(%x)\n  %y = relu(%d)\n  return %y\n}\n"
    done = convc("opt", "-", "-p", "infer-shapes,drop-identity", stdin=text)
    assert done.out == "graph @g(%x: f32[N,4]) {\n  %y = relu(%x) : f32[N,4]\n  return %y\n}\n"


def test_export_writes_a_model_that_onnx_accepts(tmp_path):
    done = convc("export", "resnet20", "-o", tmp_path / "net.onnx", "--opset", "17")
    assert done.code == 0
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 17
    assert "cifar_resnet.py:" in model.graph.node[0].doc_string


def test_a_network_from_a_file(tmp_path):
    (tmp_path / "net.py").write_text(TINY)
    done = convc("summary", "net.py:tiny", "--set", "classes=5", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "[1x1x5]" in done.out


def test_compile_writes_a_whole_artifact(bundle):
    names = {"model.cir", "model.onnx", "model.so", "model.one.so", "weights.safetensors", "weights.packed", "manifest.json", "report.txt"}
    names |= {"convc.h", "convc.c", "processor.h", "digest.h", "tvm_calls.h", "model.h", "example.c"}
    assert {file.name for file in bundle.iterdir()} == names
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["schema"] == 4
    assert set(manifest["files"]) == names - {"manifest.json"}
    assert manifest["inputs"] == {"image": "f32[N,1,32,32]"}
    assert "apache-tvm" in manifest["versions"]
    report = (bundle / "report.txt").read_text()
    assert all(f"{engine}: softmax1 agrees" in report for engine in ("reference", "onnx", "tvm"))
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name], "something temporary was left"


def test_run_takes_the_artifact_back_on_every_backend(bundle, tmp_path):
    image = np.random.default_rng(0).random((3, 1, 32, 32), dtype=np.float32)
    np.savez(tmp_path / "x.npz", image=image)
    results = {}
    for backend in ("reference", "onnx", "tvm"):
        done = convc("run", bundle, "-i", tmp_path / "x.npz", "--backend", backend, "-o", tmp_path / f"{backend}.npz")
        assert done.code == 0, done.err
        results[backend] = np.load(tmp_path / f"{backend}.npz")["softmax1"]
    assert results["tvm"].shape == (3, 10)
    for other in ("onnx", "tvm"):
        np.testing.assert_allclose(results["reference"], results[other], rtol=1e-5)


def test_run_writes_pictures(tmp_path):
    done = convc("run", "filters", "-i", PHOTO, "--backend", "reference", "-o", tmp_path / "cat.png")
    assert done.code == 0, done.err
    edges = Image.open(tmp_path / "cat.edges_outer.png")
    assert (edges.size, edges.mode) == ((451, 300), "RGB")
    assert 5 < np.asarray(edges).mean() < 60, "edges are dark pictures with some bright lines"


def test_run_says_what_is_random():
    done = convc("run", "lenet5", "-b", "reference")
    assert "class " in done.out
    note = "note: the weights and inputs of @lenet5 are random, and so is what it says; give --weights FILE and -i FILE"
    assert done.err.splitlines() == [note]


def test_run_says_what_is_no_number(tmp_path):
    (tmp_path / "n.cir").write_text("graph @n(%x: f32[2,3]) { %y = log(%x) %z = exp(%x) return %y, %z }")
    np.save(tmp_path / "x.npy", np.array([[1, 0, -1], [2, 3, 4]], np.float32))
    done = convc("run", "n.cir", "-i", "x.npy", "--backend", "reference", cwd=tmp_path)
    note = (
        "note: 2 of 6 values of 'y' are NaN or infinite, of inputs that are finite; "
        "`convc verify` says of each engine whether float64 has them so"
    )
    assert (done.code, done.err.splitlines()) == (0, [note])  # and nothing of random weights, since there are none


def test_run_prints_top_classes():
    record = json.loads(convc("run", "lenet5", "--backend", "reference", "--json", "--top", "2").out)["outputs"]
    assert len(record["softmax1"]["top"][0]) == 2


def test_verify_of_two_networks(tmp_path):
    for name, slope in (("a", "0.1"), ("b", "0.1"), ("c", "0.2")):
        (tmp_path / f"{name}.cir").write_text(
            f"graph @g(%x: f32[N,4]) {{\n  %t = tanh(%x)\n  %n = sub(%t, %x)\n  %y = leaky_relu(%n) {{alpha={slope}}}\n  return %y\n}}\n"
        )
    assert convc("verify", tmp_path / "a.cir", tmp_path / "b.cir").code == 0
    differs = convc("verify", tmp_path / "a.cir", tmp_path / "c.cir")
    assert differs.code == 1
    assert "y DIFFERS" in differs.err


def test_verify_of_an_artifact(bundle):
    done = convc("verify", bundle, "--json")
    assert done.code == 0, done.err
    assert {line["engine"] for line in json.loads(done.out)["results"]} == {"reference", "onnx", "tvm"}


def test_cuda_artifacts_are_made_without_a_gpu(tmp_path):
    done = convc("compile", "shared", "-t", "cuda:sm_80", "-o", tmp_path / "net")
    assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "net" / "manifest.json").read_text())
    assert "__global__" in (tmp_path / "net" / manifest["target"]["source"]).read_text()
    assert manifest["target"]["check"]
    assert manifest["target"]["architecture"] == json.loads(manifest["target"]["tvm"])["arch"] == "sm_80"
    assert manifest["target"]["cubin"] in (None, "model.cubin")
    ran = convc("run", tmp_path / "net", "--backend", "tvm")
    assert ran.code in (0, 5), ran.err
    if ran.code == 5:
        assert "no CUDA device is here" in ran.err
    for backend in ("reference", "onnx"):  # onnxruntime runs on the CPU where its CUDA provider does not load
        assert convc("run", tmp_path / "net", "--backend", backend).code == 0


def test_an_unknown_gpu_is_refused_before_the_network_is_read(tmp_path):
    done = convc("compile", "nowhere.onnx", "-t", "cuda:sm_70", "-o", tmp_path / "net")
    assert done.code == 2
    assert "unknown target 'cuda:sm_70'; known are cuda:sm_80, cuda:sm_86, " in done.err
