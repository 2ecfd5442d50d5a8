"""What a plan costs and saves, measured: the reference runs both networks side by side, and engines race them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...backends import reference
from ...ir.binding import match_inputs, specialize
from ...ir.graph import Graph, Node
from ...ir.load import Load
from ...ir.progress import each
from ...ir.shown import html_lines, html_table, text_table
from ...ir.types import Array
from ...passes.analysis.cost import graph_cost
from ...passes.analysis.memory import plan_memory
from ..checking.oracle import top_agreement
from ..files.calibration import Calibration, batched
from .budget import Budget
from .race import Lap, Races, race, started
from .sensitivity import readouts
from .study import BottleneckPlan, Insertion

__all__ = ["Certificate", "LayerErrors", "OutputErrors", "beyond", "certify", "doubt_lines", "far_off", "latency_lines", "lines_of"]

UNSTEADY = 1.15  # times, by which two rounds of one race may differ
AGAIN = 2  # times that a lap is run again, if it cannot be
FAR = 3.0  # times the prediction: trained networks on photographs stay within 2.5
BARELY = 1.01  # times a bound, which was held by the same images in batches
SMALL_ERROR = 0.01  # of the deviation or the size, which nobody minds


@dataclass(frozen=True, slots=True)
class LayerErrors:
    """A layer's relative errors, as shares of its outputs' deviation: predicted (None where weights alone decided: what images make of
    them is not known), measured on the exact input, and on the planned network's own."""

    name: str
    split: str
    predicted: float | None
    measured: float
    accumulated: float


@dataclass(frozen=True, slots=True)
class OutputErrors:
    """The outputs' errors on some inputs, before a last softmax. `relative` to their size, `spread` to how far images lie apart
    (None for a single one). `top1` and `top5` as in verify."""

    inputs: str
    images: int
    predicted: float | None
    relative: float
    spread: float | None
    top1: float | None
    top5: float | None


HEADINGS = ("layer", "split", "predicted", "measured", "accumulated")


@dataclass(frozen=True, repr=False)
class Certificate:
    """Figures of a plan, before and after: `costs` by name per image, `arena` in bytes, `latency` milliseconds by engine. `doubts` say why
    those are not to be trusted, and `load` what others did on the machine meanwhile.
    """

    layers: Sequence[LayerErrors]
    outputs: Sequence[OutputErrors]
    costs: Mapping[str, tuple[int, int]]
    latency: Mapping[str, tuple[float, float]]
    doubts: Sequence[str] = ()
    load: Load | None = None

    def rows(self) -> list[tuple[str, ...]]:
        """A line for each layer, as they are shown."""
        return [(x.name, x.split, *map(_share, (x.predicted, x.measured, x.accumulated))) for x in self.layers]

    def __repr__(self) -> str:
        return "\n".join([text_table(self.rows(), HEADINGS), *lines_of(self), *doubt_lines(self)])

    def _repr_html_(self) -> str:
        return html_table(self.rows(), HEADINGS, "splits, and what they lose") + html_lines([*lines_of(self), *doubt_lines(self)])

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"load": self.load.as_json() if self.load is not None else None}


@dataclass
class _Sums:
    """Sums over images of a layer's squared errors, and of its outputs for their variance."""

    count: int = 0
    total: Array = field(default_factory=lambda: np.zeros(0))
    squares: float = 0.0
    local: float = 0.0
    accumulated: float = 0.0

    def see(self, y: Array, near: Array) -> None:
        channels = np.moveaxis(y, 1, 0).reshape(y.shape[1], -1).astype(np.float64)
        self.count += channels.shape[1]
        self.total = channels.sum(axis=1) + (self.total if len(self.total) else 0.0)
        self.squares += float(np.vdot(channels, channels))
        self.local += _square(y - near)

    @property
    def variance(self) -> float:
        return max(self.squares - float(self.total @ self.total) / self.count, 1e-300)


def certify(inserted: Insertion, calibration: Calibration, images: int, races: Races) -> Certificate:
    """Run both networks on `images` of the calibration inputs and as many held out, and time them."""
    sets = {"calibration": calibration.fit, "held out": calibration.held_out} if calibration.is_real else {"random": calibration.fit}
    sums = {name: {layer: _Sums() for layer in inserted.plan.splits} for name in sets}
    error = inserted.plan.error if calibration.is_real else None
    outputs = [_output_line(name, error, inserted, {key: array[:images] for key, array in sets[name].items()}, sums[name]) for name in sets]
    *_, unseen = sums.values()  # calibration inputs are those that the splits were fitted on
    one = next(iter(batched(inserted.before, calibration.fit, 1)))
    laps, doubts = _laps(inserted, one, races)
    latency = {name: (min(lap.was for lap in each), min(lap.now for lap in each)) for name, each in laps.items()}
    lines = _layer_lines(inserted.plan, unseen, is_known=calibration.is_real)
    load = races.watch.load()
    return Certificate(lines, outputs, _costs(inserted), latency, [*load.doubts, *doubts, *_disagreeing(laps)], load)


def _laps(inserted: Insertion, one: Mapping[str, Array], races: Races) -> tuple[dict[str, list[Lap]], list[str]]:
    """Of each engine, in two rounds of half the turns. A lap that this machine cannot do is run again; a sentence about one that stays."""
    sizes = match_inputs(inserted.before, one)
    after = specialize(inserted.after, sizes)
    laps: dict[str, list[Lap]] = {engine.name: [] for engine in races.engines}
    doubts: list[str] = []
    ready = [(engine, started(inserted.before, inserted.after, engine, races.threads)) for engine in races.engines]
    for engine, runs in [*ready, *ready]:
        run = functools.partial(race, runs, one, engine.name, (races.turns + 1) // 2)
        lap, left = run(), AGAIN
        while (is_beyond := lap.is_beyond(races.least(after, min(lap.was, lap.now)))) and left:
            lap, left = run(), left - 1
        if is_beyond:
            doubts.append(f"in {engine.name} a network was faster than the multiply-adds of this machine allow")
        laps[engine.name].append(lap)
    return laps, doubts


def _disagreeing(laps: Mapping[str, Sequence[Lap]]) -> Iterable[str]:
    for engine, found in laps.items():
        shares = [lap.now / lap.was for lap in found]
        if max(shares) > UNSTEADY * min(shares):
            yield f"in {engine} the planned network took {' and '.join(f'{share:.2f}' for share in shares)} of the time in two rounds"


def _layer_lines(plan: BottleneckPlan, sums: Mapping[str, _Sums], *, is_known: bool) -> list[LayerErrors]:
    return [
        LayerErrors(
            name,
            str(split),
            float(np.sqrt(plan.lost[name])) if is_known else None,
            float(np.sqrt(sums[name].local / sums[name].variance)),
            float(np.sqrt(sums[name].accumulated / sums[name].variance)),
        )
        for name, split in plan.splits.items()
    ]


def _costs(inserted: Insertion) -> dict[str, tuple[int, int]]:
    networks = (inserted.before, inserted.after)
    before, after = (graph_cost(graph, inserted.sizes) for graph in networks)
    arenas = tuple(plan_memory(graph, inserted.sizes).arena for graph in networks)
    return {"macs": (before.macs, after.macs), "params": (before.params, after.params), "arena": (arenas[0], arenas[1])}


def _output_line(
    inputs: str, predicted: float | None, inserted: Insertion, arrays: Mapping[str, Array], sums: Mapping[str, _Sums]
) -> OutputErrors:
    batches = list(batched(inserted.before, arrays, 1))
    pairs = [_run_both(inserted, batch, sums) for batch in each(f"both networks on {inputs} inputs", batches)]
    ends = [[np.concatenate([pair[side][i] for pair in pairs]) for i in range(len(pairs[0][0]))] for side in (0, 1)]
    error = sum(_square(a - b) for a, b in zip(*ends, strict=True))
    size, spread = sum(map(_square, ends[0])), sum(_square(a - a.mean(axis=0)) for a in ends[0])
    tops = [top_agreement(b, a) for a, b in zip(*ends, strict=True)]
    top1, top5 = next((top for top in tops if top[0] is not None), (None, None))
    count = len(ends[0][0])
    return OutputErrors(
        inputs, count, predicted, _root(error, size), _root(error, spread) if count > 1 and spread > 0 else None, top1, top5
    )


def _run_both(inserted: Insertion, inputs: Mapping[str, Array], sums: Mapping[str, _Sums]) -> tuple[list[Array], list[Array]]:
    """The readouts of both in float32; what layers lose goes into `sums`."""
    exact: dict[str, Array] = {}

    def see(node: Node, operands: list[Array], value: Array) -> None:
        if node.name in sums:
            exact[node.name] = value
            sums[node.name].see(value, _through(inserted.after.by_name[node.name], node.inputs[0].name, operands[0]))

    def compare(node: Node, operands: list[Array], value: Array) -> None:
        if node.name in sums:
            sums[node.name].accumulated += _square(value - exact.pop(node.name))

    return _ends(inserted.before, inputs, see), _ends(inserted.after, inputs, compare)


def _ends(graph: Graph, inputs: Mapping[str, Array], on_value: reference.OnValue) -> list[Array]:
    ends = readouts(graph)
    values = reference.run(Graph(graph.name, graph.inputs, tuple(ends), graph.nodes), inputs, "f32", on_value)
    return [values[node.name] for node in ends]


def _through(last: Node, source: str, x: Array) -> Array:
    """The value of a split on an input of the whole layer."""
    products = [last]
    while products[-1].inputs[0].name != source:
        products.append(products[-1].inputs[0])
    for node in reversed(products):
        x = node.kind.meaning(node.op, x, *(_values(operand) for operand in node.inputs[1:]))
    return x


def _values(param: Node) -> Array:
    assert param.weights is not None
    return param.weights.array()


def _share(error: float | None) -> str:
    return "-" if error is None else f"{error:.4f}"


def _square(values: Array) -> float:
    wide: Array = np.asarray(values, np.float64)
    return float(np.vdot(wide, wide))


def _root(error: float, size: float) -> float:
    return float(np.sqrt(error / size)) if size > 0 else float(error > 0)


def lines_of(certificate: Certificate) -> Iterable[str]:
    """The certificate for people, a sentence a line."""
    names = {"macs": "multiply-adds", "params": "parameters", "arena": "bytes of activations"}
    for key, (was, now) in certificate.costs.items():
        yield f"{names[key]}: {was:,} -> {now:,} ({now / was:.3f})" if was else f"{names[key]}: 0"
    yield from latency_lines(certificate)
    for line in certificate.outputs:
        tops = f", top-1 {line.top1:.0%}, top-5 {line.top5:.0%}" if line.top1 is not None and line.top5 is not None else ""
        spread = f" ({line.spread:.3g} of the spread between images)" if line.spread is not None else ""
        predicted = f"predicted {line.predicted:.3g}" if line.predicted is not None else "not predicted"
        yield f"output error on {line.images} {line.inputs}: {predicted}, measured {line.relative:.3g}{spread}{tops}"


def far_off(certificate: Certificate) -> Iterable[str]:
    """What was measured to be far from its prediction, which then is none to choose by; a sentence a line."""
    for layer in certificate.layers:
        if layer.predicted is not None and _is_far(layer.predicted, layer.measured):
            yield _sentence(layer.name, layer.predicted, layer.measured)
    for line in certificate.outputs:
        if line.predicted is not None and _is_far(line.predicted, line.relative):
            yield _sentence(f"the outputs on {line.images} {line.inputs}", line.predicted, line.relative)


def beyond(certificate: Certificate, budget: Budget | None) -> Iterable[str]:
    """Where the plan does not do what a bound on the error may be read as: inputs that are above it, and a bound in which nothing fits."""
    if budget is None:
        return
    if not certificate.layers:
        yield f"nothing was split: nothing that saves multiply-adds fits in --{budget.kind} {budget.share:g}"
    if budget.kind != "error":
        return
    for line in certificate.outputs:
        if line.relative > BARELY * budget.share:
            yield (
                f"the output error on {line.images} {line.inputs}, {line.relative:.3g}, is above --error {budget.share:g}, "
                "which holds on calibration inputs; give more of them, or a smaller --error"
            )


def _is_far(predicted: float, measured: float) -> bool:
    return measured > SMALL_ERROR and measured > FAR * predicted


def _sentence(what: str, predicted: float, measured: float) -> str:
    return (
        f"{what}: an error of {predicted:.2g} was predicted and {measured:.2g} measured; calibrate with more inputs like those "
        "that the network will see, or exclude it"
    )


def latency_lines(certificate: Certificate) -> Iterable[str]:
    """Those of them that a clock measured."""
    doubted = ", in doubt" if certificate.doubts else ""
    for engine, (was, now) in certificate.latency.items():
        yield f"latency in {engine}: {was:.2f} -> {now:.2f} ms ({now / was:.2f}){doubted}"


def doubt_lines(certificate: Certificate) -> Iterable[str]:
    """Why those are in doubt, a sentence each."""
    for doubt in certificate.doubts:
        yield f"{doubt}; the latencies are in doubt: measure again when nothing else runs"
