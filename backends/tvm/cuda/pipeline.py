"""TVM's own pipeline from Relax to kernels for CUDA, as it ships but for how kernels are scheduled."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from ..host import tvm
from ..library.arena import one_arena
from ..library.owned import BytesOfFunctions, owned_memory
from ..library.pipeline import fused_where_possible
from .scheduling import GpuKernels

__all__ = ["compiled_for_cuda"]

ALIGNMENT = 256  # bytes; what cudaMalloc gives


def compiled_for_cuda(module: Any, target: Any, planned: BytesOfFunctions | None = None) -> Any:
    """The executable of a module with operators, by TVM's passes in TVM's order. Where all sizes are numbers and memory is to be the
    caller's, it is noted in `planned` how much.
    """
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
            *(stock.finalize_passes(target) if planned is None else _finalize_passes(planned)),
        ]
    )
    with target:
        scheduled = through(module)
    # whose sizes are numbers, and whose inputs were compared at the door: to test them again at each launch is a fifth of what TVM takes
    unchecked = host.transform.PassContext(config={"tirx.disable_assert": True}) if planned is not None else contextlib.nullcontext()
    with target, unchecked:
        return kernels.linked(scheduled)


def _finalize_passes(planned: BytesOfFunctions) -> list[Any]:
    """TVM's, with intermediates in one arena and all memory the caller's; launches are captured by who runs it, and not by TVM."""
    passes = tvm().relax.transform
    return [
        passes.StaticPlanBlockMemory(),
        one_arena(lambda arena: None, ALIGNMENT),
        owned_memory(planned),
        passes.LowerAllocTensor(),
        passes.KillAfterLastUse(),
        passes.LowerRuntimeBuiltin(),
        passes.ComputePrimValue(),
        passes.VMShapeLower(),
        passes.AttachGlobalSymbol(),
    ]
