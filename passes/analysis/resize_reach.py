"""Which positions a resize reads along an axis: the neighbours of where each of its results lies on the input's axis."""

from __future__ import annotations

import math
from fractions import Fraction

from ...ir.dims import Dim
from ...ir.ops.resize import Resize, scales_of
from ...ir.types import TensorType
from .spans import MOST_TURNS, WHOLE, Spans

__all__ = ["resize_reach"]

NOTHING = Fraction(1, 10**12)  # as 1/3 is off in a float: not to be seen along any axis
ROUNDING = Fraction(1, 10**6)  # of a place between two pixels, as engines compute it


def resize_reach(op: Resize, x: TensorType, out: TensorType, axis: int) -> Spans:
    """What lies beyond an edge counts as if the image went on. WHOLE where a part of the image is taken, or a named size decides."""
    scales = scales_of(op, x)
    if scales is None or op.roi:
        return WHOLE
    before, after, scale = x.shape[2 + axis], out.shape[2 + axis], Fraction(scales[axis])
    if op.sizes and op.policy == "stretch" and isinstance(before, int) and isinstance(after, int):
        scale = Fraction(after, before)
    step = (1 / scale).limit_denominator(MOST_TURNS)
    drift = _drift(1 / scale - step, after) if step else None
    place = None if drift is None else _places(op, 1 / step, before, after)
    if place is None or drift is None or place[0].denominator > MOST_TURNS:
        return WHOLE
    step, start = place
    slack = drift if not drift and _is_binary(step) and _is_binary(start) else drift + ROUNDING
    read = [_taps(op, start + step * o, scale, slack) for o in range(step.denominator)]
    return Spans(tuple(first for first, _ in read), tuple(last for _, last in read), step.numerator)


def _drift(off: Fraction, after: Dim) -> Fraction | None:
    """How far off the last place is, where each step is `off` by so much; None where that may be more than a pixel."""
    if abs(off) <= NOTHING:
        return ROUNDING if off else Fraction(0)
    return abs(off) * after if isinstance(after, int) and abs(off) * after < 1 else None


def _places(op: Resize, scale: Fraction, before: Dim, after: Dim) -> tuple[Fraction, Fraction] | None:
    """How far apart the results lie on the input's axis, and where the first does; None where a named size decides."""
    half = 1 / scale, (1 / scale - 1) / 2
    if op.coordinates == "asymmetric":
        return 1 / scale, Fraction(0)
    if op.coordinates == "half_pixel":
        return half
    if not isinstance(before, int) or not isinstance(after, int):
        return None
    if op.coordinates == "half_pixel_symmetric":
        return half[0], half[1] + Fraction(before, 2) * (1 - after / (scale * before))
    if after == 1:
        return Fraction(0), Fraction(0)
    return (Fraction(before - 1, after - 1), Fraction(0)) if op.coordinates == "align_corners" else half


def _taps(op: Resize, at: Fraction, scale: Fraction, slack: Fraction) -> tuple[int, int]:
    """The first and last of the neighbours that have a weight; `slack` is how far off the place may be."""
    low, high = at - slack, at + slack
    if op.mode == "nearest":
        half = Fraction(1, 2)
        if op.rounding == "round_prefer_floor":
            return math.ceil(low - half), math.ceil(high - half)
        if op.rounding == "round_prefer_ceil":
            return math.floor(low + half), math.floor(high + half)
        return (math.floor(low), math.floor(high)) if op.rounding == "floor" else (math.ceil(low), math.ceil(high))
    reach = (2 if op.mode == "cubic" else 1) / (min(scale, Fraction(1)) if op.antialias else Fraction(1))
    if not op.antialias and at.denominator == 1 and not slack:
        return int(at), int(at)  # on a pixel: its neighbours weigh nothing
    return math.floor(low - reach) + 1, math.ceil(high + reach) - 1


def _is_binary(number: Fraction) -> bool:
    """Whether floats have it exactly."""
    return number.denominator & (number.denominator - 1) == 0
