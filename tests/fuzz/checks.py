"""What must hold for every network, by name; each check gives a complaint or None.

    text            parse(print(g)) prints the same, and computes the same
    pass NAME       results in float64, idempotence, the ledger, the cap on rewrites, the text of the result
    passes A,B,C    the same for passes one after another
    empty batch     shapes and results, as the network is and after -O3
    -O1 to -O3      results in float64 of a pipeline
    ENGINE -O0      float32 results of reference, onnx, tvm, or tvm's stock rows alone, of the network as it is or after -O1 to -O3;
                    of one image too, where the batch has a name and an engine has other code for that, and of other numbers of rows and
                    columns that have one

The tolerance is `compiler.checking.oracle`'s: the Monte Carlo noise of the network as given. Where `verify` would
measure it again for every pass, it is measured once here, with the same inputs for all. A complaint is
held against more noise before it counts, since three runs may show too little of it.
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from convc.backends import reference
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.table import ENGINES
from convc.ir.binding import batch_names, match_inputs
from convc.ir.errors import ConvcError, Mismatch, PassRolledBack, UnsupportedOp
from convc.ir.graph import Graph, Node
from convc.ir.ops.elementwise import CAST, IDENTITY, Cast, Identity
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.ir.types import Array
from convc.ir.verifier import infer_type
from convc.passes.catalog import PASSES
from convc.passes.manager import Step, run_passes
from convc.passes.pipelines import LEVELS
from convc.passes.rewriting.ledger import Ledger
from convc.tests.fuzz.empty_batches import of_an_empty_batch
from convc.tests.fuzz.random_networks import SIZES, random_inputs_of
from convc.tests.support.tvm_modules import start_stock

__all__ = ["ENGINE_CHECKS", "EXACT", "PASS_CHECKS", "Subject", "complaint", "pass_checks"]

# What adds outputs asks for a loss, which these networks have not: tests/fuzz/test_differentiated_nets.py gives them one.
EXACT = tuple(name for name, entry in PASSES.items() if entry.exact and not entry.adds_outputs)
PASS_CHECKS = ("text", "empty batch", *(f"pass {name}" for name in EXACT), *(f"-O{level}" for level in range(1, len(LEVELS))))
ENGINE_CHECKS = ("reference -O0", *(f"{engine} -O{level}" for engine in ("onnx", "tvm", "stock") for level in range(len(LEVELS))))
STARTS = {name: engine.start for name, engine in ENGINES.items()} | {"stock": start_stock}
TVMS = ("tvm", "stock")  # one image is served by other code
OTHERS = {"H": 10, "W": 9}  # numbers beside those that networks are made to fit
MORE_NOISE = range(1, 9)  # seeds
# What onnxruntime says of ops that it has no kernel for on a CPU; tests/backends/onnx/write/test_export.py has them one by one.
NOT_IN_ONNXRUNTIME = (
    r"pads\[dim\] < kernel_shape|size_ % 2 == 1|running LRN node|output_padding \(\d\) may be too large|Could not find an implementation"
    r"|'Cubic' mode only supports"
)


def _zero_pad_under_pool(node: Node) -> bool:
    merged = node.kind.name == "max_pool" or (node.kind.name == "avg_pool" and node.op.ceil_mode)
    return merged and node.inputs[0].kind.name == "pad" and node.inputs[0].op.value == 0


def _nearest_by_an_inexact_scale(node: Node) -> bool:
    if node.kind.name != "resize" or node.op.mode != "nearest" or not node.op.sizes:
        return False
    before, after = (n.typed.with_sizes(SIZES).concrete()[2:] for n in (node.inputs[0], node))
    return any(float(np.float32(new / old)) != new / old for old, new in zip(before, after, strict=True))


# What others get wrong (OTHERS.md has a reproducer each): the engine, and the nodes that show it.
FAULTS = (
    ("onnx", "OTHERS.md 1, pad under a pool", _zero_pad_under_pool),
    ("onnx", "OTHERS.md 5, nearest resize to a size", _nearest_by_an_inexact_scale),
)


@dataclass
class Subject:
    """A network under test at these sizes, and what is known of it. `rules` gathers the rewrites seen, `skipped` what an engine cannot do."""

    graph: Graph
    sizes: Mapping[str, int] = field(default_factory=lambda: SIZES)
    rules: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)

    @cached_property
    def inputs(self) -> dict[str, Array]:
        return random_inputs_of(self.graph, sizes=self.sizes)

    @cached_property
    def alone(self) -> Subject | None:
        """The same for one image, if the batch has a name and the network works with one."""
        return self._at({**self.sizes, "N": 1}) if batch_names(self.graph) else None

    @cached_property
    def elsewhere(self) -> Subject | None:
        """The same at other numbers, if rows or columns have a name and fit them."""
        return self._at({**self.sizes, **OTHERS}) if set(self.graph.symbols) - batch_names(self.graph) else None

    def _at(self, sizes: Mapping[str, int]) -> Subject | None:
        other = Subject(self.graph, sizes)
        try:
            return other if match_inputs(self.graph, other.inputs) else None
        except ConvcError:
            return None

    @cached_property
    def wide(self) -> Graph:
        return without_casts(self.graph)

    @cached_property
    def exact(self) -> Oracle:
        return self.oracle("f64")

    @cached_property
    def single(self) -> Oracle:
        return self.oracle("f32")

    def oracle(self, precision: str, seed: int = 0) -> Oracle:
        with np.errstate(all="ignore"):
            return Oracle.of(self.wide, self.inputs, precision, seed)

    def differs(self, oracle: Oracle, precision: str, got: dict[str, Array]) -> str | None:
        """The first output out of tolerance, with more noise measured before that is said."""
        if all(line.agrees for line in compare("result", oracle, got)):
            return None
        tolerance = dict(oracle.tolerance)
        for seed in MORE_NOISE:
            more = self.oracle(precision, seed).tolerance
            tolerance = {name: np.maximum(tolerance[name], more[name]) for name in tolerance}
        lines = compare("result", Oracle(oracle.values, tolerance), got)
        return next((str(line) for line in lines if not line.agrees), None)


def without_casts(graph: Graph) -> Graph:
    """Identities for casts among floats: in float64 the interpreter would round there, and a rewrite need not. Operands of one type that are
    of several then are widened, which rounds nothing."""

    def visit(node: Node, operands: tuple[Node, ...]) -> Node:
        if node.kind is CAST and node.typed.is_float and node.inputs[0].typed.is_float:
            return Node(node.name, IDENTITY, Identity(), operands, operands[0].type)
        if len(_floats(operands)) > 1 and len(_floats(node.inputs)) == 1:
            operands = _widened(node.name, operands)
        read = node.reading(operands)
        return read if read is node else read.like(type=infer_type(read))

    return graph.rebuild(visit)


def _floats(operands: tuple[Node, ...]) -> set[str]:
    return {operand.typed.dtype for operand in operands if operand.typed.is_float}


def _widened(name: str, operands: tuple[Node, ...]) -> tuple[Node, ...]:
    """Float operands in a type that holds the values of all."""
    return tuple(
        Node(f"{name}.{index}.wide", CAST, Cast("f64"), (operand,), replace(operand.typed, dtype="f64"))
        if operand.typed.is_float
        else operand
        for index, operand in enumerate(operands)
    )


def pass_checks(seed: int) -> tuple[str, ...]:
    """The checks of passes, and a few passes in an order of this seed."""
    draws = random.Random(seed)
    return (*PASS_CHECKS, f"passes {','.join(draws.choice(EXACT) for _ in range(draws.randint(2, 6)))}")


def complaint(name: str, subject: Subject) -> str | None:
    """What is wrong, in one line; an exception is wrong too, and a pass that had to be left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PassRolledBack)
        return _complaint(name, subject)


def _complaint(name: str, subject: Subject) -> str | None:
    try:
        if name == "text":
            return _text(subject)
        if name == "empty batch":
            return of_an_empty_batch(subject.graph)
        if name.startswith("pass"):
            return _passes(subject, name.split(" ")[1].split(","))
        if name.startswith("-O"):
            return _level(subject, int(name[2:]))
        engine, level = name.split(" -O")
        return _engine(subject, engine, int(level))
    except Mismatch as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}".split("\n", 1)[0]


def _text(subject: Subject) -> str | None:
    text = print_graph(subject.graph)
    again = parse_graph(text)
    if print_graph(again) != text:
        return "the text changes on its way through the parser"
    got, want = reference.run(without_casts(again), subject.inputs, "f64"), subject.exact.values
    return (
        None if all(np.array_equal(got[name], want[name], equal_nan=True) for name in want) else "the parsed text computes something else"
    )


def _passes(subject: Subject, names: list[str]) -> str | None:
    graph = subject.graph
    for name in names:
        after, (stage,) = run_passes(graph, [Step(name, "fuzz")], ONNXRUNTIME.prices)
        subject.rules.update(f"{name}: {rewrite.rule}" for rewrite in stage.rewrites)
        if (wrong := _one_pass(subject, name, graph, after, len(stage.rewrites))) is not None:
            return wrong
        graph = after
    return None


def _one_pass(subject: Subject, name: str, before: Graph, after: Graph, rewrites: int) -> str | None:
    if after is before and not rewrites:
        return None
    text = print_graph(after, origins=True)
    if not rewrites:
        return None if text == print_graph(before, origins=True) else "it changed the graph and recorded no rewrite"
    if text == print_graph(before, origins=True):
        return f"it recorded {rewrites} rewrites and changed nothing"
    if print_graph(parse_graph(text), origins=True) != text:
        return "the text of the result changes on its way through the parser"
    if (wrong := _same_results(subject, after)) is not None:
        return wrong
    _, (stage,) = run_passes(after, [Step(name, "fuzz")], ONNXRUNTIME.prices)
    if stage.rewrites:
        return f"not idempotent: a second run makes {len(stage.rewrites)} rewrites, the first {stage.rewrites[0]}"
    if rewrites < 2:
        return None
    limit = rewrites // 2
    capped, (stage,) = run_passes(before, [Step(name, "fuzz")], ONNXRUNTIME.prices, {name: limit})
    if len(stage.rewrites) != limit:
        return f"{rewrites} rewrites, but {len(stage.rewrites)} under a cap of {limit}"
    wrong = _same_results(subject, capped)
    return None if wrong is None else f"under a cap of {limit} rewrites of {rewrites}: {wrong}"


def _same_results(subject: Subject, other: Graph) -> str | None:
    with np.errstate(all="ignore"):
        return subject.differs(subject.exact, "f64", reference.run(without_casts(other), subject.inputs, "f64"))


def _level(subject: Subject, level: int) -> str | None:
    after, trace = optimize(subject.graph, level)
    subject.rules.update(f"{stage.name}: {rewrite.rule}" for stage in trace for rewrite in stage.rewrites)
    return _same_results(subject, after)


def _engine(subject: Subject, engine: str, level: int) -> str | None:
    types = {node.typed.dtype for node in subject.graph.nodes if node.typed.is_float}
    if types != {"f32"}:
        return None  # the tolerance is that of float32
    graph = optimize(subject.graph, level)[0]
    if (
        fault := next((f"{engine}: {why}" for name, why, shows in FAULTS if name == engine and any(map(shows, graph.ops))), None)
    ) is not None:
        subject.skipped.add(fault)
        return None
    try:
        run = STARTS[engine](graph, 1)
        got = run(subject.inputs)
    except UnsupportedOp as error:
        if engine in TVMS:
            raise  # it has every op
        subject.skipped.add(f"{engine}: {str(error).split(': ', 1)[-1].split(' ')[1]}")  # a gap that somebody decided on
        return None
    except ConvcError as error:
        if engine == "onnx" and (known := re.search(NOT_IN_ONNXRUNTIME, str(error))):
            subject.skipped.add(f"{engine}: {known.group()}")
            return None
        raise
    wrong = subject.differs(subject.single, "f32", got)
    for other in (subject.alone, subject.elsewhere) if engine in TVMS else ():
        if wrong is None and other is not None:
            wrong = other.differs(other.single, "f32", run(other.inputs))
    return wrong


def complaints(names: tuple[str, ...], subject: Subject) -> Iterator[tuple[str, str]]:
    for name in names:
        if (wrong := complaint(name, subject)) is not None:
            yield name, wrong


def capped_nothing(graph: Graph) -> bool:
    """Whether a pass that may make no rewrite makes none."""
    return all(PASSES[name].run(graph, Ledger(ONNXRUNTIME.prices, 0)) is graph for name in EXACT)
