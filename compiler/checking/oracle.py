"""What an engine's results are held to: float64 outputs, and how far rounding may lead from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...backends import reference
from ...ir.errors import Mismatch
from ...ir.graph import Graph
from ...ir.shown import html_table
from ...ir.types import Array
from .noise import RUNS, Rounding, follow, noise_level
from .units import FACTORS, SIGMAS, UNIT

__all__ = ["Agreement", "Agreements", "Oracle", "compare", "errors_over", "top_agreement"]

TOP_FEWEST = 10  # outputs with fewer values have no meaningful top 5


@dataclass(frozen=True)
class Agreement:
    """How one output of one engine compares with the oracle.

    `worst` is the greatest error over its tolerance: at most 1 agrees. `error` is the greatest absolute
    error, which is also the smallest atol that would pass alone; `rtol` the smallest relative tolerance that would;
    `scale` the greatest absolute value of the oracle; `quantiles` the median, 99th and 99.9th percentile of error
    over tolerance; `odd` counts NaN and infinities of the oracle. `top1` and `top5` are the share of rows whose best
    and best five classes are the same, None where the output has no classes. `values` are how many were compared. `turned` steps, such as
    those of quantization, were taken otherwise than float64 takes them, which rounding explains. `fault` says that the engine
    differs by `astray` once it rewrites the network for itself; all else is without that. `by` says whose the tolerance is that was not
    derived.
    """

    engine: str
    output: str
    error: float
    rtol: float
    scale: float
    worst: float
    quantiles: tuple[float, float, float]
    odd: int
    top1: float | None
    top5: float | None
    values: int = 1
    turned: int = 0
    astray: float = 0.0
    fault: str = ""
    by: str = ""

    @property
    def agrees(self) -> bool:
        return self.worst <= 1

    @property
    def relative(self) -> float:
        return self.error / self.scale if self.scale else self.error

    @property
    def details(self) -> str:
        """The figures that the one line leaves out."""
        median, high, higher = self.quantiles
        shares = f"error over tolerance: median {median:.2g}, 99% {high:.2g}, 99.9% {higher:.2g}"
        return f"{shares}; would pass with atol {self.error:.2e} or rtol {self.rtol:.2e}"

    def __str__(self) -> str:
        if not self.values:
            return f"{self.engine}: {self.output} has no values, so nothing was compared"
        word = "agrees" if self.agrees else "DIFFERS"
        top = f", top-1 {self.top1:.0%}, top-5 {self.top5:.0%}" if self.top1 is not None and self.top5 is not None else ""
        size = f"error {self.error:.2e} ({self.relative:.1e} of its scale), {self.worst:.2f} of the {self.by or 'tolerance'}"
        odd = f", {self.odd} values NaN or infinite" if self.odd else ""
        steps = f", {self.turned:,} values before it rounded to the step beside" if self.turned else ""
        fault = f"; warning: {self.fault}" if self.fault else ""
        return f"{self.engine}: {self.output} {word}: {size}{odd}{steps}{top}{fault}"


class Agreements(list[Agreement]):
    """A line for each output, which show themselves as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) or "no outputs were compared"

    def _repr_html_(self) -> str:
        figures = [(f"{line.error:.2e}", f"{line.relative:.1e}", f"{line.worst:.2f}") for line in self]
        heads = [(line.engine, line.output, "agrees" if line.agrees else "DIFFERS") for line in self]
        rows = [(*head, *tail) for head, tail in zip(heads, figures, strict=True)]
        return html_table(rows, ("engine", "output", "", "error", "of its scale", "of the tolerance"), "held to float64")


@dataclass(frozen=True)
class Oracle:
    """Float64 outputs and, for one precision, the tolerance of each element.

    `noise` is the predicted rounding noise, root mean square over an output, as a share of its scale; of the worst output.
    `turned` steps were taken as the engine took them. `free` are the NaN for which an engine may have any value.
    """

    values: Mapping[str, Array]
    tolerance: Mapping[str, Array]
    noise: float = 0.0
    turned: int = 0
    free: Mapping[str, Array] = field(default_factory=dict[str, Array])

    @staticmethod
    def of(
        graph: Graph,
        inputs: Mapping[str, Array],
        precision: str = "f32",
        seed: int = 0,
        *,
        tiles: Mapping[str, int] | None = None,
        exact: Mapping[str, Array] | None = None,
        decided: Mapping[str, Array] | None = None,
        runs: int = RUNS,
    ) -> Oracle:
        """Run the network in float64, and so many `runs` more for its rounding noise.

        `tiles` names what is computed with fewer products (`Engine.tiles`); `exact` are the float64 outputs where they are known.
        `decided` are the steps that an engine took, by node: where rounding explains them they are taken.
        """
        turned, rounding = 0, Rounding(UNIT[precision], seed, runs, tiles or {}, FACTORS.get(precision, 0.0))
        if decided is not None:
            followed = follow(graph, inputs, decided, rounding)
            exact, noise, turned = followed.values, followed.noise, followed.turned
        else:
            exact = reference.run(graph, inputs, "f64") if exact is None else exact
            exact = {name: value for name, value in exact.items() if value.dtype != object}  # what another runtime alone can look into
            noise = noise_level(graph, inputs, exact, rounding)
        floats = {node.name: max(UNIT[precision], UNIT.get(node.typed.dtype, 0.0)) for node in graph.outputs if node.typed.is_float}
        # the result itself is stored rounded once, whatever came before
        tolerance = {name: SIGMAS * noise[name] + floats.get(name, 0.0) * abs(np.asarray(exact[name], np.float64)) for name in exact}
        return Oracle(exact, tolerance, max((_relative(noise[name], exact[name]) for name in exact), default=0.0), turned)

    @staticmethod
    def by_tiles(
        graph: Graph, better: Graph, inputs: Mapping[str, Array], seed: int = 0, precision: str = "f32"
    ) -> Callable[[Mapping[str, int]], Oracle]:
        """For engines that run `better` in place of `graph`: the oracle by the tiles of an engine's kernels, made when first asked for.

        All have the values of `graph`; the noise is its too, or where there are tiles that of `better`, by whose names they go.
        """
        exact = reference.run(graph, inputs, "f64")

        @functools.cache
        def made(tiles: frozenset[tuple[str, int]]) -> Oracle:
            return Oracle.of(better if tiles else graph, inputs, precision, seed, tiles=dict(tiles), exact=exact)

        return lambda tiles: made(frozenset(tiles.items()))


def _relative(noise: Array, exact: Array) -> float:
    scale = np.max(abs(exact[np.isfinite(exact)]), initial=0.0)
    return float(np.sqrt(np.mean(noise**2)) / scale) if scale and noise.size else 0.0


def compare(engine: str, oracle: Oracle, outputs: Mapping[str, Array]) -> list[Agreement]:
    """One line per output. NaN agrees with NaN, an infinity with the same infinity, and nothing else with either.

    Whole numbers, as of arg_max, are held to their tolerance in sum: rounding turns few of them, but by one at least.
    """
    lines: list[Agreement] = []
    for name, expected in oracle.values.items():
        whole = expected.dtype.kind != "f"
        expected, got = (np.asarray(value, dtype=np.float64) for value in (expected, outputs[name]))
        if got.shape != expected.shape and expected.size and np.isinf(oracle.tolerance[name]).all():
            continue  # rounding decides how many there are
        if got.shape != expected.shape:
            raise Mismatch(f"{engine}: {name} has shape {list(got.shape)}, expected {list(expected.shape)}")
        if name in oracle.free:
            got = np.where(oracle.free[name], np.nan, got)
        error, ratio = errors_over(got, expected, oracle.tolerance[name])
        if whole and error.any():
            ratio = np.full_like(error, errors_over(error.sum(), np.zeros(()), oracle.tolerance[name].sum())[1])
        finite = np.isfinite(expected)
        top1, top5 = top_agreement(got, expected)
        scale = float(np.max(abs(expected[finite]), initial=0.0))
        lines.append(
            Agreement(
                engine,
                name,
                error=float(np.max(error, initial=0.0)),
                rtol=_smallest_rtol(error, expected),
                scale=scale,
                worst=float(np.max(ratio, initial=0.0)),
                quantiles=_quantiles(ratio),
                odd=int(finite.size - finite.sum()),
                top1=top1,
                top5=top5,
                values=expected.size,
                turned=oracle.turned,
            )
        )
    return lines


def errors_over(got: Array, expected: Array, tolerance: Array) -> tuple[Array, Array]:
    """Absolute errors, and errors over tolerance, element by element. NaN agrees with NaN, an infinity with the same one."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        odd = ~(np.isfinite(got) & np.isfinite(expected))
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        error = np.where(odd, np.where(same, 0.0, np.inf), abs(got - expected))
        ratio = np.where(error == 0, 0.0, error / tolerance)
    return error, ratio


def _smallest_rtol(error: Array, expected: Array) -> float:
    """Infinite where an element that should be 0 is not."""
    wrong = error > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = error[wrong] / abs(expected[wrong])
    return float(np.max(np.where(np.isnan(needed), np.inf, needed), initial=0.0))


def _quantiles(ratio: Array) -> tuple[float, float, float]:
    if not ratio.size:
        return 0.0, 0.0, 0.0
    median, high, higher = (float(q) for q in np.quantile(ratio, (0.5, 0.99, 0.999), method="higher"))
    return median, high, higher


def top_agreement(got: Array, expected: Array) -> tuple[float | None, float | None]:
    """Agreement of the best class and the set of the best five, where the output is a row of classes."""
    if expected.ndim != 2 or not len(expected) or expected.shape[1] < TOP_FEWEST:
        return None, None
    ranked: list[Array] = [np.argsort(np.negative(values), axis=1, kind="stable")[:, :5] for values in (got, expected)]
    first: Array = ranked[0][:, 0] == ranked[1][:, 0]
    five: Array = (np.sort(ranked[0], axis=1) == np.sort(ranked[1], axis=1)).all(axis=1)
    return float(np.mean(first)), float(np.mean(five))
