"""NVIDIA's GPUs: kernels of our own and stock schedules, compiled without one at hand."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...backends.tvm.gpus.architectures import ARCHITECTURES, architecture
from ...ir.errors import ArtifactError, BackendMissing, UsageError
from ...ir.graph import Graph
from ...ir.ops.conv import CONVS
from ...ir.ops.conv_transpose import CONV_TRANSPOSES
from ...ir.ops.linear import DENSE, MATMUL
from .fields import are_names, has_numbers, is_packing, is_text, refuse_wrong
from .options import FP32, PRECISIONS, TF32, CompileOptions
from .prices import cuda_prices
from .target import PACKED, Held, Peak, Say, Target, packing_of

if TYPE_CHECKING:
    from ...backends.tvm.library.built import Library

__all__ = ["CUDA", "CudaBuilt"]

PRODUCTS = (*CONVS, *CONV_TRANSPOSES, DENSE, MATMUL)


def _is_architecture(value: Any) -> bool:
    return isinstance(value, str) and value in ARCHITECTURES


def _is_file(value: Any) -> bool:
    return value is None or is_text(value)


def _are_batches(value: Any) -> bool:
    """Bytes by the batch, as text: keys of JSON are."""
    if value is None:
        return True
    if not isinstance(value, dict) or not value:
        return False
    record = cast("dict[str, Any]", value)
    return has_numbers(record, list(record)) and all(batch.isdecimal() and nbytes >= 0 for batch, nbytes in record.items())


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_precision(value: Any) -> bool:
    return value is None or value in PRECISIONS


RELIED_ON = {
    "library": is_text,
    "architecture": _is_architecture,
    "cubin": _is_file,
    "packed": is_packing,
    "memory": _are_batches,
    "cuda_graph": _is_flag,
    "precision": _is_precision,
}


@dataclass(frozen=True, slots=True)
class CudaBuilt:
    """`cubin` is what `source` was compiled to for GPUs of `architecture`; `check` says by what, or why it was not. `packed` says where
    weights lie, as Packed.record has it; `memory` has the batches that it is for, None where it takes any, and `runs` says how they are
    launched; `kernels` are what runs, in words, a line each. Units: bytes, and `seconds` of the build.
    """

    library: str
    source: str
    architecture: str
    cubin: str | None
    tvm: str
    machine: str
    check: str
    seconds: float
    packed: Mapping[str, Any]
    memory: Mapping[str, int] | None
    cuda_graph: bool
    runs: str
    kernels: Sequence[str] = ()
    precision: str = FP32

    @property
    def kind(self) -> str:
        return CUDA.name

    @property
    def device(self) -> str:
        return "cuda"

    @property
    def in_place(self) -> Mapping[str, str]:
        return {}

    @property
    def tiles(self) -> Mapping[str, int]:
        return {}

    def record(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "kernels": list(self.kernels)}

    def opened(self, held: Held) -> Library:
        from ...backends.tvm.library.built import FixedBatches, Library, MachineCode
        from ...backends.tvm.library.packed import mapped_arguments

        has_kernels = bool(self.cubin) or held.file(self.source).stat().st_size > 0
        code = MachineCode(self.architecture, held.file(self.cubin) if self.cubin else None) if has_kernels else None
        arguments = mapped_arguments(held.file(PACKED), packing_of(self.packed, held))
        memory = {int(batch): nbytes for batch, nbytes in (self.memory or {}).items()}
        fixed = FixedBatches(memory, self.cuda_graph) if memory else None
        return Library(held.file(self.library), held.structure(), arguments, device=self.device, code=code, fixed=fixed)

    def measured(self, measure: Callable[[], Peak | None]) -> CudaBuilt:
        return self

    def report(self, unit: str) -> list[str]:
        takes = [f"a batch of {batch} takes {nbytes:,} bytes" for batch, nbytes in (self.memory or {}).items() if batch != "0"]
        head = f"CUDA for {self.architecture} in {self.precision}: {self.check}"
        return ["", head, self.runs, *takes, *(f"  {line}" for line in self.kernels)]


def _of(record: Mapping[str, Any]) -> CudaBuilt:
    refuse_wrong(record, RELIED_ON)
    texts = {name: str(record.get(name)) for name in ("library", "source", "architecture", "tvm", "machine", "check", "runs")}
    kernels = record.get("kernels")
    return CudaBuilt(
        **texts,
        cubin=record.get("cubin"),
        seconds=record.get("seconds", 0.0),
        packed=record["packed"],
        memory=record["memory"],
        cuda_graph=record["cuda_graph"],
        precision=record.get("precision") or FP32,
        kernels=cast("list[str]", kernels) if are_names(kernels) else [],
    )


def _build(graph: Graph, folder: Path, tiles: Mapping[str, int], options: CompileOptions, say: Say) -> CudaBuilt:
    from ...backends.tvm.cuda.batches import fixed_batches, how_it_runs
    from ...backends.tvm.cuda.build import build_cuda
    from ...backends.tvm.cuda.emulator.device import is_emulated
    from ...backends.tvm.cuda.found import architecture_here
    from ...backends.tvm.library.packed import write_packed

    if is_emulated():
        raise UsageError("this process emulates a GPU, and what it compiles runs nowhere else; write the artifact in another process")
    _, _, model = options.target.partition(":")
    arch = architecture(model) if model else architecture_here()
    batches = fixed_batches(graph, options.batches)
    how = {"cuda_graph": options.cuda_graph, "tf32": options.precision == TF32, "cached": options.cached}
    built = build_cuda(graph, folder, arch, batches=batches, **how)
    library, cubin = built.library.path.name, built.cubin.name if built.cubin else None
    say(f"built {library} for {arch.name} in {built.seconds:.1f} s{', from the cache' if built.found else ''}")
    if options.precision == FP32 and any(node.kind in PRODUCTS for node in graph.ops):
        say("fp32: products are TVM's stock rows, on ordinary units; --precision fp16, bf16 or tf32 has kernels on tensor cores")
    runs = how_it_runs(graph, batches, options.cuda_graph)
    say(runs)
    fixed = built.library.fixed
    return CudaBuilt(
        library=library,
        source=built.source.name,
        architecture=arch.name,
        cubin=cubin,
        tvm=built.target,
        machine=platform.machine(),
        check=built.check,
        seconds=round(built.seconds, 2),
        packed=write_packed(built.plan, folder / PACKED).record(),
        memory={str(batch): nbytes for batch, nbytes in fixed.memory.items()} if fixed else None,
        cuda_graph=options.cuda_graph,
        runs=runs,
        kernels=built.kernels,
        precision=options.precision,
    )


def _is_here(options: CompileOptions) -> bool:
    from ...backends.tvm.cuda.emulator.device import gpu_is_here

    return gpu_is_here()


def _why_not(library: Library) -> str:
    from ...backends.tvm.cuda.emulator.device import gpu_is_here
    from ...backends.tvm.gpus.driver import gpu
    from ...backends.tvm.library.on_gpu import check_code

    if not gpu_is_here():
        return f"{library.path.name} is for {library.code.architecture if library.code else CUDA.name}, and no GPU is here"
    try:
        check_code(library.code, gpu(), library.path)
    except (ArtifactError, BackendMissing) as error:
        return str(error)
    return ""


def _word() -> str:
    from ...backends.onnx.session import why_no_cuda
    from ...backends.tvm.cuda.found import word

    why = why_no_cuda()
    return f"{word()}; onnxruntime {'without' if why else 'with'} its CUDA provider{why and f': {why}'}"


MODELS = tuple(ARCHITECTURES)
CUDA = Target(
    "cuda",
    _build,
    _of,
    _is_here,
    word=_word,
    models=MODELS,
    has_batches=True,
    precisions=PRECISIONS,
    prices=cuda_prices,
    why_not=_why_not,
    emulated_by="cuda",
)
