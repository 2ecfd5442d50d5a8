"""How pictures enter a network and what its classes are called, as `convc train` says it in the metadata of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...ir.errors import InvalidInput
from ...ir.graph import Graph
from ...ir.legible import legible

__all__ = ["IMAGENET", "KEY", "Entering", "class_name", "entering_of", "safetensors_metadata"]

KEY = "convc"
MOST = 1 << 20  # classes, or channels
LARGEST = 1e18  # a mean or a deviation, or one over a deviation: what float32 normalizes by such numbers is finite
LONGEST = 100 << 20  # bytes of a header; safetensors reads no longer one
SHOWN = 4


@dataclass(frozen=True, slots=True)
class Entering:
    """`mean` and `deviation` by channel, taken out of pixels from 0 to 1; `classes` in order, none where nobody named them."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: tuple[str, ...] = ()
    source: str = "the weights"

    @property
    def metadata(self) -> dict[str, str]:
        """For files that take texts by name: one entry, for of several a file has any order."""
        return {KEY: json.dumps({"mean": self.mean, "deviation": self.deviation, "classes": self.classes})}

    @property
    def line(self) -> str:
        """For people."""
        numbers = ", ".join(
            f"{what} {' '.join(f'{value:.4g}' for value in values[:SHOWN])}"
            for what, values in (("mean", self.mean), ("deviation", self.deviation))
        )
        return f"pictures are normalized by {numbers}" + (f"; {len(self.classes)} classes have names" if self.classes else "")


# Per-channel statistics that the common ImageNet checkpoints were trained with.
IMAGENET = Entering((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), source="ImageNet's statistics")


def entering_of(path: Path | None, graph: Graph) -> Entering | None:
    """What a .safetensors file of weights says; None where it says nothing of it, or is another file.

    Raises: InvalidInput where what it says cannot be, or is of as many channels as no picture that `graph` takes.
    """
    said = safetensors_metadata(path).get(KEY) if path is not None and path.suffix == ".safetensors" else None
    if said is None:
        return None
    try:
        found = json.loads(said, parse_int=float)  # a whole number may be one that no float holds: then it is infinite
        if not isinstance(found, dict) or "mean" not in found:
            return None
        return _checked(cast("dict[str, Any]", found), _channels(graph))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"'{path}' says in its metadata, under '{KEY}', how pictures enter, and that cannot be: {error}") from error


def _channels(graph: Graph) -> set[int]:
    """Of the pictures that it takes; none where it leaves them open."""
    found = [node.typed.shape[1] for node in graph.inputs if node.typed.rank == 4]
    return {dim for dim in found if isinstance(dim, int)} if all(isinstance(dim, int) for dim in found) else set()


def _checked(said: Mapping[str, Any], channels: set[int]) -> Entering:
    """Raises: ValueError, naming the key, for what is no mean, deviation and classes."""
    mean = _numbers(said, "mean", -LARGEST)
    deviation = _numbers(said, "deviation", 1 / LARGEST)
    if len(deviation) != len(mean):
        raise ValueError(f"'deviation' has {len(deviation)} numbers, and 'mean' {len(mean)}; expected one for each channel")
    if channels and len(mean) not in channels:
        takes = " or ".join(map(str, sorted(channels)))
        raise ValueError(f"'mean' has {len(mean)} numbers, and the network takes pictures of {takes} channels; expected one for each")
    classes = _listed(said, "classes", "texts") if "classes" in said else []
    if (odd := next((name for name in classes if not isinstance(name, str)), None)) is not None:
        raise ValueError(f"'classes' has {legible(odd)}, which is no text")
    return Entering(mean, deviation, tuple(classes))


def _numbers(said: Mapping[str, Any], key: str, least: float) -> tuple[float, ...]:
    """One for each channel."""
    values = _listed(said, key, "numbers, one for each channel")
    for value in values:
        if not isinstance(value, float) or not least <= value <= LARGEST:
            raise ValueError(f"'{key}' has {legible(value)}, expected a number from {least:g} to {LARGEST:g}")
    if not values:
        raise ValueError(f"'{key}' is empty, expected a number for each channel")
    return tuple(values)


def _listed(said: Mapping[str, Any], key: str, of: str) -> list[Any]:
    if key not in said:
        raise ValueError(f"'{key}' is missing, expected a list of {of}")
    values = said[key]
    if not isinstance(values, list):
        raise ValueError(f"'{key}' is {legible(values)}, expected a list of {of}")
    if len(found := cast("list[Any]", values)) > MOST:
        raise ValueError(f"'{key}' has {len(found):,} entries, expected at most {MOST:,}")
    return found


def class_name(index: int, classes: Sequence[str]) -> str:
    return f"class {index}" + (f" ({legible(classes[index])})" if index < len(classes) else "")


def safetensors_metadata(path: Path) -> dict[str, str]:
    """What the header says beside its tensors; nothing of a damaged file. The format begins with the header's length in 8 bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(min(length, path.stat().st_size, LONGEST))
    try:
        said = json.loads(text).get("__metadata__", {})
        return {str(name): str(value) for name, value in said.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}
