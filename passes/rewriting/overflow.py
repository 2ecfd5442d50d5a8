"""Whether what is folded stays within the range of its type: of 1e20 times 1e25 float32 has no number, where one after the other it may.

Weights are not drawn for that. Bounds on their size (`Weights.largest`) tell it of nearly all; what is beyond is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ...ir.errors import InvalidModel
from ...ir.graph import Node
from ...ir.types import Array, TensorType, limits_of

__all__ = ["largest", "overflows", "size"]


def largest(param: Node | None) -> float:
    """A bound on the size of a parameter's values; of none there is nothing to add."""
    return 0.0 if param is None or param.weights is None else param.weights.largest


def size(values: Callable[[], Array] | None, otherwise: float) -> float:
    """Of the values themselves."""
    if values is None:
        return otherwise
    with np.errstate(all="ignore"):
        return float(abs(values()).max(initial=0.0))


def overflows(type_: TensorType, bound: float, made: Callable[[], Array], sources: Iterable[Node | None]) -> bool:
    """Whether values of no more than `bound` are beyond the range of their type although those that they are made of are numbers.

    Values that nobody has given yet tell nothing.
    """
    most = float(limits_of(type_.dtype).max)
    if bound <= most:
        return False
    try:
        with np.errstate(all="ignore"):
            is_within = bool((abs(made()) <= most).all())
            return not is_within and all(np.isfinite(each.weights.wide()).all() for each in sources if each and each.weights)
    except InvalidModel:
        return False
