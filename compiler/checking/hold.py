"""An engine's results held to the oracle, and whose fault it is where they differ.

A result within the noise of rounding needs no more. One beyond it is looked at again before it is called wrong: with the steps that the
engine took, where values go by steps (steps.py); without the NaN that a choice among numbers may pass over, since ONNX does not say
whether it does; and by the engine with its own rewrites off, since what differs only with them is the engine's own fault. Each time all
outputs are held as tightly as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...backends import reference
from ...ir.binding import match_inputs, specialize
from ...ir.errors import Mismatch
from ...ir.graph import Graph, Node
from ...ir.op import OpDef
from ...ir.ops.activation import CLIP, RELU
from ...ir.ops.elementwise import MAXIMUM, MINIMUM
from ...ir.ops.pool import GLOBAL_MAX_POOL, MAX_POOL
from ...ir.ops.reduce import REDUCE_MAX, REDUCE_MIN
from ...ir.ops.unpool import MAX_POOL_INDICES
from ...ir.other_runtimes import has_opaque
from ...ir.types import Array
from ..engines.engine import Engine, Run
from .oracle import Agreement, Oracle, compare
from .steps import answers_of, steps_of

__all__ = ["Readied", "all_agree", "hold"]

# What they choose among numbers and a NaN is the NaN or the best of the numbers; with this in its place it is the latter.
CHOICES: dict[OpDef[Any], float] = {
    **dict.fromkeys((MAX_POOL, GLOBAL_MAX_POOL, REDUCE_MAX, MAXIMUM, RELU, CLIP), -np.inf),
    **dict.fromkeys((REDUCE_MIN, MINIMUM), np.inf),
}


@dataclass(frozen=True)
class Readied:
    """An engine that is ready for a network: `run` is how `engine` computes `graph`.

    `tiles` has what it computes with fewer products (`Engine.tiles`). `plain` readies it, by so many `threads`, with its own rewrites off,
    where it has any.
    """

    graph: Graph
    engine: Engine
    run: Run
    tiles: Mapping[str, int] = field(default_factory=dict[str, int])
    plain: Callable[[Engine], Run] | None = None
    threads: int | None = None

    def without_rewrites(self) -> Readied | None:
        """None where it has none of its own, or nobody knows how to leave them out."""
        plain = self.engine.plain
        return None if self.plain is None or plain is None else replace(self, engine=plain, run=self.plain(plain), plain=None)


def hold(label: str, readied: Readied, inputs: Mapping[str, Array], oracle: Oracle) -> list[Agreement]:
    """A line for each output; `oracle` has what these are held to."""
    graph, outputs = readied.graph, readied.run(inputs)
    lines = _compared(label, graph, oracle, outputs)
    if lines and all_agree(lines):
        return lines
    better = _looked_at_again(readied, inputs, oracle)
    again = _compared(label, graph, better, outputs) if better is not None else lines
    if again and all_agree(again):
        return again
    if (plain := readied.without_rewrites()) is None:
        return again or compare(label, oracle, outputs)
    without = hold(label, plain, inputs, oracle)
    if not all_agree(without):
        return again or without
    return [_blamed(*pair, _why(graph)) for pair in zip(without, again, strict=True)] if again else without


def _compared(label: str, graph: Graph, oracle: Oracle, outputs: Mapping[str, Array]) -> list[Agreement]:
    """Nothing where a result is of another size, as opaque nodes may decide it."""
    try:
        return compare(label, oracle, outputs)
    except Mismatch:
        if has_opaque(graph):
            return []
        raise


def _why(graph: Graph) -> str:
    if any(node.kind is not MAX_POOL_INDICES for node in steps_of(graph)):
        return "computes quantized layers in a way of its own"
    return "gives opaque nodes what rounding leaves open" if has_opaque(graph) else "is at fault, and not this network"


def all_agree(lines: Iterable[Agreement]) -> bool:
    return all(line.agrees for line in lines)


def _blamed(without: Agreement, left_to_itself: Agreement, why: str) -> Agreement:
    """The line of the engine with its rewrites off, which says what they do."""
    if left_to_itself.agrees:
        return without
    error = left_to_itself.error
    return replace(without, astray=error, fault=f"that is with its optimizer off; with it on it is off by {error:.2e}: it {why}")


def _looked_at_again(readied: Readied, inputs: Mapping[str, Array], oracle: Oracle) -> Oracle | None:
    """The oracle that knows which steps the engine took, and which NaN it may have passed over; None where there is nothing of the kind."""
    graph, engine = readied.graph, readied.engine
    fixed = specialize(graph, match_inputs(graph, inputs))
    asked = {*steps_of(fixed), *answers_of(fixed)}
    if asked:
        decided = dict(engine.capture(fixed, [node for node in fixed.ops if node in asked], inputs, readied.threads))
        oracle = Oracle.of(graph, inputs, tiles=readied.tiles, decided=decided)
    elif not any(value.dtype.kind == "f" and np.isnan(value).any() for value in oracle.values.values()):
        return None
    return replace(oracle, free=_free(graph, inputs, oracle))


def _free(graph: Graph, inputs: Mapping[str, Array], oracle: Oracle) -> dict[str, Array]:
    """The NaN that are none once choices pass over NaN."""
    if not any(np.isnan(value).any() for value in oracle.values.values() if value.dtype.kind == "f"):
        return {}
    passed = reference.run(graph, inputs, "f64", _pass_over)
    floats = {name: value for name, value in oracle.values.items() if value.dtype.kind == "f"}
    return {name: np.isnan(value) & ~np.isnan(passed[name]) for name, value in floats.items()}


def _pass_over(node: Node, operands: list[Array], value: Array) -> Array | None:
    if node.kind not in CHOICES or not any(np.isnan(operand).any() for operand in operands if operand.dtype.kind == "f"):
        return None
    numbers = [np.where(np.isnan(operand), CHOICES[node.kind], operand) for operand in operands]
    return np.asarray(node.kind.meaning(node.op, *numbers))
