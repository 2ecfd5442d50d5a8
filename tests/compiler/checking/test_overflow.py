"""What is computed with fewer products adds values up first: where that is beyond the greatest float, the verdict says so."""

from __future__ import annotations

import numpy as np

from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.engines.tvm import tvm_engine
from convc.tests.support.graphs import typed_graph

NET = "graph @g(%x: f32[1,16,12,12]) { %w = param : f32[16,16,3,3] %c = conv2d(%x, %w) {pads=[1,1,1,1]} return %c }"


def test_a_transform_that_overflows_is_named() -> None:
    x = np.random.default_rng(0).random((1, 16, 12, 12), np.float32)
    x[0, 0, 5, 5] = 3e38
    graph = typed_graph(NET)
    assert check_nodes(graph, tvm_engine({}), {"x": x}, 1).agrees
    bad = check_nodes(graph, tvm_engine({"c": 4}), {"x": x}, 1).first_bad
    assert bad is not None
    assert bad.overflows
    assert str(bad).endswith("scale the values down, or compile with --winograd off")
