"""Which nodes may compute in floats of 16 bits, and why another may not: by what ops state, and by the range of constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from ...ir.graph import Graph, Node
from ...ir.ops.quantize import DEQUANTIZE_LINEAR
from ...ir.types import limits_of

__all__ = ["WORDS", "Candidates", "candidates_of"]

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
        if why := kept.get(node.name) or span.misses_attribute(node) or span.misses_constant(node, sizes):
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
        return ""


def _multiplies(node: Node, operand: Node) -> bool:
    """Rather than be added, where what is lost of a small number is less than the sum's own rounding."""
    if node.kind.facts.narrow(node.op) == "gains":
        return operand.typed.rank > 1
    return node.kind.facts.slope is None
