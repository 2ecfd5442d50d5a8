"""The same network in PyTorch on the GPU: eager with channels innermost, and torch.compile. It runs where torch is, and where it is not says so."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from convc.compiler.engines.peers import torch_module
from convc.ir.binding import batch_names, specialize
from convc.ir.graph import Graph
from convc.ir.usual_sizes import usual_sizes
from convc.tests.gpu.peaks import Scale

__all__ = ["WAYS", "torch_time", "why_no_torch"]

WARM = 5
TYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "eager": lambda torch, module: module,
    "compile": lambda torch, module: torch.compile(module, mode="reduce-overhead"),
}


def why_no_torch() -> str:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    try:
        torch: Any = importlib.import_module("torch")
        return "" if torch.cuda.is_available() else f"torch {torch.__version__} finds no GPU"
    except Exception as error:  # an installation that is broken, in whatever way
        return f"torch does not load: {(str(error).splitlines() or [type(error).__name__])[0]}"


def torch_time(graph: Graph, precision: str, batch: int, way: str, scale: Scale) -> list[float]:
    """Milliseconds of each run by events, in one of WAYS."""
    torch: Any = importlib.import_module("torch")
    torch.backends.cudnn.benchmark = True
    sized = specialize(graph, usual_sizes(graph, dict.fromkeys(batch_names(graph), batch)))
    kind = getattr(torch, TYPES[precision])
    module = torch_module(torch, sized).to("cuda", kind, memory_format=torch.channels_last).eval()
    inputs = [torch.randn(node.typed.concrete(), device="cuda", dtype=kind) for node in sized.inputs]
    inputs = [each.to(memory_format=torch.channels_last) if each.ndim == 4 else each for each in inputs]
    try:
        return _times(torch, WAYS[way](torch, module), inputs, scale)
    finally:
        del module, inputs
        torch.cuda.empty_cache()  # what the next batch needs, of ours too


def _times(torch: Any, call: Any, inputs: list[Any], scale: Scale) -> list[float]:
    with torch.inference_mode():
        for _ in range(WARM):
            call(*inputs)
        torch.cuda.synchronize()
        begun = time.monotonic()
        for number in itertools.count():
            if time.monotonic() - begun >= scale.warm:
                break
            call(*inputs)
            if number % 8 == 7:
                torch.cuda.synchronize()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(scale.runs + 1)]
        events[0].record()
        for event in events[1:]:
            call(*inputs)
            event.record()
        torch.cuda.synchronize()
    return [before.elapsed_time(after) for before, after in pairwise(events)]
