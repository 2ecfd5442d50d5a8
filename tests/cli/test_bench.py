"""convc bench: what it measures and says."""

from __future__ import annotations

import json

from shell import convc


def test_engines_are_timed_turn_by_turn():
    done = convc("bench", "lenet5", "--backends", "onnx,reference", "--runs", "3", "--batch", "2", "--threads", "1", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert [engine["engine"] for engine in report["engines"]] == ["onnx", "reference"]
    assert (report["batch"], report["threads"], report["runs"]) == (2, 1, 3)
    for engine in report["engines"]:
        assert 0 < engine["p10"] <= engine["median"] <= engine["p90"]
        assert engine["gflops"] > 0
    assert "numpy" in report["versions"]


def test_a_table_for_people():
    done = convc("bench", "lenet5", "--backends", "reference", "--runs", "2", "--threads", "1")
    assert done.code == 0, done.err
    assert "median ms" in done.out
    assert "over reference" in done.out
    assert "batch 1, 1 threads, 2 turns" in done.err


def test_an_engine_that_is_not_there():
    assert "did you mean 'onnx'" in convc("bench", "lenet5", "--backends", "onx").err
    done = convc("bench", "lenet5", "--backends", "tvm", "--threads", "0")
    assert done.code == 2
