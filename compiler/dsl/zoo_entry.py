"""A network of the zoo: where it was published, and what other people's weights call its layers.

It carries a `Checkpoint`, a visible table from the modules of the common PyTorch checkpoints to its own layers, or `Differs`,
which says why those weights would give other answers here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .network import Network

__all__ = ["Checkpoint", "CheckpointRow", "Differs", "ZooEntry"]


class CheckpointRow(NamedTuple):
    """Their module and our layer. A batch norm of ours `absorbs` the bias of their convolution before it."""

    theirs: str
    ours: str
    absorbs: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """The names of the common PyTorch checkpoints: `ignored` are prefixes of heads used in training alone,
    `older` spellings that early files have and the present ones, `parameters` what a module has by names of its own, and our parameters."""

    rows: tuple[CheckpointRow, ...]
    ignored: tuple[str, ...] = ()
    older: tuple[tuple[str, str], ...] = ()
    parameters: tuple[CheckpointRow, ...] = ()


@dataclass(frozen=True)
class Differs:
    """Why the common checkpoints would give other answers in this network, and what to do instead."""

    why: str


@dataclass(frozen=True)
class ZooEntry:
    """A published network: its definition, the paper, the options of its smallest sensible form for quick checks, and
    the names that the common PyTorch checkpoints have for its layers."""

    network: Network
    source: str
    small: Mapping[str, Any]
    checkpoint: Checkpoint | Differs | None = None
