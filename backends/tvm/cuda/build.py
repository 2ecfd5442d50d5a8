"""Graph to shared library for CUDA: stock schedules, cross-compiled without a GPU."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....ir.binding import need_elements
from ....ir.errors import UnsupportedOp
from ....ir.graph import Graph
from ....ir.other_runtimes import refuse_opaque
from ..host import cuda_compiler, reason, tvm
from ..library.built import Library, of_parameters
from ..library.link import compile_or_blame, export, write_whole
from ..stock.lower import lower
from .pipeline import compiled_for_cuda

__all__ = ["CudaBuild", "build_cuda", "cuda_target"]

CUDA_ARCH = "sm_90"  # H100 and H200
CUDA_HOST_CPU = "x86-64-v3"  # the kernels' launcher; the machine with the GPU is not this one


@dataclass(frozen=True, slots=True)
class CudaBuild:
    """`check` says which compiler turned `source` into `cubin`, or why none did. Units: `seconds` without that check."""

    library: Library
    source: Path
    cubin: Path | None
    check: str
    target: str
    seconds: float
    tvm: str


def build_cuda(graph: Graph, directory: str | Path, *, cuda_graph: bool = False, check: bool = True) -> CudaBuild:
    """Compile for sm_90 and write `model.so`, its kernels as `model.cu` and, where a CUDA compiler is here, `model.cubin`.

    `cuda_graph` captures launches into CUDA graphs where sizes are known; without `check` there is no cubin.

    Raises: UnsupportedOp naming the node that TVM cannot compile, or when the CUDA compiler refuses what
    TVM wrote; BackendMissing without a linker; UsageError for an empty input.
    """
    refuse_opaque(graph, "TVM")
    need_elements(graph, "launch kernels for")
    host = tvm()
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    target = cuda_target(host, CUDA_ARCH)

    def compiled(module: Any) -> Any:
        with host.transform.PassContext(config={"relax.backend.use_cuda_graph": cuda_graph}):
            return compiled_for_cuda(module, target)

    executable = compile_or_blame(graph, functools.partial(lower, graph, on_gpu=True), compiled)
    library, source, binary = folder / "model.so", folder / "model.cu", folder / "model.cubin"
    binary.unlink(missing_ok=True)  # what an older build left has other kernels
    export(executable, library)
    code = _cuda_source(executable)
    write_whole(source, lambda temporary: temporary.write_text(code))
    seconds = time.perf_counter() - start
    cubin, found = _check_cuda(host, target, code, binary) if check else (None, "not checked: not asked for")
    made = of_parameters(library, graph, "cuda")
    return CudaBuild(made, source, cubin, found, str(target), seconds, str(host.__version__))


def cuda_target(host: Any, arch: str) -> Any:
    """The limits are written down because there is no GPU to ask."""
    return host.target.Target(
        {
            "kind": "cuda",
            "arch": arch,
            "max_threads_per_block": 1024,
            "max_shared_memory_per_block": 49152,
            "thread_warp_size": 32,
        },
        host={"kind": "llvm", "mcpu": CUDA_HOST_CPU},
    )


def _cuda_source(executable: Any) -> str:
    """The text of every CUDA module that the executable imports."""
    left, found = [executable.mod], list[str]()
    while left:
        module = left.pop()
        if module.kind == "cuda":
            found.append(str(module.inspect_source()))
        left.extend(module.imports)
    return "\n".join(found)


def _check_cuda(host: Any, target: Any, code: str, path: Path) -> tuple[Path | None, str]:
    """Compile the source for real. Returns: the cubin and what made it, or why there is none.

    Raises: UnsupportedOp when the compiler refuses the code.
    """
    if not code:
        return None, "not checked: the network needs no kernel"
    compiler = cuda_compiler()
    if compiler is None:
        return None, "not checked: neither nvcc nor NVRTC (cuda-bindings) is here"
    try:
        with target:
            cubin = bytes(host.support.nvcc.compile_cuda(code, target_format="cubin", arch=CUDA_ARCH, compiler=compiler))
    except RuntimeError as error:
        said = [line for line in str(error).splitlines() if ": error" in line] or [reason(error)]
        raise UnsupportedOp(f"{compiler} refuses the CUDA source of {path.parent}: {said[0].strip()}") from error
    write_whole(path, lambda temporary: temporary.write_bytes(cubin))
    return path, f"{compiler} made a cubin of {len(cubin)} bytes for {CUDA_ARCH}"
