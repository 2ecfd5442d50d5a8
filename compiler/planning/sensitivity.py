"""How much of a layer's error reaches the network's outputs: each layer is disturbed in turn, as its truncation would disturb it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...backends.onnx.session import Session
from ...ir.binding import match_inputs, specialize
from ...ir.graph import Graph, Node, fresh_name
from ...ir.ops.activation import LOG_SOFTMAX, SIGMOID, SOFTMAX
from ...ir.ops.elementwise import ADD, Add
from ...ir.ops.leaf import INPUT, Input
from ...ir.progress import each
from ...ir.types import Array
from ...passes.bottlenecks.forms import Splittable
from ...passes.bottlenecks.spectrum import Spectrum

__all__ = ["readouts", "sensitivities"]

PROBED = 0.02  # share of a layer's variance that the disturbance takes: small, as in a plan, and well above rounding


def readouts(graph: Graph) -> list[Node]:
    """The outputs, before a last softmax or sigmoid, which would hide what is lost."""
    return list(dict.fromkeys(node.inputs[0] if node.kind in (SOFTMAX, LOG_SOFTMAX, SIGMOID) else node for node in graph.outputs))


def sensitivities(
    graph: Graph, layers: Sequence[Splittable], spectra: Mapping[str, Spectrum], inputs: Mapping[str, Array], threads: int | None
) -> dict[str, float]:
    """For each layer, the outputs' relative squared error over the share of the layer's variance that was taken."""
    from ...backends.onnx.write.export import to_model

    fixed = specialize(graph, match_inputs(graph, inputs))
    exposed, moves = _disturbable(fixed, {layer.name for layer in layers})
    session = Session(exposed, to_model(exposed).SerializeToString(), threads)
    still = {move.name: np.zeros(move.typed.concrete(), np.float32) for move in moves.values()}
    outputs = [node.name for node in exposed.outputs[: len(readouts(fixed))]]  # behind them are the layers' own values
    values = session.run({**inputs, **still})
    found: dict[str, float] = {}
    for layer in each("what an error in each layer does to the outputs", layers):
        move, share = _truncation(values[layer.name], spectra[layer.name])
        disturbed = session.run({**inputs, **still, moves[layer.name].name: move}, outputs)
        error = sum(float(np.sum((disturbed[name] - values[name]) ** 2, dtype=np.float64)) for name in outputs)
        size = sum(float(np.sum(values[name] ** 2, dtype=np.float64)) for name in outputs)
        found[layer.name] = error / size / share if size > 0 and share > 0 else 1.0
    return found


def _disturbable(graph: Graph, names: set[str]) -> tuple[Graph, dict[str, Node]]:
    """The graph with a new input added to each named node; its outputs are the readouts and the named nodes."""
    taken = {node.name for node in graph.nodes}
    moves: dict[str, Node] = {}

    def visit(node: Node, operands: tuple[Node, ...]) -> Node:
        node = node.reading(operands)
        if node.name not in names:
            return node
        move = Node(fresh_name(f"{node.name}.move", taken), INPUT, Input(), (), node.type)
        moves[node.name] = move
        return Node(fresh_name(f"{node.name}.moved", taken), ADD, Add(), (node, move), node.type)

    moved = graph.rebuild(visit)
    named = [node for node in moved.nodes if node.name in names]
    outputs = list(dict.fromkeys([*readouts(moved), *named]))
    return Graph.of(graph.name, (*graph.inputs, *moves.values()), outputs, moved.nodes), moves


def _truncation(y: Array, found: Spectrum) -> tuple[Array, float]:
    """What y loses without its last components, and the share of its variance that this is."""
    rank = int(np.searchsorted(-found.lost_outputs, -PROBED, side="right"))
    last = found.basis[:, min(max(rank, 1), found.basis.shape[1] - 1) :].astype(np.float32)
    channels: Array = np.moveaxis(y, 1, -1)
    rows: Array = channels - channels.reshape(-1, channels.shape[-1]).mean(axis=0)
    lost: Array = -(rows @ last) @ last.T
    variance = float(np.vdot(rows, rows))
    share = float(np.vdot(lost, lost)) / variance if variance > 0 else 0.0
    return np.ascontiguousarray(np.moveaxis(lost, -1, 1), dtype=np.float32), share
