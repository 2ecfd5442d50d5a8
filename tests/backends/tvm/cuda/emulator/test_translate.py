"""CUDA source to C++: what stands in the place of assembly, shared memory and launches."""

from __future__ import annotations

import re

import pytest

from convc.backends.tvm.cuda.emulator.assembly import assembly_in_cpp
from convc.backends.tvm.cuda.emulator.cpp_text import closing, spaced, split
from convc.backends.tvm.cuda.emulator.translate import translate

GOLDEN = {
    '"cp.async.wait_group 1;" : : : "memory"': "{ { emu_cp_async_wait((1)); } }",
    '"cp.async.commit_group;"': "{ { emu_copies_commit(); } }",
    '"cp.async.cg.shared::cta.global.L2::128B [%0], [%1], 16;" :: "r"(to), "l"(from + 8) : "memory"': "{ { emu_cp_async(((to)), (void*)((from + 8)), (16), (16)); } }",
    '"ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "r"(at)': "{ { emu_ldmatrix<2, true>(emu_written((a), (b)), ((at))); } }",
    '"mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a), "r"(b), "r"(c)': (
        "{ { emu_mma<8, EMU_BF16, EMU_F32>(emu_written((d[0]), (d[1]), (d[2]), (d[3])), emu_read((a), (b)), emu_read((c)), emu_read((d[0]), (d[1]), (d[2]), (d[3]))); } }"
    ),
    # registers of its own, a predicate, strings in pieces
    '"{ .reg .pred p;\\n"\n" setp.ne.b32 p, %2, 0;\\n"\n" @!p mov.b32 %0, %1; }" : "=r"(x) : "r"(y), "r"(is)': (
        "{ bool ptx_p = 0; { (ptx_p) = (uint32_t)((is)) != (uint32_t)(0); } if (!(ptx_p)) { emu_move(((x)), ((y))); } }"
    ),
    '"st.shared.v2.f32 [%0 + 8], {%1, %2};" : : "r"(at), "f"(a), "f"(b)': "{ { emu_store<float>(emu_shared_pointer((emu_beyond((at), 8)), 8, 8), emu_read((a), (b))); } }",
    '"bar.sync 1, 64;"': "{ { emu_barrier((1), (64), __LINE__); } }",
    '"fence.proxy.async;" : : : "memory"': "{ { emu_proxy_fence(); } }",
    '"" : : : "memory"': "{  }",
    # what is not in the table is found when it is executed, and not before
    '"bmsk.clamp.b32 %0, 1, 2;" : "=r"(x)': '{ emu_fault("the PTX instruction bmsk.clamp.b32 with 3 operands is not emulated"); }',
    '"cp.async.wait_group;"': '{ emu_fault("the PTX instruction cp.async.wait_group with 0 operands is not emulated"); }',
}


@pytest.mark.parametrize("assembly", GOLDEN)
def test_assembly(assembly: str) -> None:
    assert assembly_in_cpp(assembly) == GOLDEN[assembly]


SOURCE = """// asm volatile("in a comment");
#define __asm__ asm
extern "C" __global__ void __launch_bounds__(128) scale(float* __restrict__ y, const half* x, int64_t n);
extern "C" __global__ void __launch_bounds__(128) scale(float* __restrict__ y, const half* x, int64_t n) {
  extern __shared__ __align__(16) uchar all[];
  __shared__ alignas(64) float one[4][32];  // __shared__ float none[1];
  __shared__ int two;
  asm volatile("cp.async.wait_all;\\n"
               : : : "memory");
  y[0] = one[0][0];
}
__global__ void plain() { printf("__shared__ int x[1];"); }
"""


def test_a_source() -> None:
    lines = translate(SOURCE).split("\n")
    start = lines.index('#line 1 "source.cu"') + 1
    assert lines[start : start + 4] == SOURCE.split("\n")[:4]
    assert lines[start + 4 : start + 12] == [
        "  uchar* all = (uchar*)emu_dynamic_shared();",
        "  float (&one)[4][32] = *(float(*)[4][32])emu_static_shared(0, sizeof(float[4][32]), 64);  // __shared__ float none[1];",
        "  int (&two) = *(int(*))emu_static_shared(1, sizeof(int), 16);",
        "  { { emu_cp_async_wait_all(); } }",
        ";",
        "  y[0] = one[0][0];",
        "}",
        '__global__ void plain() { printf("__shared__ int x[1];"); }',
    ]
    assert lines[start + 13 :] == [
        "static void emu_run_0(void** given) { (void)given; scale(*(float**)given[0], *(half**)given[1], *(int64_t*)given[2]); }",
        "static const int emu_sizes_0[] = {(int)sizeof(float*), (int)sizeof(half*), (int)sizeof(int64_t), 0};",
        "static void emu_run_1(void** given) { (void)given; plain(); }",
        "static const int emu_sizes_1[] = {0};",
        'extern "C" const emu_kernel emu_kernels[] = {',
        '{"scale", emu_run_0, 128, sizeof(float[4][32]) + sizeof(int) + 0, 3, emu_sizes_0},',
        '{"plain", emu_run_1, 1024, 0, 0, emu_sizes_1},',
        "{}};",
        "",
    ]


def test_text_of_cpp() -> None:
    text = "f(a[1, 2], \"x),(\", ')' /* ) */, g(h)) + 1"
    assert closing(text, 1) == text.rindex(")")
    assert split(text[2 : closing(text, 1)], ",") == ["a[1, 2]", '"x),("', "')' /* ) */", "g(h)"]
    assert split(" ", ",") == []
    assert split("a, ", ",") == ["a", ""]
    blanked = spaced(text)
    assert len(blanked) == len(text)
    assert re.sub(r"\s+", "", blanked) == "f(a[1,2],,,g(h))+1"
    with pytest.raises(ValueError, match=r"the \( at 1 is never closed"):
        closing("f(x", 1)
