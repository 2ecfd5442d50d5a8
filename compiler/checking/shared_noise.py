"""Rounding of statistics: what a norm is off by in its mean and its spread, all values that share them are off by at once.

Drawn for each value alone it would average out in the next layer, where the real one does not.
"""

from __future__ import annotations

import math

import numpy as np

from ...ir.graph import Node
from ...ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM
from ...ir.types import Array

__all__ = ["SINGLE", "shared_noise"]

SINGLE = 0.41  # root mean square of a rounding error over u*|result|: uniform in an interval, averaged over mantissas
BY_CHANNEL = (INSTANCE_NORM, GROUP_NORM)


def shared_noise(node: Node, operands: list[Array], unit: float, draws: np.random.Generator) -> Array | float:
    """What to add to a norm's result; nothing for other ops. The terms of a sum are added in turn, as plain loops do."""
    if node.kind is not LAYER_NORM and node.kind not in BY_CHANNEL:
        return 0.0
    x, scale = operands[0], operands[1]
    if not x.size:
        return 0.0
    rows = x.reshape(_rows(node, x), -1)
    in_turn = SINGLE * math.sqrt(rows.shape[1] / 3)  # of terms of one sign, whose partial sums grow with the sum
    mean, power = rows.mean(axis=1, keepdims=True), np.sqrt(np.square(rows).mean(axis=1, keepdims=True))
    spread = np.sqrt(rows.var(axis=1, keepdims=True) + node.op.epsilon)
    of_mean, of_spread = unit * draws.standard_normal((2, len(rows), 1))
    shift = np.hypot(in_turn * mean, SINGLE * power) * of_mean / spread
    gain = scale.reshape(-1, *(1,) * (x.ndim - 2)) if node.kind in BY_CHANNEL else scale
    return -gain * (shift + (rows - mean) / spread * of_spread * in_turn / 2).reshape(x.shape)


def _rows(node: Node, x: Array) -> int:
    """How many statistics there are."""
    if node.kind is LAYER_NORM:
        return math.prod(x.shape[: node.op.axis % x.ndim])
    return x.shape[0] * (node.op.groups if node.kind is GROUP_NORM else x.shape[1])
