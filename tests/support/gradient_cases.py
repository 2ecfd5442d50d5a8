"""Every output of the op cases as a problem of gradients, in float64: what it depends on, and a number for each of its elements."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from convc.backends import reference
from convc.ir.binding import specialize
from convc.ir.errors import InvalidModel, UnsupportedOp
from convc.ir.gradient import NodeMaker, gradients
from convc.ir.graph import Graph, Node
from convc.ir.ops.elementwise import MUL, Mul
from convc.ir.ops.leaf import INPUT, PARAM, Input
from convc.ir.ops.reduce import REDUCE_SUM, ReduceSum
from convc.ir.terms import NoGradient
from convc.ir.types import Array
from convc.ir.verifier import verify_graph
from convc.tests.support.gradient_grids import GRIDS
from convc.tests.support.graphs import made, normal_inputs, typed_graph
from convc.tests.support.once import once
from convc.tests.support.op_cases import CASES, text_of

__all__ = ["SIZES", "Problem", "at_kinks", "cases", "problems"]

IN_SOME_FORMS = {"einsum", "scatter_elements", "scatter_nd"}  # ops that refuse some attributes
NARROW = {"dynamic_quantization"}  # ops that know float32 alone
SIZES = {"N": 2}
WIDEST = 3.0  # inputs lie within as much of 0
STEP = 1e-4


@dataclass(frozen=True)
class Problem:
    """`forward` returns y; `backward` the gradients of sum(y * r) by the `leaves`, under the names of these."""

    case: str
    forward: Graph
    backward: Graph
    leaves: tuple[str, ...]
    inputs: Mapping[str, Array]
    result: str

    def run(self, changed: Mapping[str, Array]) -> Array:
        return reference.run(self.forward, {**self.inputs, **changed}, "f64")[self.result]

    def found(self, weights: Array, inputs: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """The gradient of each leaf."""
        got = reference.run(self.backward, {**(inputs or self.inputs), "r": weights}, "f64")
        return dict(zip(self.leaves, (got[node.name] for node in self.backward.outputs), strict=True))

    def slope(self, leaf: str, direction: Array, weights: Array) -> float:
        """By differences along a direction, with an error of the fourth power of the step. Fornberg 1988."""
        at = [self.run({leaf: self.inputs[leaf] + times * STEP * direction}) for times in (-2, -1, 1, 2)]
        with np.errstate(invalid="ignore"):  # what is infinite or undefined has no weight
            change = (at[0] - at[3] + 8 * (at[2] - at[1])) / (12 * STEP)
        return float(np.nansum(weights * change))


def cases() -> list[str]:
    """Those with a floating output."""
    return once("gradient_cases", lambda: [case for case in (*CASES, *GRIDS) if case not in NARROW and _has_floats(case)])


def _has_floats(case: str) -> bool:
    return any(node.typed.is_float for node in wide_graph(case).outputs)


def wide_graph(case: str) -> Graph:
    """The case in float64."""
    return typed_graph(GRIDS[case] if case in GRIDS else re.sub(r"\b(f32|f16|bf16)\b", "f64", text_of(case)))


def problems(case: str) -> Iterator[Problem]:
    """One for each floating output that depends on a floating value by ops that have gradients."""
    graph = wide_graph(case)
    for output in graph.outputs:
        if output.typed.is_float:
            try:
                problem = problem_of(graph, case, output)
            except UnsupportedOp:
                assert any(isinstance(node.kind.gradient, NoGradient) or node.kind.name in IN_SOME_FORMS for node in graph.ops)
                continue
            if problem is not None:
                yield problem


def problem_of(graph: Graph, case: str, output: Node) -> Problem | None:
    """With its sizes named, or in numbers where a rule asks for them.

    Raises: UnsupportedOp where an op on the way has no gradient.
    """
    try:
        return _problem(graph, case, output)
    except InvalidModel as refusal:
        if "only for sizes in numbers" not in str(refusal):
            raise
        known = specialize(graph, SIZES)
        return _problem(known, case, known.by_name[output.name])


def _problem(graph: Graph, case: str, output: Node) -> Problem | None:
    free = _with_free_parameters(Graph.of(case, graph.inputs, [output], graph.nodes))
    below = set(free.nodes)
    (y,) = free.outputs
    leaves = [node for node in free.inputs if node.typed.is_float and node in below and node is not y]
    maker = NodeMaker(node.name for node in free.nodes)
    r = Node("r", INPUT, Input(), (), y.typed)
    weighted = made("r.y", MUL, Mul(), y, r)
    loss = made("r.loss", REDUCE_SUM, ReduceSum((), keepdims=False), weighted)
    whole = Graph.of(case, [*free.inputs, r], [loss], [*free.nodes, r, weighted, loss])
    refusals = [_refusal(whole, loss, leaf) for leaf in leaves]
    if leaves and all(refusals):
        raise UnsupportedOp(str(refusals[0]))
    leaves = [leaf for leaf, refusal in zip(leaves, refusals, strict=True) if not refusal]
    found = gradients(whole, loss, leaves, maker)
    leaves = [node for node in leaves if node in found.of]
    if not leaves:
        return None
    backward = Graph.of(case, [*free.inputs, r], [found.of[leaf] for leaf in leaves], [*free.nodes, *found.made])
    verify_graph(backward)
    return Problem(case, free, backward, tuple(node.name for node in leaves), _values(free, graph), y.name)


def _refusal(graph: Graph, loss: Node, leaf: Node) -> str:
    try:
        gradients(graph, loss, [leaf])
    except UnsupportedOp as error:
        return str(error)
    return ""


def _with_free_parameters(graph: Graph) -> Graph:
    """Parameters as inputs, but numbers of a formula."""

    def free(node: Node, operands: tuple[Node, ...]) -> Node:
        is_free = node.kind is PARAM and node.typed.is_float and node.weights is not None and node.weights.recipe.init != "full"
        return Node(node.name, INPUT, Input(), (), node.type) if is_free else node.reading(operands)

    made = graph.rebuild(free)
    given = {node.name for node in graph.inputs}
    return Graph.of(
        graph.name, [*made.inputs, *(n for n in made.nodes if n.kind is INPUT and n.name not in given)], made.outputs, made.nodes
    )


def _values(free: Graph, graph: Graph) -> dict[str, Array]:
    """Inputs in which no two elements are equal and none is 0; parameters as they are drawn."""
    values = normal_inputs(free, **SIZES)
    draws = np.random.default_rng(1)
    for place, node in enumerate(free.inputs):
        if not node.typed.is_float:
            continue
        own = graph.by_name[node.name]
        if own.weights is not None:
            values[node.name] = np.array(own.weights.wide())
            continue
        shape = values[node.name].shape
        count = math.prod(shape)
        steps = draws.permutation(count) - count // 2 + 0.3 + 0.05 * place
        values[node.name] = steps.reshape(shape) * (2 * WIDEST / max(count, 1))
        if graph.name == "mod":  # multiples of a number near 0 are too close to each other
            values[node.name] += 2 * np.sign(values[node.name])
    return values


def at_kinks(problem: Problem, seed: int = 0) -> dict[str, Array]:
    """Inputs of a few whole numbers, with ties and zeros."""
    draws = np.random.default_rng(seed)
    return {
        name: draws.integers(-1, 2, value.shape).astype(np.float64) if value.dtype.kind == "f" else value
        for name, value in problem.inputs.items()
    }
