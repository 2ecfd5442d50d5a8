"""What goes into a run: photographs, NumPy's arrays, or random values with a seed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...ir.binding import as_declared, match_inputs, match_unread, specialize
from ...ir.errors import InvalidInput, UsageError
from ...ir.graph import Graph, Node
from ...ir.legible import legible, quoted
from ...ir.memory import need_bytes
from ...ir.ops.conv import CONVS
from ...ir.ops.conv_transpose import CONV_TRANSPOSES
from ...ir.ops.linear import DENSE, MATMUL
from ...ir.types import DTYPES, Array, is_floating
from ...ir.usual_sizes import usual_sizes
from ...ir.weights import Recipe
from .images import AS_THEY_ARE, IMAGE_SUFFIXES, Preparing
from .numpy_file import load_npy
from .photographs import Notes, Said, photographs_in, read_photographs
from .weights import ARRAY_FILES, load_arrays

__all__ = ["FILLS", "Feed", "random_inputs", "read_batches", "read_inputs", "say_casts"]

AT_ONCE = 32  # photographs
DRAWN = 8  # bytes of a number as it is drawn
WEIGHTED = (*CONVS, *CONV_TRANSPOSES, DENSE, MATMUL)  # what they read second are weights
FILLS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "uniform": lambda draws, shape: draws.random(shape),  # in [0, 1), as pixels are
    "normal": lambda draws, shape: draws.standard_normal(shape),
    "zeros": lambda draws, shape: np.zeros(shape),
    "ones": lambda draws, shape: np.ones(shape),
    "large": lambda draws, shape: 1e4 * draws.standard_normal(shape),
}


@dataclass(frozen=True, eq=False)
class Feed:
    """What goes into one run. `names` are the photographs of it, in order, where it is made of such; rows after them stand for none."""

    arrays: Mapping[str, Array]
    names: tuple[str, ...] = ()


def read_inputs(graph: Graph, given: Iterable[str], preparing: Preparing = AS_THEY_ARE, say: Said | None = None) -> dict[str, Array]:
    """Arrays for every input from `photo.jpg`, `folder`, `photos/*.jpg` or `values.npy`, each after `name=` or not, or `values.npz`; floats
    of another width are cast to the input's type, and that is said. Several photographs are a batch; of those for the only input, what
    cannot be read is left out, and said.

    Raises: InvalidInput for files that do not fit, or values that are not finite; UsageError for a file that is not there, for a name that
    the network does not have, and for an input that is given twice.
    """
    return _together(graph, *_sorted_out(graph, given), preparing, say)


def _together(
    graph: Graph, photographs: Mapping[str, list[Path]], given_arrays: Mapping[str, Array], preparing: Preparing, say: Said | None
) -> dict[str, Array]:
    arrays = dict(given_arrays)
    types, notes = {node.name: node.typed for node in graph.inputs}, Notes()
    for name, paths in photographs.items():
        skip = len(paths) > 1 and len(photographs) == 1
        arrays[name], kept = read_photographs(paths, types[name], preparing, notes, skip=skip)
        if not kept:
            raise _none_of(notes)
    if say is not None:
        notes.say(say)
    checked = _checked(graph, arrays)
    if say is not None:
        say_casts(given_arrays, checked, say)
    return checked


def say_casts(given: Mapping[str, Array], taken: Mapping[str, Array], say: Said, source: str = "") -> None:
    """Which floats were made another width, by name; `source` is where they come from."""
    for name, array in given.items():
        have, want = array.dtype.name, taken[name].dtype.name
        if is_floating(array) and have != want:
            say(f"{source}: '{name}' is {have}, cast to {want}" if source else f"input '{name}' is {have}, cast to {want}")


def read_batches(graph: Graph, given: Sequence[str], preparing: Preparing, say: Said) -> Iterator[Feed]:
    """The same, where the only input gets photographs, as many at a time as the network takes, or AT_ONCE. A last batch with fewer than the
    network takes is filled with its last photograph.

    Raises: as `read_inputs`.
    """
    photographs, others = _sorted_out(graph, given)
    node, *more = graph.inputs
    paths, own = photographs.get(node.name, []), node.typed.shape[0] if node.typed.rank else 1
    is_alone = not (others or more) and own != 0
    if not is_alone or not paths or (len(paths) == 1 and not (isinstance(own, int) and own > 1)):
        yield Feed(_together(graph, photographs, others, preparing, say))
        return
    step, notes = own if isinstance(own, int) else AT_ONCE, Notes()
    for at in range(0, len(paths), step):
        pixels, kept = read_photographs(paths[at : at + step], node.typed, preparing, notes, skip=len(paths) > 1)
        if kept:
            missing = step - len(kept) if isinstance(own, int) else 0
            filled = np.concatenate([pixels, np.repeat(pixels[-1:], missing, 0)]) if missing else pixels
            yield Feed(_checked(graph, {node.name: filled}), tuple(map(str, kept)))
    if not notes.read:
        raise _none_of(notes)
    notes.say(say)


def _none_of(notes: Notes) -> InvalidInput:
    return InvalidInput(f"none of {len(notes.skipped)} photographs can be used; the first: {notes.skipped[0][1]}")


def _sorted_out(graph: Graph, given: Iterable[str]) -> tuple[dict[str, list[Path]], dict[str, Array]]:
    """The photographs of each input, and the arrays of others."""
    photographs, arrays = dict[str, list[Path]](), dict[str, Array]()
    inputs = tuple(node.name for node in graph.inputs)
    if not inputs:
        raise UsageError(f"@{graph.name} has no inputs; leave -i out")
    for text in given:
        name, _, file = text.partition("=") if "=" in text else ("", "", text)
        if name and name not in inputs:
            raise UsageError(f"no input is named '{name}'; the network has {', '.join(inputs)}")
        found = photographs_in(file)
        read = _arrays(Path(file), name, graph) if found is None else dict[str, Array]()
        target = name or inputs[0]
        twice = [each for each in read if each in arrays or each in photographs]
        if found is not None and (target in arrays or not set(found).isdisjoint(photographs.get(target, ()))):
            twice = [target]
        if twice:
            raise UsageError(f"-i '{text}': input '{min(twice)}' has been given before; give it once")
        arrays |= read
        if found is not None:
            photographs.setdefault(target, []).extend(found)
    return photographs, arrays


def _checked(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    arrays = as_declared(graph, arrays)
    match_inputs(graph, arrays)
    for name, array in arrays.items():
        if is_floating(array) and not np.isfinite(array).all():
            raise InvalidInput(f"input '{name}' holds NaN or infinity, which would spread to every value after it; give finite numbers")
    return dict(arrays)


def _arrays(path: Path, name: str, graph: Graph) -> dict[str, Array]:
    """By input: an .npy file's array is `name`'s, or else the first input's; those of an .npz say themselves whose they are. What cannot
    fit is refused before it is read.
    """
    inputs = [node.name for node in graph.inputs]

    def named(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        if name and len(arrays) != 1:
            raise InvalidInput(f"'{path}' holds {len(arrays)} arrays, one is wanted for input '{name}'")
        if not name and (foreign := [each for each in arrays if each not in inputs]):
            raise InvalidInput(f"'{path}': no input is named {quoted(foreign[0])}; the network has {', '.join(map(legible, inputs))}")
        return {name: next(iter(arrays.values()))} if name else arrays

    def choose(unread: Mapping[str, Array]) -> Collection[str]:
        match_unread(graph, named(unread))
        return unread.keys()

    if path.suffix == ".npy":
        whose = name or inputs[0]
        return {whose: load_npy(path, lambda unread: match_unread(graph, {whose: unread}))}
    if path.is_file() and path.suffix not in ARRAY_FILES:
        raise InvalidInput(
            f"'{path}' is neither a photograph ({', '.join(IMAGE_SUFFIXES)}) nor an array (.npy) nor arrays by name (.npz, as "
            f"np.savez('x.npz', {inputs[0]}=x) writes them)"
        )
    return dict(named(load_arrays(path, choose)))


def _drawn(node: Node, draws: np.random.Generator) -> Array:
    """Small whole numbers in a type that only other runtimes have, or as words; an extent that nobody knows is 1.

    Raises: InvalidInput for what is no tensor of a known rank.
    """
    match = re.fullmatch(r"tensor\((\w+)\)\[(.*)\]", node.typed.about)
    word = {"float": "float32", "double": "float64", "string": "int64"}.get(match[1], match[1]) if match else ""
    if match is None or not re.fullmatch(r"u?int\d+|float\d+|bool", word) or not hasattr(np, word):
        raise InvalidInput(
            f"input '{node.name}' is {node.type}, of which no values can be drawn; give some with -i, or leave the check out"
        )
    shape = tuple(int(dim) if dim.isdecimal() else 1 for dim in match[2].split(",") if dim)
    values = draws.integers(0, 8, shape).astype(word)
    return values.astype(str).astype(object) if match[1] == "string" else values


def random_inputs(graph: Graph, seed: int = 0, sizes: Mapping[str, int] | None = None, fill: str = "uniform") -> dict[str, Array]:
    """Values by `fill`, one of FILLS; integers below 8. A named size without a number gets a usual one.

    Weights that a step of training takes and gives are drawn as training begins, unless another fill is asked for: of uniform ones every
    tanh would be saturated, and no gradient more than rounding.
    """
    fixed = specialize(graph, usual_sizes(graph, sizes))
    draws = np.random.default_rng(seed)
    learned = _learned(fixed) if fill == "uniform" else set[Node]()
    arrays: dict[str, Array] = {}
    for node in fixed.inputs:
        if node.typed.is_opaque:
            arrays[node.name] = _drawn(node, draws)
            continue
        if node in learned:
            arrays[node.name] = Recipe("he", node.name, seed).make(node.typed)
            continue
        shape, dtype = node.typed.concrete(), DTYPES[node.typed.dtype]
        need_bytes(f"input '{node.name}', {node.type},", math.prod(shape) * (DRAWN + dtype.itemsize))
        most = 2 if node.typed.dtype in ("bool", "i2") else 4 if node.typed.dtype == "u2" else 8
        values = FILLS[fill](draws, shape) if node.typed.is_float else draws.integers(0, most, shape)
        arrays[node.name] = np.asarray(values, dtype)
    return arrays


def _learned(graph: Graph) -> set[Node]:
    """Inputs that are some layer's weights, of which the graph gives the next."""
    following = {node.name for node in graph.outputs}
    read = {node.inputs[1] for node in graph.ops if node.kind in WEIGHTED and node.inputs[1].typed.is_float}
    return {node for node in graph.inputs if node in read and f"{node.name}.next" in following}
