"""A step of training in less memory: what `--memory` of the commands that make one does."""

from __future__ import annotations

from ...ir.binding import batch_names
from ...ir.graph import Graph
from ...passes.recompute import Recomputed, recompute_within

__all__ = ["BATCH", "step_within", "words_of"]

BATCH = 16  # images, where nobody says how many; `convc train` takes as many at a time


def step_within(step: Graph, share: float, batch: int | None = None) -> Recomputed:
    """The step, its peak at most that share of what it is for so many images. Raises: as `recompute_within`."""
    return recompute_within(step, share, dict.fromkeys(batch_names(step), batch or BATCH))


def words_of(found: Recomputed, step: Graph, batch: int | None = None) -> str:
    """For people; of how many images, where the network leaves that open."""
    return f"for batches of {batch or BATCH}: {found.line}" if batch_names(step) else found.line
