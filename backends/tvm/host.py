"""The one door to TVM: it is untyped, reads its thread count when imported, and may not be there.

What was compiled runs by a tenth of it: `runtime` takes 0.1 s where `tvm` takes 0.8, of which most is its languages for schedules.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...ir.errors import BackendMissing, UsageError
from ...ir.legible import quoted
from .gpus.driver import load_runtime, may_have_gpu
from .processor import INSTRUCTION_SETS, Processor, cpu_text, named_instruction_sets, processor_of

__all__ = [
    "EMULATED_GPU",
    "INSTALL",
    "cuda_compiler",
    "forbids_code",
    "home_process",
    "host_cpu",
    "host_processor",
    "host_target",
    "instruction_sets",
    "lacking",
    "most_threads",
    "physical_cores",
    "raise_interruption",
    "reason",
    "run_once",
    "runtime",
    "thread_count",
    "tvm",
    "tvm_ffi",
    "tvm_libraries",
    "use_threads",
]

INSTALL = 'pip install "apache-tvm==0.27.0.post1" "apache-tvm-ffi==0.1.14.post0"'  # a newer ffi crashes in schedules
EMULATED_GPU = "emulated by convc"  # the name of a device that is none
_FAST_CORES = 1  # a mode of TVM's pool: where cores differ, the fast ones first
_CPU_TOPOLOGY = Path("/sys/devices/system/cpu")


def tvm(threads: int | None = None) -> Any:
    """The tvm package, imported on first use with `threads` workers (default: one a physical core).

    Raises: BackendMissing where it cannot be imported; UsageError for a number of threads that makes no sense.
    """
    if threads is not None:
        _check_threads(threads)
    if "tvm" not in sys.modules:
        _set_threads(threads)
        _find_cuda()
    try:
        package: Any = importlib.import_module("tvm")
        importlib.import_module("tvm.relax")
        importlib.import_module("tvm.topi")
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        raise BackendMissing(f"Apache TVM cannot be imported ({error}); install it with: {INSTALL}") from error
    home_process()
    if threads is not None:
        use_threads(threads)
    return package


def runtime(threads: int | None = None) -> Any:
    """The package tvm_ffi, with what TVM's libraries for CPUs run by, and no compiler. It makes no difference to a later `tvm`.

    Raises: as `tvm`.
    """
    if threads is not None:
        _check_threads(threads)
    _set_threads(threads)
    try:
        package: Any = importlib.import_module("tvm_ffi")
        if "tvm" not in sys.modules:
            _load_runtime()
    except (ImportError, OSError) as error:
        raise BackendMissing(f"Apache TVM cannot be loaded ({error}); install it with: {INSTALL}") from error
    home_process()
    if threads is not None:
        use_threads(threads)
    return package


@functools.cache
def _load_runtime() -> list[ctypes.CDLL]:
    """In the ways in which TVM itself loads them."""
    whole, extra, _ = tvm_libraries()
    return [ctypes.CDLL(str(whole), ctypes.RTLD_GLOBAL), *([ctypes.CDLL(str(extra), ctypes.RTLD_LOCAL)] if extra.is_file() else [])]


def tvm_libraries() -> tuple[Path, Path, Path]:
    """Where TVM has its runtime, what of it sorts, and its compiler.

    Raises: BackendMissing without TVM.
    """
    found = importlib.util.find_spec("tvm")
    if found is None or not found.submodule_search_locations:
        raise BackendMissing(f"Apache TVM cannot be loaded (there is no package tvm); install it with: {INSTALL}")
    suffix = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
    named = os.environ.get("TVM_LIBRARY_PATH")
    folder = Path(named) if named else Path(found.submodule_search_locations[0]) / "lib"
    runtime, extra, compiler = (folder / f"libtvm_{name}.{suffix}" for name in ("runtime", "runtime_extra", "compiler"))
    return runtime, extra, compiler


def _set_threads(threads: int | None) -> None:
    """Before it is loaded: TVM would take one thread. It reads this once, and no pool grows beyond it later.

    Raises: UsageError for a number in the environment that makes no sense: of a thousand threads each waits for all others.
    """
    if not (told := os.environ.get("TVM_NUM_THREADS")):  # the system is not asked at each call
        os.environ["TVM_NUM_THREADS"] = str(max(threads or 0, physical_cores()))
    elif not _is_number_of_threads(told):
        raise UsageError(f"TVM_NUM_THREADS is {quoted(told)}; from 1 to {most_threads()}, four a processor, are possible, or leave it out")
    # And bind its threads and the caller's to the first processors of all, whichever the user or the system has given this process.
    os.environ.setdefault("TVM_BIND_THREADS", "0")


def run_once() -> None:
    """Said before anything is loaded: workers wait for a kernel by spinning for some 0.1 s, of which whoever runs once has nothing."""
    os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "2000")


def _find_cuda() -> None:
    """TVM looks for CUDA's runtime when it is imported, and in no package. That it is missing is said where it is needed."""
    if may_have_gpu():
        with contextlib.suppress(BackendMissing):
            load_runtime()


def tvm_ffi() -> Any:
    """What TVM's objects are made of, and what walks through them."""
    tvm()
    return importlib.import_module("tvm_ffi")


@functools.cache
def home_process() -> int:
    """The process that TVM was imported in. In one forked from it the pool of workers is there, and the workers are not."""
    return os.getpid()


def use_threads(threads: int) -> None:
    """Set the number of workers for kernels that the calling thread runs: TVM keeps a pool for each caller.

    Raises: UsageError for a number below 1 or above `most_threads`.
    """
    _check_threads(threads)
    runtime().get_global_func("runtime.config_threadpool")(_FAST_CORES, threads)


def most_threads() -> int:
    """More threads than a few a processor only wait for each other, and TVM's wait by spinning."""
    return 4 * (os.cpu_count() or 1)


@functools.cache
def _is_number_of_threads(text: str) -> bool:
    return text.isdecimal() and len(text) < 6 and 1 <= int(text) <= most_threads()


def _check_threads(threads: int) -> None:
    if not 1 <= threads <= most_threads():
        raise UsageError(f"{threads} threads; at least 1 and at most {most_threads()}, four a processor, are possible")


def thread_count() -> int:
    """The workers TVM really uses for the calling thread."""
    return int(runtime().get_global_func("runtime.NumThreads")())


def host_cpu() -> str:
    """LLVM's name of this machine's processor, such as znver5."""
    return str(tvm().get_global_func("tvm.codegen.llvm.GetHostCPUName")())


@functools.cache
def host_target() -> Any:
    """TVM's target for this machine's processor, without what LLVM takes every one of its name to have and is switched off in this one."""
    host = tvm()
    whole = {"kind": "llvm", "mcpu": host_cpu()}
    found: Any = host.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")() or {}
    off = [name for name in instruction_sets(host.target.Target(whole)) if not found.get(name, True)]
    return host.target.Target({**whole, "mattr": [f"-{name}" for name in off]} if off else whole)


def instruction_sets(target: Any = None) -> tuple[str, ...]:
    """Those of INSTRUCTION_SETS that a CPU target has, this machine's unless given: code that uses others is killed by the system."""
    target = target or host_target()
    return tuple(sorted(INSTRUCTION_SETS & set(map(str, tvm().target.codegen.llvm_get_cpu_features(target)))))


def lacking(needs: Iterable[str]) -> list[str]:
    """Those of INSTRUCTION_SETS that this machine's processor has not; TVM's compiler is asked only of what the system does not name."""
    unseen = set(needs) - named_instruction_sets(cpu_text())
    return sorted(unseen - set(instruction_sets())) if unseen else []


def host_processor() -> Processor:
    """What rules know of this machine's."""
    return processor_of(host_cpu(), instruction_sets())


def reason(error: Exception) -> str:
    """What went wrong in one line: TVM prints whole modules after it, or before what it calls the error message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line.removeprefix("Error message:").strip() for line in lines if line.startswith("Error message:")]
    return textwrap.shorten((named or lines or [type(error).__name__])[0], 300)


def raise_interruption(error: Exception) -> None:
    """Raises: KeyboardInterrupt if the error is one, which TVM wraps as it wraps any other."""
    if "KeyboardInterrupt" in str(error):
        raise KeyboardInterrupt from error


def physical_cores() -> int:
    """Cores this process may run on, hyperthreads of one core counted once."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    return max(1, len({_core_of(cpu) for cpu in usable}))


def _core_of(cpu: int) -> str:
    """The same text for hyperthreads of one core; the number itself where the system does not tell."""
    try:
        return (_CPU_TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def cuda_compiler() -> str | None:
    """What can turn CUDA source into machine code here: nvcc, nvrtc, or nothing.

    TVM compiles when a library is loaded, with --use_fast_math unless told otherwise; from the first call on it is told.
    """
    os.environ.setdefault("TVM_CUDA_NVCC_NO_FAST_MATH", "1")
    # NVRTC gets --use_fast_math in any case; these take back what of it can be taken back
    os.environ.setdefault("TVM_CUDA_NVRTC_EXTRA_OPTS", "--ftz=false --prec-div=true --prec-sqrt=true")
    if shutil.which("nvcc"):
        os.environ.setdefault("TVM_CUDA_COMPILE_MODE", "nvcc")
        return "nvcc"
    try:
        importlib.import_module("cuda.bindings.nvrtc")
    except (ImportError, OSError):
        return None
    return "nvrtc"


def forbids_code(folder: Path) -> bool:
    """Whether the folder lies where files cannot be executed."""
    return hasattr(os, "ST_NOEXEC") and bool(os.statvfs(folder).f_flag & os.ST_NOEXEC)
