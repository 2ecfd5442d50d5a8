"""What is counted of memory accesses, for kernels whose figures follow by arithmetic."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from convc.backends.tvm.cuda.emulator import traffic
from convc.backends.tvm.cuda.emulator.kernels import Launch
from convc.backends.tvm.cuda.emulator.traffic import Traffic, counted
from convc.ir.errors import BackendMissing, KernelFault, UsageError

COPY = 'asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"((uint32_t)__cvta_generic_to_shared({})), "l"({}), "r"({}));'
DONE = 'asm volatile("cp.async.wait_all;");'
MATRIX = 'uint32_t r[4]; asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%0, %1, %2, %3}}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"((uint32_t)__cvta_generic_to_shared(s + {})));'


@dataclass(frozen=True)
class Case:
    """What a warp's thread t does with x, y and v in global memory, s, s2 and s4 in shared, as floats and by 8 and 16 bytes; cost and least
    of all loads of `memory`, or stores, of so many bytes a lane.
    """

    body: str
    cost: int
    least: int
    memory: str = "global"
    is_store: bool = False
    nbytes: int = 4


CASES = {
    "neighbours": Case("y[t] = x[t];", 4, 4),
    "neighbours, stored": Case("y[t] = x[t];", 4, 4, is_store=True),
    "every other": Case("y[t] = x[2 * t];", 8, 4),
    "a row apart": Case("y[t] = x[32 * t];", 32, 4),
    "a row apart, stored": Case("y[32 * t] = t;", 32, 4, is_store=True),
    "backwards": Case("y[t] = x[31 - t];", 4, 4),
    "the same for all": Case("y[t] = x[5];", 1, 1),
    "by fours the same": Case("y[t] = x[t / 4];", 1, 1),
    "misaligned": Case("y[t] = x[t + 1];", 5, 4),
    "half of the lanes": Case("if (t % 2) y[t] = x[t];", 4, 2),
    "half of the warp": Case("if (t < 16) y[t] = x[t];", 2, 2),
    "2 bytes": Case("((half*)y)[t] = ((half*)x)[t + 1];", 3, 2, nbytes=2),
    "2 bytes, channels apart": Case("((half*)y)[t] = ((half*)x)[8 * t];", 16, 2, nbytes=2),
    "16 bytes": Case("v[t] = v[t + 32];", 16, 16, nbytes=16),
    "16 bytes, every other": Case("v[t] = v[2 * t];", 32, 16, nbytes=16),
    "16 bytes into registers": Case("half h[8]; *(uint4*)(h + 0) = v[t]; float sum = 0; for (int i = 0; i < 8; ++i) sum += (float)h[i]; y[t] = sum;", 16, 16, nbytes=16),
    "16 bytes by assembly": Case('float a, b, c, d; asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(a), "=f"(b), "=f"(c), "=f"(d) : "l"(x + 4 * t)); y[t] = a + d;', 16, 16, nbytes=16),
    "a loop": Case("float a = 0; for (int i = 0; i < 4; ++i) a += x[32 * i + t]; y[t] = a;", 16, 16),
    "rounds that lanes leave out": Case("for (int i = 0; i < 4; ++i) if (t / 8 != i) y[32 * i + t] = x[32 * i + t];", 12, 12),
    "rounds of two loops": Case("float a = 0; for (int i = 0; i < t % 3; ++i) y[t] = i; for (int i = 0; i < 3; ++i) { if (t / 8 == i) continue; for (int j = 0; j < 2; ++j) a += x[64 * i + 32 * j + t]; } y[t] = a;", 18, 18),
    "a loop that is left": Case("for (int i = 0; i < 4; ++i) { if (i > t / 8) break; y[t] = x[32 * i + t]; }", 10, 10),
    "while": Case("int i = 0; while (i < 4) { y[t] = x[32 * i + t]; i++; }", 16, 16),
    "atomics": Case("atomicAdd(y + 2 * t, 1.0f);", 8, 4, is_store=True),
    "shared, neighbours": Case("s[t] = t;", 1, 1, "shared", True),
    "shared, rows apart": Case("s[32 * t] = t;", 32, 1, "shared", True),
    "shared, every other": Case("s[2 * t] = t;", 2, 1, "shared", True),
    "shared, three apart": Case("s[3 * t] = t;", 1, 1, "shared", True),
    "shared, the same for all": Case("y[t] = s[7];", 1, 1, "shared"),
    "shared, two words of a bank": Case("y[t] = s[t % 2 * 32];", 2, 1, "shared"),
    "shared, 2 bytes": Case("((half*)s)[t] = half(1.0f);", 1, 1, "shared", True, 2),
    "shared, 8 bytes": Case("s2[t] = make_float2(1, 2);", 2, 2, "shared", True, 8),
    "shared, 16 bytes": Case("s4[t] = make_float4(1, 2, 3, 4);", 4, 4, "shared", True, 16),
    "shared, 16 bytes, every other": Case("s4[2 * t] = make_float4(1, 2, 3, 4);", 8, 4, "shared", True, 16),
    "shared, 16 bytes, rows of 36": Case("s4[t / 8 + t % 8 * 9] = make_float4(1, 2, 3, 4);", 4, 4, "shared", True, 16),
    "a transpose": Case("for (int i = 0; i < 32; ++i) s[32 * i + t] = x[t]; __syncthreads(); for (int i = 0; i < 32; ++i) y[t] += s[32 * t + i];", 1024, 32, "shared"),
    "a transpose with room": Case("for (int i = 0; i < 32; ++i) s[33 * i + t] = x[t]; __syncthreads(); for (int i = 0; i < 32; ++i) y[t] += s[33 * t + i];", 32, 32, "shared"),
    "cp.async": Case(COPY.format("s + 4 * t", "v + t", 16) + DONE, 16, 16, nbytes=16),
    "cp.async, filled with zeros": Case(COPY.format("s + 4 * t", "v + t", "t < 8 ? 16 : 0") + DONE, 4, 4, nbytes=16),
    "cp.async, into shared": Case(COPY.format("s + 8 * t", "v + t", "t < 8 ? 16 : 0") + DONE, 8, 4, "shared", True, 16),
    "ldmatrix": Case(MATRIX.format("32 * t") + "y[t] = r[0];", 32, 4, "shared", False, 16),
    "ldmatrix with room": Case(MATRIX.format("36 * t") + "y[t] = r[0];", 4, 4, "shared", False, 16),
}  # fmt: skip
HEAD = 'extern "C" __global__ void k{}(const float* x, float* y, uint4* v) {{\n  __shared__ alignas(16) float s[2048];\n  float2* s2 = (float2*)s; float4* s4 = (float4*)s; int t = threadIdx.x;\n  {}\n}}\n'
SOURCE = "".join(HEAD.format(number, case.body) for number, case in enumerate(CASES.values()))
ARRAYS = [np.zeros(1024, np.float32), np.zeros(1024, np.float32), np.zeros(512, np.uint32)]


def launched(kernel: str, source: str = SOURCE, blocks: int = 1, threads: int = 32) -> Traffic:
    return counted(source, Launch(kernel, (blocks, 1, 1), (threads, 1, 1)), ARRAYS)


@pytest.mark.parametrize("name", CASES)
def test_figures_are_those_of_arithmetic(name: str) -> None:
    case, number = CASES[name], list(CASES).index(name)
    found = [one for one in launched(f"k{number}").of(case.memory) if (one.is_store, one.nbytes) == (case.is_store, case.nbytes)]
    assert (sum(one.cost for one in found), sum(one.least for one in found)) == (case.cost, case.least)


CALLED = """
__device__ __attribute__((noinline)) float read(const float* x, int at) {
  return x[at];
}
extern "C" __global__ void f(const float* x, float* y, uint4* v) {
  float a = read(x, threadIdx.x);
  float b = read(x, 2 * threadIdx.x);
  y[threadIdx.x] = a + b;
}
"""


def test_each_line_has_its_own() -> None:
    """Of the kernel, also where a function accesses memory for two of them; the second warp has 8 lanes."""
    made = launched("f", CALLED, threads=40)
    assert [(one.line, one.is_store, one.times, one.cost, one.least) for one in made.accesses] == [
        (6, False, 2, 4 + 1, 5),
        (7, False, 2, 8 + 2, 5),
        (8, True, 2, 4 + 1, 5),
    ]
    assert made.accesses[1].text == "float b = read(x, 2 * threadIdx.x);"
    assert str(made.accesses[1]).startswith("line 7 loads 4 bytes, global: 10 sectors, at least 5")
    assert made.ratio("global") == 20 / 15
    assert made.ratio("shared") == 1.0


def test_a_block_loads_a_sector_once() -> None:
    """Both blocks the same 2 sectors, and the second time each nothing; what they store is stored each time."""
    source = 'extern "C" __global__ void f(const float* x, float* y, uint4* v) { int t = threadIdx.x; float a = x[t / 2]; __syncthreads(); y[t] = a + x[t / 4]; }'
    made = launched("f", source, blocks=2)
    loads, stores = (sum(one.moved for one in made.accesses if one.is_store == is_store) for is_store in (False, True))
    assert (loads, stores) == (2 * 2, 2 * 4)
    assert made.needed == 2 + 4
    assert made.moved_ratio == 12 / 6


def test_what_cannot_be_counted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    beyond = 'extern "C" __global__ void f(const float* x, float* y, uint4* v) { y[1 << 12] = x[0]; }'
    with pytest.raises(KernelFault, match=r"kernel f, block .* touches memory .* bytes beyond an array"):
        launched("f", beyond)
    with pytest.raises(UsageError, match="the source has no kernel 'g'; it has f"):
        launched("g", CALLED)
    with monkeypatch.context() as patch:
        patch.setattr(traffic, "is_clang", lambda: True)
        with pytest.raises(BackendMissing, match=r"accesses are counted in what g\+\+ makes of a kernel, not .*; set CXX=g\+\+"):
            launched("f", CALLED)
    monkeypatch.setattr(shutil, "which", lambda name: None)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(BackendMissing, match="told by addr2line, which is not found; install binutils"):
        launched("f", CALLED)
