"""The rules: for a node, the kernel of ours that computes it, or None to leave it to its stock row. One maker an op, in one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.conv import CONV1D, CONV2D
from ....ir.ops.elementwise import CAST
from ....ir.ops.linear import DENSE
from ....ir.ops.shape import FLATTEN
from ....ir.types import DTYPES, Array
from ..cpu.work import Argument, ParamValues, batch_of, in_rows, kernel_of, only_reader
from .kernels import borders
from .kernels.implicit_gemm import convolution_kernel
from .kernels.layout import per_channel
from .kernels.sizes import ConvSizes, filters
from .work import Around, GpuWork, element_of, following, image_of, is_padded, packed_for_gpu

__all__ = ["GPU_MAKERS"]

LONGEST = 1 << 31  # of numbers that pixels, and chunks, are counted by


def conv(around: Around, node: Node) -> GpuWork | None:
    """A product of matrices on tensor cores."""
    x, w, *bias = node.inputs
    if not (is_padded(x) and is_padded(node)) or any(param.weights is None for param in (w, *bias)):
        return None
    (c_in, rows, cols), (c_out, *_), op = image_of(x), w.typed.concrete(), in_rows(node.op)
    sizes = ConvSizes(batch_of(x), c_in, c_out, rows, cols, kernel_of(w), op.strides, op.pads, op.dilations, op.groups)
    return _product(around, node, sizes, x, w, bias)


def dense(around: Around, node: Node, flatten: Node | None = None) -> GpuWork | None:
    """On scores as images of one pixel; on what is flattened to them as a convolution whose window is the image."""
    x, w, *bias = node.inputs
    image = flatten.inputs[0] if flatten else x
    fits = is_padded(image) and is_padded(node) and node.typed.rank == 2
    if not fits or any(param.weights is None for param in (w, *bias)):
        return None
    (c_in, rows, cols), (c_out, _) = image_of(image), w.typed.concrete()
    sizes = ConvSizes(batch_of(image), c_in, c_out, rows, cols, (rows, cols))
    return _product(around, node, sizes, image, w, bias, () if flatten is None else (flatten,))


def _product(
    around: Around, node: Node, sizes: ConvSizes, x: Node, w: Node, bias: list[Node], before: tuple[Node, ...] = ()
) -> GpuWork | None:
    if (sizes.batch or 1) * max(sizes.pixels, sizes.rows * sizes.cols) >= LONGEST:
        return None
    covers, steps, others = following(around, node)
    element = element_of(node)
    packed = packed_for_gpu(f"{node.name}.packed", filters(sizes, element), w)
    added = per_channel(sizes.c_out)
    given = Argument(f"{node.name}.bias", added.shape, added.dtype, _bias(sizes.c_out, bias, added.pack))
    return GpuWork((*before, *covers), convolution_kernel(sizes, element, steps), (x,), (packed, given), others)


def _bias(channels: int, bias: list[Node], pack: Callable[[Array], Array]) -> Callable[[ParamValues], Array]:
    return lambda values: pack(values(bias[0]) if bias else np.zeros(channels, np.float32))


def flat(around: Around, node: Node) -> GpuWork | None:
    """With the dense layer that alone reads it, which takes the image as it lies."""
    reader = only_reader(around.graph, node)
    if reader is None or reader.kind is not DENSE or reader.inputs[0] is not node or node.op.axis != 1:
        return None
    return dense(around, reader, node)


def cast(around: Around, node: Node) -> GpuWork | None:
    """To the type of the kernels, and from it, the layout changes on the way."""
    (x,) = node.inputs
    if x.weights is not None or not (x.typed.is_float and node.typed.is_float):
        return None
    if is_padded(node) and x not in around.padded and any(reader.kind in GPU_MAKERS for reader in around.graph.readers[node]):
        kernel, plain = borders.enter, x
    elif x in around.padded and not is_padded(node):
        kernel, plain = borders.leave, node
    else:
        return None
    given, made = (DTYPES[each.typed.dtype].name for each in (x, node))
    return GpuWork((node,), kernel.of(batch_of(x), *image_of(x), given, made), (x,), plain=frozenset([plain]))


GPU_MAKERS: dict[OpDef[Any], Callable[[Around, Node], GpuWork | None]] = {
    CAST: cast,
    CONV1D: conv,
    CONV2D: conv,
    DENSE: dense,
    FLATTEN: flat,
}
