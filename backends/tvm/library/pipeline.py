"""TVM's own pipeline from Relax to kernels for CPUs, as it ships but for one arena."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..host import tvm
from .arena import Arena, one_arena

__all__ = ["cpu_pipeline"]


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
