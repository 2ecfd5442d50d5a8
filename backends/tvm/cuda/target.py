"""GPUs as TVM's targets."""

from __future__ import annotations

from typing import Any

from ..gpus.architectures import USUAL, Architecture
from ..host import tvm

__all__ = ["CUDA_HOST_CPU", "cuda_target"]

CUDA_HOST_CPU = "x86-64-v3"  # the kernels' launcher; the machine with the GPU is not this one


def cuda_target(arch: Architecture = USUAL) -> Any:
    """The limits are written down because there is no GPU to ask."""
    return tvm().target.Target(
        {
            "kind": "cuda",
            "arch": arch.name,
            "max_threads_per_block": 1024,
            "max_shared_memory_per_block": 49152,
            "thread_warp_size": 32,
        },
        host={"kind": "llvm", "mcpu": CUDA_HOST_CPU},
    )
