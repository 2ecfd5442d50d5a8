"""NonMaxSuppression: boxes that onnxruntime chooses, sizes that only a run tells, and the checks around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from convc.compiler.checking.hold import Readied, all_agree, hold
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.checking.oracle import Oracle
from convc.compiler.checking.verify import verify
from convc.compiler.compiling.better_onnx import better_file
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.reference import REFERENCE
from convc.ir.errors import InvalidModel, Mismatch, ShapeError, UnsupportedOp
from convc.ir.graph import Graph
from convc.ir.ops.boxes import NonMaxSuppression, non_max_suppression
from convc.ir.other_runtimes import refuse_opaque
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.tests.support.graphs import typed_graph
from convc.tests.support.onnx_files import model_of, written

THRESHOLDS = {"most": np.array([5], np.int64), "iou": np.array([0.3], np.float32), "score": np.array([0.1], np.float32)}


def drawn(images: int = 2, classes: int = 3, count: int = 40, seed: int = 0, *, ties: bool = False) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 4, (images, classes, count)) / 4 if ties else draw.random((images, classes, count))
    return {"boxes": draw.random((images, count, 4)).astype(np.float32), "scores": scores.astype(np.float32)}


def detector(*names: str, shapes: Any = None, **attributes: Any) -> Any:
    """One operator of the operands that are named; "" is left out."""
    nodes = [helper.make_node("NonMaxSuppression", ["boxes", "scores", *names], ["y"], **attributes)]
    constants = {name: THRESHOLDS[name] for name in names if name}
    model = model_of(nodes, shapes or {"boxes": ["N", 40, 4], "scores": ["N", 3, 40]}, ["y"], constants)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("names", [("most", "iou", "score"), ("most", "iou"), ("most",), ("most", "", "score"), (), ("", "iou")])
def test_the_same_boxes_as_onnxruntime_in_the_same_order(names: tuple[str, ...], center: int, ties: bool, tmp_path: Path):
    model = detector(*names, center_point_box=center)
    graph = read_graph(written(tmp_path, model), strict=True).graph
    again = to_model(graph)
    onnx.checker.check_model(again, full_check=True)
    assert [node.op_type for node in again.graph.node] == ["NonMaxSuppression"]
    sessions = [Session(graph, each.SerializeToString()) for each in (model, again)]
    for images in (2, 1, 0):
        inputs = drawn(images, seed=images, ties=ties)
        got = reference.run(graph, inputs)["y"]
        assert got.dtype == np.int64
        assert bool(len(got)) == bool(images and "most" in names)
        for session in sessions:
            assert np.array_equal(session.run(inputs)["y"], got)


def test_what_decides():
    """Two boxes that share a third, one that touches them, one of no area, and corners the other way around."""
    boxes = np.array([[[0, 0, 2, 2], [0, 1, 2, 3], [2, 2, 3, 3], [0, 0, 0, 5], [2, 2, 0, 0]]], np.float32)
    scores = np.array([[[0.5, 0.9, 0.5, 0.5, 0.2]]], np.float32)
    most, third = np.array(9), np.float32(1 / 3)

    def chosen(iou: Any, *score: Any, most: Any = most) -> list[int]:
        op = NonMaxSuppression(0, given=("most", "iou", "score")[: 2 + len(score)])
        return non_max_suppression(op, boxes, scores, most, np.float32(iou), *map(np.float32, score))[:, 2].tolist()

    assert chosen(third) == [1, 0, 2, 3]  # not more than a third; the last is the first again
    assert chosen(third - 1e-3) == [1, 2, 3]
    assert chosen(1.0) == [1, 0, 2, 3, 4]
    assert chosen(1.0, 0.5) == [1]
    assert chosen(third, most=np.array(2)) == [1, 0]
    assert chosen(third, most=np.array(-1)) == chosen(third, most=np.array(0)) == []
    with pytest.raises(ShapeError, match=r"iou is 1.5, expected 0 to 1"):
        chosen(1.5)


NET = """graph @net(%x: f32[N,4,8,4]) {
  %w = param : f32[6,4,1,1]
  %most = param {init=full, value=3.0} : i64[]
  %iou = param {init=full, value=0.5} : f32[1]
  %c = conv2d(%x, %w)
  %s = sigmoid(%c)
  %boxes = reduce_mean(%s) {axes=[1], keepdims=false}
  %best = reduce_max(%s) {axes=[3], keepdims=false}
  %y = non_max_suppression(%boxes, %best, %most, %iou) {count=K, given=[most,iou]} : i64[K,3]
  %wide = cast(%y) {to=f32}
  %z = mul(%wide, %wide)
  return %y, %z
}
"""


def network() -> Graph:
    return typed_graph(NET)


def test_text_and_types_of_what_only_a_run_tells():
    graph = network()
    assert (graph.symbols, graph.found_symbols) == (("N",), ("K",))
    assert str(graph.outputs[1].typed) == "f32[K,3]"
    assert print_graph(parse_graph(print_graph(graph))) == print_graph(graph)
    got = reference.run(graph, {"x": np.random.default_rng(0).standard_normal((2, 4, 8, 4)).astype(np.float32)})
    assert got["z"].shape == got["y"].shape
    with pytest.raises(UnsupportedOp, match=r"is not compiled for cpu: 1 node needs another runtime: non_max_suppression \(%y\)"):
        refuse_opaque(graph, "cpu")


@pytest.mark.parametrize("off", [False, True])
def test_an_engine_is_held_to_the_boxes_that_its_own_scores_choose(off: bool):
    """Rounding turns the order of two scores that are all but equal; another box than those is wrong."""
    graph = network()
    x = np.random.default_rng(1).standard_normal((2, 4, 8, 4)).astype(np.float32)
    wrong = reference.run(graph, {"x": x})
    wrong["y"] = wrong["y"].copy()
    wrong["y"][0, 2] = (wrong["y"][0, 2] + 1) % 8
    wrong["z"] = (wrong["y"].astype(np.float32)) ** 2

    def capture(fixed: Graph, wanted: Any, inputs: Any, threads: Any) -> Iterator[tuple[str, np.ndarray]]:
        names = {node.name for node in wanted}
        for node, value in reference.stream(graph, inputs):
            if node.name in names:
                yield node.name, wrong[node.name] if off and node.name in wrong else value

    engine = replace(REFERENCE, capture=capture)
    lines = hold(
        "it", Readied(graph, engine, lambda feed: wrong if off else reference.run(graph, feed)), {"x": x}, Oracle.of(graph, {"x": x})
    )
    assert all_agree(lines) != off
    assert check_nodes(graph, engine, {"x": x}).agrees != off


def test_scores_that_rounding_cannot_tell_apart():
    """The engine takes the second of two boxes, whose score is greater by a rounding; the oracle follows, as its own score allows it."""
    graph = typed_graph("""graph @near(%b: f32[1,2,4], %s: f32[1,1,2]) {
        %most = param {init=ones} : i64[] %t = tanh(%s) %y = non_max_suppression(%b, %t, %most) {count=K, given=[most]} : i64[K,3]
        return %y }""")
    inputs = {"b": np.array([[[0, 0, 1, 1], [2, 2, 3, 3]]], np.float32), "s": np.full((1, 1, 2), 0.5, np.float32)}
    for step, agrees in ((0.0, False), (1e-7, True), (1e-2, False)):
        shown = {"t": np.tanh(inputs["s"]) + np.float32([0, step]), "y": np.array([[0, 0, 1]])}
        engine = replace(REFERENCE, capture=lambda graph, wanted, feed, threads, shown=shown: ((n.name, shown[n.name]) for n in wanted))
        (line,) = hold("it", Readied(graph, engine, lambda feed, shown=shown: {"y": shown["y"]}), inputs, Oracle.of(graph, inputs))
        assert line.agrees == agrees, (step, str(line))


def test_onnxruntime_agrees_and_a_change_before_it_is_found():
    graph = network()
    x = {"x": np.random.default_rng(2).standard_normal((2, 4, 8, 4)).astype(np.float32)}
    better, _ = optimize(graph, 3)
    assert all(line.agrees for line in verify(graph, better, x))
    started = ONNXRUNTIME.start(better, None)
    assert all_agree(hold("onnx", Readied(better, ONNXRUNTIME, started), x, Oracle.of(graph, x)))
    assert check_nodes(better, ONNXRUNTIME, x).agrees
    off = typed_graph(NET.replace("%s = sigmoid(%c)", "%h = sigmoid(%c) %k = param {init=full, value=1.01} : f32[] %s = mul(%h, %k)"))
    with pytest.raises(Mismatch):
        verify(graph, off, x)


def test_a_file_keeps_it_and_its_name_for_the_count(tmp_path: Path):
    nodes = [
        helper.make_node("Identity", ["scores"], ["kept"]),
        helper.make_node("NonMaxSuppression", ["boxes", "kept", "most", "iou", "score"], ["found"], name="nms"),
        helper.make_node("Gather", ["found", "two"], ["places"], axis=1),
    ]
    shapes = {"boxes": ["N", 40, 4], "scores": ["N", 3, 40]}
    model = model_of(nodes, shapes, ["found", "places"], {**THRESHOLDS, "two": np.array(2)})
    for value, dims in zip(model.graph.output, (["hits", 3], ["hits"]), strict=True):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.INT64, dims))
    better = better_file(written(tmp_path, model), lambda graph, left_out: optimize(graph, 3), {})
    assert better.model is not None
    assert [node.op_type for node in better.model.graph.node] == ["NonMaxSuppression", "Gather"]
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in better.model.graph.output] == ["hits", "hits"]


def test_a_count_is_not_taken_for_a_size_of_an_input(tmp_path: Path):
    """A file may call it N, or say that there are 7."""
    for said in ("N", 7):
        model = detector("most")
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT64, [said, 3]))
        graph = read_graph(written(tmp_path, model), strict=True).graph
        assert str(graph.outputs[0].typed) == "i64[y_0,3]"
        assert reference.run(graph, drawn())["y"].shape == (30, 3)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"boxes": ["N", 40, 5], "scores": ["N", 3, 40]}, r"expected \[N,B,4\] and \[N,C,B\]"),
        ({"boxes": ["N", 40, 4], "scores": ["N", 3, 41]}, r"expected \[N,B,4\] and \[N,C,B\]"),
        ({"boxes": [40, 4], "scores": ["N", 3, 40]}, "boxes is f32\\[40,4\\], expected 3 axes"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(shapes: Any, words: str, tmp_path: Path):
    with pytest.raises(InvalidModel, match=words) as caught:
        read_graph(written(tmp_path, detector("most", shapes=shapes)), strict=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("operands", "given", "why"),
    [
        ("%b, %s, %i", "iou", r"iou is i64\[\], expected one number of f32"),
        ("%b, %s, %f", "most", r"most is f32\[\], expected one number of i64"),
        ("%b, %s, %f, %i", "iou,most", "in this order"),
        ("%b, %s", "most", "for 0 operands"),
        ("%b, %s, %f", "best", "known are most, iou, score"),
    ],
)
def test_operands_that_are_left_out_have_no_name(operands: str, given: str, why: str):
    with pytest.raises(ShapeError, match=why):
        typed_graph(f"""graph @g(%b: f32[1,2,4], %s: f32[1,1,2], %i: i64[], %f: f32[]) {{
            %y = non_max_suppression({operands}) {{count=K, given=[{given}]}} return %y }}""")


@pytest.mark.parametrize("count", ["7", "N"])
def test_a_count_that_is_said_and_is_not_so_is_refused(count):
    """Whatever reads it was typed by that."""
    graph = typed_graph(f"""graph @g(%b: f32[N,3,4], %s: f32[N,1,3]) {{
        %y = non_max_suppression(%b, %s) {{count={count}}} return %y }}""")
    inputs = {"b": np.zeros((2, 3, 4), np.float32), "s": np.zeros((2, 1, 3), np.float32)}
    with pytest.raises(
        InvalidModel, match=r"%y = non_max_suppression.* is said to be i64\[[27],3\], but comes out with the shape \[0, 3\]"
    ):
        reference.run(graph, inputs)
