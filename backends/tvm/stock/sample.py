"""Lowerings of what is read between the pixels: grid_sample, roi_align. No index leaves the tensor, whatever the data are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ....ir.graph import Node
from ....ir.ops.sample import CUBIC, GRID_SAMPLE, ROI_ALIGN, GridSample
from .relax_emitter import RelaxEmitter
from .statements import Statements, written

__all__ = ["grid_sample", "roi_align"]

FAR = 2.0**30  # where nothing is; larger numbers are no indices


class _Axis:
    """Formulas on one axis of a grid, in the order of the meaning (ir/ops/sample.py)."""

    def __init__(self, emitter: RelaxEmitter, op: GridSample, dtype: str, size: Any) -> None:
        self.op, self.te, self.tirx, self.dtype = op, emitter.te, emitter.tirx, dtype
        self.size = size.astype(dtype)
        self.low = self.const(0.0 if op.align_corners else -0.5)
        self.high = self.size - self.const(1.0 if op.align_corners else 0.5)

    def const(self, value: float) -> Any:
        return self.tirx.const(value, self.dtype)

    def place(self, where: Any) -> Any:
        """The place on the axis, moved in where padding asks for it."""
        one, two = self.const(1), self.const(2)
        at = (where + one) / two * (self.size - one) if self.op.align_corners else ((where + one) * self.size - one) / two
        at = self.te.nearbyint(at) if self.op.mode == "nearest" else at
        at = self.tirx.Select(self.tirx.isnan(at), self.const(-1), at)
        if self.op.padding == "border" and self.op.mode != "cubic":
            return self._held(at)
        return self.reflected(self._between(at)) if self.op.padding == "reflection" else self._between(at)

    def _between(self, at: Any) -> Any:
        return self.te.max(self.te.min(at, self.const(FAR)), self.const(-FAR))

    def _held(self, at: Any) -> Any:
        return self.te.max(self.te.min(at, self.size - self.const(1)), self.const(0))

    def reflected(self, at: Any) -> Any:
        """As often as it takes, in a formula that has `at` twice; a single element at its corners has no room to be reflected in."""
        span = self.high - self.low
        period = self.te.max(self.const(2) * span, self.const(1e-30))
        from_low = at - self.low
        folded = self.te.abs(from_low - self.te.floor(from_low / period + self.const(0.5)) * period)
        return self.low + self.te.min(folded, span)

    def taps(self, at: Any) -> list[tuple[Any, Any]]:
        """Indices and what they weigh."""
        first = self.te.floor(at)
        part, one = at - first, self.const(1)
        if self.op.mode == "nearest":
            return [self._tap(first, one)]
        if self.op.mode == "linear":
            return [self._tap(first, one - part), self._tap(first + one, part)]
        weights = [self._far(part + one), self._near(part), self._near(one - part), self._far(self.const(2) - part)]
        return [self._tap(first + self.const(i - 1), weight) for i, weight in enumerate(weights)]

    def _tap(self, place: Any, weight: Any) -> tuple[Any, Any]:
        outside = self.tirx.any(place < self.const(0), place > self.size - self.const(1))
        if self.op.padding == "reflection":
            place = self.tirx.Select(outside, self.te.trunc(self.reflected(place)), place)
        index = self._held(place).astype("int64")
        return index, self.tirx.Select(outside, self.const(0), weight) if self.op.padding == "zeros" else weight

    def _far(self, t: Any) -> Any:
        a = CUBIC
        return ((self.const(a) * t - self.const(5 * a)) * t + self.const(8 * a)) * t - self.const(4 * a)

    def _near(self, t: Any) -> Any:
        return (self.const(CUBIC + 2) * t - self.const(CUBIC + 3)) * t * t + self.const(1)


def grid_sample(emitter: RelaxEmitter, node: Node, x: Any, grid: Any) -> Any:
    """Places first, then indices and weights of their taps, so that no formula is written once for every tap of every other axis."""
    op, te, select = GRID_SAMPLE.of(node), emitter.te, emitter.tirx.Select
    count = node.typed.rank - 2

    def sampled(x: Any, grid: Any, shape: Any) -> Any:
        axes = [_Axis(emitter, op, str(x.dtype), size) for size in x.shape[2:]]
        out = [grid.shape[0], *grid.shape[1:-1], emitter.dim(count)]

        def chosen(k: Any, values: Sequence[Any]) -> Any:
            found = values[0]
            for i, value in enumerate(values[1:], 1):
                found = select(k == i, value, found)
            return found

        def place(*at: Any) -> Any:
            return chosen(at[-1], [axis.place(grid[(*at[:-1], count - 1 - i)]) for i, axis in enumerate(axes)])

        places = te.compute(out, place, "places")
        taps = len(axes[0].taps(axes[0].const(0)))

        def part(which: int) -> Any:
            def entry(*at: Any) -> Any:
                *where, k, tap = at
                return chosen(k, [chosen(tap, [each[which] for each in axis.taps(places[(*where, k)])]) for axis in axes])

            return te.compute([*out, emitter.dim(taps)], entry, ("indices", "weights")[which])

        indices, weights = part(0), part(1)

        def element(n: Any, c: Any, *at: Any) -> Any:
            total: Any = axes[0].const(0)
            for tap in itertools.product(range(taps), repeat=count):
                weight = weights[(n, *at, 0, tap[0])]
                for axis in range(1, count):
                    weight = weight * weights[(n, *at, axis, tap[axis])]
                total = total + x[(n, c, *(indices[(n, *at, axis, tap[axis])] for axis in range(count)))] * weight
            return total

        return te.compute(shape, element, "grid_sample")

    return emitter.compute(node, sampled, x, grid)


def roi_align(emitter: RelaxEmitter, node: Node, x: Any, rois: Any, images: Any) -> Any:
    """Sums in a scratch element; how many samples a bin has, each region says."""
    op, te, tirx = ROI_ALIGN.of(node), emitter.te, emitter.tirx

    def body(write: Statements, out: Any, x: Any, rois: Any, images: Any) -> None:
        dtype = str(x.dtype)

        def const(value: float) -> Any:
            return tirx.const(value, dtype)

        total = write.to.alloc_buffer((1,), dtype, scope="local")
        with write.each(out.shape) as (k, c, i, j):
            image = te.max(te.min(images[k], x.shape[0].astype("int64") - 1), tirx.const(0, "int64"))
            spans = [_span(emitter, node, rois, k, axis, bin_, const) for axis, bin_ in ((0, i), (1, j))]
            write.store(total, const(-FAR if op.mode == "max" else 0), [0])
            with write.each([spans[0][2], spans[1][2]]) as steps:
                axes = [_sample(emitter, span, step, size, const) for span, step, size in zip(spans, steps, x.shape[2:], strict=True)]
                for (r, v), (s, w) in itertools.product(*axes):
                    term = x[image, c, r, s] * (v * w)
                    write.store(total, te.max(total[0], term) if op.mode == "max" else total[0] + term, [0])
            count = spans[0][2] * spans[1][2]
            mean = total[0] if op.mode == "max" else total[0] / te.max(count, tirx.const(1, "int64")).astype(dtype)
            write.store(out, tirx.Select(count > 0, mean, const(0)), (k, c, i, j))

    return written(emitter, node, body, x, rois, images)


def _span(emitter: RelaxEmitter, node: Node, rois: Any, k: Any, axis: int, bin_: Any, const: Any) -> tuple[Any, Any, Any]:
    """Where a bin starts, how wide it is, and how many samples it has."""
    op, te = ROI_ALIGN.of(node), emitter.te
    shift = const(0.5 if op.half_pixel else 0.0)
    first, last = (rois[k, 1 - axis + 2 * end] * const(op.scale) - shift for end in (0, 1))
    extent = last - first if op.half_pixel else te.max(last - first, const(1))
    width = extent / const(op.size[axis])
    count = emitter.dim(op.ratio) if op.ratio else te.max(te.min(te.ceil(width), const(2**20)), const(0)).astype("int64")
    return first + bin_.astype(str(width.ty.dtype) if hasattr(width, "ty") else str(width.dtype)) * width, width, count


def _sample(emitter: RelaxEmitter, span: Sequence[Any], step: Any, size: Any, const: Any) -> list[tuple[Any, Any]]:
    """Two indices, and what they weigh."""
    te, tirx = emitter.te, emitter.tirx
    start, width, count = span
    one, dtype = const(1), "float32" if "32" in str(const(1).ty.dtype) else "float64"
    at = start + (step.astype(dtype) + const(0.5)) * width / te.max(count, tirx.const(1, "int64")).astype(dtype)
    most = size.astype(dtype)
    outside = tirx.any(at < const(-1), at > most, tirx.isnan(at))
    at = te.max(te.min(tirx.Select(outside, const(0), at), most), const(0))
    low = te.min(te.floor(at), most - one)
    part = tirx.Select(low >= most - one, const(0), at - low)
    index = low.astype("int64")
    above = te.min(index + 1, size.astype("int64") - 1)
    return [(index, tirx.Select(outside, const(0), one - part)), (above, tirx.Select(outside, const(0), part))]
