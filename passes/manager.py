"""Runs passes in order, verifies between them, and keeps a trace of what each did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from ..ir.errors import InvalidModel, UsageError
from ..ir.graph import Graph
from ..ir.verifier import verify_graph
from .catalog import PASSES
from .cost import GraphCost, graph_cost
from .ledger import Ledger, Rewrite

__all__ = ["Stage", "Step", "run_passes", "select"]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a pipeline: a pass and the reason it stands there."""

    name: str
    why: str


@dataclass(frozen=True)
class Stage:
    """What one pass did. `graph` is the result; the one before it is the previous stage's. Units: `seconds`."""

    name: str
    why: str
    graph: Graph
    rewrites: tuple[Rewrite, ...]
    seconds: float

    @property
    def changed(self) -> bool:
        return bool(self.rewrites)

    @property
    def op_counts(self) -> Counter[str]:
        return Counter(node.kind.name for node in self.graph.ops)

    @property
    def cost(self) -> GraphCost:
        return graph_cost(self.graph)


def run_passes(graph: Graph, steps: Iterable[Step], limits: Mapping[str, int] | None = None) -> tuple[Graph, list[Stage]]:
    """The improved graph and its trace. `limits` caps the rewrites of a pass by name.

    Raises: UsageError for an unknown pass; InvalidModel, naming the pass, for one that breaks the graph.
    """
    steps = tuple(steps)
    for step in steps:
        known_pass(step.name)
    trace: list[Stage] = []
    for step in steps:
        ledger = Ledger((limits or {}).get(step.name))
        start = time.perf_counter()
        after = PASSES[step.name].run(graph, ledger)
        seconds = time.perf_counter() - start
        _check(step.name, graph, after)
        trace.append(Stage(step.name, step.why, after, tuple(ledger.rewrites), seconds))
        graph = after
    return graph, trace


def select(steps: Iterable[Step], enable: Iterable[str] = (), skip: Iterable[str] = ()) -> tuple[Step, ...]:
    """A pipeline with passes added at its end and others left out.

    Raises: UsageError for an unknown pass, or one that is to be left out but is not there.
    """
    steps = tuple(steps)
    for name in skip:
        if known_pass(name) not in {step.name for step in steps}:
            raise UsageError(f"cannot skip '{name}': this pipeline does not run it")
    present = {step.name for step in steps}
    added = [Step(known_pass(name), "asked for with --enable") for name in enable if name not in present]
    return (*(step for step in steps if step.name not in set(skip)), *added)


def known_pass(name: str) -> str:
    """Raises: UsageError, with the nearest name, for a pass that does not exist."""
    if name not in PASSES:
        near = get_close_matches(name, PASSES, n=1)
        raise UsageError(f"unknown pass '{name}'" + (f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(PASSES)}"))
    return name


def _check(name: str, before: Graph, after: Graph) -> None:
    """A pass keeps the rules of the IR and the network's interface."""
    try:
        verify_graph(after)
    except InvalidModel as error:
        raise InvalidModel(f"pass {name} broke the graph: {error}") from error
    for what, old, new in (("inputs", before.inputs, after.inputs), ("outputs", before.outputs, after.outputs)):
        if [node.name for node in old] != [node.name for node in new]:
            raise InvalidModel(f"pass {name} changed the {what} from {[n.name for n in old]} to {[n.name for n in new]}")
        for a, b in zip(old, new, strict=True):
            if a.type is not None and a.type != b.type:
                raise InvalidModel(f"pass {name} changed the type of %{a.name} from {a.type} to {b.type}")
