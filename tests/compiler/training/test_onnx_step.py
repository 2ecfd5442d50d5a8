"""What an exported step says of its inputs, and another runtime that trains with it."""

import json

import numpy as np
import pytest

import convc as cc
from convc.backends.onnx.write.export import to_model
from convc.backends.reference import run
from convc.compiler.training.onnx_step import training_metadata
from convc.compiler.training.step import NEXT, evaluation_step
from convc.ir.binding import specialize
from convc.tests.compiler.training.networks import dropping, residual, step_and_feed

TWO = "graph @g(%a: f32[N,4], %b: f32[N,4]) { %x = add(%a, %b) : f32[N,4] %w = param : f32[3,4] %z = dense(%x, %w) : f32[N,3] return %z }"


def test_weights_and_state_are_all_that_is_kept_and_no_input_of_the_network():
    net = cc.parse_graph(TWO)
    metadata = training_metadata(cc.training_step(net, optimizer=cc.adam()))
    named = json.loads(metadata["convc.weights_and_state"])
    assert named == json.loads(metadata["convc.carried"])
    assert {"w", "adam.steps"} <= set(named)
    assert json.loads(training_metadata(evaluation_step(net))["convc.weights_and_state"]) == ["w"]


def test_nothing_is_stored_that_no_operator_reads():
    """What a constant was made of would be a warning in onnxruntime each time that a step is loaded."""
    graph = to_model(specialize(cc.training_step(dropping()), {"N": 6}), 17).graph
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read


@pytest.mark.parametrize("net", [residual, dropping], ids=lambda net: net.name)
def test_openvino_trains_with_the_file(net):
    """Three steps with the losses of the reference. It takes weight gradients of a batch in numbers alone."""
    openvino = pytest.importorskip("openvino", reason="openvino is not a dependency; other runtimes hold the file in test_step.py")
    _, made, feed = step_and_feed(net)
    core = openvino.Core()
    model = core.read_model(to_model(specialize(made.graph, {"N": 6}), 17).SerializeToString())
    step = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    theirs, ours = dict(feed), dict(feed)
    for _ in range(3):
        results = step(theirs)
        found = {port.get_any_name(): np.array(results[port]) for port in step.outputs}
        wanted = run(made.graph, ours)
        assert float(found["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-5)
        theirs |= {name.removesuffix(NEXT): value for name, value in found.items() if name.endswith(NEXT)}
        ours |= {name.removesuffix(NEXT): value for name, value in wanted.items() if name.endswith(NEXT)}
