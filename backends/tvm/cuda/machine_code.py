"""CUDA source to machine code, by the compiler at hand, which takes most of a build; kept for the next one of the same source."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from pathlib import Path

from ....ir.errors import UnsupportedOp, UsageError
from ....ir.progress import progress
from ....ir.version import installed, release
from ..gpus.architectures import Architecture
from ..host import reason, tvm
from ..library.link import write_whole
from ..store.cache import usable_cache
from .kept import PACKAGES, settings
from .target import cuda_target

__all__ = ["made_of", "refuse_unknown"]

FORMAT = "convc cubin 1"


def made_of(code: str, path: Path, arch: Architecture, compiler: str | None, cached: bool) -> tuple[Path | None, str]:
    """Compile the source for GPUs of `arch` into the file. Returns: the file and what made it, or why there is none.

    Raises: UnsupportedOp when the compiler refuses the code.
    """
    if not code:
        return None, "not checked: the network needs no kernel"
    if compiler is None:
        return None, "not checked: neither nvcc nor NVRTC (cuda-bindings) is here"
    cache, _ = usable_cache() if cached else (None, "")
    key = _key(code, arch, compiler)
    kept = cache.get(key) if cache is not None else None
    cubin = kept or _compiled(code, path, arch, compiler)
    if cache is not None and kept is None:
        cache.put(key, cubin)
        cache.trim()
    write_whole(path, lambda temporary: temporary.write_bytes(cubin))
    return path, f"{compiler} made a cubin of {len(cubin)} bytes for {arch.name}"


def refuse_unknown(arch: Architecture) -> None:
    """Raises: UsageError for GPUs that are newer, or older, than the nvcc at hand."""
    known = _said_by_nvcc("--list-gpu-code").split()
    if known and arch.name.rstrip("a") not in known:
        raise UsageError(f"the nvcc here does not know {arch.name}; it knows {', '.join(known)}")


def _compiled(code: str, path: Path, arch: Architecture, compiler: str) -> bytes:
    host = tvm()
    try:
        with progress(f"{compiler} compiles all kernels at once", 0), cuda_target(arch):
            return bytes(host.support.nvcc.compile_cuda(code, target_format="cubin", arch=arch.name, compiler=compiler))
    except RuntimeError as error:
        said = [line for line in str(error).splitlines() if ": error" in line] or [reason(error)]
        raise UnsupportedOp(f"{compiler} refuses the CUDA source of {path.parent}: {said[0].strip()}") from error


def _key(code: str, arch: Architecture, compiler: str) -> str:
    """The name of what a compiler makes of a source, by all that this depends on."""
    version = _said_by_nvcc("--version") if compiler == "nvcc" else release("cuda-bindings")
    packages = [f"{name} {release}" for name, release in installed(PACKAGES).items()]
    parts = (FORMAT, compiler, version, *packages, arch.name, *settings(), code)
    return f"cubin_{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:32]}"


@functools.cache
def _said_by_nvcc(option: str) -> str:
    return subprocess.run(["nvcc", option], capture_output=True, text=True, check=False).stdout
