"""How fast engines run a network: turn by turn in one process, so that what else the machine does meets all alike.

After its run an engine's threads spin for a while in hope of more work, and would take the cores of the next one; so every turn ends
with a pause.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.binding import match_inputs
from ..ir.errors import BackendMissing
from ..ir.graph import Graph
from ..ir.types import Array
from ..passes.cost import graph_cost
from .engines import ENGINES, Run

__all__ = ["PEERS", "Timing", "measure", "names"]

WARM_UP = 3  # turns that are not counted
PAUSE = 0.02  # seconds between turns; onnxruntime's threads sleep after a few milliseconds


@dataclass(frozen=True, slots=True)
class Timing:
    """One engine's runs. Units: `start` seconds until it was ready; `median`, `p10`, `p90` milliseconds a run; `gflops` GFLOP/s."""

    engine: str
    start: float
    median: float
    p10: float
    p90: float
    gflops: float


def _openvino(graph: Graph, threads: int | None) -> Run:
    """Raises: BackendMissing where openvino is not installed."""
    try:
        openvino: Any = importlib.import_module("openvino")
    except ImportError as error:
        raise BackendMissing("openvino is not installed; pip install openvino") from error
    from ..backends.onnx.export import to_model

    core: Any = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    settings |= {"INFERENCE_NUM_THREADS": str(threads)} if threads else {}
    compiled: Any = core.compile_model(core.read_model(to_model(graph).SerializeToString()), "CPU", settings)
    request: Any = compiled.create_infer_request()

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        results: Any = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {node.name: results[i] for i, node in enumerate(graph.outputs)}

    return run


# What can be measured beside convc's own engines, where it is installed.
PEERS: dict[str, Callable[[Graph, int | None], Run]] = {"openvino": _openvino}


def names() -> list[str]:
    """Everything that can be measured."""
    return [*ENGINES, *PEERS]


def measure(graph: Graph, engines: Sequence[str], inputs: Mapping[str, Array], threads: int, runs: int) -> list[Timing]:
    """The engines' times for these inputs, in the order given.

    Raises: BackendMissing for an engine that is not here.
    """
    flops = graph_cost(graph, match_inputs(graph, inputs)).flops
    ready: dict[str, tuple[Run, float]] = {}
    for name in engines:
        begin = time.perf_counter()
        start = PEERS[name] if name in PEERS else ENGINES[name].start
        ready[name] = start(graph, threads), time.perf_counter() - begin
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(WARM_UP + runs):
        for name in engines:
            begin = time.perf_counter()
            ready[name][0](inputs)
            if turn >= WARM_UP:
                taken[name].append((time.perf_counter() - begin) * 1e3)
            time.sleep(PAUSE)
    return [_timing(name, ready[name][1], taken[name], flops) for name in engines]


def _timing(name: str, start: float, taken: list[float], flops: int) -> Timing:
    tenths = statistics.quantiles(taken, n=10, method="inclusive") if len(taken) > 1 else taken * 9
    median = statistics.median(taken)
    return Timing(name, start, median, tenths[0], tenths[-1], flops / median / 1e6)
