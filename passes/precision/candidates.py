"""Which nodes may compute in floats of 16 bits, and why another may not: by what ops state, and by the range of constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from ...ir.graph import Graph, Node
from ...ir.ops.conv_transpose import CONV_TRANSPOSES
from ...ir.ops.linear import MATMUL
from ...ir.ops.quantize import DEQUANTIZE_LINEAR
from ...ir.types import Array, limits_of

__all__ = ["WORDS", "Candidates", "candidates_of"]

FLOATS_END = 2.0**-126  # below it float32 has few digits left, too
WORDS = {"f16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Candidates:
    """`products` gain by 16 bits; `followers` run in them where that saves casts. `refused` would be one of these but for a reason."""

    products: frozenset[Node]
    followers: frozenset[Node]
    refused: Mapping[Node, str]


def candidates_of(graph: Graph, dtype: str, kept: Mapping[str, str]) -> Candidates:
    """For 16 bits of `dtype`; `kept` stay in float32, by name, and why."""
    span = _Span.of(dtype)
    sizes = {node: _sizes(node) for node in graph.params if node.typed.dtype == "f32"}
    found: dict[str, set[Node]] = {"gains": set(), "follows": set()}
    refused: dict[Node, str] = {}
    for node in graph.ops:
        narrow = node.kind.facts.narrow(node.op)
        if narrow == "never" or node.typed.dtype != "f32" or not _reads_floats(node):
            continue
        if narrow == "gains" and any(operand.kind is DEQUANTIZE_LINEAR for operand in node.inputs):
            continue  # runtimes compute these in integers
        if why := span.misses_attribute(node) or span.misses_constant(node, sizes) or kept.get(node.name):
            refused[node] = why
        else:
            found[narrow].add(node)
    return Candidates(frozenset(found["gains"]), frozenset(found["follows"]), refused)


def _reads_floats(node: Node) -> bool:
    """A value among them: what depends on constants alone is not worth a cast."""
    return any(operand.typed.dtype == "f32" and operand.weights is None for operand in node.inputs)


def _sizes(node: Node) -> float:
    """The greatest absolute value. Infinities 16 bits have too; values that are not there yet are not looked at."""
    if node.weights is None or node.weights.is_missing:
        return 0.0
    values = abs(node.weights.drawn())
    return float(np.max(values[np.isfinite(values)], initial=0.0))


@dataclass(frozen=True, slots=True)
class _Span:
    """What 16 bits have numbers for: `most` is still rounded to the greatest, and below `least` they have fewer digits."""

    dtype: str
    greatest: float
    most: float
    least: float

    @staticmethod
    def of(dtype: str) -> _Span:
        limits = limits_of(dtype)
        greatest = float(limits.max)
        half_a_step = 2.0 ** (math.floor(math.log2(greatest)) - int(limits.nmant) - 1)
        return _Span(dtype, greatest, math.nextafter(greatest + half_a_step, 0.0), float(limits.tiny))

    def misses_attribute(self, node: Node) -> str:
        for field in fields(node.op):
            value = getattr(node.op, field.name)
            if isinstance(value, float) and math.isfinite(value) and abs(value) > self.most:
                return f"its {field.name} of {value:.6g} is beyond {WORDS[self.dtype]}, which ends at {self.greatest:.6g}"
        return ""

    def misses_constant(self, node: Node, sizes: Mapping[Node, float]) -> str:
        for operand in node.inputs:
            size = sizes.get(operand, 0.0)
            if size > self.most:
                end = f"beyond {WORDS[self.dtype]}, which ends at {self.greatest:.6g}"
                return f"%{operand.name} holds {size:.6g}, {end}" + ("; bfloat16 has it" if self.dtype == "f16" else "")
            if 0 < size < self.least and _multiplies(node, operand):
                return f"%{operand.name} is {size:.3g} at most, where {WORDS[self.dtype]} has few digits left"
            if size and self.least > FLOATS_END and _multiplies(node, operand) and (small := self._small_filter(node, operand)):
                return f"{small}, where {WORDS[self.dtype]} has few digits left"
        return ""

    def _small_filter(self, node: Node, operand: Node) -> str:
        """Which filter of a product is all below `least`. What stands behind it may scale each channel by itself. One of nothing has
        nothing to lose, nor has one that float32 has few digits of.
        """
        filters = _filters(node, operand)
        places = np.flatnonzero((filters >= FLOATS_END) & (filters < self.least))
        if not places.size:
            return ""
        which = f"filter {places[0]}" if places.size == 1 else f"{places.size} filters, first {places[0]},"
        return f"{which} of %{operand.name} is {filters[places].max():.3g} at most"


def _filters(node: Node, operand: Node) -> Array:
    """The greatest absolute value of each filter: of the weights that one channel of the result is made with."""
    if node.kind.facts.narrow(node.op) != "gains" or operand.weights is None:
        return np.empty(0)
    values = abs(operand.weights.drawn())
    if node.kind is MATMUL:
        return values.max(axis=-1 if operand is node.inputs[0] else -2, initial=0.0).ravel()
    if node.kind in CONV_TRANSPOSES:  # [c_in, c_out of a group, ...]
        c_in, c_out, *_ = values.shape
        groups = getattr(node.op, "groups", 1)
        return values.reshape(groups, c_in // groups, c_out, -1).max(axis=(1, 3), initial=0.0).ravel()
    return values.reshape(len(values), -1).max(axis=1, initial=0.0)


def _multiplies(node: Node, operand: Node) -> bool:
    """Rather than be added, where what is lost of a small number is less than the sum's own rounding."""
    if node.kind.facts.narrow(node.op) == "gains":
        return operand.typed.rank > 1
    return node.kind.facts.slope is None
