"""That ops without a kernel of their own are named where they take a part of the run, and nothing is said where none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from convc.backends.tvm.cpu.laid import STOCK, PlannedCall
from convc.backends.tvm.library.profile import CallTime, slow_rows
from convc.compiler.compiling.compile import compile_network
from convc.tests.support.graphs import typed_graph

SLOW = """graph @slow(%x: f32[BATCH,16,160,160], %k: f32[16,16,3,3]) {
  %w = param : f32[16,16,3,3]
  %c = conv2d(%x, %w) {pads=[1,1,1,1]}
  %p = OP
  %y = relu(%p)
  return %y
}"""


@pytest.mark.parametrize(("batch", "op", "is_slow"), [("N", "cum_sum(%c) {axis=1}", True), ("1", "max_pool(%c) {kernel=[2,2]}", False)])
def test_a_slow_row_is_named_with_its_share(tmp_path: Path, batch: str, op: str, is_slow: bool) -> None:
    said: list[str] = []
    compile_network(typed_graph(SLOW.replace("BATCH", batch).replace("OP", op)), tmp_path / "made", say=said.append)
    named = [line.split(" takes ")[0] for line in said if line.startswith("warning: %")]
    assert named[:1] == (
        ["warning: %p (cum_sum)"] if is_slow else []
    )  # after it others may be named: on a busy machine a share is uncertain


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([("c", 60.0), ("p", 100.0), ("y", 40.0)], [("p", 0.033)]),  # of 3000 us a fiftieth
        ([("c", 19.0), ("p", 22.0), ("y", 48.0)], [("y", 0.24), ("p", 0.11)]),  # of 200 us a tenth
        ([("c", 9.0), ("p", 2.0), ("y", 0.0)], []),  # of 20 us nothing, since a call takes one
    ],
)
def test_rows_are_told_by_their_share(times: list[tuple[str, float]], told: list[tuple[str, float]]) -> None:
    graph = typed_graph(SLOW.replace("BATCH", "1").replace("OP", "conv2d(%c, %k)"))
    whole = next(run for run in (20.0, 200.0, 3000.0) if run > sum(microseconds for _, microseconds in times))
    rows = [(STOCK, name, microseconds) for name, microseconds in times]
    made = [
        CallTime((PlannedCall(kernel, graph.by_name[name]),), microseconds)
        for kernel, name, microseconds in [*rows, ("direct", "c", whole - sum(microseconds for _, microseconds in times))]
    ]
    assert [(time.nodes[0].name, round(share, 3)) for time, share in slow_rows(made)] == told
