"""Steps of training against PyTorch's own, from equal starts on equal batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import convc as cc
from convc.compiler.files.checkpoint_names import translate
from convc.compiler.training.batches import Batches
from convc.compiler.training.pictures import read_pictures
from convc.compiler.training.trainer import Trainer
from convc.tests.compiler.training.networks import residual
from convc.tests.compiler.training.test_adam import moves

STEPS, BATCH = 220, 64


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def lenet(w, x):
    x = F.avg_pool2d(torch.tanh(F.conv2d(x, w["c1.w"], w["c1.b"])), 2)
    x = F.avg_pool2d(torch.tanh(F.conv2d(x, w["c3.w"], w["c3.b"])), 2).flatten(1)
    for name in ("c5", "f6"):
        x = torch.tanh(F.linear(x, w[f"{name}.w"], w[f"{name}.b"]))
    return F.linear(x, w["output.w"], w["output.b"])


def normed(w, x, name):
    return F.batch_norm(x, w[f"{name}.mean"], w[f"{name}.var"], w[f"{name}.scale"], w[f"{name}.shift"], True, 0.1, 1e-5)


def small_residual(w, x):
    x = F.relu(normed(w, F.conv2d(x, w["conv1.w"], padding=1), "bn1"))
    y = normed(w, F.conv2d(x, w["conv2.w"], padding=1), "bn2")
    return F.linear(F.relu(x + y).mean((2, 3)), w["fc1.w"], w["fc1.b"])


def apart(net, forward, ours, theirs, engine, steps, size):
    """The largest difference of a weight or statistic after these steps, of the greatest value that it has."""
    graph = net(classes=10)
    trainer = Trainer(graph, optimizer=ours, engine=engine, threads=1)
    pictures = read_pictures("digits", graph.inputs[0].typed, 10)
    batches = Batches(pictures, *pictures.moments(np.arange(len(pictures))))
    statistics = set(trainer.made.statistics)
    w = {name: torch.tensor(np.array(trainer.values[name]), requires_grad=name not in statistics) for name in trainer.made.weights}
    optimizer = theirs([value for value in w.values() if value.requires_grad])
    orders = [indices for epoch in range(1 + steps // 22) for indices in batches.order(np.arange(1437), epoch, size)][:steps]
    for indices in orders:
        images, labels = batches.of(indices)
        score = trainer.step(images, labels, 0.01)
        loss = F.cross_entropy(forward(w, torch.tensor(images)), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert score.loss == pytest.approx(loss.item(), rel=1e-3, abs=1e-4)
    assert trainer.steps == steps
    return max(
        float(abs(trainer.values[name] - value.detach().numpy()).max() / abs(trainer.values[name]).max()) for name, value in w.items()
    )


@pytest.mark.parametrize("engine", ["onnx", "tvm"])
def test_lenet5_is_where_pytorch_is_after_220_steps(engine):
    ours, theirs = cc.sgd(0.9, 5e-4), lambda w: torch.optim.SGD(w, 0.01, momentum=0.9, weight_decay=5e-4)
    assert apart(cc.models.lenet5, lenet, ours, theirs, engine, STEPS, BATCH) < 1e-5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (cc.sgd(0.9, 5e-4, nesterov=True), lambda w: torch.optim.SGD(w, 0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)),
        (cc.sgd(0.0, 0.0), lambda w: torch.optim.SGD(w, 0.01)),
        (cc.adam(weight_decay=1e-3), lambda w: torch.optim.Adam(w, 0.01, weight_decay=1e-3)),
        (cc.adam(weight_decay=1e-2, decoupled=True), lambda w: torch.optim.AdamW(w, 0.01, weight_decay=1e-2)),
    ],
    ids=["nesterov", "plain", "adam", "adamw"],
)
def test_optimizers_and_statistics_are_pytorchs(ours, theirs):
    assert apart(residual, small_residual, ours, theirs, "onnx", 6, 32) < 1e-4


@pytest.mark.parametrize("engine", ["onnx", "tvm"])
def test_adam_of_float32_is_pytorchs_of_float64(engine):
    """From the first step on."""
    gradients = np.random.default_rng(2).uniform(0.5, 2, 50).astype(np.float32)
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer, theirs = torch.optim.Adam([weight], lr=1.0), []
    for gradient in gradients:
        weight.grad = torch.full_like(weight, float(gradient))
        before = weight.item()
        optimizer.step()
        theirs.append(before - weight.item())
    np.testing.assert_allclose(list(moves((0.9, 0.999), gradients, engine)), theirs, rtol=1e-6)


class Odd(torch.nn.Module):
    """What a module may have: a norm without scale and shift, a single number to train, buffers and numbers that are none."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn = torch.nn.BatchNorm2d(4, affine=False)
        self.gamma = torch.nn.Parameter(torch.tensor(2.0))
        self.register_buffer("mu", torch.randn(4, 1, 1))
        self.register_buffer("table", torch.randn(256))
        self.fc = torch.nn.Linear(256, 10)

    def forward(self, x):
        y = self.bn(self.conv(x)) * self.gamma - self.mu
        return self.fc((torch.relu(y) + torch.linspace(0, 1, 8)).flatten(1) + self.table)


def test_a_module_learns_its_parameters_and_nothing_else():
    torch.manual_seed(0)
    module, draws = Odd().eval(), np.random.default_rng(0)
    graph = cc.from_torch(module, (torch.randn(2, 1, 8, 8),), {"x": {0: "N"}})
    trainer = Trainer(graph, optimizer=cc.sgd(0.9, weight_decay=5e-4), engine="reference")
    assert set(trainer.made.weights) - set(trainer.made.statistics) == {name for name, _ in module.named_parameters()}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.SGD(module.train().parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(4):
        images, labels = draws.standard_normal((6, 1, 8, 8)).astype(np.float32), draws.integers(0, 10, 6)
        optimizer.zero_grad()
        loss = F.cross_entropy(module(torch.from_numpy(images)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        assert trainer.step(images, labels, learning_rate=0.1).loss == pytest.approx(loss.item(), rel=1e-4)
    learned = {name: torch.from_numpy(np.array(value)) for name, value in trainer.weights().items() if name in before}
    theirs = {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert learned.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(learned[name], value, rtol=1e-3, atol=1e-5, msg=name)
    module.load_state_dict(learned, strict=False)


def test_weights_go_to_pytorch_and_come_back():
    """By the names that PyTorch's own ResNet-18 has, which the table of the zoo knows."""
    entry = cc.models.ZOO["resnet18"]
    graph = entry.network(classes=7)
    trainer = Trainer(graph, engine="reference")
    state = trainer.weights(entry.checkpoint)
    assert {"conv1.weight", "layer1.0.bn1.running_mean", "layer4.0.downsample.1.weight", "fc.bias"} <= state.keys()
    found = translate(graph, state, entry.checkpoint).arrays
    assert found.keys() == trainer.weights().keys()
    assert all(np.array_equal(found[name], value) for name, value in trainer.weights().items())
