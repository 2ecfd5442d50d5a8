"""Kernels for GPUs besides convolutions: arrays as they lie there, and what is right, by the meanings of the ops.

Channels beyond the last hold a great number, which no kernel may let count; a place that a kernel must not write stays NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.resize import tables
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cuda.emulator.machine import USUAL, Order
from convc.backends.tvm.cuda.kernels.borders import enter, leave
from convc.backends.tvm.cuda.kernels.depthwise import gpu_depthwise, gpu_depthwise_filters, gpu_transposed_depthwise, gpu_wide_depthwise
from convc.backends.tvm.cuda.kernels.direct import direct
from convc.backends.tvm.cuda.kernels.group_norms import gpu_group_norm
from convc.backends.tvm.cuda.kernels.kernel import GpuKernel
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS, Image, Stored, by_halves, padded, per_channel
from convc.backends.tvm.cuda.kernels.matvec import matvec
from convc.backends.tvm.cuda.kernels.moves import channel_places, gpu_concat, gpu_gather, gpu_resize, gpu_uneven_concat
from convc.backends.tvm.cuda.kernels.norms import gpu_batch_norm, gpu_local_response_norm
from convc.backends.tvm.cuda.kernels.pointwise import gpu_by_channel, gpu_pointwise
from convc.backends.tvm.cuda.kernels.pools import gpu_avg_pool, gpu_global_avg_pool, gpu_max_pool
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes
from convc.backends.tvm.cuda.kernels.slices import Piece, gpu_pad, gpu_slice
from convc.backends.tvm.cuda.kernels.softmax import gpu_softmax
from convc.backends.tvm.cuda.kernels.transposed import TransposedSizes, phase_filters_for_gpu, transposed_kernel
from convc.backends.tvm.gpus.architectures import USUAL as USUAL_GPU
from convc.ir.ops.activation import LOG_SOFTMAX, SIGMOID, SOFTMAX, LogSoftmax, Sigmoid, Softmax
from convc.ir.ops.activation_variants import GELU, Gelu
from convc.ir.ops.conv import CONV2D, Conv2d
from convc.ir.ops.conv_transpose import CONV_TRANSPOSE2D, ConvTranspose2d
from convc.ir.ops.elementwise import MUL
from convc.ir.ops.group import GROUP_NORM, LAYER_NORM, GroupNorm, LayerNorm
from convc.ir.ops.norm import LOCAL_RESPONSE_NORM, LocalResponseNorm
from convc.ir.ops.pool import AVG_POOL, MAX_POOL, AvgPool, MaxPool
from convc.ir.ops.resize import RESIZE, Resize
from convc.ir.ops.unary import LOG
from convc.ir.types import Array
from convc.tests.support.gpu_convolutions import RESIDUAL, Trial
from convc.tests.support.own_kernels import Emitted, emitted

BEYOND = 900.0
IMAGE: Image = (11, 5, 6)
GELU_STEP = EpilogueStep(GELU, Gelu())


@dataclass(frozen=True)
class KernelTrial:
    """`arrays` are the kernel's arguments by name, its result NaN but for what lies there before; `right` is the result as it lies, without
    channels beyond the last.
    """

    kernel: GpuKernel
    arrays: Mapping[str, Array]
    right: Array
    result: str = "D"

    @cached_property
    def emitted(self) -> Emitted:
        return emitted(self.kernel.written())

    def off(self, arrays: Mapping[str, Array]) -> float:
        """The greatest error, of the greatest value; infinite where something was not written that should be, or was that should not."""
        got = arrays[self.result].astype(np.float64)[..., : self.right.shape[-1]]
        if (np.isnan(got) != np.isnan(self.right)).any():
            return np.inf
        return float(np.nanmax(np.abs(got - self.right)) / np.nanmax(np.abs(self.right)))

    def error(self, order: Order = USUAL, source: str | None = None) -> float:
        return self.off(self.emitted.run(self.arrays, order, source))


def _normal(*shape: int, seed: int = 0, of: str = "float16") -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(of)


def _laid(x: Array, fill: float = BEYOND) -> Array:
    """[N,C,H,W] as kernels have it."""
    n, c, rows, cols = x.shape
    made = np.full((n, rows, cols, padded(c)), fill, x.dtype)
    made[..., :c] = np.moveaxis(x, 1, -1)
    return made


def _nothing(*shape: int, of: str = "float16") -> Array:
    return np.full(shape, np.nan, of)


def _trial(kernel: GpuKernel, x: Array, right: Array, of: str = "float16", **more: Array) -> KernelTrial:
    """Of what reads the image A and leaves D; `right` is [N,C,H,W]."""
    n, c, rows, cols = right.shape
    given = {"A": _laid(x), **more, "D": _nothing(n, rows, cols, padded(c), of=of)}
    return KernelTrial(kernel, given, np.moveaxis(right.astype(np.float64), 1, -1))


def _softmax() -> KernelTrial:
    x = _normal(2, *IMAGE) * np.float16(3)
    return _trial(gpu_softmax.of(2, IMAGE, "float16", False), x, SOFTMAX.meaning(Softmax(axis=1), x.astype(np.float64)))


def _scores() -> KernelTrial:
    """Of more chunks than a warp has lanes, stored as the caller wants it."""
    x = _normal(3, 300, 1, 1)
    kernel = gpu_softmax.of(3, (300, 1, 1), "float16", True, "float32")
    return KernelTrial(
        kernel,
        {"A": _laid(x), "D": _nothing(3, 300, 1, 1, of="float32")},
        LOG_SOFTMAX.meaning(LogSoftmax(axis=1), x.astype(np.float64)),
    )


def _map() -> KernelTrial:
    """Stored channel by channel; of more chunks than lanes that have a pixel."""
    x = _normal(2, 40, 5, 6)
    right = SOFTMAX.meaning(Softmax(axis=1), x.astype(np.float64))
    return KernelTrial(
        gpu_softmax.of(2, (40, 5, 6), "float16", False, "float32"), {"A": _laid(x), "D": _nothing(*x.shape, of="float32")}, right
    )


def _slice() -> KernelTrial:
    x = _normal(2, *IMAGE)
    piece = Piece(IMAGE, (6, 2, 2), (3, 1, 1), (2, 3))
    return _trial(gpu_slice.of(2, piece, "float16"), x, x[:, 3:9, 1:4:2, 1:5:3])


def _pad() -> KernelTrial:
    x = _normal(2, *IMAGE)
    piece = Piece(IMAGE, (13, 6, 9), (-2, -1, -1), value=1.5)
    return _trial(gpu_pad.of(2, piece, "float16"), x, np.pad(x, ((0, 0), (2, 0), (1, 0), (1, 2)), constant_values=1.5))


def _pad_by_chunks() -> KernelTrial:
    x = _normal(2, 8, 5, 6)
    piece = Piece((8, 5, 6), (24, 7, 6), (-8, -1, 0), value=-1.0)
    return _trial(gpu_pad.of(2, piece, "float16"), x, np.pad(x, ((0, 0), (8, 8), (1, 1), (0, 0)), constant_values=-1))


def _reflected() -> KernelTrial:
    x = _normal(2, *IMAGE)
    piece = Piece(IMAGE, (11, 9, 13), (0, -3, -5), mode="reflect")
    return _trial(gpu_pad.of(2, piece, "float16"), x, np.pad(x, ((0, 0), (0, 0), (3, 1), (5, 2)), mode="reflect"))


def _logarithm() -> KernelTrial:
    """Which channels beyond the last have none of."""
    x = abs(_normal(2, *IMAGE)) + np.float16(0.1)
    trial = _trial(gpu_pointwise.of(2, IMAGE, "float16", (EpilogueStep(LOG, None),)), x, np.log(x.astype(np.float64)))
    right = np.zeros((2, 5, 6, padded(11)))
    right[..., :11] = trial.right
    return replace(trial, arrays={"A": _laid(x, -1.0), "D": trial.arrays["D"]}, right=right)


def _gather() -> KernelTrial:
    x, at = _normal(2, *IMAGE), np.array([10, 0, 3, 3, -1, 7, 2, 9, 8, 1, 6, 5, 4])
    return _trial(gpu_gather.of(2, IMAGE, at.size, "float16"), x, x[:, at], places=channel_places(11, at.size).pack(at))


def _concat() -> KernelTrial:
    """Of three the middle one was written in place before."""
    parts = [_normal(2, c, 5, 6, seed=i) for i, c in enumerate((16, 8, 11))]
    kernel = gpu_concat.of(2, (16, 8, 11), 5, 6, "float16", (0, 2))
    trial = _trial(kernel, parts[0], np.concatenate(parts, 1))
    first, before, last = (_laid(part) for part in parts)
    trial.arrays["D"][..., 16:24] = before
    return replace(trial, arrays={"A0": first, "A2": last, "D": trial.arrays["D"]})


def _uneven_concat() -> KernelTrial:
    parts = [_normal(2, c, 5, 6, seed=i) for i, c in enumerate((3, 11, 5))]
    trial = _trial(gpu_uneven_concat.of(2, (3, 11, 5), 5, 6, "float16"), parts[0], np.concatenate(parts, 1))
    return replace(trial, arrays={**{f"A{i}": _laid(part) for i, part in enumerate(parts)}, "D": trial.arrays["D"]})


def _in_place() -> KernelTrial:
    """A pool that writes its channels of a concatenation of 40, and nothing else of it."""
    x = _normal(2, *IMAGE)
    op = MaxPool((3, 3), (2, 2), pads=(1, 1, 0, 1))
    kernel = gpu_max_pool.of(2, 11, Window(5, 6, op.kernel, op.strides, op.pads), "float16").storing(Stored(channels=40, first=8))
    pooled = np.moveaxis(MAX_POOL.meaning(op, x.astype(np.float64)), 1, -1)
    right = np.full((*pooled.shape[:-1], 40), np.nan)
    right[..., 8:19] = pooled
    right[..., 19:24] = BEYOND  # the chunk that ends it is its own
    return KernelTrial(kernel, {"A": _laid(x), "D": _nothing(*right.shape)}, right)


def _activation() -> KernelTrial:
    """In float32, of a value of 16 bits."""
    x = _normal(2, *IMAGE)
    kernel = gpu_pointwise.of(2, IMAGE, "float16", (GELU_STEP,)).storing(Stored("float32"))
    return _trial(kernel, x, GELU.meaning(Gelu(), x.astype(np.float64)), of="float32")


def _gate() -> KernelTrial:
    x, gate = _normal(2, *IMAGE), _normal(2, 11, 1, 1, seed=1)
    kernel = gpu_by_channel.of(2, IMAGE, "float16", EpilogueStep(MUL, None, 1), (EpilogueStep(SIGMOID, Sigmoid()),), True)
    right = SIGMOID.meaning(Sigmoid(), x.astype(np.float64) * gate)
    trial = _trial(kernel, x, right)
    return replace(trial, arrays={"A": _laid(x), "B": _laid(gate), "D": trial.arrays["D"]})


def _depthwise() -> KernelTrial:
    x, w, bias = _normal(2, *IMAGE), _normal(11, 1, 3, 3, seed=1), _normal(11, seed=2, of="float32")
    op = Conv2d((2, 1), (1, 1, 0, 1), groups=11)
    kernel = gpu_depthwise.of(2, 11, Window(5, 6, (3, 3), op.strides, op.pads), "f16")
    right = CONV2D.meaning(op, *(each.astype(np.float64) for each in (x, w, bias)))
    packed = gpu_depthwise_filters(11, (3, 3), ELEMENTS["f16"]).pack(w)
    return _trial(kernel, x, right, W=packed, bias=by_halves(11).pack(bias))


def _wide_depthwise(strides: tuple[int, int], pixels: int) -> KernelTrial:
    """Of several pixels a thread, the last of fewer."""
    x, w, bias = _normal(2, *IMAGE), _normal(11, 1, 3, 3, seed=1), _normal(11, seed=2, of="float32")
    op = Conv2d(strides, (1, 1, 0, 1), (1, 2), groups=11) if pixels == 2 else Conv2d(strides, (1, 2, 0, 1), groups=11)
    window = Window(5, 6, (3, 3), op.strides, op.pads, op.dilations)
    right = CONV2D.meaning(op, *(each.astype(np.float64) for each in (x, w, bias)))
    packed = gpu_depthwise_filters(11, (3, 3), ELEMENTS["f16"]).pack(w)
    kernel = gpu_wide_depthwise.of(2, 11, window, "f16", (), pixels)
    return _trial(kernel, x, right, W=packed, bias=by_halves(11).pack(bias))


def _transposed(c_in: int, c_out: int, groups: int) -> tuple[TransposedSizes, Array, Array, Array, Array]:
    """Sizes, image, filters, bias and what is right."""
    x, bias = _normal(2, c_in, 5, 6), _normal(c_out, seed=2, of="float32")
    w = _normal(c_in, c_out // groups, 4, 3, seed=1)
    op = ConvTranspose2d(strides=(2, 3), pads=(1, 0, 0, 1), output_padding=(1, 2), groups=groups)
    right = CONV_TRANSPOSE2D.meaning(op, *(each.astype(np.float64) for each in (x, w, bias)))
    sizes = TransposedSizes(2, c_in, c_out, 5, 6, (4, 3), op.strides, op.dilations, op.pads[:2], right.shape[2:], groups)
    return sizes, x, w, bias, right


def _transposed_depthwise() -> KernelTrial:
    sizes, x, w, bias, right = _transposed(11, 11, 11)
    packed = gpu_depthwise_filters(11, sizes.taps, ELEMENTS["f16"]).pack(w)
    return _trial(gpu_transposed_depthwise.of(sizes, "f16"), x, right, W=packed, bias=by_halves(11).pack(bias))


def _transposed_in_groups() -> KernelTrial:
    """On tensor cores: nothing lies beyond the last channel of a group of 16."""
    sizes, x, w, bias, right = _transposed(32, 128, 2)
    element = ELEMENTS["f16"]
    trial = _trial(
        transposed_kernel(sizes, element, (), USUAL_GPU),
        x,
        right,
        W=phase_filters_for_gpu(sizes, element).pack(w),
        bias=per_channel(128).pack(bias),
    )
    given = dict(trial.arrays)
    return replace(trial, arrays={"X": given.pop("A"), "Y": given.pop("D"), **given}, result="Y")


def _product(sizes: ConvSizes, kernel: GpuKernel) -> KernelTrial:
    """Of ordinary units, a residual and a relu after it. Of groups nothing lies beyond the last channel."""
    drawn = Trial.drawn(sizes)
    drawn.arrays["X"][..., sizes.c_in :] = BEYOND
    return KernelTrial(kernel, drawn.arrays, np.moveaxis(drawn.right, 1, -1), "Y")


def _vectors(sizes: ConvSizes) -> KernelTrial:
    return _product(sizes, matvec.of(sizes, "f16", RESIDUAL))


def _direct(sizes: ConvSizes, sharers: int) -> KernelTrial:
    return _product(sizes, direct.of(sizes, "f16", RESIDUAL, sharers))


def _vectors_in_parts() -> KernelTrial:
    """Of three rounds of 256 chunks the first part has two, the second one and what is left."""
    sizes, middle = ConvSizes(1, 6220, 11, 1, 1, (1, 1)), 2 * 256 * 8
    x, w = (Trial.drawn(sizes).arrays[name] for name in ("X", "W"))
    products = w.astype(np.float64) * x.reshape(1, -1)
    right = np.stack([half.sum(1)[:11] for half in np.split(products, [middle], axis=1)])
    given = {"X": x, "W": w, "parts": _nothing(2, 1, 1, 1, 16, of="float32")}
    return KernelTrial(matvec.of(sizes, "f16", (), 2), given, right[:, None, None, None], "parts")


def _average() -> KernelTrial:
    x = _normal(2, *IMAGE)
    op = AvgPool((3, 2), (2, 2), pads=(1, 1, 0, 1), ceil_mode=True)
    window = Window(5, 6, op.kernel, op.strides, op.pads, ceil_mode=True)
    return _trial(gpu_avg_pool.of(2, 11, window, False, "float16"), x, AVG_POOL.meaning(op, x.astype(np.float64)))


def _global_pool() -> KernelTrial:
    """Of 5 x 7 pixels, which 16 threads go through side by side, of two blocks for an image."""
    x = _normal(2, 76, 5, 7)
    return _trial(gpu_global_avg_pool.of(2, 76, 5, 7, "float16"), x, x.astype(np.float64).mean((2, 3), keepdims=True))


def _response_norm() -> KernelTrial:
    x, op = _normal(2, *IMAGE), LocalResponseNorm(5, alpha=0.1)
    return _trial(gpu_local_response_norm.of(op, 2, *IMAGE, "float16"), x, LOCAL_RESPONSE_NORM.meaning(op, x.astype(np.float64)))


def _batch_norm() -> KernelTrial:
    x, gain, shift = _normal(2, *IMAGE), _normal(11, seed=1, of="float32"), _normal(11, seed=2, of="float32")
    right = x * gain[:, None, None].astype(np.float64) + shift[:, None, None]
    numbers = {name: by_halves(11).pack(each) for name, each in (("gain", gain), ("shift", shift))}
    return _trial(gpu_batch_norm.of(2, *IMAGE, "float16"), x, right, **numbers)


def _group_norm(image: Image, groups: int, *, by_pixel: bool = False) -> KernelTrial:
    """Of values whose mean is large beside what they differ by."""
    c, rows, cols = image
    x = (4 + _normal(2, *image)).astype(np.float16)
    gain, shift = _normal(c, seed=1, of="float32"), _normal(c, seed=2, of="float32")
    wide = x.astype(np.float64)
    if by_pixel:
        rows_of = np.moveaxis(wide, 1, -1)
        right = np.moveaxis(LAYER_NORM.meaning(LayerNorm(), rows_of, gain.astype(np.float64), shift.astype(np.float64)), -1, 1)
    else:
        right = GROUP_NORM.meaning(GroupNorm(groups), wide, gain.astype(np.float64), shift.astype(np.float64))
    numbers = {name: by_halves(c).pack(each) for name, each in (("gain", gain), ("shift", shift))}
    kernel = gpu_group_norm.of(2, image, groups, 1e-5, "float16", by_pixel=by_pixel)
    trial = _trial(kernel, x, right, **numbers)
    cleared = np.zeros((2, rows, cols, padded(c)))  # what fills the last chunk too
    cleared[..., :c] = trial.right
    return replace(trial, right=cleared)


def _resize() -> KernelTrial:
    x, op = _normal(2, *IMAGE), Resize((2.0, 1.5), "bilinear")
    right = RESIZE.meaning(op, x.astype(np.float64))
    names = ("row_at", "row_shares", "col_at", "col_shares")
    given = dict(zip(names, tables(op, 5, 6), strict=True))
    return _trial(gpu_resize.of(2, 11, (5, 6), right.shape[2:], True, "float16"), x, right, **given)


def _enter() -> KernelTrial:
    x = _normal(2, *IMAGE, of="float32")
    trial = _trial(enter.of(2, *IMAGE, "float32", "float16"), x, x)
    right = np.zeros((2, 5, 6, padded(11)))  # what fills the last chunk too
    right[..., :11] = trial.right
    return replace(trial, arrays={"A": x, "D": trial.arrays["D"]}, right=right)


def _leave() -> KernelTrial:
    x = _normal(2, *IMAGE)
    return KernelTrial(
        leave.of(2, *IMAGE, "float16", "float32"), {"A": _laid(x), "D": _nothing(2, *IMAGE, of="float32")}, x.astype(np.float64)
    )


def _enter_scores() -> KernelTrial:
    x = _normal(3, 11, 1, 1, of="float32")
    right = np.zeros((3, 1, 1, 16))
    right[..., :11] = x.reshape(3, 1, 1, 11)
    return KernelTrial(enter.of(3, 11, 1, 1, "float32", "float16"), {"A": x, "D": _nothing(*right.shape)}, right)


def _leave_scores() -> KernelTrial:
    x = _normal(3, 11, 1, 1)
    given = {"A": _laid(x), "D": _nothing(*x.shape, of="float32")}
    return KernelTrial(leave.of(3, 11, 1, 1, "float16", "float32"), given, x.astype(np.float64))


TRIALS: dict[str, Callable[[], KernelTrial]] = {
    "softmax": _softmax,
    "softmax of scores": _scores,
    "softmax of a map": _map,
    "slice": _slice,
    "pad": _pad,
    "pad by chunks": _pad_by_chunks,
    "pad by reflection": _reflected,
    "logarithm": _logarithm,
    "gather": _gather,
    "concat": _concat,
    "concat, channel by channel": _uneven_concat,
    "in place": _in_place,
    "activation": _activation,
    "gate": _gate,
    "depthwise": _depthwise,
    "depthwise, four pixels": lambda: _wide_depthwise((2, 1), 4),
    "depthwise, two pixels": lambda: _wide_depthwise((1, 2), 2),
    "depthwise, transposed": _transposed_depthwise,
    "transposed in groups": _transposed_in_groups,
    "matvec": lambda: _vectors(ConvSizes(1, 349, 11, 3, 3, (3, 3))),
    "matvec, four vectors": lambda: _vectors(ConvSizes(4, 1099, 11, 1, 1, (1, 1))),
    "matvec, in parts": _vectors_in_parts,
    "direct": lambda: _direct(ConvSizes(2, 6, 11, 7, 6, (3, 2), (2, 1), (1, 1, 0, 1)), 1),
    "direct, shared": lambda: _direct(ConvSizes(2, 12, 16, 5, 6, (3, 3), (1, 1), (1, 1, 1, 1), (1, 2)), 4),
    "direct, in groups": lambda: _direct(ConvSizes(2, 16, 32, 5, 6, (3, 3), pads=(1, 1, 1, 1), groups=2), 8),
    "avg pool": _average,
    "global avg pool": _global_pool,
    "local response norm": _response_norm,
    "batch norm": _batch_norm,
    "group norm": lambda: _group_norm((32, 13, 11), 2),
    "group norm, one group": lambda: _group_norm((11, 3, 5), 1),
    "group norm, of pixels": lambda: _group_norm((300, 2, 3), 1, by_pixel=True),
    "instance norm": lambda: _group_norm((11, 17, 16), 11),
    "group norm, within chunks": lambda: _group_norm((12, 5, 6), 3),
    "resize": _resize,
    "enter": _enter,
    "enter, scores": _enter_scores,
    "leave": _leave,
    "leave, scores": _leave_scores,
}


@cache
def trial_of(name: str) -> KernelTrial:
    """Drawn, and told apart, once."""
    return TRIALS[name]()
