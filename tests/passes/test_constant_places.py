"""What golden files cannot show of constant-places: indices with values of their own, random grids of them, and PyTorch's in-place decode."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convc.backends import reference
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.graph import Graph, Node
from convc.ir.weights import Weights
from convc.passes.analysis.places import grid, run
from convc.passes.manager import Step, run_passes
from convc.tests.support.graphs import typed_graph

STEPS = [Step(name, "test") for name in ("drop-identity", "constant-places", "flatten-concat", "eliminate-dead")]


def with_values(graph: Graph, **values: np.ndarray) -> Graph:
    def visit(node: Node, operands: tuple[Node, ...]) -> Node:
        node = node.reading(operands)
        return node.like(weights=Weights.of(values[node.name], node.name)) if node.name in values else node

    return graph.rebuild(visit)


def improved(graph: Graph) -> list[str]:
    """The ops that are left, once the results were found the same bit by bit."""
    after, _ = run_passes(graph, STEPS, ONNXRUNTIME.prices)
    rng = np.random.default_rng(0)
    inputs = {node.name: rng.random(node.typed.concrete(), np.float32) for node in graph.inputs}
    before, now = reference.run(graph, inputs), reference.run(after, inputs)
    for name, value in before.items():
        np.testing.assert_array_equal(value, now[name])
    return [node.kind.name for node in after.ops]


def between_transposes(kind: str, perm: str, back: str, indices: np.ndarray, result: str) -> list[str]:
    text = f"""graph @g(%x: f32[1,3,11,14]) {{
        %i = param {{init=given}} : i64[{",".join(map(str, indices.shape))}]
        %t = transpose(%x) {{perm=[{perm}]}}
        %g = {kind}(%t, %i)
        %y = transpose(%g) {{perm=[{back}]}} : f32[{result}]
        return %y
    }}"""
    return improved(with_values(typed_graph(text), i=indices))


def test_channels_in_another_order_are_one_gather() -> None:
    assert between_transposes("gather_nd", "1,0,2,3", "1,0,2,3", np.array([[2], [1], [0]]), "1,3,11,14") == ["gather"]


def test_rows_and_columns_of_a_resize_are_two() -> None:
    rows, columns = np.array([1, 3, 5, 7, 9]), np.array([1, 3, 5, 8, 10, 12])
    indices = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    assert sorted(between_transposes("gather_nd", "2,3,0,1", "2,3,0,1", indices, "1,3,5,6")) == ["gather", "slice"]


def test_windows_of_an_adaptive_pool() -> None:
    rows = np.minimum(np.arange(5)[:, None] * 2 + np.arange(3), 10)
    columns = np.minimum(np.arange(4)[:, None] * 3 + np.arange(4), 13)
    indices = np.stack(np.broadcast_arrays(rows[:, :, None, None], columns), -1)
    assert between_transposes("gather_nd", "2,3,0,1", "4,5,0,1,2,3", indices, "1,3,5,3,4,4") == ["gather", "gather"]


@pytest.mark.parametrize(("places", "kind"), [(range(3, 23), "slice"), (range(0, 40, 2), "slice"), (range(20, 0, -1), "gather")])
def test_a_gather_of_many_places_that_rise_by_equal_steps_is_a_slice(places: range, kind: str) -> None:
    text = f"""graph @g(%x: f32[2,40]) {{
        %i = param {{init=given}} : i64[{len(places)}]
        %y = gather(%x, %i) {{axis=1}}
        return %y
    }}"""
    assert improved(with_values(typed_graph(text), i=np.array(places))) == [kind]


def test_points_that_are_no_grid_stay() -> None:
    indices = np.array([[0, 0], [1, 1], [2, 2]])
    assert between_transposes("gather_nd", "2,3,0,1", "1,2,0", indices, "1,3,3") == ["transpose", "gather_nd", "transpose"]
    assert grid(indices, (11, 14)) is None


DECODE = """graph @decode(%x: f32[1,3,4,5,7], %a: f32[1,3,1,1,2]) {
    %y = sigmoid(%x)
    %i = param {init=given} : i64[1,3,4,5,2,5]
    %j = param {init=given} : i64[1,3,4,5,2,5]
    %two = param {init=full, value=2} : f32[]
    %xy = slice(%y) {axes=[4], starts=[0], ends=[2]}
    %xy2 = mul(%xy, %two)
    %first = scatter_nd(%y, %i, %xy2)
    %wh = slice(%y) {axes=[4], starts=[2], ends=[4]}
    %wh2 = mul(%wh, %a)
    %second = scatter_nd(%first, %j, %wh2)
    return %second
}"""


def coordinates(start: int) -> np.ndarray:
    ranges = [np.arange(1), np.arange(3), np.arange(4), np.arange(5), np.arange(start, start + 2)]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), -1)


def test_an_in_place_decode_is_a_concat() -> None:
    """Both written parts and the rest, each once."""
    graph = with_values(typed_graph(DECODE), i=coordinates(0), j=coordinates(2))
    assert sorted(improved(graph)) == ["concat", "mul", "mul", "sigmoid", "slice", "slice", "slice"]


@pytest.mark.parametrize("places", [[0, 0], [1, 0], [0, 2]], ids=["one place twice", "backwards", "with a hole"])
def test_updates_that_are_no_box_stay(places: list[int]) -> None:
    text = """graph @g(%x: f32[4,3], %u: f32[2,3]) {
        %i = param {init=given} : i64[2,1]
        %y = scatter_nd(%x, %i, %u)
        return %y
    }"""
    assert improved(with_values(typed_graph(text), i=np.array(places)[:, None])) == ["scatter_nd"]


def test_a_run() -> None:
    assert run(np.array([-2, -1]), 6) == (4, 6, 1)
    assert run(np.array([0, 3, 6]), 8) == (0, 7, 3)
    assert run(np.array([3]), 4) == (3, 4, 1)
    for places in ([2, 1], [0, 0], [0, 1, 3], [5, 6], [[0, 1]]):
        assert run(np.array(places), 6) is None
    assert run(np.array([0, 1]), "N") is None  # type: ignore[arg-type]


@given(st.data())
def test_a_grid_of_random_axes_reads_the_same(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    ranks = [data.draw(st.integers(0, 2)) for _ in sizes]
    own = [data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)) for rank in ranks]
    parts = []
    for size, dims in zip(sizes, own, strict=True):
        count = math.prod(dims)
        values = data.draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count))
        parts.append(np.array(values).reshape(dims))
    places = np.zeros([*(extent for dims in own for extent in dims), len(sizes)], np.int64)
    at = 0
    for j, part in enumerate(parts):
        places[..., j] = part.reshape([1] * at + list(part.shape) + [1] * (sum(ranks) - at - part.ndim))
        at += part.ndim
    found = grid(places, sizes)
    if found is None:  # axes of one element may go to either side, and then there may be none left
        assert 0 in ranks or 1 in places.shape[:-1]
        return
    x = np.arange(math.prod(sizes)).reshape(sizes)
    flat = [part.reshape(-1) for part in found]
    np.testing.assert_array_equal(x[np.ix_(*flat)].reshape(places.shape[:-1]), x[tuple(np.moveaxis(places, -1, 0))])
