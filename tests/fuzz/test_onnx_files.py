"""A few hundred mutated ONNX files in every test run; `make fuzz-onnx` tries as many as there is time for."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from onnx import helper

from convc.backends.onnx.read.importer import read_graph
from convc.tests.fuzz import fuzz_onnx
from convc.tests.fuzz.onnx_mutations import Mutant, mutant, seeds
from convc.tests.support import onnx_files as files

FUZZ = Path(fuzz_onnx.__file__)


@pytest.fixture(scope="module")
def start():
    return seeds()


def test_mutated_files_are_graphs_or_refused(start, tmp_path):
    outcomes = Counter()
    for index in range(600):
        made = fuzz_onnx.drawn(1, index, start)
        what, wrong = fuzz_onnx.failure(fuzz_onnx.write(made, tmp_path))
        assert not wrong, f"file {index}: {wrong}"
        outcomes[what.split(":")[0]] += 1
    assert outcomes["a graph"] > 30  # mutants that are all refused would test nothing
    assert outcomes["the loader refuses"] > 100
    assert outcomes["the importer refuses"] > 30


def test_a_mutant_is_drawn_again_from_its_number(start):
    first, second = ([mutant(random.Random(f"7:{i}"), start) for i in range(200)] for _ in range(2))
    assert first == second
    assert len({made.model for made in first}) > 150
    assert any(made.data for made in first)


def test_a_failure_is_named(monkeypatch, tmp_path):
    def fails(path):
        raise KeyError("w")

    path = fuzz_onnx.write(Mutant(files.small_model().SerializeToString()), tmp_path)
    assert fuzz_onnx.failure(path) == ("a graph", "")
    monkeypatch.setattr(fuzz_onnx, "read_model", fails)
    assert "KeyError" in fuzz_onnx.failure(path)[1]


@pytest.mark.skipif(os.name != "posix", reason="a process that kills itself by signal")
@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("os.kill(os.getpid(), 11)", "the process dies"),
        ("bytearray(1 << 40)", "MemoryError"),
        ("time.sleep(1000)", "hangs"),
    ],
)
def test_crashes_hangs_and_memory_are_seen_from_outside(tmp_path, fault, seen):
    """The real driver, with a fault planted where the eleventh file is read; the others are counted all the same."""
    planted = (
        FUZZ.read_text()
        .replace(
            '"""What becomes of a file: where it was refused, or that it is a graph, optimized."""',
            f"if path.stat().st_size == 4242:\n        {fault}",
        )
        .replace("seeds()", "seeds(few=True)")
        .replace("HUNG = 60.0", "HUNG = 3.0")
        .replace("made = drawn(seed, index, files)", "made = Mutant(bytes(4242)) if index == 11 else drawn(seed, index, files)")
    )
    script = tmp_path / "planted.py"
    script.write_text(planted)
    done = subprocess.run(
        [sys.executable, str(script), "--count", "30", "--jobs", "1", "--seed", "1", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert f"FAILED, 1 times: {seen}" in done.stdout
    assert "1 failures; seed 1" in done.stdout
    assert len(list((tmp_path / "out").glob("*/net.onnx"))) == 1


def test_shape_inference_that_does_not_end_is_ended(monkeypatch, tmp_path):
    """onnx 1.23 and earlier never come back from this."""
    monkeypatch.setattr("convc.backends.onnx.read.inference.SECONDS", 2)
    bad = [helper.make_node("Einsum", ["x"], ["r"], equation="-")]
    branch = helper.make_graph(bad, "branch", [], [helper.make_empty_tensor_value_info("r")])
    nodes = [
        helper.make_node("IsNaN", ["x"], ["c"]),
        helper.make_node("If", ["c"], ["e"], then_branch=branch, else_branch=branch),
        helper.make_node("Det", ["m"], ["d"]),
    ]
    model = files.model_of(nodes, {"x": [], "m": [2, 2]}, ["e", "d"])
    graph = read_graph(files.written(tmp_path, model)).graph
    assert [str(node.type) for node in graph.outputs] == ['opaque["tensor(float)"]'] * 2  # no time was left for the second
