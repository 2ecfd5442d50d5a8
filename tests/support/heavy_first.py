"""The order in which workers take tests. pytest-xdist cuts what was collected into pieces; who is done gets half of another's end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

# folders and files of thousands of tests that take milliseconds each
LIGHT = tuple(f"tests/{each}" for each in ("backends/onnx/test_conformance.py", "backends/onnx/write/", "golden/", "house/", "ir/"))

TOGETHER = ("tests/backends/tvm/cuda/",)  # a worker that has an emulated GPU takes seconds to get it


def heavy_first(names: Sequence[str], workers: int) -> list[int]:
    """Places of tests: in each worker's piece heavy ones come first, whole files of them, every folder in all pieces. So what is left to
    share at the end is light, and nobody waits for a test of seconds.
    """
    heavy = [at for at, name in enumerate(names) if not name.startswith(LIGHT)]
    light = [at for at, name in enumerate(names) if name.startswith(LIGHT)]
    files = [list(places) for _, places in itertools.groupby(heavy, lambda at: _unit(names[at]))]
    order, left = list[int](), iter(light)
    for worker in range(workers):
        piece = list(itertools.chain.from_iterable(files[worker::workers]))
        room = (worker + 1) * len(names) // workers - len(order) - len(piece)
        order += [*piece, *itertools.islice(left, max(0, room))]
    return [*order, *left]


def _unit(name: str) -> str:
    """What one worker has, if it can."""
    return next((folder for folder in TOGETHER if name.startswith(folder)), name.partition("::")[0])
