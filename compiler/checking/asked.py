"""Held to a tolerance that somebody asks for, where one that is derived will not do: the verdict says whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...ir.types import Array
from .oracle import Agreement, Oracle, compare

__all__ = ["AskedTolerance"]


@dataclass(frozen=True, slots=True)
class AskedTolerance:
    """Each element may be off by `atol` and by `rtol` of its own size."""

    rtol: float = 0.0
    atol: float = 0.0

    def __str__(self) -> str:
        return f"tolerance that was asked for, rtol {self.rtol:g} and atol {self.atol:g}"

    def hold(self, label: str, exact: Mapping[str, Array], results: Mapping[str, Array]) -> list[Agreement]:
        """A line for each output of `results`, held to the float64 ones. Raises: Mismatch for one of another shape."""
        known = {name: value for name, value in exact.items() if value.dtype != object}  # what another runtime alone can look into
        tolerance = {name: self.atol + self.rtol * np.where(np.isfinite(value), abs(value), 0) for name, value in known.items()}
        return [replace(line, by=str(self)) for line in compare(label, Oracle(known, tolerance), results)]
