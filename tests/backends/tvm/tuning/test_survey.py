"""What of a network can be tuned."""

from __future__ import annotations

from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.tuning.survey import tunable_layers
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tuning import NETWORK


def test_what_a_network_can_tune():
    assert [(layer.kernel.key.split()[0], layer.nodes) for layer in tunable_layers(plan(typed_graph(NETWORK)))] == [
        ("direct", ("a",)),
        ("winograd", ("y",)),
    ]
    assert [layer.kernel.key.split()[0] for layer in tunable_layers(plan(typed_graph(NETWORK), {}))] == ["direct", "direct"]
