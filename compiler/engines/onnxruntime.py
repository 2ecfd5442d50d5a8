"""onnxruntime as an engine: it runs the network as an ONNX model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from ...ir.graph import Graph, Node
from ...ir.ops.activation import CLIP, LEAKY_RELU, RELU
from ...ir.ops.conv import CONV2D, CONV_TRANSPOSE2D
from ...ir.ops.elementwise import ADD
from ...ir.ops.linear import DENSE
from ...ir.types import Array
from ...passes import prices
from .engine import Engine, Kernel, Run, chunks

if TYPE_CHECKING:
    from ..artifact import Artifact

__all__ = ["ONNXRUNTIME"]

PRODUCTS = (CONV2D, CONV_TRANSPOSE2D, DENSE)
EPILOGUES = (RELU, CLIP, LEAKY_RELU, ADD)  # what it may append to a product


def _start(graph: Graph, threads: int | None) -> Run:
    from ...backends.onnx.export import to_model
    from ...backends.onnx.session import Session

    return Session(graph, to_model(graph).SerializeToString(), threads).run


def _open(artifact: Artifact, threads: int | None) -> Run:
    from ...backends.onnx.session import Session

    return Session(artifact.graph(), artifact.onnx, threads, cuda=artifact.target == "cuda").run


def _capture(graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None) -> Iterator[tuple[str, Array]]:
    """One session whose outputs are all wanted values; a run keeps only those it is asked for."""
    from ...backends.onnx.export import to_model
    from ...backends.onnx.session import Session

    exposed = Graph(graph.name, graph.inputs, tuple(wanted), graph.nodes)
    session = Session(exposed, to_model(exposed).SerializeToString(), threads)
    for chunk in chunks(wanted):
        yield from session.run(inputs, [node.name for node in chunk]).items()


def _kernels(graph: Graph) -> list[Kernel]:
    """A product takes its only reader in while that is an epilogue. The most that it may do is assumed: what it does is its affair."""
    outputs, readers = set(graph.outputs), graph.readers
    kernels: list[Kernel] = []
    covered: set[Node] = set()
    for node in graph.ops:
        if node in covered:
            continue
        group = [node]
        while node.kind in PRODUCTS and group[-1] not in outputs and len(readers[group[-1]]) == 1:
            (reader,) = readers[group[-1]]
            others = [operand for operand in reader.inputs if operand is not group[-1]]
            # what the reader also reads must be there before the group, or the group could not run at once
            if reader.kind not in EPILOGUES or any(other in covered or not _is_before(graph, other, node) for other in others):
                break
            group.append(reader)
        covered.update(group)
        kernels.append(Kernel(tuple(group)))
    return kernels


def _is_before(graph: Graph, operand: Node, node: Node) -> bool:
    return graph.positions[operand] < graph.positions[node]


def _word() -> str:
    from ...backends.onnx.export import newest_opset
    from ...backends.onnx.session import version as runtime

    return f"onnx {version('onnx')}, onnxruntime {runtime()}, exports opset {newest_opset()} by default"


ONNXRUNTIME = Engine(
    name="onnx",
    about="onnxruntime on the exported ONNX model",
    start=_start,
    open=_open,
    capture=_capture,
    kernels=_kernels,
    prices=prices.ONNXRUNTIME,
    word=_word,
)
