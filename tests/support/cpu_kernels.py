"""Scheduled kernels of the TVM backend, run on NumPy arrays; blocked tensors and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convc.backends.tvm.attributes import IN_PLACE
from convc.backends.tvm.cpu.kernels.layout import LANES, block_channels, blocks
from convc.backends.tvm.host import host_cpu, tvm
from convc.backends.tvm.library.compile_kernels import passes_for
from convc.ir.types import Array

rng = np.random.default_rng(7)


def draw(*shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def into_blocks(x: Array) -> Array:
    """NCHW as [CB,N,H,W,LANES]. Lanes of padding hold garbage: no kernel may rely on them."""
    packed = block_channels(x, 1)
    lanes = np.arange(packed.shape[1] * LANES).reshape(1, -1, 1, 1, LANES)
    return np.where(lanes < x.shape[1], packed, np.float32(3e3)).swapaxes(0, 1)


def from_blocks(x: Array, channels: int) -> Array:
    _, n, rows, cols, _ = x.shape
    return np.moveaxis(x.swapaxes(0, 1), -1, 2).reshape(n, -1, rows, cols)[:, :channels]


def blocked_shape(n: int, channels: int, rows: int, cols: int) -> tuple[int, ...]:
    return blocks(channels), n, rows, cols, LANES


def compiled(function: Any) -> Any:
    """The kernel for this machine as TVM's module of one function `main`, built as those of a library are."""
    host = tvm(2)
    target = host.target.Target({"kind": "llvm", "mcpu": host_cpu(), "num-cores": 2})
    with passes_for(function.with_attr(IN_PLACE, 0)):
        return host.compile(host.IRModule({"main": function.with_attr("global_symbol", "main")}), target=target)


def runner(function: Any, dtype: Any = np.float32) -> Callable[[list[Array], tuple[int, ...]], Array]:
    """The kernel on two threads: from its operands and the shape of its result to that result."""
    host, main = tvm(2), compiled(function)["main"]

    def run(operands: list[Array], shape: tuple[int, ...]) -> Array:
        result = host.runtime.tensor(np.full(shape, np.nan, dtype))
        main(*(host.runtime.tensor(np.ascontiguousarray(operand)) for operand in operands), result)
        return result.numpy()

    return run


def call(function: Any, operands: list[Array], shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return runner(function, dtype)(operands, shape)


def by_threads(function: Any, operands: list[Array], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The results of one thread and of two."""
    run, threads = runner(function), tvm(2).get_global_func("runtime.config_threadpool")
    two = run(operands, shape)
    threads(1, 1)
    one = run(operands, shape)
    threads(1, 2)
    return one, two


def same_bits_by_threads(function: Any, operands: list[Array], shape: tuple[int, ...]) -> bool:
    """Whether two threads and one make the same bits."""
    return np.array_equal(*by_threads(function, operands, shape))
