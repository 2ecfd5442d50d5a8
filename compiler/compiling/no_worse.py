"""A result that is no worse than its input: passes that raise a figure, or need a newer opset, are found and left out.

Those that somebody names are done all the same: whoever asks for float16 has asked for its casts.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...backends.onnx.file.saving import size_of
from ...backends.onnx.read.importer import Imported
from ...ir.errors import UnsupportedOp
from ...ir.graph import Graph, Node
from ...ir.usual_sizes import counting_sizes
from ...passes.manager import Stage
from ...passes.merge_common import value_key
from .figures import Figures, Rise, figures_of, is_better, rises

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Exporter", "RunPasses", "Search", "Written"]

RunPasses = Callable[[Graph, tuple[str, ...]], tuple[Graph, list[Stage]]]
TRIES = 6  # pipelines that are run; each try leaves out one pass more


@dataclass(frozen=True)
class Written:
    """An ONNX ModelProto without the `values` of its weights, and what it costs."""

    model: ModelProto
    values: dict[str, Callable[[], bytes]]
    figures: Figures


@dataclass(frozen=True)
class Exporter:
    """How the graphs that passes make of a file become files again, at an opset. `before` is the graph without passes."""

    imported: Imported
    before: Graph
    opset: int
    as_declared: bool

    @functools.cached_property
    def equal(self) -> dict[str, list[str]]:
        """For each name of the graph without passes those of values equal to it."""
        numbers: dict[Node, int] = {}
        seen: dict[Hashable, int] = {}
        classes: dict[int, list[str]] = defaultdict(list)
        for node in self.before.nodes:
            operands = [numbers[operand] for operand in node.inputs]
            is_first = node.inputs and node.kind.facts.identity(node.op, tuple(x.typed for x in node.inputs), node.typed)
            numbers[node] = operands[0] if is_first else seen.setdefault(value_key(node, operands), len(seen))
            classes[numbers[node]].append(node.name)
        return {node.name: classes[number] for node, number in numbers.items()}

    def read_figures(self, file_bytes: int) -> Figures:
        """Those of the file itself."""
        return figures_of(self.imported.model.proto, self.before, counting_sizes(self.before), file_bytes)

    def write(self, graph: Graph) -> Written:
        """Raises: UnsupportedOp for what the opset has no words for, nor the file."""
        from ...backends.onnx.write.export import UNWRITTEN, to_shell
        from ...backends.onnx.write.put_back import put_back
        from ...backends.onnx.write.retain import retain

        unwritten: dict[str, UnsupportedOp] = {}
        metadata = {entry.key: entry.value for entry in self.imported.model.proto.metadata_props}
        model, values = to_shell(graph, self.opset, metadata, unwritten=unwritten)
        put_back(model, values, self.imported, self.before, graph, self.equal)
        for node in model.graph.node:
            if node.domain == UNWRITTEN:
                raise unwritten[node.output[0]]
        retain(model, self.imported, graph, as_declared=self.as_declared)
        size = model.ByteSize() + sum(size_of(tensor, values) for tensor in model.graph.initializer if tensor.name in values)
        return Written(model, values, figures_of(model, graph, counting_sizes(self.before), size))


Outcome = tuple[Graph, list[Stage], Written | None]  # no file where none could be made without a figure getting worse


@dataclass
class Search:
    """What to leave out of a pipeline so that nothing is worse than `old`. Passes that are `named` by whoever asks are not left out:
    what they make worse is said, and `is_as_named` tells that one of them changed the graph.
    """

    exporter: Exporter
    run: RunPasses
    old: Figures
    named: frozenset[str] = frozenset()
    left_out: list[str] = field(default_factory=list[str])
    is_as_named: bool = False

    def best(self, say: Callable[[str], None]) -> Outcome:
        """The graph, its trace and its file.

        Raises: UnsupportedOp for what a named pass makes, and the opset has no words for.
        """
        found = self._no_worse(say)
        return self._as_named(found, say) if self.named else found

    def _no_worse(self, say: Callable[[str], None]) -> Outcome:
        """By the passes that nobody named."""
        while True:
            after, trace = self.run(self.exporter.before, (*sorted(self.named), *self.left_out))
            written = self._tried(after)
            trouble = self._trouble(written)
            if trouble is None:
                assert isinstance(written, Written)
                return after, trace, written
            is_no_gain = isinstance(written, Written) and not is_better(self.old, written.figures)
            if is_no_gain and not self.named:
                return after, trace, None
            culprit = self._culprit(trace, trouble)
            if culprit is None or len(self.left_out) + 1 == TRIES:
                if trace and not is_no_gain:
                    say(f"no better file: {trouble}")
                return after, trace, None
            say(f"{culprit} is left out: {trouble}")
            self.left_out.append(culprit)

    def _as_named(self, found: Outcome, say: Callable[[str], None]) -> Outcome:
        """With those that somebody named, unless they change nothing."""
        after, trace = self.run(self.exporter.before, tuple(self.left_out))
        changing = [stage.name for stage in trace if stage.changed and stage.name in self.named]
        if not changing:
            say(f"{_listed(sorted(self.named))} changed nothing; -v says what declined")
            return found
        written = self._tried(after)
        if isinstance(written, UnsupportedOp):
            raise UnsupportedOp(f"{self._culprit(trace, written) or _listed(changing)} was asked for, and {written}") from written
        if rising := list(rises(self.old, written.figures)):
            figures = ", ".join(f"{each.name} from {each.old:,} to {each.new:,}" for each in rising)
            say(f"note: {_listed(changing)} asked for by name, whatever rises: {figures}")
        self.is_as_named = True
        return after, trace, written

    def _tried(self, graph: Graph) -> Written | UnsupportedOp:
        try:
            return self.exporter.write(graph)
        except UnsupportedOp as error:
            return error

    def _trouble(self, written: Written | UnsupportedOp) -> Rise | UnsupportedOp | None:
        return written if isinstance(written, UnsupportedOp) else next(rises(self.old, written.figures), None)

    def _culprit(self, trace: list[Stage], trouble: Rise | UnsupportedOp) -> str | None:
        """The pass after which the figure rises most, or which first brings in what cannot be written."""
        grown: dict[str, int] = {}
        was = self._tried(self.exporter.before)
        for stage in trace:
            if not stage.changed:
                continue
            now = self._tried(stage.graph)
            if isinstance(trouble, UnsupportedOp):
                if _is_error(now) and not _is_error(was):
                    return stage.name
            else:
                grown[stage.name] = _value(now, trouble.what) - _value(was, trouble.what)
            was = now
        most = max(grown, key=grown.__getitem__, default="")
        return most if grown.get(most, 0) > 0 else None


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _is_error(state: Any) -> bool:
    return isinstance(state, UnsupportedOp)


def _value(state: Written | UnsupportedOp, what: str) -> int:
    return 0 if isinstance(state, UnsupportedOp) else state.figures.value(what)
