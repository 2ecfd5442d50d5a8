"""A network in the precision that somebody asks for: the pass, told which layers leave the range of 16 bits on given inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...backends import reference
from ...ir.errors import UsageError
from ...ir.graph import Graph, Node
from ...ir.ops.elementwise import CAST
from ...ir.ops.opaque import OPAQUE
from ...ir.ops.quantize import DEQUANTIZE_LINEAR
from ...ir.suggest import not_there
from ...ir.types import Array, limits_of
from ...passes.analysis.prices import Prices
from ...passes.catalog import PASSES
from ...passes.manager import Stage, run_passes
from ...passes.pipelines import PRECISIONS
from ...passes.precision.candidates import WORDS
from ...passes.precision.narrowed import Kept
from ...passes.rewriting.ledger import Ledger
from ...passes.to_bfloat16 import to_bfloat16
from ...passes.to_float16 import to_float16
from ..files.calibration import batched, read_calibration
from ..files.entering import Entering
from ..files.images import Preparing
from ..files.inputs import random_inputs
from ..files.photographs import Said, photographs_in

__all__ = ["NARROW", "Narrowed", "feeds_of", "in_precision", "need_float32", "need_use"]

Narrowing = Callable[[Graph, Ledger, Kept], Graph]
RUNS: Mapping[str, tuple[str, Narrowing]] = {"fp16": ("f16", to_float16), "bf16": ("bf16", to_bfloat16)}
IMAGES = 8  # crops of photographs; of an .npz all are taken
NARROW = tuple(RUNS)
BODIES = ("If", "Loop", "Scan")  # operators with graphs of their own
AT_ONCE = 8  # inputs that are run together


class Narrowed(NamedTuple):
    """The graph, what the pass did, and lines for people: how much of it is narrow, and what stays in float32 though it need not."""

    graph: Graph
    stage: Stage
    lines: tuple[str, ...]


def in_precision(graph: Graph, precision: str, feeds: Iterable[Mapping[str, Array]], prices: Prices) -> Narrowed | None:
    """`graph` in fp16 or bf16; None for other precisions, which are no matter of types.

    What would leave the range of 16 bits on one of the `feeds` stays in float32.

    Raises: UsageError for a network in 16 bits of another kind.
    """
    if precision not in PRECISIONS:
        return None
    step, (dtype, run) = PRECISIONS[precision], RUNS[precision]
    need_float32(graph, precision)
    kept = _beyond(graph, feeds, dtype)

    def run_keeping(graph: Graph, ledger: Ledger) -> Graph:
        return run(graph, ledger, kept)

    entry = replace(PASSES[step.name], run=run_keeping)
    narrow, (stage,) = run_passes(graph, [step], prices, catalog={**PASSES, step.name: entry})
    stay = (f"%{each.root} stays in float32: {each.why}" for each in stage.declined)
    return Narrowed(narrow, stage, (_share(narrow, dtype, precision), *stay))


def need_use(calibration: tuple[str, ...], precision: str) -> None:
    """Raises: UsageError for calibration inputs that nobody would look at, or that are not there."""
    if calibration and precision not in NARROW:
        raise UsageError(f"--calibration finds what leaves the range of 16 bits; give --precision {' or '.join(NARROW)} with it")
    for file in calibration:
        is_file = photographs_in(file) in (None, [Path(file)])  # rather than a folder or a pattern
        if is_file and not Path(file).exists():
            raise UsageError(f"--calibration: {not_there(file)}")


def need_float32(graph: Graph, precision: str) -> None:
    """Raises: UsageError for a network whose products have 16 bits of another kind already, so that nothing would be made of them."""
    types = dict.fromkeys(node.typed.dtype for node in graph.ops if node.kind.facts.narrow(node.op) == "gains")
    if precision in RUNS and types and not {"f32", "f64", RUNS[precision][0]}.intersection(types):
        words = " and ".join(WORDS[each] for each in types)
        way_out = "leave --precision out, or begin with the network in float32"
        raise UsageError(f"@{graph.name} multiplies in {words}, and {precision} is made of float32 alone; {way_out}")


def feeds_of(
    graph: Graph, files: tuple[str, ...], seed: int, *, drawn: bool, entering: Entering | None = None, say: Said | None = None
) -> list[dict[str, Array]]:
    """Calibration inputs from `files`, of which photographs are normalized by `entering`, and the random ones of a check where these are
    `drawn`; `say` hears what was converted.
    """
    feeds = [random_inputs(graph, seed)] if drawn else []
    if files:
        given = read_calibration(graph, files, IMAGES, seed, Preparing(entering=entering), say)
        feeds += [*batched(graph, given.fit, AT_ONCE), *batched(graph, given.held_out, AT_ONCE)]  # nothing is fitted
    return feeds


def _share(graph: Graph, dtype: str, precision: str) -> str:
    products = [node for node in graph.ops if node.kind.facts.narrow(node.op) == "gains"]
    narrow = [node for node in products if node.typed.dtype == dtype]
    quantized = [node for node in products if any(operand.kind is DEQUANTIZE_LINEAR for operand in node.inputs)]
    casts = [node for node in graph.ops if node.kind is CAST and dtype in (node.typed.dtype, node.inputs[0].typed.dtype)]
    of_whole_numbers = f", {len(quantized)} of quantized values, which stay" if quantized else ""
    double = sum(node.typed.dtype == "f64" for node in products)
    of_double = f", {double} of float64, which stay" if double else ""
    bodies = [f"%{node.name} ({node.op.operator})" for node in graph.ops if node.kind is OPAQUE and node.op.operator in BODIES]
    inside = f"; what {', '.join(bodies)} {'computes' if len(bodies) == 1 else 'compute'} inside stays as it is" if bodies else ""
    return f"{precision}: {len(narrow)} of {len(products)} products{of_whole_numbers}{of_double}, {len(casts)} casts{inside}"


def _beyond(graph: Graph, feeds: Iterable[Mapping[str, Array]], dtype: str) -> dict[str, str]:
    """What makes or reads a value, on one of the feeds, that `dtype` has no number for, and which."""
    greatest = float(limits_of(dtype).max)
    largest: dict[str, float] = {}
    for feed in feeds:
        for node, value in reference.stream(graph, feed, "f64"):
            if node.weights is None and value.dtype.kind == "f":
                size = float(np.max(abs(value), where=np.isfinite(value), initial=0.0))
                largest[node.name] = max(size, largest.get(node.name, 0.0))
    far = {name: size for name, size in largest.items() if size > greatest}

    def why(node: Node) -> str:
        name = next((each.name for each in (node, *node.inputs) if each.name in far), "")
        reaches = "it reaches" if name == node.name else f"%{name} reaches"
        return name and f"{reaches} {far[name]:.6g}, and the range ends at {greatest:.6g}"

    return {node.name: said for node in graph.ops if (said := why(node))}
