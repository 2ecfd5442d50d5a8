"""One kernel call on a GPU: what it computes, from which values, and how its weights are packed. No TVM is needed to describe it."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

from ....ir.graph import Graph, Node
from ....ir.ops.elementwise import CAST
from ....ir.types import HALVES
from ..cpu.kernels.epilogue import EpilogueStep, Steps
from ..cpu.laid import Argument, LaidWork
from ..cpu.work import Followers, chain_after, only_reader, step_from
from ..gpus.architectures import Architecture
from .kernels.epilogue import GPU_STEPS, UNBOUNDED
from .kernels.kernel import GpuKernel
from .kernels.layout import CHUNK, ELEMENTS, ElementKind, GpuPacking

__all__ = ["TYPES", "Around", "GpuWork", "element_of", "following", "gpu_step_of", "image_of", "packed_for_gpu"]

LONGEST = 1 << 31  # of numbers that pixels, and chunks, are counted by
MOST_READS = 4  # that steps within a kernel read
TYPES = HALVES | {"f32"}


@dataclass(frozen=True)
class GpuWork(LaidWork[GpuKernel]):
    """A kernel call of which the layout is channels innermost, padded. With `within` its result is written into channels of that
    concatenation, where nothing else reads it; of a concatenation `parts` are what is written so.
    """

    within: Node | None = None
    parts: tuple[Node, ...] = ()

    @property
    def needs(self) -> tuple[Node, ...]:
        return (*super().needs, *self.parts)


@dataclass(frozen=True)
class Around:
    """What a rule may look at besides its node: the graph, the nodes that have work already, the values that kernels of ours leave,
    the GPUs they are for, and the types that they take.
    """

    graph: Graph
    covered: Set[Node]
    padded: Set[Node]
    arch: Architecture
    types: Set[str] = HALVES

    def may_pad(self, node: Node) -> bool:
        """Whether a value may lie with its channels innermost: an image, a sequence, or scores, of numbers that tensor cores take."""
        return node.typed.dtype in self.types and _is_image(node)

    def may_stay(self, node: Node) -> bool:
        """Whether a value may lie so that is computed of values that do, and tensor cores are not asked: float32 among 16 bits, too."""
        return node.typed.dtype in TYPES and _is_image(node)


def _is_image(node: Node) -> bool:
    """Of known sizes but for the batch, and few enough."""
    shape = node.typed.shape
    sizes = [dim for dim in shape[1:] if isinstance(dim, int)]
    if len(shape) not in (2, 3, 4) or len(sizes) < len(shape) - 1 or node.weights is not None:
        return False
    whole = math.prod(sizes) * (shape[0] if isinstance(shape[0], int) else 1)
    return 0 < whole < LONGEST


def element_of(node: Node) -> ElementKind:
    return ELEMENTS[node.typed.dtype]


def image_of(node: Node) -> tuple[int, int, int]:
    """Channels, rows and columns of a value that may lie so; of a sequence there is one row, of scores one pixel."""
    sizes = [dim for dim in node.typed.shape[1:] if isinstance(dim, int)]
    channels, *rest = sizes
    rows, cols = [1] * (2 - len(rest)) + rest
    return channels, rows, cols


def following(around: Around, node: Node) -> Followers:
    """What may be computed before the value of `node` is stored: nodes, their steps, and what those read besides. A chain that a network
    has in float32, between a cast to it and one back, is computed so anyhow.
    """
    chain, steps, others = _steps_after(around, node)
    while (wide := _through_float32(around, chain[-1])) is not None:
        more = _steps_after(around, wide[0][-1])
        if len(others) + len(more[2]) > MOST_READS:
            break
        chain, steps, others = (*chain, *wide[0], *more[0][1:]), (*steps, *wide[1], *more[1]), (*others, *more[2])
    return chain, steps, others


def _steps_after(around: Around, node: Node) -> Followers:
    """Of what may be no number in channels beyond the last, which kernels store too, those alone that leave none of these."""

    def step_of(reader: Node, value: Node) -> EpilogueStep | None:
        is_harmless = reader.kind not in UNBOUNDED or (_is_image(reader) and image_of(reader)[0] % CHUNK == 0)
        return gpu_step_of(around, reader, value) if is_harmless else None

    return chain_after(around.graph, around.covered, node, step_of, MOST_READS)


def _through_float32(around: Around, value: Node) -> tuple[tuple[Node, ...], Steps] | None:
    """A cast, steps that read nothing besides, and the cast back."""
    widened = only_reader(around.graph, value)
    if widened is None or widened.kind is not CAST or widened.typed.dtype != "f32" or value.typed.dtype not in HALVES:
        return None
    chain, steps, others = _steps_after(around, widened)
    back = only_reader(around.graph, chain[-1])
    if not steps or others or back is None or back.kind is not CAST or back.type != value.type or back in around.covered:
        return None
    return (*chain, back), steps


def gpu_step_of(around: Around, node: Node, value: Node) -> EpilogueStep | None:
    """The step that computes `node` from `value`, one of its operands; None where it is none. For float32 among 16 bits no other operand is
    brought into the layout.
    """
    if node.kind not in GPU_STEPS or not around.may_stay(node):
        return None
    others = [operand for operand in node.inputs if operand is not value]
    fits = around.may_pad(node) or all(operand in around.padded for operand in others)
    return step_from(node, value) if fits else None


def packed_for_gpu(name: str, packing: GpuPacking, param: Node) -> Argument:
    """A parameter as a kernel reads it."""
    return Argument(name, packing.shape, packing.dtype, lambda values: packing.pack(values(param)))
