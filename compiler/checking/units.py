"""Units of rounding, and what the spread of disturbed values says of their noise."""

from __future__ import annotations

import numpy as np

from ...ir.types import Array

__all__ = ["ALIKE", "FACTORS", "NOISE_OF", "OF_ONE_ROUNDING", "SIGMAS", "UNIT", "apart", "at_least_pooled", "sizes_of"]

UNIT = {"bf16": 2.0**-8, "f16": 2.0**-11, "f32": 2.0**-24, "f64": 2.0**-53, "tf32": 2.0**-24}
NOISE_OF = {"tf32": "tf32"}  # by the precision that is asked for, where types do not say it
FACTORS = {"tf32": 2.0**-11}  # to which products round what they multiply, where that is not the unit of its type
SIGMAS = 32.0  # a difference within this many standard deviations of the rounding noise is rounding
# What one rounding to 16 bits may take of that: 14 deviations. It is no sum, whose order nobody knows, so the prediction is sharp.
# Where each value is rounded, the worst of all results of the zoo's small networks is off by 2.9: a factor of 4 is left.
OF_ONE_ROUNDING = 14.0 / SIGMAS
ALIKE = 32  # values of an output that stand by each other in the order of their sizes
TALLEST = 8.0  # times their harmonic mean; of normal values it is about a sixth of their deviation
FAINT = 2.0**-20  # of probabilities that are less, nobody asks how much less


def apart(disturbed: Array, exact: Array, enlarged: float) -> Array:
    """How far disturbed values are from the exact ones; an infinity or NaN is not apart from anything."""
    if disturbed.shape != exact.shape:  # of a size that is found in a run: rounding decides it, and so the values
        return np.full(exact.shape, np.inf)
    with np.errstate(all="ignore"):
        distance = (disturbed.astype(np.float64) - exact) / enlarged
    return np.where(np.isfinite(distance), distance, 0.0)


def at_least_pooled(square: Array, exact: Array) -> Array:
    """The standard deviation of each element, at least the root mean square over all of them and over those of its size."""
    pooled = square.sum() / max(np.isfinite(exact).sum(), 1)
    return np.sqrt(np.maximum(np.maximum(square, _alike(square, exact)), pooled))


def _alike(square: Array, exact: Array) -> Array:
    """The mean over values of about the same size, which are about as noisy: of many thousand, a few draw almost nothing in all runs."""
    if square.size < ALIKE:
        return np.zeros_like(square)
    order = np.argsort(abs(exact), axis=None)
    ranked = square.ravel()[order]
    whole = square.size // ALIKE * ALIKE
    means = np.empty_like(ranked)
    means[order[:whole]] = np.repeat(ranked[:whole].reshape(-1, ALIKE).mean(axis=1), ALIKE)
    means[order[whole:]] = ranked[-ALIKE:].mean()
    return means.reshape(square.shape)


def sizes_of(exact: Array) -> Array:
    """What an error of each element is a share of: its own size or, where that is more, what is usual among its like.

    A mean of squares would be that of the few largest, by which a score beside boxes, or anything beside a mask of -1e30, may be what it
    will. The harmonic mean is that of the small ones, so that a part of `1 / n` that is small has at most `n` times its own size. It is
    taken of the whole tensor and of what has the same place on an axis, as the scores have, and the least counts.
    """
    if exact.dtype.kind != "f":
        return np.zeros(exact.shape)
    own = np.where(np.isfinite(exact), abs(exact), 0.0).astype(np.float64)
    usual = _usual(own, None)
    for axis, length in enumerate(own.shape):
        if length > 1 and own.size >= ALIKE * length:
            usual = np.minimum(usual, _usual(own, tuple(other for other in range(own.ndim) if other != axis)))
    usual = np.where(np.isfinite(usual), TALLEST * usual, 0.0)
    return np.minimum(np.maximum(own, usual), own.max(initial=0.0))


def _usual(own: Array, axes: tuple[int, ...] | None) -> Array:
    """The harmonic mean over `axes` of what is not 0; infinite where all is."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        inverse = np.where(own > 0, 1 / np.maximum(own, FAINT), 0.0).sum(axis=axes, keepdims=True)
        return np.where(inverse > 0, (own > 0).sum(axis=axes, keepdims=True) / inverse, np.inf)
