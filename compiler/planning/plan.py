"""`cc.plan(graph, macs=0.5)`: bottlenecks chosen under a budget, measured, with the network that has them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...ir.types import Array
from ...ir.usual_sizes import usual_sizes
from ...passes.bottlenecks.forms import splittable_layers
from ..engines.optimize import optimize
from ..engines.table import engine_named
from ..files.calibration import Calibration, calibration_of, read_calibration
from ..files.weights import check_numbers
from .budget import Budget
from .certificate import certify
from .race import Races, measured_limits
from .search import Planned, plan_network
from .study import excluded_layers, study

__all__ = ["plan"]

TURNS = 10  # of each latency, as `convc plan` takes them

CalibrationInputs = str | Path | Sequence[str | Path] | Mapping[str, Array]


def plan(
    graph: Graph,
    *,
    macs: float | None = None,
    params: float | None = None,
    latency: float | None = None,
    error: float | None = None,
    calibration: CalibrationInputs = (),
    images: int = 32,
    exclude: Sequence[str] = (),
    ends: bool = False,
    multiple: int = 16,
    measure: bool = True,
    check: int = 4,
    engines: Sequence[str] = ("onnx",),
    threads: int | None = None,
    seed: int = 0,
    level: int = 2,
) -> Planned:
    """Put 1x1 bottlenecks into the network `graph`, as `convc plan` does: approximations, under one budget for all layers.

    Of what it gives `network` has them, `plot()` is the curve that it was chosen from, `missed` says by how much the budget is missed, and
    `certificate` what was measured.

    macs, params, latency: leave at most this share of the multiply-adds, of the parameters, of the estimated latency.
    error: the fewest multiply-adds with the outputs' relative error, on calibration inputs, within this. Give one of the four.
    calibration: photographs, folders of them or one .npz file, or arrays by input; without, weights alone decide.
    images: how many crops are made of photographs.
    exclude: layers that stay as they are.
    ends: also split the first and the last layer.
    multiple: of ranks; less in narrow layers.
    measure: reject splits that are not faster in onnxruntime.
    check: images of each kind in the certificate.
    engines: those whose latency the certificate has.
    threads: of all that runs; default: one a physical core.
    seed: of crops and samples.
    level: of the optimization before.

    Raises: UsageError without exactly one budget, and for one that cannot be met; InvalidModel for a network without layers to split;
    InvalidInput for calibration inputs that do not fit it.
    """
    from ...backends.tvm.host import physical_cores

    budget = _budget({"macs": macs, "params": params, "latency": latency, "error": error})
    threads = threads or physical_cores()
    contenders = [engine_named(name) for name in engines]
    check_numbers(graph)
    graph, _ = optimize(graph, level)
    inputs = _calibration(graph, calibration, images, seed)
    layers = splittable_layers(graph, usual_sizes(graph))
    known = study(graph, inputs, excluded_layers(layers, exclude, ends=ends), budget.cost, threads, seed)
    limits = functools.partial(measured_limits, threads)
    made = plan_network(known, budget, multiple, threads, measured=measure, measure=limits)
    return replace(made, certificate=certify(made.inserted, inputs, check, Races(contenders, threads, TURNS, limits)))


def _budget(given: Mapping[str, float | None]) -> Budget:
    """Raises: UsageError unless one was given, as a share."""
    found = [Budget(kind, share) for kind, share in given.items() if share is not None]
    if len(found) != 1:
        raise UsageError(f"give one of {', '.join(given)} to plan within, such as macs=0.5")
    if not 0 < found[0].share < 1:
        raise UsageError(f"{found[0].kind}={found[0].share:g} is no share; give more than 0 and less than 1")
    return found[0]


def _calibration(graph: Graph, given: CalibrationInputs, images: int, seed: int) -> Calibration:
    if isinstance(given, Mapping):
        return calibration_of(graph, given)
    files = (given,) if isinstance(given, (str, Path)) else given
    return read_calibration(graph, [str(file) for file in files], images, seed=seed)
