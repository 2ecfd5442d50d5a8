"""What a trainer has done so far, step by step, to look at: `trainer.history.plot()`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ir.plot import ABOVE, AFTER, BEFORE, MARKED, Plot, panels
from ...ir.shown import html_table, text_table

__all__ = ["History", "LearnedStep", "Score"]

HEADINGS = ("step", "learning rate", "loss", "accuracy")
SMOOTHED = 50  # steps of a running mean, or a tenth of all


@dataclass(frozen=True, slots=True)
class Score:
    """Loss, and the share of right answers where the loss knows one."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class LearnedStep:
    """What a step came to: the score is that of the weights before it, on its own batch."""

    step: int
    learning_rate: float
    score: Score


@dataclass(repr=False)
class History:
    """`steps` in order, and `evaluations`: scores of what `evaluate` was given, with the steps that went before."""

    network: str
    steps: list[LearnedStep] = field(default_factory=list[LearnedStep])
    evaluations: list[tuple[int, Score]] = field(default_factory=list[tuple[int, Score]])

    @property
    def headline(self) -> str:
        """Where training stands, in a line."""
        if not self.steps:
            return f"@{self.network}: no step yet"
        return f"@{self.network} after step {self.steps[-1].step}: {_words(self.steps[-1].score)}"

    def rows(self) -> list[tuple[str, ...]]:
        """A line for each step, as they are shown."""
        return [(f"{each.step}", f"{each.learning_rate:g}", f"{each.score.loss:.4g}", _share(each.score)) for each in self.steps]

    def __repr__(self) -> str:
        return f"{self.headline}\n{text_table(self.rows(), HEADINGS)}" if self.steps else self.headline

    def _repr_html_(self) -> str:
        return html_table(self.rows(), HEADINGS, self.headline)

    def plot(self) -> Plot:
        """Loss by step, accuracy where the loss knows one, and the learning rate; what was evaluated as dots.

        Raises: BackendMissing where matplotlib is not here.
        """
        has_accuracy = any(each.score.accuracy is not None for each in self.steps)
        plot, axes = panels(self.headline, (2.4, 2.4, 1.0) if has_accuracy else (2.4, 1.0))
        _draw(axes[0], self._curve("loss"), "loss")
        if has_accuracy:
            _draw(axes[1], self._curve("accuracy"), "accuracy")
        axes[-1].plot([each.step for each in self.steps], [each.learning_rate for each in self.steps], color=AFTER)
        axes[-1].set(ylabel="learning rate", xlabel="step")
        for each in axes[:-1]:
            each.sharex(axes[-1])
            each.tick_params(labelbottom=False)
        if self.steps:
            axes[0].legend(**ABOVE)
        return plot

    def _curve(self, what: str) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """Of steps and of evaluations."""
        scores = ([(each.step, each.score) for each in self.steps], self.evaluations)
        steps, evaluations = ([(step, getattr(score, what)) for step, score in own if getattr(score, what) is not None] for own in scores)
        return steps, evaluations


def _draw(axes: Any, curves: tuple[Sequence[tuple[int, float]], Sequence[tuple[int, float]]], label: str) -> None:
    steps, evaluations = curves
    places, values = [step for step, _ in steps], [value for _, value in steps]
    axes.plot(places, values, color=BEFORE, linewidth=0.8, label="each step")
    axes.plot(places, _running(values), color=AFTER, label="running mean")
    if evaluations:
        axes.plot([step for step, _ in evaluations], [value for _, value in evaluations], "o", color=MARKED, label="evaluated")
    axes.set_ylabel(label)


def _running(values: Sequence[float]) -> list[float]:
    """The mean of each with those before it, as far as SMOOTHED."""
    width, total, means = max(1, min(SMOOTHED, len(values) // 10)), 0.0, list[float]()
    for place, value in enumerate(values):
        total += value - (values[place - width] if place >= width else 0.0)
        means.append(total / min(place + 1, width))
    return means


def _share(score: Score) -> str:
    return "-" if score.accuracy is None else f"{score.accuracy:.1%}"


def _words(score: Score) -> str:
    return f"loss {score.loss:.4g}" + ("" if score.accuracy is None else f", accuracy {score.accuracy:.1%}")
