"""How much an ONNX file may ask for before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIMITS", "Limits"]


@dataclass(frozen=True)
class Limits:
    """Caps on what an untrusted file holds or declares.

    Units: `file_bytes`, `external_bytes` (all external files together, and all external tensors together),
    `attribute_bytes` and `text_bytes` in bytes; `name_length` in characters; `elements` per tensor or declared shape;
    `nesting` counts subgraphs inside subgraphs; `messages` are those of protobuf, which take some 200 bytes of memory each
    however few they take in the file, and `fields` what stands in them; `packed_bytes` are integers of variable length, which take
    up to 16 times their bytes.
    """

    file_bytes: int = 2**31  # what protobuf itself can hold
    external_bytes: int = 2**36
    fields: int = 6_000_000
    messages: int = 3_000_000
    packed_bytes: int = 2**28
    nodes: int = 250_000
    initializers: int = 250_000
    operands: int = 65_536  # inputs, or outputs, or attributes of one node
    values: int = 1_000_000  # described inputs, outputs and intermediate values
    rank: int = 8
    elements: int = 2**31
    name_length: int = 2_048
    attribute_bytes: int = 2**24
    text_bytes: int = 2**24  # one doc string or metadata value
    nesting: int = 8


LIMITS = Limits()
