"""A quantized product written out means the same, and nothing else is touched."""

from __future__ import annotations

import numpy as np

from convc.backends import reference
from convc.ir.opened import OPENED, opened_graph
from convc.ir.verifier import verify_graph
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.op_cases import text_of


def test_both_forms_give_the_same_steps():
    graph = typed_graph(text_of("quantized_products"))
    written = opened_graph(graph)
    verify_graph(written)
    assert not any(node.kind in OPENED for node in written.nodes)
    assert [(node.name, node.type) for node in written.outputs] == [(node.name, node.type) for node in graph.outputs]
    inputs = normal_inputs(graph, N=2)
    for precision in ("f32", "f64"):
        one, other = (reference.run(each, inputs, precision) for each in (graph, written))
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert opened_graph(written) is written
