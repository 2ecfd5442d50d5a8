"""Rounding noise of a whole network by Monte Carlo arithmetic. Parker 1997; Verificarlo (Denis et al. 2016).

A worst-case bound carried through fifty layers says nothing. Instead the float64 interpreter is run a
few times with every op's result disturbed at random, as if it had been rounded in the precision in
question; the spread of the outputs is the noise that any honest engine of that precision may show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...backends import reference
from ...backends.tvm.cpu.product_errors import noise as tile_noise
from ...ir.graph import Graph, Node
from ...ir.op import no_rounding
from ...ir.opened import opened_graph
from ...ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL
from ...ir.ops.reduce import REDUCE_MEAN, REDUCE_SUM
from ...ir.types import HALVES, Array
from .shared_noise import SINGLE, shared_noise
from .steps import Decisions, steps_of
from .units import OF_ONE_ROUNDING, UNIT, apart, at_least_pooled

__all__ = ["Followed", "Rounding", "follow", "noise_level", "noise_stream"]

RUNS = 3
# The same for a long sum over u*op(|x|,|w|): 0.45 if every partial sum is rounded in turn, 0.1 in sixteen lanes.
# A quarter is the middle of what onnxruntime and BLAS show on the zoo; tests/compiler/checking/test_noise.py keeps it honest.
SUM = 0.25
BLOCK = 64  # terms that kernels add in turn before they start a new partial sum
MEANS = (AVG_POOL, GLOBAL_AVG_POOL, REDUCE_MEAN, REDUCE_SUM)  # some engine adds these all in turn: what kernels do, no fact of an op
SIDE_BY_SIDE = (
    8  # sums that every engine has at least, where what is reduced lies together: onnxruntime's of 65,536 floats is off by 8 units
)
LEAST = 2.0**-40  # the smallest unit that shows in float64
ENOUGH = 32.0  # times too large a disturbance by which enough whole numbers turn to be counted
UNDERFLOW = {"f16": 2.0**-25}  # half a step between the smallest numbers, where results are not far from them
LONG = 9  # roundings from which a result counts as a sum


@dataclass(frozen=True)
class Rounding:
    """How an engine rounds, and by how many runs that is found: results to `unit`, and what products of float32 multiply to the unit
    `factors` first, where that is not 0. `tiles` names layers that are computed with fewer products, by Winograd's tiles or by quarters.
    """

    unit: float
    seed: int = 0
    runs: int = RUNS
    tiles: Mapping[str, int] = field(default_factory=dict[str, int])
    factors: float = 0.0


def noise_level(graph: Graph, inputs: Mapping[str, Array], exact: Mapping[str, Array], rounding: Rounding) -> dict[str, Array]:
    """One standard deviation of rounding noise per output element, at least the root mean square over its output and over its like.
    Single roundings to 16 bits count for less, OF_ONE_ROUNDING: SIGMAS times that is what they may lead to.

    Whole numbers have the mean of their changes instead: rounding turns few of them, by as much as it happens to.
    `exact` are the undisturbed float64 outputs. Ops that only move or choose values add no noise. An infinity or NaN has none either, and
    takes none to its neighbours.
    """
    if steps_of(graph):
        return follow(graph, inputs, {}, rounding).noise
    disturb = _Disturbance(rounding)
    squares = {name: np.zeros_like(value, dtype=np.float64) for name, value in exact.items()}
    for node, values in reference.side_by_side(graph, inputs, "f64", [disturb] * rounding.runs):
        if node.name in squares:
            squares[node.name] = np.mean([apart(value, exact[node.name], disturb.enlarged) ** 2 for value in values], axis=0)
    turned = _turned(graph, inputs, exact, _Disturbance(rounding, ENOUGH))
    return {name: at_least_pooled(square, exact[name]) for name, square in squares.items()} | turned


@dataclass(frozen=True)
class Followed:
    """Float64 outputs and their noise, where an engine's steps were taken; `turned` of these were not those that float64 takes."""

    values: dict[str, Array]
    noise: dict[str, Array]
    turned: int


def follow(graph: Graph, inputs: Mapping[str, Array], decided: Mapping[str, Array], rounding: Rounding) -> Followed:
    """As `noise_level`, in a network whose values go by steps (steps.py): all runs take those that were `decided` where rounding explains
    them, else those of float64. So the noise is that of what lies behind the last step.
    """
    graph = opened_graph(graph)
    disturb = _Disturbance(rounding)
    decisions = Decisions(decided, rounding.unit, disturb.enlarged)
    names = {node.name for node in graph.outputs}
    exact: dict[str, Array] = {}
    noise: dict[str, Array] = {}
    for node, (value, *disturbed) in reference.side_by_side(graph, inputs, "f64", [None, *[disturb] * rounding.runs], decisions):
        if node.name in names and value.dtype != object:
            exact[node.name] = value
            noise[node.name] = at_least_pooled(np.mean([apart(each, value, disturb.enlarged) ** 2 for each in disturbed], axis=0), value)
    much = _Disturbance(rounding, ENOUGH)
    turned = _turned(graph, inputs, exact, much, Decisions(decided, rounding.unit, much.enlarged))
    return Followed({node.name: exact[node.name] for node in graph.outputs if node.name in exact}, noise | turned, decisions.turned)


def noise_stream(graph: Graph, inputs: Mapping[str, Array], unit: float, seed: int = 0) -> Iterator[tuple[Node, tuple[Array, Array]]]:
    """Every node with its float64 value and the noise of that, as `noise_level` has it of the outputs, from one run."""
    disturb = _Disturbance(Rounding(unit, seed))
    decisions = Decisions({}, unit, disturb.enlarged)
    for node, (exact, disturbed) in reference.side_by_side(opened_graph(graph), inputs, "f64", [None, disturb], decisions):
        if exact.dtype != object:
            yield node, (exact, at_least_pooled(apart(disturbed, exact, disturb.enlarged) ** 2, exact))


class _Disturbance:
    """Rounds results at random as an engine with this `rounding` would, but `enlarged` times as much: `least` times or more.

    Noise is linear in the unit while that is small; what a smaller one than LEAST does, float64 itself would round away.
    """

    def __init__(self, rounding: Rounding, least: float = 1.0) -> None:
        unit = rounding.unit
        self.factors = SINGLE * rounding.factors * least
        self.enlarged = max(least, LEAST / unit)
        self.unit = unit * self.enlarged
        # what engines keep in half precision
        self.halves = {dtype: UNIT[dtype] * least if unit >= LEAST else self.unit for dtype in HALVES}
        self.of_halves = OF_ONE_ROUNDING if unit >= LEAST else 1.0
        self.tiles = rounding.tiles
        self.draws = np.random.default_rng(rounding.seed)
        self.sizes: dict[Node, Array] = {}  # of the last node: runs side by side share it, as their operands differ by rounding alone

    def __call__(self, node: Node, operands: list[Array], value: Array) -> Array | None:
        if node.kind.roundings is no_rounding or not np.issubdtype(value.dtype, np.floating):
            return None
        with np.errstate(all="ignore"):
            if node not in self.sizes:
                self.sizes = {node: self._size(node, operands, value)}
            if self.factors and _is_product(node) and node.typed.dtype == "f32":
                value = self._of_rounded_factors(node, operands)
            disturbed = value + self.sizes[node] * self.draws.standard_normal(value.shape)
            disturbed += shared_noise(node, operands, self._unit(node), self.draws)
        return disturbed if np.isfinite(disturbed).all() else np.where(np.isfinite(disturbed), disturbed, value)

    def _of_rounded_factors(self, node: Node, operands: list[Array]) -> Array:
        """The product of what a tensor core takes: a weight is off by the same at all places."""
        x, w, *bias = operands
        off = (1 + self.factors * self.draws.standard_normal(each.shape) for each in (x, w))
        return np.asarray(node.kind.meaning(node.op, *(each * by for each, by in zip((x, w), off, strict=True)), *bias))

    def _unit(self, node: Node) -> float:
        return self.halves.get(node.typed.dtype, self.unit)

    def _size(self, node: Node, operands: list[Array], value: Array) -> Array:
        """One standard deviation for each element of the result."""
        unit = self._unit(node)
        if node.name in self.tiles:
            return unit * tile_noise(self.tiles[node.name], node, operands[0], operands[1])
        scale = abs(value) if node.kind.magnitude is None else node.kind.magnitude(node.op, *operands)
        roundings = node.kind.roundings(node.op, tuple(operand.typed for operand in node.inputs), node.typed)
        if roundings == 0:
            return np.zeros_like(scale)
        own, room = UNDERFLOW.get(node.typed.dtype, 0.0), self.of_halves if node.typed.dtype in self.halves else 1.0
        if not isinstance(roundings, int) or roundings < LONG:
            return room * np.hypot(unit * SINGLE * scale, own)
        if _is_product(node) and node.typed.dtype in self.halves:  # kernels add in float32, and round the sum and what a bias is added to
            own, unit = room * np.hypot(2 * SINGLE * unit * abs(value), own), self.unit
        in_turn = _in_turn(node, roundings) if node.kind in MEANS else min(roundings, BLOCK)
        drift = SINGLE * np.sqrt(in_turn / 3) * abs(value)  # terms of one sign: the partial sums grow with the sum
        return np.hypot(unit * np.hypot(SUM * scale, drift), own)


def _in_turn(node: Node, roundings: int) -> float:
    """How many terms of a mean or sum are added in turn. onnxruntime and NumPy add rows of the outer axes one after another, and what lies
    together in registers side by side. TVM's stock sums have parts of 64 whatever the axes, and so have row, column and image sums of our
    own (kernels/trees.py), and channel sums (kernels/batch.py) of an image's pixels; its eight parts of a batch add images in turn.

    All engines are held to the longest chain of any: one run of noise serves those whose products are the same, and every runtime that has
    the file, which may add as onnxruntime does. What that gives away is rounding, far below what a wrong window or weight is off by.
    """
    if node.kind not in (REDUCE_MEAN, REDUCE_SUM):
        return roundings
    rank = node.inputs[0].typed.rank
    first = min((axis % rank for axis in node.op.axes), default=0)
    lies_together = len({axis % rank for axis in node.op.axes}) in (0, rank - first)
    return max(min(roundings, BLOCK), roundings / SIDE_BY_SIDE) if lies_together else roundings


def _is_product(node: Node) -> bool:
    return node.kind.facts.narrow(node.op) == "gains"


def _turned(
    graph: Graph, inputs: Mapping[str, Array], exact: Mapping[str, Array], disturb: _Disturbance, decisions: Decisions | None = None
) -> dict[str, Array]:
    """Of outputs of whole numbers, the mean change."""
    whole = [name for name, value in exact.items() if value.dtype.kind != "f" and value.size]
    if not whole:
        return {}
    if decisions is None:
        results = reference.run(graph, inputs, "f64", disturb)
    else:
        stepped = reference.side_by_side(graph, inputs, "f64", [None, disturb], decisions)
        results = {node.name: values[1] for node, values in stepped if node.name in whole}
    return {name: np.full(exact[name].shape, abs(apart(results[name], exact[name], disturb.enlarged)).mean()) for name in whole}
