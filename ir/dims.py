"""Dimensions: integers, or integer expressions over named sizes such as `N` or `(H-1)//2+1`.

An expression is a polynomial with integer coefficients over atoms; an atom is a name or a floor
division of an expression by a positive integer. The polynomial is kept in one canonical form, so
two dimensions are equal exactly when `==` says so as far as these rules can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import gcd

from .errors import InvalidModel

__all__ = [
    "Atom",
    "Dim",
    "Expr",
    "FloorDiv",
    "alone",
    "content",
    "dim_names",
    "evaluate",
    "linear",
    "multiple",
    "of_atom",
    "parse_dim",
    "symbol",
]

MAX_DIM_TEXT = 4096  # characters; longer text is an attack or an accident
MAX_DIGITS = 19  # of a number of 64 bits
MAX_EXPR_SIZE = 256  # atoms and terms; products of sums, and quotients in quotients, could grow without end
_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_]\w*)|(//|[-+*()]))")


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """`numerator // divisor`, which no rule below could simplify."""

    numerator: Expr
    divisor: int

    def __str__(self) -> str:
        return f"({self.numerator})//{self.divisor}" if len(self.numerator.terms) > 1 else f"{self.numerator}//{self.divisor}"


Atom = str | FloorDiv
Monomial = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Expr:
    """A sum of `coefficient * atom * atom ...`; the empty monomial is the constant term, last. `size` counts terms and atoms, nested too.

    Raises: InvalidModel for one that is larger than MAX_EXPR_SIZE.
    """

    terms: tuple[tuple[Monomial, int], ...]
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        atoms = (atom for monomial, _ in self.terms for atom in monomial)
        size = len(self.terms) + sum(1 if isinstance(atom, str) else atom.numerator.size for atom in atoms)
        if size > MAX_EXPR_SIZE:
            raise InvalidModel(f"a dimension has {size} terms and factors; at most {MAX_EXPR_SIZE} are kept")
        object.__setattr__(self, "size", size)

    def __add__(self, other: Dim) -> Dim:
        return _sum([*_terms(self), *_terms(other)])

    def __radd__(self, other: int) -> Dim:
        return self + other

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + other * -1

    def __rsub__(self, other: int) -> Dim:
        return self * -1 + other

    def __mul__(self, other: Dim) -> Dim:
        return _sum([(_product(a, b), p * q) for a, p in _terms(self) for b, q in _terms(other)])

    def __rmul__(self, other: int) -> Dim:
        return self * other

    def __floordiv__(self, divisor: int) -> Dim:
        if divisor <= 0:
            raise InvalidModel(f"dimension {self} is divided by {divisor}; only positive integers divide a dimension")
        # floor((d*A + r) / d) = A + floor(r / d) for an integer A
        whole = _sum([(m, c // divisor) for m, c in self.terms])
        rest = _sum([(m, c % divisor) for m, c in self.terms])
        if isinstance(rest, int):
            return whole + rest // divisor
        return whole + _nested_floor(*_reduced(rest, divisor))

    def __str__(self) -> str:
        return "".join(_signed(m, c, first=i == 0) for i, (m, c) in enumerate(self.terms))


Dim = int | Expr


def symbol(name: str) -> Expr:
    """The named size `name`, for example a batch `N`."""
    return Expr((((name,), 1),))


def of_atom(atom: Atom) -> Expr:
    """A name or a quotient as a dimension."""
    return Expr((((atom,), 1),))


def content(dim: Expr) -> tuple[int, Expr]:
    """A dimension as its greatest whole factor times the rest: 64*N*H is 64 and N*H."""
    factor = gcd(*(coefficient for _, coefficient in dim.terms))
    return factor, Expr(tuple((monomial, coefficient // factor) for monomial, coefficient in dim.terms))


def evaluate(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """`dim` with the names in `sizes` replaced, all at once; an int when none is left."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        value: Dim = coefficient
        for atom in monomial:
            value = value * _evaluate_atom(atom, sizes)
        total = total + value
    return total


def linear(dim: Dim) -> tuple[str, int, int] | None:
    """(name, factor, rest) of a dimension such as `N`, `32*H` or `2*W+2`; None of any other."""
    if isinstance(dim, int) or len(dim.terms) > 2:
        return None
    of = dict(dim.terms)
    rest = of.pop((), 0)
    (monomial, factor), *others = of.items()
    return None if others or len(monomial) != 1 or not isinstance(monomial[0], str) else (monomial[0], factor, rest)


def multiple(dim: Dim) -> tuple[str, int] | None:
    """(name, factor) of a dimension such as `N` or `32*H`; None of any other."""
    found = linear(dim)
    return found[:2] if found is not None and found[1] > 0 and found[2] == 0 else None


def alone(dim: Dim) -> str | None:
    """The name, where a dimension is one."""
    found = multiple(dim)
    return found[0] if found is not None and found[1] == 1 else None


def dim_names(dim: Dim) -> Iterator[str]:
    """The named sizes in `dim`, in order of appearance, repeats included."""
    if isinstance(dim, int):
        return
    for monomial, _ in dim.terms:
        for atom in monomial:
            if isinstance(atom, str):
                yield atom
            else:
                yield from dim_names(atom.numerator)


def parse_dim(text: str) -> Dim:
    """Read `3`, `N`, `2*H` or `(H-1)//2+1`.

    Raises: InvalidModel with the offending text.
    """
    if len(text) > MAX_DIM_TEXT:
        raise InvalidModel(f"dimension text of {len(text)} characters; at most {MAX_DIM_TEXT} are read")
    tokens: list[str] = []
    at = 0
    stripped = text.strip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            raise InvalidModel(f"'{text}' is not a dimension: unexpected '{stripped[at]}'")
        tokens.append(match.group().strip())
        at = match.end()
    value = _read_sum(tokens, text, depth=0)
    if tokens:
        raise InvalidModel(f"'{text}' is not a dimension: unexpected '{tokens[0]}'")
    return value


def _read_sum(tokens: list[str], text: str, depth: int) -> Dim:
    total = _read_product(tokens, text, depth)
    while tokens and tokens[0] in "+-":
        sign = 1 if tokens.pop(0) == "+" else -1
        total = total + _read_product(tokens, text, depth) * sign
    return total


def _read_product(tokens: list[str], text: str, depth: int) -> Dim:
    value = _read_atom(tokens, text, depth)
    while tokens and tokens[0] in ("*", "//"):
        operator = tokens.pop(0)
        right = _read_atom(tokens, text, depth)
        if operator == "*":
            value = value * right
        elif isinstance(right, int) and right > 0:
            value = value // right
        else:
            raise InvalidModel(f"'{text}' is not a dimension: only positive integers may follow '//'")
    return value


def _read_atom(tokens: list[str], text: str, depth: int) -> Dim:
    if not tokens or depth > 100:
        raise InvalidModel(f"'{text}' is not a dimension: " + ("it ends early" if not tokens else "nested too deeply"))
    token = tokens.pop(0)
    if token == "-":
        return _read_atom(tokens, text, depth + 1) * -1
    if token == "(":
        inner = _read_sum(tokens, text, depth + 1)
        if not tokens or tokens.pop(0) != ")":
            raise InvalidModel(f"'{text}' is not a dimension: a parenthesis is not closed")
        return inner
    if token.isdecimal():
        if len(token) > MAX_DIGITS:
            raise InvalidModel(f"a dimension has a number of {len(token)} digits; at most {MAX_DIGITS} are read")
        return int(token)
    if token[0].isalpha() or token[0] == "_":
        return symbol(token)
    raise InvalidModel(f"'{text}' is not a dimension: unexpected '{token}'")


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    return dim.terms if isinstance(dim, Expr) else (((), dim),)


def _product(a: Monomial, b: Monomial) -> Monomial:
    return tuple(sorted((*a, *b), key=str))


def _sum(terms: list[tuple[Monomial, int]]) -> Dim:
    totals: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        totals[monomial] = totals.get(monomial, 0) + coefficient
    kept = {m: c for m, c in totals.items() if c != 0}
    if not kept or set(kept) == {()}:
        return kept.get((), 0)
    if len(kept) > MAX_EXPR_SIZE:
        raise InvalidModel(f"a dimension has {len(kept)} terms; at most {MAX_EXPR_SIZE} are kept")
    return Expr(tuple(sorted(kept.items(), key=lambda item: (not item[0], [str(a) for a in item[0]]))))


def _reduced(rest: Expr, divisor: int) -> tuple[Expr, int]:
    """floor((g*A + c) / (g*d)) = floor((A + floor(c / g)) / d) for an integer A: no factor is left that quotient and divisor share."""
    common = gcd(divisor, *(c for m, c in rest.terms if m))
    return Expr(tuple((m, c // common) for m, c in rest.terms if m or c >= common)), divisor // common


def _nested_floor(rest: Expr, divisor: int) -> Dim:
    """floor((floor(x / a) + B) / d) = floor((x + a*B) / (a*d)) for an integer B: halving twice stays one division."""
    inner = next((m[0] for m, c in rest.terms if c == 1 and len(m) == 1 and isinstance(m[0], FloorDiv)), None)
    if isinstance(inner, FloorDiv):
        others = rest - Expr((((inner,), 1),))
        return (inner.numerator + others * inner.divisor) // (inner.divisor * divisor)
    return Expr((((FloorDiv(rest, divisor),), 1),))


def _evaluate_atom(atom: Atom, sizes: Mapping[str, Dim]) -> Dim:
    if isinstance(atom, str):
        return sizes[atom] if atom in sizes else symbol(atom)
    return evaluate(atom.numerator, sizes) // atom.divisor


def _signed(monomial: Monomial, coefficient: int, *, first: bool) -> str:
    sign = "-" if coefficient < 0 else "" if first else "+"
    # A quotient is bracketed inside a product, or `2*H//2` would read back as `(2*H)//2`.
    factors = [f"({a})" if isinstance(a, FloorDiv) and (len(monomial) > 1 or coefficient != 1) else str(a) for a in monomial]
    if abs(coefficient) != 1 or not factors:
        factors.insert(0, str(abs(coefficient)))
    return sign + "*".join(factors)
