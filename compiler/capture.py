"""Intermediate values as an engine computes them, in order, a few at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..backends import reference
from ..backends.tvm.fast.work import Winograd
from ..ir.errors import UsageError
from ..ir.files import scratch_folder
from ..ir.graph import Graph, Node
from ..ir.types import Array

__all__ = ["CAPTURES", "Capture"]

# Yields (name, value) for the wanted nodes of a graph without named sizes, in the graph's order.
Capture = Callable[[Graph, Sequence[Node], Mapping[str, Array], int | None], Iterator[tuple[str, Array]]]

HELD_BYTES = 256 << 20  # of values fetched at once; for the next ones the network is run again, and by TVM built again


def _chunks(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Consecutive nodes whose values fit HELD_BYTES, or one that does not."""
    chunk: list[Node] = []
    held = 0
    for node in nodes:
        size = node.typed.nbytes
        size = size if isinstance(size, int) else 0
        if chunk and held + size > HELD_BYTES:
            yield chunk
            chunk, held = [], 0
        chunk.append(node)
        held += size
    if chunk:
        yield chunk


def _reference(graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None) -> Iterator[tuple[str, Array]]:
    names = {node.name for node in wanted}
    return ((node.name, value) for node, value in reference.stream(graph, inputs) if node.name in names)


def _onnx(graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None) -> Iterator[tuple[str, Array]]:
    """One session whose outputs are all wanted values; a run keeps only those it is asked for."""
    from ..backends.onnx.export import to_model
    from ..backends.onnx.session import Session

    exposed = Graph(graph.name, graph.inputs, tuple(wanted), graph.nodes)
    session = Session(exposed, to_model(exposed).SerializeToString(), threads)
    for chunk in _chunks(wanted):
        yield from session.run(inputs, [node.name for node in chunk]).items()


def _tvm(
    graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None, winograd: Winograd = "auto"
) -> Iterator[tuple[str, Array]]:
    """A library per chunk: TVM returns every output of a function, asked for or not. Its kernels are those of the whole graph."""
    from ..backends.tvm.build import BuildOptions, build_cpu
    from ..backends.tvm.run import LoadedLibrary

    for chunk in _chunks(wanted):
        exposed = Graph(graph.name, graph.inputs, tuple(dict.fromkeys([*chunk, *graph.outputs])), graph.nodes)
        with scratch_folder() as folder:
            built = build_cpu(exposed, folder / "model.so", BuildOptions(winograd))
            module = LoadedLibrary.load(built.library, threads=threads)
        values = module.run(inputs)
        yield from ((node.name, values.pop(node.name)) for node in chunk)


CAPTURES: dict[str, Capture] = {"reference": _reference, "onnx": _onnx, "tvm": _tvm}


def capture_of(engine: str, winograd: Winograd = "auto") -> Capture:
    """`winograd` is what TVM builds with.

    Raises: UsageError for an engine whose intermediate values cannot be seen."""
    if engine not in CAPTURES:
        raise UsageError(f"intermediate values of '{engine}' cannot be captured; choose from {', '.join(CAPTURES)}")
    return functools.partial(_tvm, winograd=winograd) if engine == "tvm" else CAPTURES[engine]
