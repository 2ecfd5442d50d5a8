"""What an input of a network is, as it is written: a text, or numbers and names of sizes one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import index
from typing import Any, cast

from ...ir.dims import Dim, Expr, parse_dim
from ...ir.errors import InvalidModel, UsageError
from ...ir.types import TensorType, parse_type

__all__ = ["input_type", "read_type"]

EXAMPLE = "N,3,224,224"
TIMES = re.compile(r"\w+(x\d+)+")  # 4x3x96x96, which reads as 4 and then a name


def input_type(name: str, given: Any, declared: TensorType | None = None) -> TensorType:
    """The type of input `name` from `"N,3,224,224"`, ("N", 3, 224, 224) or a list of these; `declared` is that of the network as it was
    written, whose number of axes it keeps.

    Raises: UsageError for what is none, with how it is written.
    """
    type_ = given if isinstance(given, TensorType) else read_type(name, given)
    if declared is not None and type_.rank != declared.rank:
        asked, written = (",".join(map(str, each.shape)) for each in (type_, declared))
        axes = f"'{asked}' has {type_.rank} {'axis' if type_.rank == 1 else 'axes'}, and the network is written for the {declared.rank} of"
        again = f'in Python network({name}="{asked}")(net.build) makes one for these of the same function'
        raise UsageError(f"input '{name}': {axes} {written}; give a size for each of them; {again}")
    _need_channels_first(name, type_)
    return type_


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
