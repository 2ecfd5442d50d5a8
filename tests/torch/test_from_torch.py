"""`cc.from_torch`: the module's own weights, its names, and refusals in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import convc as cc
from convc.tests.torch.networks import BothWays, Branching, Counting, Small, Unsaid


def test_weights_are_shared_and_the_batch_has_its_name():
    module = Small().eval()
    net = cc.from_torch(module, (torch.rand(2, 3, 8, 8),), {"image": {0: "N"}})
    assert [str(node.type) for node in net.inputs] == ["f32[N,3,8,8]"]
    assert net.name == "Small"
    shared = {node.weights.array().ctypes.data for node in net.params}
    assert {module.first.weight.data_ptr(), module.second.weight.data_ptr()} <= shared
    conv = next(node for node in net.ops if node.kind.name == "conv2d")
    assert "networks.py:" in conv.where  # the user's line


def test_it_computes_what_the_module_does():
    module = Small().eval()
    compiled = cc.compile(cc.from_torch(module, torch.rand(2, 3, 8, 8), {"image": {0: "N"}}))
    for batch in (1, 3):
        image = torch.rand(batch, 3, 8, 8)
        with torch.no_grad():
            np.testing.assert_allclose(compiled(image.numpy()), module(image).numpy(), rtol=1e-4, atol=1e-5)


def test_several_inputs_and_results():
    module = BothWays().eval()
    given = torch.rand(2, 3, 6, 6), torch.rand(2, 8)
    net = cc.from_torch(module, given, {"x": {0: "N"}, "scale": {0: "N"}})
    assert [str(node.type) for node in net.inputs] == ["f32[N,3,6,6]", "f32[N,8]"]
    better, _ = cc.optimize(net)
    cc.verify(net, better)
    assert len(net.outputs) == 2


def test_bfloat16_is_taken_as_it_lies():
    module = nn.Linear(64, 32).eval().to(torch.bfloat16)
    net = cc.from_torch(module, (torch.rand(2, 64).to(torch.bfloat16),))
    weight = next(node for node in net.params if node.typed.shape == (32, 64))
    assert weight.typed.dtype == "bf16"
    assert weight.weights.array().ctypes.data == module.weight.data_ptr()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Branching, r"Branching \(networks.py:\d+\) cannot be exported by PyTorch: which way it goes depends on values"),
        (Counting, r"Counting writes to calls, and a network only computes"),
        (Unsaid, r"Unsaid \(networks.py:\d+\) cannot be said in ONNX by PyTorch: .*bessel_j0"),
    ],
)
def test_what_cannot_be_a_network_is_refused_with_the_users_line(make, said, capfd):
    with pytest.raises(cc.ConvcError, match=said) as refusal:
        cc.from_torch(make().eval(), (torch.rand(2, 3, 8, 8),))
    assert "torch.compile" in str(refusal.value)
    assert capfd.readouterr().err == ""  # PyTorch would print half of a graph


def test_a_module_in_training_mode_and_what_is_no_module_are_refused():
    with pytest.raises(cc.ConvcError, match=r"training mode.*module.eval\(\)"):
        cc.from_torch(Small(), (torch.rand(2, 3, 8, 8),))
    with pytest.raises(cc.ConvcError, match=r"expected a torch.nn.Module"):
        cc.from_torch(torch.relu, (torch.rand(2),))


def test_a_free_axis_of_an_argument_that_is_none():
    with pytest.raises(cc.ConvcError, match=r"dynamic_shapes has 'image', and Linear\.forward takes input"):
        cc.from_torch(torch.nn.Linear(3, 4).eval(), (torch.rand(2, 3),), {"image": {0: "N"}})
