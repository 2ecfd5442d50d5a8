"""Bad input: one sentence, the documented exit code, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convc.compiler.dsl.zoo_entry import Checkpoint
from convc.models import ZOO
from convc.tests.support.places import PHOTO
from convc.tests.support.shell import RELU, convc, refused

HEAD = "import convc as cc\nfrom convc import conv, relu\n\n"


def net(folder, body):
    """The network of a file with this body, as it is named on the command line."""
    (folder / "net.py").write_text(HEAD + body)
    return f"{folder / 'net.py'}:net"


def test_unknown_model():
    refused(convc("summary", "resnet5"), 2, "unknown model 'resnet5'", "did you mean", "resnet50")


def test_a_misspelt_model_is_told_before_its_options():
    refused(convc("summary", "Resnet18", "--set", "classes=ten"), 2, "unknown model 'Resnet18'", "did you mean", "resnet18")


def test_opt_takes_text_and_says_what_makes_it(tmp_path):
    for model in ("../net.py:senet", "lenet5", "net.onnx"):
        refused(
            convc("opt", model, "-p", "dce", cwd=tmp_path), 2, f"'{model}' is a model; `convc inspect {model} --ir -O0` prints its text"
        )


def test_networks_with_a_table_of_names_are_listed():
    refused(convc("export", "lenet5", "-o", "w.npz", "--names", "pytorch"), 2, "`convc export --help` lists the networks that have one")
    listed = convc("export", "--help").out.partition("has a table for ")[2].partition(".")[0].replace(" and ", ", ")
    assert " ".join(listed.split()).replace(" and ", ", ").split(", ") == [
        name for name, entry in ZOO.items() if isinstance(entry.checkpoint, Checkpoint)
    ]


def test_unknown_command():
    refused(convc("sumary", "lenet5"), 2, "unknown command 'sumary'; did you mean 'summary'?")
    refused(convc("frobnicate"), 2, "unknown command 'frobnicate'; see `convc --help`")
    refused(convc("profile", "lenet5"), 2, "unknown command 'profile'; `convc bench MODEL --profile` says")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("plan", "lenet5", "--macs", "60%"), "Invalid value for '--macs': '60%' is no share; write 0.6; see `convc plan --help`"),
        (("plan", "lenet5", "--macs", "nan"), "Invalid value for '--macs': 'nan' is no number; see `convc plan --help`"),
        (("look", "maximize", "lenet5", "--decay", "NaN"), "Invalid value for '--decay': 'NaN' is no number"),
        (("train", "lenet5", "--momentum", "1"), "Invalid value for '--momentum': 1.0 is not in the range 0<=x<1"),
        (("run", "lenet5", "--threads", "10000"), "Invalid value for '--threads': 10000 is not in the range 1<=x<="),
        (("summary", "lenet5", "--bogus"), "No such option '--bogus'"),
        (("summary", "lenet5", "--set", "classes=zero"), "--set classes=zero does not suit lenet5: "),
        (("compile", "lenet5", "-o", "q", "--mcpu", "pentium99"), "there is no processor 'pentium99'; there are "),
    ],
)
def test_a_value_that_is_none_is_one_sentence(words, complaint):
    refused(convc(*words), 2, complaint)


def test_functions_of_numpy_and_types_that_are_none_have_a_line_and_a_way_out(tmp_path):
    body = "import numpy as np\n\n\n@cc.network(x='3,8')\ndef net(x):\n    return np.maximum(x, 0)\n"
    refused(
        convc("summary", net(tmp_path, body)),
        3,
        "net.py:9: NumPy's functions take no value of a network; convc has its own, such as cc.relu(x)",
    )
    refused(
        convc("summary", net(tmp_path, body.replace("3,8", "3;8;8"))),
        2,
        "net.py:7: input 'x': '3;8;8' is not a dimension: unexpected ';'; an input is written as in @network(x=\"N,3,224,224\")",
    )


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


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--batches", "1"), "--batches is for a GPU; a library for cpu takes any batch"),
        (("-t", "cuda", "--batches", "1,-2"), "--batches 1,-2: give whole numbers with commas between them, such as 1,8,32"),
        (
            ("-t", "cuda:sm_90a", "--winograd", "f4"),
            "--winograd f4 is for a CPU, and kernels for cuda:sm_90a have no tiles of it; leave it out",
        ),
        (("--no-cuda-graph",), "--no-cuda-graph is for a GPU, and the target is cpu; leave it out"),
        (("-t", "CUDA:sm90a"), "unknown target 'CUDA:sm90a'; did you mean 'cuda:sm_90a'?"),
    ],
)
def test_what_is_for_another_target(words, complaint, tmp_path):
    refused(convc("compile", "lenet5", "-o", tmp_path / "x", "--no-check", *words), 2, complaint)
    assert not (tmp_path / "x").exists()


def test_batches_of_a_network_with_other_named_sizes_are_refused_before_the_work(tmp_path):
    net = tmp_path / "net.cir"
    net.write_text("graph @net(%x: f32[N,4,H]) { %y = relu(%x) return %y }")
    done = convc("compile", net, "-o", tmp_path / "x", "--no-check", "-t", "cuda", "--batches", "1")
    refused(done, 2, "--batches is for a network whose batch is its only named size; the named sizes are H, N, and those of a batch are N")
    assert "optimized" not in done.err


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
            ("net.py:6", "pad is 'full', expected 'same', 'same_lower', 'valid'"),
        ),
        ('@cc.network(x="N,4,5,5")\ndef net(x):\n    return x.y\n', ("net.py:6", "AttributeError")),
        ('@cc.network(x="N,4,")\ndef net(x):\n    return x\n', ("input 'x'", "is not a dimension")),
    ],
)
def test_a_wrong_network(body, words, tmp_path):
    done = convc("summary", net(tmp_path, body))
    refused(done, 2 if "input 'x'" in words else 3, *words)


@pytest.mark.parametrize("call", ["conv(x, 8, stride=2)", "conv(x, 8, padding=1)", "mine(x, 8, stride=2)"])
def test_a_users_own_function_with_the_name_of_a_layer(call, tmp_path):
    own = "def conv(x, width):\n    return relu(x)\n\n" + ("mine, conv = conv, cc.conv\n" if "mine" in call else "")
    done = convc("summary", net(tmp_path, f'{own}@cc.network(x="N,4,5,5")\ndef net(x):\n    return {call}\n'))
    argument = call.split()[-1].split("=")[0]
    refused(done, 3, f"TypeError: conv() got an unexpected keyword argument '{argument}'")


def test_not_a_network(tmp_path):
    refused(convc("summary", net(tmp_path, "def net(x):\n    return x\n")), 2, "'net'", "is not a network; decorate it with @network")
    refused(convc("summary", net(tmp_path, "x = 1\n")), 2, "has no network 'net'")


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


@pytest.mark.parametrize("opset", ["6", "99"])
def test_an_opset_nobody_supports(tmp_path, opset):
    refused(convc("export", "lenet5", "-o", tmp_path / "net.onnx", "--opset", opset), 2, f"opset {opset} is not supported; choose 7 to")
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("threads", ["0", "10000", "two"])
def test_threads_must_be_positive_and_few(threads):
    done = convc("run", "lenet5", "--threads", threads)
    assert done.code == 2
    assert "Invalid value for '--threads'" in done.err


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


def test_a_pattern_names_its_word_and_nobody_else():
    refused(convc("summary", "pattern_net", "--input", "image:N,3,5,5"), 3, "%max_pool3 = max_pool (pattern, word 3): kernel of extent 2")
