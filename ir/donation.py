"""Donation: outputs that lie where an input lay. What a training step makes of a weight may be written over that weight, which saves the
memory and a copy, if nobody reads the weight afterwards.

    donated = following(step)                 # {"c1.w.next": "c1.w", ...}
    step = in_order(step, donated)            # every reader of c1.w stands before c1.w.next, or there is no such order

Whoever gives such an input gives it up: after a run its memory holds the output.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from .errors import InvalidInput, InvalidModel
from .graph import Graph, Node
from .ops.leaf import INPUT
from .types import Array

__all__ = ["ALIGNMENT", "NEXT", "aligned", "check_given_up", "following", "holds_order", "in_order"]

ALIGNMENT = 64  # bytes: where engines take an array as it lies
NEXT = ".next"  # what a step makes of an input has its name and this


def following(graph: Graph) -> dict[str, str]:
    """Of each output `NAME.next`, the input `NAME` of its type. An output that is an input itself, or a parameter, is none."""
    types = {node.name: node.typed for node in graph.inputs}
    names = ((node, node.name.removesuffix(NEXT)) for node in graph.outputs if node.name.endswith(NEXT) and node.inputs)
    return {node.name: name for node, name in names if types.get(name) == node.typed}


def aligned(array: Array) -> Array:
    """A copy that may be given up: writable, and where engines write over it without copying it first."""
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    made = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    np.copyto(made, array)
    return made


def check_given_up(inputs: Mapping[str, Array], names: Collection[str]) -> None:
    """Raises: InvalidInput where an array of these names cannot be written to, or another input shares its memory."""
    for name in names:
        if not inputs[name].flags.writeable:
            raise InvalidInput(f"input '{name}' is written over, and this array cannot be; give a copy that is writable")
    reach, holder = -1, ""
    for first, end, name in sorted((*_bounds(array), name) for name, array in inputs.items() if array.size):
        if first < reach and not {name, holder}.isdisjoint(names):
            one, other = (name, holder) if name in names else (holder, name)
            raise InvalidInput(f"input '{one}' is written over, and shares memory with '{other}'; give it memory of its own")
        if end > reach:
            reach, holder = end, name


def _bounds(array: Array) -> tuple[int, int]:
    """Where its memory begins and ends."""
    steps = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    first = array.ctypes.data + sum(min(step, 0) for step in steps)
    return first, array.ctypes.data + sum(max(step, 0) for step in steps) + array.itemsize


def holds_order(graph: Graph, donated: Mapping[str, str]) -> bool:
    """Whether all that reads a donated input stands before the output that takes its place."""
    return all(graph.positions[reader] < graph.positions[result] for result, readers in _waits(graph, donated) for reader in readers)


def in_order(graph: Graph, donated: Mapping[str, str]) -> Graph:
    """The graph in its own order, but for outputs that wait for the last reader of the input whose place they take.

    Raises: InvalidModel where one reads an input of what only the output in its place leads to, or where an input is returned as it is:
    no order saves it from being overwritten.
    """
    waits = list(_waits(graph, donated))
    for result, readers in waits:
        _check(graph, result, graph.by_name[donated[result.name]], readers)
    if holds_order(graph, donated):
        return graph
    before: dict[Node, set[Node]] = {node: set(node.inputs) for node in graph.nodes}
    for result, readers in waits:
        before[result] |= set(readers)
    order = _sorted(graph, before)
    if len(order) < len(graph.nodes):
        placed = set(order)
        result, readers = next((each, late) for each, late in waits if each not in placed)
        late = next(each for each in readers if each not in placed)
        raise InvalidModel(_refusal(result, donated[result.name], late, "by way of another output that waits for it"))
    return Graph.of(graph.name, graph.inputs, graph.outputs, order)


def _waits(graph: Graph, donated: Mapping[str, str]) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Each output that takes an input's place, and the other nodes that read the input, or a view of it."""
    for name, given in donated.items():
        result = graph.by_name[name]
        yield result, tuple(reader for reader in _readers(graph, graph.by_name[given]) if reader is not result)


def _readers(graph: Graph, value: Node) -> list[Node]:
    found: dict[Node, None] = {}
    stack = [value]
    while stack:
        for reader in graph.readers[stack.pop()]:
            if reader not in found:
                found[reader] = None
                if reader.kind.facts.is_view:
                    stack.append(reader)
    return list(found)


def _check(graph: Graph, result: Node, given: Node, readers: tuple[Node, ...]) -> None:
    """Raises: InvalidModel as `in_order`."""
    if given.kind is not INPUT or given.typed != result.typed:
        raise InvalidModel(f"{result.where} is {result.type} and cannot take the place of {given.where}, {given.type}; give such an input")
    outputs = set(graph.outputs)
    if kept := next((node for node in (given, *readers) if node in outputs and (node is given or node.kind.facts.is_view)), None):
        raise InvalidModel(f"{result.where} cannot be written over %{given.name}, which is returned as %{kept.name}; return a copy of it")
    after = _reached(graph, result)
    if late := next((reader for reader in readers if reader in after), None):
        raise InvalidModel(_refusal(result, given.name, late, "which needs it"))


def _refusal(result: Node, given: str, late: Node, why: str) -> str:
    return (
        f"{late.where} reads %{given} after {result.where} is written over it, {why}; read %{given} before that, or do not compute in place"
    )


def _reached(graph: Graph, start: Node) -> set[Node]:
    """All that depends on a node."""
    seen: set[Node] = set()
    stack = [start]
    while stack:
        for reader in graph.readers[stack.pop()]:
            if reader not in seen:
                seen.add(reader)
                stack.append(reader)
    return seen


def _sorted(graph: Graph, before: Mapping[Node, set[Node]]) -> list[Node]:
    """In the graph's own order as far as what stands `before` allows; without the nodes of a circle, and what follows them."""
    left = {node: len(each) for node, each in before.items()}
    after: dict[Node, list[Node]] = {}
    for node, each in before.items():
        for other in each:
            after.setdefault(other, []).append(node)
    ready = [graph.positions[node] for node, count in left.items() if not count]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        node = graph.nodes[heapq.heappop(ready)]
        order.append(node)
        for other in after.get(node, ()):
            left[other] -= 1
            if not left[other]:
                heapq.heappush(ready, graph.positions[other])
    return order
