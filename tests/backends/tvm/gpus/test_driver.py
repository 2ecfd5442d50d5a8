"""What is said of a driver, by libraries that answer as drivers do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from convc.backends.tvm.gpus import driver
from convc.backends.tvm.gpus.driver import RUNTIME, Gpu, gpu, runtime_places
from convc.ir.errors import BackendMissing

SOURCE = """
#include <string.h>
int cuDriverGetVersion(int* version) { *version = VERSION; return 0; }
int cuInit(unsigned flags) { return INIT; }
int cuGetErrorName(int error, const char** name) { *name = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"; return 0; }
int cuDeviceGet(int* device, int number) { *device = number; return DEVICE; }
int cuDeviceGetName(char* name, int size, int device) { strncpy(name, "NVIDIA H200", size); return 0; }
int cuDeviceGetAttribute(int* value, int number, int device) { *value = number == 75 ? 9 : 0; return 0; }
"""
Driver = Callable[[int, int, int], str]


@pytest.fixture
def library(tmp_path: Path) -> Driver:
    def compiled(version: int, init: int, device: int) -> str:
        source, made = tmp_path / "driver.c", tmp_path / "driver.so"
        source.write_text(SOURCE)
        answers = [f"-DVERSION={version}", f"-DINIT={init}", f"-DDEVICE={device}"]
        subprocess.run(["cc", "-shared", "-fPIC", *answers, str(source), "-o", str(made)], check=True)
        return str(made)

    return compiled


def test_the_gpu_is_the_first(library: Driver) -> None:
    assert gpu(library(13000, 0, 0)) == Gpu("NVIDIA H200", (9, 0))


@pytest.mark.parametrize(
    ("version", "init", "device", "said"),
    [
        (12040, 0, 0, "driver here is too old, one for CUDA 12.4; install one for CUDA 13.0 or later"),
        (13010, 100, 0, "no CUDA device is here: the driver finds no GPU; use a machine with an NVIDIA GPU, or"),
        (13010, 803, 0, "no CUDA device is here: the driver cannot start (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH); use a machine"),
        (13010, 0, 101, "no CUDA device is here: the driver finds no GPU; use a machine with an NVIDIA GPU, or"),
    ],
    ids=["old", "none", "broken", "hidden"],
)
def test_what_a_driver_lacks_is_one_sentence(library: Driver, version: int, init: int, device: int, said: str) -> None:
    with pytest.raises(BackendMissing, match=re.escape(said)):
        gpu(library(version, init, device))


def test_no_driver() -> None:
    with pytest.raises(BackendMissing, match=r"^no CUDA device is here: NVIDIA's driver \(libcuda.so.1\) is not installed; use a machine"):
        gpu("/nowhere/libcuda.so.1")


def test_the_runtime_is_found_in_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nvidia-cuda-runtime lays it out; the system's comes first."""
    monkeypatch.syspath_prepend(tmp_path)
    assert runtime_places() == [RUNTIME]
    place = tmp_path / "nvidia" / "cu13" / "lib" / RUNTIME
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    assert runtime_places() == [RUNTIME, str(place)]


def test_no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "runtime_places", lambda: ["/nowhere/libcudart.so.13"])
    with pytest.raises(
        BackendMissing, match=r'^CUDA\'s runtime \(libcudart.so.13\) is not installed; install it with: pip install "convc\[cuda\]"$'
    ):
        driver.load_runtime()
