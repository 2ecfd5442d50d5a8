"""For what a measurement of kernels holds: the machine, and these very kernels."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from ... import processor

__all__ = ["dated", "machine"]

KERNELS = Path(__file__).parent


def machine(mcpu: str, threads: int, tvm: str) -> str:
    """All that writes kernels counts, and what their rules know of processors."""
    return f"{mcpu}, {threads} threads, TVM {tvm}, kernels {_ours()}"


@functools.cache
def _ours() -> str:
    return dated(KERNELS)


def dated(kernels: Path) -> str:
    """What differs where a source does."""
    digest = hashlib.sha256()
    for source in (*sorted(kernels.rglob("*.py")), Path(str(processor.__file__))):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]
