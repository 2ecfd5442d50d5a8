"""What a bench measured, as files for other programs: tables of comma-separated values, and traces that Perfetto opens."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .layer_times import LayerTime
from .measure import Timing

__all__ = ["bench_csv", "chrome_trace"]


def bench_csv(timings: Sequence[Timing], profiles: Mapping[str, Sequence[LayerTime]], settings: Mapping[str, Any]) -> bytes:
    """A row for each engine, then one for each kernel that was timed: the settings, which are the same in all, and its figures under the
    names that JSON has. What is not known is empty, as is `kernel` of an engine.
    """
    rows: list[dict[str, Any]] = [{**settings, **asdict(timing)} for timing in timings]
    for engine, layers in profiles.items():
        rows += [{**settings, "engine": engine, **asdict(layer), "nodes": " ".join(layer.nodes)} for layer in layers]
    text = io.StringIO()
    kinds = (Timing, LayerTime) if profiles else (Timing,)
    fields = dict.fromkeys([*settings, *(name for kind in kinds for name in kind.__dataclass_fields__)])
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def chrome_trace(profiles: Mapping[str, Sequence[LayerTime]], about: Mapping[str, Any]) -> bytes:
    """A process for each engine, with its kernels one after another, as complete events; times are medians of runs, so that where a kernel
    begins is the sum of those before it.

    Source: Trace Event Format, "Complete Events" and "Metadata Events"; units: `ts` and `dur` microseconds, whole nanoseconds of them.
    Events of one thread may lie within each other, but not overlap in part: Perfetto takes those apart.
    """
    events: list[dict[str, Any]] = []
    for process, (engine, layers) in enumerate(profiles.items(), 1):
        place: dict[str, Any] = {"pid": process, "tid": 1}
        events.append({"name": "process_name", "ph": "M", "ts": 0, **place, "args": {"name": engine}})
        events.append({"name": "thread_name", "ph": "M", "ts": 0, **place, "args": {"name": "kernels, by medians"}})
        at = 0  # nanoseconds
        for layer in layers:
            name = " ".join(layer.nodes) or layer.kernel
            taken = round(1e3 * layer.microseconds)
            times = {"ts": _microseconds(at), "dur": _microseconds(taken)}
            events.append({"name": name, "cat": layer.kernel, "ph": "X", **times, **place, "args": _arguments(layer)})
            at += taken
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": dict(about)}).encode()


def _microseconds(nanoseconds: int) -> float:
    """The number of which a thousand times, rounded or cut as Perfetto's versions do, are these again; 1.001 would be cut to 1000."""
    number = nanoseconds / 1e3
    return number if int(number * 1e3) == nanoseconds else math.nextafter(number, math.inf)


def _arguments(layer: LayerTime) -> dict[str, Any]:
    known = asdict(layer)
    return {name: value for name, value in known.items() if name not in ("microseconds", "moves")}
