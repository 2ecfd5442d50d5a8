"""TVM's own pipeline from Relax to kernels for CUDA, as it ships but for one repair."""

from __future__ import annotations

import importlib
from typing import Any

from ..host import tvm
from ..library.pipeline import fused_where_possible

__all__ = ["cuda_pipeline"]


def cuda_pipeline(target: Any) -> Any:
    """dlight's rules in TVM's order, each asked to prove itself: as shipped, one rule that misjudges a kernel ends the build."""
    host = tvm()
    stock = importlib.import_module("tvm.relax.backend.cuda.pipeline")
    dlight = importlib.import_module("tvm.s_tir.dlight")
    gpu = dlight.gpu
    rules = [*map(_Lenient, (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction())), gpu.Fallback()]
    passes = host.relax.transform
    return host.transform.Sequential(
        [
            *stock.library_dispatch_passes(target),
            passes.LegalizeOps(),
            passes.AnnotateTIROpPattern(),
            passes.FoldConstant(),
            fused_where_possible(),
            dlight.ApplyDefaultSchedule(*rules),
            *stock.dataflow_lower_passes(target),
            *stock.finalize_passes(target),
        ]
    )


class _Lenient:
    """A schedule rule that declines where its schedule cannot be made, or cannot be lowered: some match sums they do not fit."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    def apply(self, func: Any, target: Any, tunable: bool) -> Any:
        try:
            schedule = self.rule.apply(func, target, tunable)
            if schedule is not None:
                tvm().compile(schedule.mod["main"].with_attr("global_symbol", "main"), target=target)
        except Exception:
            return None
        return schedule
