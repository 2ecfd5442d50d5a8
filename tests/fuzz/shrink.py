"""Greedy shrinking of a graph that fails a check: smaller graphs are tried until none of them fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, replace

from convc.ir.dims import evaluate
from convc.ir.errors import ConvcError
from convc.ir.graph import Graph, Node
from convc.ir.ops import conv, conv_transpose, linear, shape
from convc.ir.ops.leaf import INPUT, PARAM, Input
from convc.ir.types import TensorType
from convc.ir.verifier import infer_type, verify_graph
from convc.ir.weights import FILLED, Recipe, Weights

__all__ = ["shrink"]


def shrink(graph: Graph, fails: Callable[[Graph], bool], seconds: float = 60) -> Graph:
    """A graph that fails and none of whose neighbours does, or the smallest that was found in time."""
    end = time.monotonic() + seconds
    found = True
    while found:
        found = False
        for make in STEPS:
            again = True
            while again:
                again = False
                for smaller in make(graph):
                    if time.monotonic() > end:
                        return graph
                    if smaller is not None and fails(smaller):
                        graph, found, again = smaller, True, True
                        break
    return renamed(graph) if fails(renamed(graph)) else graph


def one_output(graph: Graph) -> Iterator[Graph | None]:
    if len(graph.outputs) > 1:
        for out in graph.outputs:
            yield of(graph, (out,))
        for dropped in range(len(graph.outputs)):
            yield of(graph, graph.outputs[:dropped] + graph.outputs[dropped + 1 :])


def earlier_output(graph: Graph) -> Iterator[Graph | None]:
    """An output's operand in its place."""
    for i, out in enumerate(graph.outputs):
        for operand in dict.fromkeys(out.inputs):
            yield of(graph, (*graph.outputs[:i], operand, *graph.outputs[i + 1 :]))


def cut_off(graph: Graph) -> Iterator[Graph | None]:
    """A new input in place of a value: all that leads to it goes."""
    for node in reversed(graph.nodes):
        if node.inputs and node.type is not None:
            yield changed(graph, {node: lambda _, node=node: Node(node.name, INPUT, Input(), (), node.type)})


def bypass(graph: Graph) -> Iterator[Graph | None]:
    """An operand of the same type in place of a value."""
    for node in reversed(graph.nodes):
        for index in range(len(node.inputs)):
            if node.inputs[index].type == node.type:
                yield changed(graph, {node: lambda operands, index=index: operands[index]})


def fewer_operands(graph: Graph) -> Iterator[Graph | None]:
    """No bias, a concat of less."""
    for node in graph.nodes:
        if node.kind in (*conv.CONVS, *conv_transpose.CONV_TRANSPOSES, linear.DENSE) and len(node.inputs) == 3:
            yield changed(graph, {node: lambda operands, node=node: node.like(inputs=operands[:2])})
        if node.kind is shape.CONCAT and len(node.inputs) > 1:
            for i in range(len(node.inputs)):
                yield changed(graph, {node: lambda operands, node=node, i=i: node.like(inputs=operands[:i] + operands[i + 1 :])})


def without_dead(graph: Graph) -> Iterator[Graph | None]:
    """Everything that no output needs, or one node of it: what fails may need something dead."""
    live = Graph.of(graph.name, graph.inputs, graph.outputs, graph.nodes)
    used = tuple(node for node in graph.inputs if live.uses[node])
    small = tuple(node for node in live.nodes if node.kind is not INPUT or node in used)
    if used and len(small) < len(graph.nodes):
        yield Graph(graph.name, used, graph.outputs, small)
    for node in graph.nodes:
        if not graph.uses[node] and (node.kind is not INPUT or len(graph.inputs) > 1):
            inputs = tuple(other for other in graph.inputs if other is not node)
            yield Graph(graph.name, inputs, graph.outputs, tuple(other for other in graph.nodes if other is not node))


def plain_attributes(graph: Graph) -> Iterator[Graph | None]:
    """Defaults, one attribute at a time; else smaller numbers."""
    for node in graph.nodes:
        if not node.inputs:
            continue
        for field in fields(node.op):
            value = getattr(node.op, field.name)
            if field.default is not MISSING and value != field.default:
                yield with_op(graph, node, **{field.name: field.default})
            if isinstance(value, tuple) and all(isinstance(v, int) for v in value):
                for i, v in enumerate(value):
                    for smaller in dict.fromkeys((0, 1, v // 2, v - 1)):
                        if 0 <= smaller < v:
                            yield with_op(graph, node, **{field.name: (*value[:i], smaller, *value[i + 1 :])})
            elif isinstance(value, int) and not isinstance(value, bool) and value > 1:
                yield with_op(graph, node, **{field.name: value - 1})


def plain_params(graph: Graph) -> Iterator[Graph | None]:
    for node in graph.params:
        for init, value in (("ones", 0.0), ("full", 2.0)):
            if node.op.init not in FILLED or node.op.key or (node.op.init, node.op.value) != (init, value) == ("ones", 0.0):
                op = replace(node.op, init=init, value=value, key="")
                weights = Weights(node.typed, Recipe(init, node.name, 0, value))
                yield changed(graph, {node: lambda _, node=node, op=op, weights=weights: node.like(op=op, weights=weights)})


def smaller_sizes(graph: Graph) -> Iterator[Graph | None]:
    """Numbers for named sizes; every channel count, row count... less, in inputs, parameters and attributes together."""
    for name in graph.symbols:
        yield resized(graph, lambda dim, name=name: evaluate(dim, {name: 2}))
    sizes = {dim for node in (*graph.inputs, *graph.params) for dim in node.typed.shape if isinstance(dim, int) and dim > 1}
    for size in sorted(sizes, reverse=True):
        for smaller in dict.fromkeys((1, size // 2, size - 1)):
            yield resized(graph, lambda dim, size=size, smaller=smaller: smaller if dim == size else dim)
    for node in (*graph.inputs, *graph.params):  # one alone: rows need not be what columns are
        for axis, size in enumerate(node.typed.shape):
            for smaller in (1, size // 2, size - 1) if isinstance(size, int) and size > 1 else ():
                dims = (*node.typed.shape[:axis], smaller, *node.typed.shape[axis + 1 :])
                yield changed(graph, {node: lambda _, node=node, dims=dims: of_shape(node, dims)})


STEPS = (
    without_dead,
    one_output,
    without_dead,
    cut_off,
    without_dead,
    earlier_output,
    bypass,
    fewer_operands,
    without_dead,
    smaller_sizes,
    plain_attributes,
    plain_params,
)


def of(graph: Graph, outputs: tuple[Node, ...]) -> Graph | None:
    """The graph with other outputs; what is dead then goes later, or stays if it matters."""
    return Graph(graph.name, graph.inputs, outputs, graph.nodes) if outputs else None


def with_op(graph: Graph, node: Node, **changes: object) -> Graph | None:
    return changed(graph, {node: lambda operands: node.like(op=replace(node.op, **changes), inputs=operands)})


def of_shape(node: Node, dims: tuple) -> Node:
    type_ = TensorType(node.typed.dtype, dims)
    return node.like(type=type_, weights=None if node.weights is None else Weights(type_, node.weights.recipe))


def resized(graph: Graph, size: Callable) -> Graph | None:
    def new(node: Node) -> Node:
        return of_shape(node, tuple(size(dim) for dim in node.typed.shape))

    def reshape(node: Node, operands: tuple[Node, ...]) -> Node:
        return node.like(op=shape.Reshape(tuple(size(dim) for dim in node.op.shape)), inputs=operands)

    changes = {node: lambda _, node=node: new(node) for node in (*graph.inputs, *graph.params)}
    changes |= {node: lambda operands, node=node: reshape(node, operands) for node in graph.nodes if isinstance(node.op, shape.Reshape)}
    return changed(graph, changes)


def changed(graph: Graph, changes: dict[Node, Callable[[tuple[Node, ...]], Node]]) -> Graph | None:
    """The graph with some nodes made anew and every type inferred again; None where an op refuses."""
    made: dict[Node, Node] = {}
    try:
        for node in graph.nodes:
            operands = tuple(made[operand] for operand in node.inputs)
            new = changes[node](operands) if node in changes else node.reading(operands)
            if new.kind not in (INPUT, PARAM) and new not in made.values():
                new = new.like(type=None)
                new = new.like(type=infer_type(new))
            made[node] = new
        outputs = tuple(made[node] for node in graph.outputs)
        inputs = tuple(node for node in dict.fromkeys(made.values()) if node.kind is INPUT)
        small = Graph(graph.name, inputs, outputs, tuple(dict.fromkeys(made.values())))
        verify_graph(small)
    except ConvcError:
        return None
    return None if any(isinstance(d, int) and d < 1 for n in small.nodes for d in n.typed.shape) else small


def renamed(graph: Graph) -> Graph:
    """Plain names: %x0, %w1, %conv2d2."""
    made: dict[Node, Node] = {}
    for node in graph.nodes:
        name = f"{'x' if node.kind is INPUT else 'w' if node.kind is PARAM else node.kind.name}{len(made)}"
        weights = node.weights
        if weights is not None and not node.op.key and weights.recipe.init not in FILLED:
            weights = Weights(node.typed, replace(weights.recipe, key=name))
        made[node] = node.like(name=name, inputs=tuple(made[operand] for operand in node.inputs), weights=weights)
    inputs, outputs = (tuple(made[node] for node in nodes) for nodes in (graph.inputs, graph.outputs))
    return Graph(graph.name, inputs, outputs, tuple(made.values()))
