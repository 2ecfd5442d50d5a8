"""What an input of a network is, as it is written: a text, or numbers and names of sizes one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import index
from typing import Any, cast

from ...ir.dims import Dim, Expr, parse_dim
from ...ir.errors import InvalidModel, UsageError
from ...ir.graph import Graph
from ...ir.ops.conv import CONVS
from ...ir.ops.conv_transpose import CONV_TRANSPOSES
from ...ir.ops.pool import AVG_POOL, LP_POOL, MAX_POOL
from ...ir.types import TensorType, parse_type

__all__ = ["has_windows", "input_type", "other_rank", "read_type"]

EXAMPLE = "N,3,224,224"
WINDOWS = {*CONVS, *CONV_TRANSPOSES, MAX_POOL, AVG_POOL, LP_POOL}
TIMES = re.compile(r"\w+(x\d+)+")  # 4x3x96x96, which reads as 4 and then a name


def input_type(name: str, given: Any) -> TensorType:
    """The type of input `name` from `"N,3,224,224"`, ("N", 3, 224, 224) or a list of these.

    Raises: UsageError for what is none, with how it is written.
    """
    type_ = given if isinstance(given, TensorType) else read_type(name, given)
    _need_channels_first(name, type_)
    return type_


def other_rank(types: Mapping[str, TensorType], written: Mapping[str, TensorType]) -> UsageError | None:
    """The refusal of an input that has another number of axes than the network was written for; None where all have that of theirs.

    It is for networks with windows. `conv` goes by the value that it reads, so that an axis that was forgotten would make another network.
    """
    name = next((name for name, type_ in types.items() if type_.rank != written[name].rank), None)
    if name is None:
        return None
    asked, own = (",".join(map(str, each[name].shape)) for each in (types, written))
    axes = "1 axis" if types[name].rank == 1 else f"{types[name].rank} axes"
    again = f'in Python network({name}="{asked}")(net.build) makes one for these of the same function'
    return UsageError(f"input '{name}': '{asked}' has {axes}, and the network is written for {own}; give a size for each of those; {again}")


def has_windows(graph: Graph) -> bool:
    """Whether what it computes hangs on which axes are of space."""
    return any(node.kind in WINDOWS for node in graph.ops)


def read_type(name: str, given: Any) -> TensorType:
    """Raises: UsageError naming the input, for what is no shape, and for a size without a name."""
    if isinstance(given, str) and TIMES.fullmatch(given.strip()):
        raise UsageError(f"input '{name}': sizes have commas between them; write {given.strip().replace('x', ',')}")
    try:
        type_ = parse_type(given) if isinstance(given, str) else TensorType("f32", _sizes(given))
    except InvalidModel as error:
        raise UsageError(f"input '{name}': {error}") from None
    if any(str(size) == "None" for size in type_.shape):
        text = ",".join("N" if str(size) == "None" else str(size) for size in type_.shape)
        raise UsageError(f"input '{name}': None is no size; one that is free has a name, such as N in {text}")
    return type_


def _sizes(given: Any) -> tuple[Dim, ...]:
    """Raises: InvalidModel for what is no sequence of numbers and names."""
    if not isinstance(given, Sequence):
        raise InvalidModel(f'{given!r} is no shape; write it as "{EXAMPLE}", with a name for a size that is free')
    return tuple(_size(each) for each in cast("Sequence[Any]", given))


def _size(given: Any) -> Dim:
    if isinstance(given, Expr):
        return given
    if given is None or isinstance(given, str):
        return parse_dim(str(given))
    try:
        size = index(given)
    except TypeError:
        raise InvalidModel(f'{given!r} is no size; a shape is written as "{EXAMPLE}", or as numbers and names one by one') from None
    if size < 0:
        raise InvalidModel(f"{size} is no size; one that is free has a name, such as N in {EXAMPLE}")
    return size


def _need_channels_first(name: str, type_: TensorType) -> None:
    """Raises: UsageError for an `image` of three numbers that is a picture with its channels last, and would be many sequences."""
    if name == "image" and type_.rank == 3 and type_.shape[-1] in (1, 3) and type_.shape[0] == type_.shape[1]:
        height, width, channels = type_.shape
        wanted = f"N,{channels},{height},{width}"
        raise UsageError(f"input 'image': {type_} reads as a picture whose channels come last; write {wanted}, or call sequences otherwise")
