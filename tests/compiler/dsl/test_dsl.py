"""The DSL: names, padding, sharing, arithmetic, the pattern language, strict windows."""

from __future__ import annotations

import re

import numpy as np
import pytest

import convc as cc
from convc.backends import reference
from convc.compiler.compiling.module import Module
from convc.ir.binding import match_inputs
from convc.ir.errors import ArtifactError, InvalidInput, InvalidModel, ShapeError, UsageError
from convc.ir.printer import print_graph


def build(function, **inputs):
    return cc.network(**(inputs or {"x": "N,4,9,9"}))(function)()


def test_the_graph_reads_like_the_program():
    def net(x, classes=3):
        with cc.scope("stem"):
            x = cc.relu(cc.conv(x, 6, 3, stride=2, pad="same"))
        return cc.dense(cc.global_avg_pool(x), classes)

    assert print_graph(build(net)) == (
        "graph @net(%x: f32[N,4,9,9]) {\n"
        "  %stem.conv1.w = param {init=he} : f32[6,4,3,3]\n"
        "  %stem.conv1.b = param {init=small} : f32[6]\n"
        "  %stem.conv1 = conv2d(%x, %stem.conv1.w, %stem.conv1.b) {strides=[2,2], pads=[1,1,1,1]} : f32[N,6,5,5]\n"
        "  %stem.relu1 = relu(%stem.conv1) : f32[N,6,5,5]\n"
        "  %global_avg_pool1 = global_avg_pool(%stem.relu1) : f32[N,6,1,1]\n"
        "  %flatten1 = flatten(%global_avg_pool1) : f32[N,6]\n"
        "  %fc1.w = param {init=he} : f32[3,6]\n"
        "  %fc1.b = param {init=small} : f32[3]\n"
        "  %fc1 = dense(%flatten1, %fc1.w, %fc1.b) : f32[N,3]\n"
        "  return %fc1\n"
        "}\n"
    )


def test_nodes_know_their_line_and_scope():
    def net(x):
        with cc.scope("a"), cc.scope("b"):
            return cc.relu(x)

    node = build(net).outputs[0]
    assert node.name == "a.b.relu1"
    assert node.origin.scope == "a.b"
    assert node.origin.source == f"test_dsl.py:{net.__code__.co_firstlineno + 2}"


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "pads"),
    [
        (9, 3, 1, "same", (1, 1, 1, 1)),
        (9, 4, 1, "same", (1, 1, 2, 2)),  # an even kernel: the odd pixel comes after
        (9, 3, 2, "same", (1, 1, 1, 1)),
        (8, 3, 2, "same", (0, 0, 1, 1)),  # ceil(8/2) = 4 windows need one pixel, after
        (9, 3, 1, "valid", (0, 0, 0, 0)),
        (9, 3, 1, 2, (2, 2, 2, 2)),
        (9, 3, 1, (0, 1, 2, 3), (0, 1, 2, 3)),
    ],
)
def test_padding_in_every_word(size, kernel, stride, pad, pads):
    graph = build(lambda x: cc.conv(x, 2, kernel, stride=stride, pad=pad), x=f"N,4,{size},{size}")
    assert graph.outputs[0].op.pads == pads
    if pad == "same":
        assert graph.outputs[0].typed.shape[2:] == (-(-size // stride),) * 2


def test_same_with_a_stride_needs_a_number():
    assert build(lambda x: cc.conv(x, 2, 3, pad="same"), x="N,4,H,W").outputs[0].typed.shape[2:] != (0, 0)
    with pytest.raises(ShapeError, match="'same' with stride 2 depends on the named size H"):
        build(lambda x: cc.conv(x, 2, 3, stride=2, pad="same"), x="N,4,H,W")


def test_weights_are_shared_by_name():
    graph = build(lambda x: cc.conv(cc.conv(x, 4, 3, weights="both"), 4, 3, weights="both"))
    assert [node.name for node in graph.params] == ["both.w", "both.b"]
    first, second = (node for node in graph.ops)
    assert first.inputs[1] is second.inputs[1]


def test_arithmetic_with_values_and_numbers():
    graph = build(lambda x: 1.0 - (2.0 * x + x / 4.0 - 3.0), x="N,2")
    x = np.array([[1.0, -2.0]], np.float32)
    np.testing.assert_allclose(next(iter(reference.run(graph, {"x": x}).values())), 1 - (2 * x + x / 4 - 3))
    assert "param {init=full, value=2.0} : f32[]" in print_graph(graph)


def test_arithmetic_with_arrays():
    """From either side one constant, whatever NumPy would make of an object beside an array."""
    row = np.array([[1, 3]], np.float32)
    graph = build(lambda x: row - (x / row + row * x) + np.float32(2) + np.float64(0.5), x="N,2")
    x = np.array([[1.0, -2.0]], np.float32)
    np.testing.assert_allclose(next(iter(reference.run(graph, {"x": x}).values())), row - (x / row + row * x) + 2.5)
    assert [str(node.type) for node in graph.params] == ["f32[1,2]"] * 3 + ["f32[]"] * 2


@pytest.mark.parametrize(
    ("operand", "complaint"),
    [
        (np.ones(2), r"an operand is an array of float64, the other one is f32\[N,2\]; convert it with .astype\('float32'\)"),
        (np.ones(2, int), "an operand is an array of int64"),
        ([1, 2], r"an operand is a list, expected a value, a number or an array; constant\(x, values\)"),
        ("1", "an operand is a str"),
    ],
)
def test_arithmetic_with_what_does_not_fit(operand, complaint):
    for body in (lambda x: x + operand, lambda x: operand - x):
        with pytest.raises(InvalidModel, match=rf"test_dsl.py:\d+: {complaint}"):
            build(body, x="N,2")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (lambda x: cc.conv(x, 8, 3, padding=1), "conv has no argument 'padding'; did you mean 'pad'?"),
        (lambda x: cc.conv(x, 8, kernel_size=3), "conv has no argument 'kernel_size'; did you mean 'kernel'?"),
        (lambda x: cc.max_pool(x, 2, strides=2), "max_pool has no argument 'strides'; did you mean 'stride'?"),
        (lambda x: cc.conv(x, out_channels=8, kernel=3), "conv has no argument 'out_channels'; did you mean 'c_out'?"),
        (lambda x: cc.softmax(x, dim=1), "softmax has no argument 'dim'; did you mean 'axis'?"),
        (lambda x: cc.layer_norm(x, eps=1e-6), "layer_norm has no argument 'eps'; did you mean 'epsilon'?"),
        (
            lambda x: cc.conv(x, 8, 3, activation="relu"),
            "conv has no argument 'activation'; an activation is a layer of its own, as in relu(",
        ),
        (lambda x: cc.relu(x, inplace=True), "relu has no argument 'inplace'; it has x"),
    ],
)
def test_an_argument_of_another_name(body, complaint):
    with pytest.raises(InvalidModel, match=rf"test_dsl.py:\d+: {re.escape(complaint)}"):
        build(body)


def test_an_argument_of_another_name_inside_of_scopes():
    def body(x):
        with cc.scope("stage1"), cc.scope("a"):
            return cc.conv(x, 8, kernel_size=3)

    with pytest.raises(InvalidModel, match=r"test_dsl.py:\d+, in stage1.a: conv has no argument 'kernel_size'; did you mean 'kernel'"):
        build(body)


def test_a_gate_of_channels_is_told_how_to_meet_its_image():
    """Axes are matched from the last, and every squeeze-and-excitation that is written by hand meets this."""
    way_out = r'do not broadcast: .*last one back, so reshape f32\[N,4\] to \[N,4,1,1\], as reshape\(x, "N", 4, 1, 1\) does'
    with pytest.raises(ShapeError, match=way_out):
        build(lambda x: x * cc.flatten(cc.global_avg_pool(x)), x="N,4,9,9")
    with pytest.raises(ShapeError, match=r"do not broadcast: \w+ against \w+$"):
        build(lambda x: x + cc.constant(x, np.ones((5, 7), np.float32)), x="N,4,9,9")


@pytest.mark.parametrize("shape", [("N", 4, 1, 1), (("N", 4, 1, 1),), (["2*N", 2, 1, 1],), (np.int64(-1), 4, 1, 1)])
def test_reshape_takes_sizes_by_name_one_by_one_or_as_one(shape):
    found = build(lambda x: cc.reshape(x, *shape), x="N,4").outputs[0].typed.shape
    assert ",".join(map(str, found)) == ("2*N,2,1,1" if isinstance(shape[0], list) else "N,4,1,1")


@pytest.mark.parametrize("size", [1.5, None, "N;"])
def test_a_size_to_reshape_to_that_is_none(size):
    with pytest.raises(ShapeError, match=rf'test_dsl.py:\d+: reshape to a size {size!r}: give whole .* as in reshape\(x, "N", 3, 1, 1\)'):
        build(lambda x: cc.reshape(x, size, 4), x="N,4")


@pytest.mark.parametrize(("option", "said"), [("chek", "; did you mean 'check'?"), ("bogus", "; it has target, level, opset")])
def test_an_option_that_compile_network_has_not(tmp_path, option, said):
    with pytest.raises(UsageError, match=re.escape(f"compile_network has no option '{option}'{said}")):
        cc.compile_network(build(cc.relu, x="N,4"), tmp_path / "q", **{option: 1})
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize("shape", ["64,64,3", (28, 28, 1)])
def test_a_picture_with_its_channels_last_is_refused(shape):
    """Once it was 64 sequences of 64 channels, and conv one over sequences, without a word."""
    with pytest.raises(UsageError, match=r"reads as a picture whose channels come last; write N,[13],\d+,\d+, or call sequences"):
        cc.network(image=shape)(lambda image: cc.conv(image, 8, 3))
    assert cc.network(image="N,64,3")(lambda image: cc.conv(image, 8, 3))


def test_a_users_own_type_error_stays_one():
    def own(x):
        return x

    with pytest.raises(TypeError, match="own"):
        build(lambda x: own(x, padding=1))


def test_a_network_is_a_layer_of_another():
    inner = cc.network(x="N,4,9,9")(lambda x: cc.relu(cc.conv(x, 2, 3)))
    graph = build(lambda x: cc.flatten(inner(x)))
    assert [node.kind.name for node in graph.ops] == ["conv2d", "relu", "flatten"]


def test_values_of_two_networks_do_not_mix():
    kept = []
    build(lambda x: kept.append(x) or cc.relu(x))
    with pytest.raises(InvalidModel, match="mixes values of two networks"):
        build(lambda x: x + kept[0])
    with pytest.raises(InvalidModel, match="returns a value of another network"):
        build(lambda x: kept[0])


def test_what_is_not_returned_is_gone():
    graph = build(lambda x: (cc.tanh(x), cc.relu(x))[1])
    assert [node.kind.name for node in graph.ops] == ["relu"]


def test_strict_windows_refuse_the_users_line():
    net = cc.network(x="N,1,7,7")(lambda x: cc.max_pool(x, 3))
    assert net().outputs[0].typed.shape[2:] == (2, 2)
    with pytest.raises(ShapeError, match=r"\(test_dsl.py:\d+\): window 3 with stride 3 does not fit 7 padded rows"):
        net(strict_windows=True)


class TestPatterns:
    def test_the_courses_example(self):
        graph = cc.network("[(CONV-RELU)*2-POOL]*3-(FC-RELU)*1-SOFTMAX", image="N,3,32,32", classes=10)()
        kinds = [node.kind.name for node in graph.ops]
        assert kinds == ["conv2d", "relu", "conv2d", "relu", "max_pool"] * 3 + ["flatten", "dense", "relu", "dense", "softmax"]
        assert [node.typed.shape[1] for node in graph.ops if node.kind.name == "conv2d"] == [32, 32, 64, 64, 128, 128]

    def test_letters_and_question_marks(self):
        text = "[(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K,SOFTMAX"
        kinds = [node.kind.name for node in cc.network(text, N=1, M=2, K=0)().ops]
        assert kinds == ["conv2d", "relu", "max_pool"] * 2 + ["flatten", "dense", "softmax"]
        assert "max_pool" not in [node.kind.name for node in cc.network(text, N=1, M=2, K=0, pool=False)().ops]

    def test_lenet(self):
        graph = cc.network("[CONV-POOL-CONV-POOL-CONV-FC]", image="N,1,32,32", kernel=5, pad=0, classes=10)()
        assert graph.outputs[0].typed.shape[1] == 10

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("CONV-RELUU", "unknown word 'RELUU' at column 6"),
            ("(CONV-RELU", r"a '\(' is not closed, that at column 1; it ends with '\)'"),
            ("(CONV)-[(RELU-POOL)*2", r"a '\[' is not closed, that at column 8; it ends with '\]'"),
            ("(CONV-RELU*2", r"'\*' at column 11 repeats a group, and none ends before it; write \(RELU\)\*2"),
            ("CONV)*2", r"'\)' at column 5 closes nothing"),
            ("(CONV]*2", "']' at column 6 closes nothing"),
            ("(CONV)*N", "expected a number at column 8; a letter needs a value"),
            ("(CONV)*", "expected a number at column 8"),
            ("((CONV)*9999)*9999", "more than 10000 layers"),
            ("--", "has no layers"),
            ("CONV+RELU", r"unexpected '\+' at column 5"),
        ],
    )
    def test_what_is_no_pattern(self, text, complaint):
        with pytest.raises(UsageError, match=complaint):
            cc.network(text)


def test_compile_gives_a_callable():
    module = cc.compile(cc.models.mlp())
    image = np.random.default_rng(0).random((2, 1, 28, 28))
    y = module(image)
    assert y.shape == (2, 10)
    np.testing.assert_allclose(y, module(image=image.astype(np.float32)))
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(InvalidInput, match=r"input 'image' holds 1e\+39, beyond the range of float32"):
        module(np.full((1, 1, 28, 28), 1e39))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"image": np.zeros((1, 1, 28, 28), np.float32)}, r"give inputs by name: m\(image=x\)"),
        ("cat.jpg", r"input 'image' is a str, expected an array, f32\[N,1,28,28\]"),
        (None, r"input 'image' is None, expected an array, f32\[N,1,28,28\]"),
        ([[1.0], [1.0, 2.0]], r"input 'image' is a list of unequal parts, expected an array"),
        (np.array([None]), "input 'image' is an array of object, expected an array"),
        (np.zeros((1, 1, 28, 28), np.int64), r"convert it with \.astype\('float32'\)"),
    ],
)
def test_a_module_is_given_no_array(given, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        Module(cc.models.mlp(), lambda inputs: dict(match_inputs(cc.models.mlp(), inputs)))(given)


def test_a_module_is_opened_by_an_engine_that_exists(tmp_path):
    with pytest.raises(UsageError, match="unknown backend 'tmv'; did you mean 'tvm'"):
        Module.open(tmp_path, backend="tmv")
    (tmp_path / "own.onnx").touch()
    with pytest.raises(
        ArtifactError, match=r"own.onnx' is a file, and an artifact is a directory; .* first: convc compile .*own.onnx -o own.convc$"
    ):
        Module.open(tmp_path / "own.onnx", "cuda")


def test_the_readme_s_python():
    net = cc.models.resnet20()
    better, trace = cc.optimize(net, level=2)
    assert cc.verify(net, better)
    assert trace[0].name == "infer-shapes"
    wrong, _ = cc.optimize(cc.models.resnet32(), level=2)
    with pytest.raises(cc.Mismatch, match="@resnet32: softmax1 DIFFERS"):
        cc.verify(net, wrong)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (cc.models.mlp, r"mlp is a network function; call it to build the graph: mlp\(\)$"),
        (None, "is None, expected a graph, as cc.models.resnet18"),
        ("net.onnx", "is a str, expected a graph"),
    ],
)
def test_what_is_no_graph_is_refused_by_every_function_that_takes_one(given, complaint, tmp_path):
    net = cc.models.mlp()
    for call in (
        lambda: cc.compile(given),
        lambda: cc.compile(graph=given),
        lambda: cc.compile_network(given, tmp_path / "net"),
        lambda: cc.export_onnx(given, tmp_path / "net.onnx"),
        lambda: cc.optimize(given, level=2),
        lambda: cc.print_graph(given),
        lambda: cc.verify(given, net),
        lambda: cc.verify(net, given),
    ):
        with pytest.raises(UsageError, match=complaint):
            call()
    assert not any(tmp_path.iterdir())


def test_a_star_imports_the_public_names_and_nothing_else():
    names = {}
    exec("from convc import *", names)
    assert {name for name in names if not name.startswith("__")} == set(cc.__all__)
    assert all(names[name] is getattr(cc, name) for name in cc.__all__)
    assert [name for name in dir(cc) if not name.startswith("__")] == cc.__all__


def test_every_layer_is_a_public_name():
    from convc.compiler.dsl import activations, blocks, layers, norms, pools, products, ranks, reductions, shapes, transformer, values

    assert len(layers.__all__) == len(set(layers.__all__)) == 70
    homes = (activations, blocks, norms, pools, products, ranks, reductions, shapes, transformer, values)
    assert sorted(name for home in homes for name in home.__all__) == sorted(layers.__all__)
    for home in homes:
        assert set(home.__all__) <= set(dir(cc))
        assert all(getattr(cc, name) is getattr(home, name) for name in home.__all__)
    with pytest.raises(AttributeError, match="module 'convc' has no attribute 'covn'; did you mean 'conv'"):
        _ = cc.covn
