"""The engines, a line each."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.errors import UsageError
from ...ir.suggest import did_you_mean
from .cuda import CUDA_ENGINE
from .engine import Engine
from .onnxruntime import ONNXRUNTIME, ONNXRUNTIME_CUDA
from .peers import PEERS
from .reference import REFERENCE
from .tvm import TVM

__all__ = ["ENGINES", "ON_DEVICES", "engine_named", "engines_named", "known_engines", "measurable"]

ENGINES = {engine.name: engine for engine in (REFERENCE, ONNXRUNTIME, TVM)}
ON_DEVICES = {engine.name: engine for engine in (CUDA_ENGINE, ONNXRUNTIME_CUDA)}  # which run where they are asked for


def known_engines() -> dict[str, Engine]:
    """Ours."""
    return ENGINES | ON_DEVICES


def measurable() -> dict[str, Engine]:
    """Ours, and those that they are measured against, where these are installed."""
    return known_engines() | PEERS


def engine_named(name: str, known: Mapping[str, Engine] | None = None) -> Engine:
    """Raises: UsageError, with the nearest name, for one that does not exist."""
    known = known_engines() if known is None else known
    if name not in known:
        raise UsageError(f"unknown backend '{name}'" + did_you_mean(name, known, f"known are {', '.join(known)}"))
    return known[name]


def engines_named(names: str) -> list[Engine]:
    """Engines from a comma-separated list.

    Raises: as `engine_named`.
    """
    return [engine_named(name.strip()) for name in names.split(",")]
