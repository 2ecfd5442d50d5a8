"""Attention where engines disagree on what is allowed."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import KernelMissing
from convc.tests.support.graphs import typed_graph

MASKED = """graph @g(%q: f32[1,2,6,8], %m: f32[6]) {
  %y = attention(%q, %q, %q, %m) {given=[mask]}
  return %y
}"""


def test_a_mask_of_one_axis_is_one_for_all_queries_and_onnxruntime_is_not_asked() -> None:
    """ONNX has it broadcast; onnxruntime loads the file and fails in the run, which is no fault of the network."""
    graph = typed_graph(MASKED)
    q = np.random.default_rng(0).standard_normal((1, 2, 6, 8)).astype(np.float32)
    hidden = np.float32([0, 0, 0, 0, 0, -np.inf])
    got = reference.run(graph, {"q": q, "m": hidden})["y"]
    without = q[:, :, :5]
    scores = np.exp(q @ without.transpose(0, 1, 3, 2) / np.sqrt(8))
    np.testing.assert_allclose(got, scores / scores.sum(-1, keepdims=True) @ without, rtol=1e-5, atol=1e-6)
    with pytest.raises(KernelMissing, match=r"onnxruntime lacks a kernel for @g: %y = attention.* with the mask %m: f32\[6\]"):
        ENGINES["onnx"].start(graph, None)
