"""Named sizes that fit a file only as multiples: a reshape of H rows into pairs is none of an odd H, whatever the file declares.

The file is read again with 2*H in place of H, as the quotients in the way say, until everything fits. That must be no more than the file
demands: with 2*H+1 it may not fit.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from ....ir.dims import Dim, Expr, FloorDiv, symbol
from ....ir.errors import ConvcError, ShapeError
from ....ir.graph import Graph
from ....ir.types import Array, TensorType

__all__ = ["UnfitSizes", "divisors", "narrowed", "with_multiples"]

MOST_STEPS = 12
MOST_READINGS = 40  # of one file: some say nothing that more of them would tell, and each takes as long as the first
MOST_FACTOR = 1024
GUESSES = (2, 3, 4, 5, 7, 8, 16, 32)  # where no quotient says what a size must be a multiple of
NUMBERS = (224, 32, 64, 256, 1024, 100)  # where one of them fits, a number is a way out

Result = TypeVar("Result")
Read = Callable[[Mapping[str, Dim]], Result]  # a file where these sizes stand for its named ones


class UnfitSizes(ShapeError):
    """An operator that does not fit its operands' named sizes; `factors` are what would make quotients in the way whole.

    `names` are those of the file's inputs, the batch among them; `position` is how far the file was read.
    """

    def __init__(self, message: str, position: int, names: Iterable[str], factors: Mapping[str, int]) -> None:
        super().__init__(message)
        self.position, self.names, self.factors = position, tuple(names), factors


def divisors(types: Iterable[TensorType], values: Iterable[Array | None]) -> dict[str, int]:
    """What named sizes are divided by, in types and in computed values: 2 for H where there is H//2 or (H+1)//2."""
    found: dict[str, int] = {}
    dims: list[object] = [dim for type_ in types for dim in type_.shape]
    dims += [entry for value in values if value is not None and value.dtype == object for entry in np.ravel(value)]
    for quotient in (quotient for dim in dims if isinstance(dim, Expr) for quotient in _quotients(dim)):
        for monomial, coefficient in quotient.numerator.terms:
            if len(monomial) == 1 and isinstance(monomial[0], str):
                factor = quotient.divisor // math.gcd(quotient.divisor, coefficient)
                found[monomial[0]] = math.lcm(found.get(monomial[0], 1), factor)
    return found


def narrowed(graph: Graph, factors: Mapping[str, int]) -> str:
    """What the reader of a file should know of sizes that are multiples now."""
    if not factors:
        return ""
    inputs = ", ".join(f"%{node.name}: {node.type}" for node in graph.inputs if set(node.typed.symbols) & factors.keys())
    return f"other sizes do not fit the network's layers, so its inputs are read as {inputs}"


def _quotients(dim: Expr) -> Iterator[FloorDiv]:
    for monomial, _ in dim.terms:
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                yield atom
                yield from _quotients(atom.numerator)


def with_multiples(read: Read[Result]) -> tuple[Result, dict[str, int]]:
    """What `read` makes of a file, and the factors of those named sizes that had to be multiples.

    Raises: what `read` raises; ShapeError, with a hint where one helps, for sizes that no multiple makes fit.
    """
    try:
        return read({}), {}
    except UnfitSizes as error:
        first = error
    hint, limited = "", _limited(read)
    with contextlib.suppress(_Enough):
        found = _search(limited, first)
        if found is not None:
            return found
        if _fits_a_number(limited, first.names):
            hint = "; named sizes may be given values, or multiples such as 32*H, with --input"
    raise ShapeError(f"{first}{hint}") from None


class _Enough(Exception):
    """The file has been read as often as it may be."""


def _limited(read: Read[Result]) -> Read[Result]:
    left = MOST_READINGS

    def reading(sizes: Mapping[str, Dim]) -> Result:
        nonlocal left
        if not left:
            raise _Enough
        left -= 1
        return read(sizes)

    return reading


def _search(read: Read[Result], failed: UnfitSizes) -> tuple[Result, dict[str, int]] | None:
    """The file at multiples that take each reading further than the one before, until everything fits."""
    factors: dict[str, int] = {}
    for _ in range(MOST_STEPS):
        further: tuple[UnfitSizes, dict[str, int]] | None = None
        for more in [failed.factors] if failed.factors else [dict.fromkeys(failed.names, guess) for guess in GUESSES]:
            wanted = {name: math.lcm(factors.get(name, 1), more.get(name, 1)) for name in {**factors, **more}}
            if wanted == factors or max(wanted.values()) > MOST_FACTOR:
                continue
            result = _attempt(read, wanted)
            if isinstance(result, UnfitSizes):
                further = further or ((result, wanted) if result.position > failed.position else None)
            elif result is not None:
                return _least(read, result, wanted)
        if further is None:
            return None
        failed, factors = further
    return None


def _least(read: Read[Result], result: Result, factors: dict[str, int]) -> tuple[Result, dict[str, int]] | None:
    """With factors that no smaller ones replace; None where the file does with sizes in between, so that multiples would take them away."""
    for name in list(factors):
        for smaller in sorted({1, *(factors[name] // prime for prime in _primes(factors[name]))}):
            fewer = {**factors, name: smaller}
            if smaller < factors[name] and (found := _attempt(read, fewer)) is not None and not isinstance(found, UnfitSizes):
                result, factors = found, fewer
                break
    factors = {name: factor for name, factor in factors.items() if factor > 1}
    for name, factor in factors.items():
        for rest in {1, *(factor // prime for prime in _primes(factor))}:
            between = _attempt(read, factors, {name: symbol(name) * factor + rest})
            if between is not None and not isinstance(between, UnfitSizes):
                return None
    return result, factors


def _primes(number: int) -> list[int]:
    return [p for p in range(2, number + 1) if number % p == 0 and all(p % q for q in range(2, p))]


def _attempt(read: Read[Result], factors: Mapping[str, int], sizes: Mapping[str, Dim] | None = None) -> Result | UnfitSizes | None:
    """None where something else is wrong with the file at these sizes."""
    try:
        return read({**{name: symbol(name) * factor for name, factor in factors.items()}, **(sizes or {})})
    except UnfitSizes as error:
        return error
    except ConvcError:
        return None


def _fits_a_number(read: Read[Result], names: Iterable[str]) -> bool:
    results = (_attempt(read, {}, dict.fromkeys(names, number)) for number in NUMBERS)
    return any(result is not None and not isinstance(result, UnfitSizes) for result in results)
