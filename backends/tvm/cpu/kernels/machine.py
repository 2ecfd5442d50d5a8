"""For what a measurement of kernels holds: the machine, and these very kernels."""

from __future__ import annotations

import os
from pathlib import Path

from .....ir.sources import hash_of
from .....ir.version import BEGAN

__all__ = ["SOURCES", "machine"]

ROOT = Path(__file__).parents[2]
SOURCES = ("cpu/kernels", "processor.py")
DIGITS = 12


def machine(mcpu: str, threads: int, tvm: str) -> str:
    """All that writes kernels counts, and what their rules know of processors. Where nobody knows by which kernels this process measures,
    it is a machine of its own.
    """
    found = hash_of(ROOT, SOURCES)
    kernels = found[:DIGITS] if found is not None else f"of process {os.getpid()} at {BEGAN}"
    return f"{mcpu}, {threads} threads, TVM {tvm}, kernels {kernels}"
