"""Files of a bench: comma-separated values as the csv module reads them, and traces with the keys that the format requires."""

from __future__ import annotations

import csv
import io
import json

from convc.compiler.bench.layer_times import LayerTime
from convc.compiler.bench.measure import Timing
from convc.compiler.bench.written import chrome_trace, timings_csv

TIMING = Timing("tvm", 0.5, 10, 1.0, 2.0, 3.0, None, 500.0, 7.5, 0.25, 4096, None, True)
LAYERS = [
    LayerTime("pack", ["x"], 2.0, 0.2, 0, 0.0, 64, 1.0, False, True),
    LayerTime("direct", ["conv1", "relu1"], 8.0, 0.8, 1000, 0.25, 128, 2.0, True, spread=1.5),
    LayerTime("ReorderInput", [], 1.0, 0.1, 0, 0.0, 64, 1.0, False, True),
]
REQUIRED = {"M": {"name", "ph", "pid", "args"}, "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid"}}  # Trace Event Format


def test_a_row_has_settings_and_figures():
    text = timings_csv([TIMING, TIMING], {"model": "a,b", "threads": 2}).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2
    assert (rows[0]["model"], rows[0]["threads"]) == ("a,b", "2")
    assert (rows[0]["engine"], rows[0]["p50_ms"], rows[0]["arena_bytes"]) == ("tvm", "2.0", "4096")
    assert (rows[0]["p99_ms"], rows[0]["process_bytes"]) == ("", "")


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
