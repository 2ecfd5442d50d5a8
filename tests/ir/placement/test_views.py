"""Views: what lies where, what is refused, and that every value reads as if it had memory of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convc.ir.placement.views import Views

SIZES = {"a": 1, "b": 2, "c": 3, "ab": 3, "ba": 3, "abc": 6, "bc": 5, "aa": 2, "aba": 4, "b1": 1, "cut": 2}


def laid(**parts: dict[str, int]) -> tuple[list[bool], list[dict[str, int]]]:
    views = Views(SIZES)
    return [views.add(value, given.items()) for value, given in parts.items()], list(views.stretches())


@pytest.mark.parametrize(
    ("parts", "stretch"),
    [
        ({"ab": {"a": 0, "b": 1}}, {"a": 0, "b": 1, "ab": 0}),
        ({"ab": {"a": 0, "b": 1}, "abc": {"ab": 0, "c": 3}}, {"a": 0, "b": 1, "c": 3, "ab": 0, "abc": 0}),  # nested
        ({"ab": {"a": 0, "b": 1}, "abc": {"a": 0, "b": 1, "c": 3}}, {"a": 0, "b": 1, "c": 3, "ab": 0, "abc": 0}),  # a common beginning
        ({"ab": {"a": 0, "b": 1}, "bc": {"b": 0, "c": 2}}, {"a": 0, "b": 1, "c": 3, "ab": 0, "bc": 1}),  # a common part
        ({"bc": {"b": 0, "c": 2}, "ab": {"a": 0, "b": 1}}, {"a": 0, "b": 1, "c": 3, "ab": 0, "bc": 1}),
        ({"b1": {"b": -1}}, {"b": 0, "b1": 1}),  # the second half of b
        ({"b1": {"b": -1}, "cut": {"b1": 0, "a": 1}}, {"b": 0, "b1": 1, "a": 2, "cut": 1}),  # joined with what follows
        ({"ab": {"a": 0, "b": 1}, "cut": {"ab": -1}}, {"a": 0, "b": 1, "ab": 0, "cut": 1}),  # a slice over no border of its own
    ],
)
def test_parts_lie_where_their_views_want_them(parts: dict[str, dict[str, int]], stretch: dict[str, int]):
    accepted, found = laid(**parts)
    assert all(accepted)
    assert found == [stretch]


@pytest.mark.parametrize(
    "second",
    [
        {"ba": {"b": 0, "a": 2}},  # the other way round
        {"bc": {"b": 0, "c": 1}},  # over each other
        {"cut": {"a": 0, "c": 1}},  # where b is already
    ],
)
def test_a_part_has_one_place_and_that_for_itself(second: dict[str, dict[str, int]]):
    accepted, found = laid(ab={"a": 0, "b": 1}, **second)
    assert accepted == [True, False]
    assert found == [{"a": 0, "b": 1, "ab": 0}], "as if nothing had been asked"


def test_a_part_that_is_there_twice_cannot_lie_in_two_places():
    views = Views(SIZES)
    assert not views.add("aa", [("a", 0), ("a", 1)])
    assert views.add("ab", [("a", 0), ("b", 1)])
    assert not views.add("aba", [("ab", 0), ("a", 3)])
    assert views.views == {"ab"}


@given(st.data())
def test_every_value_reads_as_if_it_had_memory_of_its_own(data: st.DataObject):
    """Programs that write, join and cut, run in one memory; what a view would break is copied."""
    wanted: list[list[tuple[int, int]]] = []  # of a value: who wrote each of its cells, and which it was
    asked: list[list[tuple[int, int]]] = []
    for value in range(data.draw(st.integers(2, 14))):
        kind = data.draw(st.sampled_from(["write", "join", "join", "cut"])) if value > 1 else "write"
        if kind == "write":
            wanted.append([(value, cell) for cell in range(data.draw(st.integers(1, 3)))])
            asked.append([])
        elif kind == "join":
            parts = data.draw(st.lists(st.integers(0, value - 1), min_size=1, max_size=3))
            asked.append([(part, sum(len(wanted[other]) for other in parts[:i])) for i, part in enumerate(parts)])
            wanted.append([cell for part in parts for cell in wanted[part]])
        else:
            part = data.draw(st.integers(0, value - 1))
            start = data.draw(st.integers(0, len(wanted[part]) - 1))
            asked.append([(part, -start)])
            wanted.append(wanted[part][start : data.draw(st.integers(start + 1, len(wanted[part])))])
    views = Views({value: len(cells) for value, cells in enumerate(wanted)})
    accepted = {value for value, parts in enumerate(asked) if parts and views.add(value, parts)}
    assert views.views == accepted
    places = {value: (i, at) for i, stretch in enumerate(views.stretches()) for value, at in stretch.items()}
    memory: dict[tuple[object, int], tuple[int, int]] = {}
    for value, cells in enumerate(wanted):
        if value not in views.views:
            where, at = places.get(value, (("alone", value), 0))
            memory |= {(where, at + i): cell for i, cell in enumerate(cells)}
    for value, cells in enumerate(wanted):
        where, at = places.get(value, (("alone", value), 0))
        assert [memory[where, at + i] for i in range(len(cells))] == cells
