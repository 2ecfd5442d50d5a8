"""TVM's own pipelines from Relax to kernels, as they ship but for one repair."""

from __future__ import annotations

import importlib
from typing import Any

from .host import tvm

__all__ = ["cpu_pipeline", "cuda_pipeline"]


def cpu_pipeline(target: Any) -> Any:
    """Legalize, fuse, lower: loops as they were written, on one thread."""
    return tvm().relax.get_default_pipeline(target)


def cuda_pipeline(target: Any) -> Any:
    """dlight's rules in TVM's order. A rule that fails passes the kernel on: Matmul breaks on products over named heights."""
    host = tvm()
    stock = importlib.import_module("tvm.relax.backend.cuda.pipeline")
    dlight = importlib.import_module("tvm.s_tir.dlight")
    gpu = dlight.gpu
    rules = [_Lenient(rule) for rule in (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())]
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
    """A schedule rule that declines where it would raise. A kernel that no rule takes fails later, in the memory check."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    def apply(self, func: Any, target: Any, tunable: bool) -> Any:
        try:
            return self.rule.apply(func, target, tunable)
        except Exception:
            return None
