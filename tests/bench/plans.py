"""Plans against a plain truncated SVD of every layer at the same multiply-adds: `python tests/bench/plans.py [NETWORK...]`.

The plain way gives each layer the same share of its own multiply-adds and knows only weights; the plan is global and whitened by
photographs. Errors are relative, of the outputs before softmax, on crops of a photograph that neither has seen.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from convc import models
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.compiler.files.calibration import read_calibration
from convc.compiler.planning.budget import Budget
from convc.compiler.planning.search import plan_network
from convc.compiler.planning.sensitivity import readouts
from convc.compiler.planning.study import excluded_layers, study
from convc.ir.graph import Graph
from convc.passes.analysis.cost import graph_cost
from convc.passes.bottlenecks.forms import Split, insert, price, splittable_layers
from convc.passes.bottlenecks.spectrum import LayerWeights, factors_of, spectrum
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.places import DATA

NETWORKS = (
    *("resnet20", "resnet18", "googlenet", "vgg11", "squeezenet1_1", "resnet50", "alexnet_owt", "densenet121", "inception_v3"),
    *("mobilenet_v2", "unet_resnet18", "plain18", "vgg16_bn", "googlenet_bn"),
)
PHOTOS = [str(DATA / name) for name in ("astronaut.jpg", "coffee.jpg", "cat.jpg")]


def thinned(layer, share):
    """The output rank that leaves this share of a layer's multiply-adds, or None where none does."""
    form = "factors" if layer.has_one_tap else "expand"
    left = [rank for rank in range(1, layer.rank) if price(layer, Split(form, (rank,))).macs <= share * price(layer, None).macs]
    return Split(form, (left[-1],)) if left else None


def plain(graph, layers, macs):
    """Every layer at one share, as large as the budget allows; found by halving."""
    low, high, best = 0.0, 1.0, None
    for _ in range(20):
        share = (low + high) / 2
        splits = {layer.name: split for layer in layers if (split := thinned(layer, share)) is not None}
        saved = sum(price(layer, None).macs - price(layer, splits[layer.name]).macs for layer in layers if layer.name in splits)
        if graph_cost(graph).macs - saved <= macs:
            low, best = share, splits
        else:
            high = share
    assert best is not None, "no share meets the budget"
    factors = {}
    for layer in layers:
        if layer.name in best:
            weights = LayerWeights.of(layer)
            split = best[layer.name]
            factors[layer.name] = factors_of(weights, spectrum(layer, weights, None), split, layer.kernel, layer.node.typed.rank == 2)
    return insert(graph, factors, Ledger(ONNXRUNTIME.prices))


def outputs(graph, inputs):
    exposed = Graph(graph.name, graph.inputs, tuple(readouts(graph)), graph.nodes)
    return Session(exposed, to_model(exposed).SerializeToString()).run(inputs)


def error(exact, near):
    return np.sqrt(sum(np.sum((exact[k] - near[k]) ** 2) for k in exact) / sum(np.sum(exact[k] ** 2) for k in exact))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("networks", nargs="*", default=NETWORKS)
    options.add_argument("--macs", type=float, default=0.5)
    options.add_argument("--images", type=int, default=16)
    options.add_argument("--small", action="store_true", help="the zoo's small inputs instead of the published ones")
    asked = options.parse_args()
    print("| network | MACs | plain | plan | predicted | seconds |\n|---|---|---|---|---|---|")
    missed = 0
    for name in asked.networks:
        entry = models.ZOO[name]
        graph, _ = optimize(entry.network(**(entry.small if asked.small else {})), 2)
        calibration = read_calibration(graph, PHOTOS, asked.images)
        start = time.perf_counter()
        layers = splittable_layers(graph, {"N": 1})
        known = study(graph, calibration, excluded_layers(layers, (), ends=False), "macs", None, 0)
        made = plan_network(known, Budget("macs", asked.macs), 16, None, measured=False)
        seconds = time.perf_counter() - start
        macs = graph_cost(made.inserted.after).macs
        exact = outputs(graph, calibration.held_out)
        plan_error, plain_error = (
            error(exact, outputs(g, calibration.held_out)) for g in (made.inserted.after, plain(graph, known.layers, macs))
        )
        missed += plan_error >= plain_error
        share = macs / graph_cost(graph).macs
        print(
            f"| {name} | {share:.3f} | {plain_error:.4f} | {plan_error:.4f} | {made.inserted.plan.error:.4f} | {seconds:.1f} |", flush=True
        )
    return missed


if __name__ == "__main__":
    sys.exit(main())
