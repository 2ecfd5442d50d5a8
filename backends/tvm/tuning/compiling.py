"""Forms of kernels compiled for this machine, several to a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..attributes import IN_PLACE
from ..host import host_target, physical_cores, raise_interruption, tvm
from ..library.compile_kernels import passes_for

__all__ = ["MakeKernel", "compiled_libraries", "library"]

MakeKernel = Callable[[], Any]  # of a PrimFunc


def compiled_libraries(chunks: Sequence[Sequence[MakeKernel]], folder: Path, stop: Callable[[], bool]) -> list[tuple[Path, int]]:
    """A library of each chunk in order, as many as are done before the stop; TVM lets go of the interpreter's lock."""

    def one(at: int) -> tuple[Path, int] | None:
        return None if stop() else (library([build() for build in chunks[at]], folder / f"{at}.so"), len(chunks[at]))

    with ThreadPoolExecutor(physical_cores()) as pool:
        made = list(pool.map(one, range(len(chunks))))
    return made[: made.index(None)] if None in made else made  # pyright: ignore[reportReturnType]


def library(functions: Sequence[Any], path: Path) -> Path:
    """Compile for this machine's processor, as a network's kernels are: form0, form1 and so on."""
    host = tvm()
    target = host_target()
    named = {f"form{i}": function.with_attr("global_symbol", f"form{i}") for i, function in enumerate(functions)}
    try:
        with passes_for(functions[0].with_attr(IN_PLACE, 0)):
            host.tirx.build(host.IRModule(named), target=target, pipeline="default").export_library(str(path))
    except Exception as error:
        raise_interruption(error)
        raise
    return path
