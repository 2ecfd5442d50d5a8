"""What a GPU does at most: bytes that it copies within its memory, and multiply-adds on tensor cores and on ordinary units, whose kernels are
compiled before.
"""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from convc.backends.tvm.cuda.emulator.device import as_module, is_emulated
from convc.backends.tvm.gpus.architectures import Architecture
from convc.backends.tvm.gpus.driver import DRIVER
from convc.backends.tvm.gpus.streams import Event, Stream
from convc.backends.tvm.host import tvm
from convc.ir.errors import KernelFault

__all__ = [
    "FULL",
    "KERNEL",
    "ORDINARY",
    "PEAKS",
    "THREADS",
    "TINY",
    "Peak",
    "Scale",
    "bandwidth",
    "ordinary_peak",
    "peak",
    "write_peak_kernels",
]

KERNEL, THREADS = "peak", 256  # of each of the kernels below
CHAINS = 8  # sums that do not wait for each other
REGISTERS = ", ".join(f'"+f"(c[j][{i}])' for i in range(4))
BY_WARPS = f"""extern "C" __global__ void __launch_bounds__({THREADS}) {KERNEL}(float* out, int turns) {{
  float c[{CHAINS}][4];
  unsigned a0 = threadIdx.x, a1 = 1, a2 = 2, a3 = 3, b0 = 4, b1 = 5;
  for (int j = 0; j < {CHAINS}; j++) for (int i = 0; i < 4; i++) c[j][i] = 0;
  for (int turn = 0; turn < turns; turn++) {{
#pragma unroll
    for (int j = 0; j < {CHAINS}; j++)
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
                   : {REGISTERS} : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }}
  float sum = 0;
  for (int j = 0; j < {CHAINS}; j++) for (int i = 0; i < 4; i++) sum += c[j][i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}}
"""
# Two groups of warps multiply 64 rows by 256 columns, which both lie in shared memory, swizzled by 128 bytes; four products are a turn.
SUMS = 128
GROUP_SUMS, GROUP_REGISTERS = (", ".join(form.format(i) for i in range(SUMS)) for form in ("%{0}", '"+f"(c[{0}])'))
BY_GROUPS = f"""extern "C" __global__ void __launch_bounds__({THREADS}) {KERNEL}(float* out, int turns) {{
  __shared__ alignas(1024) unsigned s[(64 + 256) * 128 / 4];
  for (int i = threadIdx.x; i < (64 + 256) * 128 / 4; i += {THREADS}) s[i] = 0;
  asm volatile("fence.proxy.async;" : : : "memory");
  __syncthreads();
  unsigned long long at = (unsigned)__cvta_generic_to_shared(s) / 16, shape = 1ull << 62 | 64ull << 32 | 1ull << 16;
  float c[{SUMS}];
  for (int i = 0; i < {SUMS}; i++) c[i] = 0;
  for (int turn = 0; turn < turns; turn++) {{
    asm volatile("wgmma.fence.sync.aligned;" : : : "memory");
#pragma unroll
    for (int k = 0; k < 4; k++)
      asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {{{GROUP_SUMS}}}, %{SUMS}, %{SUMS + 1}, 1, 1, 1, 0, 0;"
                   : {GROUP_REGISTERS} : "l"(shape | at + 2 * k), "l"(shape | at + 64 * 128 / 16 + 2 * k));
    asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");
    asm volatile("wgmma.wait_group.sync.aligned 1;" : : : "memory");
  }}
  asm volatile("wgmma.wait_group.sync.aligned 0;" : : : "memory");
  __syncthreads();
  for (int i = 0; i < {SUMS}; i++) s[threadIdx.x] += (unsigned)c[i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = s[threadIdx.x];
}}
"""
BY_UNITS = f"""extern "C" __global__ void __launch_bounds__({THREADS}) {KERNEL}(float* out, int turns) {{
  float c[{CHAINS}], a = threadIdx.x * 1e-3f, b = 1.0f / (1 + turns);
  for (int j = 0; j < {CHAINS}; j++) c[j] = j;
  for (int turn = 0; turn < turns; turn++) {{
#pragma unroll
    for (int j = 0; j < {CHAINS}; j++) c[j] = c[j] * b + a;
  }}
  float sum = 0;
  for (int j = 0; j < {CHAINS}; j++) sum += c[j];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}}
"""


@dataclass(frozen=True, slots=True)
class Peak:
    """What multiplies, a kernel that does nothing else, and its multiply-adds: of a block in one turn."""

    instruction: str
    text: str
    macs: int

    def file(self, folder: Path, ending: str) -> Path:
        return folder / f"{self.instruction}.{ending}"


PEAKS = (
    Peak("wgmma", BY_GROUPS, THREADS // 128 * 4 * 64 * 256 * 16),
    Peak("mma.sync", BY_WARPS, THREADS // 32 * CHAINS * 16 * 8 * 16),
)
ORDINARY = Peak("fma", BY_UNITS, THREADS * CHAINS)  # in float32


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. Units: `bytes` copied; `turns` of a block's sums on so many `blocks`; `runs` of each, after `warm` seconds."""

    bytes: int
    blocks: int
    turns: int
    runs: int
    warm: float = 0.0


FULL = Scale(1 << 30, 132 * 8, 4096, 50, 0.3)
TINY = Scale(1 << 12, 1, 1, 2)  # for the emulator, which tells no time


class _Launch(ctypes.Structure):
    """CUlaunchConfig"""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    )


def write_peak_kernels(folder: Path, arch: Architecture) -> None:
    """That of the instruction by which networks in 16 bits multiply there, and that of ordinary units.

    Raises: CalledProcessError where nvcc refuses it; FileNotFoundError without nvcc.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_groups, by_warps = PEAKS
    for chosen in (by_groups if arch.wgmma else by_warps, ORDINARY):
        source = chosen.file(folder, "cu")
        source.write_text(chosen.text, encoding="utf-8")
        command = ["nvcc", "-cubin", f"-arch={arch.name}", str(source), "-o", str(chosen.file(folder, "cubin"))]
        subprocess.run(command, check=True, capture_output=True)


def bandwidth(scale: Scale) -> float:
    """Bytes a second, read and written, of a copy within the device's memory: the fastest of some."""
    host, stream = tvm(), Stream()
    there, other = (host.runtime.empty((scale.bytes,), "uint8", host.cuda(0)) for _ in range(2))
    events = [Event() for _ in range(scale.runs + 2)]
    for event in events:
        stream.copy(other.data_ptr(), there.data_ptr(), scale.bytes)
        event.record(stream)
    stream.wait()
    return 2 * scale.bytes / _fastest(events)


def peak(folder: Path, scale: Scale) -> tuple[str, float]:
    """What multiplies in the kernel that was prepared, and multiply-adds a second, float16 in and float32 out.

    Raises: KernelFault where the driver refuses the kernel; FileNotFoundError where none was prepared.
    """
    chosen = next((each for each in PEAKS if each.file(folder, "cubin").exists()), PEAKS[-1])
    return chosen.instruction, _rate(chosen, folder, scale)


def ordinary_peak(folder: Path, scale: Scale) -> float:
    """Multiply-adds a second in float32, which tensor cores have no part in. Raises as `peak` does."""
    return _rate(ORDINARY, folder, scale)


def _rate(chosen: Peak, folder: Path, scale: Scale) -> float:
    host, stream, driver = tvm(), Stream(), ctypes.CDLL(DRIVER)
    out = host.runtime.empty((scale.blocks * THREADS,), "float32", host.cuda(0))
    image = as_module(chosen.text) if is_emulated() else chosen.file(folder, "cubin").read_bytes()
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _taken(driver, driver.cuModuleLoadData(ctypes.byref(module), image))
    _taken(driver, driver.cuModuleGetFunction(ctypes.byref(function), module, KERNEL.encode()))
    place, turns = ctypes.c_void_p(out.data_ptr()), ctypes.c_int(scale.turns)
    given = (ctypes.c_void_p * 2)(*(ctypes.addressof(each) for each in (place, turns)))
    launch = _Launch((scale.blocks, 1, 1), (THREADS, 1, 1), 0, stream.handle, None, 0)
    events = [Event() for _ in range(scale.runs + 2)]
    for event in events:
        _taken(driver, driver.cuLaunchKernelEx(ctypes.byref(launch), function, given, None))
        event.record(stream)
    stream.wait()
    return scale.blocks * chosen.macs * scale.turns / _fastest(events)


def _fastest(events: list[Event]) -> float:
    """Seconds between two neighbours, the first pair left out."""
    return min(after.since(before) for before, after in pairwise(events[1:])) / 1e3


def _taken(driver: Any, error: int) -> None:
    if error:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(error, ctypes.byref(text))
        raise KernelFault(f"the kernel that finds the peak is refused: {(text.value or b'').decode()}")
