"""A plan of kernels that have values in a layout of their own, and stock rows that have them plainly: what it takes, and what runs.

The layout is blocks of channels on a CPU; on a GPU channels lie innermost. No TVM is needed to plan.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ....ir.graph import Graph, Node
from ....ir.types import DTYPES, Array

__all__ = ["STOCK", "Argument", "LaidPlan", "LaidWork", "ParamValues", "PlannedCall", "as_it_is"]

K = TypeVar("K")  # what describes a kernel
W = TypeVar("W", bound="LaidWork[Any]")
ParamValues = Callable[[Node], Array]  # of a parameter
STOCK = "stock"


@dataclass(frozen=True)
class Argument:
    """An argument of the library besides the inputs: a parameter's values, packed for its kernel."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    make: Callable[[ParamValues], Array]

    @property
    def is_given(self) -> bool:
        """Whether the library takes it, and does not compute it alone."""
        return True


def as_it_is(node: Node) -> Argument:
    dtype = node.typed.in_bytes.dtype
    return Argument(node.name, node.typed.concrete(), dtype, lambda values: values(node).astype(DTYPES[dtype], copy=False))


@dataclass(frozen=True)
class LaidWork(Generic[K]):
    """One kernel call. Operands and result are in the layout, except those in `plain`; `others`, which its steps read besides, lie as the
    result. `covers` are the nodes it computes, the one whose value it is last.
    """

    covers: tuple[Node, ...]
    kernel: K
    operands: tuple[Node, ...]
    arguments: tuple[Argument, ...] = ()
    others: tuple[Node, ...] = ()
    plain: frozenset[Node] = frozenset()

    @property
    def result(self) -> Node:
        return self.covers[-1]

    @property
    def is_laid(self) -> bool:
        """Whether it stores its result in the layout."""
        return self.result not in self.plain

    @property
    def reads(self) -> tuple[tuple[Node, bool], ...]:
        """Operands, then others, and whether each is read in the layout."""
        return (*((node, node not in self.plain) for node in self.operands), *((node, self.is_laid) for node in self.others))

    @property
    def computed(self) -> tuple[Node, ...]:
        """Parameters that are computed, not known: they are read as they are, and arranged before each run of the kernel."""
        return ()

    @property
    def needs(self) -> tuple[Node, ...]:
        """What has to be computed before."""
        return (*(node for node, _ in self.reads), *self.computed)


@dataclass(frozen=True)
class PlannedCall(Generic[W]):
    """One step of a plan: the kernel of some work, a move of a value into the layout or out of it, or of a computed parameter to where the
    `argument` of the next kernel has it, or a node's stock row.
    """

    kernel: str
    node: Node
    work: W | None = None
    argument: Argument | None = None


@dataclass(frozen=True)
class LaidPlan(Generic[W]):
    """Work by the node whose value it computes; nodes without work and not covered by any are left to the stock rows."""

    graph: Graph
    works: dict[Node, W]
    covered: frozenset[Node]

    @functools.cached_property
    def needed(self) -> frozenset[Node]:
        """Values that something reads: kernels, stock rows whose own are, or the caller. A kernel may read what lies behind a move."""
        needed = set(self.graph.outputs)
        for node in reversed(list(self.graph.ops)):
            if node in needed and node in self.works:
                needed.update(self.works[node].needs)
            elif node in needed and node not in self.covered:
                needed.update(node.inputs)
        return frozenset(needed)

    @functools.cached_property
    def as_they_are(self) -> list[Node]:
        """Parameters that stock rows read, kernels that take them plainly, or the caller."""
        return [node for node in self.graph.params if node in self.needed]

    @property
    def arguments(self) -> list[Argument]:
        """Parameters as they are, then what the kernels read, in order. A packed one's name may be that of a parameter too."""
        works = [work for node, work in self.works.items() if node in self.needed]
        return [*map(as_it_is, self.as_they_are), *(each for work in works for each in work.arguments if each.is_given)]

    @property
    def takes(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Name, shape and type of every argument."""
        return [(argument.name, argument.shape, argument.dtype) for argument in self.arguments]

    def steps(self, into: str, out: str) -> Iterator[PlannedCall[W]]:
        """Everything that runs, in order. A value is moved to the other layout, `into` or `out`, when somebody first asks for it there."""
        plain, laid = {*self.graph.inputs, *self.graph.params}, set[Node]()

        def wanted(node: Node, is_laid: bool) -> Iterator[PlannedCall[W]]:
            layout = laid if is_laid else plain
            if node not in layout:
                layout.add(node)
                yield PlannedCall(into if is_laid else out, node)

        for node in self.graph.ops:
            work = self.works.get(node)
            if node not in self.needed:
                continue
            if work is not None:
                for operand, is_laid in work.reads:
                    yield from wanted(operand, is_laid)
                for operand in work.computed:
                    yield from wanted(operand, False)
                (laid if work.is_laid else plain).add(node)
                yield PlannedCall(work.kernel.name, node, work)
            elif node not in self.covered:
                for operand in node.inputs:
                    yield from wanted(operand, False)
                plain.add(node)
                yield PlannedCall(STOCK, node)
        for node in self.graph.outputs:
            yield from wanted(node, False)
