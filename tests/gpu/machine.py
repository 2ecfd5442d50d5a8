"""What must stand beside a measurement: the GPU, its driver, clocks and power limit, and the releases of what was measured."""

from __future__ import annotations

import platform
import subprocess

from convc.ir.version import __version__, installed

__all__ = ["described"]

PACKAGES = ("apache-tvm", "apache-tvm-ffi", "numpy", "nvidia-cuda-runtime", "onnxruntime-gpu", "torch")
ASKED = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,ecc.mode.current"


def described() -> list[str]:
    """A line each."""
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader", "--id=0"], capture_output=True, text=True, check=False
        )
        answers = [word.strip() for word in done.stdout.split(",")] if done.returncode == 0 else []
    except OSError:
        answers = []
    gpu = ", ".join(f"{name} {answer}" for name, answer in zip(ASKED.split(","), answers, strict=False))
    releases = ", ".join(map(" ".join, installed(PACKAGES).items()))
    return [gpu or "nvidia-smi tells nothing", f"convc {__version__}, Python {platform.python_version()}, {releases}"]
