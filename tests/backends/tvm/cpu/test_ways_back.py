"""The way back through pads, slices by steps and local response norms, which its rule makes of ops that move and add."""

from __future__ import annotations

import pytest

from convc.backends.tvm.cpu.plan import plan
from convc.ir.graph import Graph
from convc.passes.differentiate import with_gradients
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold


def way_back(line: str, channels: int = 32, shown: str = "32,6,6") -> Graph:
    """Of one op between a max pool, which leaves blocks, and products, which read them."""
    return with_gradients(
        typed_graph(f"""graph @g(%x: f32[N,{channels},6,6], %g: f32[N,{shown}]) {{
          %v = max_pool(%x) {{kernel=[1,1]}}
          %y = {line}
          %z = mul(%y, %g)
          %square = mul(%z, %y)
          %loss = reduce_sum(%square) {{axes=[0,1,2,3], keepdims=false}}
          return %loss
        }}"""),
        "loss",
        ["x"],
    )


def kernels(graph: Graph) -> list[str]:
    return [call.kernel for call in plan(graph).calls]


def test_local_response_norm() -> None:
    """Two sums over neighbouring channels, and powers by roots: no row of TVM's is left, but for the loss."""
    graph = way_back("local_response_norm(%v) {size=5, alpha=0.5, bias=2.0}")
    found = kernels(graph)
    assert found.count("neighbouring channels") == 2
    assert found.count("stock") == 1
    build_and_hold(graph, {"N": 1}, {"N": 3})


def test_local_response_norm_of_channels_that_fill_no_block() -> None:
    """Where a lane of padding would be a root of anything, powers are TVM's."""
    graph = way_back("local_response_norm(%v) {size=3, alpha=0.5, bias=2.0}", 20, "20,6,6")
    assert kernels(graph).count("neighbouring channels") == 2
    assert [call.node.kind.name for call in plan(graph).calls if call.kernel == "stock"].count("pow") == 2
    build_and_hold(graph, {"N": 2})


@pytest.mark.parametrize(
    ("line", "shown", "wanted"),
    [
        ("pad(%v) {pads=[0,16,0,0,0,3,0,0]}", "51,6,6", "pad channels"),
        ("slice(%v) {axes=[2,3], starts=[0,0], ends=[6,6], steps=[2,3]}", "32,3,2", "pixels apart"),
        ("slice(%v) {axes=[3], starts=[0], ends=[6], steps=[2]}", "32,6,3", "pixels apart"),
    ],
)
def test_moves_in_blocks(line: str, shown: str, wanted: str) -> None:
    graph = way_back(line, shown=shown)
    assert wanted in kernels(graph)
    build_and_hold(graph, {"N": 1}, {"N": 3})


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("pad(%v) {pads=[0,4,0,0,0,3,0,0]}", "39,6,6"),  # no whole block
        ("pad(%v) {pads=[0,16,1,0,0,3,0,0]}", "51,7,6"),
        ("pad(%v) {pads=[0,16,0,0,0,3,0,0], value=1.0}", "51,6,6"),
        ("pad(%v) {pads=[0,16,0,0,0,3,0,0], mode=edge}", "51,6,6"),
        ("slice(%v) {axes=[3], starts=[1], ends=[6], steps=[2]}", "32,6,3"),
    ],
)
def test_other_moves_are_not(line: str, shown: str) -> None:
    assert {"pad channels", "pixels apart"}.isdisjoint(kernels(way_back(line, shown=shown)))


def slices_of_padded_channels(*starts: int) -> Graph:
    lines = [f"%s{index} = slice(%padded) {{axes=[1], starts=[{start}], ends=[{start + 32}]}}" for index, start in enumerate(starts)]
    added = ["%a1 = add(%s0, %s1)", *(f"%a{index} = add(%a{index - 1}, %s{index})" for index in range(2, len(starts)))]
    return typed_graph(
        "graph @g(%x: f32[N,32,6,6]) {\n%v = max_pool(%x) {kernel=[1,1]}\n%padded = pad(%v) {pads=[0,1,0,0,0,1,0,0]}\n"
        + "\n".join([*lines, *added, f"%z = max_pool(%a{len(starts) - 1}) {{kernel=[2,2]}}", "return %z", "}"])
    )


@pytest.mark.parametrize(
    ("starts", "is_one_sum"), [((0, 1, 2), True), ((0, 2, 2), False), ((0, 0, 1), False), ((0, 2, 1), False), ((0, 1), False)]
)
def test_neighbours_are_slices_of_each_place_in_turn(starts: tuple[int, ...], is_one_sum: bool) -> None:
    assert ("neighbouring channels" in kernels(slices_of_padded_channels(*starts))) == is_one_sum
