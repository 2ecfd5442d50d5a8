"""Bad input: one sentence, the documented exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shell import convc, refused

PHOTO = Path(__file__).parent.parent / "data" / "cat.jpg"
HEAD = "import convc as cc\nfrom convc import conv, relu\n\n"
RELU = "graph @g(%x: f32[N,4]) {\n  %y = relu(%x)\n  return %y\n}\n"


@pytest.fixture
def net(tmp_path):
    def write(body):
        (tmp_path / "net.py").write_text(HEAD + body)
        return f"{tmp_path / 'net.py'}:net"

    return write


def test_unknown_model():
    refused(convc("summary", "resnet5"), 2, "unknown model 'resnet5'", "did you mean", "resnet50")


def test_unknown_command():
    refused(convc("sumary", "lenet5"), 2, "unknown command 'sumary'; did you mean 'summary'?")
    refused(convc("frobnicate"), 2, "unknown command 'frobnicate'; see `convc --help`")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("summary", "lenet5", "-O2", "-O3"), "-O is given twice; give it once"),
        (("compile", "lenet5", "-o", "x", "--output", "y"), "--output is given twice; give it once"),
        (("plan", "lenet5", "--macs", "0.5", "--macs=0.4"), "--macs is given twice; give it once"),
        (("verify", "lenet5", "--backends", "tvm", "--backends", "onnx"), "--backends is given twice; name several with commas: tvm,onnx"),
        (("bench", "lenet5", "-b", "tvm", "--backends", "onnx"), "--backends is given twice; name several with commas: tvm,onnx"),
        (("opt", "-", "-p", "dce", "-p", "cse"), "--passes is given twice; name several with commas: PASS,PASS"),
        (("verify", "lenet5", "--seed", "1", "--seed", "1"), "--seed is given twice; give it once"),
        (("summary", "lenet5", "--set", "classes=5", "--set", "classes=3"), "--set classes is given twice; give it once"),
        (
            ("run", "filters", "-i", str(PHOTO), "-i", f"image={PHOTO}"),
            f"-i 'image={PHOTO}': input 'image' has been given before; give it once",
        ),
        (
            ("summary", "lenet5", "--input", "image:N,1,28,28", "--input", "image:N,1,32,32"),
            "--input image is given twice; give it once",
        ),
    ],
)
def test_an_option_that_is_given_twice(words, complaint):
    """Click would silently take the last one."""
    refused(convc(*words), 2, complaint)


def test_options_for_several_values_and_counters_may_be_repeated():
    done = convc("-vv", "opt", "-", "--skip", "fuse-conv-bn", "--skip", "fold-pad", stdin=RELU)
    assert done.code == 0, done.err


@pytest.mark.parametrize("path", ["net.onx", "build/nothere", "./resnet50"])
def test_what_looks_like_a_path_is_no_misspelt_model(path):
    refused(convc("summary", path), 2, f"there is no file or directory '{path}'\n")


def test_a_file_of_networks_needs_the_name_of_one(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("")
    refused(convc("summary", path), 2, f"'{path}' does not say which network of the file; add the function's name, as {path}:NAME\n")


@pytest.mark.parametrize(
    "words",
    [
        ("summary", "it.onnx"),
        ("summary", "it.py:net"),
        ("verify", "mlp", "it.cir"),
        ("diff", "it.onnx", "mlp"),
        ("opt", "it.cir"),
        ("optimize", "it.onnx", "out.onnx"),
        ("run", "./it/"),
        ("summary", "mlp", "--weights", "it.npz"),
        ("export", "mlp", "--weights", "it.safetensors", "-o", "out.onnx"),
        ("verify", "mlp", "mlp", "--other-weights", "it.npz"),
        ("run", "mlp", "-i", "it.npz"),
        ("run", "mlp", "-i", "image=it.jpg"),
        ("bisect", "mlp", "-i", "it.npz"),
        ("plan", "mlp", "--macs", "0.5", "--calibration", "it.npz"),
        ("plan", "mlp", "--macs", "0.5", "--calibration", "it.png"),
        ("plan", "mlp", "--apply", "it.json"),
    ],
    ids=" ".join,
)
def test_a_path_that_does_not_exist_is_wrong_usage_and_a_wrong_file_is_not(tmp_path, words):
    name = next(word for word in words if "it." in word or "/it/" in word).split(":")[0].removeprefix("image=")
    refused(convc(*words, cwd=tmp_path), 2, f"'{name}'")
    name = f"{name}manifest.json" if name.endswith("/") else name
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\xff is no (")
    refused(convc(*words, cwd=tmp_path), 3, Path(name).name)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    "words",
    [("export", "mlp", "-o", "none/out.npz"), ("opt", "-", "-o", "none/out.cir"), ("run", "mlp", "-o", "none/out.npz")],
    ids=" ".join,
)
def test_an_output_in_a_folder_that_does_not_exist(tmp_path, words):
    done = convc(*words, "--backend", "reference", cwd=tmp_path) if words[0] == "run" else convc(*words, cwd=tmp_path, stdin=RELU)
    refused(done, 2, "cannot write", "No such file or directory")


def test_unknown_option_of_a_model():
    refused(convc("summary", "resnet50", "--set", "clases=3"), 2, "resnet50 has no option 'clases'", "classes")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('@cc.network(x="N,3,8,8")\ndef net(x):\n    relu(x)\n', ("net.py:4", "network 'net' returns nothing", "`return`")),
        ('@cc.network(x="N,3,8,8")\ndef net(x):\n    return 3\n', ("returns a int, expected a value made by a layer",)),
        (
            '@cc.network(x="N,3,5,5")\ndef net(x):\n    return conv(x, 8, 7)\n',
            ("net.py:6", "kernel of extent 7 is larger than its padded input of 5", "pad by at least 2"),
        ),
        (
            '@cc.network(x="N,4,5,5")\ndef net(x):\n    return conv(x, 8, 3, groups=3)\n',
            ("net.py:6", "4 channels do not divide into 3 groups"),
        ),
        (
            '@cc.network(x="N,4,5,5", y="N,4,6,6")\ndef net(x, y):\n    return x + y\n',
            ("net.py:6", "f32[N,4,5,5] and f32[N,4,6,6] do not broadcast: 5 against 6"),
        ),
        (
            '@cc.network(x="N,4,5,5")\ndef net(x):\n    y = conv(x, 4, 3, weights="a")\n    return conv(y, 8, 3, weights="a")\n',
            ("net.py:7", "parameter 'a.w' is reused as f32[8,4,3,3]", "f32[4,4,3,3] (net.py:6)"),
        ),
        (
            '@cc.network(x="N,4,5,5")\ndef net(x):\n    return conv(x, 4, 3, pad="full")\n',
            ("net.py:6", "pad is 'full', expected 'same', 'valid'"),
        ),
        ('@cc.network(x="N,4,5,5")\ndef net(x):\n    return x.y\n', ("net.py:6", "AttributeError")),
        ('@cc.network(x="N,4,")\ndef net(x):\n    return x\n', ("input 'x'", "is not a dimension")),
    ],
)
def test_a_wrong_network(net, body, words):
    done = convc("summary", net(body))
    refused(done, 2 if "input 'x'" in words else 3, *words)


@pytest.mark.parametrize("call", ["conv(x, 8, stride=2)", "conv(x, 8, padding=1)", "mine(x, 8, stride=2)"])
def test_a_users_own_function_with_the_name_of_a_layer(net, call):
    own = "def conv(x, width):\n    return relu(x)\n\n" + ("mine, conv = conv, cc.conv\n" if "mine" in call else "")
    done = convc("summary", net(f'{own}@cc.network(x="N,4,5,5")\ndef net(x):\n    return {call}\n'))
    argument = call.split()[-1].split("=")[0]
    refused(done, 3, f"TypeError: conv() got an unexpected keyword argument '{argument}'")


def test_not_a_network(net):
    refused(convc("summary", net("def net(x):\n    return x\n")), 2, "'net'", "is not a network; decorate it with @network")
    refused(convc("summary", net("x = 1\n")), 2, "has no network 'net'")


def test_a_syntax_error_in_text_says_line_and_column(tmp_path):
    (tmp_path / "bad.cir").write_text(RELU.replace("relu", "rleu"))
    refused(convc("opt", tmp_path / "bad.cir"), 3, "bad.cir:2:8: unknown op 'rleu'; did you mean 'relu'?")
    (tmp_path / "bad.cir").write_text(RELU.replace("(%x)", "(%q)"))
    refused(convc("opt", tmp_path / "bad.cir"), 3, "bad.cir:2:13: %q is not defined")
    (tmp_path / "bad.cir").write_text(RELU.replace("relu(%x)", "relu(%y)"))
    refused(convc("opt", tmp_path / "bad.cir"), 3, "bad.cir:2:13: %y is used before its definition (a cycle")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("%y = reshape(%x) {shape=[3]}", "%y = reshape (bad.cir:3): "),
        ("%y = add(%x, %w)", "%y = add (bad.cir:3): shapes f32[2,4] and f32[3] do not broadcast"),
        ("%y = relu(%x) : f32[5]", "%y = relu (bad.cir:3) is written as f32[5], but its operands make it f32[2,4]"),
        ('%y = add(%x, %w) at "net.py:31"', "%y = add (net.py:31): "),
    ],
)
def test_a_type_error_in_text_says_the_line(tmp_path, text, complaint):
    (tmp_path / "bad.cir").write_text(f"graph @g(%x: f32[2,4]) {{\n  %w = param : f32[3]\n  {text}\n  return %y\n}}\n")
    for command in (("summary",), ("opt",)):
        refused(convc(*command, "bad.cir", cwd=tmp_path), 3, complaint)


def test_unknown_pass():
    refused(convc("inspect", "lenet5", "-p", "fuse-con-bn"), 2, "unknown pass 'fuse-con-bn'; did you mean 'fuse-conv-bn'?")


def test_unknown_backend():
    refused(convc("run", "lenet5", "--backend", "onx"), 2, "unknown backend 'onx'; did you mean 'onnx'?")


@pytest.mark.parametrize(("package", "backend"), [("onnxruntime", "onnx"), ("tvm", "tvm")])
def test_a_backend_that_is_not_installed(tmp_path, monkeypatch, package, backend):
    """A package of that name which cannot be imported stands in front of the real one."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    refused(convc("run", "lenet5", "--backend", backend), 5, "cannot be imported", "pip install")


@pytest.mark.parametrize("opset", ["12", "99"])
def test_an_opset_nobody_supports(tmp_path, opset):
    refused(convc("export", "lenet5", "-o", tmp_path / "net.onnx", "--opset", opset), 2, f"opset {opset} is not supported; choose 13 to")
    assert not list(tmp_path.iterdir())


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


class TestWeights:
    TEXT = "graph @g(%x: f32[N,4]) {\n  %w = param : f32[3,4]\n  %y = dense(%x, %w)\n  return %y\n}\n"

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"w": np.full((3, 4), np.nan, np.float32)}, ("%w = param", "12 of 12 weights are NaN;")),
            ({"w": np.zeros((4, 3), np.float32)}, ("of another shape or type w is [4, 3] float32, expected f32[3,4]",)),
            ({"v": np.zeros((3, 4), np.float32)}, ("missing w", "unknown v")),
        ],
    )
    def test_weights_that_do_not_fit(self, tmp_path, arrays, words):
        (tmp_path / "net.cir").write_text(self.TEXT)
        np.savez(tmp_path / "w.npz", **arrays)
        done = convc("export", tmp_path / "net.cir", "--weights", tmp_path / "w.npz", "-o", tmp_path / "net.onnx")
        refused(done, 3, *words)
        assert not (tmp_path / "net.onnx").exists()

    def test_a_damaged_file(self, tmp_path):
        (tmp_path / "net.cir").write_text(self.TEXT)
        (tmp_path / "w.safetensors").write_bytes(b"\xff" * 40)
        refused(
            convc("export", tmp_path / "net.cir", "--weights", tmp_path / "w.safetensors", "-o", tmp_path / "net.onnx"), 3, "is damaged"
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact") / "net"
    assert convc("compile", "mlp", "-o", path, "--no-check").code == 0
    return path


class TestArtifacts:
    @pytest.fixture
    def bundle(self, original, tmp_path):
        return Path(shutil.copytree(original, tmp_path / "net"))

    @pytest.mark.parametrize("name", ["model.cir", "model.onnx", "model.so", "weights.safetensors", "report.txt"])
    def test_missing_and_altered_files_are_named(self, bundle, name):
        with (bundle / name).open("ab") as file:
            file.write(b"\n")
        refused(convc("run", bundle), 3, f"{name} was altered after it was written")
        (bundle / name).unlink()
        refused(convc("run", bundle), 3, f"{name} is missing")

    @pytest.mark.parametrize(
        ("name", "backend"),
        [
            ("model.so", "tvm"),
            ("model.one.so", "tvm"),
            ("weights.packed", "tvm"),
            ("model.cir", "reference"),
            ("weights.safetensors", "reference"),
            ("model.onnx", "onnx"),
        ],
    )
    def test_a_byte_that_changed_where_it_is_read(self, bundle, name, backend):
        content = bytearray((bundle / name).read_bytes())
        content[-1] ^= 1
        (bundle / name).write_bytes(content)
        refused(convc("run", bundle, "--backend", backend), 3, f"{name} was altered after it was written")

    def test_a_library_that_the_manifest_does_not_name_is_left_alone(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        del manifest["files"]["model.one.so"]
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        (bundle / "model.one.so").write_text("not a library")
        assert convc("run", bundle).code == 0

    def test_verify_reads_all_files(self, bundle):
        report = bundle / "report.txt"
        report.write_bytes(report.read_bytes()[:-1] + b"!")
        refused(convc("verify", bundle), 3, "report.txt was altered after it was written")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("kind", "tpu"),
            ("kind", ["cpu"]),
            ("library", []),
            ("library", None),
            ("needs", 5),
            ("needs", [5]),
            ("needs", None),
            ("tiles", ["conv1"]),
            ("tiles", {"conv1": 3}),
            ("packed", None),
            ("packed", {}),
            ("packed", {"layout": 1, "bytes": 2, "entries": []}),
            ("packed", {"layout": "", "bytes": 64, "entries": {}}),
            ("packed", {"layout": "", "bytes": 128, "entries": [["w", 5, 64]]}),
            ("packed", {"layout": "", "bytes": 128, "entries": [["w", "f32[4]", 64.0]]}),
            ("packed", {"layout": "", "bytes": 128, "entries": [["w", "f32[4]"]]}),
        ],
    )
    def test_a_target_that_nobody_wrote(self, bundle, field, value):
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["target"][field] = value
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        refused(convc("run", bundle), 3, f"the target in manifest.json has no valid '{field}'; compile the network again")

    @pytest.mark.parametrize(
        ("type_", "offset"), [("f32[what", 64), ("f32[N]", 64), ("f33[4]", 64), ("f32[4]", -64), ("f32[4]", 0), ("f32[4]", 120)]
    )
    def test_weights_that_lie_nowhere(self, bundle, type_, offset):
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["target"]["packed"] = {"layout": "", "bytes": 128, "entries": [["w", type_, offset]]}
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        refused(convc("run", bundle), 3, "the manifest does not say where weights lie; compile the network again")

    def test_a_manifest_without_the_hash_of_a_file(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["files"]["model.so"]["sha256"] = None
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        refused(convc("run", bundle), 3, "manifest.json has files without a size or a hash; compile the network again")

    def test_a_manifest_that_does_not_name_the_weights(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        del manifest["files"]["weights.packed"]
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        refused(convc("run", bundle), 3, "manifest.json does not name weights.packed; compile the network again")

    def test_an_artifact_of_an_older_schema_gives_way_to_a_new_one(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        (bundle / "manifest.json").write_text(json.dumps({**manifest, "schema": 3}))
        refused(convc("run", bundle), 3, "has another schema than 4; compile the network again")
        assert convc("compile", "mlp", "-o", bundle, "--no-check").code == 0
        assert convc("run", bundle).code == 0

    def test_a_truncated_file(self, bundle):
        os.truncate(bundle / "weights.safetensors", 100)
        refused(convc("verify", bundle), 3, "weights.safetensors was altered")

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{", '{"schema": 2}', '{"schema": 1, "files": {}}', '{"schema": 1, "target": {"kind": "cpu"}, "files": {"../x": 1}}'],
    )
    def test_a_wrong_manifest(self, bundle, text):
        (bundle / "manifest.json").write_text(text)
        refused(convc("run", bundle), 3, "manifest.json")

    def test_a_file_outside_the_directory_is_never_opened(self, bundle):
        manifest = (bundle / "manifest.json").read_text()
        (bundle / "manifest.json").write_text(
            manifest.replace('"report.txt"', '"../report.txt"').replace('"files": {', '"files": {"report.txt": {"bytes": 0, "sha256": ""},')
        )
        refused(convc("run", bundle), 3, "report.txt")


@pytest.mark.parametrize("threads", ["0", "10000", "two"])
def test_threads_must_be_positive_and_few(threads):
    done = convc("run", "lenet5", "--threads", threads)
    assert done.code == 2
    assert "Invalid value for '--threads'" in done.err


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


class TestNamedSizes:
    def test_summary_wants_numbers(self):
        refused(convc("summary", "resnet18", "--input", "image:N,3,H,W"), 2, "the size H has no number", "--input image:N,3,224,224")

    def test_the_check_of_compile_takes_a_size_that_fits(self, tmp_path):
        done = convc("compile", "resnet20", "--input", "image:N,3,H,W", "-o", tmp_path / "net")
        assert done.code == 0, done.err
        np.savez(tmp_path / "tiny.npz", image=np.zeros((1, 3, 40, 24), np.float32))
        assert convc("run", tmp_path / "net", "-i", tmp_path / "tiny.npz").code == 0

    @pytest.mark.parametrize("backend", ["tvm", "onnx", "reference"])
    def test_a_picture_too_small_for_a_layer_is_refused_by_every_backend(self, tmp_path, backend):
        np.savez(tmp_path / "tiny.npz", image=np.zeros((1, 3, 2, 2), np.float32))
        done = convc("run", "googlenet", "--input", "image:N,3,H,W", "-i", tmp_path / "tiny.npz", "--backend", backend)
        refused(done, 3, "the network does not work with N=1, H=2, W=2", "larger than its padded input")

    def test_other_inputs_reach_the_attributes_of_a_text(self, tmp_path):
        text = "graph @g(%x: f32[N,2,H,4]) {\n  %r = resize(%x) {sizes=[2*H,8]}\n  %y = reshape(%r) {shape=[N,-1]}\n  return %y\n}\n"
        (tmp_path / "net.cir").write_text(text)
        for shape, want in (("1,2,3,4", "f32[1,96]"), ("B,2,3,4", "f32[B,96]"), ("N,2,5*W,4", "f32[N,160*W]")):
            done = convc("inspect", tmp_path / "net.cir", "--input", f"x:{shape}", "-O0", "--ir")
            assert f": {want}" in done.out, done.out + done.err
        assert convc("run", tmp_path / "net.cir", "--input", "x:1,2,3,4", "-b", "reference").code == 0

    def test_one_of_two_inputs_gives_both_their_size(self, tmp_path):
        (tmp_path / "net.cir").write_text("graph @g(%a: f32[N,2], %b: f32[N,2]) {\n  %y = expand(%b) {shape=[N,2]}\n  return %y, %a\n}\n")
        done = convc("inspect", tmp_path / "net.cir", "--input", "b:7,2", "-O0", "--ir")
        assert "%a: f32[7,2], %b: f32[7,2]" in done.out, done.out + done.err

    def test_names_of_inputs_may_hold_a_colon(self, tmp_path):
        (tmp_path / "net.cir").write_text('graph @g(%"x:0": f32[N,4]) {\n  %y = relu(%"x:0")\n  return %y\n}\n')
        done = convc("inspect", tmp_path / "net.cir", "--input", "x:0:3,4", "--ir")
        assert "f32[3,4]" in done.out, done.err

    def test_a_batch_in_numbers_is_still_counted_per_image(self):
        whole = convc("summary", "resnet18", "--input", "image:4,3,224,224").out
        assert whole == convc("summary", "resnet18").out


@pytest.mark.parametrize(("size", "seeds"), [(64, 1), (224, 2)])
def test_long_sums_of_one_sign_are_no_mismatch(tmp_path, size, seeds):
    """A float32 mean of 50,176 pixels is off by hundreds of roundings, in onnxruntime and TVM alike."""
    (tmp_path / "net.cir").write_text(f"graph @g(%x: f32[N,3,{size},{size}]) {{\n  %y = global_avg_pool(%x)\n  return %y\n}}\n")
    for seed in range(seeds):
        done = convc("verify", tmp_path / "net.cir", "--seed", seed)
        assert done.code == 0, done.out


def test_an_artifact_agrees_with_the_network_it_came_from(tmp_path):
    assert convc("compile", "resnet20", "-o", tmp_path / "net", "--no-check").code == 0
    done = convc("verify", tmp_path / "net", "resnet20")
    assert done.code == 0, done.err


def test_somebody_elses_directory_is_never_replaced(tmp_path, original):
    site = tmp_path / "site"
    site.mkdir()
    (site / "manifest.json").write_text('{"name": "my web app"}')
    (site / "app.js").write_text("mine")
    refused(convc("compile", "shared", "-o", site), 2, "holds what convc did not write there (app.js, manifest.json); choose another")
    assert (site / "app.js").read_text() == "mine"
    bundle = Path(shutil.copytree(original, tmp_path / "net"))
    (bundle / "notes.txt").write_text("mine too")
    refused(convc("compile", "shared", "-o", bundle), 2, "holds what convc did not write there (notes.txt); choose another")
    for name in ("a", "b", "c", "d"):
        (bundle / name).touch()
    refused(convc("compile", "shared", "-o", bundle), 2, "(a, b, c and 2 more)")
    for name in ("a", "b", "c", "d"):
        (bundle / name).unlink()
    assert (bundle / "notes.txt").read_text() == "mine too"
    (bundle / "notes.txt").unlink()
    (tmp_path / "link").symlink_to("net")
    assert convc("compile", "shared", "-o", tmp_path / "link", "--no-check").code == 0
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "net", "site"]


@pytest.mark.parametrize("command", ["run", "verify"])
def test_an_artifact_takes_no_other_weights(original, tmp_path, command):
    weights = tmp_path / "w.safetensors"
    shutil.copy(original / "weights.safetensors", weights)
    refused(convc(command, original, "--weights", weights), 2, "carries its own weights")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("graph @g(%x: f32[1]) {\n  %y = clip(%x) {min=", "expected a value, found the end of the text"),
        (f"graph @g(%x: f32[1]) {{\n  %y = reshape(%x) {{shape=[{'9' * 5000}]}}\n", "a number of 5000 characters"),
        (f"graph @g(%x: f32[1]) {{\n  %y = clip(%x) {{min={'9' * 400}}}\n", "a number of 400 characters"),
    ],
)
def test_text_that_would_overflow_is_a_syntax_error(tmp_path, text, words):
    (tmp_path / "bad.cir").write_text(text)
    refused(convc("opt", tmp_path / "bad.cir"), 3, "bad.cir:2:", words)


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


def test_an_artifact_for_another_processor_is_refused_before_it_is_loaded(tmp_path):
    made = convc("compile", "lenet5", "-o", str(tmp_path / "b"), "--no-check")
    assert made.code == 0, made.err
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    manifest["target"]["needs"].append("sve9")
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    done = convc("verify", str(tmp_path / "b"), "--backends", "tvm")
    assert done.code == 3
    assert "was compiled for a processor with sve9; compile the network again on this one" in done.err
