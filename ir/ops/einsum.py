"""Sums of products named by letters: einsum."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef
from ..terms import EachOperand, NoGradient, Term
from ..types import MAX_RANK, Array, TensorType
from .check import need_same_dtype

__all__ = ["EINSUM", "OPS", "Einsum", "labels"]

LETTERS = string.ascii_letters
HIDDEN = tuple(f"...{i}" for i in range(MAX_RANK))  # labels of what an ellipsis stands for, the last axis first


@dataclass(frozen=True, slots=True)
class Einsum:
    """Sum of products over all letters that the result leaves out, `bij,bjk->bik`. ONNX Einsum; Einstein 1916.

    Axes of one letter are of one size; those of an ellipsis broadcast. Without `->` the result has the letters that occur once, in
    the order of the alphabet, after the ellipsis.
    """

    equation: str


def labels(equation: str, ranks: tuple[int, ...]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """A label for each axis of each operand, and of the result.

    Raises: ShapeError where the equation has other operands or axes, or a letter of the result comes from nowhere.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ShapeError(f"equation '{equation}' has {len(terms)} operands, the node {len(ranks)}")
    operands = [_labels_of(term, rank, equation) for term, rank in zip(terms, ranks, strict=True)]
    every = [label for operand in operands for label in operand]
    hidden = max((sum(label in HIDDEN for label in operand) for operand in operands), default=0)
    if arrow:
        out = (
            _labels_of(right, hidden + len(right.replace("...", "")), equation)
            if "..." in right
            else _labels_of(right, len(right), equation)
        )
    else:
        out = (*reversed(HIDDEN[:hidden]), *sorted(label for label in set(every) if every.count(label) == 1 and label in LETTERS))
    if len(set(out)) != len(out) or not set(out) <= set(every):
        raise ShapeError(f"equation '{equation}': the result has a letter twice, or one that no operand has")
    return operands, out


def _labels_of(term: str, rank: int, equation: str) -> tuple[str, ...]:
    before, dots, after = term.partition("...")
    if not all(letter in LETTERS for letter in before + after):
        raise ShapeError(f"equation '{equation}' is not made of letters, commas, one '...' an operand and one '->'")
    hidden = rank - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise ShapeError(f"equation '{equation}': '{term}' names {len(before) + len(after)} axes of {rank}")
    return (*before, *reversed(HIDDEN[:hidden]), *after)


def sizes_of(op: Einsum, inputs: tuple[TensorType, ...]) -> dict[str, Dim]:
    """The size of each label.

    Raises: ShapeError where two axes of one letter differ.
    """
    operands, _ = labels(op.equation, tuple(x.rank for x in inputs))
    sizes: dict[str, Dim] = {}
    for x, named in zip(inputs, operands, strict=True):
        for label, dim in zip(named, x.shape, strict=True):
            known = sizes.setdefault(label, dim)
            if known != dim and not (label in HIDDEN and 1 in (known, dim)):
                raise ShapeError(f"equation '{op.equation}': axes '{label}' are {known} and {dim}")
            sizes[label] = dim if known == 1 else known
    return sizes


def infer_einsum(op: Einsum, *inputs: TensorType) -> TensorType:
    """Raises: ShapeError for booleans, element types that differ, or an equation that does not fit."""
    need_same_dtype(*inputs)
    if inputs[0].dtype == "bool":
        raise ShapeError(f"input is {inputs[0]}, expected numbers; cast it")
    sizes = sizes_of(op, inputs)
    _, out = labels(op.equation, tuple(x.rank for x in inputs))
    if len(out) > MAX_RANK:
        raise ShapeError(f"equation '{op.equation}' has a result of {len(out)} axes; at most {MAX_RANK} are supported")
    return TensorType(inputs[0].dtype, tuple(sizes[label] for label in out))


def einsum(op: Einsum, *inputs: Array) -> Array:
    operands, out = labels(op.equation, tuple(x.ndim for x in inputs))
    numbers = {label: i for i, label in enumerate(dict.fromkeys(label for named in operands for label in named))}
    pairs: list[Any] = []
    for x, named in zip(inputs, operands, strict=True):
        pairs += [_without_ones(x, named), [numbers[label] for label, size in zip(named, x.shape, strict=True) if not _is_one(label, size)]]
    kept = {number for numbered in pairs[1::2] for number in numbered}
    found = np.asarray(np.einsum(*pairs, [numbers[label] for label in out if numbers[label] in kept], optimize=len(inputs) > 2))
    gone = tuple(i for i, label in enumerate(out) if numbers[label] not in kept)
    return np.expand_dims(found, gone).astype(inputs[0].dtype, order="C", copy=False)  # ascontiguousarray would make a number a vector


def _is_one(label: str, size: int) -> bool:
    """An axis of an ellipsis that another operand may broadcast."""
    return label in HIDDEN and size == 1


def _without_ones(x: Array, named: tuple[str, ...]) -> Array:
    return x.reshape([size for label, size in zip(named, x.shape, strict=True) if not _is_one(label, size)])


def einsum_magnitude(op: Einsum, *inputs: Array) -> Array:
    return einsum(op, *map(abs, inputs))


def einsum_arithmetic(op: Einsum, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    total: Dim = 1
    for size in sizes_of(op, inputs).values():
        total = total * size
    macs = total * max(len(inputs) - 1, 0)
    return macs, macs * 2 if len(inputs) > 1 else total


def einsum_roundings(op: Einsum, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """A product for each operand, and a sum over what the result leaves out."""
    _, kept = labels(op.equation, tuple(x.rank for x in inputs))
    summed: Dim = 1
    for label, size in sizes_of(op, inputs).items():
        summed = summed if label in kept else summed * size
    return summed + len(inputs)


def einsum_gradient(op: Einsum, place: int, g: Term, y: Term, *inputs: Term) -> Term | NoGradient:
    """The sum of products of the others and of g that leaves the axes of this one; an axis that it alone has is repeated."""
    operands, out = labels(op.equation, tuple(x.rank for x in inputs))
    if len(set(operands[place])) < len(operands[place]):
        return NoGradient(f"'{op.equation}' takes a diagonal of operand {place}; take it before")
    x, sizes = inputs[place], sizes_of(op, tuple(each.type for each in inputs))
    letter = dict(zip(sizes, LETTERS, strict=False))
    parts = [(g, out), *((each, named) for at, (each, named) in enumerate(zip(inputs, operands, strict=True)) if at != place)]
    known: list[tuple[Term, tuple[str, ...]]] = []
    for each, named in parts:
        kept = [(label, size) for label, size in zip(named, each.shape, strict=True) if size == sizes[label]]
        known.append((each.reshape(*(size for _, size in kept)), tuple(label for label, _ in kept)))
    there = {label for _, named in known for label in named}
    wanted = [label for label, size in zip(operands[place], x.shape, strict=True) if label in there and size == sizes[label]]
    equation = ",".join("".join(letter[label] for label in named) for _, named in known)
    first, *rest = (each for each, _ in known)
    moved = first.op("einsum", *rest, equation=f"{equation}->{''.join(letter[label] for label in wanted)}")
    spread = tuple(size if label in wanted else 1 for label, size in zip(operands[place], x.shape, strict=True))
    return moved.reshape(*spread).expand(x.shape)


EINSUM = OpDef(
    "einsum",
    Einsum,
    (1, None),
    infer_einsum,
    einsum,
    einsum_arithmetic,
    einsum_magnitude,
    einsum_roundings,
    facts=Facts(),
    gradient=EachOperand(einsum_gradient),
)
OPS = (EINSUM,)
