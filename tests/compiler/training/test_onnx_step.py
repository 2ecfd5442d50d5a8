"""What an exported step says of its inputs."""

import json

import convc as cc
from convc.compiler.training.onnx_step import training_metadata
from convc.compiler.training.step import evaluation_step

TWO = "graph @g(%a: f32[N,4], %b: f32[N,4]) { %x = add(%a, %b) : f32[N,4] %w = param : f32[3,4] %z = dense(%x, %w) : f32[N,3] return %z }"


def test_weights_and_state_are_all_that_is_kept_and_no_input_of_the_network():
    net = cc.parse_graph(TWO)
    metadata = training_metadata(cc.training_step(net, optimizer=cc.adam()))
    named = json.loads(metadata["convc.weights_and_state"])
    assert named == json.loads(metadata["convc.carried"])
    assert {"w", "adam.steps"} <= set(named)
    assert json.loads(training_metadata(evaluation_step(net))["convc.weights_and_state"]) == ["w"]
