"""verify --nodes, bisect, diff, --verify-each and --dump-dir as a user calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import convc as cc
from convc.compiler.checking.graph_diff import changes
from convc.ir.errors import InvalidInput
from convc.ir.graph import Node
from convc.ir.types import Array
from convc.ir.weights import Weights
from convc.tests.support.onnx_files import model_of, written
from convc.tests.support.reports import data_in
from convc.tests.support.shell import convc, refused

A = """graph @g(%x: f32[N,4,6,6]) {
  %w = param : f32[8,4,3,3]
  %c = conv2d(%x, %w) {pads=[1,1,1,1]}
  %r = relu(%c)
  %y = global_avg_pool(%r)
  return %y
}
"""


def test_verify_nodes_reports_the_tightest_value():
    done = convc("verify", "lenet5", "--nodes")
    assert done.code == 0, done.err
    for engine, values in (
        ("reference", 13),
        ("onnx", 9),
        ("tvm", 8),
    ):  # kernels take in what follows them, those of TVM a flatten before too
        assert f"{engine}: {values} values within their local bounds; tightest %" in done.err


def test_verify_prints_quantiles_when_asked():
    done = convc("-v", "verify", "mlp", "--backends", "onnx", "--input-fill", "normal")
    assert "error over tolerance: median" in done.err
    assert "would pass with atol" in done.err


def test_verify_of_two_networks_names_the_first_value_that_differs(tmp_path):
    (tmp_path / "a.cir").write_text(A)
    (tmp_path / "b.cir").write_text(A.replace("pads=[1,1,1,1]", "pads=[0,1,2,1]"))
    done = convc("verify", "a.cir", "b.cir", cwd=tmp_path)
    assert done.code == 1
    assert "the first value that differs is %c = conv2d" in done.err


NORMED = """graph @normed(%x: f32[N,3,9,9]) {
  %c.w = param : f32[10,3,3,3]
  %s = param : f32[10]
  %t = param {init=small} : f32[10]
  %c = conv2d(%x, %c.w)
  %n = batch_norm(%c, %s, %t, %t, %s)
  %r = relu(%n)
  %p = global_avg_pool(%r)
  %f = flatten(%p)
  %fc.w = param : f32[5,10]
  %fc = dense(%f, %fc.w)
  return %fc
}
"""


def altered(source: Path, target: Path, name: str, change: Callable[[Array], Array]) -> None:
    """The ONNX file with one of its weights changed."""
    model = onnx.load(source)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    onnx.save(model, target)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as a.onnx and, its batch norm folded into rounded weights, folded.onnx; what the tests change of them lies beside."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "net.cir").write_text(NORMED)
    assert convc("export", folder / "net.cir", "-O0", "-o", folder / "a.onnx").code == 0
    assert convc("export", folder / "net.cir", "-O2", "-o", folder / "folded.onnx").code == 0
    return folder


def test_a_folded_batch_norm_is_not_the_first_value_that_differs(files):
    """Its float32 weights move %n by less than an honest engine may; %fc is another value."""
    assert convc("verify", "a.onnx", "folded.onnx", cwd=files).code == 0
    altered(files / "folded.onnx", files / "bad.onnx", "fc.w", lambda w: 1.5 * w)
    for pair in (("a.onnx", "bad.onnx"), ("bad.onnx", "a.onnx")):
        done = convc("verify", *pair, cwd=files)
        assert done.code == 1
        assert "the first value that differs is %fc = dense" in done.err


def test_weights_that_are_not_numbers_agree_with_nothing(files):
    altered(files / "a.onnx", files / "odd.onnx", "fc.w", lambda w: np.where(w == w.flat[0], np.nan, w))
    for words in (("verify", "odd.onnx"), ("verify", "a.onnx", "odd.onnx"), ("verify", "odd.onnx", "a.onnx")):
        done = convc(*words, cwd=files)
        assert (done.code, done.out) == (3, "")
        assert done.err == "convc: 'odd.onnx': %fc.w = param: 1 of 50 weights are NaN; mend the weights file\n"
    done = convc("optimize", "odd.onnx", "better.onnx", cwd=files)
    assert (done.code, done.out) == (3, "")
    assert "1 of 50 weights are NaN;" in done.err
    assert not (files / "better.onnx").exists()
    odd, fine = (cc.read_onnx(files / name) for name in ("odd.onnx", "a.onnx"))
    for pair in ((odd, fine), (fine, odd), (odd, odd)):
        with pytest.raises(InvalidInput, match="1 of 50 weights are NaN;"):
            cc.verify(*pair)


def test_an_infinite_weight_may_stand(files):
    altered(files / "a.onnx", files / "mask.onnx", "fc.w", lambda w: np.where(w == w.flat[0], np.inf, w))
    done = convc("verify", "mask.onnx", "mask.onnx", cwd=files)
    assert done.code == 0, done.err
    assert "values NaN or infinite" in done.out


MASKED = """graph @masked(%x: f32[N,4,8]) {
  %t = transpose(%x) {perm=[0,2,1]}
  %scores = matmul(%x, %t)
  %mask = param {init=given} : f32[4,4]
  %open = add(%scores, %mask)
  %shares = softmax(%open) {axis=2}
  %y = matmul(%shares, %x)
  %f = flatten(%x)
  %w = param : f32[6,32]
  %d = dense(%f, %w)
  %some = param {init=given} : f32[6]
  %z = add(%d, %some)
  %classes = softmax(%z) {axis=1}
  %infinite = param {init=full, value=inf} : f32[]
  %far = mul(%d, %infinite)
  return %y, %classes, %far
}
"""


def test_infinite_constants_are_compiled_and_exported(tmp_path):
    """A mask of -inf for what may not be seen, over rows and over channels; and an infinite gain, which no weight may take in."""
    (tmp_path / "net.cir").write_text(MASKED)
    mask = np.where(np.tri(4, dtype=bool), 0, -np.inf).astype(np.float32)
    w = np.linspace(-1, 1, 192, dtype=np.float32).reshape(6, 32) * (np.arange(32) != 5)
    np.savez(tmp_path / "w.npz", mask=mask, w=w, some=np.float32([0, 1, -np.inf, 0, 2, -np.inf]), infinite=np.float32(np.inf))
    for words in (("compile", "-o", "net"), ("export", "-O2", "-o", "net.onnx")):
        done = convc(words[0], "net.cir", "--weights", "w.npz", *words[1:], cwd=tmp_path)
        assert done.code == 0, done.err
    for words, lines in ((("net",), 9), (("net.cir", "net.onnx", "--weights", "w.npz"), 3)):
        done = convc("verify", *words, cwd=tmp_path)
        assert (done.code, done.out.count("agrees")) == (0, lines), (done.out, done.err)
    done = convc("run", "net", "-o", "y.npz", cwd=tmp_path)
    assert done.code == 0, done.err
    found = np.load(tmp_path / "y.npz")
    assert np.isfinite(found["y"]).all()
    assert (found["classes"] == 0).tolist() == [[False, False, True, False, False, True]]
    assert np.isinf(found["far"]).all()


def test_results_that_are_nan_are_counted(tmp_path):
    """The logarithm of what is below 0 is NaN with any weights; who reads `agrees` is told."""
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[1,4]) {\n  %m = neg(%x)\n  %y = log(%m)\n  return %y\n}\n")
    done = convc("verify", "net.cir", "--backends", "reference,onnx", cwd=tmp_path)
    assert done.code == 0, done.err
    assert [line.endswith(", 4 values NaN or infinite") for line in done.out.splitlines()] == [True, True]


def filled(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A convolution, a mask, and a constant NaN of the mask's shape; `nodes` make y of %c, %m and %hole."""
    hole = np.full((1, 2, 2, 2), np.nan, np.float32)
    weight = np.stack([np.ones((1, 2, 2), np.float32), -np.ones((1, 2, 2), np.float32)])
    first = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Constant", [], ["hole"], value=numpy_helper.from_array(hole)),
        helper.make_node("Greater", ["c", "zero"], ["m"]),
    ]
    return model_of([*first, *nodes], {"x": [1, 1, 3, 3]}, ["y"], {"w": weight, "zero": np.float32(0)})


def test_a_nan_that_only_fills_holes_is_no_damaged_weight(tmp_path):
    moved = [helper.make_node("Transpose", ["hole"], ["turned"], perm=[0, 1, 3, 2]), helper.make_node("Where", ["m", "c", "turned"], ["y"])]
    written(tmp_path, filled(*moved), "holes.onnx")
    done = convc("verify", "holes.onnx", "-b", "reference,onnx", cwd=tmp_path)
    assert (done.code, done.out.count("values NaN or infinite")) == (0, 2), done.err
    for kind in ("Mul", "Conv"):
        written(tmp_path, filled(helper.make_node(kind, ["c", "hole"], ["y"])), "damaged.onnx")
        assert "8 of 8 weights are NaN; mend the weights file" in convc("verify", "damaged.onnx", cwd=tmp_path).err


def test_weights_that_are_not_there_are_asked_for_by_file_and_option(files):
    (files / "one.cir").write_text(NORMED.replace("param :", "param {init=given} :"))
    (files / "two.cir").write_text(NORMED.replace("%fc.w = param :", "%fc.w = param {init=given} :"))
    for name in ("one", "two"):
        assert convc("export", files / "net.cir", "-o", files / f"{name}.npz").code == 0
    for words, complaint in (
        (("one.cir",), "'one.cir' has no values for its parameters c.w, s, fc.w; give them with --weights FILE"),
        (("one.cir", "two.cir"), "'one.cir' has no values for its parameters c.w, s, fc.w; give them with --weights FILE"),
        (
            ("one.cir", "two.cir", "--weights", "one.npz"),
            "'two.cir' has no values for its parameters fc.w; give them with --other-weights FILE",
        ),
    ):
        done = convc("verify", *words, cwd=files)
        assert (done.code, done.err) == (3, f"convc: {complaint}\n")
    done = convc("verify", "one.cir", "two.cir", "--weights", "one.npz", "--other-weights", "two.npz", cwd=files)
    assert done.code == 0, done.err
    assert "fc agrees" in done.out
    done = convc("verify", "one.cir", "--other-weights", "two.npz", cwd=files)
    assert done.code == 2
    assert "name it after the first" in done.err


def test_bisect_of_honest_passes_finds_nothing():
    done = convc("bisect", "resnet20", "-O3")
    assert done.code == 0, done.err
    assert done.out.startswith("no pass changes the results: infer-shapes, ")
    assert json.loads(convc("bisect", "lenet5", "--json").out)["bad"] is None


def test_verify_each_and_dump_dir(tmp_path):
    done = convc("inspect", "resnet20", "--verify-each", "--dump-dir", tmp_path / "dump")
    assert done.code == 0, done.err
    files = sorted(path.name for path in (tmp_path / "dump").iterdir())
    assert files[0] == "00-input.cir"
    assert files[1] == "01-infer-shapes.cir"
    assert "batch_norm" in (tmp_path / "dump" / files[0]).read_text()
    assert "batch_norm" not in (tmp_path / "dump" / files[-1]).read_text()


def test_diff_says_where_only_names_changed_places(tmp_path):
    text = "graph @n(%x: f32[N,4,5,5]) {\n  %a = relu(%x)\n  %b = sigmoid(%x)\n  %s = sub(%a, %b)\n  return %s\n}\n"
    swapped = text.replace("%a", "%t").replace("%b", "%a").replace("%t", "%b")
    for name, each in (("a", text), ("b", swapped), ("c", text.replace("sub(%a, %b)", "sub(%b, %a)"))):
        (tmp_path / f"{name}.cir").write_text(each)
    line = "the same network up to the names and the order of nodes"
    assert line in convc("diff", "a.cir", "b.cir", cwd=tmp_path).err
    assert line not in convc("diff", "a.cir", "c.cir", cwd=tmp_path).err


def test_diff_matches_by_value_and_not_by_line(tmp_path):
    (tmp_path / "a.cir").write_text(A)
    (tmp_path / "b.cir").write_text(
        A.replace("%r = relu(%c)", "%t = identity(%c)\n  %r = relu(%t)").replace("pads=[1,1,1,1]", "pads=[0,1,2,1]")
    )
    done = convc("diff", "a.cir", "b.cir", cwd=tmp_path)
    assert done.code == 0
    assert done.out.splitlines() == [
        "~ %c = conv2d(%x, %w) {pads=[1,1,1,1]} : f32[N,8,6,6]",
        "  %c = conv2d(%x, %w) {pads=[0,1,2,1]} : f32[N,8,6,6]",
        "+ %t = identity(%c) : f32[N,8,6,6]",
        "~ %r = relu(%c) : f32[N,8,6,6]",
        "  %r = relu(%t) : f32[N,8,6,6]",
    ]
    assert "3 differences" in done.err
    assert convc("diff", "a.cir", "a.cir", cwd=tmp_path).out == ""


def test_diff_compares_the_values_of_weights(files, tmp_path):
    altered(files / "a.onnx", files / "moved.onnx", "fc.w", lambda w: w + np.float32([0.25] * 9 + [0]))
    done = convc("diff", "a.onnx", "moved.onnx", cwd=files)
    assert (done.code, done.out) == (0, "~ %fc.w: values differ in 45 of 50 places, by at most 0.25\n")
    assert "1 difference between" in done.err
    (change,) = json.loads(convc("diff", "a.onnx", "moved.onnx", "--json", cwd=files).out)["changes"]
    assert change == {
        "old": "fc.w",
        "new": "fc.w",
        "is_parameter": True,
        "text": "~ %fc.w: values differ in 45 of 50 places, by at most 0.25",
    }
    altered(files / "a.onnx", files / "odd.onnx", "fc.w", lambda w: np.where(w == w.flat[0], np.nan, w))
    assert "values differ in 1 of 50 places, by at most nan" in convc("diff", "a.onnx", "odd.onnx", cwd=files).out
    for name in ("a.onnx", "odd.onnx"):
        assert convc("diff", name, name, cwd=files).out == "", "NaN is the same as NaN"


def test_diff_has_structure_first_and_sums_what_weights_differ():
    *structure, last = convc("diff", "resnet20", "resnet20", "-O2").out.splitlines()
    assert not any(" = param" in line for line in structure)
    found = json.loads(convc("diff", "resnet20", "resnet20", "-O2", "--json").out)
    kinds, sums = [change["is_parameter"] for change in found["changes"]], found["parameters"]
    assert kinds == sorted(kinds)
    assert (sum(kinds), sums["changed"]) == (sums["came"] + sums["went"], 0)
    assert last == (
        f"parameters: {sums['came']} came ({sums['came_values']:,} values), {sums['went']} went ({sums['went_values']:,} values); -v lists them"
    )
    listed = convc("diff", "resnet20", "resnet20", "-O2", "-v").out.splitlines()
    assert listed[: len(structure)] == structure
    assert len(listed) - len(structure) == sum(kinds)


def test_diff_of_weights_by_recipe_and_of_none(files):
    net = cc.parse_graph(NORMED)
    other = net.rebuild(lambda node, operands: node.like(weights=reseeded(node)) if node.name == "s" else node.reading(operands))
    assert [str(change) for change in changes(net, other)] == ["~ %s: values are drawn by another recipe"]
    assert not list(changes(net, cc.parse_graph(NORMED)))
    assert not any(node.weights._made for graph in (net, other) for node in graph.params), "nothing was drawn"
    (files / "given.cir").write_text(NORMED.replace("%fc.w = param", "%fc.w = param {init=given}"))
    done = convc("diff", "given.cir", "given.cir", cwd=files)
    assert (done.code, done.out) == (0, "")
    assert "values of 1 parameters were not compared, the first %fc.w: they are not there" in done.err


def reseeded(node: Node) -> Weights:
    return Weights(node.typed, replace(node.weights.recipe, seed=7))


def test_wrong_pipelines(tmp_path):
    for passes, words in (
        ("infer-shapes,infer-shapes", "pass 'infer-shapes' stands twice in the pipeline"),
        ("fuse-conv-bn", "pass 'fuse-conv-bn' reads types, and %c = conv2d (<stdin>:3) has none yet; put infer-shapes before it"),
    ):
        done = convc("opt", "-", "-p", passes, stdin=A)
        assert done.code == 2
        assert words in done.err
    different = convc("verify", "lenet5", "mlp")
    assert different.code == 3
    assert "the two networks have different inputs: image: f32[N,1,32,32] against image: f32[N,1,28,28]" in different.err


@pytest.mark.parametrize(("size", "seeds"), [(64, 1), (224, 2)])
def test_long_sums_of_one_sign_are_no_mismatch(tmp_path, size, seeds):
    """A float32 mean of 50,176 pixels is off by hundreds of roundings, in onnxruntime and TVM alike."""
    (tmp_path / "net.cir").write_text(f"graph @g(%x: f32[N,3,{size},{size}]) {{\n  %y = global_avg_pool(%x)\n  return %y\n}}\n")
    for seed in range(seeds):
        done = convc("verify", tmp_path / "net.cir", "--seed", seed)
        assert done.code == 0, done.out


BROKEN = """
import convc as cc
from convc.passes.catalog import PASSES, Pass

@cc.network(image="N,3,8,8")
def tiny(image):
    return cc.relu(cc.batch_norm(cc.conv(image, 8, 3)))

PASSES["fuse-conv-bn"] = Pass("fuse-conv-bn", lambda graph, ledger: {}["missing"], "")
"""


@pytest.mark.parametrize("command", [("summary", "-O2"), ("export", "-O2", "-o", "net.onnx"), ("compile", "-o", "out")])
def test_a_pass_that_breaks_is_left_out_with_a_warning_and_nobody_is_blamed(tmp_path, command):
    (tmp_path / "net.py").write_text(BROKEN)
    done = convc(command[0], "net.py:tiny", *command[1:], cwd=tmp_path)
    assert done.code == 0, done.err
    warnings = [line for line in done.err.splitlines() if "warning" in line]
    assert warnings, done.err
    assert all(line.startswith("convc: warning: pass fuse-conv-bn broke the graph, which is a fault of convc") for line in warnings)
    assert "Traceback" not in done.err


def test_networks_that_differ_have_a_report_and_json_too(tmp_path):
    texts = (f"graph @g(%x: f32[N,4]) {{ %a = {op}(%x) %b = tanh(%a) return %b }}" for op in ("relu", "sigmoid"))
    for name, text in zip(("one", "two"), texts, strict=True):
        (tmp_path / f"{name}.cir").write_text(text)
    done = convc("verify", "one.cir", "two.cir", "--json", "--html", "v.html", cwd=tmp_path)
    assert done.code == 1
    assert "the first value that differs is %a = sigmoid" in done.err
    found = json.loads(done.out)
    assert [(line["output"], line["agrees"]) for line in found["results"]] == [("b", False)]
    assert found["first_difference"] == "a"
    ((text, agrees),) = data_in((tmp_path / "v.html").read_bytes())["checks"]
    assert (agrees, "the first value that differs is %a" in text) == (False, True)
    same = json.loads(convc("verify", "one.cir", "one.cir", "--json", cwd=tmp_path).out)
    assert ([line["agrees"] for line in same["results"]], same["first_difference"]) == ([True], None)
    refused(convc("verify", "one.cir", "two.cir", "--nodes", cwd=tmp_path), 2, "--nodes holds an engine's values to their bounds")
