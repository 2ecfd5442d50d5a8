"""onnxruntime as an engine: it runs the network as an ONNX model."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from .engine import Engine, Kernel, KernelTime, Run, StandIn, Watched, chunks

if TYPE_CHECKING:
    from ...backends.onnx.kernel_times import OperatorTime
    from ..files.artifact import Artifact

__all__ = ["APPENDS", "ONNXRUNTIME", "ONNXRUNTIME_CUDA"]

# What it appends to a product, as the models that it optimizes show. Two ask: what is free in its prices, and what the node check must not
# tell apart. One table, since both would be wrong about what the other knows better. Nothing follows a transposed convolution.
APPENDS: dict[OpDef[Any], frozenset[OpDef[Any]]] = {
    **dict.fromkeys(CONVS, frozenset({RELU, LEAKY_RELU, CLIP, SIGMOID, TANH, HARD_SIGMOID, HARD_SWISH, ADD})),
    DENSE: frozenset({RELU, LEAKY_RELU, ELU, SELU, SIGMOID, TANH, HARD_SIGMOID, SOFTPLUS}),
}
# From measurements of ours, on AVX-512: 1x1 and 3x3 layers reach 116 GF/s a core; values of layers lie in caches. It leaves its blocked
# layout for a slice, cuts, and goes back.
PRICES = Prices(macs=58e9, bytes=20e9, layer=4e-6, cut=3, appends=APPENDS[CONV2D], folds=True, integers=True)
CUDA_PRICES = replace(PRICES, macs=15e12, bytes=1.6e12)  # of an H100 in float32, as those of the engine cuda


CUDA, ON_GPU = "cuda", "onnx-cuda"  # the device, and the engine on it


@dataclass(frozen=True, slots=True)
class _How:
    """On which device onnxruntime computes, and whether with rewrites of its own."""

    device: str = "cpu"
    rewrites: bool = True


def _start(how: _How, graph: Graph, threads: int | None) -> Run:
    from ...backends.onnx.session import Session
    from ...backends.onnx.write.export import to_model

    _need_device(how)
    return Session(graph, to_model(graph).SerializeToString(), threads, device=how.device, rewrites=how.rewrites).run


def _start_profiled(graph: Graph, threads: int | None) -> Watched:
    return Watched(_start(_How(), graph, threads), functools.partial(_kernel_times, graph, threads))


def _kernel_times(graph: Graph, threads: int | None, inputs: Mapping[str, Array], runs: int) -> list[KernelTime]:
    from ...backends.onnx.kernel_times import operator_times
    from ...backends.onnx.write.export import to_model

    return list(map(_told, operator_times(graph, to_model(graph), threads, inputs, runs)))


def _told(time: OperatorTime) -> KernelTime:
    part = time.part
    names = tuple(node.name for node in part.nodes)
    return KernelTime(part.op, names, time.microseconds, time.macs, time.products, time.bytes, part.moves, time.least)


def _open(how: _How, artifact: Artifact, threads: int | None) -> Run:
    from ...backends.onnx.session import Session

    _need_device(how)
    return Session(artifact.graph(), artifact.onnx, threads, device=how.device, rewrites=how.rewrites).run


def _capture(
    how: _How, graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None
) -> Iterator[tuple[str, Array]]:
    """One session whose outputs are all wanted values; a run keeps only those it is asked for."""
    from ...backends.onnx.session import Session
    from ...backends.onnx.write.export import to_model

    exposed = Graph(graph.name, graph.inputs, tuple(wanted), graph.nodes)
    session = Session(exposed, to_model(exposed).SerializeToString(), threads, device=how.device, rewrites=how.rewrites)
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


def _why_not_on_gpu() -> str:
    """Why onnxruntime does not compute on a GPU here; empty where it does."""
    from ...backends.onnx.session import why_no_cuda
    from ...backends.tvm.cuda.emulator.device import is_emulated
    from ...backends.tvm.gpus.driver import gpu

    if is_emulated():
        return "this process emulates a GPU, which onnxruntime has no kernels for"
    try:
        gpu()
        return why_no_cuda()
    except BackendMissing as error:
        return str(error)


def _need_device(how: _How) -> None:
    """Raises: BackendMissing with the reason that those are told for whom another engine stands in."""
    if how.device == CUDA and (why := _why_not_on_gpu()):
        raise BackendMissing(f"{ON_GPU}: {why}")


def _cuda_word() -> str:
    return _why_not_on_gpu() or _word()


def _engine(name: str, about: str, how: _How, plain: Engine | None) -> Engine:
    """onnxruntime as it comes, with a `plain` one to turn to, or else that one, which computes a model as it is written."""
    return Engine(
        name=name,
        about=about,
        start=functools.partial(_start, how),
        open=functools.partial(_open, how),
        capture=functools.partial(_capture, how),
        kernels=_kernels,
        prices=PRICES,
        word=_word,
        runs_opaque=True,
        plain=plain,
        holds_wide=True,
    )


NAME, ABOUT = "onnx", "onnxruntime on the exported ONNX model"
ONNXRUNTIME = replace(_engine(NAME, ABOUT, _How(), _engine(NAME, ABOUT, _How(rewrites=False), None)), start_profiled=_start_profiled)
ONNXRUNTIME_CUDA = replace(
    _engine(ON_GPU, "onnxruntime's CUDA provider on the exported ONNX model", _How(CUDA), None),
    prices=CUDA_PRICES,
    word=_cuda_word,
    why_not_here=_why_not_on_gpu,
    stand_in=StandIn(ONNXRUNTIME, "onnxruntime computes on the CPU"),
)
