"""An ONNX file in, a better one out: import, passes, export, checks, and what it brought."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...backends import reference
from ...backends.onnx.file.saving import Values, save_model
from ...backends.onnx.read.importer import Imported, read_graph
from ...backends.onnx.session import Session
from ...backends.onnx.write.export import MIN_OPSET
from ...ir.binding import match_inputs
from ...ir.errors import ConvcError, InvalidModel, KernelMissing, Mismatch, UsageError
from ...ir.files import temporary_folder
from ...ir.graph import Graph
from ...ir.types import Array
from ...passes.analysis.liveness import liveness
from ...passes.manager import Stage
from ..checking.cut import Cut
from ..checking.hold import Readied, all_agree, hold
from ..checking.narrowing import narrower_type
from ..checking.oracle import Agreement, Oracle
from ..checking.units import ALIKE
from ..checking.verify import verify
from ..engines.onnxruntime import ONNXRUNTIME
from .figures import Figures, is_better
from .no_worse import Exporter, RunPasses, Search

__all__ = ["Better", "better_file", "check_better"]

FAR = 4.0  # times as far off in onnxruntime left to itself; quantized values go by steps, so that a few more are no sign
CHECK_BYTES = 8 << 30  # of parameters and intermediate values in float64; a small file may declare any size


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


@dataclass(frozen=True)
class _Expected:
    """What onnxruntime is held to: first by the noise of one run, and where that leaves a doubt by that of as many as elsewhere.

    One run draws for each value, and is a measure where they are many: of a few it may be several times too large.
    """

    graph: Graph
    feed: Mapping[str, Array]
    exact: Mapping[str, Array]
    seed: int

    @functools.cached_property
    def quick(self) -> Oracle:
        if any(value.size < ALIKE for value in self.exact.values() if value.dtype != object):
            return self.oracle
        return Oracle.of(self.graph, self.feed, seed=self.seed, exact=self.exact, runs=1)

    @functools.cached_property
    def oracle(self) -> Oracle:
        return Oracle.of(self.graph, self.feed, seed=self.seed, exact=self.exact)


def better_file(
    path: Path,
    run: RunPasses,
    shapes: Mapping[str, str],
    opset: int | None = None,
    *,
    strict: bool = False,
    named: Collection[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Better:
    """Read, improve by `run`, and export at `opset`, by default the file's own. `run` takes a graph and the passes to leave out.

    A file that comes out with no figure better is not replaced. A pass that makes one worse, or needs a newer opset, is left out, and
    `say` hears of it; one that is `named` is done all the same, and its file kept.

    Raises: UnreadOperators; UnsupportedOp for what an `opset` that was asked for has no words for, or the file's for a pass that is named.
    """
    from ..engines.optimize import optimize

    imported = read_graph(path, shapes=shapes, strict=strict)
    before, _ = optimize(imported.graph, 0)
    own = max(imported.model.opset.get("", MIN_OPSET), MIN_OPSET)
    exporter = Exporter(imported, before, opset or own, as_declared=not shapes)
    old = exporter.read_figures(path.stat().st_size + imported.outside)
    asked = bool(shapes) or (opset is not None and opset != own)
    written = exporter.write(before) if asked else None
    search = Search(exporter, run, written.figures if written else old, frozenset(named))
    after, trace, new = search.best(say)
    if new is not None and not asked and not search.is_as_named and not is_better(old, new.figures):
        new = None
    kept = new or written
    if kept is None:
        return Better(imported, before, after, trace, None, {}, (old, old))
    return Better(imported, before, after if new else before, trace, kept.model, kept.values, (old, kept.figures))


def check_better(better: Better, inputs: Iterable[Mapping[str, Array]], seed: int, say: Callable[[str], None]) -> bool:
    """Hold the rewritten graph to the original in float64, and to both in onnxruntime the new file and the old one: an operator that
    convc misread would be wrong in every graph. False where the new one is right, but onnxruntime's own optimizer computes it wrong and
    the old one not, or far less so: who runs it there is better off with the old one.

    Raises: Mismatch naming what differs; UsageError where the values would not fit into memory.
    """
    expected: list[_Expected] = []
    narrow: list[_Expected] = []  # where passes made values of 16 bits, what these are: `verify` holds that to the original
    is_narrowed = narrower_type(better.before, better.after) is not None
    for feed in inputs:
        _check_size(better.before, feed)
        try:
            exact = reference.run(better.before, feed, "f64")
            for line in verify(better.before, better.after, feed, seed, exact):
                say(str(line))
            expected.append(_Expected(better.before, feed, exact, seed))
            if is_narrowed:
                narrow.append(_Expected(better.after, feed, reference.run(better.after, feed, "f64"), seed))
        except KernelMissing as error:
            say(f"warning: what such nodes give was drawn at random, and the rest was checked with it: {error}")
            _check_around(better, feed, seed, say)
            return True
    # once the interpreter has let go of the weights in float64
    source = better.imported.model.path
    try:
        new = _hold("onnx", better.after, functools.partial(_session, better), narrow or expected, say)
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


def _check_around(better: Better, feed: Mapping[str, Array], seed: int, say: Callable[[str], None]) -> None:
    """Hold what lies around opaque nodes to the original, in float64 and in onnxruntime, where nothing here computes these.

    Raises: Mismatch naming what differs.
    """
    from ...backends.onnx.write.export import to_model

    try:
        cut = Cut.made_up(better.before, feed, seed)
        before, after = cut.both(better.before, better.after)
        lines = verify(before, after, cut.feed, seed)
    except InvalidModel as error:
        say(f"warning: nor is anything else: {error}")  # of other sizes, or other values, than such nodes give
        return
    run = Session(after, to_model(after, better.imported.model.opset.get("")).SerializeToString()).run
    held = hold(
        "onnx",
        Readied(after, ONNXRUNTIME, run),
        cut.feed,
        Oracle.of(after if narrower_type(before, after) else before, cut.feed, seed=seed),
    )
    for line in (*lines, *held):
        say(str(line))
        if not line.agrees:
            raise Mismatch(f"{line}; nothing was written")


def _hold(
    label: str,
    graph: Graph,
    session: Callable[..., Session],
    expected: Iterable[_Expected],
    say: Callable[[str], None],
) -> list[Agreement]:
    """Raises: Mismatch for a result beyond the oracle's tolerance."""
    run = session().run
    lines: list[Agreement] = []
    for each in expected:
        held = hold(label, Readied(graph, ONNXRUNTIME, run), each.feed, each.quick)
        if not all_agree(held):
            held = hold(label, Readied(graph, ONNXRUNTIME, run, {}, lambda plain: session(rewrites=False).run), each.feed, each.oracle)
        for line in held:
            lines.append(line)
            say(str(line))
            if not line.agrees:
                raise Mismatch(f"{line}; nothing was written")
    return lines


def _session(better: Better, *, rewrites: bool = True) -> Session:
    """The new file in onnxruntime."""
    with temporary_folder() as folder:
        path = folder / "model.onnx"
        # onnxruntime maps weights that lie beside a model, and copies others
        save_model(better.model, path, threshold=0, values=better.values)
        return Session(better.after, path, rewrites=rewrites)


def _check_size(graph: Graph, feed: Mapping[str, Array]) -> None:
    drawn = sum(math.prod(node.typed.concrete()) for node in graph.params)
    peak = 2 * liveness(graph, match_inputs(graph, feed)).peak + 8 * drawn  # in float64
    if peak > CHECK_BYTES:
        raise UsageError(f"checking @{graph.name} would take {peak / 2**30:.1f} GiB; give smaller sizes with --input, or --no-verify")
