"""Weights under other people's names, put under ours by the table that a zoo network carries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import numpy as np

from ...ir.errors import InvalidInput
from ...ir.graph import Graph
from ...ir.legible import legible
from ...ir.types import Array
from ...ir.weights import GIVEN
from ..dsl.zoo_entry import Checkpoint, Differs

__all__ = ["FIXED", "Checkpoint", "Translation", "in_pytorch", "is_foreign", "refuse_foreign", "same_modules", "translate"]

FILTERS = {"weight": "w", "bias": "b"}
LAYER_NORM = {"weight": "scale", "bias": "bias"}
BATCH_NORM = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "var"}
COUNTER = "num_batches_tracked"  # of training only
PARALLEL = "module."  # DataParallel puts it before every name
FIXED = (*GIVEN, "full")  # constants of the network's definition, which no checkpoint holds


@dataclass(frozen=True)
class Translation:
    """`arrays` by our names, those that no row knows by theirs; `theirs` by ours; `ignored` names of the file."""

    arrays: Mapping[str, Array]
    theirs: Mapping[str, str]
    ignored: tuple[str, ...]

    @property
    def remark(self) -> str:
        """What was left out, by kind: the last part of a counter, the first of a head."""
        kinds = Counter(f"*.{COUNTER}" if name.endswith(COUNTER) else f"{legible(name.partition('.')[0])}.*" for name in self.ignored)
        return "left out " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()) if kinds else "nothing was left out"


def is_foreign(graph: Graph, arrays: Mapping[str, Array]) -> bool:
    """Whether the names look like PyTorch's, and none is a parameter of the graph."""
    own = {node.name for node in graph.params}
    return any(name.endswith(".weight") for name in arrays) and not any(name in own for name in arrays)


def refuse_foreign(name: str, differs: Differs | None, known: Iterable[str], source: str) -> InvalidInput:
    """The refusal of a file with PyTorch's names for a network that has no table of them."""
    if differs is not None:
        return InvalidInput(f"'{source}' has PyTorch's names, but {differs.why}; weights by convc's own names are taken as they are")
    return InvalidInput(
        f"'{source}' has PyTorch's names, and @{name} has no table of them; there is one for {', '.join(known)}, "
        "for others write the file with convc's names, which `convc export MODEL -o w.safetensors` shows"
    )


def same_modules(arrays: Mapping[str, Array], tables: Mapping[str, Checkpoint]) -> list[str]:
    """The networks whose table names just the modules that the file has."""
    return [name for name, names in tables.items() if _named(names) == _modules(arrays, names)]


def _named(names: Checkpoint) -> set[str]:
    return {row.theirs for row in names.rows} | {row.theirs.rpartition(".")[0] for row in names.parameters}


def _modules(arrays: Mapping[str, Array], names: Checkpoint) -> set[str]:
    present = (_present(name, arrays, names) for name in arrays)
    return {name.rpartition(".")[0] for name in present if not name.startswith(names.ignored)}


def translate(graph: Graph, arrays: Mapping[str, Array], names: Checkpoint) -> Translation:
    """The arrays of a foreign file under the names of the graph's parameters, layer by layer.

    Raises: InvalidInput for a file that has one name in two spellings.
    """
    theirs, biases = _names(graph, names)
    file = {_present(name, arrays, names): array for name, array in arrays.items()}
    if len(file) < len(arrays):
        raise InvalidInput(f"the weights file has a name of @{graph.name} in an older and in the present spelling; keep one of them")
    ignored = tuple(name for name in file if name.rpartition(".")[2] == COUNTER or name.startswith(names.ignored))
    found = {ours: file[name] for ours, name in theirs.items() if name in file}
    for mean, bias in biases.items():
        _absorb(found, theirs, mean, bias, file)
    used = {*theirs.values(), *biases.values(), *ignored}
    found |= {name: array for name, array in file.items() if name not in used}
    for node in graph.params:
        if node.op.init in FIXED and node.weights is not None:
            found.setdefault(node.name, node.weights.array())
    return Translation(found, theirs, ignored)


def in_pytorch(graph: Graph, arrays: Mapping[str, Array], names: Checkpoint) -> dict[str, Array]:
    """The parameters of the graph under the names of the common PyTorch checkpoints: `translate` there and back is what it was.

    A bias that our batch norm has taken into its mean is 0; what the network's definition holds is left out, as checkpoints do.
    """
    theirs, biases = _names(graph, names)
    named = {theirs[name]: array for name, array in arrays.items() if name in theirs}
    return named | {bias: np.zeros_like(arrays[mean]) for mean, bias in biases.items()}


def _names(graph: Graph, names: Checkpoint) -> tuple[dict[str, str], dict[str, str]]:
    """Their names by ours, and of means those of the biases that they absorb."""
    own = {node.name for node in graph.params}
    theirs: dict[str, str] = {row.ours: row.theirs for row in names.parameters}
    biases: dict[str, str] = {}
    for row in names.rows:
        parts = _parts(row.ours, own)
        theirs |= {f"{row.ours}.{mine}": f"{row.theirs}.{part}" for part, mine in parts.items() if f"{row.ours}.{mine}" in own}
        if row.absorbs:
            biases[f"{row.ours}.mean"] = f"{row.absorbs}.bias"
    return theirs, biases


def _parts(layer: str, own: Set[str]) -> Mapping[str, str]:
    """What a layer's parameters are called, theirs and ours."""
    if f"{layer}.scale" not in own:
        return FILTERS
    return BATCH_NORM if f"{layer}.shift" in own else LAYER_NORM


def _absorb(found: dict[str, Array], theirs: dict[str, str], mean: str, bias: str, file: Mapping[str, Array]) -> None:
    """Move their bias b before a batch norm into its mean: (x + b) - m is x - (m - b). What does not fit stays to be listed."""
    if mean not in found:
        return
    if bias not in file or file[bias].shape != found[mean].shape:
        theirs[mean] = bias
        found |= {mean: file[bias]} if bias in file else {}
        if bias not in file:
            del found[mean]
        return
    found[mean] = np.subtract(found[mean], file[bias], dtype=np.float64).astype(found[mean].dtype)


def _present(name: str, arrays: Mapping[str, Array], names: Checkpoint) -> str:
    """The name as present checkpoints spell it."""
    if all(each.startswith(PARALLEL) for each in arrays):
        name = name[len(PARALLEL) :]
    for old, new in names.older:
        name = name.replace(old, new)
    return name
