"""TVM's own pipeline from Relax to kernels for CUDA, as it ships but for how kernels are scheduled."""

from __future__ import annotations

import importlib
from typing import Any

from ..host import tvm
from ..library.pipeline import fused_where_possible
from .scheduling import GpuKernels

__all__ = ["compiled_for_cuda"]


def compiled_for_cuda(module: Any, target: Any) -> Any:
    """The executable of a module with operators, by TVM's passes in TVM's order."""
    host, kernels = tvm(), GpuKernels(target)
    stock = importlib.import_module("tvm.relax.backend.cuda.pipeline")
    passes = host.relax.transform
    through = host.transform.Sequential(
        [
            *stock.library_dispatch_passes(target),
            passes.LegalizeOps(),
            passes.AnnotateTIROpPattern(),
            passes.FoldConstant(),
            fused_where_possible(),
            kernels.scheduled(),
            *stock.dataflow_lower_passes(target),
            *stock.finalize_passes(target),
        ]
    )
    with target:
        return kernels.linked(through(module))
