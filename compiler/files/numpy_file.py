"""NumPy's files: .npy, one array, and .npz, a zip archive of such. Sizes are believed only where the file has the bytes for them."""

from __future__ import annotations

import io
import math
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...ir.errors import InvalidInput, UsageError
from ...ir.legible import legible, quoted
from ...ir.memory import need_bytes
from ...ir.suggest import not_there
from ...ir.types import DTYPES, Array

__all__ = ["LARGEST", "Choose", "everything", "load_npy", "load_npz", "npz_bytes"]

Choose = Callable[[Mapping[str, Array]], Collection[str]]  # from arrays whose values are not read yet, names to read; or it raises

LARGEST = 16 << 30  # bytes of one archive, unpacked; deflated zeros take a thousandth of that
AS_NUMPY_WRITES = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile inflates these piece by piece, and others whole
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def everything(unread: Mapping[str, Array]) -> Collection[str]:
    """The choice of who takes all that is there."""
    return unread.keys()


def load_npz(path: Path, choose: Choose = everything, most: int = LARGEST) -> dict[str, Array]:
    """Arrays by name; nothing is unpacked before all headers are read and `choose` has seen what they say, in arrays of their shapes and
    types that take no memory, or where it would come to more than `most` bytes.

    Raises: InvalidInput for a member that is not an array, holds Python objects, declares more elements than it has, is
    packed as NumPy packs none or there twice, and for an archive that is too large; OutOfMemory for one that the memory does not hold;
    and what `choose` does.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if (total := sum(member.file_size for member in members)) > most:
            raise InvalidInput(f"'{path}' would unpack to {total:,} bytes, expected at most {most:,}; use safetensors")
        names = [member.filename.removesuffix(".npy") for member in members]
        counts, unread = Counter(names), dict[str, Array]()
        for name, member in zip(names, members, strict=True):
            if counts[name] > 1:
                raise InvalidInput(f"'{path}' is damaged: {quoted(name)} is in it twice")
            if member.compress_type not in AS_NUMPY_WRITES:
                raise InvalidInput(f"'{path}' cannot be read: {quoted(name)} is packed as NumPy packs none; write it with np.savez")
            with archive.open(member) as file:
                unread[name] = _unread(file, member.file_size, path, quoted(name))
        chosen = choose(unread)
        taken = {name: member for name, member in zip(names, members, strict=True) if name in chosen}
        need_bytes(f"'{path}', unpacked,", sum(member.file_size for member in taken.values()), "choose a smaller file")
        arrays: dict[str, Array] = {}
        for name, member in taken.items():
            with archive.open(member) as file:
                arrays[name] = _named(np.lib.format.read_array(file, allow_pickle=False))
    return arrays


def load_npy(path: Path, look: Callable[[Array], object] = lambda unread: None) -> Array:
    """The array of an .npy file. `look` sees it before its values are read.

    Raises: UsageError for a file that is not there; InvalidInput for one that is no array, holds Python objects or is cut short; and
    what `look` does.
    """
    if not path.is_file():
        raise UsageError(not_there(path))
    try:
        with path.open("rb") as file:
            look(_unread(file, path.stat().st_size, path, "it"))
            need_bytes(f"'{path}'", path.stat().st_size, "choose a smaller file")
            file.seek(0)
            return _named(np.lib.format.read_array(file, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"'{path}' cannot be read: {error}") from error


def _named(array: Array) -> Array:
    """What NumPy writes of bfloat16 is two bytes an element, and no name."""
    return array.view(DTYPES["bf16"]) if array.dtype == "V2" else array


def _unread(file: IO[bytes], size: int, path: Path, what: str) -> Array:
    """An array of the shape and type that the header says, whose elements are all one. It is refused by the header alone, before anything
    is allocated. `size` counts the bytes of header and elements together.
    """
    try:
        version: tuple[int, int] = np.lib.format.read_magic(file)
    except ValueError as error:
        raise InvalidInput(f"'{path}' is damaged: {what} is not an array") from error
    if version not in HEADERS:
        raise InvalidInput(f"'{path}' cannot be read: {what} is of the format's version {version[0]}.{version[1]}, expected 1.0 or 2.0")
    try:
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = HEADERS[version](file)
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:  # NumPy's sentence may be of several lines
        raise InvalidInput(f"'{path}' cannot be read: {what} says nothing of its shape and type that NumPy knows") from error
    shape, _, dtype = header
    if dtype.hasobject:
        raise InvalidInput(f"'{path}' cannot be read: {what} holds Python objects, which are never unpickled; save plain arrays")
    if not dtype.itemsize or any(type(extent) is not int or not 0 <= extent < 1 << 63 for extent in shape):
        raise InvalidInput(f"'{path}' is damaged: {what} declares {legible(dtype)}{legible(list(shape))}, which no array is")
    declared, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared != there:
        raise InvalidInput(f"'{path}' is damaged: {what} declares {declared:,} bytes and has {there:,}")
    return _named(np.broadcast_to(np.zeros((), dtype), shape))


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """An .npz file; unlike np.savez it takes any name, and the same arrays give the same bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())  # of 1980, not of now
    return data.getvalue()
