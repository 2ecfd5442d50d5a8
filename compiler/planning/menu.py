"""What can be chosen for each layer, and the choice that a budget asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...ir.errors import UsageError
from ...passes.analysis.cost import graph_cost
from ...passes.bottlenecks.forms import Price, Split, Splittable, forms_of, price
from ...passes.bottlenecks.spectrum import Spectrum
from .budget import COSTS, Budget
from .knapsack import Frontier, frontier, undominated
from .study import Study

__all__ = ["Menu", "Option", "choose", "menu"]


class Option(NamedTuple):
    """A split of a layer, or None for the layer as it is, with its cost and the squared output error that it makes."""

    split: Split | None
    cost: int
    error: float

    @property
    def price(self) -> tuple[int, float]:
        return self.cost, self.error


@dataclass(frozen=True, eq=False)
class Menu:
    """Every layer's options, and the frontier over them; `fixed` is what the rest of the network costs."""

    names: Sequence[str]
    options: Sequence[Sequence[Option]]
    frontier: Frontier
    fixed: int
    whole: int

    def splits(self, chosen: Sequence[int]) -> dict[str, Split]:
        picked = {name: own[i].split for name, own, i in zip(self.names, self.options, chosen, strict=True)}
        return {name: split for name, split in picked.items() if split is not None}

    def share(self, chosen: Sequence[int]) -> float:
        """Of the network's cost, what is left."""
        return (self.fixed + self.frontier.cost(chosen)) / self.whole

    def share_of(self, splits: Mapping[str, Split]) -> float:
        own = zip(self.names, self.options, strict=True)
        return (self.fixed + sum(next(o.cost for o in listed if o.split == splits.get(name)) for name, listed in own)) / self.whole

    def is_cheapest(self, splits: Mapping[str, Split]) -> bool:
        return self.share_of(splits) * self.whole <= self.fixed + self.frontier.least_cost

    def points(self, count: int) -> list[tuple[float, float]]:
        """(share of the cost, predicted relative error) along the frontier."""
        return [(self.share(chosen), float(np.sqrt(self.frontier.total_error(chosen)))) for chosen in self.frontier.curve(count)]


def menu(known: Study, cost: str, multiple: int, rejected: Iterable[tuple[str, Split]] = ()) -> Menu:
    """What can be chosen; a rejected split takes with it those of its form that cost as much or more."""
    listed: list[list[Option]] = []
    for layer in known.layers:
        own = options(layer, known.spectra[layer.name], known.gains[layer.name], cost, multiple)
        for name, split in rejected:
            if name == layer.name:
                limit = round(COSTS[cost](price(layer, split)))
                own = [o for o in own if o.split is None or o.split.form != split.form or o.cost < limit]
        listed.append(own)
    whole = _network_cost(known, cost)
    fixed = whole - sum(round(COSTS[cost](price(layer, None))) for layer in known.layers)
    best = frontier([[option.price for option in own] for own in listed])
    return Menu([layer.name for layer in known.layers], listed, best, fixed, whole)


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


def options(layer: Splittable, found: Spectrum, gain: float, cost: str, multiple: int) -> list[Option]:
    """Every choice worth considering, the layer as it is last."""
    whole = round(COSTS[cost](price(layer, None)))
    made = [(split, round(COSTS[cost](price(layer, split)))) for split in _splits(layer, multiple)]
    listed = [Option(split, own, gain * found.lost(split)) for split, own in made if own < whole]
    listed.append(Option(None, whole, 0.0))
    kept = undominated([option.price for option in listed])
    return [listed[i] for i in sorted({*kept, len(listed) - 1})]  # the layer as it is, also where a split is as exact


def _splits(layer: Splittable, multiple: int) -> Iterable[Split]:
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
