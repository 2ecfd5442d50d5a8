"""Kernels that break a rule of the device: each is found, and said in a sentence. Planted in a product of matrices that is right."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from convc.backends.tvm.cuda.emulator.kernels import Kernels, Launch
from convc.backends.tvm.cuda.emulator.machine import Order, machine
from convc.backends.tvm.cuda.emulator.sanitize import sanitized
from convc.ir.errors import KernelFault, UsageError
from convc.ir.types import Array

WARP = ((1, 1, 1), (32, 1, 1))
# What each does by its own name, with the sentence that is said.
RULES = {
    "two_places": ("if (threadIdx.x < 16) { __syncthreads(); } else {\n__syncthreads(); }", r"is at the __syncthreads\(\) of line \d+ of the source while others are at that of line \d+"),
    "deadlock": ("if (threadIdx.x < 40) __syncthreads(); else while (__ballot_sync(0x0000ffff, 1)) {}", r"calls a vote with the mask 0000ffff, in which it is not"),
    "waits_for_none": ('asm volatile("bar.sync 1, 128;");', r"threads wait for each other without end: \(0,0,0\) in __syncthreads\(\), \(1,0,0\) in __syncthreads\(\)"),
    "half_a_warp": ("if (threadIdx.x < 16) y[0] = __shfl_sync(0xffffffff, y[0], 0); else __syncwarp();", "while lanes of its mask are in"),
    "barrier_of_no_warps": ('asm volatile("bar.sync 1, 40;");', "waits at barrier 1 for 40 threads, which is no multiple of 32"),
    "barrier_of_others": ('if (threadIdx.x < 32) { asm volatile("bar.sync 1, 64;"); } else { asm volatile("bar.sync 1, 96;"); }', "waits at barrier 1 for (64|96) threads, where others wait for (96|64)"),
    "no_such_barrier": ('asm volatile("bar.sync 16, 64;");', "names barrier 16; there are 16"),
    "width": ("y[0] = __shfl_sync(0xffffffff, y[0], 0, 24);", "shuffles by a width of 24, which is no power of two up to 32"),
    "mask": ("y[threadIdx.x] = __shfl_sync(threadIdx.x % 32 < 16 ? 0xffffffff : 0xffff0000, y[0], 0);", "with the mask ffffffff, where other lanes say|with the mask ffff0000, where other lanes say"),
    "lane_gone": ('if (threadIdx.x == 3) return; float r; asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=f"(r) : "r"(0));', "ldmatrix"),
    "beyond": ("y[1 << 10] = 1;", r"block \(0,0,0\), thread \(\d+,0,0\): touches memory \d+ bytes beyond an array of 256 bytes in global memory"),
    "before": ("y[-600] = 1;", "touches memory 2400 bytes before an array of 256 bytes in global memory|writes beside an array of 256 bytes"),
    "beside": ("y[-1 - (int)threadIdx.x] = 1;", "a thread writes beside an array of 256 bytes in global memory"),
    "dynamic": ("extern __shared__ float s[]; s[2048] = 1;", "touches memory 7936 bytes beyond the 256 of dynamic shared memory"),
    "dynamic_by_one": ("extern __shared__ float s[]; s[64] = 1;", "writes 0 bytes beyond the 256 of dynamic shared memory"),
    "static_by_one": ("__shared__ float s[4]; int i = 4; asm volatile(\"mov.b32 %0, %0;\" : \"+r\"(i)); s[i] = 1;", "a thread writes beyond a __shared__ array"),
    "misaligned": ('asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" : : "r"(0), "l"((char*)y + 4));', "copies 8 bytes by cp.async from an address that is no multiple of 8"),
    "twelve": ('asm volatile("cp.async.ca.shared.global [%0], [%1], 12;" : : "r"(0), "l"(y));', "copies 12 bytes by cp.async, which takes 4, 8 or 16"),
    "more_than_all": ('asm volatile("cp.async.ca.shared.global [%0], [%1], 8, 9;" : : "r"(0), "l"(y));', "copies 9 of 8 bytes by cp.async"),
    "misaligned_shared": ('asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" : : "r"(4), "l"(y));', "takes 8 bytes of shared memory at an address that is no multiple of 8"),
    "forgotten": ('asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" : : "r"(0), "l"(y));', "a thread ends with 1 copies of cp.async that nobody waited for"),
    "no_such_instruction": ('int r; asm volatile("bmsk.clamp.b32 %0, 1, 2;" : "=r"(r));', "the PTX instruction bmsk.clamp.b32 with 3 operands is not emulated"),
    "divides": ("int zero = 0; asm volatile(\"mov.b32 %0, 0;\" : \"+r\"(zero)); y[0] = 7 / zero;", "divides a whole number by 0"),
    "local": ("volatile float mine[1 << 18]; mine[threadIdx.x] = y[0]; mine[0] = 1; y[1] = mine[5];", "has more local memory than the emulator gives a thread"),
}  # fmt: skip
TALL = 'extern "C" __global__ void __launch_bounds__(128) tall(float* y) {}'
# Each lane a row, so many bytes after the row before: of eight, which are read at once, all may lie in the same banks.
CROWDED = """extern "C" __global__ void crowded(float* y) { float r; for (int pitch = 16; pitch <= 128; pitch *= 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=f"(r) : "r"((int)threadIdx.x % 8 * pitch)); } }"""
HEAD = 'extern "C" __global__ void __launch_bounds__(64) {}(float* y) {{ {} }}'


@cache
def rules() -> Kernels:
    return Kernels("\n".join([*(HEAD.format(name, body) for name, (body, _) in RULES.items()), CROWDED, TALL]))


@pytest.mark.parametrize("name", RULES)
def test_a_broken_rule_ends_the_launch(name: str) -> None:
    launch = Launch(name, (1, 1, 1), (64, 1, 1), 256)
    for order in (Order(1), Order(2)):
        with pytest.raises(KernelFault, match=RULES[name][1]) as raised:
            rules().run(launch, [np.zeros(64, np.float32)], order)
        assert str(raised.value).startswith(f"kernel {name}")


def test_a_launch_that_the_device_would_refuse() -> None:
    y = np.zeros(64, np.float32)
    with pytest.raises(KernelFault, match="is launched with 65 threads a block; it was compiled for 1 to 64"):
        rules().run(Launch("beyond", (1, 1, 1), (65, 1, 1)), [y])
    with pytest.raises(KernelFault, match="needs 240000 bytes of shared memory; a block has at most 232448"):
        rules().run(Launch("beyond", *WARP, 240000), [y])
    with pytest.raises(KernelFault, match="is launched on a grid of 1 x 70000 x 1 blocks"):
        rules().run(Launch("beyond", (1, 70000, 1), (32, 1, 1)), [y])
    with pytest.raises(KernelFault, match="is launched on a grid of 1 x 1 x 70000 blocks"):
        rules().run(Launch("beyond", (1, 1, 70000), (32, 1, 1)), [y])
    with pytest.raises(KernelFault, match="blocks of 1 x 1 x 65"):
        rules().run(Launch("tall", (1, 1, 1), (1, 1, 65)), [y])
    with pytest.raises(UsageError, match="the source has no kernel 'beyound'; it has two_places"):
        rules().run(Launch("beyound", *WARP), [y])
    with pytest.raises(UsageError, match=r"takes arguments of \[8\] bytes, and was given \[4\]"):
        rules().run(Launch("beyond", *WARP), [np.float32(1)])


def test_rows_that_lie_in_the_same_banks_are_read_one_after_another() -> None:
    machine().counters()
    rules().run(Launch("crowded", *WARP, 1024), [np.zeros(64, np.float32)])
    counted = machine().counters()
    assert (counted["ldmatrix_matrices"], counted["ldmatrix_cycles"]) == (4, 1 + 2 + 4 + 8)


def test_after_a_fault_the_machine_goes_on() -> None:
    good = Kernels('extern "C" __global__ void good(float* y) { __syncthreads(); y[threadIdx.x] = threadIdx.x; }')
    with pytest.raises(KernelFault):
        rules().run(Launch("two_places", (1, 1, 1), (64, 1, 1)), [np.zeros(64, np.float32)])
    np.testing.assert_array_equal(good.run(Launch("good", *WARP), [np.zeros(32, np.float32)])[0], np.arange(32))


# y = a b for 32 rows, 64 deep, by 8 columns; two warps of 16 rows; a ring of three slots of 16 columns of a and rows of b, filled ahead.
PRODUCT = r"""
#define SLOTS 3
#define SLOT (32 * 16 + 8 * 16)
extern "C" __global__ void __launch_bounds__(64) product(const half* a, const half* b, const float* bias, float* y) {
  extern __shared__ __align__(16) half s[];
  __shared__ float added[8];
  int t = threadIdx.x, lane = t % 32, warp = t / 32;
  if (t < 8) added[t] = bias[t];
  float d[4] = {0, 0, 0, 0};
  for (int k = 0; k < SLOTS - 1; k++) {
    half* to = s + k % SLOTS * SLOT;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"((uint32_t)__cvta_generic_to_shared(to + t * 8)), "l"(a + t / 2 * 64 + k * 16 + t % 2 * 8));
    if (t < 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"((uint32_t)__cvta_generic_to_shared(to + 512 + t * 8)), "l"(b + t / 2 * 64 + k * 16 + t % 2 * 8));
    asm volatile("cp.async.commit_group;");
  }
  for (int k = 0; k < 4; k++) {
    asm volatile("cp.async.wait_group 1;" : : : "memory");
    __syncthreads();
    int next = k + SLOTS - 1;
    if (next < 4) {
      half* to = s + next % SLOTS * SLOT;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"((uint32_t)__cvta_generic_to_shared(to + t * 8)), "l"(a + t / 2 * 64 + next * 16 + t % 2 * 8));
      if (t < 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"((uint32_t)__cvta_generic_to_shared(to + 512 + t * 8)), "l"(b + t / 2 * 64 + next * 16 + t % 2 * 8));
    }
    asm volatile("cp.async.commit_group;");
    half* from = s + k % SLOTS * SLOT;
    uint32_t fa[4], fb[2];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
      : "r"((uint32_t)__cvta_generic_to_shared(from + (warp * 16 + lane % 16) * 16 + lane / 16 * 8)));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(fb[0]), "=r"(fb[1])
      : "r"((uint32_t)__cvta_generic_to_shared(from + 512 + lane % 8 * 16 + lane / 8 % 2 * 8)));
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
  }
  for (int i = 0; i < 4; i++) {
    int row = warp * 16 + lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
    if (row < 30) y[row * 8 + column] = d[i] + added[column];
  }
}
"""
SLOT_BYTES = 2 * (32 * 16 + 8 * 16)
RIGHT = Launch("product", (1, 1, 1), (64, 1, 1), 3 * SLOT_BYTES)


def operands() -> tuple[list[Array], Array]:
    draws = np.random.default_rng(0)
    a, b, bias = draws.integers(-4, 5, (32, 64)), draws.integers(-4, 5, (8, 64)), draws.integers(-4, 5, 8)
    given = [a.astype(np.float16), b.astype(np.float16), bias.astype(np.float32), np.full((30, 8), np.nan, np.float32)]
    return given, (a @ b.T + bias)[:30]


def verdict(source: str, late: bool, launch: Launch = RIGHT) -> str:
    """What a few orders of threads say of it: right, wrong, or a fault."""
    kernels, (given, right) = Kernels(source), operands()
    for seed in range(6):
        try:
            got = kernels.run(launch, given, Order(seed, late=late))[-1]
        except KernelFault:
            return "fault"
        if not np.array_equal(got, right):
            return "wrong"
    return "right"


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
def test_the_product_is_right_in_every_order(late: bool) -> None:
    assert verdict(PRODUCT, late) == "right"


BARRIER, WAIT = "    __syncthreads();\n", "cp.async.wait_group 1;"
# What is changed, and where its results show it: when copies are late, early, or in both cases.
PLANTED = {
    "no barrier": (BARRIER, "", {"late": "wrong"}),
    "a wait one group short": (WAIT, "cp.async.wait_group 2;", {"late": "fault"}),
    "a ring one slot small": ("SLOTS * SLOT;", "(SLOTS - 1) * SLOT;", {"early": "wrong"}),
    "a test one row off": ("if (row < 30)", "if (row < 31)", {"late": "fault", "early": "fault"}),
    "memory that nobody wrote": ("if (t < 8) added", "if (t < 7) added", {"late": "wrong", "early": "wrong"}),
    "copies that are not committed": ('    asm volatile("cp.async.commit_group;");\n    half* from', "    half* from", {"late": "fault"}),
    "rows of the other warp": ("(warp * 16 + lane % 16)", "((1 - warp) * 16 + lane % 16)", {"late": "wrong", "early": "wrong"}),
    "a barrier for one warp": (BARRIER, "    if (warp) __syncthreads();\n", {"late": "wrong"}),
}  # fmt: skip


def planted(name: str) -> str:
    before, after, _ = PLANTED[name]
    assert before in PRODUCT
    return PRODUCT.replace(before, after)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_show(name: str) -> None:
    for how, what in PLANTED[name][2].items():
        assert verdict(planted(name), how == "late") == what, how


def test_launch_sizes_that_are_swapped_show() -> None:
    assert verdict(PRODUCT, True, Launch("product", (64, 1, 1), (1, 1, 1), 3 * SLOT_BYTES)) == "fault"


def test_less_shared_memory_than_the_ring_takes_shows() -> None:
    assert verdict(PRODUCT, True, Launch("product", (1, 1, 1), (64, 1, 1), 2 * SLOT_BYTES)) == "fault"


def test_sanitizers_find_nothing_where_nothing_is() -> None:
    given, right = operands()
    for late in (False, True):
        found = sanitized(PRODUCT, RIGHT, given, "thread", Order(late=late))
        assert found.lines == ()
        np.testing.assert_array_equal(found.arrays[-1], right)


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
def test_a_race_is_found_whichever_thread_came_first(late: bool) -> None:
    found = sanitized(planted("no barrier"), RIGHT, operands()[0], "thread", Order(late=late, shuffled=False))
    assert any("ThreadSanitizer: data race" in line and "source.cu:" in line for line in found.lines), found.text[:2000]


BLOCKS = 'extern "C" __global__ void blocks(float* y, int stride) { y[blockIdx.x * stride + threadIdx.x] = 1; }'


def test_blocks_that_write_to_one_place_race() -> None:
    launch, y = Launch("blocks", (2, 1, 1), (32, 1, 1)), np.zeros(64, np.float32)
    assert sanitized(BLOCKS, launch, [y, np.int32(32)]).lines == ()
    assert any("data race" in line for line in sanitized(BLOCKS, launch, [y, np.int32(31)]).lines)


def test_memory_and_undefined_behaviour_are_looked_at() -> None:
    source = 'extern "C" __global__ void f(float* y, int64_t i, int n) { y[i] = n << i; }'
    launch, y = Launch("f", (1, 1, 1), (1, 1, 1)), np.zeros(30, np.float32)

    def said(i: int) -> str:
        return " ".join(sanitized(source, launch, [y, np.int64(i), np.int32(1)], "address,undefined").lines)

    assert said(3) == ""
    assert "heap-buffer-overflow" in said(30)
    assert "runtime error: shift exponent -1 is negative" in said(-1)
    with pytest.raises(UsageError, match="unknown sanitizer 'memory'; known are thread and address,undefined"):
        sanitized(source, launch, [], "memory")
