"""What must be known of a network before bottlenecks are chosen: its layers, their spectra, and what their errors do to the outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.binding import batch_names, match_inputs, need_elements
from ...ir.errors import InvalidModel, UsageError
from ...ir.graph import Graph
from ...ir.progress import each
from ...ir.suggest import did_you_mean
from ...passes.bottlenecks.forms import Split, Splittable, insert, price, splittable_layers
from ...passes.bottlenecks.spectrum import LayerWeights, Moments, Spectrum, factors_of, spectrum
from ...passes.rewriting.ledger import Ledger
from ..engines.onnxruntime import ONNXRUNTIME
from ..files.calibration import Calibration
from .budget import COSTS
from .moments import gather_moments
from .sensitivity import sensitivities
from .trial import Trial

__all__ = ["BottleneckPlan", "Insertion", "Study", "excluded_layers", "study"]

TAP_BYTES = 256 << 20  # of values that are read from the network at once
PROBES = 2  # images on which sensitivities are measured
TRIED = 4  # images on which a whole plan is tried
SMALL_SHARE = 1 / 8  # of the average layer's cost: what costs less is left alone


@dataclass(frozen=True)
class BottleneckPlan:
    """A split for some layers; `lost` is the share of each one's variance, `error` the output's relative error, both predicted."""

    splits: Mapping[str, Split]
    lost: Mapping[str, float]
    error: float


@dataclass(frozen=True, eq=False)
class Insertion:
    """A plan carried out: the network `before`, and `after` with its splits in it. `sizes` stand for named sizes, one image at a time."""

    plan: BottleneckPlan
    before: Graph
    after: Graph
    sizes: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Study:
    """What is known of layers: weights, spectra, and how much of their error reaches the outputs. `trial` tells of all together."""

    graph: Graph
    sizes: Mapping[str, int]
    layers: Sequence[Splittable]
    weights: Mapping[str, LayerWeights]
    spectra: Mapping[str, Spectrum]
    gains: Mapping[str, float]
    trial: Trial

    def layer(self, name: str) -> Splittable:
        return next(layer for layer in self.layers if layer.name == name)

    def plan(self, splits: Mapping[str, Split]) -> BottleneckPlan:
        lost = {name: self.spectra[name].lost(split) for name, split in splits.items()}
        return BottleneckPlan(splits, lost, float(np.sqrt(sum(self.gains[name] * share for name, share in lost.items()))))

    def apply(self, splits: Mapping[str, Split]) -> Graph:
        """The network with these splits in it."""
        factors = {
            name: factors_of(self.weights[name], self.spectra[name], split, layer.kernel, layer.node.typed.rank == 2)
            for name, split in splits.items()
            for layer in [self.layer(name)]
        }
        return insert(self.graph, factors, Ledger(ONNXRUNTIME.prices))

    def insertion(self, splits: Mapping[str, Split]) -> Insertion:
        return Insertion(self.plan(splits), self.graph, self.apply(splits), self.sizes)


def excluded_layers(layers: Sequence[Splittable], names: Iterable[str], *, ends: bool) -> set[str]:
    """Layers left as they are: those named, by their own name or one that a pass took into them, and without `ends` the first and last.

    Raises: UsageError, with the nearest name, for one that does not exist.
    """
    known = {name: layer.name for layer in layers for name in (*layer.node.origin.made_from, layer.name)}
    out: set[str] = set() if ends or not layers else {layers[0].name, layers[-1].name}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, f"layers are {', '.join(layer.name for layer in layers[:8])}...")
            raise UsageError(f"--exclude {name}: the network has no such layer{hint}")
        out.add(known[name])
    return out


def study(graph: Graph, calibration: Calibration, excluded: set[str], cost: str | None, threads: int | None, seed: int) -> Study:
    """Look at every layer that is not excluded and, for a `cost`, has a share of it that matters.

    Raises: InvalidModel for weights that are all zero or not finite, and for a network without such layers; UsageError for an empty input.
    """
    need_elements(graph, "measure a plan on")
    sizes = _sizes(graph, calibration)
    every = splittable_layers(graph, sizes)
    layers = [layer for layer in every if layer.name not in excluded and layer.rank > 1]
    layers = layers if cost is None else _worthwhile(layers, cost)
    if not layers:
        raise InvalidModel(
            f"@{graph.name} has no layer to split; those are convs without groups and dense layers, the first and last excluded"
        )
    _check_weights(layers)
    weights = {layer.name: LayerWeights.of(layer) for layer in each("weights of layers", layers)}
    moments: Mapping[str, tuple[Moments, Moments]] = {}
    if calibration.is_real:
        pairs = [(layer, weights[layer.name]) for layer in layers]
        batches = list(calibration.batches(graph, _images_at_once(every)))
        moments = gather_moments(graph, pairs, each("calibration inputs", batches), threads, seed)
    spectra = {layer.name: spectrum(layer, weights[layer.name], moments.get(layer.name)) for layer in each("spectra of layers", layers)}
    probe = next(calibration.batches(graph, PROBES))
    gains = sensitivities(graph, layers, spectra, probe, threads)
    trial = Trial(graph, next(calibration.batches(graph, TRIED)), threads)
    return Study(graph, sizes, layers, weights, spectra, gains, trial)


def _sizes(graph: Graph, calibration: Calibration) -> dict[str, int]:
    """Named sizes as in the calibration inputs, one image at a time."""
    return match_inputs(graph, next(calibration.batches(graph, 1))) | dict.fromkeys(batch_names(graph), 1)


def _worthwhile(layers: Sequence[Splittable], cost: str) -> list[Splittable]:
    costs = [COSTS[cost](price(layer, None)) for layer in layers]
    least = SMALL_SHARE * sum(costs) / max(len(costs), 1)
    return [layer for layer, own in zip(layers, costs, strict=True) if own >= least]


def _check_weights(layers: Sequence[Splittable]) -> None:
    for layer in layers:
        values = [operand.weights.array() for operand in layer.node.inputs[1:] if operand.weights is not None]
        if bad := sum(int(np.count_nonzero(~np.isfinite(array))) for array in values):
            raise InvalidModel(f"{layer.node.where}: {bad} of its weights are NaN or infinite; mend the weights file")
        if not values[0].any():
            raise InvalidModel(
                f"{layer.node.where}: its weights are all zero, which has no rank to keep; mend the weights file or exclude it"
            )


def _images_at_once(layers: Sequence[Splittable]) -> int:
    """Of all layers of the network, whichever are looked at: moments are the same digits in sums of the same parts."""
    one = sum(layer.c_in * layer.in_positions * 4 for layer in layers)
    return max(1, min(8, TAP_BYTES // max(one, 1)))
