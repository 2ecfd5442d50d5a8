"""--precision: which layers stay in float32 and why, files that onnxruntime runs, and refusals. Passes have their golden files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import convc as cc
from convc.backends.onnx.session import Session
from convc.compiler.checking.narrowing import loss_of
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.compiling.precision import feeds_of, in_precision
from convc.compiler.engines.tvm import TVM
from convc.compiler.files.inputs import random_inputs
from convc.compiler.targets.cuda import CudaBuilt
from convc.compiler.targets.fields import WrongField
from convc.compiler.targets.table import built_of
from convc.ir.errors import UsageError
from convc.ir.graph import Graph, Node
from convc.tests.support.graphs import typed_graph
from convc.tests.support.places import TORCH
from convc.tests.support.shell import convc, refused
from convc.tests.support.tiers import small

FAR = """graph @far(%x: f32[N,4]) {
  %w = param {init=full, value=50.0} : f32[8,4]
  %a = dense(%x, %w)
  %v = param {init=full, value=500.0} : f32[8,8]
  %b = dense(%a, %v)
  %r = relu(%b)
  %u = param {init=full, value=70000.0} : f32[8,8]
  %c = dense(%r, %u)
  %t = param {init=full, value=1e-8} : f32[8,8]
  %y = dense(%c, %t)
  return %y
}
"""


@pytest.fixture
def far(tmp_path: Path) -> Path:
    (tmp_path / "far.cir").write_text(FAR)
    np.savez(tmp_path / "x.npz", x=np.linspace(0, 4, 32, dtype=np.float32).reshape(8, 4))
    return tmp_path / "far.cir"


def in_fp16(graph: Graph) -> Graph:
    return cc.optimize(graph, precision="fp16")[0]


def by_onnxruntime(graph: Graph, path: Path) -> dict[str, np.ndarray]:
    """What the file of it gives, which the checker of ONNX has passed."""
    cc.export_onnx(graph, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return Session(graph, path).run(random_inputs(graph))


@pytest.mark.parametrize(
    "name", ["lenet5", "mobilenet_v2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "googlenet", "unet_vgg11"))]
)
def test_a_file_of_float16_is_run_by_onnxruntime_and_loses_what_float16_may(name: str, tmp_path: Path):
    """Against itself it has no more noise than rounding, and against float32 as much as was predicted."""
    graph = small(name)
    narrow = in_fp16(graph)
    got, inputs = by_onnxruntime(narrow, tmp_path / "net.onnx"), random_inputs(graph)
    assert {node.typed.dtype for node in (*narrow.inputs, *narrow.outputs)} == {"f32"}
    (tight,) = compare("onnx", Oracle.of(narrow, inputs), got)
    (loss,) = compare("onnx", loss_of(graph, narrow, inputs), got)
    assert tight.worst < 0.5, str(tight)
    assert 1 / 32 / 4 < loss.worst < 4 / 32, str(loss)  # within a factor of 4 of one of the 32 deviations


def test_what_leaves_the_range_of_float16_is_named_and_stays(far: Path):
    """On an input drawn at random, and on those that are given."""
    out = far.with_name("far.onnx")
    drawn = convc("export", far, "--precision", "fp16", "-o", out)
    assert "fp16: 1 of 4 products, 2 casts\n%b stays in float32: it reaches " in drawn.err
    assert "%c stays in float32: %u holds 70000, beyond float16, which ends at 65504; bfloat16 has it\n" in drawn.err
    assert "%y stays in float32: %t is 1e-08 at most, where float16 has few digits left\n" in drawn.err
    seen = convc("export", far, "--precision", "fp16", "--calibration", far.with_name("x.npz"), "-o", out)
    assert "fp16: 1 of 4 products, 2 casts\n%b stays in float32: it reaches " in seen.err
    assert ", and the range ends at 65504\n" in seen.err
    assert convc("verify", out, "-b", "onnx", "-i", far.with_name("x.npz")).code == 0


def test_every_input_of_a_calibration_is_looked_at(tmp_path: Path):
    """One in four is held out where something is fitted, which here is nothing."""
    graph = typed_graph("graph @g(%x: f32[N,4]) { %w = param {init=full, value=500.0} : f32[8,4] %y = dense(%x, %w) return %y }")
    for far in range(4):
        np.savez(tmp_path / "x.npz", x=np.where(np.arange(4)[:, None] == far, 100, np.full((4, 4), 0.1)).astype(np.float32))
        feeds = feeds_of(graph, (str(tmp_path / "x.npz"),), 0, drawn=False)
        narrowed = in_precision(graph, "fp16", feeds, TVM.prices)
        assert narrowed is not None
        assert narrowed.lines[1:] == ("%y stays in float32: it reaches 200000, and the range ends at 65504",)


def test_what_reads_a_value_beyond_stays_and_infinities_are_no_reason():
    graph = typed_graph("graph @g(%x: f32[N,4]) { %w = param {init=full, value=0.001} : f32[8,4] %y = dense(%x, %w) return %y }")
    for most, lines in ((1e6, ("%y stays in float32: %x reaches 1e+06, and the range ends at 65504",)), (np.inf, ())):
        narrowed = in_precision(graph, "fp16", [{"x": np.array([[1, 2, 3, most]], np.float32)}], TVM.prices)
        assert narrowed is not None
        assert narrowed.lines[1:] == lines


@pytest.mark.parametrize(("dtype", "precision", "said"), [("f16", "bf16", "float16"), ("bf16", "fp16", "bfloat16")])
def test_what_is_narrow_already_is_not_made_so_in_name(dtype: str, precision: str, said: str, tmp_path: Path):
    path = tmp_path / "net.cir"
    path.write_text(f"graph @g(%x: {dtype}[N,4]) {{ %w = param : {dtype}[8,4] %y = dense(%x, %w) return %y }}")
    wanted = f"@g multiplies in {said}, and {precision} is made of float32 alone; leave --precision out"
    refused(convc("export", path, "--precision", precision, "-o", tmp_path / "net.onnx"), 2, wanted)
    done = convc("compile", path, "-t", "cuda:sm_90", "--precision", precision, "-o", tmp_path / "art")
    assert (done.code, wanted in done.err) == (2, True)
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("option", "value", "said"), [("--opset", "5", "opset 5 is not"), ("--calibration", "no.npz", "there is no file 'no.npz'")]
)
def test_what_cannot_be_is_refused_before_the_work(option: str, value: str, said: str, tmp_path: Path):
    done = convc("export", "lenet5", "--precision", "fp16", option, value, "-o", tmp_path / "net.onnx")
    refused(done, 2, said)
    assert "products" not in done.err
    with pytest.raises(UsageError, match=r"batches=4: give whole numbers in a tuple, such as \(4,\)"):
        cc.compile_network(cc.models.lenet5(), tmp_path / "art", "cuda:sm_90", batches=4)


OVER = """graph @over(%x: f32[N,4]) {{
  %w = param {{init=full, value=60000.0}} : {0}[8,4]
  {1}%a = dense({2}, %w)
  {3}
  return %y
}}
"""
SCALED = "%s = param {{init=full, value=1e-3}} : f32[] %y = mul({0}, %s)"


def test_an_overflow_is_found_that_float64_hides(tmp_path: Path):
    """One that ends in a range, as that of a clip, does no harm."""
    wide, narrow = tmp_path / "wide.cir", tmp_path / "narrow.cir"
    np.savez(tmp_path / "x.npz", x=np.full((1, 4), 2.0, np.float32))
    for last, code in ((SCALED, 1), ("%y = clip({0}) {{min=0.0, max=6.0}}", 0)):
        wide.write_text(OVER.format("f32", "", "%x", last.format("%a")))
        narrow.write_text(OVER.format("f16", "%i = cast(%x) {to=f16} ", "%i", f"%o = cast(%a) {{to=f32}} {last.format('%o')}"))
        for pair in ((wide, narrow), (narrow, wide)):
            done = convc("verify", *pair, "-i", tmp_path / "x.npz")
            assert done.code == code, done.err
            assert ("%a = dense (narrow.cir:3) reaches 480000, and float16 ends at 65504" in done.err) == bool(code)
        assert (
            "reaches 480000, and float16 ends at 65504: a device"
            in convc("verify", narrow, "-b", "reference", "-i", tmp_path / "x.npz").err
        )


def branches(path: Path) -> Path:
    """An If whose condition is an input."""
    made = [
        onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], [name])], name, [], [onnx.helper.make_empty_tensor_value_info(name)]
        )
        for name in ("a", "b")
    ]
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=made[0], else_branch=made[1])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 2]) for name in "xy")
    c = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    w = onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    graph = onnx.helper.make_graph([node], "g", [x, c], [y], [w])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_what_is_not_narrowed_has_a_reason(tmp_path: Path):
    out = ("--precision", "fp16", "-o", tmp_path / "out.onnx")
    assert (
        "fp16: 0 of 0 products, 0 casts; what %y (If) computes inside stays as it is\n"
        in convc("export", branches(tmp_path / "if.onnx"), *out).err
    )
    (tmp_path / "double.cir").write_text("graph @g(%x: f64[N,4]) {\n  %w = param : f64[4,4]\n  %y = dense(%x, %w)\n  return %y\n}\n")
    assert "fp16: 0 of 1 products, 1 of float64, which stay, 0 casts\n" in convc("export", tmp_path / "double.cir", *out).err


def test_products_of_quantized_values_stay_those_of_whole_numbers(tmp_path: Path):
    done = convc("export", TORCH / "qdq_channel_ts17.onnx", "--precision", "fp16", "-o", tmp_path / "same.onnx")
    assert "fp16: 0 of 11 products, 11 of quantized values, which stay, 0 casts\n" in done.err


def test_bfloat16_has_the_range(far: Path):
    assert "bf16: 4 of 4 products, 2 casts\n" in convc("export", far, "--precision", "bf16", "-o", far.with_name("far.onnx")).err
    older = convc("export", far, "--precision", "bf16", "--opset", "12", "-o", far.with_name("older.onnx"))
    assert older.code == 4
    assert "%x.bf16 = cast (far.cir:1): ONNX Cast has no bf16 at opset 12; opset 13 has it" in older.err


def test_what_a_wrong_network_loses_is_more_than_float16_may():
    graph = small("lenet5")
    narrow = in_fp16(graph)

    def forget_a_tanh(node: Node, operands: tuple[Node, ...]) -> Node:
        return operands[0] if node.name == "tanh3" else node.reading(operands)

    wrong = narrow.rebuild(forget_a_tanh)
    assert cc.verify(graph, narrow)[0].agrees
    assert cc.verify(narrow, graph)[0].agrees
    for pair in ((graph, wrong), (wrong, graph)):
        with pytest.raises(cc.Mismatch, match="first value that differs is %f6"):
            cc.verify(*pair)


def test_refusals(far: Path, tmp_path: Path):
    out = ("-o", tmp_path / "out.onnx")
    cpu = convc("compile", far, "--precision", "fp16", "-o", tmp_path / "net")
    refused(cpu, 2, "target 'cpu' has kernels of float32 alone", "-t cuda computes in fp16, and convc export --precision fp16")
    refused(convc("export", far, "--precision", "tf32", *out), 2, "tf32 is how a GPU multiplies float32, and no file says it")
    refused(convc("export", far, "--calibration", far.with_name("x.npz"), *out), 2, "give --precision fp16 or bf16 with it")
    weights = convc("export", far, "--precision", "fp16", "-o", tmp_path / "w.safetensors")
    refused(weights, 2, "takes the weights of the network as written", "leave out --precision")
    with pytest.raises(UsageError, match="give --precision fp16 or bf16 with it"):
        cc.compile_network(typed_graph(FAR), tmp_path / "net", "cuda", precision="tf32", calibration=("x.npz",))
    with pytest.raises(
        UsageError, match=r"target 'cpu' has kernels of float32 alone, and tf32 would be slower there; -t cuda computes in tf32$"
    ):
        cc.compile(typed_graph(FAR), precision="tf32")
    with pytest.raises(UsageError, match="there is no pass for precision 'tf32'; choose fp32, fp16 or bf16"):
        cc.optimize(typed_graph(FAR), precision="tf32")


def test_a_manifest_names_the_precision():
    packing = {"layout": "", "bytes": 0, "entries": []}
    record = CudaBuilt(
        "model.so", "model.cu", "sm_90", None, "{}", "x86_64", "", 1.5, packing, {"8": 512}, True, "one", (), "bf16"
    ).record()
    assert built_of(json.loads(json.dumps(record))).precision == "bf16"
    assert built_of({name: value for name, value in record.items() if name != "precision"}).precision == "fp32"  # of an older convc
    with pytest.raises(WrongField, match=r"^precision$"):
        built_of(record | {"precision": "fp8"})


def tensor_core(x: np.ndarray) -> np.ndarray:
    """The upper 19 bits of a float32, to nearest."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def test_the_noise_of_tf32_is_that_of_what_tensor_cores_multiply():
    graph = typed_graph("""graph @g(%x: f32[1,64,12,12]) {
        %w = param : f32[64,64,3,3] %v = param : f32[64,64,3,3] %c = conv2d(%x, %w) %r = relu(%c) %d = conv2d(%r, %v)
        %y = global_avg_pool(%d) return %y }""")
    inputs = random_inputs(graph)
    values: dict[str, np.ndarray] = dict(inputs)
    for node in graph.nodes:
        if node.weights is not None:
            values[node.name] = node.weights.array()
        elif node.inputs:
            operands = [values[x.name] for x in node.inputs]
            values[node.name] = node.kind.meaning(node.op, *(map(tensor_core, operands) if node.kind.name == "conv2d" else operands))
    (line,) = compare("tf32", Oracle.of(graph, inputs, "tf32"), {"y": values["y"]})
    assert 1 / 32 / 4 < line.worst < 5 / 32, str(line)
    (line,) = compare("tf32", Oracle.of(graph, inputs), {"y": values["y"]})
    assert line.worst > 1, str(line)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
def test_an_artifact_for_cuda_is_right_on_the_emulator(precision: str, tmp_path: Path):
    done = convc("compile", "lenet5", "-t", "cuda", "--precision", precision, "--batches", "1", "-o", tmp_path / "net")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "net" / "manifest.json").read_text())["target"]["precision"] == precision
    report = (tmp_path / "net" / "report.txt").read_text()
    assert f"in {precision}: " in report
    assert ("reference, what the precision loses: softmax1 agrees: " in report) == (precision != "tf32")
    checked = convc("verify", tmp_path / "net", "-b", "cuda", "--emulate", "--nodes")
    assert checked.code == 0, checked.err
    assert "cuda emulated: softmax1 agrees: " in checked.out
