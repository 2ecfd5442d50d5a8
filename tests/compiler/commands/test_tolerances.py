"""`convc verify` by a tolerance that the caller asks for, and its table of values: whose bound it is, and how much of it was used."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.checking.asked import AskedTolerance
from convc.compiler.engines.engine import FixedRuns
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.files.inputs import random_inputs
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph
from convc.tests.support.shell import convc, refused

NET = """graph @g(%x: f32[2,3,8,8]) {
  %w = param : f32[4,3,3,3]
  %b = param {init=small} : f32[4]
  %c = conv2d(%x, %w, %b) {pads=[1,1,1,1]}
  %r = relu(%c)
  %y = avg_pool(%r) {kernel=[2,2], strides=[2,2]}
  return %y
}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "net.cir").write_text(NET)
    (tmp_path / "other.cir").write_text(NET.replace("avg_pool", "max_pool"))
    return tmp_path


def test_an_engine_within_what_was_asked_for(place):
    done = convc("verify", "net.cir", "-b", "onnx", "--rtol", "1e-3", "--atol", "1e-5", cwd=place)
    assert done.code == 0, done.err
    assert done.out.startswith("onnx: y agrees: error ")
    assert done.out.endswith(" of the tolerance that was asked for, rtol 0.001 and atol 1e-05\n")


def test_one_that_is_beyond_it(place):
    done = convc("verify", "net.cir", "-b", "onnx", "--rtol", "0", "--json", cwd=place)
    assert done.code == 1
    (line,) = json.loads(done.out)["results"]
    assert (line["agrees"], line["by"]) == (False, "tolerance that was asked for, rtol 0 and atol 0")
    assert "1 of 1 results differ by more than the tolerance that was asked for, rtol 0 and atol 0" in done.err


def test_two_networks(place):
    done = convc("verify", "net.cir", "other.cir", "--atol", "2", cwd=place)
    assert (done.code, done.out.startswith("@g: y agrees: ")) == (0, True)
    apart = convc("verify", "net.cir", "other.cir", "--atol", "0.01", "--json", cwd=place)
    assert apart.code == 1
    assert json.loads(apart.out)["first_difference"] == "y"
    asked = "of the tolerance that was asked for, rtol 0 and atol 0.01; the first value that differs by more is %y = max_pool (other.cir:6)"
    assert asked in apart.err
    (place / "odd.cir").write_text(NET.replace("[2,3,8,8]", "[1,3,8,8]"))
    refused(convc("verify", "net.cir", "odd.cir", "--atol", "2", cwd=place), 3, "the two networks have different inputs")


@pytest.mark.parametrize("words", [("--rtol", "-1"), ("--atol", "nan"), ("--atol", "inf"), ("--rtol", "much")])
def test_no_tolerance(place, words):
    done = convc("verify", "net.cir", "-b", "onnx", *words, cwd=place)
    assert done.code == 2
    assert words[0] in done.err


def test_what_is_no_number_is_held_as_ever():
    exact = {"y": np.array([np.inf, np.nan, 1.0])}
    assert AskedTolerance(0.1, 0.1).hold("it", exact, {"y": np.array([np.inf, np.nan, 1.19])})[0].agrees
    assert not AskedTolerance(0.1, 0.1).hold("it", exact, {"y": np.array([np.inf, np.nan, 1.21])})[0].agrees
    assert not AskedTolerance(9, 9).hold("it", exact, {"y": np.array([5.0, np.nan, 1.0])})[0].agrees
    assert not AskedTolerance(9, 9).hold("it", exact, {"y": np.array([np.inf, 0.0, 1.0])})[0].agrees


MANY = typed_graph("graph @many(%x: f32[N,8,L]) { %y = relu(%x) return %y }")


@pytest.mark.parametrize(("fixed", "labels"), [(None, ["it"]), (FixedRuns((1, 2), (), 2), ["it", "it, N=1", "it, N=2"])])
def test_other_code_is_held_to_it_too(fixed, labels):
    """Of an engine that is right for what it is held to first, and wrong for two images or another length."""
    graph = MANY if fixed is None else typed_graph("graph @many(%x: f32[N,8]) { %y = relu(%x) return %y }")
    engine, inputs = replace(ONNXRUNTIME, name="it", fixed=fixed), random_inputs(graph)
    wrong, runs = [lambda x: False], list[int]()

    def run(given: dict[str, Array]) -> dict[str, Array]:
        runs.append(len(given["x"]))
        results = reference.run(graph, given)
        return {"y": results["y"] + np.float32(wrong[0](given["x"]))}

    def held() -> list[tuple[str, bool]]:
        runs.clear()
        lines = AskedTolerance(0.01, 0.01).hold_sizes(graph, engine, run, inputs, reference.run(graph, inputs, "f64"))
        return [(line.engine, line.agrees) for line in lines]

    assert held() == [(label, True) for label in labels]
    assert runs == ([1, 1, 2] if fixed is None else [1, 1, 1, 2, 2])
    wrong[0] = lambda x: len(x) == 2
    assert [agrees for _, agrees in held()] == [*[True] * (len(labels) - (fixed is not None)), False]
    if fixed is None:
        wrong[0] = lambda x: x.shape[2] != inputs["x"].shape[2]
        assert [agrees for _, agrees in held()] == [True, False]


def test_a_line_for_every_value(place):
    done = convc("verify", "net.cir", "-b", "onnx", "--nodes", cwd=place)
    assert done.code == 0, done.err
    head, *rows = [line.split() for line in done.out.splitlines() if not line.startswith("onnx: ")]
    assert head == ["value", "of", "onnx", "with", "error", "bound", "share"]
    assert [row[0] for row in rows] == ["%r", "%y"]
    assert rows[0][1] == "c"
    found = json.loads(convc("verify", "net.cir", "-b", "onnx", "--nodes", "--json", cwd=place).out)["nodes"][0]
    for value in found["values"]:
        assert 0 < value["bound"] < 1e-4
        assert value["share"] == pytest.approx(value["error"] / value["bound"])
        assert value["agrees"]
    assert [value["covers"] for value in found["values"]] == [["c", "r"], ["y"]]
