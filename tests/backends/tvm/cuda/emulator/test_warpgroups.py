"""wgmma: a product that is right however early or late it is computed, and what is forgotten around it, found."""

from __future__ import annotations

import re

import numpy as np
import pytest

from convc.backends.tvm.cuda.emulator.kernels import Kernels, Launch
from convc.backends.tvm.cuda.emulator.machine import Order
from convc.backends.tvm.cuda.emulator.sanitize import sanitized
from convc.ir.errors import KernelFault
from convc.ir.types import Array

# y = a b for 128 rows, 256 deep, by 8 columns; two warpgroups of 64 rows; a ring of three slots of 64 columns of a and rows of b, swizzled by
# 128 bytes. While one is multiplied, and the one before may still be read by the other warpgroup, the next is filled.
PRODUCT = r"""
#define SLOTS 3
#define STEPS 4
#define SLOT (128 * 128 + 8 * 128)
#define AT(row, chunk) ((row) * 128 + (((chunk) ^ (row) % 8) * 16))
#define SHAPE ((uint64_t)1 << 16 | (uint64_t)64 << 32 | (uint64_t)1 << 62)
inline __device__ void fill(uint32_t s, const half* a, const half* b, int k) {
  int t = threadIdx.x;
  uint32_t to = s + k % SLOTS * SLOT;
  for (int row = t / 8; row < 128; row += 32) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(to + AT(row, t % 8)), "l"(a + row * 256 + k * 64 + t % 8 * 8));
  if (t < 64) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(to + 128 * 128 + AT(t / 8, t % 8)), "l"(b + t / 8 * 256 + k * 64 + t % 8 * 8));
}
extern "C" __global__ void __launch_bounds__(256) product(const half* a, const half* b, float* y) {
  extern __shared__ __align__(1024) half memory[];
  uint32_t s = (uint32_t)__cvta_generic_to_shared(memory);
  int t = threadIdx.x;
  float d[4];
  for (int i = 0; i < 4; i++) d[i] = 1;
  for (int k = 0; k < SLOTS - 2; k++) {
    fill(s, a, b, k);
    asm volatile("cp.async.commit_group;");
  }
  for (int k = 0; k < STEPS; k++) {
    asm volatile("cp.async.wait_group 0;" : : : "memory");
    asm volatile("fence.proxy.async.shared::cta;" : : : "memory");
    __syncthreads();
    uint32_t from = s + k % SLOTS * SLOT;
    asm volatile("wgmma.fence.sync.aligned;" : : : "memory");
    for (int part = 0; part < 4; part++)
      asm volatile("{ .reg .pred p; setp.ne.b32 p, %6, 0; wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, %4, %5, p, 1, 1, 0, 0; }"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(SHAPE | (from + t / 128 * 64 * 128) / 16 + 2 * part), "l"(SHAPE | (from + 128 * 128) / 16 + 2 * part), "r"(1));
    asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");
    asm volatile("wgmma.wait_group.sync.aligned 1;" : : : "memory");
    if (k + SLOTS - 2 < STEPS) fill(s, a, b, k + SLOTS - 2);
    asm volatile("cp.async.commit_group;");
  }
  asm volatile("wgmma.wait_group.sync.aligned 0;" : : : "memory");
  asm volatile("cp.async.wait_group 0;" : : : "memory");
  for (int i = 0; i < 4; i++) y[(t / 32 * 16 + t % 32 / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = d[i] - 1;
}
"""
SLOT_BYTES = 128 * 128 + 8 * 128
LAUNCH = Launch("product", (1, 1, 1), (256, 1, 1), 3 * SLOT_BYTES)
FENCE, COMMIT = (
    'asm volatile("wgmma.fence.sync.aligned;" : : : "memory");',
    'asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");',
)
PROXY, WAIT = 'asm volatile("fence.proxy.async.shared::cta;" : : : "memory");', 'asm volatile("cp.async.wait_group 0;" : : : "memory");'
LAST = 'asm volatile("wgmma.wait_group.sync.aligned 0;" : : : "memory");'
# What is changed, to what, and what comes of it where copies and products are as early as they may be, only the copies, and neither: "right",
# "wrong", or the sentence of the fault.
UNFENCED, CHANGED = "copied by cp.async, with no fence.proxy.async", "changes registers that wgmma adds up in"
PLANTED = {
    "no wgmma.fence": (FENCE, "", *["without a wgmma.fence before"] * 3),
    "no wgmma.fence after registers change": (FENCE, f"if (k == 0) {{ {FENCE} }} else d[0] += k;", *[CHANGED] * 3),
    "no commit": (COMMIT, "", "right", "wrong|ends with 16 products of wgmma that nobody waited for", "ends with 16 products of wgmma that nobody waited for"),
    "no last wait": (LAST, "", "right", *["ends with 4 products of wgmma that nobody waited for"] * 2),
    "a wait one group short": (LAST, LAST.replace("0;", "1;"), "right", *["ends with 4 products of wgmma that nobody waited for"] * 2),
    "a wait after the results are taken": (LAST, "float e[4] = {d[0], d[1], d[2], d[3]};" + LAST + "for (int i = 0; i < 4; i++) d[i] = e[i];", "right", "wrong", "wrong"),
    "no wait before a slot is filled again": ("wait_group.sync.aligned 1", "wait_group.sync.aligned 2", "right", "wrong", "wrong"),
    "a ring one slot small": ("% SLOTS * SLOT", "% 2 * SLOT", "right", f"wrong|{UNFENCED}", "wrong"),
    "a stride of 7 rows": ("(uint64_t)64 << 32", "(uint64_t)56 << 32", *["wrong"] * 3),
    "swizzled by 64 bytes": ("(uint64_t)1 << 62", "(uint64_t)2 << 62", *["wrong"] * 3),
    "not swizzled": ("(uint64_t)1 << 62", "(uint64_t)0 << 62", *["wrong"] * 3),
    "a base offset": ("(uint64_t)1 << 62", "(uint64_t)1 << 62 | (uint64_t)1 << 49", *["with the descriptors .*, which are not emulated"] * 3),
    "steps within a row that are too short": ("(from + 128 * 128) / 16 + 2 * part", "(from + 128 * 128) / 16 + part", *["wrong"] * 3),
    "no fence between copies and products": (PROXY, "", *[UNFENCED] * 3),
    "a fence before the copies are there": (WAIT + "\n    " + PROXY, PROXY + WAIT, "right", "right", UNFENCED),
    "other operands in a warp": ("k % SLOTS * SLOT;\n    asm", "(k + (t < 32)) % SLOTS * SLOT;\n    asm", *["other operands by wgmma than its warpgroup"] * 3),
    "no barrier": ("__syncthreads();", "", *["wrong"] * 3),
}  # fmt: skip
ORDERS = {"early": (False, False), "early copies": (False, True), "late": (True, True)}


def operands() -> tuple[list[Array], Array]:
    draws = np.random.default_rng(0)
    a, b = draws.integers(-4, 5, (128, 256)), draws.integers(-4, 5, (8, 256))
    return [a.astype(np.float16), b.astype(np.float16), np.full((128, 8), np.nan, np.float32)], a @ b.T


def verdict(source: str, order: str) -> str:
    """What a few orders of threads say of it: right, wrong, or the fault."""
    kernels, (given, right), (late, late_products) = Kernels(source), operands(), ORDERS[order]
    for seed in range(4):
        try:
            got = kernels.run(LAUNCH, given, Order(seed, late=late, late_products=late_products))[-1]
        except KernelFault as fault:
            return str(fault)
        if not np.array_equal(got, right):
            return "wrong"
    return "right"


def planted(name: str) -> str:
    before, after, *_ = PLANTED[name]
    assert before in PRODUCT
    return PRODUCT.replace(before, after)


@pytest.mark.parametrize("order", ORDERS)
def test_a_product_is_right_early_and_late(order: str) -> None:
    assert verdict(PRODUCT, order) == "right"


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_show(name: str) -> None:
    _, _, *said = PLANTED[name]
    for order, each in zip(ORDERS, said, strict=True):
        assert re.search(each, verdict(planted(name), order)), order


def test_races_around_products_are_found() -> None:
    given = operands()[0]
    for late in (False, True):
        assert sanitized(PRODUCT, LAUNCH, given, "thread", Order(late=late)).lines == ()
    found = sanitized(planted("no barrier"), LAUNCH, given, "thread", Order(shuffled=False))
    assert any("data race" in line for line in found.lines), found.text[:2000]
