"""Numbers for named sizes, and arrays for inputs: what stands between a graph and a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .dims import Dim, Expr, alone, evaluate
from .errors import InvalidInput, InvalidModel, UsageError
from .graph import Graph, Node
from .memory import need_bytes
from .solving import first_size, listed, names_of, solve, what_fits
from .types import DTYPES, Array, TensorType, is_floating, range_of
from .verifier import verify_graph

__all__ = [
    "OF_HOST",
    "InputSizes",
    "as_declared",
    "as_typed",
    "batch_names",
    "empty_outputs",
    "is_on_device",
    "match_inputs",
    "match_unread",
    "need_elements",
    "new_sizes",
    "sized",
    "sizes_of",
    "specialize",
]

TRUTHS = 2  # bytes, one for each comparison of an element
REMEMBERED = 64  # kinds of inputs that are known to fit
OF_HOST = (1, 3)  # DLPack's kDLCPU and kDLCUDAHost: pinned memory, which the processor reads as any other


def batch_names(graph: Graph) -> set[str]:
    """Named sizes that stand alone as the first axis of an input."""
    first = (node.typed.shape[0] for node in graph.inputs if node.typed.rank)
    return {name for name in map(alone, first) if name is not None}


def need_elements(graph: Graph, use: str) -> None:
    """Raises: UsageError for an input that is empty whatever is given: of no image there is nothing to count, time or measure."""
    empty = next((node for node in graph.inputs if 0 in node.typed.shape), None)
    if empty is not None:
        some = ",".join(str(dim or 1) if isinstance(dim, int) else str(dim) for dim in empty.typed.shape)
        raise UsageError(
            f"input '{empty.name}' is {empty.type}, of no elements, so there is nothing to {use}; try --input {empty.name}:{some}"
        )


def specialize(graph: Graph, sizes: Mapping[str, Dim]) -> Graph:
    """The graph with the named sizes in `sizes` replaced in types and attributes, by numbers or by other sizes.

    Raises: InvalidModel for a value of which they make a dimension negative.
    """
    if not sizes or not graph.symbols:
        return graph

    def bound(node: Node, operands: tuple[Node, ...]) -> Node:
        type_ = _sized_type(node, sizes) if node.type else None
        return node.like(inputs=operands, type=type_, op=_bound_op(node, sizes))

    return graph.rebuild(lambda node, operands: node if node.weights is not None else bound(node, operands))


def _sized_type(node: Node, sizes: Mapping[str, Dim]) -> TensorType:
    try:
        return node.typed.with_sizes(sizes)
    except InvalidModel:
        negative = next((dim for dim in node.typed.shape if isinstance(n := evaluate(dim, sizes), int) and n < 0), None)
        if not isinstance(negative, Expr):
            raise
        names = names_of(negative)
        given = f"{evaluate(negative, sizes)} where {listed({name: sizes[name] for name in names})}"
        found = first_size(negative) if len(names) == 1 else None
        way_out = f"give {found[0]}={found[1]} or more" if found else f"give {' and '.join(names)} other numbers"
        raise InvalidModel(f"{node.where} is {node.type}, of which {negative} is {given}, and no size is negative; {way_out}") from None


def sized(node: Node, sizes: Mapping[str, Dim]) -> Node:
    """The node with these named sizes replaced in its attributes."""
    op = _bound_op(node, sizes)
    return node if op == node.op else node.like(op=op)


def new_sizes(node: Node, value: Array, known: Mapping[str, int]) -> dict[str, int]:
    """The named sizes that a value shows of its type, beyond those that are known.

    Raises: InvalidModel for a value that cannot be of the type.
    """
    try:
        return sizes_of({node.name: node.typed.with_sizes(known)}, {node.name: value.shape})
    except InvalidInput:
        raise InvalidModel(f"{node.where} is said to be {node.type}, but comes out with the shape {list(value.shape)}") from None


def _bound_op(node: Node, sizes: Mapping[str, Dim]) -> Any:
    fields = {name: _numbers(getattr(node.op, name), sizes) for name in node.kind.facts.sizes}
    return replace(node.op, **fields) if fields else node.op


def _numbers(dims: Dim | tuple[Dim, ...], sizes: Mapping[str, Dim]) -> Dim | tuple[Dim, ...]:
    return tuple(evaluate(dim, sizes) for dim in dims) if isinstance(dims, tuple) else evaluate(dims, sizes)


def as_declared(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Floats in the float types of the inputs that they are for, bytes in those of less than 8 bits, which no file of NumPy's can name;
    other arrays as they are.

    Raises: InvalidInput for a finite number that such a type does not reach; OutOfMemory where a copy has no room.
    """
    types = {node.name: node.typed for node in graph.inputs}
    return {name: _declared(name, array, types[name]) if name in types else array for name, array in arrays.items()}


def as_typed(graph: Graph, unread: Mapping[str, Array]) -> dict[str, Array]:
    """Of the shapes and types that `as_declared` would give, and of no memory: no value is read."""
    types = {node.name: node.typed for node in graph.inputs}
    return {name: _blank(array, types[name]) if name in types else array for name, array in unread.items()}


def match_unread(graph: Graph, unread: Mapping[str, Array]) -> None:
    """Whether arrays for some of the inputs may fit, by shape and type alone.

    Raises: InvalidInput as `match_inputs`, for what those of other inputs cannot mend.
    """
    given = as_typed(graph, unread)
    if all(node.name in given for node in graph.inputs):
        match_inputs(graph, given)
        return
    for node in graph.inputs:
        if node.name in given and not node.typed.is_opaque:
            _match_type(node, given[node.name])
            if not _may_be(node.typed, given[node.name].shape):
                raise _of_other_shape(node.name, node.typed, given[node.name].shape)


def _blank(array: Array, type_: TensorType) -> Array:
    to_bits = type_.is_stored and array.dtype == DTYPES[type_.in_bytes.dtype]
    to_floats = type_.is_float and is_floating(array)
    return np.broadcast_to(np.zeros((), DTYPES[type_.dtype]), array.shape) if to_bits or to_floats else array


def _declared(name: str, array: Array, type_: TensorType) -> Array:
    return _in_bits(name, array, type_) if type_.is_stored else _in_floats(name, array, type_)


def _in_bits(name: str, array: Array, type_: TensorType) -> Array:
    if array.dtype != DTYPES[type_.in_bytes.dtype]:
        return array
    least, most = range_of(DTYPES[type_.dtype])
    beyond = (array < least) | (array > most)
    if beyond.any():
        raise InvalidInput(f"input '{name}' holds {array[beyond][0]}, beyond the range of {type_.dtype}, which is {least} to {most}")
    return array.astype(DTYPES[type_.dtype])


def _in_floats(name: str, array: Array, type_: TensorType) -> Array:
    if not type_.is_float or array.dtype == DTYPES[type_.dtype]:
        return array
    wanted = DTYPES[type_.dtype]
    if not is_floating(array):
        return array
    need_bytes(f"input '{name}', cast to {wanted.name},", array.size * (wanted.itemsize + TRUTHS), "give it in that type")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(wanted)
    beyond = np.isinf(cast) & np.isfinite(array)
    if beyond.any():
        raise InvalidInput(f"input '{name}' holds {float(array[beyond][0]):g}, beyond the range of {wanted.name}; give smaller numbers")
    return cast


def match_inputs(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, int]:
    """The value of every named size, from the arrays given for the graph's inputs.

    Raises: InvalidInput for a missing or unknown name, an element type or shape that does not fit.
    """
    known = {node.name for node in graph.inputs}
    for name in arrays:
        if name not in known:
            raise InvalidInput(f"no input is named '{name}'; the network has {', '.join(sorted(known))}")
    for node in graph.inputs:
        if node.name not in arrays:
            raise InvalidInput(f"input '{node.name}' ({node.type}) is missing")
        have = arrays[node.name]
        if not (hasattr(have, "dtype") and hasattr(have, "shape")):
            raise InvalidInput(f"input '{node.name}' is a {type(have).__name__}, expected an array, {node.type}")
        if not node.typed.is_opaque:
            _match_type(node, have)
    types = {node.name: node.typed for node in graph.inputs if not node.typed.is_opaque}
    sizes = sizes_of(types, {name: a.shape for name, a in arrays.items()})
    if sizes and (0 in sizes.values() or not graph.takes_any_batch):  # a picture may be too small for a layer deep inside
        try:
            verify_graph(specialize(graph, sizes))
        except InvalidModel as error:
            raise InvalidInput(f"the network does not work with {listed(sizes)}: {error}") from None
    return sizes


def _match_type(node: Node, have: Array) -> None:
    if have.dtype != DTYPES[node.typed.dtype]:
        wanted = DTYPES[node.typed.dtype].name
        raise InvalidInput(f"input '{node.name}' is {have.dtype}, expected {node.typed.dtype}; convert it with .astype('{wanted}')")


class InputSizes:
    """`match_inputs` for a graph that is run often: what fits is remembered, for looking takes longer than a small network."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: dict[object, dict[str, int]] = {}

    def of(self, arrays: Mapping[str, Array]) -> dict[str, int]:
        """Raises: as `match_inputs`."""
        try:
            key = tuple([(name, array.shape, array.dtype) for name, array in arrays.items()])
        except AttributeError:  # something is no array, and the next line says what
            match_inputs(self.graph, arrays)
            raise
        sizes = self._known.get(key)
        if sizes is None:
            sizes = match_inputs(self.graph, arrays)
            if len(self._known) >= REMEMBERED:
                self._known.clear()  # other threads read it meanwhile, and find it or not
            self._known[key] = sizes
        return sizes


def empty_outputs(graph: Graph, sizes: Mapping[str, int]) -> dict[str, Array] | None:
    """The outputs at these sizes where none has an element, as of an empty batch: nothing needs to be computed. None where one has."""
    types = {node.name: node.typed.with_sizes(sizes) for node in graph.outputs}
    if any(type_.is_opaque or type_.numel != 0 for type_ in types.values()):
        return None
    return {name: np.empty(type_.concrete(), DTYPES[type_.dtype]) for name, type_ in types.items()}


def sizes_of(types: Mapping[str, TensorType], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Solve for the named sizes: see `solving.solve`.

    Raises: InvalidInput for a shape that does not fit, naming the input and both shapes, and what would.
    """
    for name, type_ in types.items():
        if len(shapes[name]) != type_.rank:
            raise _of_other_shape(name, type_, shapes[name])
    found = solve([pair for name, type_ in types.items() for pair in zip(type_.shape, shapes[name], strict=True)])
    sizes = {name: size for name, size in found.items() if isinstance(size, int)}
    for name, type_ in types.items():
        wanted = tuple(evaluate(dim, sizes) for dim in type_.shape)
        if wanted != shapes[name]:
            detail = f" with {listed(sizes)}" if type_.symbols and sizes else ""
            advice = _advice(type_, shapes[name]) or _what_fits(name, type_, shapes[name], sizes) or _where(name, type_, shapes[name])
            raise InvalidInput(f"input '{name}' has shape {list(shapes[name])}, expected {type_}{detail}{advice}")
    return sizes


def _where(name: str, type_: TensorType, shape: tuple[int, ...]) -> str:
    """The axes whose extents are numbers, and others; of images alone, the way out."""
    apart = [axis for axis, (dim, size) in enumerate(zip(type_.shape, shape, strict=True)) if isinstance(dim, int) and dim != size]
    said = "; " + ", ".join(f"axis {axis} is {shape[axis]}, not {type_.shape[axis]}" for axis in apart) if apart else ""
    if apart != [0] or len(shape) < 2:
        return said
    named = ",".join(map(str, ("N", *type_.shape[1:])))
    return f"{said}: give {type_.shape[0]} at a time, or compile the network with --input {name}:{named}"


def _of_other_shape(name: str, type_: TensorType, shape: tuple[int, ...]) -> InvalidInput:
    return InvalidInput(f"input '{name}' has shape {list(shape)}, expected {type_}{_advice(type_, shape)}")


def _what_fits(name: str, type_: TensorType, shape: tuple[int, ...], sizes: Mapping[str, int]) -> str:
    """Of the first axis whose computed dimension is not the extent: what it is, and for which numbers it is the extent or near it."""
    for axis, (dim, extent) in enumerate(zip(type_.shape, shape, strict=True)):
        if isinstance(dim, int) or alone(dim) or evaluate(dim, sizes) == extent:
            continue
        unknown = [each for each in names_of(dim) if each not in sizes]
        if len(unknown) > 1:
            return f"; {extent} does not tell {' from '.join(unknown)} in {dim}; give --input {name}:{','.join(map(str, shape))}"
        if fits := what_fits(dim, extent, sizes):
            return f"; axis {axis} is {extent}, and {dim} is {fits}"
    return ""


def _advice(type_: TensorType, shape: tuple[int, ...]) -> str:
    """The way out for an image without its batch, or with its channels last."""
    if _may_be(type_, shape):
        return ""
    if _may_be(type_, (1, *shape)):
        return "; for a single one add the first axis with x[None]"
    if len(shape) > 2 and _may_be(type_, (1, *shape[-1:], *shape[:-1])):
        return "; its channels are last, as NHWC has them: give np.moveaxis(x, -1, 0)[None]"
    if len(shape) > 3 and _may_be(type_, (*shape[:1], *shape[-1:], *shape[1:-1])):
        return "; its channels are last, as NHWC has them: give np.moveaxis(x, -1, 1)"
    return ""


def _may_be(type_: TensorType, shape: tuple[int, ...]) -> bool:
    """Whether there are as many axes, and every extent that is a number agrees."""
    return len(shape) == type_.rank and all(not isinstance(dim, int) or dim == size for dim, size in zip(type_.shape, shape, strict=True))


def is_on_device(value: Any) -> bool:
    """Whether it lies where the processor does not read it."""
    return hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) not in OF_HOST
