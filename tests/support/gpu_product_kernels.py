"""Kernels that are sums of products, at sizes that fill no chunk: depthwise, transposed, by vectors, and direct."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cuda.kernels.depthwise import gpu_depthwise, gpu_depthwise_filters, gpu_transposed_depthwise, gpu_wide_depthwise
from convc.backends.tvm.cuda.kernels.direct import direct
from convc.backends.tvm.cuda.kernels.kernel import GpuKernel
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS, by_halves, per_channel
from convc.backends.tvm.cuda.kernels.matvec import matvec
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes
from convc.backends.tvm.cuda.kernels.transposed import TransposedSizes, phase_filters_for_gpu, transposed_kernel
from convc.backends.tvm.gpus.architectures import USUAL as USUAL_GPU
from convc.ir.ops.conv import CONV2D, Conv2d
from convc.ir.ops.conv_transpose import CONV_TRANSPOSE2D, ConvTranspose2d
from convc.ir.types import Array
from convc.tests.support.gpu_convolutions import RESIDUAL, Trial
from convc.tests.support.gpu_trial import BEYOND, IMAGE, KernelTrial, normal, trial_on_image, unwritten


def _depthwise() -> KernelTrial:
    x, w, bias = normal(2, *IMAGE), normal(11, 1, 3, 3, seed=1), normal(11, seed=2, of="float32")
    op = Conv2d((2, 1), (1, 1, 0, 1), groups=11)
    kernel = gpu_depthwise.of(2, 11, Window(5, 6, (3, 3), op.strides, op.pads), "f16")
    right = CONV2D.meaning(op, *(each.astype(np.float64) for each in (x, w, bias)))
    packed = gpu_depthwise_filters(11, (3, 3), ELEMENTS["f16"]).pack(w)
    return trial_on_image(kernel, x, right, W=packed, bias=by_halves(11).pack(bias))


def _wide_depthwise(strides: tuple[int, int], pixels: int) -> KernelTrial:
    """Of several pixels a thread, the last of fewer."""
    x, w, bias = normal(2, *IMAGE), normal(11, 1, 3, 3, seed=1), normal(11, seed=2, of="float32")
    op = Conv2d(strides, (1, 1, 0, 1), (1, 2), groups=11) if pixels == 2 else Conv2d(strides, (1, 2, 0, 1), groups=11)
    window = Window(5, 6, (3, 3), op.strides, op.pads, op.dilations)
    right = CONV2D.meaning(op, *(each.astype(np.float64) for each in (x, w, bias)))
    packed = gpu_depthwise_filters(11, (3, 3), ELEMENTS["f16"]).pack(w)
    kernel = gpu_wide_depthwise.of(2, 11, window, "f16", (), pixels)
    return trial_on_image(kernel, x, right, W=packed, bias=by_halves(11).pack(bias))


def _transposed(c_in: int, c_out: int, groups: int) -> tuple[TransposedSizes, Array, Array, Array, Array]:
    """Sizes, image, filters, bias and what is right."""
    x, bias = normal(2, c_in, 5, 6), normal(c_out, seed=2, of="float32")
    w = normal(c_in, c_out // groups, 4, 3, seed=1)
    op = ConvTranspose2d(strides=(2, 3), pads=(1, 0, 0, 1), output_padding=(1, 2), groups=groups)
    right = CONV_TRANSPOSE2D.meaning(op, *(each.astype(np.float64) for each in (x, w, bias)))
    sizes = TransposedSizes(2, c_in, c_out, 5, 6, (4, 3), op.strides, op.dilations, op.pads[:2], right.shape[2:], groups)
    return sizes, x, w, bias, right


def _transposed_depthwise() -> KernelTrial:
    sizes, x, w, bias, right = _transposed(11, 11, 11)
    packed = gpu_depthwise_filters(11, sizes.taps, ELEMENTS["f16"]).pack(w)
    return trial_on_image(gpu_transposed_depthwise.of(sizes, "f16"), x, right, W=packed, bias=by_halves(11).pack(bias))


def _transposed_in_groups() -> KernelTrial:
    """On tensor cores: nothing lies beyond the last channel of a group of 16."""
    sizes, x, w, bias, right = _transposed(32, 128, 2)
    element = ELEMENTS["f16"]
    trial = trial_on_image(
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
    given = {"X": x, "W": w, "parts": unwritten(2, 1, 1, 1, 16, of="float32")}
    return KernelTrial(matvec.of(sizes, "f16", (), 2), given, right[:, None, None, None], "parts")


PRODUCT_TRIALS: dict[str, Callable[[], KernelTrial]] = {
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
}
