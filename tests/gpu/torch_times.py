"""The same network in PyTorch on the GPU: eager with channels innermost, and torch.compile. It runs where torch is, and where it is not says so."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from convc.compiler.engines.peers import torch_module
from convc.ir.binding import batch_names, specialize
from convc.ir.graph import Graph
from convc.ir.usual_sizes import usual_sizes

__all__ = ["torch_times", "why_no_torch"]

WARM = 5
TYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


def why_no_torch() -> str:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    torch: Any = importlib.import_module("torch")
    return "" if torch.cuda.is_available() else f"torch {torch.__version__} finds no GPU"


def torch_times(graph: Graph, precision: str, batch: int, runs: int, until: float) -> dict[str, list[float]]:
    """Milliseconds of each run by events, of `eager` and `compile`; the second is left out where it is later than `until`."""
    torch: Any = importlib.import_module("torch")
    sized = specialize(graph, usual_sizes(graph, dict.fromkeys(batch_names(graph), batch)))
    module = torch_module(torch, sized).to("cuda", getattr(torch, TYPES[precision]), memory_format=torch.channels_last).eval()
    kind = getattr(torch, TYPES[precision])
    inputs = [torch.randn(node.typed.concrete(), device="cuda", dtype=kind) for node in sized.inputs]
    inputs = [each.to(memory_format=torch.channels_last) if each.ndim == 4 else each for each in inputs]
    ways: dict[str, Callable[[], Any]] = {"eager": lambda: module, "compile": lambda: torch.compile(module, mode="reduce-overhead")}
    found: dict[str, list[float]] = {}
    for name, made in ways.items():
        if time.monotonic() < until:
            found[name] = _times(torch, made(), inputs, runs)
    return found


def _times(torch: Any, call: Any, inputs: list[Any], runs: int) -> list[float]:
    with torch.no_grad():
        for _ in range(WARM):
            call(*inputs)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
        events[0].record()
        for event in events[1:]:
            call(*inputs)
            event.record()
        torch.cuda.synchronize()
    return [before.elapsed_time(after) for before, after in pairwise(events)]
