"""Graph to shared library for CUDA: kernels of our own and stock schedules, cross-compiled without a GPU."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....ir.binding import need_elements
from ....ir.errors import UnsupportedOp, UsageError
from ....ir.files import scratch_folder
from ....ir.graph import Graph
from ....ir.other_runtimes import refuse_opaque
from ..gpus.architectures import USUAL, Architecture
from ..host import cuda_compiler, tvm
from ..library.built import FixedBatches, Library, MachineCode, function_of
from ..library.link import compile_or_blame, export, write_whole
from ..library.owned import BytesOfFunctions
from ..store.cache import usable_cache
from .batches import at_batch
from .kept import KeptBuild, build_key
from .lower import lower_for_gpu
from .machine_code import made_of, refuse_unknown
from .pipeline import compiled_for_cuda
from .plan import GpuPlan, gpu_plan
from .target import CUDA_HOST_CPU, cuda_target

__all__ = ["CudaBuild", "build_cuda"]


@dataclass(frozen=True, slots=True)
class CudaBuild:
    """`plan` is for any batch, `kernels` says what runs for those it was built for. `check` says which compiler turned `source` into
    `cubin`, or why none did. `found` says that the library was built before, and no kernel lowered. Units: `seconds` without that check.
    """

    library: Library
    plan: GpuPlan
    kernels: tuple[str, ...]
    source: Path
    cubin: Path | None
    check: str
    target: str
    seconds: float
    tvm: str
    found: bool


def build_cuda(
    graph: Graph,
    directory: str | Path,
    arch: Architecture = USUAL,
    *,
    batches: Sequence[int] | None = None,
    cuda_graph: bool = True,
    tf32: bool = False,
    check: bool = True,
    cached: bool = True,
) -> CudaBuild:
    """Compile for GPUs of `arch` and write `model.so`, its kernels as `model.cu` and, where a CUDA compiler is here, `model.cubin`.

    For each of `batches`, as `fixed_batches` has them, there is a function whose sizes are numbers, with a memory plan of its own, and with
    `cuda_graph` its launches are captured; without batches one function takes any, and allocates. With `tf32`
    tensor cores multiply float32, of which they take 19 bits. Without `check` there is no cubin: the source is compiled when the library
    is loaded. What was built of the same graph before, and made of the same source, is taken, if `cached`.

    Raises: UnsupportedOp naming the node that TVM cannot compile, or whose value is empty, or when the CUDA compiler refuses what
    TVM wrote; BackendMissing without a linker; UsageError for an empty input, or GPUs that nvcc does not know.
    """
    refuse_opaque(graph, "TVM")
    need_elements(graph, "launch kernels for")
    _refuse_empty(graph, "take it out of the network, or compile with -t cpu")
    compiler = cuda_compiler()
    if check and compiler == "nvcc":
        refuse_unknown(arch)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    plan = gpu_plan(graph, tf32=tf32, arch=arch)
    plans = {function_of(batch): _plan_at(plan, batch) for batch in batches} if batches else {"main": plan}

    cache, _ = usable_cache() if cached else (None, "")
    key_now = functools.partial(build_key, graph, arch, CUDA_HOST_CPU, batches, tf32)
    key = key_now()
    entry = cache.get(key) if cache is not None and key is not None else None
    made = KeptBuild.of(entry) if entry else _built(graph, plans, arch, bool(batches))
    if cache is not None and entry is None and key is not None and key == key_now():
        cache.put(key, made.packed())
        cache.trim()
    path, source, binary = folder / "model.so", folder / "model.cu", folder / "model.cubin"
    binary.unlink(missing_ok=True)  # what an older build left has other kernels
    write_whole(path, lambda temporary: _write_executable(temporary, made.library))
    write_whole(source, lambda temporary: temporary.write_text(made.source))
    seconds = time.perf_counter() - start
    cubin, found = made_of(made.source, binary, arch, compiler, cached) if check else (None, "not checked: not asked for")
    code = MachineCode(arch.name, cubin) if made.source else None
    fixed = FixedBatches({batch: made.memory[function_of(batch)] for batch in batches}, cuda_graph) if batches else None
    library = Library(path, graph, plan.arguments, device="cuda", code=code, fixed=fixed)
    return CudaBuild(library, plan, _kernels(plans), source, cubin, found, made.target, seconds, made.tvm, entry is not None)


def _built(graph: Graph, plans: Mapping[str, GpuPlan], arch: Architecture, has_batches: bool) -> KeptBuild:
    """A library of the graph with a function for each plan.

    Raises: as `build_cuda`.
    """
    host, target = tvm(), cuda_target(arch)
    planned: BytesOfFunctions | None = {} if has_batches else None
    lowered = functools.partial(lower_for_gpu, plans)
    executable = compile_or_blame(graph, lowered, lambda module: compiled_for_cuda(module, target, planned))
    with scratch_folder() as folder:
        export(executable, folder / "model.so")
        library = (folder / "model.so").read_bytes()
    return KeptBuild(library, _cuda_source(executable), planned or {}, str(target), str(host.__version__))


def _write_executable(path: Path, library: bytes) -> None:
    path.write_bytes(library)
    path.chmod(path.stat().st_mode | 0o111)  # as linkers leave it


def _plan_at(plan: GpuPlan, batch: int) -> GpuPlan:
    """For so many images. All plans of a library take the same arguments.

    Raises: UsageError for a batch of which kernels of ours cannot count the pixels; UnsupportedOp for one that leaves a value empty.
    """
    graph = at_batch(plan.graph, batch)
    _refuse_empty(graph, f"compile with --batches without {batch}")
    at = gpu_plan(graph, tf32=plan.tf32, arch=plan.arch)
    if at.takes != plan.takes:
        raise UsageError(f"a batch of {batch} images has more pixels than a kernel counts; compile with smaller --batches")
    return at


def _refuse_empty(graph: Graph, way_out: str) -> None:
    """Raises: UnsupportedOp for a value that has no elements: TVM divides by their number, or makes a kernel that reads beside them."""
    empty = next((node for node in graph.ops if graph.uses[node] and 0 in node.typed.shape), None)
    if empty is not None:
        raise UnsupportedOp(f"{empty.where} is {empty.type}, of no elements, for which no kernel can be launched; {way_out}")


def _kernels(plans: Mapping[str, GpuPlan]) -> tuple[str, ...]:
    """What runs, for people: for each function in turn, or once where all run the same."""
    lines = {name: plan.lines(reasons=True) for name, plan in plans.items()}
    if len(set(map(tuple, lines.values()))) == 1:
        return tuple(next(iter(lines.values())))
    return tuple(line for name, each in lines.items() for line in (f"{name}:", *(f"  {line}" for line in each)))


def _cuda_source(executable: Any) -> str:
    """The text of every CUDA module that the executable imports."""
    left, found = [executable.mod], list[str]()
    while left:
        module = left.pop()
        if module.kind == "cuda":
            found.append(str(module.inspect_source()))
        left.extend(module.imports)
    return "\n".join(found)
