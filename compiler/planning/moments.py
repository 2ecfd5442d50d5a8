"""What layers read on calibration inputs: second moments, gathered a few images at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...backends.onnx.session import Session
from ...ir.graph import Graph, Node
from ...ir.ops.conv import CONVS, conv_of
from ...ir.ops.window import dilated, pad_spatial, window_view
from ...ir.types import Array
from ...passes.bottlenecks.forms import Splittable
from ...passes.bottlenecks.spectrum import LayerWeights, Moments

__all__ = ["gather_moments"]

POSITIONS = 128  # sampled of each image: neighbours are alike, and many images of few places say more


def gather_moments(
    graph: Graph, layers: Sequence[tuple[Splittable, LayerWeights]], batches: Iterable[Mapping[str, Array]], threads: int | None, seed: int
) -> dict[str, tuple[Moments, Moments]]:
    """The moments of each layer's input, images in turn in one fold and the other, as onnxruntime computes them.

    Each layer has draws of its own: what is kept of it must not depend on which others are looked at, for a plan that is applied looks at
    those that it splits, and has to make the network that was planned.
    """
    from ...backends.onnx.write.export import to_model

    read: dict[Node, list[tuple[Splittable, LayerWeights]]] = {}
    for layer, weights in layers:
        read.setdefault(layer.node.inputs[0], []).append((layer, weights))
    exposed = Graph(graph.name, graph.inputs, tuple(node for node in read if node.inputs) or graph.outputs, graph.nodes)
    session = Session(exposed, to_model(exposed).SerializeToString(), threads)
    moments = {layer.name: (Moments.none(layer, weights), Moments.none(layer, weights)) for layer, weights in layers}
    draws = {layer.name: np.random.default_rng([seed, *layer.name.encode()]) for layer, _ in layers}
    image = 0
    for batch in batches:
        values = {**batch, **session.run(batch)}
        count = len(next(iter(batch.values())))
        for node, readers in read.items():
            for i, x in enumerate(values[node.name]):
                for layer, weights in readers:
                    moments[layer.name][(image + i) % 2].add(_patches(layer, x, draws[layer.name]), weights)
        image += count
    return moments


def _patches(layer: Splittable, x: Array, draws: np.random.Generator) -> Array:
    """Some of one image's patches, [n, D, taps]."""
    if layer.node.kind not in CONVS:
        return x.reshape(1, -1, 1)
    op = conv_of(layer.node)
    padded = pad_spatial(x, op.pads)
    extents = [dilated(size, step) for size, step in zip(layer.kernel, op.dilations, strict=True)]
    out = tuple((size - extent) // step + 1 for size, extent, step in zip(padded.shape[1:], extents, op.strides, strict=True))
    at: Array = np.sort(draws.permutation(math.prod(out))[:POSITIONS])
    windows = window_view(padded, layer.kernel, op.strides, op.dilations, out)
    taken = windows[(slice(None), *np.unravel_index(at, out))]  # [D, n, *kernel]
    return np.ascontiguousarray(taken.swapaxes(0, 1)).reshape(len(at), layer.c_in, layer.taps)
