"""Where to put bottlenecks: a form and ranks for each layer, chosen together under one budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from ..ir.binding import batch_names, match_inputs
from ..ir.errors import InvalidModel, UsageError
from ..ir.graph import Graph
from ..passes.cost import graph_cost
from ..passes.ledger import Ledger
from ..passes.lowrank import Layer, Price, Split, forms_of, insert, layers_of, price
from ..passes.spectrum import LayerWeights, Moments, Spectrum, factors_of, spectrum
from .budget import Frontier, frontier, undominated
from .calibration import Calibration
from .moments import gather
from .sensitivity import sensitivities
from .trial import Trial

__all__ = ["COSTS", "Budget", "Plan", "Study", "choose", "excluded_layers", "study"]

TAP_BYTES = 256 << 20  # of values that are read from the network at once
PROBES = 2  # images on which sensitivities are measured
TRIED = 4  # images on which a whole plan is tried
SMALL_SHARE = 1 / 8  # of the average layer's cost: what costs less is left alone
# A machine of 2 AVX-512 cores, for the estimate; only the ratio between the two matters.
MACS_PER_SECOND, BYTES_PER_SECOND = 50e9, 10e9

COSTS: dict[str, Callable[[Price], float]] = {
    "macs": lambda p: p.macs,
    "params": lambda p: p.params,
    # nanoseconds: a product waits for its arithmetic, and for memory
    "latency": lambda p: 1e9 * (p.macs / MACS_PER_SECOND + p.nbytes / BYTES_PER_SECOND),
}


@dataclass(frozen=True, slots=True)
class Budget:
    """`share` of the network's cost, one of COSTS, that is left; or, for "error", the relative output error allowed at least macs."""

    kind: str
    share: float

    @property
    def cost(self) -> str:
        return "macs" if self.kind == "error" else self.kind


@dataclass(frozen=True)
class Plan:
    """A split for some layers; `lost` is the share of each one's variance, `error` the output's relative error, both predicted."""

    splits: Mapping[str, Split]
    lost: Mapping[str, float]
    error: float


@dataclass(frozen=True, eq=False)
class Study:
    """What is known of layers: weights, spectra, and how much of their error reaches the outputs. `trial` tells of all together."""

    graph: Graph
    sizes: Mapping[str, int]
    layers: Sequence[Layer]
    weights: Mapping[str, LayerWeights]
    spectra: Mapping[str, Spectrum]
    gains: Mapping[str, float]
    trial: Trial

    def layer(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)

    def plan(self, splits: Mapping[str, Split]) -> Plan:
        lost = {name: self.spectra[name].lost(split) for name, split in splits.items()}
        return Plan(splits, lost, float(np.sqrt(sum(self.gains[name] * share for name, share in lost.items()))))

    def apply(self, splits: Mapping[str, Split]) -> Graph:
        """The network with these splits in it."""
        factors = {
            name: factors_of(self.weights[name], self.spectra[name], split, layer.kernel, layer.node.typed.rank == 2)
            for name, split in splits.items()
            for layer in [self.layer(name)]
        }
        return insert(self.graph, factors, Ledger())


def excluded_layers(layers: Sequence[Layer], names: Iterable[str], *, ends: bool) -> set[str]:
    """Layers left as they are: those named, by their own name or one that a pass took into them, and without `ends` the first and last.

    Raises: UsageError, with the nearest name, for one that does not exist.
    """
    known = {name: layer.name for layer in layers for name in (*layer.node.origin.made_from, layer.name)}
    out: set[str] = set() if ends or not layers else {layers[0].name, layers[-1].name}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"layers are {', '.join(layer.name for layer in layers[:8])}..."
            raise UsageError(f"--exclude {name}: the network has no such layer; {hint}")
        out.add(known[name])
    return out


def study(graph: Graph, calibration: Calibration, excluded: set[str], cost: str | None, threads: int | None, seed: int) -> Study:
    """Look at every layer that is not excluded and, for a `cost`, has a share of it that matters.

    Raises: InvalidModel for weights that are all zero or not finite, and for a network without such layers.
    """
    sizes = _sizes(graph, calibration)
    layers = [layer for layer in layers_of(graph, sizes) if layer.name not in excluded and layer.rank > 1]
    layers = layers if cost is None else _worthwhile(layers, cost)
    if not layers:
        raise InvalidModel(
            f"@{graph.name} has no layer to split; those are convs without groups and dense layers, the first and last excluded"
        )
    _check_weights(layers)
    weights = {layer.name: LayerWeights.of(layer) for layer in layers}
    moments: Mapping[str, tuple[Moments, Moments]] = {}
    if calibration.is_real:
        pairs = [(layer, weights[layer.name]) for layer in layers]
        moments = gather(graph, pairs, calibration.batches(graph, _images_at_once(layers)), threads, seed)
    spectra = {layer.name: spectrum(layer, weights[layer.name], moments.get(layer.name)) for layer in layers}
    probe = next(calibration.batches(graph, PROBES))
    gains = sensitivities(graph, layers, spectra, probe, threads)
    trial = Trial(graph, next(calibration.batches(graph, TRIED)), threads)
    return Study(graph, sizes, layers, weights, spectra, gains, trial)


def _sizes(graph: Graph, calibration: Calibration) -> dict[str, int]:
    """Named sizes as in the calibration inputs, one image at a time."""
    return match_inputs(graph, next(calibration.batches(graph, 1))) | dict.fromkeys(batch_names(graph), 1)


def _worthwhile(layers: Sequence[Layer], cost: str) -> list[Layer]:
    costs = [COSTS[cost](price(layer, None)) for layer in layers]
    least = SMALL_SHARE * sum(costs) / max(len(costs), 1)
    return [layer for layer, own in zip(layers, costs, strict=True) if own >= least]


def _check_weights(layers: Sequence[Layer]) -> None:
    for layer in layers:
        values = [operand.weights.array() for operand in layer.node.inputs[1:] if operand.weights is not None]
        if bad := sum(int(np.count_nonzero(~np.isfinite(array))) for array in values):
            raise InvalidModel(f"{layer.node.where}: {bad} of its weights are NaN or infinite; mend the weights file")
        if not values[0].any():
            raise InvalidModel(
                f"{layer.node.where}: its weights are all zero, which has no rank to keep; mend the weights file or exclude it"
            )


def _images_at_once(layers: Sequence[Layer]) -> int:
    one = sum(layer.c_in * layer.in_positions * 4 for layer in layers)
    return max(1, min(8, TAP_BYTES // max(one, 1)))


def options(layer: Layer, found: Spectrum, gain: float, cost: str, multiple: int) -> list[tuple[Split | None, int, float]]:
    """(split, cost, squared output error) of every choice worth considering, the layer as it is last."""
    whole = round(COSTS[cost](price(layer, None)))
    made = [(split, round(COSTS[cost](price(layer, split)))) for split in _splits(layer, multiple)]
    listed: list[tuple[Split | None, int, float]] = [(split, own, gain * found.lost(split)) for split, own in made if own < whole]
    listed.append((None, whole, 0.0))
    kept = undominated([(own, error) for _, own, error in listed])
    return [listed[i] for i in sorted({*kept, len(listed) - 1})]  # the layer as it is, also where a split is as exact


def _splits(layer: Layer, multiple: int) -> Iterable[Split]:
    """Ranks go by whole vectors of a kernel, but a narrow layer has at least 8 steps."""
    inputs, outputs = (range(_step(width, multiple), width, _step(width, multiple)) for width in (layer.c_in, layer.rank))
    for form in forms_of(layer):
        if form == "both":
            yield from (Split(form, (r, s)) for r in inputs for s in outputs)
        else:
            yield from (Split(form, (r,)) for r in (inputs if form == "reduce" else outputs))


def _step(width: int, multiple: int) -> int:
    step = multiple
    while step > 1 and step * 8 > width:
        step //= 2
    return max(step, 1)


@dataclass(frozen=True, eq=False)
class Menu:
    """Every layer's options, and the frontier over them; `fixed` is what the rest of the network costs."""

    names: Sequence[str]
    options: Sequence[Sequence[tuple[Split | None, int, float]]]
    frontier: Frontier
    fixed: int
    whole: int

    def splits(self, chosen: Sequence[int]) -> dict[str, Split]:
        picked = {name: own[i][0] for name, own, i in zip(self.names, self.options, chosen, strict=True)}
        return {name: split for name, split in picked.items() if split is not None}

    def share(self, chosen: Sequence[int]) -> float:
        """Of the network's cost, what is left."""
        return (self.fixed + self.frontier.cost(chosen)) / self.whole

    def share_of(self, splits: Mapping[str, Split]) -> float:
        own = zip(self.names, self.options, strict=True)
        return (self.fixed + sum(next(c for s, c, _ in listed if s == splits.get(name)) for name, listed in own)) / self.whole

    def is_cheapest(self, splits: Mapping[str, Split]) -> bool:
        return self.share_of(splits) * self.whole <= self.fixed + self.frontier.least_cost

    def points(self, count: int) -> list[tuple[float, float]]:
        """(share of the cost, predicted relative error) along the frontier."""
        return [(self.share(chosen), float(np.sqrt(self.frontier.total_error(chosen)))) for chosen in self.frontier.curve(count)]


def menu(known: Study, cost: str, multiple: int, rejected: Iterable[tuple[str, Split]] = ()) -> Menu:
    """What can be chosen; a rejected split takes with it those of its form that cost as much or more."""
    listed: list[list[tuple[Split | None, int, float]]] = []
    for layer in known.layers:
        own = options(layer, known.spectra[layer.name], known.gains[layer.name], cost, multiple)
        for name, split in rejected:
            if name == layer.name:
                limit = round(COSTS[cost](price(layer, split)))
                own = [o for o in own if o[0] is None or o[0].form != split.form or o[1] < limit]
        listed.append(own)
    total = _network_cost(known, cost)
    planned = sum(round(COSTS[cost](price(layer, None))) for layer in known.layers)
    return Menu(
        [layer.name for layer in known.layers], listed, frontier([[(c, e) for _, c, e in own] for own in listed]), total - planned, total
    )


def choose(menu: Menu, budget: Budget) -> dict[str, Split]:
    """The splits of the plan that meets the budget.

    Raises: UsageError saying how close it can come, for a budget that no plan meets.
    """
    if budget.kind == "error":
        chosen = menu.frontier.cheapest(budget.share**2)
        assert chosen is not None  # every layer as it is has no error
        return menu.splits(chosen)
    room = int(budget.share * menu.whole) - menu.fixed
    chosen = menu.frontier.best(room) if room >= 0 else None
    if chosen is None:
        least = (menu.fixed + menu.frontier.least_cost) / menu.whole
        raise UsageError(
            f"--{budget.kind} {budget.share:g} cannot be met: at the smallest ranks {least:.3f} of the {budget.kind} are left, "
            f"{menu.fixed / menu.whole:.3f} of them in layers that stay as they are; "
            f"give a larger --{budget.kind}, exclude less, or pass --ends"
        )
    return menu.splits(chosen)


def _network_cost(known: Study, cost: str) -> int:
    total = graph_cost(known.graph, known.sizes)
    return round(COSTS[cost](Price(total.macs, total.params, total.bytes_moved)))
