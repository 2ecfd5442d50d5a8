"""Networks of the zoo in 16 bits, as a precision makes them."""

from __future__ import annotations

from convc.compiler.engines.optimize import optimize
from convc.compiler.targets.prices import cuda_prices
from convc.ir.graph import Graph
from convc.passes.rewriting.ledger import Ledger
from convc.passes.to_bfloat16 import to_bfloat16
from convc.passes.to_float16 import to_float16

RUNS = {"f16": to_float16, "bf16": to_bfloat16}


def narrow(graph: Graph, of: str = "f16", level: int = 2) -> Graph:
    """Optimized as for the target, then narrowed."""
    prices = cuda_prices({"f16": "fp16", "bf16": "bf16"}[of])
    better, _ = optimize(graph, level, prices=prices)
    return RUNS[of](better, Ledger(prices))
