"""What is made before a GPU is there, and read where one is: artifacts, inputs, and what float64 makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from convc.compiler.checking.narrowing import loss_of
from convc.compiler.checking.oracle import Oracle
from convc.compiler.compiling.compile import compile_network
from convc.compiler.engines.optimize import optimize
from convc.compiler.files.artifact import Artifact
from convc.compiler.files.inputs import random_inputs
from convc.compiler.targets.prices import cuda_prices
from convc.ir.apart import the_batch
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.passes.manager import run_passes
from convc.passes.pipelines import PRECISIONS

__all__ = ["FP32", "Case", "cases", "make", "narrowed"]

FP32 = "fp32"
RECORD, VALUES, ARTIFACT, NETWORK = "case.json", "values.npz", "artifact", "network"


@dataclass(frozen=True)
class Case:
    """A network in one precision, compiled for `batches`; `is_timed` where that is what it is for."""

    network: str
    precision: str
    batches: tuple[int, ...]
    is_timed: bool
    folder: Path

    @staticmethod
    def of(network: str, precision: str, batches: Sequence[int], folder: Path, *, is_timed: bool = False) -> Case:
        """Where it lies among others."""
        return Case(network, precision, tuple(batches), is_timed, folder / f"{network}-{precision}{'-timed' if is_timed else ''}")

    @cached_property
    def artifact(self) -> Artifact:
        """Opened once: where its library lies is known for as long as it is held."""
        return Artifact.open(self.folder / ARTIFACT)

    def values(self) -> tuple[dict[str, Array], Oracle]:
        """Inputs, and the float64 outputs with the tolerance of each element."""
        with np.load(self.folder / VALUES) as file:
            parts = {
                kind: {name.partition(":")[2]: file[name] for name in file if name.startswith(f"{kind}:")} for kind in ("in", "out", "tol")
            }
        return parts["in"], Oracle(parts["out"], parts["tol"])


def cases(folder: Path) -> list[Case]:
    """Those that lie in a folder, the checked ones first."""
    found: list[Case] = []
    for path in sorted(folder.glob(f"*/{RECORD}")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found.append(Case(**record | {"batches": tuple(record["batches"]), "folder": path.parent}))
    return sorted(found, key=lambda case: case.is_timed)


def narrowed(graph: Graph, precision: str) -> Graph:
    """The network as it is optimized for a GPU, in a precision."""
    prices = cuda_prices(precision)
    better, _ = optimize(graph, 2, prices=prices)
    return better if precision == FP32 else run_passes(better, [PRECISIONS[precision]], prices)[0]


def make(case: Case, graph: Graph, target: str) -> None:
    """Compile a network, and keep what float64 says of two images, or of one where it is timed. What is there already is left."""
    if (case.folder / RECORD).exists():
        return
    case.folder.mkdir(parents=True, exist_ok=True)
    narrow = narrowed(graph, case.precision)
    batch = the_batch(graph)
    inputs = random_inputs(graph, sizes={batch: min(case.batches)} if batch else None)
    oracle = Oracle.of(graph, inputs) if case.precision == FP32 else loss_of(graph, narrow, inputs)
    compile_network(narrow, case.folder / ARTIFACT, target, 0, check=False, batches=case.batches if batch else None)
    kinds = {"in": inputs, "out": oracle.values, "tol": oracle.tolerance}
    np.savez_compressed(
        case.folder / VALUES, **{f"{kind}:{each}": value for kind, values in kinds.items() for each, value in values.items()}
    )
    record = {key: value for key, value in asdict(case).items() if key != "folder"}
    (case.folder / RECORD).write_text(json.dumps(record), encoding="utf-8")  # last: what was interrupted is made anew
