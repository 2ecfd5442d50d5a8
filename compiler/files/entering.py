"""How pictures enter a network and what its classes are called, as `convc train` says it in the metadata of weights."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...ir.errors import InvalidInput
from ...ir.legible import legible

__all__ = ["KEY", "Entering", "entering_of", "safetensors_metadata"]

KEY = "convc"
MOST = 1 << 20  # classes, or channels
SHOWN = 4


@dataclass(frozen=True, slots=True)
class Entering:
    """`mean` and `deviation` by channel, taken out of pixels from 0 to 1; `classes` in order, none where nobody named them."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: tuple[str, ...] = ()

    @property
    def metadata(self) -> dict[str, str]:
        """For files that take texts by name: one entry, for of several a file has any order."""
        return {KEY: json.dumps({"mean": self.mean, "deviation": self.deviation, "classes": self.classes})}

    def class_name(self, index: int) -> str:
        return f"class {index}" + (f" ({legible(self.classes[index])})" if index < len(self.classes) else "")

    @property
    def line(self) -> str:
        """For people."""
        numbers = ", ".join(
            f"{what} {' '.join(f'{value:.4g}' for value in values[:SHOWN])}"
            for what, values in (("mean", self.mean), ("deviation", self.deviation))
        )
        return f"pictures are normalized by {numbers}" + (f"; {len(self.classes)} classes have names" if self.classes else "")


def entering_of(path: Path | None) -> Entering | None:
    """What a .safetensors file of weights says; None where it says nothing of it, or is another file.

    Raises: InvalidInput where what it says cannot be.
    """
    said = safetensors_metadata(path).get(KEY) if path is not None and path.suffix == ".safetensors" else None
    if said is None:
        return None
    try:
        found = json.loads(said)
        if not isinstance(found, dict) or "mean" not in found:
            return None
        return _checked(cast("dict[str, Any]", found))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"'{path}' says in its metadata how pictures enter, and that cannot be: {error}") from error


def _checked(said: dict[str, Any]) -> Entering:
    """Raises: KeyError, TypeError, ValueError for what is no mean, deviation and classes."""
    mean, deviation = (tuple(float(value) for value in said[name]) for name in ("mean", "deviation"))
    classes = tuple(said.get("classes", ()))
    if len(mean) != len(deviation) or not 0 < len(mean) <= MOST or len(classes) > MOST:
        raise ValueError(f"{len(mean)} means, {len(deviation)} deviations and {len(classes)} classes")
    if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in deviation):
        raise ValueError("a mean that is not finite, or a deviation that is not above 0")
    if not all(isinstance(name, str) for name in classes):
        raise ValueError("a class whose name is no text")
    return Entering(mean, deviation, classes)


def safetensors_metadata(path: Path) -> dict[str, str]:
    """What the header says beside its tensors; nothing of a damaged file. The format begins with the header's length in 8 bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(min(length, path.stat().st_size))
    try:
        said = json.loads(text).get("__metadata__", {})
        return {str(name): str(value) for name, value in said.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}
