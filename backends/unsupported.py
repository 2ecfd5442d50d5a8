"""What a backend's table holds for an op that it cannot express."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Unsupported"]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A gap that somebody decided on; `why` ends the sentence "cannot be lowered: ..."."""

    why: str
