"""For what a measurement of kernels holds: the machine, and these very kernels."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ... import processor

__all__ = ["machine"]

KERNELS = Path(__file__).parent


def machine(mcpu: str, threads: int, tvm: str) -> str:
    """All that writes kernels counts, and what their rules know of processors."""
    digest = hashlib.sha256()
    for source in (*sorted(KERNELS.rglob("*.py")), Path(str(processor.__file__))):
        digest.update(source.read_bytes())
    return f"{mcpu}, {threads} threads, TVM {tvm}, kernels {digest.hexdigest()[:12]}"
