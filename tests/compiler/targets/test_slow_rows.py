"""That ops without a kernel of their own are named where they take a part of the run, and nothing is said where none does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convc.backends.tvm.cpu.laid import STOCK, PlannedCall
from convc.backends.tvm.library.profile import CallTime, slow_rows
from convc.compiler.compiling.compile import compile_network
from convc.compiler.targets.cpu import MOST_WORDS
from convc.tests.support.graphs import typed_graph

SLOW = """graph @slow(%x: f32[BATCH,16,64,64], %k: f32[16,16,3,3]) {
  %w = param : f32[16,16,3,3]
  %c = conv2d(%x, %w) {pads=[1,1,1,1]}
  %p = OP
  %y = relu(%p)
  return %y
}"""


@pytest.mark.parametrize(("batch", "op", "is_slow"), [("N", "conv2d(%c, %k)", True), ("1", "max_pool(%c) {kernel=[2,2]}", False)])
def test_a_slow_row_is_named_with_its_share(tmp_path: Path, batch: str, op: str, is_slow: bool) -> None:
    said: list[str] = []
    compile_network(typed_graph(SLOW.replace("BATCH", batch).replace("OP", op)), tmp_path / "made", say=said.append)
    words = [line for line in said if line.startswith("warning: %")]
    assert [line.split(" takes ")[0] for line in words] == (["warning: %p (conv2d)"] if is_slow else [])


def test_a_network_that_is_mostly_stock_rows_is_told_so_by_their_names(tmp_path: Path) -> None:
    """Of weights that are computed convolutions have no kernel: the slowest are named, and the others counted."""
    rows = range(MOST_WORDS + 1)
    body = "\n".join(f"%s{i} = conv2d(%c{i}, %k) {{pads=[1,1,1,1]}}\n%c{i + 1} = conv2d(%s{i}, %w)" for i in rows)
    text = f"graph @mostly(%c0: f32[N,16,16,16], %k: f32[16,16,3,3]) {{\n%w = param : f32[16,16,1,1]\n{body}\nreturn %c{len(rows)}\n}}"
    said: list[str] = []
    compile_network(typed_graph(text), tmp_path / "made", say=said.append)
    found = [re.fullmatch(r"warning: %(s\d) \(conv2d\) takes (\d+)% of a run, .*", line) for line in said]
    named = {match[1]: int(match[2]) for match in found if match}
    (others,) = [int(match[1]) for line in said if (match := re.fullmatch(r"warning: 1 more such take (\d+)%", line))]
    assert len(named) == MOST_WORDS
    assert 50 < sum(named.values()) + others <= 103  # each is rounded


def test_rows_are_told_by_their_share() -> None:
    graph = typed_graph(SLOW.replace("BATCH", "1").replace("OP", "conv2d(%c, %k)"))
    times = [(STOCK, "c", 60.0), ("direct", "c", 2880.0), (STOCK, "p", 100.0), (STOCK, "y", 40.0)]
    made = [CallTime((PlannedCall(kernel, graph.by_name[name]),), microseconds) for kernel, name, microseconds in times]
    assert [(time.nodes[0].name, round(share, 3)) for time, share in slow_rows(made)] == [("p", 0.032)]
