"""What must stand beside a measurement: the GPU, its driver, clocks and power limit, who else uses it, and the releases of what was measured."""

from __future__ import annotations

import ctypes
import platform
import subprocess

from convc.backends.tvm.gpus.driver import DRIVER, gpu
from convc.ir.version import __version__, installed

__all__ = ["clocks", "described"]

PACKAGES = ("apache-tvm", "apache-tvm-ffi", "numpy", "nvidia-cuda-runtime", "onnxruntime-gpu", "torch")
ASKED = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,ecc.mode.current,mig.mode.current,utilization.gpu,memory.used"
AFTER = "clocks.sm,clocks.mem,temperature.gpu,power.draw,clocks_throttle_reasons.active"
MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
SECONDS = 20  # that nvidia-smi has, which hangs where a GPU does
BUSY = 5  # percent of the time, before anything of ours runs


def described(has_gpu: bool) -> list[str]:
    """A line each."""
    releases = ", ".join(map(" ".join, installed(PACKAGES).items()))
    ours = f"convc {__version__}, Python {platform.python_version()}, {releases}"
    if not has_gpu:
        return [ours]
    told = _told(ASKED)
    busy = told.get("utilization.gpu", "").split(" ")[0]
    others = (
        [f"**Something else used the GPU when this began ({busy}% of the time): times below are too long.**"]
        if _is_above(busy, BUSY)
        else []
    )
    return [*others, _by_driver(), _line(told) or "nvidia-smi tells nothing: neither clocks nor who else uses the GPU are known", ours]


def clocks() -> list[str]:
    """After what was timed."""
    told = _line(_told(AFTER))
    return [f"at the end: {told}"] if told else []


def _by_driver() -> str:
    """What the driver itself says of the device that kernels run on, be it a slice of a GPU."""
    found, driver, count, nbytes = gpu(), ctypes.CDLL(DRIVER), ctypes.c_int(), ctypes.c_size_t()
    driver.cuDeviceGetAttribute(ctypes.byref(count), MULTIPROCESSORS, 0)
    driver.cuDeviceTotalMem_v2(ctypes.byref(nbytes), 0)
    capability = ".".join(map(str, found.capability))
    return f"{found.name}, compute capability {capability}, {count.value} multiprocessors, {nbytes.value / 2**30:.1f} GiB"


def _place() -> str:
    """Where the first device that CUDA shows lies, by which nvidia-smi finds it: its own numbers are others."""
    text = ctypes.create_string_buffer(32)
    return text.value.decode() if ctypes.CDLL(DRIVER).cuDeviceGetPCIBusId(text, len(text), 0) == 0 else "0"


def _told(asked: str) -> dict[str, str]:
    """Of each thing that is asked what nvidia-smi answers, but for what it does not know; nothing where it is not there, or hangs."""
    names = asked.split(",")
    try:
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader", f"--id={_place()}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if done.returncode == 0:
        return dict(zip(names, (word.strip() for word in done.stdout.split(",")), strict=False))
    return {name: answer for each in names for name, answer in _told(each).items()} if len(names) > 1 else {}


def _line(told: dict[str, str]) -> str:
    return ", ".join(f"{name} {answer}" for name, answer in told.items())


def _is_above(number: str, most: int) -> bool:
    return number.isdigit() and int(number) > most
