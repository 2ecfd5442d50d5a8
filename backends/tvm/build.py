"""Graph to shared library: kernels of our own for CPU (fast/), stock schedules for CUDA, cross-compiled without a GPU."""

from __future__ import annotations

import functools
import os
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ...ir.errors import BackendMissing, ConvcError, UnsupportedOp, UsageError
from ...ir.files import scratch_folder, unwritable
from ...ir.graph import Graph, Node
from ...ir.ops.leaf import INPUT, Input
from .arena import Arena
from .cache import usable_cache
from .fast.lower import lower_fast
from .fast.plan import beside, plan, single_image, tuned_works
from .fast.work import Winograd
from .host import cuda_compiler, host_cpu, host_target, instruction_sets, physical_cores, tvm
from .kernels import ROOM, Compiled, checked_jobs, compile_kernels
from .lower import lower, reason
from .pipeline import cpu_pipeline, cuda_pipeline
from .processor import processor_of
from .tuned import find_database, machine, tuned_forms

__all__ = ["CpuBuild", "CudaBuild", "build_cpu", "build_cuda"]

T = TypeVar("T")
CUDA_ARCH = "sm_90"  # H100 and H200
CUDA_HOST_CPU = "x86-64-v3"  # the kernels' launcher; the machine with the GPU is not this one


@dataclass(frozen=True, slots=True)
class CpuBuild:
    """Units: `seconds` for lowering, compiling and linking. `target` is TVM's description, JSON; `needs` are the
    instruction sets that it may use. Of `kernels` that differ, `found` were compiled before; `no_cache` says why none are kept, if so.
    `tuned` are the forms that tuning chose, by kernel; `complaint` says what of them could not be read.
    `arena` is the plan of its intermediates, where it has any whose sizes can be planned.
    """

    library: Path
    target: str
    needs: tuple[str, ...]
    arena: Arena | None
    seconds: float
    tvm: str
    kernels: int
    found: int
    no_cache: str
    tuned: Mapping[str, Any]
    complaint: str


@dataclass(frozen=True, slots=True)
class CudaBuild:
    """`check` says which compiler turned `source` into `cubin`, or why none did. Units: `seconds` without that check."""

    library: Path
    source: Path
    cubin: Path | None
    check: str
    target: str
    seconds: float
    tvm: str


def build_cpu(
    graph: Graph,
    path: str | Path,
    *,
    mcpu: str | None = None,
    winograd: Winograd = "auto",
    single: bool = True,
    jobs: int | None = None,
    cached: bool = True,
    database: str | None = None,
) -> CpuBuild:
    """Compile for this machine's processor, or LLVM's `mcpu`, to whose registers the kernels are cut, and write the library at `path`.

    Where the batch is a named size, a second library for a `single` image is written beside it: its kernels are arranged for one, and know
    all sizes when they are compiled, which together is 1 to 5% faster. Where none is made, one that lies there goes.

    `winograd` says which convolutions are computed by tiles: off, f2, f4, or auto, where that is fast; or tiles by name. A library
    must be loaded with the same. `jobs` kernels are compiled at a time (default: one a core); unless not `cached`, they are kept for
    other builds. They take the forms that `convc tune` found for this machine, as kept in the directory `database` (default: the cache;
    off: none).

    Raises: UnsupportedOp naming the node that TVM cannot compile; BackendMissing without a linker; UsageError for `jobs` below 1 or absurd,
    or where files cannot be written.
    """
    host = tvm()
    start = time.perf_counter()
    target = host.target.Target({"kind": "llvm", "mcpu": mcpu}) if mcpu else host_target()
    workers = physical_cores() if jobs is None else checked_jobs(jobs)
    cache, no_cache = usable_cache() if cached else (None, "")
    here = machine(mcpu or host_cpu(), physical_cores(), str(host.__version__))
    forms, complaint = tuned_forms(find_database(database), here)
    needs = instruction_sets(target)
    processor = processor_of(mcpu or host_cpu(), needs)
    tiles = plan(graph, winograd).tiles  # by name, as they are for who loads the library: there `auto` knows of no processor

    arenas: list[Arena] = []

    def compiled(module: Any) -> Compiled:
        with target:
            return compile_kernels(cpu_pipeline(target, arenas.append)(module), target, workers, cache)

    library = Path(path)
    library.parent.mkdir(parents=True, exist_ok=True)
    one = single_image(graph) if single else None
    made: list[Compiled] = []
    tuned: dict[str, Any] = {}
    for network in filter(None, (graph, one)):
        made.append(_compile(network, compiled, functools.partial(lower_fast, winograd=tiles, tuned=forms, processor=processor)))
        tuned |= tuned_works(network, tiles, forms, processor)
    beside(library).unlink(missing_ok=True)  # that of an older build would compute a single image by its own network
    for each, place in zip(made, (library, beside(library)), strict=False):
        _export(each.executable, place)
    kernels, found = sum(each.kernels for each in made), sum(each.found for each in made)
    seconds = time.perf_counter() - start
    arena = arenas[-1] if arenas else None
    made_of = (kernels, found, no_cache, tuned, complaint)
    return CpuBuild(library, str(target), needs, arena, seconds, str(host.__version__), *made_of)


def build_cuda(graph: Graph, directory: str | Path, *, cuda_graph: bool = False, check: bool = True) -> CudaBuild:
    """Compile for sm_90 and write `model.so`, its kernels as `model.cu` and, where a CUDA compiler is here, `model.cubin`.

    `cuda_graph` captures launches into CUDA graphs where sizes are known; without `check` there is no cubin.

    Raises: UnsupportedOp naming the node that TVM cannot compile, or when the CUDA compiler refuses what
    TVM wrote; BackendMissing without a linker.
    """
    host = tvm()
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    target = _cuda_target(host)

    def compiled(module: Any) -> Any:
        with host.transform.PassContext(config={"relax.backend.use_cuda_graph": cuda_graph}):
            return host.compile(module, target=target, relax_pipeline=cuda_pipeline(target))

    executable = _compile(graph, compiled)
    library, source, binary = folder / "model.so", folder / "model.cu", folder / "model.cubin"
    binary.unlink(missing_ok=True)  # what an older build left has other kernels
    _export(executable, library)
    code = _cuda_source(executable)
    _write_whole(source, lambda temporary: temporary.write_text(code))
    seconds = time.perf_counter() - start
    cubin, found = _check_cuda(host, target, code, binary) if check else (None, "not checked: not asked for")
    return CudaBuild(library, source, cubin, found, str(target), seconds, str(host.__version__))


def _cuda_target(host: Any) -> Any:
    """The limits are written down because there is no GPU to ask."""
    return host.target.Target(
        {
            "kind": "cuda",
            "arch": CUDA_ARCH,
            "max_threads_per_block": 1024,
            "max_shared_memory_per_block": 49152,
            "thread_warp_size": 32,
        },
        host={"kind": "llvm", "mcpu": CUDA_HOST_CPU},
    )


LOWERING = threading.Lock()  # TVM's builder of functions is one for all threads


def _compile(graph: Graph, compiled: Callable[[Any], T], lowered: Callable[[Graph], Any] = lower) -> T:
    try:
        with LOWERING:
            module = lowered(graph)
        return compiled(module)
    except (ConvcError, OSError):  # such as a full disk, which is no op's fault
        raise
    except Exception as error:  # TVM raises many kinds, and none names an op
        if "KeyboardInterrupt" in str(error):  # it wraps that one too
            raise KeyboardInterrupt from error
        culprit = _culprit(graph, compiled)
        where = culprit.where if culprit else f"graph @{graph.name}"
        raise UnsupportedOp(f"{where} cannot be compiled by TVM: {reason(error)}") from error


def _culprit(graph: Graph, compiled: Callable[[Any], Any]) -> Node | None:
    """The first node that does not compile on its own either. Nodes alike are tried once."""
    tried: set[Any] = set()
    for node in graph.ops:
        key = (node.kind, node.op, tuple(operand.typed for operand in node.inputs))
        if key in tried:
            continue
        tried.add(key)
        operands = tuple(Node(f"operand{i}", INPUT, Input(), (), operand.type) for i, operand in enumerate(node.inputs))
        try:
            with LOWERING:
                module = lower(Graph.of(node.name, operands, (node.reading(operands),)))
            compiled(module)
        except (UsageError, OSError):
            raise
        except Exception:
            return node
    return None


def _export(executable: Any, path: Path) -> None:
    if tvm().support.cc.get_cc() is None:
        raise BackendMissing("no C compiler to link the library with; install gcc or clang, or set CC")

    def link(temporary: Path) -> None:
        with scratch_folder(ROOM):  # TVM has object files in one of its own beside it
            try:
                executable.export_library(str(temporary))
            except (RuntimeError, OSError) as error:  # the compiler's own words, or why it cannot be started or has no room for its files
                raise BackendMissing(f"the library {path} cannot be linked: {textwrap.shorten(str(error), 300)}") from error

    _write_whole(path, link)


def _write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """A file appears complete or not at all.

    Raises: UsageError where it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            temporary = Path(folder) / path.name  # keeps the suffix, by which TVM chooses the format
            write(temporary)
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error


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
    _write_whole(path, lambda temporary: temporary.write_bytes(cubin))
    return path, f"{compiler} made a cubin of {len(cubin)} bytes for {CUDA_ARCH}"
