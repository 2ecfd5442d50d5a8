"""Kernels for GPUs besides convolutions: arrays as they lie there, and what is right, by the meanings of the ops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.resize import tables
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cuda.kernels.borders import enter, leave
from convc.backends.tvm.cuda.kernels.group_norms import gpu_group_norm
from convc.backends.tvm.cuda.kernels.layout import Image, Stored, by_halves, padded
from convc.backends.tvm.cuda.kernels.moves import channel_places, gpu_concat, gpu_gather, gpu_resize, gpu_uneven_concat
from convc.backends.tvm.cuda.kernels.norms import gpu_batch_norm, gpu_local_response_norm
from convc.backends.tvm.cuda.kernels.pointwise import gpu_by_channel, gpu_pointwise
from convc.backends.tvm.cuda.kernels.pools import gpu_avg_pool, gpu_global_avg_pool, gpu_max_pool
from convc.backends.tvm.cuda.kernels.slices import Piece, gpu_pad, gpu_slice
from convc.backends.tvm.cuda.kernels.softmax import gpu_softmax
from convc.ir.ops.activation import LOG_SOFTMAX, SIGMOID, SOFTMAX, LogSoftmax, Sigmoid, Softmax
from convc.ir.ops.activation_variants import GELU, Gelu
from convc.ir.ops.elementwise import MUL
from convc.ir.ops.group import GROUP_NORM, LAYER_NORM, GroupNorm, LayerNorm
from convc.ir.ops.norm import LOCAL_RESPONSE_NORM, LocalResponseNorm
from convc.ir.ops.pool import AVG_POOL, MAX_POOL, AvgPool, MaxPool
from convc.ir.ops.resize import RESIZE, Resize
from convc.ir.ops.unary import LOG
from convc.tests.support.gpu_product_kernels import PRODUCT_TRIALS
from convc.tests.support.gpu_trial import BEYOND, IMAGE, KernelTrial, laid, normal, trial_on_image, unwritten

GELU_STEP = EpilogueStep(GELU, Gelu())


def _softmax() -> KernelTrial:
    x = normal(2, *IMAGE) * np.float16(3)
    return trial_on_image(gpu_softmax.of(2, IMAGE, "float16", False), x, SOFTMAX.meaning(Softmax(axis=1), x.astype(np.float64)))


def _scores() -> KernelTrial:
    """Of more chunks than a warp has lanes, stored as the caller wants it."""
    x = normal(3, 300, 1, 1)
    kernel = gpu_softmax.of(3, (300, 1, 1), "float16", True, "float32")
    return KernelTrial(
        kernel,
        {"A": laid(x), "D": unwritten(3, 300, 1, 1, of="float32")},
        LOG_SOFTMAX.meaning(LogSoftmax(axis=1), x.astype(np.float64)),
    )


def _map() -> KernelTrial:
    """Stored channel by channel; of more chunks than lanes that have a pixel."""
    x = normal(2, 40, 5, 6)
    right = SOFTMAX.meaning(Softmax(axis=1), x.astype(np.float64))
    return KernelTrial(
        gpu_softmax.of(2, (40, 5, 6), "float16", False, "float32"), {"A": laid(x), "D": unwritten(*x.shape, of="float32")}, right
    )


def _slice() -> KernelTrial:
    x = normal(2, *IMAGE)
    piece = Piece(IMAGE, (6, 2, 2), (3, 1, 1), (2, 3))
    return trial_on_image(gpu_slice.of(2, piece, "float16"), x, x[:, 3:9, 1:4:2, 1:5:3])


def _pad() -> KernelTrial:
    x = normal(2, *IMAGE)
    piece = Piece(IMAGE, (13, 6, 9), (-2, -1, -1), value=1.5)
    return trial_on_image(gpu_pad.of(2, piece, "float16"), x, np.pad(x, ((0, 0), (2, 0), (1, 0), (1, 2)), constant_values=1.5))


def _pad_by_chunks() -> KernelTrial:
    x = normal(2, 8, 5, 6)
    piece = Piece((8, 5, 6), (24, 7, 6), (-8, -1, 0), value=-1.0)
    return trial_on_image(gpu_pad.of(2, piece, "float16"), x, np.pad(x, ((0, 0), (8, 8), (1, 1), (0, 0)), constant_values=-1))


def _reflected() -> KernelTrial:
    x = normal(2, *IMAGE)
    piece = Piece(IMAGE, (11, 9, 13), (0, -3, -5), mode="reflect")
    return trial_on_image(gpu_pad.of(2, piece, "float16"), x, np.pad(x, ((0, 0), (0, 0), (3, 1), (5, 2)), mode="reflect"))


def _logarithm() -> KernelTrial:
    """Which channels beyond the last have none of."""
    x = abs(normal(2, *IMAGE)) + np.float16(0.1)
    trial = trial_on_image(gpu_pointwise.of(2, IMAGE, "float16", (EpilogueStep(LOG, None),)), x, np.log(x.astype(np.float64)))
    right = np.zeros((2, 5, 6, padded(11)))
    right[..., :11] = trial.right
    return replace(trial, arrays={"A": laid(x, -1.0), "D": trial.arrays["D"]}, right=right)


def _gather() -> KernelTrial:
    x, at = normal(2, *IMAGE), np.array([10, 0, 3, 3, -1, 7, 2, 9, 8, 1, 6, 5, 4])
    return trial_on_image(gpu_gather.of(2, IMAGE, at.size, "float16"), x, x[:, at], places=channel_places(11, at.size).pack(at))


def _concat() -> KernelTrial:
    """Of three the middle one was written in place before."""
    parts = [normal(2, c, 5, 6, seed=i) for i, c in enumerate((16, 8, 11))]
    kernel = gpu_concat.of(2, (16, 8, 11), 5, 6, "float16", (0, 2))
    trial = trial_on_image(kernel, parts[0], np.concatenate(parts, 1))
    first, before, last = (laid(part) for part in parts)
    trial.arrays["D"][..., 16:24] = before
    return replace(trial, arrays={"A0": first, "A2": last, "D": trial.arrays["D"]})


def _uneven_concat() -> KernelTrial:
    parts = [normal(2, c, 5, 6, seed=i) for i, c in enumerate((3, 11, 5))]
    trial = trial_on_image(gpu_uneven_concat.of(2, (3, 11, 5), 5, 6, "float16"), parts[0], np.concatenate(parts, 1))
    return replace(trial, arrays={**{f"A{i}": laid(part) for i, part in enumerate(parts)}, "D": trial.arrays["D"]})


def _in_place() -> KernelTrial:
    """A pool that writes its channels of a concatenation of 40, and nothing else of it."""
    x = normal(2, *IMAGE)
    op = MaxPool((3, 3), (2, 2), pads=(1, 1, 0, 1))
    kernel = gpu_max_pool.of(2, 11, Window(5, 6, op.kernel, op.strides, op.pads), "float16").storing(Stored(channels=40, first=8))
    pooled = np.moveaxis(MAX_POOL.meaning(op, x.astype(np.float64)), 1, -1)
    right = np.full((*pooled.shape[:-1], 40), np.nan)
    right[..., 8:19] = pooled
    right[..., 19:24] = BEYOND  # the chunk that ends it is its own
    return KernelTrial(kernel, {"A": laid(x), "D": unwritten(*right.shape)}, right)


def _activation() -> KernelTrial:
    """In float32, of a value of 16 bits."""
    x = normal(2, *IMAGE)
    kernel = gpu_pointwise.of(2, IMAGE, "float16", (GELU_STEP,)).storing(Stored("float32"))
    return trial_on_image(kernel, x, GELU.meaning(Gelu(), x.astype(np.float64)), of="float32")


def _gate() -> KernelTrial:
    x, gate = normal(2, *IMAGE), normal(2, 11, 1, 1, seed=1)
    kernel = gpu_by_channel.of(2, IMAGE, "float16", EpilogueStep(MUL, None, 1), (EpilogueStep(SIGMOID, Sigmoid()),), True)
    right = SIGMOID.meaning(Sigmoid(), x.astype(np.float64) * gate)
    trial = trial_on_image(kernel, x, right)
    return replace(trial, arrays={"A": laid(x), "B": laid(gate), "D": trial.arrays["D"]})


def _average() -> KernelTrial:
    x = normal(2, *IMAGE)
    op = AvgPool((3, 2), (2, 2), pads=(1, 1, 0, 1), ceil_mode=True)
    window = Window(5, 6, op.kernel, op.strides, op.pads, ceil_mode=True)
    return trial_on_image(gpu_avg_pool.of(2, 11, window, False, "float16"), x, AVG_POOL.meaning(op, x.astype(np.float64)))


def _global_pool() -> KernelTrial:
    """Of 5 x 7 pixels, which 16 threads go through side by side, of two blocks for an image."""
    x = normal(2, 76, 5, 7)
    return trial_on_image(gpu_global_avg_pool.of(2, 76, 5, 7, "float16"), x, x.astype(np.float64).mean((2, 3), keepdims=True))


def _response_norm() -> KernelTrial:
    x, op = normal(2, *IMAGE), LocalResponseNorm(5, alpha=0.1)
    return trial_on_image(gpu_local_response_norm.of(op, 2, *IMAGE, "float16"), x, LOCAL_RESPONSE_NORM.meaning(op, x.astype(np.float64)))


def _batch_norm() -> KernelTrial:
    x, gain, shift = normal(2, *IMAGE), normal(11, seed=1, of="float32"), normal(11, seed=2, of="float32")
    right = x * gain[:, None, None].astype(np.float64) + shift[:, None, None]
    numbers = {name: by_halves(11).pack(each) for name, each in (("gain", gain), ("shift", shift))}
    return trial_on_image(gpu_batch_norm.of(2, *IMAGE, "float16"), x, right, **numbers)


def _group_norm(image: Image, groups: int, *, by_pixel: bool = False) -> KernelTrial:
    """Of values whose mean is large beside what they differ by."""
    c, rows, cols = image
    x = (4 + normal(2, *image)).astype(np.float16)
    gain, shift = normal(c, seed=1, of="float32"), normal(c, seed=2, of="float32")
    wide = x.astype(np.float64)
    if by_pixel:
        rows_of = np.moveaxis(wide, 1, -1)
        right = np.moveaxis(LAYER_NORM.meaning(LayerNorm(), rows_of, gain.astype(np.float64), shift.astype(np.float64)), -1, 1)
    else:
        right = GROUP_NORM.meaning(GroupNorm(groups), wide, gain.astype(np.float64), shift.astype(np.float64))
    numbers = {name: by_halves(c).pack(each) for name, each in (("gain", gain), ("shift", shift))}
    kernel = gpu_group_norm.of(2, image, groups, 1e-5, "float16", by_pixel=by_pixel)
    trial = trial_on_image(kernel, x, right, **numbers)
    cleared = np.zeros((2, rows, cols, padded(c)))  # what fills the last chunk too
    cleared[..., :c] = trial.right
    return replace(trial, right=cleared)


def _resize() -> KernelTrial:
    x, op = normal(2, *IMAGE), Resize((2.0, 1.5), "bilinear")
    right = RESIZE.meaning(op, x.astype(np.float64))
    names = ("row_at", "row_shares", "col_at", "col_shares")
    given = dict(zip(names, tables(op, 5, 6), strict=True))
    return trial_on_image(gpu_resize.of(2, 11, (5, 6), right.shape[2:], True, "float16"), x, right, **given)


def _enter() -> KernelTrial:
    x = normal(2, *IMAGE, of="float32")
    trial = trial_on_image(enter.of(2, *IMAGE, "float32", "float16"), x, x)
    right = np.zeros((2, 5, 6, padded(11)))  # what fills the last chunk too
    right[..., :11] = trial.right
    return replace(trial, arrays={"A": x, "D": trial.arrays["D"]}, right=right)


def _leave() -> KernelTrial:
    x = normal(2, *IMAGE)
    return KernelTrial(
        leave.of(2, *IMAGE, "float16", "float32"), {"A": laid(x), "D": unwritten(2, *IMAGE, of="float32")}, x.astype(np.float64)
    )


def _enter_scores() -> KernelTrial:
    x = normal(3, 11, 1, 1, of="float32")
    right = np.zeros((3, 1, 1, 16))
    right[..., :11] = x.reshape(3, 1, 1, 11)
    return KernelTrial(enter.of(3, 11, 1, 1, "float32", "float16"), {"A": x, "D": unwritten(*right.shape)}, right)


def _leave_scores() -> KernelTrial:
    x = normal(3, 11, 1, 1)
    given = {"A": laid(x), "D": unwritten(*x.shape, of="float32")}
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
    **PRODUCT_TRIALS,
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
