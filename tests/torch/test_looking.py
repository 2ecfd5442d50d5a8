"""What looks inside a network against PyTorch's hooks: Grad-CAM, guided backpropagation, gradients by the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import convc as cc
from convc.backends.reference import run

RELATIVE = 1e-5  # of the largest: both compute in float32 here


class Net(torch.nn.Module):
    """A small one with what classic networks have."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.norm = torch.nn.BatchNorm2d(8)
        self.pool = torch.nn.MaxPool2d(3, 2, 1)
        self.second = torch.nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.fc = torch.nn.Linear(12, 7)

    def forward(self, x):
        x = self.pool(torch.relu(self.norm(self.first(x))))
        self.maps = torch.relu(self.second(x))
        return self.fc(self.maps.mean((2, 3)))


@pytest.fixture
def case():
    module = Net().eval()
    module.norm.running_mean.uniform_(-0.5, 0.5)
    module.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 33, 29)
    graph = cc.from_torch(module, (x,), {"x": {0: "N"}})
    return module, graph, x


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert abs(theirs).max() > 0
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=RELATIVE * abs(theirs).max())


def results(graph, x):
    return list(run(graph, {graph.inputs[0].name: x.detach().numpy()}).values())


def last_relu(graph):
    return [node.name for node in graph.ops if node.kind.name == "relu"][-1]


@pytest.mark.parametrize("layer", ["", "named"])
def test_grad_cam_is_pytorchs(case, layer):
    module, graph, x = case
    scores = module(x)
    (slopes,) = torch.autograd.grad(scores[:, 4].sum(), module.maps)
    cam = torch.relu((slopes.mean((2, 3), keepdim=True) * module.maps).sum(1, keepdim=True))
    score, ours = results(cc.grad_cam(graph, 4, last_relu(graph) if layer else ""), x)
    close(score[:, 0], scores[:, 4])
    close(ours, cam)


def test_the_gradient_of_a_class_is_pytorchs(case):
    module, graph, x = case
    x.requires_grad_()
    (slopes,) = torch.autograd.grad(module(x)[:, 2].sum(), x)
    scores = graph.outputs[0].name
    close(results(cc.input_gradient(graph, scores, 2), x)[1], slopes)
    close(results(cc.input_gradient(graph, scores, 2, times_input=True), x)[1], slopes * x)


def test_guided_backpropagation_is_pytorchs_with_hooks(case):
    """ReLU modules' hooks would do; here torch.relu is replaced by a function of its own."""
    module, graph, x = case

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g.clamp(min=0) * (x > 0)

    x.requires_grad_()
    maps = Guided.apply(module.second(module.pool(Guided.apply(module.norm(module.first(x))))))
    (slopes,) = torch.autograd.grad(maps[:, 5, 3, 2].sum(), x)
    close(results(cc.guided_backpropagation(graph, last_relu(graph), 5, (3, 2)), x)[1], slopes)
