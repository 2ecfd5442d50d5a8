"""One kernel call: what it computes, from which values, and how its weights are packed. No TVM is needed to describe it."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....ir.dims import Expr
from ....ir.graph import Graph, Node
from ....ir.op import OpDef
from ....ir.ops.conv import Conv1d, Conv2d
from ....ir.ops.conv_transpose import ConvTranspose1d, ConvTranspose2d
from ....ir.ops.elementwise import CAST, Cast
from ....ir.ops.resize import Resize
from ....ir.ops.window import Pair
from ....ir.types import Array
from ..processor import Processor
from .kernels.arrange import arrange
from .kernels.epilogue import STEPS, EpilogueStep, Steps
from .kernels.kernel import CpuKernel, TunedForms
from .kernels.layout import Packing
from .laid import Argument, LaidWork, ParamValues

__all__ = [
    "HALF",
    "ROUNDED",
    "Arranged",
    "Followers",
    "Surroundings",
    "Work",
    "batch_of",
    "can_pack",
    "chain_after",
    "extents",
    "followers",
    "has_blocks",
    "in_rows",
    "is_blocked",
    "is_blocked_layer",
    "kernel_of",
    "only_reader",
    "packed",
    "step_from",
    "step_of",
    "transformed",
]

Followers = tuple[tuple[Node, ...], Steps, tuple[Node, ...]]
StepOf = Callable[[Node, Node], EpilogueStep | None]  # of a node that reads a value, and that value

HALF = "f16"
ROUNDED = EpilogueStep(CAST, Cast(HALF))  # to float16, and float32 again
MOST_ARRANGED = 1 << 23  # elements of a computed parameter
MOST_STEPS, MOST_READS = 16, 8  # that follow a kernel within it


@dataclass(frozen=True)
class Arranged(Argument):
    """What a kernel reads of a parameter that is computed, such as the weights that a step of training is given: `kernel` makes it of the
    value of `node` before each run. Where that only moves elements, the library's argument says from which places, -1 for a zero.
    """

    node: Node
    kernel: CpuKernel
    moves: bool = True

    @property
    def is_given(self) -> bool:
        return self.moves


@dataclass(frozen=True)
class Work(LaidWork[CpuKernel]):
    """A kernel call of which the layout is blocks. `starts`, of a kernel that only moves whole blocks, says where each
    operand's first block would lie, counted from the result's, if nothing were moved.
    """

    starts: tuple[int, ...] = ()

    @property
    def is_laid(self) -> bool:
        return is_blocked(self.result) and super().is_laid

    @property
    def arranged(self) -> tuple[Arranged, ...]:
        """Parameters that are computed, which are arranged before each run of the kernel."""
        return tuple(argument for argument in self.arguments if isinstance(argument, Arranged))

    @property
    def computed(self) -> tuple[Node, ...]:
        return tuple(argument.node for argument in self.arranged)


@dataclass(frozen=True)
class Surroundings:
    """What a rule may look at besides its node: the graph, the nodes that have work already, and for what it is planned.

    `works` are those nodes' by what each leaves. `tiles` are those of convolutions that Winograd's way computes, by name. `in_blocks` are
    the values that kernels leave there, `joint` what kernels compute several of.
    """

    graph: Graph
    covered: Set[Node]
    joint: Set[Node]
    in_blocks: Set[Node]
    works: Mapping[Node, Work]
    tiles: Mapping[str, int]
    tuned: TunedForms
    processor: Processor


def is_blocked(node: Node) -> bool:
    """Whether a value may lie in blocks: an image, or a sequence as one of a single row, with elements, whose sizes but the batch are
    numbers.

    It is of float32, or of float16, which lies in blocks as the same numbers in float32: so kernels are the same, and all that computes
    rounds what it leaves.
    """
    shape = node.typed.shape
    if node.typed.dtype not in ("f32", HALF) or len(shape) not in (3, 4) or 0 in shape:
        return False
    return all(isinstance(dim, int) for dim in shape[1:])


def is_blocked_layer(node: Node) -> bool:
    """Whether a layer's image and result may lie in blocks, and all else that it reads are parameters."""
    image, *params = node.inputs
    return is_blocked(image) and is_blocked(node) and all(param.weights is not None for param in params)


def has_blocks(node: Node) -> bool:
    """Whether a layer's image and result may lie in blocks, and its weights be packed, before or in each run."""
    image, *params = node.inputs
    return is_blocked(image) and is_blocked(node) and all(map(can_pack, params))


def can_pack(param: Node) -> bool:
    """Whether a kernel may read it otherwise arranged: it is known, or computed, of sizes that are numbers, and not so large that the
    places of its elements would cost more than they save.
    """
    if param.weights is not None:
        return True
    sizes = [dim for dim in param.typed.shape if isinstance(dim, int)]
    return param.typed.dtype == "f32" and len(sizes) == param.typed.rank and 0 < math.prod(sizes) <= MOST_ARRANGED


def batch_of(node: Node) -> int | None:
    """None for a batch that is a named size."""
    batch = node.typed.shape[0]
    return None if isinstance(batch, Expr) else batch


def only_reader(graph: Graph, node: Node) -> Node | None:
    """The node that alone reads a value, once; None where there is none such or the value is returned."""
    if node in graph.outputs or graph.uses[node] != 1:
        return None
    (reader,) = graph.readers[node]
    return reader


def followers(around: Surroundings, node: Node, kinds: Container[OpDef[Any]] = STEPS, *, gates: bool = True) -> Followers:
    """What of these kinds may be computed before the value of `node` is stored, in the end rounded where it is float16; without `gates`,
    what reads it once.
    """
    covers, steps, others = chain_after(
        around.graph, around.covered, node, lambda reader, value: step_of(reader, value, kinds), MOST_READS, gates=gates
    )
    return covers, (*steps, ROUNDED) if node.typed.dtype == HALF else steps, others


def chain_after(graph: Graph, covered: Set[Node], node: Node, step_of: StepOf, most_reads: int, *, gates: bool = True) -> Followers:
    """What may be computed before the value of `node` is stored: nodes, their steps as `step_of` has them, and what those read besides.

    No more than a few: what a kernel takes to compile grows with the square of its arguments, and TVM has no stack for thousands of steps.
    """
    chain, steps, others = [node], list[EpilogueStep](), list[Node]()
    while len(steps) < MOST_STEPS and len(others) < most_reads:
        reader = only_reader(graph, chain[-1])
        inner, reader = (None, reader) if reader is not None else _gate(graph, chain[-1]) if gates else (None, None)
        step = None if reader is None else step_of(reader, chain[-1])
        if reader is None or step is None or not covered.isdisjoint((reader, inner)):
            break
        if inner is not None:
            gate = step_of(inner, chain[-1])
            if gate is None or gate.reads:
                break
            step = replace(step, reads=0, gate=gate)
            chain.append(inner)
        elif step.reads:
            other = reader.inputs[1] if reader.inputs[0] is chain[-1] else reader.inputs[0]
            if other is chain[-1]:
                break
            others.append(other)
        chain.append(reader)
        steps.append(step)
    return tuple(chain), tuple(steps), tuple(others)


def _gate(graph: Graph, value: Node) -> tuple[Node, Node] | tuple[None, None]:
    """Of x * sigmoid(x), whose value nothing else reads: the sigmoid, and the product."""
    readers = graph.readers[value]
    if value in graph.outputs or len(readers) != 2 or readers[0] is readers[1]:
        return None, None
    inner, outer = sorted(readers, key=graph.positions.__getitem__)
    is_gate = len(outer.inputs) == 2 and only_reader(graph, inner) is outer and inner in outer.inputs
    return (inner, outer) if is_gate else (None, None)


def step_of(node: Node, value: Node, kinds: Container[OpDef[Any]] = STEPS) -> EpilogueStep | None:
    """The step, of one of these kinds, that computes `node` from `value`, one of its operands; None where it is none."""
    return step_from(node, value) if node.kind in kinds and node.typed.dtype in ("f32", HALF) else None


def step_from(node: Node, value: Node) -> EpilogueStep | None:
    """The step that computes a node of one or two operands from `value`; None where it would have to broadcast, or read a parameter."""
    if len(node.inputs) == 1:
        return EpilogueStep(node.kind, node.op)
    if any(operand.type != node.type or operand.weights is not None for operand in node.inputs):
        return None  # broadcasts are kernels of their own
    return EpilogueStep(node.kind, node.op, 1, node.inputs[0] is not value)


def packed(name: str, packing: Packing, param: Node) -> Argument:
    """A parameter as a kernel reads it; a sequence's filters are an image's of a single row. Of one that is computed the packing must only
    move elements, and put zeros between them."""
    is_line = param.typed.rank == 3
    if param.weights is None:
        shape = param.typed.concrete()
        return Arranged(name, packing.shape, "i32", lambda values: _places(packing, shape), param, arrange.of(shape, packing.shape))

    def made(values: ParamValues) -> Array:
        given = values(param).astype(np.float32, copy=False)
        return packing.pack(given[:, :, None] if is_line else given)

    return Argument(name, packing.shape, "f32", made)


def transformed(name: str, shape: tuple[int, ...], param: Node, kernel: CpuKernel) -> Arranged:
    """A parameter that is computed as a kernel reads it: what `kernel` makes of it alone."""
    return Arranged(name, shape, "f32", lambda values: values(param), param, kernel, moves=False)


def _places(packing: Packing, shape: tuple[int, ...]) -> Array:
    """Where each element of what is packed comes from, in row-major order; -1 for a zero."""
    places = np.arange(1, math.prod(shape) + 1, dtype=np.int32).reshape(shape)
    return packing.pack(places[:, :, None] if len(shape) == 3 else places) - 1


def extents(node: Node) -> tuple[int, int, int]:
    """Channels, rows and columns of a value that may lie in blocks; of a sequence there is one row."""
    c, *rows, w = (dim for dim in node.typed.shape[1:] if isinstance(dim, int))
    return c, rows[0] if rows else 1, w


def kernel_of(w: Node) -> Pair:
    """Rows and columns of filters."""
    *rows, cols = w.typed.concrete()[2:]
    return rows[0] if rows else 1, cols


def in_rows(op: Any) -> Any:
    """The attributes of a window, or a resize, over images that does with an image of one row what this one does with a sequence."""
    if isinstance(op, Resize):
        return op if len(op.scales) == 2 else replace(op, scales=(1.0, *op.scales), sizes=(1, *op.sizes) if op.sizes else ())
    if len(op.strides) == 2:
        return op
    (before, after), inner = op.pads, {"strides": (1, *op.strides), "dilations": (1, *op.dilations)}
    inner["pads"] = (0, before, 0, after)
    if isinstance(op, Conv1d):
        return Conv2d(**inner, groups=op.groups)
    if isinstance(op, ConvTranspose1d):
        return ConvTranspose2d(**inner, groups=op.groups, output_padding=(0, *op.output_padding))
    return replace(op, kernel=(1, *op.kernel), **inner)
