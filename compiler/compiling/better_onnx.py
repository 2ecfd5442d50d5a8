"""An ONNX file in, a better one out: import, passes, export, checks, and what it brought."""

from __future__ import annotations

import functools
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...backends.onnx.file.saving import Values, save_model, size_of
from ...backends.onnx.read.importer import MIN_OPSET, Imported, read_graph
from ...backends.onnx.session import Session
from ...ir.binding import match_inputs
from ...ir.errors import ConvcError, KernelMissing, Mismatch, UnsupportedOp, UsageError
from ...ir.graph import Graph
from ...ir.types import Array
from ...ir.usual_sizes import counting_sizes
from ...passes.analysis.cost import graph_cost
from ...passes.analysis.liveness import liveness
from ...passes.analysis.memory import plan_memory
from ...passes.manager import Stage
from ..checking.hold import hold
from ..checking.oracle import Agreement, Oracle
from ..checking.verify import verify
from ..engines.onnxruntime import ONNXRUNTIME

__all__ = ["Better", "Figures", "better_file", "check_better"]

PLAIN_OPSET = 13  # has words for all that older ones have
FAR = 4.0  # times as far off in onnxruntime left to itself; quantized values go by steps, so that a few more are no sign
CHECK_BYTES = 8 << 30  # of parameters and intermediate values in float64; a small file may declare any size


@dataclass(frozen=True)
class Figures:
    """What a file costs. Units: `file_bytes` and `arena` bytes, `nanoseconds` as estimated; `operators` counts nodes by ONNX type."""

    operators: Mapping[str, int]
    params: int
    macs: int
    nanoseconds: int
    file_bytes: int
    arena: int

    @property
    def nodes(self) -> int:
        return sum(self.operators.values())


@dataclass(frozen=True)
class Better:
    """An optimized file and where it came from. `model` is the ONNX ModelProto without the `values` of its weights, or None where
    nothing was won.
    """

    imported: Imported
    before: Graph
    after: Graph
    trace: list[Stage]
    model: Any
    values: Values
    figures: tuple[Figures, Figures]


def better_file(
    path: Path,
    run: Callable[[Graph], tuple[Graph, list[Stage]]],
    shapes: Mapping[str, str],
    opset: int | None = None,
    *,
    strict: bool = False,
) -> Better:
    """Read, improve by `run`, and export at `opset` (default: the file's own, or 13 where an older one has no words for it).

    A file that comes out no better in multiply-adds, estimated time, nodes or bytes, in this order, is not replaced.
    """
    from ...backends.onnx.write.export import to_shell
    from ..engines.optimize import optimize

    imported = read_graph(path, shapes=shapes, strict=strict)
    before, _ = optimize(imported.graph, 0)
    after, trace = run(before)
    own = imported.model.opset.get("", MIN_OPSET)
    source = imported.model.proto
    metadata = {entry.key: entry.value for entry in source.metadata_props}
    try:
        model, values = to_shell(after, opset or own, metadata)
    except UnsupportedOp:
        if opset is not None or own >= PLAIN_OPSET:
            raise
        model, values = to_shell(after, PLAIN_OPSET, metadata)
    size = model.ByteSize() + sum(size_of(tensor, values) for tensor in model.graph.initializer if tensor.name in values)
    figures = (_figures(source, before, path.stat().st_size + imported.outside), _figures(model, after, size))
    asked = bool(shapes) or (opset is not None and opset != own)
    if not asked and _rank(figures[1]) >= _rank(figures[0]):
        model = None
    return Better(imported, before, after, trace, model, values, figures)


def _rank(figures: Figures) -> tuple[int, int, int, int]:
    """Less is better. A few bytes of names are no reason to change a file."""
    return figures.macs, figures.nanoseconds, figures.nodes, figures.file_bytes >> 10


def _figures(model: Any, graph: Graph, file_bytes: int) -> Figures:
    sizes = counting_sizes(graph)
    cost, nanoseconds = graph_cost(graph, sizes), round(ONNXRUNTIME.prices.at(sizes).whole(graph) * 1e9)
    operators = Counter(node.op_type for node in model.graph.node)
    return Figures(operators, cost.params, cost.macs, nanoseconds, file_bytes, plan_memory(graph, sizes).arena)


def check_better(better: Better, inputs: Iterable[Mapping[str, Array]], seed: int, say: Callable[[str], None]) -> bool:
    """Hold the rewritten graph to the original in float64, and to both in onnxruntime the new file and the old one: an operator that
    convc misread would be wrong in every graph. False where the new one is right, but onnxruntime's own optimizer computes it wrong and
    the old one not, or far less so: who runs it there is better off with the old one.

    Raises: Mismatch naming what differs; UsageError where the values would not fit into memory.
    """
    expected: list[tuple[Mapping[str, Array], Oracle]] = []
    for feed in inputs:
        _check_size(better.before, feed)
        for line in verify(better.before, better.after, feed, seed):
            say(str(line))
        expected.append((feed, Oracle.of(better.before, feed, seed=seed)))
    # once the interpreter has let go of the weights in float64
    source = better.imported.model.path
    try:
        new = _hold("onnx", better.after, functools.partial(_session, better), expected, say)
    except KernelMissing as error:
        say(f"warning: nothing but float64 was compared: {error}")
        return True
    try:
        old = _hold(f"onnx on {source.name}", better.before, functools.partial(Session, better.before, source), expected, say)
    except Mismatch:
        raise
    except ConvcError as error:
        say(f"{source.name} itself was not run, so nothing but convc's reading of it was checked: {error}")
        return True
    return all(after.astray <= FAR * before.astray for after, before in zip(new, old, strict=True))


def _hold(
    label: str,
    graph: Graph,
    session: Callable[..., Session],
    expected: Iterable[tuple[Mapping[str, Array], Oracle]],
    say: Callable[[str], None],
) -> list[Agreement]:
    """Raises: Mismatch for a result beyond the oracle's tolerance."""
    run = session().run
    lines: list[Agreement] = []
    for feed, oracle in expected:
        for line in hold(label, graph, ONNXRUNTIME, run, feed, oracle, {}, lambda plain: session(rewrites=False).run):
            lines.append(line)
            say(str(line))
            if not line.agrees:
                raise Mismatch(f"{line}; nothing was written")
    return lines


def _session(better: Better, *, rewrites: bool = True) -> Session:
    """The new file in onnxruntime."""
    with tempfile.TemporaryDirectory(prefix="convc.") as folder:
        path = Path(folder) / "model.onnx"
        # onnxruntime maps weights that lie beside a model, and copies others
        save_model(better.model, path, threshold=0, values=better.values)
        return Session(better.after, path, rewrites=rewrites)


def _check_size(graph: Graph, feed: Mapping[str, Array]) -> None:
    drawn = sum(math.prod(node.typed.concrete()) for node in graph.params)
    peak = 2 * liveness(graph, match_inputs(graph, feed)).peak + 8 * drawn  # in float64
    if peak > CHECK_BYTES:
        raise UsageError(f"checking @{graph.name} would take {peak / 2**30:.1f} GiB; give smaller sizes with --input, or --no-verify")
