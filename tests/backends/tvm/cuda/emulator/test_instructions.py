"""Each PTX instruction of the table against what the PTX ISA says of it, in NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from convc.backends.tvm.cuda.emulator.kernels import Kernels, Launch
from convc.backends.tvm.cuda.emulator.machine import Order, machine
from convc.backends.tvm.cuda.emulator.ptx import INSTRUCTIONS
from convc.ir.types import Array

LANES = np.arange(32)
DRAWS = np.random.default_rng(0)
FLOATS = {"f16": np.float16, "bf16": np.float32, "tf32": np.float32}  # whose values these NumPy types have too


@dataclass(frozen=True)
class Registers:
    """An instruction on registers: `out` from operands of the types `types`, letters of asm constraints; `means` says it of arrays."""

    code: str
    out: str
    types: str
    means: Callable[..., Array]


def bits_of(values: Array, kind: str) -> Array:
    """As 16 bits, or as 32 for tf32."""
    if kind == "f16":
        return values.astype(np.float16).view(np.uint16)
    return (
        values.astype(np.float32).view(np.uint32) if kind == "tf32" else (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    )


def exact(shape: tuple[int, ...], kind: str) -> Array:
    """Numbers that the kind has, of so few digits that sums of products are exact in float16."""
    return DRAWS.integers(-4, 5, shape).astype(FLOATS[kind])


def packed(high: Array, low: Array, kind: str) -> Array:
    return bits_of(high, kind).astype(np.uint32) << 16 | bits_of(low, kind)


def rounded_to_bf16(x: Array) -> Array:
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def rounded_to_tf32(x: Array) -> Array:
    return (x.view(np.uint32) + 0x1000) & np.uint32(0xFFFFE000)


REGISTERS = [
    Registers("mov.b32 %0, %1;", "r", "r", lambda a: a),
    Registers("mov.f32 %0, %1;", "f", "f", lambda a: a),
    Registers("mov.b32 %0, %1;", "r", "f", lambda a: a.view(np.uint32)),
    Registers("{ .reg .b64 w; cvt.u64.u32 w, %1; mov.u64 w, w; cvt.u32.u64 %0, w; }", "r", "r", lambda a: a),
    Registers(
        "{ .reg .pred p; setp.lt.s32 p, %1, %2; selp.b32 %0, %1, %2, p; }",
        "r",
        "rr",
        lambda a, b: np.where(a.view(np.int32) < b.view(np.int32), a, b),
    ),
    Registers(
        "{ .reg .pred p; setp.ge.f32 p, %1, 0; mov.b32 %0, 7; @p mov.b32 %0, 1; @!p mov.b32 %0, 2; }",
        "r",
        "f",
        lambda a: np.where(a >= 0, 1, 2),
    ),
    Registers("cvt.rn.f16x2.f32 %0, %1, %2;", "r", "ff", lambda a, b: packed(a, b, "f16")),
    Registers("cvt.rn.bf16x2.f32 %0, %1, %2;", "r", "ff", lambda a, b: packed(rounded_to_bf16(a), rounded_to_bf16(b), "bf16")),
    Registers("cvt.rna.tf32.f32 %0, %1;", "r", "f", rounded_to_tf32),
    Registers("fma.rn.f32 %0, %1, %2, %3;", "f", "fff", lambda a, b, c: (a.astype(np.float64) * b + c).astype(np.float32)),
    Registers("ex2.approx.ftz.f32 %0, %1;", "f", "f", np.exp2),
    Registers("lg2.approx.f32 %0, %1;", "f", "f", lambda a: np.log2(a)),
    Registers("rcp.approx.ftz.f32 %0, %1;", "f", "f", lambda a: 1 / a),
    Registers("rsqrt.approx.f32 %0, %1;", "f", "f", lambda a: 1 / np.sqrt(a)),
    Registers("tanh.approx.f32 %0, %1;", "f", "f", np.tanh),
    # what orders, hints or waits changes nothing by itself
    Registers(
        "fence.proxy.async.shared::cta; griddepcontrol.wait; griddepcontrol.launch_dependents; prefetch.global.L2 [%1]; mov.b32 %0, 3;",
        "r",
        "r",
        lambda a: 3 + 0 * a,
    ),
    Registers(
        "wgmma.fence.sync.aligned; wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; bar.warp.sync 0xffffffff; mov.b32 %0, 4;",
        "r",
        "r",
        lambda a: 4 + 0 * a,
    ),
]
CPP = {"r": "uint32_t", "f": "float"}


def register_kernel(number: int, case: Registers) -> str:
    names = "abc"[: len(case.types)]
    given = ", ".join(f"const {CPP[kind]}* {name}" for name, kind in zip(names, case.types, strict=True))
    read = ", ".join(f'"{kind}"({name}[i])' for name, kind in zip(names, case.types, strict=True))
    body = f'{CPP[case.out]} r = 0; asm volatile("{case.code}" : "=&{case.out}"(r) : {read}); out[i] = r;'
    return f'extern "C" __global__ void registers_{number}({given}, {CPP[case.out]}* out) {{ int i = threadIdx.x; {body} }}'


MMA = [
    ("f16", "f32", 8),
    ("f16", "f32", 16),
    ("f16", "f16", 8),
    ("f16", "f16", 16),
    ("bf16", "f32", 8),
    ("bf16", "f32", 16),
    ("tf32", "f32", 4),
    ("tf32", "f32", 8),
]


def mma_kernel(kind: str, sums: str, k: int) -> str:
    a, b = (k // 4, k // 8) if kind != "tf32" else (k // 2, k // 4)
    d, letter, word = (4, "f", "float") if sums == "f32" else (2, "r", "uint32_t")
    numbers = iter(range(100))
    groups = ["{" + ", ".join(f"%{next(numbers)}" for _ in range(count)) + "}" for count in (d, a, b, d)]
    out = ", ".join(f'"={letter}"(d[{i}])' for i in range(d))
    read = ", ".join(
        [
            *(f'"r"(a[{a} * i + {j}])' for j in range(a)),
            *(f'"r"(b[{b} * i + {j}])' for j in range(b)),
            *(f'"{letter}"(c[{d} * i + {j}])' for j in range(d)),
        ]
    )
    name = f"mma.sync.aligned.m16n8k{k}.row.col.{sums}.{kind}.{kind}.{sums}"
    code = f'{word} d[{d}]; asm volatile("{name} {", ".join(groups)};" : {out} : {read}); for (int j = 0; j < {d}; j++) out[{d} * i + j] = d[j];'
    return f'extern "C" __global__ void mma_{kind}_{sums}_{k}(const uint32_t* a, const uint32_t* b, const {word}* c, {word}* out) {{ int i = threadIdx.x; {code} }}'


def matrix_kernels(count: int, trans: str) -> str:
    names = [f"r{i}" for i in range(count)]
    registers = "{" + ", ".join(f"%{i}" for i in range(count)) + "}"
    out, read = (", ".join(f'"{how}"({name})' for name in names) for how in ("=r", "r"))
    store = registers.replace("%", "%_").replace("%_", "%")
    shift = re.sub(r"%(\d+)", lambda match: f"%{int(match[1]) + 1}", store)
    tag = f"{count}{trans.replace('.', '_')}"
    enter = "__shared__ alignas(16) uint16_t m[256]; int i = threadIdx.x; for (int j = i; j < 256; j += 32) m[j] = x[j]; __syncwarp(); uint32_t at = (uint32_t)__cvta_generic_to_shared(m + 8 * i);"
    load = f'asm volatile("ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {registers}, [%{count}];" : {out} : "r"(at));'
    keep = f'asm volatile("stmatrix.sync.aligned.m8n8.x{count}{trans}.shared::cta.b16 [%0], {shift};" : : "r"(at), {read});'
    declared = f"uint32_t {', '.join(names)};"
    return "\n".join(
        [
            f'extern "C" __global__ void load_{tag}(const uint16_t* x, uint32_t* y) {{ {enter} {declared} {load} '
            + " ".join(f"y[{j} + {count} * i] = r{j};" for j in range(count))
            + " }",
            f'extern "C" __global__ void store_{tag}(const uint16_t* x, const uint32_t* given, uint16_t* y) {{ {enter} {declared} '
            + " ".join(f"r{j} = given[{j} + {count} * i];" for j in range(count))
            + f" {keep} __syncwarp(); for (int j = i; j < 256; j += 32) y[j] = m[j]; }}",
        ]
    )


MATRICES = [(count, trans) for count in (1, 2, 4) for trans in ("", ".trans")]

ENTER = "__shared__ alignas(16) uint32_t s[128]; int i = threadIdx.x; for (int k = 0; k < 128; k += 32) s[k + i] = 9; __syncthreads();"
LEAVE = "__syncthreads(); for (int k = 0; k < 128; k += 32) y[k + i] = s[k + i];"
COPIES = r"""
COPY(16) { ENTER asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"((uint32_t)__cvta_generic_to_shared(s + 4 * i)), "l"(x + 4 * i)); asm volatile("cp.async.commit_group;"); asm volatile("cp.async.wait_group 0;"); LEAVE }
COPY(8) { ENTER asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 8;" : : "r"((uint32_t)__cvta_generic_to_shared(s + 2 * i)), "l"(x + 2 * i)); asm volatile("cp.async.wait_all;"); LEAVE }
COPY(4) { ENTER asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" : : "r"((uint32_t)__cvta_generic_to_shared(s + i)), "l"(x + i), "r"(i % 5)); asm volatile("cp.async.wait_all;"); LEAVE }
COPY(groups) {  // three groups of a copy each; waiting for all but one leaves the last
  ENTER
  for (int k = 0; k < 3; k++) {
    asm volatile("{ .reg .u64 g; mov.u64 g, %1; cp.async.ca.shared::cta.global [%0], [g], 4; }" : : "r"((uint32_t)__cvta_generic_to_shared(s + 32 * k + i)), "l"(x + 32 * k + i));
    asm volatile("cp.async.commit_group;");
  }
  asm volatile("cp.async.wait_group 1;" : : : "memory");
  LEAVE
  asm volatile("cp.async.wait_all;");
}
extern "C" __global__ void memory(const float* x, float* y) {
  __shared__ alignas(16) float s[128];
  int i = threadIdx.x;
  float a, b, c, d;
  uint32_t at;
  asm volatile("{ .reg .b64 w; cvta.to.shared.u64 w, %1; cvt.u32.u64 %0, w; }" : "=r"(at) : "l"(s));
  asm volatile("ld.global.nc.L1::no_allocate.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(a), "=f"(b), "=f"(c), "=f"(d) : "l"(x + 4 * i));
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" : : "r"(at + 16 * i), "f"(a), "f"(b), "f"(c), "f"(d));
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2 + 8];" : "=f"(c), "=f"(d) : "r"(at + 16 * i));
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(a) : "r"(at + 16 * i));
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" : : "l"(y + 4 * i), "f"(a), "f"(b));
  asm volatile("st.global.f32 [%0], %1;\n st.global.f32 [%0 + 4], %2;" : : "l"(y + 4 * i + 2), "f"(c), "f"(d));
}
// warps 0 and 1 wait for each other at barrier 3, then all
extern "C" __global__ void barriers(uint32_t* y) {
  __shared__ uint32_t s[4];
  int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) s[warp] = warp + 1;
  if (warp < 2) asm volatile("bar.sync 3, 64;" : : : "memory");
  if (threadIdx.x == 0) s[0] += 10 * s[1];
  asm volatile("barrier.sync.aligned 0;" : : : "memory");
  y[threadIdx.x] = s[0] + s[2];
}
"""
GROUP = r"""
extern "C" __global__ void group_{kind}_{n}_{swizzle}(const uint16_t* x, const float* c, float* y) {{
  extern __shared__ alignas(1024) uint16_t s[];
  int t = threadIdx.x;
  for (int j = t; j < {values}; j += 128) s[j] = x[j];
  asm volatile("fence.proxy.async;" ::: "memory");
  __syncthreads();
  float d[{sums}];
  for (int j = 0; j < {sums}; j++) d[j] = c[{sums} * t + j];
  uint32_t a = (uint32_t)__cvta_generic_to_shared(s), b = (uint32_t)__cvta_generic_to_shared(s + {second});
  uint64_t shape = (uint64_t){leading} << 16 | (uint64_t){stride} << 32 | (uint64_t){swizzle} << 62;
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  asm volatile("{{ .reg .pred p; setp.ne.b32 p, %{flag}, 0; wgmma.mma_async.sync.aligned.m64n{n}k{k}.f32.{kind}.{kind} {{{registers}}}, %{a}, %{b}, p, 1, 1{turns}; }}"
    : {out} : "l"(shape | a >> 4), "l"(shape | b >> 4), "r"(1));
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  for (int j = 0; j < {sums}; j++) y[{sums} * (t + 128) + j] = d[j];
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  for (int j = 0; j < {sums}; j++) y[{sums} * t + j] = d[j];
}}
"""
PITCH = {0: 16, 1: 128, 2: 64, 3: 32}  # bytes of a row, by swizzle
GROUPS = [("f16", 8, 0), ("bf16", 24, 1), ("f16", 64, 2), ("f16", 256, 3), ("tf32", 16, 2)]


def group_kernel(kind: str, n: int, swizzle: int) -> str:
    sums, pitch = n // 2, PITCH[swizzle]
    second = 64 * pitch // 2 * (2 if swizzle == 0 else 1)  # without a swizzle the halves of K lie apart
    return GROUP.format(
        kind=kind,
        n=n,
        k=8 if kind == "tf32" else 16,
        turns="" if kind == "tf32" else ", 0, 0",
        swizzle=swizzle,
        sums=sums,
        values=second + n * pitch // 2 * (2 if swizzle == 0 else 1),
        second=second,
        leading=8 if swizzle == 0 else 1,
        stride=16 if swizzle == 0 else 8 * pitch // 16,
        registers=", ".join(f"%{i}" for i in range(sums)),
        out=", ".join(f'"+f"(d[{i}])' for i in range(sums)),
        a=sums,
        b=sums + 1,
        flag=sums + 2,
    )


SOURCE = "\n".join(
    [
        *(register_kernel(number, case) for number, case in enumerate(REGISTERS)),
        *(mma_kernel(*case) for case in MMA),
        *(matrix_kernels(*case) for case in MATRICES),
        re.sub(r"COPY\((\w+)\)", r'extern "C" __global__ void copies_\1(const uint32_t* x, uint32_t* y)', COPIES)
        .replace("ENTER", ENTER)
        .replace("LEAVE", LEAVE),
        *(group_kernel(*case) for case in GROUPS),
    ]
)
WARP = ((1, 1, 1), (32, 1, 1))


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels(SOURCE)


def test_every_instruction_is_tried_and_every_one_tried_is_known() -> None:
    said = set(re.findall(r"[a-z][a-z0-9]*(?:\.[\w:]+)*", " ".join(re.findall(r'"([^"]*)"', SOURCE))))
    assert [row.pattern for row in INSTRUCTIONS if not any(re.fullmatch(row.pattern.replace(".", r"\."), name) for name in said)] == []


@pytest.mark.parametrize("number", range(len(REGISTERS)), ids=lambda number: REGISTERS[number].code)
def test_registers(kernels: Kernels, number: int) -> None:
    case = REGISTERS[number]
    drawn = {
        "f": lambda: (abs(DRAWS.standard_normal(32)) if "lg2" in case.code or "rsqrt" in case.code else DRAWS.standard_normal(32)).astype(
            np.float32
        )
    }
    drawn["r"] = lambda: DRAWS.integers(0, 2**32, 32, np.uint32)
    given = [drawn[kind]() for kind in case.types]
    out = np.zeros(32, np.float32 if case.out == "f" else np.uint32)
    got = kernels.run(Launch(f"registers_{number}", *WARP), [*given, out])[-1]
    np.testing.assert_allclose(got, case.means(*given).astype(out.dtype), rtol=3e-7 if case.out == "f" else 0)


def fragment_columns(k: int, each: int) -> Array:
    """[32, k/4 of a row's registers, each]: which columns of a row of k a lane holds, `each` in a register."""
    return np.stack([part * 4 * each + (LANES % 4)[:, None] * each + np.arange(each) for part in range(k // (4 * each))], axis=1)


@pytest.mark.parametrize(("kind", "sums", "k"), MMA)
def test_mma_sync(kernels: Kernels, kind: str, sums: str, k: int) -> None:
    """a0 holds row lane/4, a1 row lane/4 + 8; then the next columns."""
    a, b, c = exact((16, k), kind), exact((k, 8), kind), exact((16, 8), "f16").astype(np.float32)
    each = 1 if kind == "tf32" else 2
    columns = fragment_columns(k, each)
    rows = LANES // 4
    words_a = np.stack([bits_of(a, kind)[(rows + 8 * half)[:, None, None], columns] for half in (0, 1)], axis=2)  # [lane, part, half, each]
    words_b = bits_of(b, kind)[columns, rows[:, None, None]]
    words_a, words_b = (np.ascontiguousarray(words).reshape(32, -1).view(np.uint32) for words in (words_a, words_b))
    cells = (rows[:, None] + 8 * (np.arange(4) // 2), 2 * (LANES % 4)[:, None] + np.arange(4) % 2)
    given = c[cells] if sums == "f32" else np.ascontiguousarray(c[cells].astype(np.float16)).view(np.uint32)
    machine().counters()
    got = kernels.run(Launch(f"mma_{kind}_{sums}_{k}", *WARP), [words_a, words_b, given, np.zeros_like(given)])[-1]
    got = got if sums == "f32" else got.view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(got, (a.astype(np.float64) @ b + c)[cells])
    assert machine().counters()["mma_macs"] == 16 * 8 * k


def fragments(matrices: Array, trans: str) -> Array:
    """[32, matrices]: lane 4r + c holds the values at columns 2c and 2c + 1 of row r."""
    turned = matrices.transpose(0, 2, 1) if trans else matrices
    pairs = turned[:, (LANES // 4)[:, None], 2 * (LANES % 4)[:, None] + np.arange(2)]  # [matrix, lane, 2]
    return np.ascontiguousarray(pairs.transpose(1, 0, 2)).view(np.uint32)[:, :, 0]


@pytest.mark.parametrize(("count", "trans"), MATRICES)
def test_matrices_are_loaded_and_stored(kernels: Kernels, count: int, trans: str) -> None:
    tag = f"{count}{trans.replace('.', '_')}"
    x, other = (DRAWS.integers(0, 2**16, 256, np.uint16) for _ in range(2))
    words = fragments(x.reshape(4, 8, 8)[:count], trans)
    machine().counters()
    loaded = kernels.run(Launch(f"load_{tag}", *WARP), [x, np.zeros_like(words)])[-1]
    np.testing.assert_array_equal(loaded, words)
    counted = machine().counters()
    assert (counted["ldmatrix"], counted["ldmatrix_matrices"], counted["ldmatrix_cycles"]) == (1, count, count)
    stored = kernels.run(Launch(f"store_{tag}", *WARP), [other, words, np.zeros_like(x)])[-1]
    np.testing.assert_array_equal(stored, np.concatenate([x[: 64 * count], other[64 * count :]]))


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
def test_copies(kernels: Kernels, late: bool) -> None:
    x, nothing = DRAWS.integers(0, 2**32, 128, np.uint32), np.zeros(128, np.uint32)

    def copied(name: str) -> Array:
        return kernels.run(Launch(f"copies_{name}", *WARP), [x, nothing], Order(late=late))[-1]

    nines = np.full(128, 9, np.uint32)
    np.testing.assert_array_equal(copied("16"), x)
    np.testing.assert_array_equal(copied("8"), np.concatenate([x[:64], nines[:64]]))
    kept = x[:32] & np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.uint32)[LANES % 5]  # the first bytes, and zeros
    np.testing.assert_array_equal(copied("4"), np.concatenate([kept, nines[:96]]))
    np.testing.assert_array_equal(copied("groups"), np.concatenate([x[: 64 if late else 96], nines[: 64 if late else 32]]))


def test_memory_and_barriers(kernels: Kernels) -> None:
    x = DRAWS.standard_normal(128).astype(np.float32)
    np.testing.assert_array_equal(kernels.run(Launch("memory", *WARP), [x, 0 * x])[-1], x)
    for seed in range(4):
        got = kernels.run(Launch("barriers", (1, 1, 1), (96, 1, 1)), [np.zeros(96, np.uint32)], Order(seed))[-1]
        np.testing.assert_array_equal(got, 24)


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
@pytest.mark.parametrize(("kind", "n", "swizzle"), GROUPS)
def test_wgmma(kernels: Kernels, kind: str, n: int, swizzle: int, late: bool) -> None:
    """Rows of 32 bytes are two chunks of 16; a swizzle changes their places by the address's higher bits. Before it is waited for, a product
    may be there or not.
    """
    k = 8 if kind == "tf32" else 16
    a, b, c = exact((64, k), kind), exact((n, k), kind), exact((64, n), "f16").astype(np.float32)
    places = []
    for matrix in (a, b):
        row, chunk = np.divmod(np.arange(2 * len(matrix)), 2)
        pitch = PITCH[swizzle]
        if swizzle == 0:
            at = row // 8 * 256 + chunk * 128 + row % 8 * 16
        else:
            at = row * pitch + chunk * 16
            at ^= (at >> 7 & (pitch // 16 - 1)) << 4
        memory = np.zeros((len(matrix) * pitch * (2 if swizzle == 0 else 1)) // 2, np.uint16)
        memory[(at // 2)[:, None] + np.arange(8)] = bits_of(matrix, kind).view(np.uint16).reshape(-1, 8)
        places.append(memory)
    thread, i = np.ogrid[:128, : n // 2]
    cells = (thread // 32 * 16 + thread % 32 // 4 + 8 * (i // 2 % 2), i // 4 * 8 + thread % 4 * 2 + i % 2)
    x, y = np.concatenate(places), np.zeros((256, n // 2), np.float32)
    machine().counters()
    got = kernels.run(Launch(f"group_{kind}_{n}_{swizzle}", (1, 1, 1), (128, 1, 1), x.nbytes), [x, c[cells], y], Order(late_products=late))[
        -1
    ]
    right = (a.astype(np.float64) @ b.T + c)[cells]
    np.testing.assert_array_equal(got[:128], right)
    np.testing.assert_array_equal(got[128:], c[cells] if late else right)
    counted = machine().counters()
    assert (counted["wgmma"], counted["mma_macs"]) == (1, 64 * n * k)
