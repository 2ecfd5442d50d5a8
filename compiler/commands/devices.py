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
    return click.option(
        "--emulate", is_flag=True, help=f"Emulate the device of {' or '.join(ON_DEVICES)} on the CPU even where there is one."
    )(command)


def placed(console: Console, engines: list[Engine], emulate: bool) -> list[Engine]:
    """The engines, emulated where their device is not here or where that is asked for.

    Raises: UsageError where emulation is asked for and none of them has it.
    """
    if emulate and not any(engine.emulated for engine in engines):
        raise UsageError(f"--emulate is for a backend with a device of its own; name one with -b: {', '.join(ON_DEVICES)}")
    return [_placed(console, engine, emulate) for engine in engines]


def _placed(console: Console, engine: Engine, emulate: bool) -> Engine:
    if engine.emulated is None or (not emulate and engine.is_here()):
        return engine
    reason = "emulation is asked for" if emulate else "no GPU is here"
    console.say(f"{engine.name}: {reason}; its kernels are executed on the CPU, which shows whether they are right and not how fast")
    return engine.emulated
