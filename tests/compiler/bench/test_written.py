"""Files of a bench: comma-separated values as the csv module reads them, and traces with the keys that the format requires."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from convc.compiler.bench.layer_times import LayerTime
from convc.compiler.bench.measure import Timing
from convc.compiler.bench.written import bench_csv, chrome_trace

TIMING = Timing("tvm", 0.5, 10, 1.0, 2.0, 3.0, None, 500.0, 7.5, 0.25, 4096, None, True)
LAYERS = [
    LayerTime("pack", ["x"], 2.0, 0.2, 0, 0, 0.0, 64, 1.0, False, True),
    LayerTime("direct", ["conv1", "relu1"], 8.0, 0.8, 1000, 250, 0.25, 128, 2.0, True, spread=1.5),
    LayerTime("ReorderInput", [], 1.0, 0.1, 0, 0, 0.0, 64, 1.0, False, True),
]
REQUIRED = {"M": {"name", "ph", "pid", "args"}, "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid"}}  # Trace Event Format


def test_a_row_has_settings_and_figures():
    text = bench_csv([TIMING, TIMING], {}, {"model": "a,b", "threads": 2}).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2
    assert (rows[0]["model"], rows[0]["threads"]) == ("a,b", "2")
    assert (rows[0]["engine"], rows[0]["p50_ms"], rows[0]["arena_bytes"]) == ("tvm", "2.0", "4096")
    assert (rows[0]["p99_ms"], rows[0]["process_bytes"]) == ("", "")
    assert "kernel" not in rows[0]


def test_kernels_have_rows_of_their_own():
    text = bench_csv([TIMING], {"tvm": LAYERS}, {"threads": 2}).decode()
    engine, _, conv, moved = csv.DictReader(io.StringIO(text))
    assert (engine["engine"], engine["kernel"], engine["gflops"]) == ("tvm", "", "7.5")
    assert [conv[key] for key in ("engine", "threads", "kernel", "nodes")] == ["tvm", "2", "direct", "conv1 relu1"]
    assert [conv[key] for key in ("microseconds", "gflops", "products", "p50_ms", "of_limit")] == ["8.0", "0.25", "250", "", ""]
    assert (moved["kernel"], moved["nodes"]) == ("ReorderInput", "")


def test_a_trace_has_what_the_format_requires():
    found = json.loads(chrome_trace({"tvm": LAYERS, "onnx": LAYERS[1:]}, {"model": "net.cir"}))
    assert found["displayTimeUnit"] in ("ms", "ns")
    events = found["traceEvents"]
    for event in events:
        assert REQUIRED[event["ph"]] <= event.keys(), event
    assert {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"} == {1: "tvm", 2: "onnx"}
    kernels = [event for event in events if event["ph"] == "X" and event["pid"] == 1]
    assert [(event["name"], event["cat"]) for event in kernels] == [
        ("x", "pack"),
        ("conv1 relu1", "direct"),
        ("ReorderInput", "ReorderInput"),
    ]
    assert [(event["ts"], event["dur"]) for event in kernels] == [(0.0, 2.0), (2.0, 8.0), (10.0, 1.0)], "one after another, in microseconds"
    assert kernels[1]["args"]["macs"] == 1000
    assert kernels[1]["args"]["spread"] == 1.5
    assert all(type(event[place]) is int for event in events for place in ("pid", "tid"))
    threads = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in events} == threads, "each thread of a kernel has its name"


@pytest.mark.parametrize("nanoseconds", [math.floor, lambda x: math.floor(x + 0.5)], ids=["cut", "rounded"])
def test_kernels_of_a_trace_do_not_overlap_in_nanoseconds(nanoseconds: Callable[[float], int]):
    """Perfetto makes whole nanoseconds of them: by cutting until 2025, by rounding since."""
    drawn = np.random.default_rng(0).integers(0, 5000, 2000)  # of a millionth of a millisecond; a kernel may take no time at all
    layers = [LayerTime("direct", [f"n{i}"], taken / 1e3, 0.0, 0, 0, 0.0, 0, 0.0, False, True) for i, taken in enumerate(drawn)]
    layers += [LayerTime("direct", [f"m{i}"], taken / 7e3, 0.0, 0, 0, 0.0, 0, 0.0, False, True) for i, taken in enumerate(drawn)]
    events = [event for event in json.loads(chrome_trace({"tvm": layers}, {}))["traceEvents"] if event["ph"] == "X"]
    begin, taken = ([nanoseconds(event[key] * 1e3) for event in events] for key in ("ts", "dur"))
    ends = [at + long for at, long in zip(begin, taken, strict=True)]
    assert ends[:-1] == begin[1:]
    assert taken[:2000] == drawn.tolist()
