"""TVM's own pipeline from Relax to kernels for CPUs, as it ships but for one arena."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from ..host import tvm
from .arena import Arena, one_arena
from .donated import donated_memory

__all__ = ["cpu_pipeline", "fused_where_possible"]


def cpu_pipeline(
    target: Any,
    note: Callable[[Arena], None] = lambda arena: None,
    donated: Mapping[int, int] | None = None,
    note_donated: Callable[[tuple[int, ...]], None] = lambda places: None,
) -> Any:
    """TVM's passes for CPUs, with intermediates in one arena, of which `note` hears, and results in arguments as `donated` has it.

    RewriteDataflowReshape is left out: it takes every kernel apart, and fails on one that has no blocks.
    Operators that are left to stock rows become loops as they were written, on one thread.
    """
    host = tvm()
    stock = importlib.import_module("tvm.relax.backend.cpu_generic.pipeline")
    passes = host.relax.transform
    return host.transform.Sequential(
        [
            *stock.library_dispatch_passes(target),
            passes.LegalizeOps(),
            passes.AnnotateTIROpPattern(),
            passes.FoldConstant(),
            fused_where_possible(),
            passes.ToNonDataflow(),
            passes.RemovePurityChecking(),
            passes.CallTIRRewrite(),
            passes.StaticPlanBlockMemory(),
            donated_memory(donated or {}, note_donated),
            one_arena(note),
            *stock.finalize_passes(target),
        ]
    )


def fused_where_possible() -> Any:
    """The pass that makes one kernel of several. Not where a library is told sizes: FuseTIR gives a kernel one of them twice."""
    host = tvm()
    passes = host.relax.transform

    @host.transform.module_pass(opt_level=0, name="FusedWherePossible")
    def run(module: Any, context: Any) -> Any:
        functions = [function for function in module.functions.values() if isinstance(function, host.relax.Function)]
        if any(isinstance(param.ty, host.relax.ShapeType) for function in functions for param in function.params):
            return module
        return passes.FuseTIR()(passes.FuseOps()(module))

    return run
