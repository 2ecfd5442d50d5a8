"""From a budget to a planned network: choose, measure what was chosen, and choose again without what is not faster."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...ir.errors import BudgetMissed, UsageError
from ...ir.graph import Graph
from ...ir.plot import AFTER, MARKED, Plot, panels
from ...ir.shown import html_lines, html_table, text_table
from ...passes.bottlenecks.forms import Split
from ..engines.onnxruntime import ONNXRUNTIME
from .budget import Budget
from .certificate import HEADINGS, Certificate, doubt_lines, lines_of
from .menu import Menu, choose, menu
from .race import FindLimits, Lap, Races, splits_slower, unknown
from .study import Insertion, Study

__all__ = ["CURVE", "Planned", "plan_network"]

TURNS = 2  # bursts of each layer against its split, in a round
TRIALS = 10  # of a plan under a bound on its error
NEAR, AIM = 0.9, 0.97  # of that bound: what is near enough, and what is aimed at
MOST = 8.0  # times the last bound on the prediction
ROUNDED = 9  # digits of a share
CURVE = 40  # plans on the line of a picture
ROUNDS = 4  # of measuring; after the last, or where no other choice meets the budget, what is not faster is left out


@dataclass(frozen=True, eq=False, repr=False)
class Planned:
    """A plan in its network, and the `menu` that it was chosen from; `rejected` says which splits were not faster.

    `share` is what is left of the cost that the budget is of; the `certificate` has what was measured, if anything was.
    """

    inserted: Insertion
    menu: Menu
    budget: Budget
    share: float
    rejected: tuple[str, ...]
    certificate: Certificate | None = None

    @property
    def network(self) -> Graph:
        """The network with its splits."""
        return self.inserted.after

    @property
    def marks(self) -> list[tuple[str, tuple[float, float]]]:
        """Where the plan lies beside those that could be chosen, (share of the cost, relative error): as predicted and as measured."""
        outputs = self.certificate.outputs if self.certificate is not None else ()
        known = any(line.predicted is not None for line in outputs)
        marks = [("plan, predicted" if known or not outputs else "plan, by weights alone", (self.share, self.inserted.plan.error))]
        return marks + [(f"measured, {line.inputs}", (self.share, line.relative)) for line in outputs]

    @property
    def headline(self) -> str:
        """The plan in a sentence."""
        split, all_ = len(self.inserted.plan.splits), len(self.menu.names)
        missed = f", over the budget by {self.missed:.2g}" if self.missed else ""
        left = f"{self.share:.3f} of the {self.budget.cost} left"
        return f"@{self.network.name}, {self.budget.kind} {self.budget.share:g}: {split} of {all_} layers split, {left}{missed}"

    def rows(self) -> list[tuple[str, ...]]:
        """A line for each split, as they are shown."""
        if self.certificate is not None:
            return self.certificate.rows()
        return [(name, str(split), f"{math.sqrt(self.inserted.plan.lost[name]):.4f}") for name, split in self.inserted.plan.splits.items()]

    def __repr__(self) -> str:
        return "\n".join([self.headline, text_table(self.rows(), self._headings), *self._lines])

    def _repr_html_(self) -> str:
        return html_table(self.rows(), self._headings, self.headline) + html_lines(self._lines)

    @property
    def _headings(self) -> tuple[str, ...]:
        return HEADINGS if self.certificate is not None else HEADINGS[:3]

    @property
    def _lines(self) -> list[str]:
        return [] if self.certificate is None else [*lines_of(self.certificate), *doubt_lines(self.certificate)]

    def plot(self) -> Plot:
        """The Pareto curve: what is left of the cost against the error, of all plans that could be chosen, and this one on it.

        Raises: BackendMissing where matplotlib is not here.
        """
        plot, (axes,) = panels(self.headline, (4.0,))
        curve = self.menu.points(CURVE)
        axes.plot([x for x, _ in curve], [y for _, y in curve], color=AFTER, label="plans that could be chosen, predicted")
        for (name, (x, y)), marker in zip(self.marks, "o^sD", strict=False):
            axes.plot([x], [y], marker, color=MARKED, label=name)
        axes.set(xlabel=f"share of the {self.budget.cost} left", ylabel="relative output error", ylim=(0, None))
        axes.legend(frameon=False)
        return plot

    @property
    def missed(self) -> float:
        """The share of the network's cost by which the plan is over its budget. A bound on the error holds always."""
        return max(0.0, round(self.share - self.budget.share, ROUNDED)) if self.budget.kind != "error" else 0.0

    def check(self) -> None:
        """Raises: BudgetMissed saying by how much."""
        if self.missed:
            asked = f"--{self.budget.kind} {self.budget.share:g} is missed by {self.missed:.2g}"
            left = f"{self.share:.3f} of the {self.budget.kind} are left, as splits were rejected that are not faster"
            raise BudgetMissed(f"{asked}: {left}; give a larger --{self.budget.kind}, exclude less, or pass --no-measure")


def plan_network(
    known: Study,
    budget: Budget,
    multiple: int,
    threads: int | None,
    *,
    measured: bool,
    measure: FindLimits = unknown,
    say: Callable[[str], None] = lambda line: None,
) -> Planned:
    """The plan of least predicted error under the budget; with `measured`, every split of it was faster alone in onnxruntime, twice.

    A bound on the error holds for the whole plan on trial, not for what is predicted layer by layer. Parameters have no speed, so a budget
    on them measures nothing.

    Raises: UsageError where the budget cannot be met, whatever is measured.
    """
    refused: list[tuple[str, Split]] = []
    slower: list[str] = []
    judged: set[tuple[str, Split]] = set()
    listed = menu(known, budget.cost, multiple)
    splits = _chosen(known, listed, budget)
    races = Races([ONNXRUNTIME], threads, TURNS, measure)
    rounds = ROUNDS if measured and budget.cost != "params" else 0
    for left in range(rounds - 1, -1, -1):
        found = _slower(known, {name: split for name, split in splits.items() if (name, split) not in judged}, races)
        if not found:
            break
        judged.update(splits.items())
        for name, laps in found.items():
            slower.append(f"{name}: {splits[name]} {_words(laps)}")
            refused.append((name, splits[name]))
            say(f"rejected by measurement: {slower[-1]}")
        again = _again(known, menu(known, budget.cost, multiple, refused), budget) if left else None
        if again is None:
            splits = {name: split for name, split in splits.items() if name not in found}
            say(f"what is not faster is left out, so {listed.share_of(splits):.3f} of the {budget.cost} are left")
            break
        listed, splits = again
    return Planned(known.insertion(splits), listed, budget, listed.share_of(splits), tuple(slower))


def _chosen(known: Study, listed: Menu, budget: Budget) -> dict[str, Split]:
    return _within(known, listed, budget.share) if budget.kind == "error" else choose(listed, budget)


def _again(known: Study, listed: Menu, budget: Budget) -> tuple[Menu, dict[str, Split]] | None:
    """The choice from a menu without what was rejected; None where that cannot meet the budget."""
    try:
        return listed, _chosen(known, listed, budget)
    except UsageError:
        return None


def _within(known: Study, listed: Menu, share: float) -> dict[str, Split]:
    """The cheapest splits found whose error on trial is within `share`.

    Predictions miss by a factor that is much the same for all plans of a network: the bound on them is moved by it, between the loosest
    that held and the tightest that did not.
    """
    bound, held, broke = share, 0.0, math.inf
    best: dict[str, Split] = {}  # which loses nothing
    for _ in range(TRIALS):
        splits = choose(listed, Budget("error", bound))
        error = known.trial.error(known.apply(splits)) if splits else 0.0
        if error <= share:
            held = max(held, bound)
            best = min(best, splits, key=listed.share_of)
        else:
            broke = min(broke, bound)
        if NEAR * share <= error <= share or (error <= share and listed.is_cheapest(splits)):
            break
        guess = bound * AIM * share / max(error, AIM * share / MOST)
        bound = guess if held < guess < broke else math.sqrt(max(held, broke / MOST**2) * broke)
    return best


def _slower(known: Study, splits: Mapping[str, Split], races: Races) -> dict[str, list[Lap]]:
    sources = {name: known.layer(name).node.inputs[0].name for name in splits}
    return splits_slower(known.graph, known.apply(splits), sources, known.sizes, races)


def _words(laps: Sequence[Lap]) -> str:
    """What was measured, in the two rounds that agree or in all of them."""
    if not any(lap.is_faster for lap in laps[-2:]):
        was, now = min(lap.was for lap in laps[-2:]), min(lap.now for lap in laps[-2:])
        return f"takes {now:.3f} ms, the layer as it is {was:.3f} ms"
    each = ", ".join(f"{lap.now / lap.was:.2f}" for lap in laps)
    return f"takes {each} times as long as the layer in rounds apart, which do not confirm that it is faster"
