"""The rewrite scope of checking: after every pass, the graph in float64 against the network as it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends import reference
from ...ir.errors import ConvcError, Mismatch, OutOfMemory
from ...ir.files import replace_directory
from ...ir.graph import Graph
from ...ir.other_runtimes import has_opaque
from ...ir.printer import print_graph
from ...ir.types import Array
from ...passes.analysis.prices import Prices
from ...passes.catalog import PASSES, Pass
from ...passes.manager import Stage, Step, run_pass
from ...passes.rewriting.ledger import Rewrite
from ..files.inputs import random_inputs
from ..files.weights import npz_bytes, weights_bytes
from .cut import Cut
from .narrowing import loss_of, narrower_type
from .noise import Rounding, noise_level
from .oracle import Agreement, Oracle
from .units import SIGMAS, UNIT
from .verify import compare_rewritten

__all__ = ["Finding", "PassCheck", "bisect", "refuse_failures", "write_reproducer"]

COMMAND = "command.txt"


class PassCheck:
    """Called with a graph before and after a pass; says which output of the second differs from the original's.

    The original's float64 outputs and their noise are computed once. A graph that passed is as good as the
    original, so every pass is held to that. Where one has added outputs, as gradients are, they are known from its result on.
    `see` is given every graph that was held to it, with what came of each output.
    """

    def __init__(
        self,
        original: Graph,
        inputs: Mapping[str, Array] | None = None,
        seed: int = 0,
        see: Callable[[Graph, Sequence[Agreement]], object] = lambda graph, lines: None,
    ) -> None:
        self.see = see
        self.original = original
        self.inputs = dict(random_inputs(original, seed) if inputs is None else inputs)
        self.cut = Cut.of(original, self.inputs) if has_opaque(original) else None
        feed = self.inputs if self.cut is None else self.cut.feed
        whole = original if self.cut is None else self.cut.apply(original)
        exact = reference.run(whole, feed, "f64")
        noise = noise_level(whole, feed, exact, Rounding(UNIT["f64"], seed, runs=1))
        tolerance = {name: SIGMAS * noise[name] + UNIT["f64"] * abs(exact[name]) for name in exact}
        self.oracle = Oracle(exact, tolerance)
        self.grown: dict[tuple[str, ...], PassCheck] = {}  # by the outputs of what has more of them
        self.seed = seed

    def __call__(self, before: Graph, after: Graph) -> str:
        names = tuple(node.name for node in before.outputs)
        if names != tuple(node.name for node in self.original.outputs):
            if names not in self.grown:
                self.grown[names] = PassCheck(before, self.inputs, self.seed, self.see)
            return self.grown[names](before, after)
        try:
            lines = self._lines(_cut_to(after, len(names)))
        except OutOfMemory:
            raise
        except ConvcError as error:
            return str(error)
        self.see(after, lines)
        return next((str(line) for line in lines if not line.agrees), "")

    def _lines(self, after: Graph) -> list[Agreement]:
        """What is compared: of a network with opaque nodes also what those are given that are left."""
        if self.cut is None:
            return compare_rewritten(self.original, after, self.inputs, self._oracle(self.original, after, self.inputs))
        both = self.cut.both(self.original, after)
        wanted = {node.name for node in both[1].outputs}
        oracle = self._oracle(*both, self.cut.feed)
        oracle = replace(oracle, values={name: value for name, value in oracle.values.items() if name in wanted})
        return compare_rewritten(*both, self.cut.feed, oracle)

    def _oracle(self, original: Graph, after: Graph, inputs: Mapping[str, Array]) -> Oracle:
        """That of float64, or where a pass has made floats narrower what these may lose."""
        return self.oracle if narrower_type(original, after) is None else loss_of(original, after, inputs)


def _cut_to(graph: Graph, count: int) -> Graph:
    """With so many outputs."""
    return graph if len(graph.outputs) == count else Graph.of(graph.name, graph.inputs, graph.outputs[:count], graph.nodes)


@dataclass(frozen=True)
class Finding:
    """The first bad rewrite: the `number`th of pass `name`, with the graphs on both sides of it.

    `rewrite` is None for a pass that fails before it records one.
    """

    name: str
    number: int
    rewrite: Rewrite | None
    before: Graph
    after: Graph
    complaint: str

    def __str__(self) -> str:
        if self.rewrite is None:
            return f"pass {self.name} is wrong: {self.complaint}"
        took, made = (", ".join(f"%{name}" for name in names) or "nothing" for names in (self.rewrite.took, self.rewrite.made))
        change = f"rule {self.rewrite.rule} at %{self.rewrite.root} took {took} and made {made}"
        return f"pass {self.name}, rewrite {self.number}: {change}; {self.complaint}"


def bisect(graph: Graph, steps: Iterable[Step], check: PassCheck, prices: Prices, catalog: Mapping[str, Pass] = PASSES) -> Finding | None:
    """The first pass that changes the results, and in it the first rewrite that does, by halving a cap on rewrites."""
    for step in steps:
        stage = run_pass(graph, step, prices, check=check, catalog=catalog)
        if stage.problem:
            return _first_rewrite(graph, step, stage, check, catalog)
        graph = stage.graph
    return None


def _first_rewrite(graph: Graph, step: Step, whole: Stage, check: PassCheck, catalog: Mapping[str, Pass]) -> Finding:
    good, bad, found = 0, len(whole.rewrites), whole
    while good + 1 < bad:
        middle = (good + bad) // 2
        stage = run_pass(graph, step, whole.prices, middle, check=check, catalog=catalog)
        if stage.problem:
            bad, found = middle, stage
        else:
            good = middle
    last = run_pass(graph, step, whole.prices, good, check=check, catalog=catalog).graph
    rewrite = found.rewrites[-1] if found.rewrites else None
    return Finding(step.name, bad, rewrite, last, _unchecked(graph, step, whole.prices, bad, catalog), found.problem)


def _unchecked(graph: Graph, step: Step, prices: Prices, limit: int, catalog: Mapping[str, Pass]) -> Graph:
    """What the pass makes of the graph, right or wrong; the graph itself where the pass breaks off."""
    try:
        return run_pass(graph, step, prices, limit, catalog=catalog).graph
    except Exception:  # whatever the faulty pass raises, its complaint is known already
        return graph


def write_reproducer(folder: Path, before: Graph, stage: Stage, inputs: Mapping[str, Array]) -> Path:
    """A directory with the graph before the failing pass, its weights, the inputs and the command; returns it."""
    path = folder / f"reproducer-{stage.name}"
    with replace_directory(path, _foreign_files) as draft:
        (draft / "before.cir").write_text(print_graph(before, origins=True), encoding="utf-8")
        (draft / "weights.safetensors").write_bytes(weights_bytes(before))
        (draft / "inputs.npz").write_bytes(npz_bytes(inputs))
        command = f"convc bisect before.cir -p {stage.name} --weights weights.safetensors -i inputs.npz"
        (draft / COMMAND).write_text(f"{command}\n# {stage.problem}\n", encoding="utf-8")
    return path


def _foreign_files(path: Path) -> list[str]:
    return [file.name for file in path.iterdir() if file.name not in {"before.cir", "weights.safetensors", "inputs.npz", COMMAND}]


def refuse_failures(graph: Graph, trace: Sequence[Stage], check: PassCheck, folder: Path = Path()) -> None:
    """Raises: Mismatch for the first pass that changed results, after writing its reproducer into `folder`. One that broke the graph was
    left out with a warning, and what came of the others is right."""
    before = graph
    for stage in trace:
        if stage.problem and not stage.broken:
            path = write_reproducer(folder, before, stage, check.inputs)
            raise Mismatch(f"pass {stage.name} was rolled back: {stage.problem}; reproducer in {path}, see {path / COMMAND}")
        before = stage.graph
