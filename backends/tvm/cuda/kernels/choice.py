"""By which units a convolution is multiplied, by arithmetic alone: tensor cores, or ordinary ones where it is no load for these.

The least product of tensor cores has 8 columns. By fewer vectors most of it is of nothing, and the weights take as long to read whoever
multiplies: at 4 vectors ordinary units do some 7 instructions for a weight of 16 bits, of which an H100 has time for 17.

It has whole chunks of channels in depth, too. Where a filter has fewer than 16 channels, and tensor cores would multiply 1.3 times as much,
ordinary units do up to 30 million multiply-adds in the 2 microseconds that a launch takes, at 30 TFLOP/s, half of what an H100 does in
float32. More, as the stem of several images, is for tensor cores: what they waste there takes less than that.
"""

from __future__ import annotations

from ...cpu.kernels.epilogue import Steps
from ...gpus.architectures import Architecture
from .direct import direct_kernel, direct_macs
from .implicit_gemm import convolution_kernel
from .kernel import GpuKernel
from .layout import ElementKind
from .matvec import are_vectors, matvec_kernel, vectors_of
from .sizes import ConvSizes
from .tiles import multiplied, tiling_of

__all__ = ["MOST_VECTORS", "is_by_vectors", "is_direct", "product_kernel"]

MOST_VECTORS = 4  # half of the columns that a product of tensor cores has
FEWEST_CHANNELS = 16  # which each step of a product takes; with so many it is theirs
MOST_MACS = 30_000_000  # of all images
SPARED = 1.3  # times as many as ordinary units do, which tensor cores would


def product_kernel(sizes: ConvSizes, element: ElementKind, steps: Steps, arch: Architecture) -> GpuKernel:
    """(X[n,H,W,C], W, bias[O], R[n,H',W',O]..., Y[n,H',W',O]), whoever multiplies; the filters are packed alike."""
    if is_by_vectors(sizes):
        return matvec_kernel(sizes, element, steps, arch)
    kernel = direct_kernel if is_direct(sizes, element, arch) else convolution_kernel
    return kernel(sizes, element, steps, arch)


def is_by_vectors(sizes: ConvSizes) -> bool:
    """Whether each result reads a row as it lies, and so few rows are there."""
    return sizes.batch is not None and are_vectors(sizes) and vectors_of(sizes) <= MOST_VECTORS


def is_direct(sizes: ConvSizes, element: ElementKind, arch: Architecture) -> bool:
    """Whether so few channels are multiplied so few times that ordinary units end within a launch, and spare what tensor cores waste."""
    if sizes.batch is None or sizes.c_in // sizes.products >= FEWEST_CHANNELS:
        return False
    macs = direct_macs(sizes)
    return macs <= MOST_MACS and multiplied(sizes, tiling_of(sizes, element, arch).tile, element) >= SPARED * macs
