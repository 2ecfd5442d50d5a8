"""TVM on NVIDIA's GPUs, and the same emulated where there is none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ir.files import scratch_folder
from ...ir.graph import Graph
from ..targets.prices import CUDA_PRICES
from .engine import Engine, FixedRuns, Run, StandIn, capture_by, one_by_one
from .tvm import loaded

if TYPE_CHECKING:
    from ..files.artifact import Artifact

__all__ = ["CUDA_ENGINE", "least_batch"]

DEVICE = "cuda"
EMULATED = 2  # batches that are held where kernels are executed on the CPU, the smallest ones
TURNS, WITH_GRAPH = 2, 3  # runs of a batch that differ: a graph is captured in the second, and in the third alone it is only replayed


def _as_it_is() -> None:
    """For a machine that has a GPU."""


def _emulated() -> None:
    from ...backends.tvm.cuda.emulator.device import emulated

    emulated()


def _start(device: Callable[[], object], graph: Graph, threads: int | None) -> Run:
    """Compiled and loaded; nothing of it stays on disk.

    Raises: as `build_cuda`, `LoadedLibrary.load` and, where there is no GPU, `emulated`.
    """
    from ...backends.tvm.cuda.batches import fixed_batches
    from ...backends.tvm.cuda.build import build_cuda
    from ...backends.tvm.cuda.found import architecture_here

    device()
    batches = None if graph.symbols else fixed_batches(graph)  # which batches will be run, nobody has said
    with scratch_folder() as folder:
        return loaded(build_cuda(graph, folder, architecture_here(), batches=batches, check=False).library, threads)


def _open(device: Callable[[], object], artifact: Artifact, threads: int | None) -> Run:
    """What was compiled for GPUs as it is; of any other artifact the network, compiled anew."""
    if artifact.target.device != DEVICE:
        return _start(device, artifact.graph(), threads)
    device()
    return loaded(artifact.library(), threads)


def _of_artifact(most: int | None, engine: Engine, artifact: Artifact) -> Engine:
    fixed = artifact.library().fixed if artifact.target.device == DEVICE else None
    if fixed is None:
        return engine
    batches = sorted(fixed.memory)
    held = batches[:most]
    return replace(engine, fixed=FixedRuns(tuple(held), tuple(batches[len(held) :]), WITH_GRAPH if fixed.cuda_graph else TURNS))


def least_batch(artifact: Artifact) -> int:
    """Of those that it was compiled for; 1 where it takes any."""
    fixed = artifact.library().fixed if artifact.target.device == DEVICE else None
    return min(fixed.memory) if fixed else 1


def _why_not_here() -> str:
    from ...backends.tvm.cuda.emulator.device import gpu_is_here

    return "" if gpu_is_here() else "no GPU is here"


def _word() -> str:
    from ...backends.tvm.cuda.found import word

    return word()


def _engine(name: str, about: str, device: Callable[[], object], stand_in: StandIn | None = None, most: int | None = None) -> Engine:
    start = functools.partial(_start, device)
    engine = Engine(
        name=name,
        about=about,
        start=start,
        open=functools.partial(_open, device),
        capture=capture_by(start),
        kernels=one_by_one,
        prices=CUDA_PRICES,
        word=_word,
        takes_tensors=True,
        compiles=True,
        why_not_here=_why_not_here,
        stand_in=stand_in,
    )
    return replace(engine, of_artifact=functools.partial(_of_artifact, most, engine))


CUDA_ENGINE = _engine(
    "cuda",
    "compiled by Apache TVM for NVIDIA's GPUs",
    _as_it_is,
    StandIn(
        _engine("cuda emulated", "the kernels for NVIDIA's GPUs, executed on the CPU", _emulated, most=EMULATED),
        "its kernels are executed on the CPU, which shows whether they are right and not how fast",
        is_emulated=True,
    ),
)
