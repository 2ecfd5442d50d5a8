"""NVIDIA's GPUs: kernels of our own and stock schedules, compiled without one at hand."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...backends.tvm.gpus.architectures import ARCHITECTURES, architecture
from ...ir.errors import UsageError
from ...ir.graph import Graph
from .fields import are_names, is_packing, is_text, refuse_wrong
from .options import CompileOptions
from .target import PACKED, Held, Peak, Say, Target, packing_of

if TYPE_CHECKING:
    from ...backends.tvm.library.built import Library

__all__ = ["CUDA", "CudaBuilt"]


def _is_architecture(value: Any) -> bool:
    return isinstance(value, str) and value in ARCHITECTURES


def _is_file(value: Any) -> bool:
    return value is None or is_text(value)


RELIED_ON = {"library": is_text, "architecture": _is_architecture, "cubin": _is_file, "packed": is_packing}


@dataclass(frozen=True, slots=True)
class CudaBuilt:
    """`cubin` is what `source` was compiled to for GPUs of `architecture`; `check` says by what, or why it was not. Units: `seconds` of the
    build. `packed` says where weights lie, as Packed.record has it; `kernels` are what runs, in words, a line each.
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
    kernels: Sequence[str] = ()

    @property
    def kind(self) -> str:
        return CUDA.name

    @property
    def device(self) -> str:
        return "cuda"

    @property
    def tiles(self) -> Mapping[str, int]:
        return {}

    def record(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "kernels": list(self.kernels)}

    def opened(self, held: Held) -> Library:
        from ...backends.tvm.library.built import Library, MachineCode
        from ...backends.tvm.library.packed import mapped_arguments

        has_kernels = bool(self.cubin) or held.file(self.source).stat().st_size > 0
        code = MachineCode(self.architecture, held.file(self.cubin) if self.cubin else None) if has_kernels else None
        arguments = mapped_arguments(held.file(PACKED), packing_of(self.packed, held))
        return Library(held.file(self.library), held.structure(), arguments, device=self.device, code=code)

    def measured(self, measure: Callable[[], Peak | None]) -> CudaBuilt:
        return self

    def report(self, unit: str) -> list[str]:
        return ["", f"CUDA for {self.architecture}: {self.check}", *(f"  {line}" for line in self.kernels)]


def _of(record: Mapping[str, Any]) -> CudaBuilt:
    refuse_wrong(record, RELIED_ON)
    texts = {name: str(record.get(name)) for name in ("library", "source", "architecture", "tvm", "machine", "check")}
    kernels = record.get("kernels")
    said = cast("list[str]", kernels) if are_names(kernels) else []
    return CudaBuilt(**texts, cubin=record.get("cubin"), seconds=record.get("seconds", 0.0), packed=record["packed"], kernels=said)


def _build(graph: Graph, folder: Path, tiles: Mapping[str, int], options: CompileOptions, say: Say) -> CudaBuilt:
    from ...backends.tvm.cuda.build import build_cuda
    from ...backends.tvm.cuda.emulator.device import is_emulated
    from ...backends.tvm.cuda.found import architecture_here
    from ...backends.tvm.library.packed import write_packed

    if is_emulated():
        raise UsageError("this process emulates a GPU, and what it compiles runs nowhere else; write the artifact in another process")
    _, _, model = options.target.partition(":")
    arch = architecture(model) if model else architecture_here()
    built = build_cuda(graph, folder, arch)
    library, cubin = built.library.path.name, built.cubin.name if built.cubin else None
    say(f"built {library} for {arch.name} in {built.seconds:.1f} s")
    seconds = round(built.seconds, 2)
    packed = write_packed(built.plan, folder / PACKED).record()
    machine, lines = platform.machine(), built.plan.lines()
    return CudaBuilt(library, built.source.name, arch.name, cubin, built.target, machine, built.check, seconds, packed, lines)


def _is_here() -> bool:
    from ...backends.tvm.cuda.emulator.device import gpu_is_here

    return gpu_is_here()


def _word() -> str:
    from ...backends.onnx.session import providers
    from ...backends.tvm.cuda.found import word

    provider = "with" if "CUDAExecutionProvider" in providers() else "without"
    return f"{word()}; onnxruntime {provider} its CUDA provider"


CUDA = Target("cuda", _build, _of, _is_here, word=_word, models=tuple(ARCHITECTURES))
