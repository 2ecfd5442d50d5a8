"""Losses as formulas over a network's result and its label, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...ir.errors import InvalidModel, UsageError
from ...ir.graph import Node
from ...ir.ops.activation import LOG_SOFTMAX, SIGMOID, SOFTMAX
from ...ir.terms import Term, where
from ...ir.types import TensorType

__all__ = ["LOSSES", "Loss"]

Scored = tuple[Term, Term | None]  # the loss, and the share of right answers where there is such a thing


@dataclass(frozen=True, slots=True)
class Loss:
    """`label(out)` is the type of the label for a result of that type; `of(result, label, smoothing)` computes.

    `before` are the activations that it computes itself, and better, from what stands before them.
    """

    about: str
    label: Callable[[TensorType], TensorType]
    of: Callable[[Term, Term, float], Scored]
    before: tuple[object, ...] = ()

    def scores(self, out: Node) -> Node:
        """What the loss reads of a network that returns `out`."""
        return out.inputs[0] if out.kind in self.before and _is_by_class(out) else out


def _is_by_class(out: Node) -> bool:
    axis = getattr(out.op, "axis", 1)
    return axis % out.typed.rank == 1 if out.typed.rank else False


def _class_label(out: TensorType) -> TensorType:
    """Raises: InvalidModel for a result without a number of classes on axis 1."""
    if out.rank < 2 or not isinstance(out.shape[1], int):
        raise InvalidModel(f"cross_entropy needs a score for each class on axis 1, and the network returns {out}")
    return TensorType("i64", (out.shape[0], *out.shape[2:]))


def _cross_entropy(scores: Term, label: Term, smoothing: float) -> Scored:
    """-log softmax of the label's class, mean over images and places; smoothing as Szegedy et al. 2016, sec. 7."""
    classes, axes = _classes(scores), range(scores.rank)
    place = label.reshape(scores.shape[0], 1, *scores.shape[2:])
    zero, one = (label.maker.full(TensorType("i64", ()), number) for number in (0.0, 1.0))
    each = zero.op("range", one, count=classes).reshape(1, classes, *(1,) * (scores.rank - 2))
    likely = scores.op("log_softmax", axis=1)
    found = _smoothed(place.equals(each), likely, smoothing, classes).sum(*axes)
    count = scores.count(0, *range(2, scores.rank))
    right = scores.op("arg_max", axis=1, keepdims=False).equals(label).cast(scores.type.dtype)
    return -(found / count), right.sum(*range(right.rank)) / count


def _smoothed(is_label: Term, likely: Term, smoothing: float, classes: int) -> Term:
    """Each class's share. Without smoothing that of another is 0 even where the class is impossible, whose logarithm no factor makes 0."""
    if not smoothing:
        return where(is_label, likely, 0)
    return (is_label.cast(likely.type.dtype) * (1 - smoothing) + smoothing / classes) * likely


def _classes(scores: Term) -> int:
    classes = scores.shape[1]
    assert isinstance(classes, int)
    return classes


def _mean_squared(result: Term, label: Term, smoothing: float) -> Scored:
    """Raises: UsageError for smoothing."""
    if smoothing:
        raise UsageError(
            f"label_smoothing is {smoothing}, and mean_squared has numbers for labels, of which none are smoothed; leave it out"
        )
    off = result - label
    return _mean(off * off), None


def _binary(scores: Term, label: Term, smoothing: float) -> Scored:
    """log(1 + e^x) - y x: the cross entropy of the sigmoid of x with y, which overflows nowhere."""
    target = label * (1 - smoothing) + smoothing / 2 if smoothing else label
    right = (scores > 0.0).equals(label > 0.5).cast(scores.type.dtype)
    return _mean(scores.op("softplus") - target * scores), _mean(right)


def _mean(x: Term) -> Term:
    axes = range(x.rank)
    return x.sum(*axes) / x.count(*axes)


def _same(out: TensorType) -> TensorType:
    return out


LOSSES = {
    "cross_entropy": Loss("of one class among several", _class_label, _cross_entropy, (SOFTMAX, LOG_SOFTMAX)),
    "mean_squared": Loss("of numbers", _same, _mean_squared),
    "binary_cross_entropy": Loss("of yes and no, for each number", _same, _binary, (SIGMOID,)),
}
