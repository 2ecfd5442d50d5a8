"""The predicted rounding noise against the errors that float32 engines really make, on every zoo network."""

from __future__ import annotations

import pytest

from convc.compiler.engines.table import ENGINES
from convc.tests.support.noise_ratio import predicted_over_seen
from convc.tests.support.tiers import EACH_NETWORK, small


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_predicted_over_seen_is_within_a_factor_of_4(name):
    """TVM, which has a noise of its own, is held to it in test_engines.py, where it is compiled."""
    graph = small(name)
    ratio = predicted_over_seen(graph, [ENGINES["onnx"].start(graph, 1), ENGINES["reference"].start(graph, 1)])
    assert 1 / 4 <= ratio <= 4, f"predicted over seen is {ratio:.2f}"
