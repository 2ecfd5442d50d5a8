"""The reference interpreter: a loop over the meanings in ir/ops, in float32 or float64. What is opaque another runtime computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..ir.binding import match_inputs, new_sizes, sized, specialize
from ..ir.errors import InvalidModel, ShapeError
from ..ir.graph import Graph, Node
from ..ir.legible import legible
from ..ir.memory import out_of_memory
from ..ir.ops.elementwise import CAST
from ..ir.ops.opaque import OPS as FOREIGN
from ..ir.progress import progress, watcher
from ..ir.types import Array, is_floating
from .room import need_room

__all__ = ["OnValue", "Settle", "run", "side_by_side", "stream"]

VALUE = 16  # multiply-adds of a product take as long as making one value
PRECISIONS = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
OnValue = Callable[[Node, list[Array], Array], Array | None]
Settle = Callable[[Node, list[list[Array]], list[Array]], list[Array]]  # of a node: operands and results of all runs, to its results


def run(
    graph: Graph,
    inputs: Mapping[str, Array],
    precision: str = "f32",
    on_value: OnValue | None = None,
) -> dict[str, Array]:
    """Outputs by name; every float is computed in `precision`.

    `on_value(node, operands, value)` sees each result as it is made, inputs and parameters excepted; an
    array that it returns takes the place of the value. A value is let go after its last reader.

    Raises: InvalidInput for arrays that do not fit; InvalidModel for a node that cannot be computed, KernelMissing for an
    opaque one that no runtime here can; UsageError for a value that this machine has no memory for.
    """
    kept: dict[str, Array] = {}
    names = {node.name for node in graph.outputs}
    for node, value in stream(graph, inputs, precision, on_value):
        if node.name in names:
            kept[node.name] = value
    return {node.name: kept[node.name] for node in graph.outputs}


def stream(
    graph: Graph,
    inputs: Mapping[str, Array],
    precision: str = "f32",
    on_value: OnValue | None = None,
) -> Iterator[tuple[Node, Array]]:
    """Every value that an output depends on, inputs and parameters too, in order, as `run` computes them.

    Nodes are those of the graph with its named sizes replaced. Only what is still to be read is held.
    """
    for node, (value,) in side_by_side(graph, inputs, precision, [on_value]):
        yield node, value


def side_by_side(
    graph: Graph, inputs: Mapping[str, Array], precision: str, on_values: Sequence[OnValue | None], settle: Settle | None = None
) -> Iterator[tuple[Node, list[Array]]]:
    """As `stream`, of several runs at once, one for each of `on_values`: node by node, with inputs and parameters held once.

    `settle` sees the results of all runs together, and gives those that they go on with.
    """
    graph = specialize(graph, match_inputs(graph, inputs))
    floats = PRECISIONS[precision]
    values: dict[Node, list[Array]] = {}
    sizes: list[dict[str, int]] = [{} for _ in on_values]  # that opaque results bring, which may differ from run to run
    left = graph.uses.copy()
    for node in _told(graph, precision, len(on_values)):
        if not left[node]:
            continue  # nobody reads it
        if node.name in inputs and node in graph.inputs:
            given = inputs[node.name]
            values[node] = [given if node.typed.is_opaque else _as(given, floats)] * len(on_values)
        elif node.weights is not None:
            values[node] = [_as(node.weights.wide() if precision == "f64" else node.weights.array(), floats)] * len(on_values)
        else:
            operands = [[values[operand][run] for operand in node.inputs] for run in range(len(on_values))]
            runs = zip(operands, on_values, sizes, strict=True)
            values[node] = [_seen(_sized(node, known), each, floats, on_value) for each, on_value, known in runs]
            if settle is not None:
                values[node] = settle(node, operands, values[node])
            if node.kind.facts.opaque and not node.typed.is_opaque:
                for known, value in zip(sizes, values[node], strict=True):
                    known |= new_sizes(node, value, known)
        yield node, values[node]
        for operand in node.inputs:
            left[operand] -= 1
            if not left[operand]:
                del values[operand]


def _told(graph: Graph, precision: str, runs: int) -> Iterator[Node]:
    """Nodes in the order in which they are computed, for whoever watches: each counts as its multiply-adds and values."""
    if watcher() is None:
        yield from _late_parameters(graph)
        return
    weights = {node: _weight(node) for node in graph.nodes}
    several = f", {runs} runs" if runs > 1 else ""
    with progress(f"@{legible(graph.name)} in {PRECISIONS[precision].name}{several}", sum(weights.values())) as advance:
        for node in _late_parameters(graph):
            yield node
            advance(weights[node])


def _weight(node: Node) -> float:
    """About how long it takes, in multiply-adds: a value written counts as several of those that BLAS does."""
    if node.weights is not None:
        return 0.0
    types = tuple(operand.typed for operand in node.inputs)
    macs = node.kind.cost(node.op, types, node.typed).macs if types and not node.typed.symbols else 0
    values = node.typed.numel
    return (macs if isinstance(macs, int) else 0) + VALUE * (values if isinstance(values, int) else 1)


def _sized(node: Node, known: Mapping[str, int]) -> Node:
    """The node with the sizes that are known by now in its attributes."""
    return sized(node, known) if known and node.kind.facts.sizes and not node.kind.facts.opaque else node


def _late_parameters(graph: Graph) -> Iterator[Node]:
    """The graph's order, but each parameter just before its first reader: a file has all in front, and in float64 they weigh twice."""
    given: set[Node] = set()
    for node in graph.nodes:
        if node.weights is None:
            due = [operand for operand in node.inputs if operand.weights is not None]
            yield from (operand for operand in dict.fromkeys(due) if operand not in given)
            given.update(due)
            yield node
    yield from (node for node in dict.fromkeys(graph.outputs) if node.weights is not None and node not in given)


def _seen(node: Node, operands: list[Array], floats: np.dtype[np.floating], on_value: OnValue | None) -> Array:
    """A result, or what `on_value` puts in its place."""
    value = _compute(node, operands, floats)
    changed = on_value(node, operands, value) if on_value is not None else None
    if changed is None:
        return value
    return np.asarray(changed, value.dtype if node.typed.is_opaque else None)  # another runtime takes it in the type that it has


def _compute(node: Node, operands: list[Array], floats: np.dtype[np.floating]) -> Array:
    if node.kind is CAST and _is_widening(node):
        return operands[0]  # every float is computed in one precision here, so there is nothing to round
    need_room(node, floats.itemsize if node.typed.is_float else node.typed.itemsize)
    with np.errstate(all="ignore"):  # infinities and NaN are values; the checks look for them
        try:
            value = _other_runtime(node, operands) if node.kind in FOREIGN else node.kind.meaning(node.op, *operands)
            return value if node.typed.is_opaque else _as(value, floats)
        except MemoryError as error:
            raise out_of_memory(str(error)) from error
        except (ValueError, IndexError, OverflowError, ShapeError) as error:
            raise InvalidModel(f"{node.where} cannot be computed: {error}") from error


def _other_runtime(node: Node, operands: list[Array]) -> Array:
    """What another runtime computes. It takes operands in their declared types, so they are rounded to them here."""
    from .onnx.stand_in import computed

    return computed(node, operands)


def _is_widening(node: Node) -> bool:
    """A cast between floating types that loses nothing."""
    before, after = node.inputs[0].typed, node.typed
    return before.is_float and after.is_float and (before.dtype == after.dtype or after.itemsize > before.itemsize)


def _as(value: Array, floats: np.dtype[np.floating]) -> Array:
    if not is_floating(value):
        return value
    with np.errstate(invalid="ignore"):  # a NaN that signals
        return value.astype(floats, copy=False)
