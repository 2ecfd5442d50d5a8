"""What convc is measured against computes the same networks, where it is installed."""

from __future__ import annotations

import pytest

from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.peers import PEERS
from convc.compiler.files.inputs import random_inputs
from convc.ir.binding import specialize
from convc.ir.usual_sizes import usual_sizes
from convc.tests.support.tiers import EACH_NETWORK, small


@pytest.mark.parametrize("name", EACH_NETWORK)
@pytest.mark.parametrize("peer", PEERS)
def test_peers_agree(peer: str, name: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip(peer, reason=f"{peer} is not a dependency")
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # the rows are at stake here, and compiling takes minutes
    graph = small(name)
    graph = specialize(graph, usual_sizes(graph))
    inputs = random_inputs(graph, seed=1)
    oracle = Oracle.of(graph, inputs)
    for level in (0, 2):
        for line in compare(peer, oracle, PEERS[peer].start(optimize(graph, level)[0], 1)(inputs)):
            assert line.agrees, str(line)
