"""Files into graphs: what convc wrote, what PyTorch wrote, shapes that are computed, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.compiler.engines.optimize import optimize
from convc.ir.errors import ConvcError, InvalidModel, UnsupportedOp, UsageError
from convc.ir.graph import Graph
from convc.tests.support.onnx_files import model_of, written
from convc.tests.support.places import TORCH
from convc.tests.support.tiers import EACH_NETWORK, small


def structure(graph: Graph) -> list[Any]:
    """Everything but where parameters come from, attributes to the digits of float32, which a file has them in."""

    def said(op: Any) -> str:
        return re.sub(r"\d\.\d{8,}", lambda number: f"{float(number[0]):.8f}", repr(op))

    return [(n.name, n.kind.name, said(n.op) if n.inputs else "", [x.name for x in n.inputs], str(n.type)) for n in graph.nodes]


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_what_was_exported_comes_back(name: str, tmp_path: Path):
    graph = small(name)
    back = read_graph(written(tmp_path, to_model(graph))).graph
    assert sorted(structure(back)) == sorted(structure(graph))
    assert [n.name for n in back.inputs] == [n.name for n in graph.inputs]
    assert [n.name for n in back.outputs] == [n.name for n in graph.outputs]
    for ours, theirs in zip(sorted(graph.params, key=lambda n: n.name), sorted(back.params, key=lambda n: n.name), strict=True):
        assert np.array_equal(ours.weights.array(), theirs.weights.array())


def test_bytes_are_the_same_on_every_export(tmp_path: Path):
    graph = small("googlenet")
    first = to_model(graph).SerializeToString(deterministic=True)
    again = to_model(read_graph(written(tmp_path, first)).graph).SerializeToString(deterministic=True)
    assert to_model(graph).SerializeToString(deterministic=True) == first
    assert to_model(read_graph(written(tmp_path, again)).graph).SerializeToString(deterministic=True) == again


def test_names_of_a_file_survive(tmp_path: Path):
    model = onnx.load(TORCH / "view_ts11_bn.onnx")
    back = to_model(read_graph(TORCH / "view_ts11_bn.onnx").graph, 13)
    assert [v.name for v in back.graph.input] == [v.name for v in model.graph.input]
    assert [v.name for v in back.graph.output] == [v.name for v in model.graph.output]
    names = {node.output[0]: node.name for node in model.graph.node}
    assert all(names[node.output[0]] == node.name for node in back.graph.node if node.output[0] in names)
    assert len({node.name for node in back.graph.node}) == len(back.graph.node)


# --- PyTorch's files -------------------------------------------------------------------------------------------------

REFUSED = {
    "choice_dynamo20": "If",
    "qlinear_ts13": "com.microsoft.QGemm",
}
STEMS = sorted(path.stem for path in TORCH.glob("*.onnx"))


def pinned(stem: str, answers: Any) -> dict[str, str]:
    """The sizes of the stored run, for a file that takes only some sizes of rows and columns: its pixel unshuffle wants even ones."""
    return {"image": ",".join(map(str, answers["image"].shape))} if stem == "shuffle_dynamo20" else {}


@pytest.mark.parametrize("stem", [stem for stem in STEMS if stem not in REFUSED])
@pytest.mark.parametrize("level", [0, 3])
def test_a_file_of_pytorch_gives_pytorchs_answers(stem: str, level: int):
    answers = np.load(TORCH / f"{stem}.npz")
    graph, _ = optimize(read_graph(TORCH / f"{stem}.onnx", shapes=pinned(stem, answers)).graph, level)
    runs = [""] if pinned(stem, answers) or "image.2" not in answers.files else ["", ".2"]
    for run in runs:
        outputs = reference.run(graph, {node.name: answers[f"{node.name}{run}"] for node in graph.inputs}, "f64")
        for name, got in outputs.items():
            wanted = answers[f"{name}{run}"]
            # a quantized result may fall to the next of its 256 values
            close = 2 * np.ptp(wanted) / 255 if stem.startswith("qdq") else 1e-5 * np.max(abs(wanted))
            np.testing.assert_allclose(got, wanted, rtol=0, atol=close)


@pytest.mark.parametrize("stem", REFUSED)
def test_a_file_with_an_operator_that_convc_lacks_is_refused_by_its_name(stem: str):
    with pytest.raises(UnsupportedOp, match=rf"{stem}\.onnx: \d+ operators? cannot be read: .*{REFUSED[stem]} \(") as refusal:
        read_graph(TORCH / f"{stem}.onnx", strict=True)
    assert refusal.value.exit_code == 4


def test_a_batch_stays_a_name_and_runs_at_one_and_seven(tmp_path: Path):
    graph, _ = optimize(read_graph(TORCH / "view_ts11_bn.onnx").graph, 3)
    assert str(graph.inputs[0].typed.shape[0]) == "batch"
    model = to_model(graph)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    session = Session(graph, model.SerializeToString())
    for batch in (1, 7):
        x = np.random.default_rng(batch).random((batch, *graph.inputs[0].typed.shape[1:]), np.float32)
        feed = {graph.inputs[0].name: x}
        for name, wanted in reference.run(graph, feed, "f64").items():
            np.testing.assert_allclose(session.run(feed)[name], wanted, rtol=1e-4, atol=1e-5)


# --- shapes that are computed ----------------------------------------------------------------------------------------


def test_the_chain_around_a_view_is_folded_with_named_sizes(tmp_path: Path):
    """x.view(x.size(0), -1), as exporters write it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "first"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "first": np.array([0]), "rest": np.array([-1])}
    graph = read_graph(written(tmp_path, model_of(nodes, {"x": ["N", 3, "H", 4]}, ["y"], constants))).graph
    assert [(node.kind.name, str(node.type)) for node in graph.ops] == [("reshape", "f32[N,12*H]")]


def test_sizes_may_be_halved_doubled_and_compared(tmp_path: Path):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mul", ["shape", "twice"], ["more"]),
        helper.make_node("Div", ["more", "twice"], ["same"]),
        helper.make_node("Equal", ["same", "any"], ["free"]),
        helper.make_node("Where", ["free", "ones", "same"], ["target"]),
        helper.make_node("Expand", ["x", "target"], ["y"]),
    ]
    constants = {"twice": np.array([2]), "any": np.array([-1]), "ones": np.ones(2, np.int64)}
    graph = read_graph(written(tmp_path, model_of(nodes, {"x": ["N", 3]}, ["y"], constants))).graph
    assert str(graph.outputs[0].type) == "f32[N,3]"


@pytest.mark.parametrize(
    ("rounding", "want"),
    [
        (["Floor"], lambda h: h // 2),
        (["Ceil"], lambda h: -(-h // 2)),
        ([], lambda h: h // 2),  # a cast to a whole number
    ],
)
def test_a_half_of_a_size_is_rounded_as_the_file_says(rounding: list[str], want: Any, tmp_path: Path):
    """math.ceil(h / 2), where PyTorch divides in floats."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "last"], ["h"], axis=0),
        helper.make_node("Cast", ["h"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["wide", "two"], ["half"]),
        *(helper.make_node(name, ["half"], ["rounded"]) for name in rounding),
        helper.make_node("Cast", ["rounded" if rounding else "half"], ["size"], to=TensorProto.INT64),
        helper.make_node("Slice", ["x", "zero", "size", "axis"], ["y"]),
    ]
    constants = {"last": np.array([1]), "two": np.float32(2), "zero": np.array([0]), "axis": np.array([1])}
    path = written(tmp_path, model_of(nodes, {"x": ["N", "H"]}, ["y"], constants))
    graph = read_graph(path).graph
    for h in (7, 8):
        x = np.arange(3 * h, dtype=np.float32).reshape(3, h)
        assert reference.run(graph, {"x": x})["y"].shape == (3, want(h)) == Session(graph, path).run({"x": x})["y"].shape


def test_a_half_of_a_size_that_is_not_rounded_is_no_size(tmp_path: Path):
    """2 * (H / 2) is H, and not 2 * (H // 2)."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["wide", "two"], ["half"]),
        helper.make_node("Mul", ["half", "two"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["size"], to=TensorProto.INT64),
        helper.make_node("Expand", ["x", "size"], ["y"]),
    ]
    path = written(tmp_path, model_of(nodes, {"x": ["N", 3]}, ["y"], {"two": np.float32(2)}))
    with pytest.raises(UnsupportedOp, match="computed from the network's data"):
        read_graph(path, strict=True)
    assert str(read_graph(path, shapes={"x": "5,3"}).graph.outputs[0].type) == "f32[5,3]"


def test_whole_numbers_are_divided_toward_zero(tmp_path: Path):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "last"], ["h"], axis=0),
        helper.make_node("Neg", ["two"], ["minus"]),
        helper.make_node("Sub", ["zero", "h"], ["below"]),
        helper.make_node("Div", ["below", "two"], ["start"]),
        helper.make_node("Slice", ["x", "start", "end", "last"], ["y"]),
    ]
    constants = {"last": np.array([1]), "two": np.array([2]), "zero": np.array([0]), "end": np.array([2**62])}
    path = written(tmp_path, model_of(nodes, {"x": ["N", 7]}, ["y"], constants))
    graph = read_graph(path).graph
    x = np.arange(14, dtype=np.float32).reshape(2, 7)
    np.testing.assert_array_equal(reference.run(graph, {"x": x})["y"], Session(graph, path).run({"x": x})["y"])
    assert graph.outputs[0].typed.shape[1] == 3


def test_a_slice_beyond_a_named_size_ends_with_it(tmp_path: Path):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "last"], ["h"], axis=0),
        helper.make_node("Add", ["h", "last"], ["behind"]),
        helper.make_node("Slice", ["x", "last", "behind", "last"], ["y"]),
    ]
    graph = read_graph(written(tmp_path, model_of(nodes, {"x": ["N", "H"]}, ["y"], {"last": np.array([1])}))).graph
    assert str(optimize(graph, 2)[0].outputs[0].type) == "f32[N,H-1]"
    assert reference.run(graph, {"x": np.ones((2, 5), np.float32)})["y"].shape == (2, 4)


def test_a_size_that_is_used_as_data_is_refused_with_the_way_out(tmp_path: Path):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], name="sizes"),
        helper.make_node("Cast", ["shape"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "floats"], ["y"]),
    ]
    path = written(tmp_path, model_of(nodes, {"x": ["N", 2]}, ["y"]))
    with pytest.raises(UnsupportedOp, match=r"onnx:sizes.*sizes \(N, 2\) are used as data.*--input"):
        read_graph(path, strict=True)
    graph = read_graph(path, shapes={"x": "5,2"}).graph
    assert reference.run(graph, {"x": np.ones((5, 2), np.float32)})["y"].tolist() == [[5, 2]] * 5


@pytest.mark.parametrize(
    ("auto_pad", "pads"), [("SAME_UPPER", (0, 1, 1, 1)), ("SAME_LOWER", (1, 1, 0, 1)), ("VALID", (0, 0, 0, 0)), ("NOTSET", (0, 0, 0, 0))]
)
def test_automatic_pads(auto_pad: str, pads: tuple[int, ...], tmp_path: Path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=auto_pad, strides=[2, 1])
    model = model_of([node], {"x": [1, 1, 6, 5]}, ["y"], {"w": np.ones((1, 1, 3, 3), np.float32)})
    graph = read_graph(written(tmp_path, model)).graph
    assert graph.by_name["y"].op.pads == pads


def test_automatic_pads_of_a_named_size_want_a_number_or_a_multiple(tmp_path: Path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", auto_pad="SAME_UPPER", strides=[2, 2])
    path = written(tmp_path, model_of([node], {"x": [1, 1, "H", 5]}, ["y"], {"w": np.ones((1, 1, 3, 3), np.float32)}))
    with pytest.raises(
        UnsupportedOp, match=r"stride 2 depends on the named size H; give it a value, or a multiple such as 2\*H, with --input"
    ):
        read_graph(path, strict=True)
    graph = read_graph(path, shapes={"x": "1,1,2*H,5"}).graph
    assert graph.by_name["y"].op.pads == (0, 1, 1, 1)
    assert str(graph.outputs[0].type) == "f32[1,1,H,3]"


@pytest.mark.parametrize("rounding", ["floor", "round_prefer_floor"])
def test_the_pixel_centres_of_opset_11(rounding: str, tmp_path: Path):
    """tf_half_pixel_for_nn, which tf2onnx wrote and opset 13 took away."""
    node = helper.make_node(
        "Resize", ["x", "roi", "scales"], ["y"], coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode=rounding
    )
    constants = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 1.6, 0.7], np.float32)}
    path = written(tmp_path, model_of([node], {"x": [1, 2, 5, 9]}, ["y"], constants, opset=11))
    x = {"x": np.random.default_rng(0).random((1, 2, 5, 9), np.float32)}
    graph = read_graph(path).graph
    np.testing.assert_array_equal(reference.run(graph, x)["y"], Session(graph, path).run(x)["y"])


def test_names_of_sizes_that_are_multiples_are_read_as_such(tmp_path: Path):
    nodes = [helper.make_node("Concat", ["x", "z"], ["y"], axis=0)]
    graph = read_graph(written(tmp_path, model_of(nodes, {"x": ["N", "2*H"], "z": ["batch size", "H*2"]}, ["y"]))).graph
    assert str(graph.outputs[0].type) == "f32[N+batch_size,2*H]"


def test_a_size_that_fits_only_as_a_multiple_is_read_as_one(tmp_path: Path):
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["p", "", "scales"], ["r"]),
        helper.make_node("Concat", ["x", "r"], ["y"], axis=1),
    ]
    path = written(tmp_path, model_of(nodes, {"x": [1, 2, "H", 8]}, ["y"], {"scales": np.float32([1, 1, 2, 2])}))
    found = read_graph(path)
    assert str(found.graph.outputs[0].type) == "f32[1,4,2*H,8]"
    assert found.note == "other sizes do not fit the network's layers, so its inputs are read as %x: f32[1,2,2*H,8]"
    assert str(read_graph(path, shapes={"x": "1,2,4*H,8"}).graph.outputs[0].type) == "f32[1,4,4*H,8]"


def test_one_axis_is_two_of_which_the_first_is_one(tmp_path: Path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1], strides=[2])
    model = model_of([node], {"x": ["N", 2, 9]}, ["y"], {"w": np.random.default_rng(0).random((3, 2, 3), np.float32)})
    graph = read_graph(written(tmp_path, model)).graph
    assert str(graph.outputs[0].type) == "f32[N,3,5]"
    x = np.random.default_rng(1).random((2, 2, 9), np.float32)
    expected = Session(graph, model.SerializeToString()).run({"x": x})["y"]
    np.testing.assert_allclose(reference.run(graph, {"x": x})["y"], expected, rtol=1e-5)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_all_operators_without_a_row_are_named_at_once(tmp_path: Path):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        *(helper.make_node("Det", ["r"], [f"e{i}"], name=f"/det/{i}") for i in range(7)),
        helper.make_node("Magic", ["e0"], ["m"], name="spell", domain="org.example"),
        helper.make_node("NonZero", ["r"], ["y"]),
    ]
    model = model_of(nodes, {"x": [2, 2]}, ["y", "m"])
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    with pytest.raises(UnsupportedOp) as refusal:
        read_graph(written(tmp_path, model), strict=True)
    text = str(refusal.value)
    assert "9 operators cannot be read" in text
    assert "Det (7 nodes: /det/0, /det/1, /det/2, /det/3, /det/4 and 2 more)" in text
    assert "org.example.Magic (node spell)" in text
    assert "NonZero (node y)" in text


def test_a_small_file_cannot_ask_for_gigabytes(tmp_path: Path):
    node = helper.make_node("ConstantOfShape", ["shape"], ["c"], name="bomb")
    add = helper.make_node("Add", ["x", "c"], ["y"])
    model = model_of([node, add], {"x": [1]}, ["y"], {"shape": np.array([1 << 20, 1 << 20])})
    with pytest.raises(InvalidModel, match=r"bomb.*at most"):
        read_graph(written(tmp_path, model))


@pytest.mark.parametrize("opset", [5, 99])
def test_an_opset_out_of_range(opset: int, tmp_path: Path):
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, ["y"], opset=opset)
    with pytest.raises(UnsupportedOp, match=f"opset {opset}; convc reads opsets 6 to"):
        read_graph(written(tmp_path, model), strict=True)


@pytest.mark.parametrize(("shapes", "words"), [({"z": "1,2"}, "has no input 'z'; it has x"), ({"x": "1"}, "the file declares f32")])
def test_a_shape_that_the_file_does_not_have(shapes: dict[str, str], words: str, tmp_path: Path):
    path = written(tmp_path, model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 2]}, ["y"]))
    with pytest.raises(UsageError, match=words):
        read_graph(path, shapes=shapes)


def test_a_broken_file_is_a_refusal(tmp_path: Path):
    with pytest.raises(ConvcError, match=r"net\.onnx"):
        read_graph(written(tmp_path, b"\x08\x07 not a model"))


def test_an_extent_of_minus_one_has_any_size(tmp_path: Path):
    """As older exporters write it, in inputs, intermediate values and outputs."""
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [-1, 3, -1, -1]) for name in "xay"}
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Tanh", ["a"], ["y"])]
    graph = helper.make_graph(nodes, "g", [values["x"]], [values["y"]], value_info=[values["a"]])
    path = written(tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    read = read_graph(path).graph
    assert [str(node.type) for node in read.outputs] == ["f32[x_0,3,x_2,x_3]"]
    got = reference.run(read, {"x": np.ones((2, 3, 5, 4), np.float32)})
    assert got["y"].shape == (2, 3, 5, 4)
