"""Random networks in whose files random operators hide inside branches: what convc makes of them gives what they gave before."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.compiler.checking.verify import verify
from convc.compiler.engines.optimize import optimize
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph, Node
from convc.ir.ops.norm import LOCAL_RESPONSE_NORM
from convc.tests.fuzz.random_networks import random_network
from convc.tests.support.onnx_files import written

HIDDEN = 0.25  # of the operators


def hide(model: Any, draw: random.Random) -> int:
    """Put some nodes into both branches of an If, whose condition is an input; they read everything from outside."""
    count = 0
    for place, node in enumerate(model.graph.node):
        if draw.random() < HIDDEN and len(node.output) == 1:
            name = node.output[0]
            branches = {}
            for word in ("then_branch", "else_branch"):
                inner = type(node).FromString(node.SerializeToString())
                inner.output[0] = f"{name}.inside"
                branches[word] = helper.make_graph([inner], word, [], [helper.make_empty_tensor_value_info(f"{name}.inside")])
            model.graph.node[place].CopyFrom(helper.make_node("If", ["way"], [name], **branches))
            count += 1
    model.graph.input.append(helper.make_tensor_value_info("way", TensorProto.BOOL, []))
    return count


def in_single(seed: int) -> Graph:
    """The next network for which onnxruntime has kernels: floats all of single precision, LRN over an odd number of channels."""
    networks = map(random_network, itertools.count(seed))
    return next(net for net in networks if all(map(_has_kernel, net.nodes)))


def _has_kernel(node: Node) -> bool:
    if node.kind is LOCAL_RESPONSE_NORM and LOCAL_RESPONSE_NORM.of(node).size % 2 == 0:
        return False
    return node.typed.dtype == "f32" or not node.typed.is_float


@pytest.mark.parametrize("seed", range(7000, 7120, 10))
def test_hidden_operators_change_no_result(seed: int, tmp_path: Path):
    network = in_single(seed)
    model = to_model(network)
    if not hide(model, random.Random(seed)):
        return
    graph = read_graph(written(tmp_path, model)).graph
    inputs = random_inputs(network, seed)
    given = inputs | ({"way": np.array(True)} if "way" in {node.name for node in graph.inputs} else {})
    better, _ = optimize(graph, 3)
    assert all(line.agrees for line in verify(optimize(graph, 0)[0], better, given))
    before = Session(network, to_model(network).SerializeToString(), rewrites=False).run(inputs)
    after = Session(better, to_model(better).SerializeToString(), rewrites=False).run(given)
    meant = reference.run(better, given)
    for name, value in before.items():
        scale = max(float(np.max(abs(value[np.isfinite(value)]), initial=0.0)), 1e-30) if value.dtype.kind == "f" else 1.0
        for other in (after[name], meant[name]):
            if value.dtype.kind == "f":
                np.testing.assert_allclose(other / scale, value / scale, rtol=1e-3, atol=1e-3)
            else:
                assert np.mean(other != value) < 0.1
