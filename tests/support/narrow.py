"""Networks of the zoo in 16 bits, as a precision makes them."""

from __future__ import annotations

from convc.compiler.engines.cuda import CUDA_ENGINE
from convc.compiler.engines.optimize import optimize
from convc.ir.graph import Graph
from convc.passes.rewriting.ledger import Ledger
from convc.passes.to_bfloat16 import to_bfloat16
from convc.passes.to_float16 import to_float16

RUNS = {"f16": to_float16, "bf16": to_bfloat16}


def narrow(graph: Graph, of: str = "f16") -> Graph:
    """Optimized, then narrowed."""
    better, _ = optimize(graph, 2)
    return RUNS[of](better, Ledger(CUDA_ENGINE.prices))
