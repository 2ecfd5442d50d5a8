"""Kernels that are compiled on the way, and that no cache takes: the next run waits for them again."""

from __future__ import annotations

from collections.abc import Iterable

from ...backends.tvm.store.cache import usable_cache
from ..engines.engine import Engine
from .console import Console

__all__ = ["say_unkept"]


def say_unkept(console: Console, engines: Iterable[Engine]) -> None:
    """Why none are kept of a network that these engines start, where a cache is asked for and cannot be used."""
    if any(engine.compiles for engine in engines) and (obstacle := usable_cache()[1]):
        console.say(f"kernels are not kept: {obstacle}")
