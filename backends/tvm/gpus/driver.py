"""NVIDIA's driver and CUDA's runtime, looked for without TVM, which says of whatever it lacks only that there is no device."""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ....ir.errors import BackendMissing

__all__ = ["DRIVER", "RUNTIME", "Gpu", "gpu", "load_runtime", "may_have_gpu", "runtime_places"]

DRIVER = "libcuda.so.1"
RUNTIME = "libcudart.so.13"  # what libtvm_runtime_cuda.so was linked with
IN_PACKAGE = Path("cu13", "lib", RUNTIME)  # of nvidia-cuda-runtime, below the package nvidia
LEAST = 13000  # the driver's word for CUDA 13.0
DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")  # the last is Windows' own, under WSL
ELSEWHERE = "use a machine with an NVIDIA GPU, or have one emulated by convc run and verify, or Module.open(..., emulate=True)"
COMPUTE_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first one. `capability` is NVIDIA's number for what its instructions are, (9, 0) for an H100."""

    name: str
    capability: tuple[int, int]


def may_have_gpu() -> bool:
    """Whether the system has a GPU, for a look that loads nothing."""
    return any(Path(file).exists() for file in DEVICE_FILES)


def gpu(driver: str = DRIVER) -> Gpu:
    """The GPU that kernels run on, by the words of a driver's library.

    Raises: BackendMissing without a driver, with one that is too old, or without a GPU.
    """
    try:
        library = ctypes.CDLL(driver)
    except OSError as error:
        raise BackendMissing(f"no CUDA device is here: NVIDIA's driver ({DRIVER}) is not installed; {ELSEWHERE}") from error
    release = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(release))
    if release.value < LEAST:
        have, need = _release(release.value), _release(LEAST)
        raise BackendMissing(f"NVIDIA's driver here is too old, one for CUDA {have}; install one for CUDA {need} or later")
    if failure := library.cuInit(0):
        why = "the driver finds no GPU" if failure == NO_DEVICE else f"the driver cannot start ({_name(library, failure)})"
        raise BackendMissing(f"no CUDA device is here: {why}; {ELSEWHERE}")
    device, text = ctypes.c_int(), ctypes.create_string_buffer(256)
    if library.cuDeviceGet(ctypes.byref(device), 0):
        raise BackendMissing(f"no CUDA device is here: the driver finds no GPU; {ELSEWHERE}")
    library.cuDeviceGetName(text, len(text), device)
    major, minor = (_attribute(library, number, device) for number in COMPUTE_CAPABILITY)
    return Gpu(text.value.decode(errors="replace"), (major, minor))


def _attribute(library: ctypes.CDLL, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    library.cuDeviceGetAttribute(ctypes.byref(value), number, device)
    return value.value


def _name(library: ctypes.CDLL, failure: int) -> str:
    """CUDA's name of an error."""
    text = ctypes.c_char_p()
    library.cuGetErrorName(failure, ctypes.byref(text))
    return text.value.decode() if text.value else f"error {failure}"


def _release(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def load_runtime() -> None:
    """CUDA's runtime, for all libraries of the process: where the system does not find it, TVM would not look into packages.

    Raises: BackendMissing where it is nowhere.
    """
    for place in runtime_places():
        try:
            ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return
    raise BackendMissing(f'CUDA\'s runtime ({RUNTIME}) is not installed; install it with: pip install "convc[cuda]"')


def runtime_places() -> list[str]:
    """Where it may be: the system's, then that of the package nvidia-cuda-runtime."""
    found = importlib.util.find_spec("nvidia")
    folders = list(found.submodule_search_locations or []) if found else []
    return [RUNTIME, *(str(path) for path in (Path(folder) / IN_PACKAGE for folder in folders) if path.exists())]
