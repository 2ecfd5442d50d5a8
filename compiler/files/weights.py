"""Weights files: safetensors or .npz, by parameter name; PyTorch's own by PyTorch's loader of plain tensors. Never a pickle."""

from __future__ import annotations

import importlib
import math
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.errors import ConvcError, InvalidInput, InvalidModel, UsageError
from ...ir.files import write_file
from ...ir.graph import Graph, Node, given
from ...ir.legible import legible
from ...ir.memory import need_bytes, out_of_memory
from ...ir.op import no_rounding
from ...ir.ops.leaf import PARAM
from ...ir.ops.quantize import QUANTIZE_LINEAR
from ...ir.ops.select import GATHER
from ...ir.suggest import not_there
from ...ir.types import DTYPES, Array, TensorType, is_floating, plain, range_of, widened
from ...ir.weights import Weights
from ..dsl.zoo_entry import Checkpoint
from . import pytorch_file
from .entering import KEY, Entering, safetensors_metadata
from .numpy_file import LARGEST, Choose, everything, load_npz, npz_bytes

__all__ = [
    "ARRAY_FILES",
    "CHECKPOINT",
    "WEIGHT_FILES",
    "are_drawn",
    "bind_weights",
    "check_numbers",
    "check_there",
    "load_arrays",
    "need_fit",
    "need_weights",
    "npz_bytes",
    "room_for",
    "weights_bytes",
    "write_weights",
]

SHOWN = 5  # names listed per kind of complaint
BESIDE, SPARE = 4, 64 << 20  # times the weights of a network, and bytes, that a file may hold
WEIGHT_FILES = (".safetensors", ".npz")  # what is written; both hold plain arrays
CHECKPOINT = ".checkpoint.safetensors"  # of `convc train` beside the weights, in place of their ending
ARRAY_FILES = (*WEIGHT_FILES, *pytorch_file.PYTORCH_SUFFIXES)  # what is read


def load_arrays(path: Path, choose: Choose = everything, most: int = LARGEST) -> dict[str, Array]:
    """Arrays by name from a .safetensors, .npz, .pt or .pth file. Of an .npz that `choose` refuses, or of more bytes than `most`,
    nothing is unpacked; of other files, which are not packed, all is read.

    Raises: UsageError for a file that is not there; InvalidInput for a damaged or foreign one; BackendMissing for PyTorch's
    files without PyTorch.
    """
    if not path.is_file():
        raise UsageError(not_there(path, apart=CHECKPOINT))
    if path.suffix in pytorch_file.PYTORCH_SUFFIXES:
        return pytorch_file.load_state(path)
    try:
        if path.suffix == ".safetensors":
            need_bytes(f"'{path}'", path.stat().st_size, "choose a smaller file")
            return _of_numpy(_safetensors().load_file(path))
        if path.suffix == ".npz":
            return load_npz(path, choose, most)
    except ConvcError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"'{path}' cannot be read: {error}") from error
    except MemoryError as error:
        raise out_of_memory(str(error)) from error
    except (TypeError, AttributeError) as error:  # float8 and narrower
        raise InvalidInput(f"'{path}' holds numbers of a type that NumPy does not have ({error}); save them as float32") from error
    except Exception as error:  # safetensors raises its own class
        raise InvalidInput(f"'{path}' is damaged: {error}") from error
    raise InvalidInput(f"'{path}' is none of .safetensors, .npz, .pt and .pth")


def need_weights(path: Path) -> None:
    """Raises: InvalidInput for a checkpoint, naming the file that has the weights of its run."""
    said = safetensors_metadata(path).get(KEY, "") if path.suffix == ".safetensors" and path.is_file() else ""
    if '"settings"' not in said or '"steps"' not in said:
        return
    stem = path.name.removesuffix(CHECKPOINT)
    found = next((each for each in (path.with_name(stem + suffix) for suffix in WEIGHT_FILES) if each != path and each.exists()), None)
    weights = f"the weights of its best epoch are in '{found}'" if found is not None else "the run writes its weights once an epoch is over"
    raise InvalidInput(f"'{path}' is a checkpoint of `convc train`, which goes on from it with --resume; {weights}")


def are_drawn(graph: Graph) -> bool:
    """Whether it has weights and all are random, so that what it says means nothing."""
    given = [node.weights is not None and node.weights.is_given for node in graph.params]
    return bool(given) and not any(given)


def room_for(graph: Graph) -> int:
    """Bytes that a file of its weights may unpack to: in float64, beside statistics, heads for training and an optimizer's state."""
    numbers = sum(math.prod(node.typed.concrete()) for node in graph.params)
    return min(BESIDE * DTYPES["f64"].itemsize * numbers + SPARE, LARGEST)


def _of_numpy(arrays: dict[str, Array]) -> dict[str, Array]:
    """Raises: TypeError for numbers that only a package beside NumPy knows, bfloat16 excepted."""
    strange = next((array.dtype for array in arrays.values() if array.dtype.isbuiltin == 2 and not is_floating(array)), None)
    if strange is not None:
        raise TypeError(strange)
    return arrays


def weights_bytes(graph: Graph) -> bytes:
    """The parameters of a graph as a safetensors file."""
    return _in_file(_arrays(graph), ".safetensors")


def write_weights(graph: Graph, path: Path, names: Checkpoint | None = None, entering: Entering | None = None) -> None:
    """The parameters of a graph by name, with a table by PyTorch's names, whole or not at all; the suffix decides between safetensors and
    .npz, which has no place for `entering`.

    Raises: UsageError where the path cannot be written.
    """
    from .checkpoint_names import in_pytorch

    arrays = _arrays(graph)
    named = arrays if names is None else in_pytorch(graph, arrays, names)
    write_file(path, _in_file(named, path.suffix, None if entering is None else entering.metadata))


def _arrays(graph: Graph) -> dict[str, Array]:
    return {node.name: np.asarray(_stored(node.weights), order="C") for node in graph.params if node.weights is not None}


def _in_file(arrays: dict[str, Array], suffix: str, said: Mapping[str, str] | None = None) -> bytes:
    return npz_bytes(arrays) if suffix == ".npz" else _safetensors().save(arrays, said)


def bind_weights(
    graph: Graph,
    arrays: Mapping[str, Array],
    source: str,
    theirs: Mapping[str, str] | None = None,
    hint: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Graph:
    """The graph with its parameters' values taken from `arrays`; `theirs` are the names that the file had, by ours,
    and `hint` ends the complaint where they do not fit. Floats of another width are cast, and `say` gets how many.

    Raises: InvalidInput as `need_fit`, or for the first parameter that holds NaN, or does not fit its type.
    """
    need_fit(graph, arrays, source, theirs, hint)
    params = {node.name: node for node in graph.params}

    def bound(node: Node, operands: tuple[Node, ...]) -> Node:
        if node.kind is not PARAM:
            return node.reading(operands)
        return node.like(op=given(node.op), weights=Weights.of(_of_type(arrays[node.name], node.typed, source), node.name))

    others = [(arrays[name], node.typed) for name, node in params.items() if _is_cast(arrays[name], node.typed)]
    cast = Counter((array.dtype.name, DTYPES[type_.dtype].name) for array, type_ in others)
    loaded = graph.rebuild(bound)
    check_numbers(loaded)
    for (have, want), count in cast.items():
        say(f"{source}: {count} of {len(params)} parameters are {have}, cast to {want}")
    return loaded


def need_fit(graph: Graph, arrays: Mapping[str, Array], source: str, theirs: Mapping[str, str] | None = None, hint: str = "") -> None:
    """What `bind_weights` asks of names, shapes and types, which can be known before values are read.

    Raises: InvalidInput listing every missing, extra and mis-shaped name.
    """
    params = {node.name: node for node in graph.params}
    known = {name: f"{theirs[name]} (here {name})" if theirs and name in theirs else name for name in params}
    missing = [known[name] for name in params if name not in arrays]
    extra = [name for name in arrays if name not in params]
    wrong = [
        f"{known[name]} is {list(arrays[name].shape)} {arrays[name].dtype}, expected {node.type}"
        for name, node in params.items()
        if name in arrays and not _fits(arrays[name], node.typed)
    ]
    if missing or extra or wrong:
        if not hint and len(missing) == len(params):
            hint = "it may belong to another form of this network, such as an artifact's model.cir"
        parts = [_listed("missing", missing), _listed("unknown", extra), _listed("of another shape or type", wrong)]
        raise InvalidInput(f"'{source}' does not fit @{graph.name}: {'; '.join(part for part in [*parts, hint] if part)}")


def check_numbers(graph: Graph, source: str = "") -> None:
    """An infinity may stand, in a mask for example; and so may a NaN that is only chosen, moved or returned, as what a network fills
    holes with: nothing is computed with it.

    Raises: InvalidInput naming the first given parameter that holds NaN, and the `source` of the network if told.
    """
    for node in graph.params:
        if node.weights is None or not node.weights.is_given or not node.typed.is_float:
            continue
        array = node.weights.drawn()
        if (bad := int(np.count_nonzero(np.isnan(array)))) and _is_computed_with(graph, node):
            where = f"'{source}': {node.where}" if source else node.where
            raise InvalidInput(f"{where}: {bad} of {array.size} weights are NaN; mend the weights file")


def _is_computed_with(graph: Graph, param: Node) -> bool:
    """Whether the parameter is a table, or an op rounds what it makes of its values, perhaps once others have moved them."""
    reached, seen = [param], {param}
    while reached:
        for reader in graph.readers[reached.pop()]:
            is_constant = all(operand.weights is not None or operand in seen for operand in reader.inputs)
            if reader.kind.roundings is not no_rounding or reader.kind is QUANTIZE_LINEAR or (reader.kind is GATHER and not is_constant):
                return True
            if reader not in seen and is_constant:
                seen.add(reader)
                reached.append(reader)
    return False


def check_there(graph: Graph, source: str, option: str) -> None:
    """Raises: InvalidModel naming the `source` of the network and the option to give values with, where it lacks some."""
    lacking = [node.name for node in graph.params if node.weights is not None and node.weights.is_missing]
    if lacking:
        raise InvalidModel(f"'{source}' has no values for {_listed('its parameters', lacking)}; give them with {option} FILE")


def _safetensors() -> Any:
    """Imported where it is used; its annotations change from release to release. It knows bfloat16 once NumPy has heard of it."""
    importlib.import_module("ml_dtypes")
    return importlib.import_module("safetensors.numpy")


def _stored(weights: Weights) -> Array:
    """Files of weights have no numbers of less than 8 bits; there they take 8."""
    return plain(weights.drawn()) if weights.type.is_stored else weights.drawn()


def _is_cast(array: Array, type_: TensorType) -> bool:
    """Whether floats have to be made narrower or wider."""
    return type_.is_float and array.dtype != DTYPES[type_.dtype]


def _of_type(array: Array, type_: TensorType, source: str) -> Array:
    """Raises: InvalidInput for a number that is finite and would not be."""
    with np.errstate(over="ignore"):
        made = np.asarray(array, DTYPES[type_.dtype], order="C")
    if _is_cast(array, type_) and (lost := np.isfinite(widened(array)) & ~np.isfinite(widened(made))).any():
        raise InvalidInput(f"'{source}' holds {float(array[lost].flat[0]):g}, beyond the range of {type_.dtype}")
    return made


def _fits(array: Array, type_: TensorType) -> bool:
    if array.shape != type_.shape:
        return False
    if type_.is_float and is_floating(array):
        return True
    if TensorType.of(array).dtype != type_.in_bytes.dtype:
        return False
    least, most = range_of(DTYPES[type_.dtype]) if type_.is_stored and array.size else (0, 0)
    return not type_.is_stored or not array.size or (least <= int(array.min()) and int(array.max()) <= most)


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what} {', '.join(map(legible, names[:SHOWN]))}{more}" if names else ""
