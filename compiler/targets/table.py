"""The targets, a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ir.errors import UsageError
from .cpu import CPU
from .cuda import CUDA
from .fields import WrongField
from .options import PRECISIONS
from .target import Built, Target

__all__ = ["TARGETS", "built_of", "need_precision", "target_named"]

TARGETS = {target.name: target for target in (CPU, CUDA)}


def target_named(name: str) -> Target:
    """Raises: UsageError for one that does not exist, be it the kind of machine after the colon."""
    base, colon, model = name.partition(":")
    known = [each for base, target in TARGETS.items() for each in (base, *(f"{base}:{model}" for model in target.models))]
    if name not in known and (near := next((each for each in known if _plain(each) == _plain(name)), None)):
        raise UsageError(f"unknown target '{name}'; did you mean '{near}'?")
    if base not in TARGETS:
        raise UsageError(f"unknown target '{name}'; known are {', '.join(TARGETS)}")
    target = TARGETS[base]
    if colon and model not in target.models:
        kinds = f"known are {', '.join(f'{base}:{each}' for each in target.models)}" if target.models else f"{base} has no kinds"
        raise UsageError(f"unknown target '{name}'; {kinds}")
    return target


def _plain(name: str) -> str:
    """Without what people write otherwise: sm_90a as SM90a, or 90a."""
    return name.lower().replace("_", "").replace("-", "").replace("sm", "")


def need_precision(name: str, precision: str) -> None:
    """Raises: UsageError for one that does not exist, or that the target named so has no kernels for."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'; known are {', '.join(PRECISIONS)}")
    if precision not in target_named(name).precisions:
        able = ", ".join(target.name for target in TARGETS.values() if precision in target.precisions)
        way_out = f"-t {able} computes in {precision}" + (
            f", and convc export --precision {precision} writes it for other runtimes" if precision in ("fp16", "bf16") else ""
        )
        raise UsageError(f"target '{name}' has kernels of float32 alone, and {precision} would be slower there; {way_out}")


def built_of(record: Mapping[str, Any]) -> Built:
    """What a manifest says was built.

    Raises: WrongField naming what is missing or cannot be.
    """
    kind: Any = record.get("kind")
    if not isinstance(kind, str) or kind not in TARGETS:
        raise WrongField("kind")
    return TARGETS[kind].of(record)
