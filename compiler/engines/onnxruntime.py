"""onnxruntime as an engine: it runs the network as an ONNX model."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...ir.errors import BackendMissing
from ...ir.graph import Graph, Node
from ...ir.op import OpDef
from ...ir.ops.activation import CLIP, LEAKY_RELU, RELU, SIGMOID, TANH
from ...ir.ops.activation_variants import ELU, HARD_SIGMOID, HARD_SWISH, SELU
from ...ir.ops.conv import CONV2D, CONVS
from ...ir.ops.elementwise import ADD
from ...ir.ops.linear import DENSE
from ...ir.ops.unary import SOFTPLUS
from ...ir.types import Array
from ...ir.version import release
from ...passes.analysis.prices import Prices
from .engine import Engine, Kernel, Run, chunks

if TYPE_CHECKING:
    from ..files.artifact import Artifact

__all__ = ["APPENDS", "ONNXRUNTIME"]

# What it appends to a product, as the models that it optimizes show. Two ask: what is free in its prices, and what the node check must not
# tell apart. One table, since both would be wrong about what the other knows better. Nothing follows a transposed convolution.
APPENDS: dict[OpDef[Any], frozenset[OpDef[Any]]] = {
    **dict.fromkeys(CONVS, frozenset({RELU, LEAKY_RELU, CLIP, SIGMOID, TANH, HARD_SIGMOID, HARD_SWISH, ADD})),
    DENSE: frozenset({RELU, LEAKY_RELU, ELU, SELU, SIGMOID, TANH, HARD_SIGMOID, SOFTPLUS}),
}
# From measurements of ours, on AVX-512: 1x1 and 3x3 layers reach 116 GF/s a core; values of layers lie in caches. It leaves its blocked
# layout for a slice, cuts, and goes back.
PRICES = Prices(macs=58e9, bytes=20e9, layer=4e-6, cut=3, appends=APPENDS[CONV2D], folds=True, integers=True)


def _start(rewrites: bool, graph: Graph, threads: int | None) -> Run:
    from ...backends.onnx.session import Session
    from ...backends.onnx.write.export import to_model

    return Session(graph, to_model(graph).SerializeToString(), threads, rewrites=rewrites).run


def _open(rewrites: bool, artifact: Artifact, threads: int | None) -> Run:
    from ...backends.onnx.session import Session

    on = functools.partial(Session, artifact.graph(), artifact.onnx, threads, rewrites=rewrites)
    try:
        return on(device=artifact.target.device).run
    except BackendMissing:  # a GPU is no use to it without CUDA's libraries, of which it needs more than TVM does
        return on().run


def _capture(
    rewrites: bool, graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None
) -> Iterator[tuple[str, Array]]:
    """One session whose outputs are all wanted values; a run keeps only those it is asked for."""
    from ...backends.onnx.session import Session
    from ...backends.onnx.write.export import to_model

    exposed = Graph(graph.name, graph.inputs, tuple(wanted), graph.nodes)
    session = Session(exposed, to_model(exposed).SerializeToString(), threads, rewrites=rewrites)
    for chunk in chunks(wanted):
        yield from session.run(inputs, [node.name for node in chunk]).items()


def _kernels(graph: Graph) -> list[Kernel]:
    """A product takes its only reader in while that may be appended. It does so for a sum and one activation at most; more is no harm."""
    outputs, readers = set(graph.outputs), graph.readers
    kernels: list[Kernel] = []
    covered: set[Node] = set()
    for node in graph.ops:
        if node in covered:
            continue
        group = [node]
        while node.kind in APPENDS and group[-1] not in outputs and len(readers[group[-1]]) == 1:
            (reader,) = readers[group[-1]]
            others = [operand for operand in reader.inputs if operand is not group[-1]]
            # what the reader also reads must be there before the group, or the group could not run at once
            if reader.kind not in APPENDS[node.kind] or any(other in covered or not _is_before(graph, other, node) for other in others):
                break
            group.append(reader)
        covered.update(group)
        kernels.append(Kernel(tuple(group)))
    return kernels


def _is_before(graph: Graph, operand: Node, node: Node) -> bool:
    return graph.positions[operand] < graph.positions[node]


def _word() -> str:
    from ...backends.onnx.session import version as runtime
    from ...backends.onnx.write.export import newest_opset

    return f"onnx {release('onnx')}, onnxruntime {runtime()}, exports opset {newest_opset()} by default"


def _engine(plain: Engine | None) -> Engine:
    """onnxruntime as it comes, with a `plain` one to turn to, or else that one, which computes a model as it is written."""
    rewrites = plain is not None
    return Engine(
        name="onnx",
        about="onnxruntime on the exported ONNX model",
        start=functools.partial(_start, rewrites),
        open=functools.partial(_open, rewrites),
        capture=functools.partial(_capture, rewrites),
        kernels=_kernels,
        prices=PRICES,
        word=_word,
        runs_opaque=True,
        plain=plain,
    )


ONNXRUNTIME = _engine(_engine(None))
