"""What is multiplied of a whole network, and what it asks for: by arithmetic, which the emulator's counters hold for each tile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from convc.backends.tvm.cpu.work import in_rows, kernel_of
from convc.backends.tvm.cuda.kernels.choice import is_by_vectors, is_direct
from convc.backends.tvm.cuda.kernels.direct import direct_macs
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS
from convc.backends.tvm.cuda.kernels.matvec import vectors_of
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes
from convc.backends.tvm.cuda.kernels.tiles import multiplied, tiling_of
from convc.backends.tvm.cuda.work import image_of
from convc.backends.tvm.gpus.architectures import Architecture
from convc.compiler.engines.optimize import optimize
from convc.compiler.targets.prices import cuda_prices
from convc.ir.graph import Graph, Node
from convc.ir.ops.conv import CONV2D
from convc.ir.ops.linear import DENSE
from convc.ir.ops.shape import FLATTEN

F16 = ELEMENTS["f16"]


def products_of(graph: Graph) -> Counter[ConvSizes]:
    """The convolutions and dense layers of one image, optimized, with how often each is there; depthwise layers are no products."""
    better, _ = optimize(graph, 2, prices=cuda_prices("fp16"))
    found = [_sizes(node) for node in better.ops if node.kind in (CONV2D, DENSE)]
    return Counter(sizes for sizes in found if not 1 < sizes.groups == sizes.c_in)


def _sizes(node: Node) -> ConvSizes:
    x, w, *_ = node.inputs
    x = x.inputs[0] if node.kind is DENSE and x.kind is FLATTEN else x
    (c_in, rows, cols), (c_out, *_) = image_of(x), w.typed.concrete()
    if node.kind is DENSE:
        return ConvSizes(1, c_in, c_out, rows, cols, (rows, cols))
    op = in_rows(node.op)
    return ConvSizes(1, c_in, c_out, rows, cols, kernel_of(w), op.strides, op.pads, op.dilations, op.groups)


def wasted(layers: Mapping[ConvSizes, int], batch: int, arch: Architecture) -> float:
    """How many times what a network asks for is multiplied for so many images: by tensor cores, with what fills their products, and by
    ordinary units, with what fills chunks.
    """
    sized = [(replace(sizes, batch=batch), count) for sizes, count in layers.items()]
    return sum(count * _done(sizes, arch) for sizes, count in sized) / sum(count * batch * sizes.macs for sizes, count in sized)


def _done(sizes: ConvSizes, arch: Architecture) -> int:
    if is_by_vectors(sizes):
        return vectors_of(sizes) * sizes.stored_out * sizes.depth
    return direct_macs(sizes) if is_direct(sizes, F16, arch) else multiplied(sizes, tiling_of(sizes, F16, arch).tile, F16)


def least_wasted(layers: Mapping[ConvSizes, int], batch: int, arch: Architecture) -> float:
    """The same, at least, with the same layers by mma.sync m16n8k8 and k16 in whatever arrangement: each by the better of both orders, no
    channel added. Ordinary units do what they are asked for.
    """
    sized = [(replace(sizes, batch=batch), count) for sizes, count in layers.items()]
    return sum(count * _least(sizes, batch, arch) for sizes, count in sized) / sum(count * batch * sizes.macs for sizes, count in sized)


def _least(sizes: ConvSizes, batch: int, arch: Architecture) -> int:
    if is_by_vectors(sizes) or is_direct(sizes, F16, arch):
        return batch * sizes.macs
    pixels, filters = batch * sizes.pixels, sizes.c_out // sizes.groups
    sides = min(_whole(pixels, 16) * _whole(filters, 8), _whole(pixels, 8) * _whole(filters, 16))
    return sizes.groups * sides * _whole(math.prod(sizes.kernel) * (sizes.c_in // sizes.groups), 8)


def _whole(extent: int, unit: int) -> int:
    return math.ceil(extent / unit) * unit
