"""The engines, a line each."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.errors import UsageError
from ...ir.suggest import did_you_mean
from .engine import Engine
from .onnxruntime import ONNXRUNTIME
from .peers import PEERS
from .reference import REFERENCE
from .tvm import TVM

__all__ = ["ENGINES", "engine_named", "engines_named", "measurable"]

ENGINES = {engine.name: engine for engine in (REFERENCE, ONNXRUNTIME, TVM)}


def measurable() -> dict[str, Engine]:
    """Ours, and those that they are measured against, where these are installed."""
    return ENGINES | PEERS


def engine_named(name: str, known: Mapping[str, Engine] = ENGINES) -> Engine:
    """Raises: UsageError, with the nearest name, for one that does not exist."""
    if name not in known:
        raise UsageError(f"unknown backend '{name}'" + did_you_mean(name, known, f"known are {', '.join(known)}"))
    return known[name]


def engines_named(names: str) -> list[Engine]:
    """Engines from a comma-separated list.

    Raises: as `engine_named`.
    """
    return [engine_named(name.strip()) for name in names.split(",")]
