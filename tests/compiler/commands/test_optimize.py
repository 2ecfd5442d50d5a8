"""convc optimize: a file in, a better one out; what it says, refuses and leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convc.backends.onnx.write.export import to_model
from convc.models import ZOO
from convc.tests.support.onnx_files import WEIGHT, answers, model_of, small_model, written
from convc.tests.support.places import TORCH
from convc.tests.support.quantized import quantized_constants, quantized_model
from convc.tests.support.shell import convc


def test_batch_norms_go_and_the_answers_stay(tmp_path: Path):
    source, output = TORCH / "view_ts11_bn.onnx", tmp_path / "better.onnx"
    done = convc("optimize", str(source), str(output), "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["changed"]
    before, after = report["before"], report["after"]
    assert "BatchNormalization" not in after["operators"]
    assert before["operators"]["BatchNormalization"] > 0
    assert after["nodes"] < before["nodes"]
    assert after["macs"] <= before["macs"]
    assert "agrees" in done.err
    onnx.checker.check_model(onnx.load(output), full_check=True)
    stored = np.load(source.with_suffix(".npz"))
    (got,) = answers(output, {"image": stored["image"]})
    np.testing.assert_allclose(got, stored["logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("declared", "note"),
    [
        ([1, 10], "net.onnx: the file declares output 'y' as f32[1,10], but its operators make it f32[N,5]\n"),
        ([1, 5, 1], "net.onnx: the file declares output 'y' as f32[1,5,1], but its operators make it f32[N,5]\n"),
        (["batch", 5], ""),
        (["N", "classes"], ""),
        ([7, 5], ""),
        (None, ""),
    ],
)
def test_an_output_that_is_declared_otherwise_is_noted(declared: Any, note: str, tmp_path: Path):
    weight = numpy_helper.from_array(np.ones((3, 5), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", ["N", 3]), ("y", declared)))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx")
    done = convc("summary", "net.onnx", cwd=tmp_path)
    assert (done.code, done.err) == (0, note)
    if note:
        assert convc("-q", "summary", "net.onnx", cwd=tmp_path).err == ""
        assert note in convc("optimize", "net.onnx", "better.onnx", "--no-verify", cwd=tmp_path).err
        assert convc("summary", "net.onnx", "--input", "x:7,3", cwd=tmp_path).err == ""


def test_metadata_and_opset_are_kept_and_bytes_are_the_same_again(tmp_path: Path):
    model = onnx.load(TORCH / "pools_ts12_bn.onnx")
    helper.set_model_props(model, {"author": "somebody", "labels": "a,b"})
    source = tmp_path / "in.onnx"
    onnx.save(model, source)
    for name in ("one.onnx", "two.onnx"):
        assert convc("optimize", str(source), str(tmp_path / name), "--no-verify", "--opset", "15").code == 0
    better = onnx.load(tmp_path / "one.onnx")
    assert {entry.key: entry.value for entry in better.metadata_props} == {"author": "somebody", "labels": "a,b"}
    assert better.opset_import[0].version == 15
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_what_cannot_be_improved_is_the_same_file(tmp_path: Path):
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    assert convc("optimize", str(TORCH / "view_ts11_bn.onnx"), str(first)).code == 0
    done = convc("optimize", str(first), str(second))
    assert done.code == 0
    assert "cannot be improved" in done.err
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("asked", ["--enable", "-p"])
def test_float16_is_done_where_it_is_asked_for_by_name(asked: str, tmp_path: Path):
    """Held to what float16 may lose, and in onnxruntime to the network in float16."""
    output = tmp_path / "half.onnx"
    done = convc("optimize", TORCH / "view_ts11_bn.onnx", output, asked, "to-float16")
    assert done.code == 0, done.err
    assert "left out" not in done.err
    types = {tensor.data_type for tensor in onnx.load(output).graph.initializer}
    assert TensorProto.FLOAT16 in types
    stored = np.load(TORCH / "view_ts11_bn.npz")
    np.testing.assert_allclose(answers(output, {"image": stored["image"]})[0], stored["logits"], rtol=0.02, atol=0.02)


def test_a_precision_is_another_commands():
    wanted = "No such option '--precision'; --enable to-float16 runs the pass, and `convc export IN.onnx -O2 --precision fp16` also keeps"
    assert wanted in convc("optimize", "net.onnx", "out.onnx", "--precision", "fp16").err


def test_a_dimension_is_pinned(tmp_path: Path):
    output = tmp_path / "pinned.onnx"
    stored = np.load(TORCH / "unet_ts13.npz")
    shape = ",".join(map(str, stored["image"].shape))
    assert convc("optimize", str(TORCH / "unet_ts13.onnx"), str(output), "--input", f"image:{shape}").code == 0
    dims = onnx.load(output).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == list(stored["image"].shape)


def test_weights_beside_the_file_come_into_it(tmp_path: Path):
    output = tmp_path / "whole.onnx"
    assert convc("optimize", str(TORCH / "external_dynamo20.onnx"), str(output), "--opset", "18").code == 0
    assert not any(tensor.external_data for tensor in onnx.load(output, load_external_data=False).graph.initializer)


@pytest.mark.parametrize(("place", "remains"), [("net.onnx.data", False), ("shared.bin", True)])
def test_what_a_file_kept_its_weights_in_goes_with_it(tmp_path: Path, place: str, remains: bool):
    """A file of another name may be another model's too."""
    source = tmp_path / "net.onnx"
    model = onnx.load(TORCH / "external_dynamo20.onnx")
    onnx.save_model(model, source, save_as_external_data=True, location=place, size_threshold=0)
    done = convc("optimize", source, source)
    assert done.code == 0, done.err
    assert f"{source} is replaced by the new file\n" in done.err
    assert (tmp_path / place).exists() == remains
    assert ("has its weights inside, and reads" if remains else "removed") in done.err
    assert convc("verify", source, "-b", "onnx").code == 0


def test_weights_beside_a_file_that_cannot_be_improved_come_along(tmp_path: Path):
    for folder in ("from/data", "to/data", "foreign/data"):
        (tmp_path / folder).mkdir(parents=True)
    source, weights = tmp_path / "from" / "net.onnx", tmp_path / "from" / "data" / "w.bin"
    weights.write_bytes(WEIGHT.tobytes())
    source.write_bytes(small_model(external=[("location", "data/w.bin")]).SerializeToString())
    (tmp_path / "foreign" / "data" / "w.bin").write_bytes(b"another model's")
    for _ in range(2):  # what is there already stays
        done = convc("optimize", str(source), str(tmp_path / "to" / "net.onnx"))
        assert (done.code, "cannot be improved" in done.err) == (0, True), done.err
        assert (tmp_path / "to" / "data" / "w.bin").read_bytes() == weights.read_bytes()
        assert (tmp_path / "to" / "net.onnx").read_bytes() == source.read_bytes()
    done = convc("optimize", str(source), str(tmp_path / "foreign" / "net.onnx"))
    assert (done.code, "is not the external data of the model" in done.err) == (2, True)
    assert not (tmp_path / "foreign" / "net.onnx").exists()


BORDER = [
    helper.make_node("Pad", ["low", "pads", "zero"], ["p"]),
    helper.make_node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2]),
]
GROWN = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("Gather", ["shape", "one"], ["channels"]),
    helper.make_node("Div", ["channels", "three"], ["by"]),
    helper.make_node("Concat", ["none", "none", "by", "by"] * 2, ["pads"], axis=0),
]


@pytest.mark.parametrize(("computed", "is_kept"), [(False, False), (True, True)])
def test_what_onnxruntime_gets_wrong_by_itself_is_its_own_fault(computed, is_kept, tmp_path: Path):
    """It takes the zeros around values below 0 for the pads of the pool, which are less than all. It sees them where they are constants."""
    draw = np.random.default_rng(0)
    constants = {
        "w": draw.random((4, 3, 3, 3)).astype(np.float32),
        **{name: np.full(4, value, np.float32) for name, value in (("scale", 1), ("shift", -9), ("mean", 0), ("var", 1))},
        "zero": np.float32(0),
        **({"one": np.array([1]), "three": np.array([3]), "none": np.array([0])} if computed else {"pads": np.array([0, 0, 1, 1] * 2)}),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["low"]),
        *(GROWN if computed else []),
        *BORDER,
    ]
    source, output = written(tmp_path, model_of(nodes, {"x": ["N", 3, 9, 9]}, ["y"], constants)), tmp_path / "better.onnx"
    done = convc("optimize", str(source), str(output))
    assert done.code == 0, done.err
    assert "warning: that is with its optimizer off; with it on it is off by" in done.err
    assert ("computes the new file wrong, though it is right" in done.err) is is_kept
    assert (output.read_bytes() == source.read_bytes()) is is_kept
    done = convc("verify", str(source))
    assert (done.code, done.out.count("agrees"), done.out.count("warning")) == (0, 3, 1), done.out


def test_what_onnxruntime_has_no_kernel_for_is_checked_without(tmp_path: Path):
    constants = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)), "s": np.ones(4), "b": np.zeros(4), "v": np.ones(4)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("BatchNormalization", ["c", "s", "b", "b", "v"], ["y"])]
    model = model_of(nodes, {"x": ["N", 3, 9, 9]}, ["y"], constants)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    done = convc("optimize", str(written(tmp_path, model)), str(tmp_path / "better.onnx"))
    assert done.code == 0, done.err
    assert "warning: nothing but float64 was compared: onnxruntime lacks a kernel for @net" in done.err
    assert [node.op_type for node in onnx.load(tmp_path / "better.onnx").graph.node] == ["Conv"]
    done = convc("verify", str(tmp_path / "net.onnx"), "-b", "reference,onnx")
    assert (done.code, "warning: onnx was not held" in done.err) == (0, True)
    assert convc("verify", str(tmp_path / "net.onnx"), "-b", "onnx").code == 4


def test_a_quantized_file_stays_quantized(tmp_path: Path):
    """No weight becomes a float, and the answers stay to the last bit."""
    constants = quantized_constants()
    model = quantized_model(constants)
    model.graph.node[-1].output[0] = "m"
    model.graph.node.append(helper.make_node("Identity", ["m"], ["y"]))
    source, output = written(tmp_path, model), tmp_path / "better.onnx"
    done = convc("optimize", str(source), str(output))
    assert done.code == 0, done.err
    made = onnx.load(output)
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in model.graph.node if node.op_type != "Identity"]
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    assert all(np.array_equal(kept[name], value) for name, value in constants.items())
    feed = {"x": np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)}
    assert np.array_equal(answers(source, feed)[0], answers(output, feed)[0])


def test_the_check_finds_a_wrong_answer_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A batch norm of another epsilon, planted between import and export."""
    from convc.compiler.compiling import better_onnx
    from convc.compiler.engines.optimize import optimize
    from convc.ir.errors import Mismatch

    def wrong(graph: Any, left_out: Any) -> Any:
        def visit(node: Any, operands: Any) -> Any:
            node = node.reading(operands)
            return node.like(op=type(node.op)(epsilon=0.5)) if node.kind.name == "batch_norm" else node

        return optimize(graph.rebuild(visit), 2)

    better = better_onnx.better_file(TORCH / "view_ts11_bn.onnx", wrong, {})
    feed = {"image": np.load(TORCH / "view_ts11_bn.npz")["image"]}
    with pytest.raises(Mismatch, match="DIFFERS"):
        better_onnx.check_better(better, [feed], 0, lambda line: None)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["missing.onnx", "out.onnx"], 2, "missing.onnx"),
        (["in.txt", "out.onnx"], 2, "both must be .onnx files"),
        ([str(TORCH / "view_ts11_bn.onnx"), "out.onnx", "--input", "z:1"], 2, "has no input 'z'; it has image"),
        ([str(TORCH / "view_ts11_bn.onnx"), "nowhere/out.onnx"], 2, "there is no folder"),
        ([str(TORCH / "view_ts11_bn.onnx"), "out.onnx", "--opset", "3"], 2, "opset 3 is not supported"),
        ([str(TORCH / "choice_dynamo20.onnx"), "out.onnx", "--strict"], 4, "If (node "),
    ],
)
def test_refusals(words: list[str], code: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    done = convc("optimize", *words)
    assert done.code == code
    assert text in done.err
    assert not (tmp_path / "out.onnx").exists()


def test_every_command_takes_a_file(tmp_path: Path):
    path = tmp_path / "net.onnx"
    path.write_bytes(to_model(ZOO["resnet20"].network()).SerializeToString())
    assert "270,896" in convc("summary", str(path)).out or "params" in convc("summary", str(path)).out
    assert "agrees" in convc("verify", str(path), "--backends", "reference,onnx").out
    assert convc("export", str(path), "-o", str(tmp_path / "again.onnx")).code == 0
    assert convc("diff", str(path), "resnet20").code == 0


def test_an_operator_that_was_misread_is_found_by_running_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every graph has the wrong meaning alike, and so has the new file: only the old one tells."""
    from convc.backends.onnx.read.operators import ROWS
    from convc.compiler.compiling import better_onnx
    from convc.compiler.engines.optimize import optimize
    from convc.ir.errors import Mismatch

    path = TORCH / "view_ts11_bn.onnx"
    monkeypatch.setitem(ROWS, "Relu", lambda c: c.named("leaky_relu", c.x(), alpha=0.5))
    better = better_onnx.better_file(path, lambda graph, left_out: optimize(graph, 2), {})
    feed = {"image": np.load(path.with_suffix(".npz"))["image"]}
    with pytest.raises(Mismatch, match=f"onnx on {path.name}"):
        better_onnx.check_better(better, [feed], 0, lambda line: None)


def test_a_constant_that_would_fill_the_memory_is_not_looked_at(tmp_path: Path):
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    model = model_of(nodes, {"x": [1]}, ["y"], {"shape": np.array([2**31 - 1])})
    done = convc("optimize", str(written(tmp_path, model)), str(tmp_path / "o.onnx"), "--input", "x:1")
    assert (done.code, "would take" in done.err) == (2, True), done.err
