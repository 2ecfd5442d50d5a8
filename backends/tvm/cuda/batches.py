"""Which batches a network is compiled for on a GPU: there the sizes of a kernel decide how it is cut, and what is known can be captured."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.apart import joining_node, the_batch
from ....ir.binding import batch_names, specialize
from ....ir.errors import UsageError
from ....ir.graph import Graph

__all__ = ["BATCHES", "at_batch", "fixed_batches", "how_it_runs"]

BATCHES = (1, 8, 32, 256)
NO_NAME = (0,)  # of a network whose batch, if it has one, is a number
MOST = 1 << 20  # images


def fixed_batches(graph: Graph, asked: Sequence[int] | None = None) -> tuple[int, ...] | None:
    """Those asked for, or the usual ones, in rising order. None where other sizes have names too: the library then takes any.

    Raises: UsageError for batches that cannot be, or of a network that has no named batch.
    """
    if asked is not None and (not asked or not all(0 < batch <= MOST for batch in asked)):
        raise UsageError(f"--batches {','.join(map(str, asked))}: each is from 1 to {MOST:,} images")
    if twice := next((batch for place, batch in enumerate(asked or ()) if batch in (asked or ())[:place]), None):
        raise UsageError(f"--batches {','.join(map(str, asked or ()))}: {twice} is given twice; give it once")
    name = the_batch(graph)
    if name is None and asked is not None:
        why = _why_any(graph) or "here every size is a number; leave it out"
        raise UsageError(f"--batches is for a network whose batch is its only named size; {why}")
    if name is None:
        return None if graph.symbols else NO_NAME
    return tuple(sorted(set(asked or BATCHES)))


def _why_any(graph: Graph) -> str:
    """Why a library takes any sizes, so that nothing can be captured; empty where it is made for some."""
    if not graph.symbols or the_batch(graph):
        return ""
    batch = ", ".join(sorted(batch_names(graph))) or "none"
    return f"the named sizes are {', '.join(sorted(graph.symbols))}, and those of a batch are {batch}"


def at_batch(graph: Graph, batch: int) -> Graph:
    """The network for so many images, of which 0 stands for what it has."""
    name = the_batch(graph)
    return specialize(graph, {name: batch}) if name and batch else graph


def how_it_runs(graph: Graph, batches: Sequence[int] | None, cuda_graph: bool) -> str:
    """For people: how many launches a run takes, and why not one."""
    if batches is None:
        return f"a run launches each kernel by itself, for it takes any sizes: {_why_any(graph)}"
    launches = "is one launch, of a CUDA graph" if cuda_graph else "launches each kernel by itself (--no-cuda-graph)"
    name = the_batch(graph)
    if name is None:
        return f"a run {launches}"
    node = joining_node(graph, name)
    among = f", no other: images may depend on each other at {node.where}" if node else ", others among them"
    return f"a run {launches}; for batches of {', '.join(map(str, batches))}{among}"
