"""NVIDIA's GPUs: stock schedules, compiled for sm_90 without one at hand."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ir.graph import Graph
from .fields import is_text, refuse_wrong
from .options import CompileOptions
from .target import Held, Peak, Say, Target

if TYPE_CHECKING:
    from ...backends.tvm.library.built import Library

__all__ = ["CUDA", "CudaBuilt"]

RELIED_ON = {"library": is_text}


@dataclass(frozen=True, slots=True)
class CudaBuilt:
    """`check` says which compiler took `source`, or why none did. Units: `seconds` of the build."""

    library: str
    source: str
    tvm: str
    machine: str
    check: str
    seconds: float

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
        return {"kind": self.kind, **asdict(self)}

    def opened(self, held: Held) -> Library:
        from ...backends.tvm.library.built import of_parameters

        return of_parameters(held.file(self.library), held.graph(), self.device)

    def measured(self, measure: Callable[[], Peak | None]) -> CudaBuilt:
        return self

    def report(self, unit: str) -> list[str]:
        return ["", f"CUDA source: {self.check}"]


def _of(record: Mapping[str, Any]) -> CudaBuilt:
    refuse_wrong(record, RELIED_ON)
    texts = {name: str(record.get(name)) for name in ("library", "source", "tvm", "machine", "check")}
    return CudaBuilt(**texts, seconds=record.get("seconds", 0.0))


def _build(graph: Graph, folder: Path, tiles: Mapping[str, int], options: CompileOptions, say: Say) -> CudaBuilt:
    from ...backends.tvm.cuda.build import build_cuda

    built = build_cuda(graph, folder)
    library = built.library.path.name
    say(f"built {library} in {built.seconds:.1f} s")
    return CudaBuilt(library, built.source.name, built.target, platform.machine(), built.check, round(built.seconds, 2))


def _is_here() -> bool:
    from ...backends.tvm.cuda.emulator.device import gpu_is_here

    return gpu_is_here()


def _word() -> str:
    from ...backends.onnx.session import providers
    from ...backends.tvm.cuda.found import word

    provider = "with" if "CUDAExecutionProvider" in providers() else "without"
    return f"{word()}; onnxruntime {provider} its CUDA provider"


CUDA = Target("cuda", _build, _of, _is_here, word=_word)
