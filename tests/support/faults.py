"""Faults planted in engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from convc.compiler.engines.engine import Engine
from convc.ir.types import Array


def spoilt(engine: Engine, victim: str, spoil: Callable[[Array], Array]) -> Engine:
    """An engine whose result for one node is wrong, and what follows from it right."""

    def capture(*words: Any) -> Any:
        for name, value in engine.capture(*words):
            yield name, spoil(value.copy()) if name == victim else value

    return replace(engine, capture=capture)
