"""Concatenations whose operands are written where they belong: nothing is moved that somebody else reads in no other place.

    a = conv(x)  b = conv(x)  concat(a, b)    as    two kernels that each write their channels of one value

What is read elsewhere too, and what an input, a stock row or a view of another value leaves, is copied beside them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

from ....ir.graph import Graph, Node
from ....ir.ops.shape import CONCAT
from ..cpu.work import batch_of, only_reader
from .kernels.kernel import VIEW
from .kernels.layout import Stored, padded
from .kernels.moves import gpu_concat
from .work import GpuWork, element_of, image_of

__all__ = ["written_in_place"]


def written_in_place(graph: Graph, works: Mapping[Node, GpuWork]) -> dict[Node, GpuWork]:
    """The same work, of which some writes within concatenations."""
    made = dict(works)
    for node, work in works.items():
        if work.kernel.name == gpu_concat.name and work.covers == (node,):
            made |= _within(graph, made, node)
    return made


def _can_write(work: GpuWork) -> bool:
    """Whether a kernel leaves its result, in the layout, which may be anywhere: for a view none runs."""
    return work.is_laid and work.kernel.name != VIEW and work.result.kind is not CONCAT


def _within(graph: Graph, works: Mapping[Node, GpuWork], node: Node) -> dict[Node, GpuWork]:
    """What writes into this one, and what is left to move; nothing where nobody can."""
    channels, (_, rows, cols) = tuple(image_of(operand)[0] for operand in node.inputs), image_of(node)
    *starts, whole = itertools.accumulate(map(padded, channels), initial=0)
    made = dict[Node, GpuWork]()
    for operand, first in zip(node.inputs, starts, strict=True):
        work = works.get(operand)
        if work is not None and _can_write(work) and only_reader(graph, operand) is node:
            made[operand] = replace(work, kernel=work.kernel.storing(Stored(channels=whole, first=first)), within=node)
    if not made:
        return {}
    moved = tuple(i for i, operand in enumerate(node.inputs) if operand not in made)
    kernel = gpu_concat.of(batch_of(node), channels, rows, cols, element_of(node).dtype, moved)
    arranged = f"of {len(moved)}, {len(made)} in place" if moved else "in place"
    operands = tuple(node.inputs[i] for i in moved)
    whole_work = replace(works[node], kernel=replace(kernel, arranged=arranged), operands=operands, within=node, parts=tuple(made))
    return {**made, node: whole_work}
