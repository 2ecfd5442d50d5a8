"""`cc.optimize(graph)`: a pipeline, by the prices of an engine. Passes know of no engine; here the two meet."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...passes.analysis.prices import Prices
from ...passes.manager import PassTrace, run_passes
from ...passes.pipelines import LEVELS, PRECISIONS
from ..targets.options import FP32
from .onnxruntime import ONNXRUNTIME

__all__ = ["optimize"]


def optimize(
    graph: Graph,
    level: int = 2,
    limits: Mapping[str, int] | None = None,
    prices: Prices = ONNXRUNTIME.prices,
    precision: str = FP32,
) -> tuple[Graph, PassTrace]:
    """Run a pipeline; returns the improved graph and the trace of its passes, which shows itself as a table.

    `limits` caps the rewrites of a pass by name; `prices` are those of the engine that will run it, or of onnxruntime where nobody knows.
    In a `precision` of fp16 or bf16 the last pass says in `declined` what stays in float32.

    Raises: UsageError for a level or a precision of types that is not there; InvalidModel, naming the pass, if one breaks the graph.
    """
    if isinstance(level, str):
        raise UsageError(f"level is the text '{level}'; give a number, as in level=2")
    if level not in range(len(LEVELS)):
        raise UsageError(f"there is no level {level}; choose 0 to {len(LEVELS) - 1}")
    if precision != FP32 and precision not in PRECISIONS:
        raise UsageError(f"there is no pass for precision '{precision}'; choose {FP32}, {' or '.join(PRECISIONS)}")
    last = () if precision == FP32 else (PRECISIONS[precision],)
    better, stages = run_passes(graph, (*LEVELS[level], *last), prices, limits)
    return better, PassTrace(graph, stages)
