"""Runs passes in order, verifies between them, and keeps a trace of what each did."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..ir.errors import ConvcError, InvalidModel, OutOfMemory, PassFault, PassRolledBack, UsageError
from ..ir.graph import Graph
from ..ir.plot import Plot
from ..ir.progress import each
from ..ir.shown import html_table, text_table
from ..ir.suggest import did_you_mean
from ..ir.usual_sizes import counting_sizes
from ..ir.verifier import verify_graph
from .analysis.cost import GraphCost, graph_cost
from .analysis.layer_plot import layer_plot
from .analysis.prices import Prices, duration
from .catalog import PASSES, Pass
from .rewriting.ledger import Decline, Ledger, Rewrite

__all__ = ["ALL", "Check", "PassTrace", "Stage", "Step", "known_pass", "run_pass", "run_passes", "select"]

HEADINGS = ("pass", "rewrites", "ms", "nodes", "multiply-adds", "parameters", "estimated")  # of a trace
ALL = "*"  # the key of a cap on the rewrites of all passes together
# Takes the graph before and after a pass; returns what is wrong with the second, or "".
Check = Callable[[Graph, Graph], str]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a pipeline: a pass and the reason it stands there."""

    name: str
    why: str


@dataclass(frozen=True, repr=False)
class Stage:
    """What one pass did. `graph` is the result; the one before it is the previous stage's. Units: `seconds`.

    A `problem` says why the pass was rolled back; `rewrites` are then what it tried. It is `broken` if that took no check: it raised, or
    left no graph.
    """

    name: str
    why: str
    graph: Graph
    rewrites: tuple[Rewrite, ...]
    seconds: float
    prices: Prices
    problem: str = ""
    declined: tuple[Decline, ...] = ()
    broken: bool = False

    def __repr__(self) -> str:
        did = f"problem: {self.problem}" if self.problem else f"{len(self.rewrites)} rewrites, {len(self.declined)} declined"
        return f"<pass {self.name}: {did}, {self.seconds * 1e3:.1f} ms, {len(self.graph.nodes):,} nodes>"

    @property
    def changed(self) -> bool:
        return bool(self.rewrites) and not self.problem

    @property
    def op_counts(self) -> Counter[str]:
        return Counter(node.kind.name for node in self.graph.ops)

    @property
    def cost(self) -> GraphCost:
        return graph_cost(self.graph, self.prices.sizes)


class PassTrace(list[Stage]):
    """What a pipeline did, as `cc.optimize` returns it: the stages in order, which show themselves as a table. `original` is the graph
    before the first."""

    def __init__(self, original: Graph, stages: Iterable[Stage]) -> None:
        super().__init__(stages)
        self.original = original

    def rows(self) -> list[tuple[str, ...]]:
        """A line for each pass that changed something, after one for the graph as it came. Times are estimates for one core."""
        made = [(s.name, str(len(s.rewrites)), f"{s.seconds * 1e3:.1f}", s.graph) for s in self if s.changed]
        graphs = [("as it came", "", "", self.original), *made]
        return [(name, rewrites, ms, f"{len(graph.nodes):,}", *self._figures(graph)) for name, rewrites, ms, graph in graphs]

    def _figures(self, graph: Graph) -> tuple[str, str, str]:
        if not self or any(node.type is None for node in graph.nodes):
            return "", "", ""
        prices = self[-1].prices
        cost = graph_cost(graph, prices.sizes)
        return f"{cost.macs:,}", f"{cost.params:,}", duration(prices.whole(graph))

    @property
    def headline(self) -> str:
        changed = [stage for stage in self if stage.changed]
        rewrites = sum(len(stage.rewrites) for stage in changed)
        return f"@{self.original.name}: {len(changed)} of {len(self)} passes changed it, {rewrites} rewrites"

    def __repr__(self) -> str:
        return f"{self.headline}\n{text_table(self.rows(), HEADINGS)}"

    def _repr_html_(self) -> str:
        return html_table(self.rows(), HEADINGS, self.headline)

    def plot(self) -> Plot:
        """Multiply-adds and memory of each layer, as the network came and as it left.

        Raises: BackendMissing where matplotlib is not here; InvalidModel for a graph that never had types.
        """
        graphs = [self.original, *(stage.graph for stage in self)]
        typed = next((graph for graph in graphs if all(node.type for node in graph.nodes)), graphs[-1])
        return layer_plot(typed, graphs[-1], counting_sizes(typed))


def run_passes(
    graph: Graph,
    steps: Iterable[Step],
    prices: Prices,
    limits: Mapping[str, int] | None = None,
    *,
    check: Check | None = None,
    catalog: Mapping[str, Pass] = PASSES,
) -> tuple[Graph, list[Stage]]:
    """The improved graph and its trace. `prices` are those of the engine that will run it; `limits` caps the rewrites of a pass by name,
    or of all passes under ALL.

    A pass that breaks the graph is rolled back, with a warning; with a `check`, one that changes its results too, without: its stage keeps
    the graph from before and says what was wrong.

    Raises: UsageError for an unknown or doubled pass; PassFault for a broken one that is no optimization, without which the network would
    not be what was asked for.
    """
    steps = tuple(steps)
    _check_steps(steps, catalog)
    trace: list[Stage] = []
    limits, left = limits or {}, (limits or {}).get(ALL)
    for step in each("passes", steps):
        limit = min((cap for cap in (limits.get(step.name), left) if cap is not None), default=None)
        stage = run_pass(graph, step, prices, limit, check=check, catalog=catalog)
        left = None if left is None else left - len(stage.rewrites)
        if stage.broken:
            _tell_broken(stage, catalog[step.name])
        trace.append(stage)
        graph, prices = stage.graph, stage.prices
    return graph, trace


def run_pass(
    graph: Graph,
    step: Step,
    prices: Prices,
    limit: int | None = None,
    *,
    check: Check | None = None,
    catalog: Mapping[str, Pass] = PASSES,
) -> Stage:
    """One pass, held to the rules of the IR, to the network's interface and to `check`.

    Raises: UsageError for a graph without types where the pass needs them; what is wrong with the graph itself.
    """
    entry = catalog[step.name]
    untyped = next((node for node in graph.nodes if node.type is None), None) if entry.needs_types else None
    if untyped is not None:
        raise UsageError(f"pass '{step.name}' reads types, and {untyped.where} has none yet; put infer-shapes before it")
    prices = _counting(prices, graph)
    ledger = Ledger(prices, limit)
    start = time.perf_counter()
    try:
        after = entry.run(graph, ledger)
        seconds = time.perf_counter() - start
        if after is not graph:
            _check_interface(graph, after, adds_outputs=entry.adds_outputs)
    except (MemoryError, OutOfMemory):
        raise  # not the pass's affair
    except Exception as error:
        if isinstance(error, ConvcError) and (entry.adds_outputs or not entry.needs_types):
            raise  # the pass met what was wrong with the graph itself
        seconds = time.perf_counter() - start
        return Stage(step.name, step.why, graph, tuple(ledger.rewrites), seconds, prices, _said(error), ledger.declines, broken=True)
    problem = _complaint(check, graph, after) if check is not None and after is not graph else ""
    kept, prices = graph if problem else after, _counting(prices, after)
    return Stage(step.name, step.why, kept, tuple(ledger.rewrites), seconds, prices, problem, ledger.declines)


def _complaint(check: Check, before: Graph, after: Graph) -> str:
    """What is wrong with the result of a pass; to fail on it is wrong too."""
    try:
        return check(before, after)
    except (MemoryError, OutOfMemory):
        raise
    except Exception as error:
        return _said(error)


def _said(error: Exception) -> str:
    """In one line; of what no refusal is, also where it came from."""
    if isinstance(error, ConvcError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename.rpartition('/')[2]}:{last.lineno})"


def _tell_broken(stage: Stage, entry: Pass) -> None:
    fault = f"pass {stage.name} broke the graph, which is a fault of convc: {stage.problem}"
    if not entry.exact:
        raise PassFault(fault)
    warnings.warn(f"{fault}; the network goes on without it", PassRolledBack, stacklevel=3)


def _counting(prices: Prices, graph: Graph) -> Prices:
    """The prices at the numbers that stand for named sizes, once the graph has types to tell which fit."""
    if prices.sizes or any(node.type is None for node in graph.nodes):
        return prices
    return prices.at(counting_sizes(graph))


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
        raise UsageError(f"unknown pass '{name}'" + did_you_mean(name, PASSES, f"known are {', '.join(PASSES)}"))
    return name


def _check_steps(steps: tuple[Step, ...], catalog: Mapping[str, Pass]) -> None:
    """Raises: UsageError for a pass that does not exist or stands twice."""
    seen: set[str] = set()
    for step in steps:
        if step.name not in catalog:
            known_pass(step.name)
        if step.name in seen:
            raise UsageError(f"pass '{step.name}' stands twice in the pipeline; every pass runs to its own fixed point, once is enough")
        seen.add(step.name)


def _check_interface(before: Graph, after: Graph, *, adds_outputs: bool) -> None:
    """Raises: InvalidModel where a pass breaks the rules of the IR or changes the network's interface."""
    verify_graph(after)
    outputs = after.outputs[: len(before.outputs)] if adds_outputs else after.outputs
    for what, old, new in (("inputs", before.inputs, after.inputs), ("outputs", before.outputs, outputs)):
        if [node.name for node in old] != [node.name for node in new]:
            raise InvalidModel(f"the {what} were {[n.name for n in old]} and are {[n.name for n in new]}")
        for a, b in zip(old, new, strict=True):
            if a.type is not None and a.type != b.type:
                raise InvalidModel(f"the type of %{a.name} was {a.type} and is {b.type}")
