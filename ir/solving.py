"""Numbers for names, from the sizes that dimensions must have: W is 32 where 2*W+2 is 66."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

from .dims import Dim, Expr, FloorDiv, dim_names, evaluate, linear

__all__ = ["first_size", "least", "listed", "names_of", "solve", "what_fits"]

MOST_ROUNDS = 64  # in search of a number at which several dimensions fit
MOST_TRIED = 4096  # numbers for one name; a quotient takes each size at the first of these, unless quotients are subtracted
AROUND = 8  # numbers on either side of where a size would lie, among which the sizes next to it are looked for


def solve(wanted: Sequence[tuple[Dim, Dim]]) -> dict[str, Dim]:
    """What stands for the names in pairs of a dimension and its size, each from the first dimension that says it exactly.

    `N`, `32*H` and `2*W+2` do, and H+W once H is known. A name that only quotients have gets the least number at which all of those fit
    that have no other: 9, if (W+1)//2 is 5. Whose dimensions fit nothing is left out; of those that disagree the first counts.
    """
    known: dict[str, Dim] = {}
    while found := _exact(wanted, known) or _fitting(wanted, known):
        known |= found
    return known


def names_of(dim: Dim) -> tuple[str, ...]:
    """The named sizes in a dimension, each once, in order."""
    return tuple(dict.fromkeys(dim_names(dim)))


def listed(sizes: Mapping[str, Dim]) -> str:
    """`N=1, W=32`"""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def least(dim: Expr, size: int, start: int = 0) -> int | None:
    """The least number from `start` on of the only name in `dim` at which that is `size`; None where there is none, or it is a product
    and none of the first MOST_TRIED.
    """
    (name,) = names_of(dim)
    slope, low, high = _line(dim) or (0, 0, 0)
    first, last = start, start + MOST_TRIED
    if slope:
        ends = sorted(((size - low) / slope, (size - high) / slope))
        first = max(start, ceil(ends[0]))
        last = min(floor(ends[1]), first + MOST_TRIED)
    return next((number for number in range(first, last + 1) if evaluate(dim, {name: number}) == size), None)


def first_size(dim: Expr) -> tuple[str, int, int] | None:
    """(name, number, size): the least number of the only name in `dim` at which that is no negative size."""
    (name,) = names_of(dim)
    tried = ((number, evaluate(dim, {name: number})) for number in range(MOST_TRIED))
    return next(((name, number, size) for number, size in tried if isinstance(size, int) and size >= 0), None)


def what_fits(dim: Dim, size: int, sizes: Mapping[str, int]) -> str:
    """What `dim` is with these numbers, and numbers at which it is `size`, or else what is next to it: `6 where W=2, 8 where W=3`."""
    told = evaluate(dim, sizes)
    is_told = isinstance(told, int)
    fits = [f"{told} where {listed({name: sizes[name] for name in names_of(dim)})}"] if is_told else []
    free = dim if is_told else told
    if isinstance(free, Expr) and len(names_of(free)) == 1:
        (name,) = names_of(free)
        number = least(free, size)
        found = _next_to(free, size) if number is None else {size: number}
        fits += [f"{each} where {name}={number}" for each, number in found.items() if each != told]
    return ", ".join(fits)


def _next_to(dim: Expr, size: int) -> dict[int, int]:
    """The sizes next to `size`, below and above, that `dim` has for a number of its only name, and the least such number near by."""
    (name,) = names_of(dim)
    line = _line(dim)
    if line is None or not line[0]:
        return {}
    middle = max(floor((size - line[1]) / line[0]), 0)
    sizes: dict[int, int] = {}
    for number in range(max(middle - AROUND, 0), middle + AROUND):
        found = evaluate(dim, {name: number})
        if isinstance(found, int) and found >= 0:
            sizes.setdefault(found, number)
    nearest = max((each for each in sizes if each < size), default=None), min((each for each in sizes if each > size), default=None)
    return {each: sizes[each] for each in nearest if each is not None}


def _exact(wanted: Sequence[tuple[Dim, Dim]], known: Mapping[str, Dim]) -> dict[str, Dim]:
    """The first name that a dimension says exactly, and what stands for it."""
    for dim, size in _left(wanted, known):
        if (found := linear(dim)) is None:
            continue
        name, each, plus = found
        rest = (size - plus) * (1 if each > 0 else -1)
        number = rest // abs(each)
        if number * abs(each) == rest and not (isinstance(number, int) and number < 0):
            return {name: number}
    return {}


def _fitting(wanted: Sequence[tuple[Dim, Dim]], known: Mapping[str, Dim]) -> dict[str, Dim]:
    """The first name of which dimensions with no other have the sizes that are wanted, and its number."""
    by_name: dict[str, list[tuple[Expr, int]]] = {}
    for dim, size in _left(wanted, known):
        if isinstance(size, int):
            by_name.setdefault(names_of(dim)[0], []).append((dim, size))
    for name, dims in by_name.items():
        together = _least_of_all(dims)
        first = next((number for dim in dims if (number := least(*dim)) is not None), None) if together is None else together
        if first is not None:
            return {name: first}
    return {}


def _least_of_all(dims: Sequence[tuple[Expr, int]]) -> int | None:
    """The least number at which all of these have their sizes."""
    number = 0
    for _ in range(MOST_ROUNDS):
        before = number
        for dim, size in dims:
            found = least(dim, size, number)
            if found is None:
                return None
            number = found
        if number == before:
            return number
    return None


def _left(wanted: Sequence[tuple[Dim, Dim]], known: Mapping[str, Dim]) -> Iterator[tuple[Expr, Dim]]:
    """The pairs whose dimension has one name that is not known, with numbers for the others."""
    numbers = {name: number for name, number in known.items() if isinstance(number, int)}
    for dim, size in wanted:
        left = evaluate(dim, numbers)
        if isinstance(left, Expr) and len(names := names_of(left)) == 1 and names[0] not in known:
            yield left, size


def _line(dim: Dim) -> tuple[Fraction, Fraction, Fraction] | None:
    """(slope, low, high): a dimension over one name x lies between slope*x + low and slope*x + high. None of products."""
    if isinstance(dim, int):
        return Fraction(0), Fraction(dim), Fraction(dim)
    slope = low = high = Fraction(0)
    for monomial, coefficient in dim.terms:
        if len(monomial) > 1:
            return None
        part = _line_of_atom(monomial[0]) if monomial else (Fraction(0), Fraction(1), Fraction(1))
        if part is None:
            return None
        ends = sorted(coefficient * end for end in part[1:])
        slope, low, high = slope + coefficient * part[0], low + ends[0], high + ends[1]
    return slope, low, high


def _line_of_atom(atom: str | FloorDiv) -> tuple[Fraction, Fraction, Fraction] | None:
    if isinstance(atom, str):
        return Fraction(1), Fraction(0), Fraction(0)
    line = _line(atom.numerator)
    if line is None:
        return None
    slope, low, high = (part / atom.divisor for part in line)
    return slope, low - Fraction(atom.divisor - 1, atom.divisor), high
