"""Named sizes that fit a file only as multiples of others, and those that no multiple makes fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convc.backends.onnx.read import multiples
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.compiler.compiling.better_onnx import better_file
from convc.compiler.engines.optimize import optimize
from convc.ir.errors import InvalidModel
from convc.tests.support.graphs import hold_to_reference
from convc.tests.support.onnx_files import model_of, written


def halved(name: str, shape: str, axis: int, by: int = 2) -> list:
    """Nodes that compute the extent of `axis` of %x, divided, as exporters write it."""
    return [
        helper.make_node("Shape", ["x"], [shape]),
        helper.make_node("Gather", [shape, f"axis{axis}"], [f"{name}.whole"]),
        helper.make_node("Div", [f"{name}.whole", f"by{by}"], [name]),
    ]


CONSTANTS = {f"axis{i}": np.array([i]) for i in range(4)} | {f"by{i}": np.array([i]) for i in (2, 3, 4)}


def shuffle(rows: int = 2, cols: int = 2) -> list:
    """[N,C,H,W] to [N,C,H/rows,rows,W/cols,cols], as a pixel shuffle backwards does."""
    return [
        *halved("h", "s1", 2, rows),
        *halved("w", "s2", 3, cols),
        helper.make_node("Concat", ["n", "c", "h", f"by{rows}", "w", f"by{cols}"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]


def shuffled(**sizes: int):
    return model_of(shuffle(**sizes), {"x": ["N", 3, "H", "W"]}, ["y"], CONSTANTS | {"n": np.array([0]), "c": np.array([3])})


@pytest.mark.parametrize(("rows", "cols", "shape"), [(2, 2, "N,3,2*H,2*W"), (4, 3, "N,3,4*H,3*W")])
def test_a_shuffle_wants_multiples(rows, cols, shape, tmp_path: Path):
    path = written(tmp_path, shuffled(rows=rows, cols=cols))
    found = read_graph(path)
    assert str(found.graph.inputs[0].type) == f"f32[{shape}]"
    assert "read as %x: " in found.note
    x = {"x": np.random.default_rng(0).random((2, 3, 12, 24), np.float32)}
    hold_to_reference(found.graph, Session(found.graph, path).run(x), x)


def test_multiples_of_multiples(tmp_path: Path):
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [helper.make_node("MaxPool", ["x" if i == 0 else f"p{i}"], [f"p{i + 1}"], **pool) for i in range(3)]
    nodes += [
        helper.make_node("Resize", ["p3" if i == 2 else f"a{i + 1}", "", "scales"], [f"r{i}"]) if up else
        helper.make_node("Add", [f"r{i}", f"p{i}" if i else "x"], [f"a{i}"])
        for i in (2, 1, 0) for up in (True, False)
    ]  # fmt: skip
    path = written(tmp_path, model_of(nodes, {"x": [1, 2, "H", "W"]}, ["a0"], {"scales": np.float32([1, 1, 2, 2])}))
    assert str(read_graph(path).graph.inputs[0].type) == "f32[1,2,8*H,8*W]"


def test_a_grid_of_windows_that_no_quotient_tells(tmp_path: Path):
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"])]
    path = written(tmp_path, model_of(nodes, {"x": ["N", "L", 5]}, ["y"], {"to": np.array([0, -1, 7, 5])}))
    assert str(read_graph(path).graph.inputs[0].type) == "f32[N,7*L,5]"


def test_a_file_that_comes_out_of_it_declares_what_it_did(tmp_path: Path):
    path = written(tmp_path, shuffled())
    better = better_file(path, lambda graph, without: optimize(graph, 2), {}, opset=18)
    assert [dim.dim_param or dim.dim_value for dim in better.model.graph.input[0].type.tensor_type.shape.dim] == ["N", 3, "H", "W"]


def test_inner_sizes_that_differ_only_by_name(tmp_path: Path):
    path = written(tmp_path, model_of([helper.make_node("MatMul", ["x", "z"], ["y"])], {"x": ["N", "A"], "z": ["B", 4]}, ["y"]))
    with pytest.raises(InvalidModel, match=r"inner dimensions of f32\[N,A\] and f32\[B,4\] differ: A against B; named sizes may be given"):
        read_graph(path)
    assert str(read_graph(path, shapes={"z": "A,4"}).graph.outputs[0].type) == "f32[N,4]"


def test_no_hint_where_nothing_helps(tmp_path: Path):
    nodes = [helper.make_node("Concat", ["x", "z"], ["y"], axis=0)]
    path = written(tmp_path, model_of(nodes, {"x": ["N", "H", 4], "z": ["N", "H", 5]}, ["y"]))
    with pytest.raises(InvalidModel, match=r"differ off axis 0$"):
        read_graph(path)


@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 1, 3], [0, 0, 0, 2, 0, 0, 1, 0]])
def test_a_named_size_wrapped_around(pads, tmp_path: Path):
    node = helper.make_node("Pad", ["x", "pads"], ["y"], mode="wrap")
    path = written(tmp_path, model_of([node], {"x": ["N", 2, "H", "W"]}, ["y"], {"pads": np.array(pads)}, opset=19))
    graph = read_graph(path).graph
    x = {"x": np.random.default_rng(0).random((2, 2, 5, 4), np.float32)}
    hold_to_reference(graph, Session(graph, path).run(x), x)


def test_a_file_is_read_only_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = written(tmp_path, shuffled())
    monkeypatch.setattr(multiples, "MOST_READINGS", 3)
    with pytest.raises(InvalidModel, match=r"changes the number of elements from 3\*H\*N\*W to 12\*\(H//2\)\*N\*\(W//2\)$"):
        read_graph(path)
