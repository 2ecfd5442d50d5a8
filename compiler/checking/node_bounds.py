"""The node scope of checking: each value an engine computed, against float64 from that engine's own operands.

The bound is local: gamma_n * op(|x|, |w|) with n roundings (Higham 2002, sec. 3.1), so it is sound for any
order of summation, stays tight through a deep network, and names the faulty layer. What is computed with fewer products,
by Winograd's tiles or by quarters, has a bound of its own. What an engine computes at once is checked as one, named by
its last node, with the nodes it covers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...backends.tvm.cpu.product_errors import error_bound
from ...ir.binding import match_inputs, new_sizes, sized, specialize
from ...ir.graph import Graph, Node
from ...ir.opened import OPENED, opened
from ...ir.ops.linear import DENSE
from ...ir.ops.opaque import OPS as FOREIGN
from ...ir.progress import told
from ...ir.types import HALVES, Array, is_floating
from ..engines.engine import Engine, Kernel
from .carried import carried, carried_in, is_known
from .units import UNIT

__all__ = ["NodeCheck", "NodeVerdict", "check_nodes"]

SMALLEST = {"f16": 2.0**-24}  # between it and 0 lies nothing
OVERFLOWS = (
    "its Winograd tiles or quarters add values up before they multiply, beyond the greatest float here; scale the values down, or compile "
    "with --winograd off"
)
UNDERFLOW = 2.0**-126  # float32 engines may flush what is smaller, at every rounding


@dataclass(frozen=True)
class NodeVerdict:
    """One checked value. `worst` is its greatest error over its bound: at most 1 is fine. There it is `error`, and the bound is `bound`.

    `covers` are the nodes between the captured operands and this value, itself last. With fewer products, by tiles or quarters, one
    `overflows` that is infinite or NaN where float64 is not.
    """

    node: Node
    covers: tuple[str, ...]
    error: float
    worst: float
    bound: float = 0.0
    overflows: bool = False

    @property
    def agrees(self) -> bool:
        return self.worst <= 1

    def __str__(self) -> str:
        covers = f", covering {', '.join(self.covers)}" if len(self.covers) > 1 else ""
        why = f"; {OVERFLOWS}" if self.overflows else ""
        return f"{self.node.where}{covers}: error {self.error:.2e} is {self.worst:.3g} of its bound{why}"


@dataclass(frozen=True)
class NodeCheck:
    """All verdicts of one engine that matter: how many, the tightest, and the first out of bounds."""

    engine: str
    checked: int
    tightest: NodeVerdict | None
    first_bad: NodeVerdict | None

    @property
    def agrees(self) -> bool:
        return self.first_bad is None

    def __str__(self) -> str:
        if self.first_bad is not None:
            return f"{self.engine}: first node out of bounds: {self.first_bad}"
        tightest = f"; tightest {self.tightest}" if self.tightest is not None else ""
        return f"{self.engine}: {self.checked} values within their local bounds{tightest}"


def check_nodes(
    graph: Graph,
    engine: Engine,
    inputs: Mapping[str, Array],
    threads: int | None = None,
    *,
    fused: bool = True,
    see: Callable[[NodeVerdict], object] = lambda verdict: None,
) -> NodeCheck:
    """Hold every value that `engine` stores to its local bound; without `fused`, the engine is made to store all of them. `see` gets each
    verdict.

    A kernel that fails is looked at again node by node, so that the verdict names one node; and all are looked at so from the start where
    one covers an op of which nobody knows what it makes of an error.
    """
    graph = specialize(graph, match_inputs(graph, inputs))
    stored = graph if fused else Graph(graph.name, graph.inputs, tuple(graph.ops), graph.nodes)
    kernels = {node: kernel for node, kernel in engine.stores(stored).items() if not node.typed.is_opaque}
    if fused and not all(is_known(node.kind) for kernel in kernels.values() for node in list(_parts(kernel))[1:]):
        return check_nodes(graph, engine, inputs, threads, fused=False, see=see)
    checked, tightest, first_bad = 0, None, None
    for verdict in _verdicts(graph, kernels, engine, inputs, threads):
        checked += 1
        see(verdict)
        if tightest is None or verdict.worst > tightest.worst:
            tightest = verdict
        if not verdict.agrees:
            first_bad = verdict
            break
    if first_bad is not None and len(first_bad.covers) > 1:
        alone = check_nodes(graph, engine, inputs, threads, fused=False)
        if alone.first_bad is not None:  # the fault shows without fusion too, and then names one node
            return alone
    return NodeCheck(engine.name, checked, tightest, first_bad)


def _verdicts(
    graph: Graph, kernels: Mapping[Node, Kernel], engine: Engine, inputs: Mapping[str, Array], threads: int | None
) -> Iterator[NodeVerdict]:
    """Verdicts in the graph's order; a captured value is let go after the last kernel that reads it."""
    left = Counter(operand for kernel in kernels.values() for operand in kernel.operands)
    held: dict[Node, Array] = {node: inputs[node.name] for node in graph.inputs}
    sizes: dict[str, int] = {}  # that opaque nodes bring
    for name, value in told(f"values of {engine.name}", len(kernels), engine.capture(graph, list(kernels), inputs, threads)):
        kernel = kernels[graph.by_name[name]]
        held[kernel.result] = value
        if kernel.result.kind.facts.opaque:
            sizes |= new_sizes(kernel.result, value, sizes)
            if kernel.result.kind not in FOREIGN:
                yield _chosen(kernel, held)
        else:
            yield _verdict(kernel, held, sizes, holds_wide=engine.holds_wide)
        for operand in kernel.operands:
            left[operand] -= 1
            if not left[operand]:
                held.pop(operand, None)
        if not left[kernel.result]:
            held.pop(kernel.result, None)


def _chosen(kernel: Kernel, held: Mapping[Node, Array]) -> NodeVerdict:
    """What goes by leaps is what the op makes of these very operands, or wrong."""
    node = kernel.result
    operands = [operand.weights.array() if operand.weights is not None else held[operand] for operand in node.inputs]
    worst = 0.0 if np.array_equal(node.kind.meaning(node.op, *operands), held[node]) else np.inf
    return NodeVerdict(node, (node.name,), worst, worst)


def _verdict(kernel: Kernel, held: Mapping[Node, Array], sizes: Mapping[str, int], *, holds_wide: bool) -> NodeVerdict:
    """Recompute the covered nodes in float64 and carry the bound on their errors along; of operands too, where an engine `holds_wide` what
    is shown of them rounded.
    """
    values: dict[Node, Array] = {}
    bounds: dict[Node, Array] = _unrounded(kernel, held) if holds_wide else {}
    began = False
    for node in _parts(kernel):
        operands = [values[operand] if operand in values else _wide(operand, held) for operand in node.inputs]
        with np.errstate(all="ignore"):
            values[node] = np.asarray(node.kind.meaning(sized(node, sizes).op, *operands))
            if kernel.tile and not began:
                bounds[node] = error_bound(kernel.tile, node, *operands)
            else:
                gamma, own = _local_bound(node, operands, values[node])
                by = carried if began else carried_in
                bounds[node] = own + (1 + gamma) * by(node, operands, [bounds.get(operand) for operand in node.inputs])
            began = True
    last = next(reversed(values))
    got, expected = held[kernel.result], values[last]
    overflows = bool(kernel.tile) and bool((~np.isfinite(got) & np.isfinite(expected)).any())
    return NodeVerdict(kernel.result, tuple(node.name for node in kernel.covers), *_worst(got, expected, bounds[last]), overflows)


def _unrounded(kernel: Kernel, held: Mapping[Node, Array]) -> dict[Node, Array]:
    """How far operands of 16 bits may be from what is read in their place."""
    narrow = [node for node in kernel.operands if node.typed.dtype in HALVES and node.weights is None]
    return {node: UNIT[node.typed.dtype] * abs(_wide(node, held)) + SMALLEST.get(node.typed.dtype, UNDERFLOW) for node in narrow}


def _parts(kernel: Kernel) -> Iterator[Node]:
    """What it covers, a quantized product as the ops that it means."""
    for node in kernel.covers:
        if node.kind not in OPENED:
            yield node
            continue
        *parts, last = opened(node)
        yield from (part for part in parts if part.weights is None)
        yield node.like(kind=last.kind, op=last.op, inputs=last.inputs)


def _local_bound(node: Node, operands: list[Array], value: Array) -> tuple[float, Array]:
    """gamma_n, and gamma_n * magnitude in the precision of the node's type with what underflow may lose."""
    count = node.kind.roundings(node.op, tuple(operand.typed for operand in node.inputs), node.typed)
    n, unit = (count if isinstance(count, int) else 1), UNIT.get(node.typed.dtype, 0.0)
    magnitude = abs(value) if node.kind.magnitude is None else node.kind.magnitude(node.op, *operands)
    if unit > UNIT["f32"] and node.kind.facts.narrow(node.op) == "gains":
        return _bound_of_wide_sum(node, operands, n, unit, magnitude, value)
    gamma = n * unit / (1 - n * unit) if n * unit < 0.5 else np.sqrt(n) * unit  # half precision: the probable bound (Higham & Mary 2019)
    return gamma, gamma * magnitude + n * SMALLEST.get(node.typed.dtype, UNDERFLOW)


def _bound_of_wide_sum(node: Node, operands: list[Array], n: int, unit: float, magnitude: Array, value: Array) -> tuple[float, Array]:
    """A product of 16 bits is summed in float32; its sum is rounded once, and once more where a bias is added to it. Tensor cores cut
    what they add where others round it.
    """
    each = 2 * UNIT["f32"]
    gamma = n * each / (1 - n * each)
    bias = abs(operands[2]) if len(operands) > 2 else 0.0
    if np.ndim(bias) and node.kind is not DENSE:
        bias = np.reshape(bias, (-1, *(1,) * (node.typed.rank - 2)))
    own = unit * (2 * abs(value) + bias) + 2 * SMALLEST.get(node.typed.dtype, UNDERFLOW)
    return gamma + 2 * unit, (1 + 2 * unit) * gamma * magnitude + own + n * UNDERFLOW


def _wide(node: Node, held: Mapping[Node, Array]) -> Array:
    value = node.weights.drawn() if node.weights is not None else held[node]
    return value.astype(np.float64) if is_floating(value) else value


def _worst(got: Array, expected: Array, bound: Array) -> tuple[float, float, float]:
    """Where the error is the greatest share of its bound: error, share and bound. Where both are the same infinity or NaN there is none."""
    with np.errstate(all="ignore"):
        same = (got == expected) | (np.isnan(got) & np.isnan(expected)) if is_floating(got) else got == expected
        error = np.where(same, 0.0, abs(got.astype(np.float64) - expected))
        error = np.where(np.isnan(error), np.inf, error)
        ratio = np.where(error == 0, 0.0, error / bound)
    if not ratio.size:
        return 0.0, 0.0, 0.0
    bounds = np.broadcast_to(bound, ratio.shape)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape) if ratio.any() else np.unravel_index(int(np.argmax(bounds)), ratio.shape)
    return float(error[at]), float(ratio[at]), float(bounds[at])
