"""The headers that emitted source includes: numbers of 16 bits, warp collectives, atomics and wmma, against NumPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from convc.backends.tvm.cuda.emulator.kernels import Kernels, Launch
from convc.backends.tvm.cuda.emulator.machine import Order
from convc.ir.types import Array

SMALL_FLOATS = {"half": ("cuda_fp16.h", "half"), "bfloat": ("cuda_bf16.h", "nv_bfloat16")}
NUMBERS = r"""
extern "C" __global__ void narrow_{name}(const float* x, {type}* y, int n) {{ for (int i = threadIdx.x; i < n; i += 256) y[i] = {type}(x[i]); }}
extern "C" __global__ void wide_{name}(const {type}* x, float* y, int n) {{ for (int i = threadIdx.x; i < n; i += 256) y[i] = (float)x[i]; }}
extern "C" __global__ void chain_{name}(const {type}* a, const {type}* b, {type}* y) {{ int i = threadIdx.x; {type} c = a[i] * b[i]; c += a[i]; y[i] = __hmax(hexp(c - b[i]), {type}(0.5f)); }}
"""
WMMA = r"""
extern "C" __global__ void wmma_{name}_{a}_{b}(const {type}* a, const {type}* b, float* c) {{
  using namespace nvcuda;
  wmma::fragment<wmma::matrix_a, 16, 16, 16, {type}, wmma::{a}_major> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, {type}, wmma::{b}_major> fb;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums, other;
  wmma::load_matrix_sync(fa, a, 16);
  wmma::load_matrix_sync(fb, b, 24);
  wmma::fill_fragment(sums, 1.0f);
  wmma::load_matrix_sync(other, c, 16, wmma::mem_col_major);
  wmma::mma_sync(sums, fa, fb, sums);
  for (int i = 0; i < sums.num_elements; i++) sums.x[i] += other.x[i];
  wmma::store_matrix_sync(c, sums, 16, wmma::mem_row_major);
}}
"""
TOGETHER = r"""
extern "C" __global__ void shuffles(const int* x, int* y) {
  int i = threadIdx.x;
  y[i] = __shfl_sync(0xffffffff, x[i], 5, 8);
  y[32 + i] = __shfl_up_sync(0xffffffff, x[i], 3);
  y[64 + i] = __shfl_down_sync(0xffffffff, x[i], 3, 16);
  y[96 + i] = __shfl_xor_sync(0xffffffff, x[i], 1);
  y[128 + i] = (int)__ballot_sync(0xffffffff, x[i] % 2);
  y[160 + i] = __any_sync(0xffffffff, i == 7) + 2 * __all_sync(0xffffffff, i < 32) + 4 * __all_sync(0xffffffff, i < 31);
  if (i < 20) y[192 + i] = __shfl_down_sync(0x000fffff, x[i], 1);
}
extern "C" __global__ void atomics(float* sum, int* most, unsigned* bits) {
  atomicAdd(sum, 1.0f + blockIdx.x);
  atomicMax(most, (int)(threadIdx.x * 7 % 32));
  atomicOr(bits, 1u << threadIdx.x);
}
extern "C" __global__ void places(int* y) {
  int at = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * (blockIdx.x + gridDim.x * blockIdx.y));
  y[at] = threadIdx.x + 10 * threadIdx.y + 100 * blockIdx.x + 1000 * blockIdx.y;
}
"""


@cache
def kernels() -> Kernels:
    headers = [f"#include <{header}>" for header in ("cuda_fp16.h", "cuda_bf16.h", "mma.h", "math_constants.h")]
    numbers = [NUMBERS.format(name=name, type=type_) for name, (_, type_) in SMALL_FLOATS.items()]
    products = [
        WMMA.format(name=name, type=type_, a=a, b=b)
        for name, (_, type_) in SMALL_FLOATS.items()
        for a in ("row", "col")
        for b in ("row", "col")
    ]
    return Kernels("\n".join([*headers, *numbers, *products, TOGETHER]))


def nearest(name: str, x: Array) -> Array:
    """The bits of the nearest number of 16 bits."""
    with np.errstate(over="ignore"):
        if name == "half":
            return x.astype(np.float16).view(np.uint16)
    bits = x.astype(np.float32).view(np.uint32)
    return np.where(np.isnan(x), 0x7FFF, bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)


def numbers(name: str, bits: Array) -> Array:
    return bits.view(np.float16).astype(np.float32) if name == "half" else (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_each_number_is_converted(name: str) -> None:
    """All of 16 bits; and floats at and beside the middle of two, the least, the greatest and beyond."""
    every = np.arange(2**16, dtype=np.uint16)
    launch = ((1, 1, 1), (256, 1, 1))
    wide = kernels().run(Launch(f"wide_{name}", *launch), [every, np.zeros(2**16, np.float32), np.int32(2**16)])[-1]
    np.testing.assert_array_equal(wide, numbers(name, every))
    finite = np.sort(wide[np.isfinite(wide)])
    middles = (finite[1:].astype(np.float64) + finite[:-1]) / 2
    x = np.concatenate(
        [
            middles,
            np.nextafter(middles.astype(np.float32), np.float32(np.inf)),
            [np.inf, -np.inf, 65519.99, 65520, 1e30, 3e38, 1e-45, -1e-45],
        ]
    ).astype(np.float32)
    got = kernels().run(Launch(f"narrow_{name}", *launch), [x, np.zeros(len(x), np.uint16), np.int32(len(x))])[-1]
    np.testing.assert_array_equal(got, nearest(name, x))
    nan = kernels().run(Launch(f"narrow_{name}", *launch), [np.array([np.nan], np.float32), np.zeros(1, np.uint16), np.int32(1)])[-1]
    assert nan == [0x7FFF]


@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_each_operation_rounds(name: str) -> None:
    draws = np.random.default_rng(0)
    a, b = (nearest(name, draws.standard_normal(256).astype(np.float32)) for _ in range(2))
    got = kernels().run(Launch(f"chain_{name}", (1, 1, 1), (256, 1, 1)), [a, b, np.zeros(256, np.uint16)])[-1]

    def rounded(x: Array) -> Array:
        return numbers(name, nearest(name, x))

    x, y = numbers(name, a), numbers(name, b)
    right = np.maximum(rounded(np.exp(rounded(rounded(rounded(x * y) + x) - y))), 0.5)
    np.testing.assert_allclose(numbers(name, got), right, rtol=2**-7 if name == "bfloat" else 2**-10)  # exp of float may differ in a digit
    assert np.mean(numbers(name, got) == right) > 0.98


@pytest.mark.parametrize("b", ["row", "col"])
@pytest.mark.parametrize("a", ["row", "col"])
@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_wmma(name: str, a: str, b: str) -> None:
    draws = np.random.default_rng(1)
    x, y, c = (draws.integers(-4, 5, (16, 16)).astype(np.float32) for _ in range(3))
    given = [nearest(name, x if a == "row" else x.T), np.zeros((16, 24), np.uint16), np.ascontiguousarray(c.T)]
    given[1][:, :16] = nearest(name, y if b == "row" else y.T)  # rows 24 apart
    got = kernels().run(Launch(f"wmma_{name}_{a}_{b}", (1, 1, 1), (32, 1, 1)), given)[-1]
    np.testing.assert_array_equal(got, x @ y + c + 1)


def test_lanes_together() -> None:
    x, i = np.random.default_rng(2).integers(0, 100, 32).astype(np.int32), np.arange(32)
    got = kernels().run(Launch("shuffles", (1, 1, 1), (32, 1, 1)), [x, np.zeros(224, np.int32)])[-1].reshape(7, 32)
    np.testing.assert_array_equal(got[0], x[i // 8 * 8 + 5])
    np.testing.assert_array_equal(got[1], x[np.where(i < 3, i, i - 3)])
    np.testing.assert_array_equal(got[2], x[np.where(i % 16 + 3 > 15, i, i + 3) % 32])
    np.testing.assert_array_equal(got[3], x[i ^ 1])
    assert (got[4].view(np.uint32) == np.sum((x % 2).astype(np.uint64) << i.astype(np.uint64))).all()
    assert (got[5] == 3).all()
    np.testing.assert_array_equal(got[6][:19], x[1:20])
    assert got[6][19] == -1  # of a lane that takes no part: undefined on the device


@pytest.mark.parametrize("seed", [1, 2])
def test_atomics_and_places(seed: int) -> None:
    given = [np.zeros(1, np.float32), np.zeros(1, np.int32), np.zeros(1, np.uint32)]
    total, most, bits = kernels().run(Launch("atomics", (3, 1, 1), (32, 1, 1)), given, Order(seed))
    assert (total, most, bits) == ([192.0], [31], [0xFFFFFFFF])
    y = kernels().run(Launch("places", (2, 3, 1), (4, 2, 1)), [np.zeros((3, 2, 2, 4), np.int32)], Order(seed))[0]
    block_y, block_x, thread_y, thread_x = np.indices(y.shape)
    np.testing.assert_array_equal(y, thread_x + 10 * thread_y + 100 * block_x + 1000 * block_y)
