"""A library that was built before, by all that decides what it is: known before a kernel is written, and before TVM is looked at.

What a kernel does follows from the graph, the GPU and our own sources alone, so a build of the same again needs none of them lowered. The
values of weights are no part of it: they are arguments of the library.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ....ir.graph import Graph
from ....ir.printer import print_graph
from ....ir.sources import hash_of
from ....ir.version import installed
from ..gpus.architectures import Architecture
from ..gpus.driver import may_have_gpu
from .emulator.device import is_emulated

__all__ = ["PACKAGES", "KeptBuild", "build_key", "settings"]

FORMAT = "convc library 1"
PACKAGES = ("apache-tvm", "apache-tvm-ffi")
COMPILING = ("TVM_CUDA_", "NVCC_")  # variables of the environment that change what a CUDA compiler makes begin so
ROOT = Path(__file__).parents[3]
SOURCES = ("ir", "backends")  # folders from which it follows what a kernel is
FAST = 1  # level of zlib; source shrinks to a tenth


@dataclass(frozen=True, slots=True)
class KeptBuild:
    """`library` is the file, `source` the text of its kernels. `memory` are bytes that a run takes by the function. `target` and `tvm` are
    TVM's words.
    """

    library: bytes
    source: str
    memory: Mapping[str, int]
    target: str
    tvm: str

    def packed(self) -> bytes:
        """As an entry of the cache, which is told when it is no more what it was."""
        about = asdict(self) | {"library": len(self.library)}
        return zlib.compress(json.dumps(about).encode() + b"\n" + self.library, FAST)

    @staticmethod
    def of(entry: bytes) -> KeptBuild:
        """Of one that the cache vouches for."""
        about, _, library = zlib.decompress(entry).partition(b"\n")
        return KeptBuild(**json.loads(about) | {"library": library})


def build_key(graph: Graph, arch: Architecture, target: str, batches: Sequence[int] | None, tf32: bool) -> str | None:
    """The name of what is built for GPUs of `arch`, on hosts of `target`. In a process with a GPU, be it an emulated one, TVM compiles
    as it builds, so what it leaves there is something else. None where nobody knows by which sources it is built.
    """
    ours = hash_of(ROOT, SOURCES)
    if ours is None:
        return None
    versions = [f"{name} {release}" for name, release in installed(PACKAGES).items()]
    how = (arch.name, target, str(batches), str(tf32), str(may_have_gpu()), str(is_emulated()))
    parts = (FORMAT, *versions, ours, *settings(), *how, print_graph(graph))
    return f"library_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


def settings() -> list[str]:
    """What of the environment a CUDA compiler goes by."""
    return sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(COMPILING))
