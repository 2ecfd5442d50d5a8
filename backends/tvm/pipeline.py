"""TVM's own pipelines from Relax to kernels, as they ship but for one repair."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .arena import Arena, one_arena
from .host import tvm

__all__ = ["cpu_pipeline", "cuda_pipeline"]


def cpu_pipeline(target: Any, note: Callable[[Arena], None] = lambda arena: None) -> Any:
    """TVM's passes for CPUs, with intermediates in one arena, of which `note` hears.

    RewriteDataflowReshape is left out: it takes every kernel apart, and fails on one that has no blocks.
    Operators that are left to stock rows become loops as they were written, on one thread.
    """
    host = tvm()
    stock = importlib.import_module("tvm.relax.backend.cpu_generic.pipeline")
    passes = host.relax.transform
    return host.transform.Sequential(
        [
            *stock.library_dispatch_passes(target),
            *stock.legalize_passes(target),
            passes.ToNonDataflow(),
            passes.RemovePurityChecking(),
            passes.CallTIRRewrite(),
            passes.StaticPlanBlockMemory(),
            one_arena(note),
            *stock.finalize_passes(target),
        ]
    )


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
            passes.FuseOps(),
            passes.FuseTIR(),
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
