"""Do two networks compute the same, up to rounding? And if not, where do they part?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...backends import reference
from ...ir.errors import InvalidModel, Mismatch
from ...ir.graph import Graph, Node
from ...ir.ops.thresholds import OPS as THRESHOLDS
from ...ir.other_runtimes import has_opaque
from ...ir.types import Array
from ...passes.precision.candidates import WORDS
from ..files.inputs import random_inputs
from ..files.weights import check_numbers
from .batches import close_to
from .cut import Cut
from .graph_diff import counterparts, first_otherwise
from .narrowing import in_range, loss_of, narrower_type, oracle_of_rewrite
from .noise import noise_stream
from .oracle import Agreement, Agreements, Oracle, compare, errors_over
from .steps import steps_of
from .units import SIGMAS, UNIT, sizes_of

__all__ = ["TwoNetworksDiffer", "compare_rewritten", "first_difference", "need_alike", "verify", "where_inside", "with_counterparts"]

CLOSE = 2.0**-44  # of an element's size: 500 roundings of float64, and no rewrite that is wrong


class TwoNetworksDiffer(Mismatch):
    """Two networks that differ: `lines` of the outputs, and the `first` value inside that is off, where it is known."""

    def __init__(self, why: str, lines: list[Agreement], first: Node | None) -> None:
        super().__init__(why)
        self.lines, self.first = Agreements(lines), first


def verify(
    graph: Graph,
    other: Graph,
    inputs: Mapping[str, Array] | None = None,
    seed: int = 0,
    exact: Mapping[str, Array] | None = None,
) -> Agreements:
    """Check that `graph` and `other` compute the same function, both in float64 on the same `inputs`, by default random ones by `seed`;
    where one has narrower floats than the other, within what these may lose. `exact` are the float64 outputs of the first, where they are
    known.

    Where they have the same opaque nodes, what those are given is compared too, and what they give in the first goes on in both.

    Raises: InvalidModel for graphs of different interfaces; InvalidInput for weights that are NaN, with which any
    results would agree; TwoNetworksDiffer, a Mismatch, naming the first output that differs, and the
    first value inside that does.
    """
    need_alike(graph, other)
    for each in (graph, other):
        check_numbers(each)
    inputs = random_inputs(graph, seed) if inputs is None else inputs
    if has_opaque(graph) and (cut := Cut.of(graph, inputs)).fits(other):
        graph, other = cut.both(graph, other)
        inputs, exact = cut.feed, None
    # weights from a file were rounded to float32 once, and what a pass folded into them with it
    precision = narrower_type(graph, other) or narrower_type(other, graph) or ("f64" if _same_files(graph, other) else "f32")
    if precision == "f64" and (lines := _close_enough(graph, other, inputs, exact)):
        return Agreements(lines)
    lines = compare_rewritten(graph, other, inputs, oracle_of_rewrite(graph, other, inputs, precision, seed), precision, seed)
    for line in lines:
        if not line.agrees:
            first, inside = where_inside(graph, other, first_difference(graph, other, inputs, precision, seed), "differs")
            raise TwoNetworksDiffer(f"{line}{inside}", lines, first)
    _look_inside(graph, other, inputs, seed, lines)
    _need_range(graph, other, inputs, seed)
    return Agreements(lines)


def need_alike(graph: Graph, other: Graph) -> None:
    """Raises: InvalidModel for graphs of different interfaces."""
    for what, a, b in (("inputs", graph.inputs, other.inputs), ("outputs", graph.outputs, other.outputs)):
        if [(n.name, n.type) for n in a] != [(n.name, n.type) for n in b]:
            lists = [", ".join(f"{n.name}: {n.type}" for n in nodes) for nodes in (a, b)]
            way_out = "name and shape them alike; a shape is changed by --input NAME:SHAPE, and in Python by net(NAME=SHAPE)"
            raise InvalidModel(f"the two networks have different {what}: {lists[0]} against {lists[1]}; {way_out}")


def _close_enough(graph: Graph, other: Graph, inputs: Mapping[str, Array], exact: Mapping[str, Array] | None) -> list[Agreement]:
    """Lines that all agree, where float64 leaves so little between two networks that its noise need not be measured; else none."""
    exact = reference.run(graph, inputs, "f64") if exact is None else exact
    lines = compare(f"@{other.name}", close_to(exact, CLOSE), reference.run(other, inputs, "f64"))
    return lines if all(line.agrees for line in lines) else []


def _need_range(graph: Graph, other: Graph, inputs: Mapping[str, Array], seed: int) -> None:
    """Raises: TwoNetworksDiffer for values of float16 beyond its range, which lead astray on a device that keeps them; float64 hides it."""
    narrow = other if narrower_type(graph, other) else graph
    if "f16" not in (narrower_type(graph, other), narrower_type(other, graph)):
        return
    outputs, why = in_range(narrow, inputs)
    oracle = loss_of(graph, narrow, inputs, seed) if why else None
    lines = compare(f"@{narrow.name}", oracle, outputs) if oracle else []
    for line in lines:
        if not line.agrees:
            raise TwoNetworksDiffer(f"{line}; {why}", lines, None)


def _look_inside(graph: Graph, other: Graph, inputs: Mapping[str, Array], seed: int, lines: list[Agreement]) -> None:
    """What 16 bits lose by the end of a network may be more than what one filter makes, but not where the filter is.

    Raises: TwoNetworksDiffer naming the first value inside that is off by more than what they may lose until there.
    """
    dtype = narrower_type(graph, other) or narrower_type(other, graph)
    if dtype is None:
        return
    leaps = _behind_leaps(graph) | _behind_leaps(other)
    close = {node.name: is_close for node, is_close in _compared(graph, other, inputs, dtype, seed) if node.name not in leaps}
    for node in other.ops:
        if close.get(node.name) is False and not _is_restored(other, node, close):
            lost = f"more than {WORDS[dtype]} may lose until there"
            raise TwoNetworksDiffer(f"%{node.name} inside differs by {lost}, which the outputs hide: {node.where}", lines, node)


def _is_restored(graph: Graph, node: Node, close: Mapping[str, bool]) -> bool:
    """Whether what reads it is as it should be: then it is another value under the name, as when a file's maker folded what came next."""
    readers = list(graph.readers[node])
    verdicts: list[bool] = []
    while readers:
        reader = readers.pop()
        if reader.name in close:
            verdicts.append(close[reader.name])
        else:
            readers += graph.readers[reader]
    return bool(verdicts) and all(verdicts)


def compare_rewritten(
    graph: Graph, other: Graph, inputs: Mapping[str, Array], oracle: Oracle, precision: str = "f64", seed: int = 0
) -> list[Agreement]:
    """What `other` computes in float64, held to `oracle`, which is that of `graph`; where values go by steps, `other` is followed."""
    results = reference.run(other, inputs, "f64")
    lines = compare(f"@{other.name}", oracle, results)
    if all(line.agrees for line in lines) or not (steps := steps_of(graph)):
        return lines
    names = {node.name for node in steps}
    decided = {node.name: value for node, value in reference.stream(other, inputs, "f64") if node.name in names}
    return compare(f"@{other.name}", Oracle.of(graph, inputs, precision, seed, decided=decided), results)


def _same_files(graph: Graph, other: Graph) -> bool:
    """Whether no stored weight of `other` is other than one of `graph`: the same values in memory, or the same names."""
    stored = [{node.name: node.weights for node in g.params if node.weights is not None and node.weights.is_stored} for g in (graph, other)]
    return set(stored[0]) == set(stored[1]) or set(stored[1].values()) <= set(stored[0].values())


def first_difference(graph: Graph, other: Graph, inputs: Mapping[str, Array], precision: str = "f64", seed: int = 0) -> Node | None:
    """The first node of `other` whose value differs by more than rounding in `precision` from that of its counterpart in `graph`."""
    return next((node for node, close in _compared(graph, other, inputs, precision, seed) if not close), None)


def where_inside(graph: Graph, other: Graph, first: Node | None, differs: str) -> tuple[Node | None, str]:
    """`first`, which is the first of the values known in both that `differs`, and a clause that names it. Where it is a result, and what it
    is computed from has no counterpart, the fault is likely before it, and nothing was seen there: then the clause names the first value
    that is computed otherwise, which may be right all the same."""
    if first is None:
        return None, ""
    known = {node.name for node in counterparts(graph, other).values()}
    made_from = [node for node in other.by_name[first.name].inputs if node in set(other.ops)]
    if first.name in [node.name for node in other.outputs] and any(node.name not in known for node in made_from):
        why = f"what %{first.name} is computed from has no counterpart by name or structure in the first network"
        otherwise = first_otherwise(graph, other)
        named = f"; the first that is computed otherwise is {otherwise.where}" if otherwise is not None else ""
        return None, f"; which value inside is off is not known, since {why}{named}: `convc diff` on the same two shows how they differ"
    return first, f"; the first value that {differs} is {first.where}"


def _compared(graph: Graph, other: Graph, inputs: Mapping[str, Array], precision: str, seed: int) -> Iterator[tuple[Node, bool]]:
    """Nodes of `other` that have a counterpart in `graph`, and whether the values are the same but for rounding."""
    exact = noise_stream(graph, inputs, UNIT[precision], seed)
    for node, got, (expected, noise) in with_counterparts(exact, graph, other, inputs):
        yield node, _close(got, expected, noise)


def with_counterparts(
    exact: Iterator[tuple[Node, tuple[Array, ...]]], graph: Graph, other: Graph, inputs: Mapping[str, Array]
) -> Iterator[tuple[Node, Array, tuple[Array, ...]]]:
    """Nodes of `other` that have a counterpart in `graph`, by name or by structure, with their float64 values, and what is known of the
    latter's, which `exact` yields.

    Both run side by side, and a value is let go once it is there twice: a rewrite keeps the name of the value it computes, so names
    match across rewrites, and structure across files whose makers name values otherwise.
    """
    theirs = {new.name: old.name for old, new in counterparts(graph, other).items()}
    both = set(theirs.values())
    streams = (exact, ((node, (value,)) for node, value in reference.stream(other, inputs, "f64")))
    pending: tuple[dict[str, tuple[Node, tuple[Array, ...]]], ...] = ({}, {})
    running = [True, True]
    while any(running):
        side = 0 if running[0] and (len(pending[0]) <= len(pending[1]) or not running[1]) else 1
        step = next(streams[side], None)
        if step is None:
            running[side] = False
            continue
        name = theirs.get(step[0].name, "") if side else step[0].name
        if name in both:
            pending[side][name] = step
        if all(name in waiting for waiting in pending):
            (_, expected), (found, (got,)) = (waiting.pop(name) for waiting in pending)
            yield found, got, expected


def _behind_leaps(graph: Graph) -> set[str]:
    """What rounding may change by more than a little: whole numbers, steps and thresholds, what opaque nodes give, and all behind them."""
    leaps = {*steps_of(graph)}
    for node in graph.ops:
        is_one = node.kind in THRESHOLDS or node.kind.facts.opaque or not node.typed.is_float
        if is_one or any(operand in leaps for operand in node.inputs):
            leaps.add(node)
    return {node.name for node in leaps}


def _close(got: Array, expected: Array, noise: Array) -> bool:
    """Within its rounding noise, or equal to nine digits of each element's size, which float64 leaves even in deep networks."""
    if got.shape != expected.shape:
        return False
    sizes = sizes_of(expected)
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    _, ratio = errors_over(got, expected, SIGMAS * noise + 1e-9 * (abs(expected) + sizes))
    return bool((ratio <= 1).all())
