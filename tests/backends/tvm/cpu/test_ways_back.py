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
