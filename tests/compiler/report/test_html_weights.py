"""What a report says of the values of parameters: of all of them, or of places that prefer no part of them; the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from convc.compiler.files.weights import bind_weights
from convc.compiler.report.html import weight_rows
from convc.compiler.report.html.report import Report, report_data
from convc.tests.support.graphs import typed_graph

DENSE = "graph @g(%x: f32[N,4]) {{ %w = param {{init={w}}} : f32[3,4] %b = param {{{b}}} : f32[3] %y = dense(%x, %w, %b) return %y }}"


def seen_in(graph):
    data = report_data(Report(graph, [], ""))
    return {data["names"][data["nodes"][row][0]]: seen for row, seen in data["weights"].items()}


def seen_of(array, dtype="f32"):
    """What is said of these values."""
    shape = ",".join(map(str, array.shape))
    graph = typed_graph(f"graph @g(%x: {dtype}[{shape}]) {{ %w = param {{init=given}} : {dtype}[{shape}] %y = mul(%x, %w) return %y }}")
    (seen,) = seen_in(bind_weights(graph, {"w": array}, "w.npz")).values()
    return seen


def test_values_are_counted_from_least_to_greatest():
    by_name = seen_in(typed_graph(DENSE.format(w="zeros", b="init=around_one")))
    assert by_name["w"] == [0.0, 0.0, 0.0, 0.0, 1.0, [12]]
    low, high, mean, deviation, zeros, counts = by_name["b"]
    assert 0.75 <= low <= mean <= high <= 1.25
    assert (zeros, sum(counts)) == (0.0, 3)
    assert deviation > 0


def test_values_that_are_not_there_or_no_numbers_are_left_out():
    assert seen_in(typed_graph(DENSE.format(w="given", b="init=full, value=inf"))) == {}


@pytest.mark.parametrize("shape", [(128, 128, 3, 3), (256, 256, 3, 3), (512, 256, 1, 1), (1024, 513)])
def test_no_part_of_a_large_parameter_stands_for_the_whole(shape):
    """A part in 3, in 9 or in a power of 2 of the places is of other values: every so many elements would see one part alone."""
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    values.reshape(-1)[::9] += 5
    values[..., 0] -= 7
    values[1::2] *= 2
    low, high, mean, deviation, zeros, counts = seen_of(values)
    assert (low, high) == (pytest.approx(values.min(), rel=1e-3), pytest.approx(values.max(), rel=1e-3))
    assert mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-3)
    assert deviation == pytest.approx(values.std(dtype=np.float64), rel=1e-3)
    assert zeros == pytest.approx(np.mean(values == 0), rel=1e-3)
    whole, _ = np.histogram(values, len(counts), (values.min(), values.max()))
    assert sum(counts) == weight_rows.SAMPLED
    # the deviation of a count of so many draws is sqrt(count) at most
    expected = whole * (weight_rows.SAMPLED / values.size)
    assert np.all(np.abs(counts - expected) <= 5 * np.sqrt(expected) + 5)


@pytest.mark.parametrize("size", [1e308, 1e-308, 1.0])
def test_no_square_is_too_large_or_too_small(size):
    low, high, mean, deviation, zeros, counts = seen_of(np.array([-size, size, size, size]), "f64")
    assert (low, high, zeros) == (-size, size, 0.0)
    assert (mean / size, deviation / size) == (pytest.approx(0.5), pytest.approx(0.75**0.5, rel=1e-3))
    assert (counts[0], counts[-1]) == (1, 3)


def test_a_mean_far_from_zero_leaves_the_deviation_its_digits():
    values = 1e6 + np.random.default_rng(0).standard_normal(50_000)
    *_, deviation, _, _ = seen_of(values, "f64")
    assert deviation == pytest.approx(values.std(), rel=1e-3)


def test_elements_decide_what_is_looked_at_and_not_time(monkeypatch):
    graph = typed_graph(DENSE.format(w="zeros", b="init=around_one"))
    monkeypatch.setattr(weight_rows, "MOST_DRAWN", 15)
    assert seen_in(graph).keys() == {"w", "b"}
    monkeypatch.setattr(weight_rows, "MOST_DRAWN", 14)
    assert seen_in(graph).keys() == {"b"}
