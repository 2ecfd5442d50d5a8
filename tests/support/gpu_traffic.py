"""Kernels for GPUs at sizes that networks have, and what their warps ask of memory, counted by the emulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.resize import tables
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cuda.emulator.traffic import Traffic, counted
from convc.backends.tvm.cuda.kernels.borders import enter, leave
from convc.backends.tvm.cuda.kernels.depthwise import gpu_depthwise, gpu_transposed_depthwise, gpu_wide_depthwise
from convc.backends.tvm.cuda.kernels.group_norms import gpu_group_norm
from convc.backends.tvm.cuda.kernels.implicit_gemm import convolution
from convc.backends.tvm.cuda.kernels.kernel import GpuKernel
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS, Image, Stored
from convc.backends.tvm.cuda.kernels.matvec import matvec
from convc.backends.tvm.cuda.kernels.moves import channel_places, gpu_concat, gpu_gather, gpu_resize, gpu_uneven_concat
from convc.backends.tvm.cuda.kernels.norms import gpu_batch_norm, gpu_local_response_norm
from convc.backends.tvm.cuda.kernels.parts import add_parts
from convc.backends.tvm.cuda.kernels.pointwise import gpu_by_channel, gpu_pointwise
from convc.backends.tvm.cuda.kernels.pools import gpu_avg_pool, gpu_global_avg_pool, gpu_max_pool
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes
from convc.backends.tvm.cuda.kernels.slices import Piece, gpu_pad, gpu_slice
from convc.backends.tvm.cuda.kernels.softmax import gpu_softmax
from convc.backends.tvm.cuda.kernels.tiles import GROUP_TILES, WARP_TILES, GpuTile, Tiling
from convc.backends.tvm.cuda.kernels.transposed import TransposedSizes, transposed_kernel
from convc.backends.tvm.gpus.architectures import USUAL as USUAL_GPU
from convc.ir.ops.activation import SIGMOID, Sigmoid
from convc.ir.ops.elementwise import MUL
from convc.ir.ops.norm import LocalResponseNorm
from convc.ir.ops.resize import Resize
from convc.ir.types import Array
from convc.tests.support.gpu_convolutions import RESIDUAL
from convc.tests.support.own_kernels import emitted

SQUARE, DOWN = (1, 1, 1, 1), (2, 2)


@dataclass(frozen=True)
class Layer:
    """`write` makes the kernel's PrimFunc; of its arguments all but those `given` by name, which it reads as places, are zeros."""

    write: Callable[[], Any]
    given: dict[str, Array] = field(default_factory=dict[str, Array])

    def traffic(self) -> Traffic:
        function = self.write()
        made = emitted(function)
        buffers = {str(buffer.name): buffer for buffer in function.params}
        arrays = [self.given.get(name, _zeros(buffers[name])) for name in made.order]
        return counted(made.source, made.launch, arrays)


def _zeros(buffer: Any) -> Array:
    dtype = "uint16" if str(buffer.dtype) == "bfloat16" else str(buffer.dtype)
    return np.zeros([int(extent) for extent in buffer.shape], dtype)


def _window(extent: int, kernel: int, stride: int = 1, pad: int = 0) -> Window:
    return Window(extent, extent, (kernel, kernel), (stride, stride), (pad, pad, pad, pad))


def _conv(sizes: ConvSizes, tile: GpuTile, of: str = "f16", splits: int = 1) -> Layer:
    return Layer(partial(convolution, sizes, of, RESIDUAL, Tiling(tile, splits)))


def _resized(channels: int, extent: int, is_bilinear: bool) -> Layer:
    op = Resize((2.0, 2.0), "bilinear" if is_bilinear else "nearest")
    names = ("row_at", "row_shares", "col_at", "col_shares") if is_bilinear else ("row_at", "col_at")
    given = dict(zip(names, tables(op, extent, extent), strict=True))
    return Layer(partial(gpu_resize, 1, channels, (extent, extent), (2 * extent, 2 * extent), is_bilinear, "float16"), given)


def _gathered(image: Image, places: Array) -> Layer:
    return Layer(partial(gpu_gather, 1, image, places.size, "float16"), {"places": channel_places(image[0], places.size).pack(places)})


def _upsampled(c_in: int, c_out: int, extent: int, groups: int = 1) -> TransposedSizes:
    return TransposedSizes(1, c_in, c_out, extent, extent, (4, 4), (2, 2), (1, 1), (1, 1), (2 * extent, 2 * extent), groups)


def _pool_in_place() -> GpuKernel:
    return gpu_max_pool.of(1, 480, _window(14, 3, 1, 1), "float16").storing(Stored(channels=832, first=320))


def _shuffled(channels: int) -> Array:
    """Of two groups one channel after the other, as ShuffleNet has them."""
    return np.arange(channels).reshape(2, -1).T.ravel()


def _tile_name(tile: GpuTile) -> str:
    return f"conv {tile.rows}x{tile.cols} of {tile.depth}{' wgmma' if tile.by_groups else ''}"


IMAGE, SMALL, UNEVEN = (64, 28, 28), (512, 7, 7), (58, 28, 28)
SIGMOID_STEP = (EpilogueStep(SIGMOID, Sigmoid()),)
TILES = tuple(dict.fromkeys((*WARP_TILES.all, *GROUP_TILES.all)))
FEW_TILES = (WARP_TILES.large[1], WARP_TILES.uneven, WARP_TILES.narrow[0], GROUP_TILES.large[1], GROUP_TILES.uneven, GROUP_TILES.short)
LAYERS: dict[str, Layer] = {
    "enter 3": Layer(partial(enter, 1, 3, 56, 56, "float32", "float16")),
    "enter 64": Layer(partial(enter, 1, *IMAGE, "float32", "float16")),
    "enter 512": Layer(partial(enter, 1, *SMALL, "float32", "float16")),
    "enter scores": Layer(partial(enter, 8, 1000, 1, 1, "float32", "float16")),
    "leave 21": Layer(partial(leave, 1, 21, 28, 28, "float16", "float32")),
    "leave 64": Layer(partial(leave, 1, *IMAGE, "float16", "float32")),
    "leave 512": Layer(partial(leave, 1, *SMALL, "float16", "float16")),
    "leave scores": Layer(partial(leave, 8, 1000, 1, 1, "float16", "float32")),
    "depthwise 64": Layer(partial(gpu_depthwise, 1, 64, _window(28, 3, 1, 1), "f16", RESIDUAL)),
    "depthwise 512": Layer(partial(gpu_depthwise, 1, 512, _window(14, 3, 2, 1), "f16")),
    "depthwise 64, 4 pixels": Layer(partial(gpu_wide_depthwise, 1, 64, _window(28, 3, 1, 1), "f16", (), 4)),
    "depthwise 96, 2 pixels": Layer(partial(gpu_wide_depthwise, 1, 96, _window(28, 5, 2, 2), "f16", (), 2)),
    "depthwise 32, 4 pixels": Layer(partial(gpu_wide_depthwise, 1, 32, _window(56, 3, 1, 1), "f16", (), 4)),
    "depthwise 64, transposed": Layer(partial(gpu_transposed_depthwise, _upsampled(64, 64, 14, 64), "f16")),
    "max pool 64": Layer(partial(gpu_max_pool, 1, 64, _window(56, 3, 2, 1), "float16")),
    "max pool 480, in place": Layer(lambda: _pool_in_place().written()),
    "avg pool 128": Layer(partial(gpu_avg_pool, 1, 128, _window(28, 2, 2), False, "float16")),
    "global avg pool 512": Layer(partial(gpu_global_avg_pool, 2, 512, 7, 7, "float16")),
    "global avg pool 40": Layer(partial(gpu_global_avg_pool, 2, 40, 28, 28, "float16")),
    "local response norm 96": Layer(partial(gpu_local_response_norm, LocalResponseNorm(5), 1, 96, 27, 27, "float16")),
    "batch norm 64": Layer(partial(gpu_batch_norm, 1, *IMAGE, "float16")),
    "batch norm 512": Layer(partial(gpu_batch_norm, 1, *SMALL, "float16", RESIDUAL)),
    "group norm 64 in 32": Layer(partial(gpu_group_norm, 1, IMAGE, 32, 1e-5, "float16")),
    "group norm 256 in 32": Layer(partial(gpu_group_norm, 1, (256, 14, 14), 32, 1e-5, "float16")),
    "group norm 96 in 1": Layer(partial(gpu_group_norm, 1, (96, 28, 28), 1, 1e-5, "float16")),
    "layer norm 768": Layer(partial(gpu_group_norm, 64, (768, 1, 1), 1, 1e-5, "float16")),
    "layer norm 96, of pixels": Layer(partial(gpu_group_norm, 1, (96, 28, 28), 1, 1e-5, "float16", by_pixel=True)),
    "instance norm 32": Layer(partial(gpu_group_norm, 1, (32, 56, 56), 32, 1e-5, "float16")),
    "softmax 21": Layer(partial(gpu_softmax, 1, (21, 28, 28), "float16", False)),
    "softmax 21, plain": Layer(partial(gpu_softmax, 1, (21, 28, 28), "float16", False, "float32")),
    "softmax 64": Layer(partial(gpu_softmax, 1, IMAGE, "float16", True)),
    "softmax 150, plain": Layer(partial(gpu_softmax, 1, (150, 28, 28), "float16", False, "float32")),
    "softmax scores": Layer(partial(gpu_softmax, 8, (1000, 1, 1), "float16", False)),
    "softmax scores, plain": Layer(partial(gpu_softmax, 8, (1000, 1, 1), "float16", False, "float32")),
    "slice 64": Layer(partial(gpu_slice, 1, Piece(IMAGE, (32, 28, 28), (32, 0, 0)), "float16")),
    "slice 58 of 116": Layer(partial(gpu_slice, 1, Piece((116, 28, 28), UNEVEN, (58, 0, 0)), "float16")),
    "slice every other pixel": Layer(partial(gpu_slice, 1, Piece(IMAGE, (64, 14, 14), (0, 0, 0), (2, 2)), "float16")),
    "pad 64": Layer(partial(gpu_pad, 1, Piece(IMAGE, (64, 30, 30), (0, -1, -1)), "float16")),
    "pad 3 to 64": Layer(partial(gpu_pad, 1, Piece((3, 28, 28), IMAGE, (-3, 0, 0)), "float16")),
    "concat 64, 64": Layer(partial(gpu_concat, 1, (64, 64), 28, 28, "float16")),
    "concat 58, 58": Layer(partial(gpu_uneven_concat, 1, (58, 58), 28, 28, "float16")),
    "gather 116": _gathered((116, 28, 28), _shuffled(116)),
    "gather 64": _gathered(IMAGE, _shuffled(64)),
    "resize 64, bilinear": _resized(64, 14, True),
    "resize 64, nearest": _resized(64, 14, False),
    "resize 21, bilinear": _resized(21, 28, True),
    "pointwise 64": Layer(partial(gpu_pointwise, 1, IMAGE, "float16", (*RESIDUAL, *SIGMOID_STEP))),
    "pointwise 512": Layer(partial(gpu_pointwise, 1, SMALL, "float16", SIGMOID_STEP)),
    "gate 64": Layer(partial(gpu_by_channel, 1, IMAGE, "float16", EpilogueStep(MUL, None, 1), (), True)),
    "constants 512": Layer(partial(gpu_by_channel, 1, SMALL, "float16", EpilogueStep(MUL, None, 1), (), False)),
    "pointwise 64, float32": Layer(partial(gpu_pointwise, 1, IMAGE, "float32", SIGMOID_STEP)),
    "matvec 1000": Layer(partial(matvec, ConvSizes(1, 512, 1000, 1, 1, (1, 1)), "f16")),
    "matvec 240, 2 images": Layer(partial(matvec, ConvSizes(2, 960, 240, 1, 1, (1, 1)), "f16")),
    "parts of 64": Layer(partial(add_parts, 4, 1, (14, 14, 64), "f16", RESIDUAL)),
    "parts of 512": Layer(partial(add_parts, 8, 1, (7, 7, 512), "f16", ())),
    "transposed 64": Layer(lambda: transposed_kernel(_upsampled(64, 64, 14), ELEMENTS["f16"], (), USUAL_GPU).written()),
    "transposed 128": Layer(lambda: transposed_kernel(_upsampled(128, 128, 7), ELEMENTS["f16"], (), USUAL_GPU).written()),
    **{f"{_tile_name(tile)}, 3x3 of 64": _conv(ConvSizes(1, 64, 64, 14, 14, (3, 3), pads=SQUARE), tile) for tile in TILES},
    **{f"{_tile_name(tile)}, 1x1 of 256": _conv(ConvSizes(1, 256, 256, 7, 7, (1, 1)), tile) for tile in FEW_TILES},
    **{f"{_tile_name(tile)}, 3x3 of 20": _conv(ConvSizes(1, 20, 40, 14, 14, (3, 3), pads=SQUARE), tile) for tile in FEW_TILES},
    **{f"{_tile_name(tile)}, stem": _conv(ConvSizes(1, 3, 64, 28, 28, (7, 7), DOWN, (3, 3, 3, 3)), tile) for tile in FEW_TILES},
}
