"""`cc.compile(graph)`: a network ready to be called from Python, without an artifact on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..ir.errors import InvalidInput, UsageError
from ..ir.graph import Graph
from ..ir.types import DTYPES, Array
from ..passes.prices import TVM
from .artifact import Artifact
from .compile import TARGETS
from .engines import ENGINES, Run
from .pipelines import optimize

__all__ = ["Module", "compile"]


class Module:
    """A compiled network. Call it with arrays, in the order of its inputs or by name; safe from many threads."""

    def __init__(self, graph: Graph, run: Run) -> None:
        self.graph = graph
        self._run = run

    def __call__(self, *arrays: Array, **named: Array) -> Array | dict[str, Array]:
        """The output, or a dict of them where there are several. Float arrays are cast to the input's type.

        Raises: InvalidInput for arrays that do not fit.
        """
        if len(arrays) > len(self.graph.inputs):
            raise InvalidInput(f"{len(arrays)} arrays for {len(self.graph.inputs)} inputs of @{self.graph.name}")
        given = {node.name: array for node, array in zip(self.graph.inputs, arrays, strict=False)} | named
        types = {node.name: node.typed for node in self.graph.inputs}
        outputs = self._run({name: _cast(array, types[name].dtype if name in types else "") for name, array in given.items()})
        return outputs[self.graph.outputs[0].name] if len(outputs) == 1 else outputs

    @staticmethod
    def open(path: str | Path, backend: str = "tvm", threads: int | None = None) -> Module:
        """The artifact directory at `path`, its files checked against the manifest."""
        artifact = Artifact.open(Path(path))
        return Module(artifact.structure(), ENGINES[backend].open(artifact, threads))


def compile(graph: Graph, target: str = "cpu", level: int = 2, threads: int | None = None) -> Module:
    """Optimize and build `graph` for this machine.

    Raises: UsageError for a target other than cpu; `compile_network` writes artifacts for others.
    """
    if target not in TARGETS:
        raise UsageError(f"unknown target '{target}'; known are {', '.join(TARGETS)}")
    if target != "cpu":
        raise UsageError(f"target '{target}' cannot be called from memory; write an artifact with `convc compile -t {target}`")
    better, _ = optimize(graph, level, prices=TVM)
    return Module(better, ENGINES["tvm"].start(better, threads))


def _cast(array: Array, dtype: str) -> Array:
    wanted = DTYPES.get(dtype)
    array = np.asarray(array)
    both_float = wanted is not None and np.issubdtype(wanted, np.floating) and np.issubdtype(array.dtype, np.floating)
    return array.astype(wanted) if both_float else array
