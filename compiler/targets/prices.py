"""What work costs on each kind of machine, by which passes decide for it (passes/analysis/prices.py)."""

from __future__ import annotations

from dataclasses import replace

from ...backends.tvm.cpu.kernels.epilogue import STEPS
from ...backends.tvm.cuda.kernels.epilogue import GPU_STEPS
from ...ir.ops.elementwise import CAST
from ...ir.ops.shape import CONCAT
from ...passes.analysis.prices import Prices
from .options import FP32, TF32

__all__ = ["CPU_PRICES", "CUDA_PRICES", "cpu_prices", "cuda_prices"]

# From measurements of ours, on AVX-512: 1x1 and 3x3 layers reach 116 GF/s a core; values of layers lie in caches. A slice is one copy.
# What is appended is what epilogues compute; of the rarer ones Winograd's form makes a kernel of their own, which is small beside it.
CPU_PRICES = Prices(macs=58e9, bytes=20e9, layer=2e-6, cut=1, appends=frozenset(STEPS))
# Of an H100 in float32 without tensor cores: half of its peak, and of its bandwidth. What stock schedules fuse is what ours append.
CUDA_PRICES = Prices(macs=15e12, bytes=1.6e12, layer=4e-6, cut=1, appends=frozenset(STEPS), machine="an H100")
# By kernels of ours: half of what its tensor cores do, and a launch within a CUDA graph. Passes see float32, of which half is left by then;
# a concatenation is written by what it reads (backends/tvm/cuda/in_place.py), and casts are steps of kernels (backends/tvm/cuda/casts.py).
HALF_PRICES = replace(
    CUDA_PRICES, macs=250e12, bytes=3.2e12, layer=2e-6, appends=frozenset({*STEPS, *GPU_STEPS}), in_place=frozenset({CAST, CONCAT})
)
BY_PRECISION = {FP32: CUDA_PRICES, TF32: replace(HALF_PRICES, macs=125e12, bytes=1.6e12)}


def cpu_prices(precision: str) -> Prices:
    """For a CPU, which has one precision."""
    return CPU_PRICES


def cuda_prices(precision: str) -> Prices:
    """For what is compiled for CUDA in a precision."""
    return BY_PRECISION.get(precision, HALF_PRICES)
