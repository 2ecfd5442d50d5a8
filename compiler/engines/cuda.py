"""TVM on NVIDIA's GPUs, and the same emulated where there is none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...ir.files import scratch_folder
from ...ir.graph import Graph
from ...passes.analysis.prices import Prices
from .engine import Engine, Run, StandIn, capture_by, one_by_one
from .tvm import TVM, loaded

if TYPE_CHECKING:
    from ..files.artifact import Artifact

__all__ = ["CUDA_ENGINE"]

DEVICE = "cuda"
# Of an H100 in float32 without tensor cores: half of its peak, and of its bandwidth. What stock schedules fuse is what ours append.
PRICES = Prices(macs=15e12, bytes=1.6e12, layer=4e-6, cut=1, appends=TVM.prices.appends)


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


def _why_not_here() -> str:
    from ...backends.tvm.cuda.emulator.device import gpu_is_here

    return "" if gpu_is_here() else "no GPU is here"


def _word() -> str:
    from ...backends.tvm.cuda.found import word

    return word()


def _engine(name: str, about: str, device: Callable[[], object], stand_in: StandIn | None = None) -> Engine:
    start = functools.partial(_start, device)
    return Engine(
        name=name,
        about=about,
        start=start,
        open=functools.partial(_open, device),
        capture=capture_by(start),
        kernels=one_by_one,
        prices=PRICES,
        word=_word,
        takes_tensors=True,
        why_not_here=_why_not_here,
        stand_in=stand_in,
    )


CUDA_ENGINE = _engine(
    "cuda",
    "compiled by Apache TVM for NVIDIA's GPUs",
    _as_it_is,
    StandIn(
        _engine("cuda emulated", "the kernels for NVIDIA's GPUs, executed on the CPU", _emulated),
        "its kernels are executed on the CPU, which shows whether they are right and not how fast",
        is_emulated=True,
    ),
)
