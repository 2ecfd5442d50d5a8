"""Small networks that have what training does otherwise: dropout, batch norm, a residual, several losses."""

from __future__ import annotations

import numpy as np

import convc as cc
from convc.compiler.training.initial import initial_values
from convc.compiler.training.step import step_of
from convc.ir.types import DTYPES


@cc.network(image="N,1,8,8")
def residual(image, classes=4):
    x = cc.conv_bn_relu(image, 4, 3, pad=1)
    y = cc.conv_bn(x, 4, 3, pad=1)
    return cc.softmax(cc.dense(cc.global_avg_pool(cc.relu(x + y)), classes))


@cc.network(image="N,1,8,8")
def dropping(image, classes=4):
    x = cc.max_pool(cc.relu(cc.conv(image, 3, 3)), 3, stride=2)
    return cc.softmax(cc.dense(cc.dropout(cc.tanh(cc.dense(x, 6)), 0.25), classes))


@cc.network(image="N,5")
def flat(image, out=3):
    return cc.dense(cc.tanh(cc.dense(image, 7)), out)


def fed(graph, made, batch=6, rate=0.05, seed=0):
    """A step's inputs: drawn data, weights and state as training begins."""
    draws = np.random.default_rng(seed)
    image = graph.inputs[0]
    kind = DTYPES[image.typed.dtype]
    label = made.graph.by_name["label"].typed
    classes = graph.outputs[0].typed.shape[1]
    of = {
        image.name: draws.standard_normal((batch, *image.typed.shape[1:])).astype(kind),
        "label": draws.integers(0, classes, batch) if label.dtype == "i64" else draws.random((batch, classes)).astype(kind),
        "learning_rate": np.array(rate, kind),
    }
    if "seed" in made.graph.by_name:
        of["seed"] = np.array(11, np.int32)
    start = initial_values(graph, seed=seed)
    of |= {name: start[name] for name in made.weights}
    return of | {name: np.zeros(type_.concrete(), DTYPES[type_.dtype]) for name, type_ in made.states.items()}


def step_and_feed(net, batch=6, image=None, **how):
    graph = net() if image is None else net(image=image)
    made = step_of(graph, **how)
    return graph, made, fed(graph, made, batch)
