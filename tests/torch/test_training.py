"""Steps of training against PyTorch's own, from equal starts on equal batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import convc as cc
from convc.compiler.training.batches import Batches
from convc.compiler.training.pictures import read_pictures
from convc.compiler.training.trainer import Trainer
from convc.tests.compiler.training.networks import residual

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
