"""What a GPU does at most: bytes that it copies within its memory, and multiply-adds of mma.sync, whose kernel is compiled before."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from convc.backends.tvm.cuda.emulator.device import as_module, is_emulated
from convc.backends.tvm.gpus.driver import DRIVER
from convc.backends.tvm.gpus.streams import Event, Stream
from convc.backends.tvm.host import tvm
from convc.ir.errors import KernelFault

__all__ = ["FULL", "TINY", "Scale", "bandwidth", "mma_peak", "write_peak_kernel"]

KERNEL, CUDA_SOURCE, CUBIN = "mma_peak", "peak.cu", "peak.cubin"
CHAINS = 8  # sums that do not wait for each other
MACS = 16 * 8 * 16  # of one mma.sync
WARPS = 8
REGISTERS = ", ".join(f'"+f"(c[j][{i}])' for i in range(4))
TEXT = f"""extern "C" __global__ void __launch_bounds__({WARPS * 32}) {KERNEL}(float* out, int turns) {{
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


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. Units: `bytes` copied; `turns` of a warp's sums on so many `blocks`; `runs` of each."""

    bytes: int
    blocks: int
    turns: int
    runs: int


FULL = Scale(1 << 30, 132 * 8, 4096, 20)
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


def write_peak_kernel(folder: Path, architecture: str) -> None:
    """Raises: CalledProcessError where nvcc refuses it; FileNotFoundError without nvcc."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / CUDA_SOURCE
    source.write_text(TEXT, encoding="utf-8")
    subprocess.run(["nvcc", "-cubin", f"-arch={architecture}", str(source), "-o", str(folder / CUBIN)], check=True, capture_output=True)


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


def mma_peak(folder: Path, scale: Scale) -> float:
    """Multiply-adds a second, float16 in and float32 out. wgmma, which none of our kernels uses so far, does more.

    Raises: KernelFault where the driver refuses the kernel.
    """
    host, stream, driver = tvm(), Stream(), ctypes.CDLL(DRIVER)
    out = host.runtime.empty((scale.blocks * WARPS * 32,), "float32", host.cuda(0))
    image = as_module(TEXT) if is_emulated() else (folder / CUBIN).read_bytes()
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _taken(driver, driver.cuModuleLoadData(ctypes.byref(module), image))
    _taken(driver, driver.cuModuleGetFunction(ctypes.byref(function), module, KERNEL.encode()))
    place, turns = ctypes.c_void_p(out.data_ptr()), ctypes.c_int(scale.turns)
    given = (ctypes.c_void_p * 2)(*(ctypes.addressof(each) for each in (place, turns)))
    launch = _Launch((scale.blocks, 1, 1), (WARPS * 32, 1, 1), 0, stream.handle, None, 0)
    events = [Event() for _ in range(scale.runs + 2)]
    for event in events:
        _taken(driver, driver.cuLaunchKernelEx(ctypes.byref(launch), function, given, None))
        event.record(stream)
    stream.wait()
    return scale.blocks * WARPS * CHAINS * scale.turns * MACS / _fastest(events)


def _fastest(events: list[Event]) -> float:
    """Seconds between two neighbours, the first pair left out."""
    return min(after.since(before) for before, after in pairwise(events[1:])) / 1e3


def _taken(driver: Any, error: int) -> None:
    if error:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(error, ctypes.byref(text))
        raise KernelFault(f"the kernel that finds the peak is refused: {(text.value or b'').decode()}")
