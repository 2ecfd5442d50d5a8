"""Engines that need a device: on the one that is here, or emulated, which is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...ir.errors import UsageError
from ..engines.engine import Engine
from ..engines.table import ON_DEVICES
from .console import Console

__all__ = ["emulate_option", "placed"]

F = TypeVar("F", bound=Callable[..., Any])


def emulate_option(command: F) -> F:
    return click.option("--emulate", is_flag=True, help=f"Emulate the device of {_emulated()} on the CPU even where there is one.")(command)


def placed(console: Console, engines: list[Engine], emulate: bool) -> list[Engine]:
    """The engines, or what stands in for those that cannot run here, with the reason; emulated ones where that is asked for.

    Raises: UsageError where emulation is asked for and none of them has it.
    """
    if emulate and not any(engine.stand_in and engine.stand_in.is_emulated for engine in engines):
        raise UsageError(f"--emulate is for a backend with a device of its own; name one with -b: {_emulated()}")
    return [_placed(console, engine, emulate) for engine in engines]


def _placed(console: Console, engine: Engine, emulate: bool) -> Engine:
    stand_in = engine.stand_in
    if stand_in is None:
        return engine
    reason = "emulation is asked for" if emulate and stand_in.is_emulated else engine.why_not_here()
    if not reason:
        return engine
    console.say(f"{engine.name}: {reason}; {stand_in.means}")
    return stand_in.engine


def _emulated() -> str:
    return " or ".join(name for name, engine in ON_DEVICES.items() if engine.stand_in and engine.stand_in.is_emulated)
