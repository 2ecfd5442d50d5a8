"""`cc.compile(graph)`: a network ready to be called from Python, without an artifact on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...ir.binding import as_declared, is_on_device
from ...ir.errors import InvalidInput, UsageError
from ...ir.graph import Graph
from ...ir.types import Array, TensorType
from ..checking.once import check_once
from ..engines.engine import Engine, Run
from ..engines.optimize import optimize
from ..engines.table import engine_named
from ..engines.tvm import TVM
from ..files.artifact import Artifact
from ..targets.options import FP32
from ..targets.table import need_precision, target_named
from .kept import kept_for

__all__ = ["Module", "compile", "started"]


class Module:
    """A compiled network, as `compile` and `open` make it. Call it with arrays, in the order of its inputs or by name; safe from many
    threads. `graph` is the network that is run.

    One that runs on a GPU, and `takes_tensors`, also takes tensors that lie there, of PyTorch, CuPy or whoever exports DLPack, and gives
    back such. They are not copied, and results are valid until the thread's next call with that batch.
    """

    def __init__(self, graph: Graph, run: Run, *, takes_tensors: bool = False) -> None:
        self.graph = graph
        self._run = run
        self._takes_tensors = takes_tensors

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(f"{node.name} {node.type}" for node in nodes) for nodes in (self.graph.inputs, self.graph.outputs))
        return f"<module @{self.graph.name}: {inputs} -> {outputs}>"

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        """The output, or a dict of them where there are several. Float arrays are cast to the input's type, tensors on a GPU are not.
        What is infinite or NaN is taken as it is, and may spoil more results than its own windows: Winograd's tiles share sums.

        Raises: InvalidInput for arrays that do not fit.
        """
        if any(isinstance(array, dict) for array in arrays):
            raise InvalidInput(
                f"give inputs by name: m({', '.join(f'{node.name}=x' for node in self.graph.inputs)}), or a dict as m(**inputs)"
            )
        if len(arrays) > len(self.graph.inputs):
            raise InvalidInput(f"{len(arrays)} arrays for {len(self.graph.inputs)} inputs of @{self.graph.name}")
        given = {node.name: array for node, array in zip(self.graph.inputs, arrays, strict=False)} | named
        types = {node.name: node.typed for node in self.graph.inputs}
        if there := [name for name, value in given.items() if is_on_device(value)]:
            if not self._takes_tensors:
                raise InvalidInput(f"input '{there[0]}' lies on another device, and this network runs on the host; give an array")
            return self._single(self._run(given))
        proper = {name: _array(name, array, types[name]) if name in types else np.asarray(array) for name, array in given.items()}
        return self._single(self._run(as_declared(self.graph, proper)))

    def _single(self, outputs: dict[str, Array]) -> Any:
        return outputs[self.graph.outputs[0].name] if len(outputs) == 1 else outputs

    @staticmethod
    def open(path: str | Path, backend: str = "tvm", threads: int | None = None, *, emulate: bool = False) -> Module:
        """The artifact directory at `path`, its files checked against the manifest, to run in `backend` by so many `threads` (default: one
        a physical core). One that was compiled in place takes over the arrays of inputs that it writes over, and returns them as outputs.
        With `emulate` the device of cuda is emulated, and its kernels are executed on the CPU: this process has no other GPU then.

        Raises: UsageError for a backend that does not exist, or of which nothing is emulated.
        """
        engine = _emulated(engine_named(backend)) if emulate else engine_named(backend)
        artifact = Artifact.open(Path(path))
        opened = engine.open_over if engine.open_over is not None and artifact.target.in_place else engine.open
        return Module(artifact.structure(), opened(artifact, threads), takes_tensors=engine.takes_tensors)


def compile(
    graph: Graph, target: str = "cpu", level: int = 2, threads: int | None = None, *, check: bool = True, precision: str = FP32
) -> Module:
    """Optimize `graph` at `level` and build it for this machine, to run by so many `threads` (default: one a physical core); hold the
    result to float64 once, unless not to `check`.

    Raises: UsageError for a target other than cpu, and a precision that it has no kernels for; `compile_network` writes artifacts
    for others. Mismatch if results differ.
    """
    if not target_named(target).in_memory:
        raise UsageError(f"target '{target}' cannot be called from memory; write an artifact with `convc compile -t {target}`")
    need_precision(target, precision)
    return Module(*started(graph, level, threads, check=check))


def started(graph: Graph, level: int, threads: int | None, *, check: bool) -> tuple[Graph, Run]:
    """The optimized graph, and how it runs here. What is checked is kept, and what is kept was checked.

    Raises: Mismatch if results differ and they are to be checked.
    """
    better, _ = optimize(graph, level, prices=TVM.prices)
    kept = kept_for(graph, level)
    if kept is not None and (found := kept.found(better, threads)) is not None:
        return better, found
    if not check:
        return better, TVM.start(better, threads)

    def checked(run: Run) -> None:
        check_once(graph, better, TVM, run)

    if kept is not None:
        return better, kept.built(better, threads, checked)
    checked(run := TVM.start(better, threads))
    return better, run


def _emulated(engine: Engine) -> Engine:
    stand_in = engine.stand_in
    if stand_in is None or not stand_in.is_emulated:
        raise UsageError(f"backend '{engine.name}' has no device that is emulated; leave emulate out, or open for cuda")
    return stand_in.engine


def _array(name: str, given: Any, type_: TensorType) -> Array:
    """Raises: InvalidInput for what is no array of numbers: a path, None, rows of different lengths."""
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InvalidInput(f"input '{name}' is a {type(given).__name__} of unequal parts, expected an array, {type_}") from error
    if array.dtype.kind in "OSU":
        what = "None" if given is None else f"a {type(given).__name__}" if given is not array else f"an array of {array.dtype}"
        raise InvalidInput(f"input '{name}' is {what}, expected an array, {type_}")
    return array
