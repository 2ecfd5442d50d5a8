"""By which units a convolution is multiplied, by arithmetic alone: tensor cores, or ordinary ones where it is no load for these.

The least product of tensor cores has 8 columns. By fewer vectors most of it is of nothing, and the weights take as long to read whoever
multiplies: at 4 vectors ordinary units do some 7 instructions for a weight of 16 bits, of which an H100 has time for 17.
"""

from __future__ import annotations

from ...cpu.kernels.epilogue import Steps
from ...gpus.architectures import Architecture
from .implicit_gemm import convolution_kernel
from .kernel import GpuKernel
from .layout import ElementKind
from .matvec import are_vectors, matvec_kernel, vectors_of
from .sizes import ConvSizes

__all__ = ["MOST_VECTORS", "is_by_vectors", "product_kernel"]

MOST_VECTORS = 4  # half of the columns that a product of tensor cores has


def product_kernel(sizes: ConvSizes, element: ElementKind, steps: Steps, arch: Architecture) -> GpuKernel:
    """(X[n,H,W,C], W, bias[O], R[n,H',W',O]..., Y[n,H',W',O]), whoever multiplies; the filters are packed alike."""
    kernel = matvec_kernel if is_by_vectors(sizes) else convolution_kernel
    return kernel(sizes, element, steps, arch)


def is_by_vectors(sizes: ConvSizes) -> bool:
    """Whether each result reads a row as it lies, and so few rows are there."""
    return sizes.batch is not None and are_vectors(sizes) and vectors_of(sizes) <= MOST_VECTORS
