"""weights.packed: what a library takes besides the inputs, packed for its kernels once, and mapped into memory to run.

Packing VGG-16 takes seconds and twice its memory; mapping it takes neither, and all processes that run it share the pages.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ....ir.errors import ArtifactError, InvalidModel
from ....ir.graph import Graph, Node
from ....ir.holding import shown
from ....ir.types import DTYPES, Array, TensorType, parse_type
from ..cpu.laid import Argument

__all__ = [
    "ALIGNMENT",
    "Packed",
    "arrays_of",
    "as_arguments",
    "map_packed",
    "mapped_arguments",
    "packed_digest",
    "packed_pieces",
    "packing",
    "write_packed",
]

ALIGNMENT = 64  # bytes; TVM's kernels count on it
LAYOUT = 64  # bytes at the beginning: a hash of what lies where, and of what the library needs
DIGEST = 64  # bytes at the end: BLAKE2b of all before them, which the C runtime looks at (c/digest.h)


class _Plan(Protocol):
    """What is known of any plan of kernels."""

    @property
    def graph(self) -> Graph: ...

    @property
    def arguments(self) -> Sequence[Argument]: ...


@dataclass(frozen=True)
class Packed:
    """Where each argument lies, in the library's order, and the hash that stands at the beginning of the file. Units: bytes."""

    layout: str
    entries: tuple[tuple[str, TensorType, int], ...]
    size: int

    def record(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {"layout": self.layout, "bytes": self.size, "entries": [[name, str(type_), offset] for name, type_, offset in self.entries]}

    @staticmethod
    def of(record: Mapping[str, Any]) -> Packed:
        """Raises: InvalidModel for types that are none or have named sizes, and for places outside of the file."""
        size: int = record["bytes"]
        entries = tuple((name, parse_type(type_), offset) for name, type_, offset in record["entries"])
        for name, type_, offset in entries:
            type_.concrete()  # or its bytes could not be counted
            if type_.is_opaque or type_.is_stored:
                raise InvalidModel(f"{name} is {type_}, which no library takes")
            if not LAYOUT <= offset <= size - DIGEST - _bytes(type_):
                raise InvalidModel(f"{name} lies at byte {offset} of {size}")
        return Packed(record["layout"], entries, size)


def packing(plan: _Plan, needs: Sequence[str] = ()) -> Packed:
    """Where the arguments of the library that was built by `plan` lie in its file. No weight is looked at.

    `needs` are the library's instruction sets: a C program that was built before it needed others does not know of them.
    """
    entries: list[tuple[str, TensorType, int]] = []
    at = LAYOUT
    for argument in plan.arguments:
        type_ = TensorType(argument.dtype, argument.shape)
        entries.append((argument.name, type_, at))
        at += -(-_bytes(type_) // ALIGNMENT) * ALIGNMENT
    interface = [f"{node.name} {node.type}" for node in (*plan.graph.inputs, *plan.graph.outputs)]
    text = "\n".join([*needs, *interface, *(f"{name} {type_} {offset}" for name, type_, offset in entries)])
    return Packed(hashlib.sha256(text.encode()).hexdigest(), tuple(entries), at + DIGEST)


def write_packed(plan: _Plan, path: Path, needs: Sequence[str] = ()) -> Packed:
    """Pack the graph's own weights into a new file, one at a time."""
    packed = packing(plan, needs)
    with path.open("wb") as file:
        file.writelines(packed_pieces(plan, packed))
    return packed


def packed_pieces(plan: _Plan, packed: Packed) -> Iterator[bytes | memoryview]:
    """The bytes of such a file, an argument at a time."""
    digest = hashlib.blake2b(digest_size=DIGEST)
    for piece in _pieces(plan, packed):
        digest.update(piece)
        yield piece
    yield digest.digest()


def _pieces(plan: _Plan, packed: Packed) -> Iterator[bytes | memoryview]:
    yield packed.layout.encode()
    at = LAYOUT
    for argument, (name, type_, offset) in zip(plan.arguments, packed.entries, strict=True):
        array = np.asarray(argument.make(_values), order="C")  # which keeps rank 0
        assert TensorType.of(array) == type_, name
        yield bytes(offset - at)
        yield np.ravel(array).view(np.uint8).data  # bytes: Python's buffers have no bfloat16
        at = offset + _bytes(type_)
    yield bytes(packed.size - DIGEST - at)


def packed_digest(path: Path) -> bytes:
    """Of all before it, which stands at the end of such a file."""
    with path.open("rb") as file:
        file.seek(-DIGEST, os.SEEK_END)
        return file.read()


def map_packed(path: Path, packed: Packed) -> list[Array]:
    """The arguments, read-only, as pages of the file.

    Raises: ArtifactError for a file that is not laid out so.
    """
    try:
        pages = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"'{shown(path)}' cannot be mapped into memory: {error}") from error
    return arrays_of(np.asarray(pages), packed, path)


def arrays_of(pages: Array, packed: Packed, path: Path) -> list[Array]:
    """The arguments in the bytes of such a file, which is called `path`. Raises: as `map_packed`."""
    if pages.size != packed.size or bytes(pages[:LAYOUT]) != packed.layout.encode():
        raise ArtifactError(f"'{shown(path)}' is laid out otherwise than the manifest says; compile the network again")
    return [pages[at : at + _bytes(type_)].view(DTYPES[type_.dtype]).reshape(type_.concrete()) for _, type_, at in packed.entries]


def mapped_arguments(path: Path, packed: Packed) -> list[Argument]:
    """The same as a library takes them: no parameter needs a value.

    Raises: as `map_packed`.
    """
    return as_arguments(packed, map_packed(path, packed))


def as_arguments(packed: Packed, arrays: Sequence[Array]) -> list[Argument]:
    return [_mapped(name, array) for (name, _, _), array in zip(packed.entries, arrays, strict=True)]


def _mapped(name: str, array: Array) -> Argument:
    return Argument(name, array.shape, TensorType.of(array).dtype, lambda values: array)


def _bytes(type_: TensorType) -> int:
    size = type_.nbytes
    assert isinstance(size, int)
    return size


def _values(node: Node) -> Array:
    assert node.weights is not None
    return node.weights.drawn()
