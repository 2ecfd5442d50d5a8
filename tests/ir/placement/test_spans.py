"""Offsets for spans of bytes: greedy and exact, against permutations and a mixed-integer solver."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convc.ir.placement.exact import improve
from convc.ir.placement.greedy import ORDERS, Span, arena_of, first_fit, highest_load, overlaps, place, place_by_blame


@st.composite
def spans(draw, most=25, steps=12, size=20):
    def one():
        first = draw(st.integers(0, steps))
        return Span(draw(st.integers(1, size)), first, first + draw(st.integers(0, steps // 2)))

    return [one() for _ in range(draw(st.integers(1, most)))]


def hold_apart(spans_, offsets):
    for (a, at), (b, other) in itertools.combinations(zip(spans_, offsets, strict=True), 2):
        if a.first <= b.last and b.first <= a.last:
            assert at + a.size <= other or other + b.size <= at
    assert min(offsets) >= 0
    assert arena_of(spans_, offsets) >= highest_load(spans_)


def greedy(spans_):
    near = overlaps(spans_, 10**6)
    plans = {name: place(spans_, near, order(spans_)) for name, order in ORDERS.items()}
    return plans | {"first fit": first_fit(spans_), "blame": place_by_blame(spans_, near, ORDERS["breadth"](spans_), highest_load(spans_))}


def least_by_permutation(spans_):
    """Every packing pushed down is some order of spans, each put on top of what it meets."""
    near = overlaps(spans_, 10**6)

    def height(order):
        tops: dict[int, int] = {}
        for i in order:
            tops[i] = spans_[i].size + max((tops[j] for j in near[i] if j in tops), default=0)
        return max(tops.values())

    return min(height(order) for order in itertools.permutations(range(len(spans_))))


def least_by_solver(spans_):
    """Offsets and, for each pair alive together, which lies below, as a mixed-integer program."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # half a second to import

    pairs = [(i, j) for i, near in enumerate(overlaps(spans_, 10**6)) for j in near if i < j]
    n, most = len(spans_), sum(span.size for span in spans_)
    width = n + len(pairs) + 1  # offsets, choices, height
    rows, upper = [], []
    for k, (i, j) in enumerate(pairs):
        for low, high, sign in ((i, j, 1), (j, i, -1)):  # low lies below high if the choice says so
            row = np.zeros(width)
            row[low], row[high], row[n + k] = 1, -1, sign * most
            rows.append(row)
            upper.append((most if sign > 0 else 0) - spans_[low].size)
    for i in range(n):
        row = np.zeros(width)
        row[i], row[-1] = 1, -1
        rows.append(row)
        upper.append(-spans_[i].size)
    kinds = [0] * n + [1] * len(pairs) + [0]
    limits = Bounds([0] * width, [most] * n + [1] * len(pairs) + [most])
    found = milp([0] * (width - 1) + [1], integrality=kinds, bounds=limits, constraints=LinearConstraint(np.array(rows), ub=upper))
    return round(found.fun)


@settings(deadline=None)
@given(spans())
def test_no_plan_overlaps_and_the_search_is_no_worse_than_greedy(spans_):
    plans = greedy(spans_)
    for offsets in plans.values():
        hold_apart(spans_, offsets)
    best = min(plans.values(), key=lambda offsets: arena_of(spans_, offsets))
    better, proven = improve(spans_, best, highest_load(spans_), work=300_000)
    hold_apart(spans_, better)
    assert arena_of(spans_, better) <= arena_of(spans_, best)
    assert proven or arena_of(spans_, better) > highest_load(spans_)


@settings(deadline=None, max_examples=60)
@given(spans(most=6, steps=5, size=5))
def test_the_search_finds_the_least_arena(spans_):
    on_top = list(itertools.accumulate((span.size for span in spans_), initial=0))[:-1]  # a poor start: nothing is shared
    offsets, proven = improve(spans_, on_top, highest_load(spans_))
    assert proven
    hold_apart(spans_, offsets)
    assert arena_of(spans_, offsets) == least_by_permutation(spans_)


# Found at random and cut down. (size, first, last)...; load; least arena of the orders, of rounds of blame, of all.
HARD = [
    ([(2, 0, 2), (4, 3, 4), (3, 2, 3), (1, 2, 4), (4, 0, 1)], 8, 10, 8, 8),
    ([(4, 4, 5), (2, 0, 0), (2, 3, 4), (2, 2, 3), (4, 0, 2)], 6, 8, 6, 6),
    ([(3, 4, 4), (2, 1, 4), (2, 2, 3), (2, 0, 3), (1, 2, 5)], 7, 8, 8, 7),
    ([(1, 2, 5), (2, 1, 3), (3, 1, 2), (2, 3, 4), (3, 1, 4), (4, 4, 4)], 10, 12, 11, 10),
    ([(1, 3, 5), (4, 6, 6), (2, 2, 5), (3, 2, 3), (4, 5, 6), (3, 0, 2), (4, 1, 1)], 8, 9, 9, 9),
]


@pytest.mark.parametrize(("rows", "load", "by_order", "by_blame", "least"), HARD)
def test_hard_spans(rows, load, by_order, by_blame, least):
    spans_ = [Span(*row) for row in rows]
    assert highest_load(spans_) == load
    plans = greedy(spans_)
    blame = plans.pop("blame")
    assert min(arena_of(spans_, offsets) for offsets in plans.values()) == by_order
    assert arena_of(spans_, blame) == by_blame
    offsets, proven = improve(spans_, plans["size"], load)
    assert (arena_of(spans_, offsets), proven) == (least, True)
    assert least_by_permutation(spans_) == least_by_solver(spans_) == least


def test_the_search_is_the_same_every_time_and_stops():
    draw = random.Random(0)
    spans_ = [Span(draw.randint(1, 100), first := draw.randrange(60), first + draw.randrange(20)) for _ in range(150)]
    start = min(greedy(spans_).values(), key=lambda offsets: arena_of(spans_, offsets))
    runs = [improve(spans_, start, highest_load(spans_), work=500_000) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0][1] is False
    hold_apart(spans_, runs[0][0])
