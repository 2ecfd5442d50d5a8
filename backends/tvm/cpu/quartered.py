"""Which layers may be computed by quarters, and of which that is fast: by their sizes and the processor alone."""

from __future__ import annotations

import math

from ....ir.graph import Node
from ....ir.ops.conv import CONV2D
from ....ir.ops.linear import DENSE, MATMUL
from ..processor import AVX512, Processor
from .kernels.epilogue import Steps
from .kernels.strassen.quarters import Quarters, can_quarter
from .plain import shown
from .work import batch_of, extents, is_blocked_layer

__all__ = ["KINDS", "is_faster", "quarters_of"]

KINDS = (CONV2D, DENSE, MATMUL)
# Inputs and results from which it is faster, of pixels and of plain rows. Measured on Zen 4, in networks on one thread: 1.05 to 1.07 times
# as fast for 512 to 256 channels @28, 1.07 to 1.16 for 1024 @14, 1.06 for 768 to 3072 features of 197 rows and back; 0.98 to 1.01 for 256
# to 512 channels @28, 0.9 to 0.98 for 192 to 384 features. Of 49 rows 0.86 to 1.09: what is read of weights is 7/4 as much.
LEAST_PIXELS, LEAST_ROWS, LEAST_COUNT = (384, 128), (768, 384), 96
MOST = 4 << 20  # bytes of an image's inputs, or results: of more, sums of quarters go to memory and back


def quarters_of(node: Node, steps: Steps = (), processor: Processor = AVX512) -> Quarters | None:
    """The sizes of a layer that is a product of rows with known weights, such as a 1x1 convolution; None where it cannot be cut."""
    x, w, *bias = node.inputs
    if x.weights is not None or any(param.weights is None for param in (w, *bias)) or node.typed.dtype != "f32":
        return None
    if node.kind is CONV2D:
        op = node.op
        if not is_blocked_layer(node) or (op.strides, op.groups) != ((1, 1), 1) or any(op.pads) or w.typed.concrete()[2:] != (1, 1):
            return None
        (c_in, *image), c_out = extents(x), w.typed.concrete()[0]
        batch, rows, whole = batch_of(x), math.prod(image), 0
    else:
        shapes = shown(x, node)
        if shapes is None or w.typed.rank != 2 or x.typed.rank < 2 or _inner(shapes[0]) is None:
            return None
        (*outer, c_in), c_out, inner = shapes[0], shapes[1][-1], _inner(shapes[0])
        if c_in is None or c_out is None or inner is None:
            return None
        batch, rows = (None if None in outer else 1), math.prod(extent for extent in outer if extent is not None)
        whole = inner if inner % 2 else 0
    return Quarters(batch, rows, c_in, c_out, steps, processor, whole) if rows > 1 and can_quarter(c_in, c_out) else None


def _inner(shape: tuple[int | None, ...]) -> int | None:
    """The last axis of rows that has several, None for a named size: a pair lies within."""
    return next((extent for extent in shape[-2::-1] if extent != 1), 1)


def is_faster(size: Quarters, processor: Processor, *, is_image: bool) -> bool:
    c_in, c_out = LEAST_PIXELS if is_image else LEAST_ROWS
    is_large = size.c_in >= c_in and size.c_out >= c_out and size.rows >= LEAST_COUNT
    return processor.quarters and is_large and 4 * size.rows * max(size.c_in, size.c_out) <= MOST
