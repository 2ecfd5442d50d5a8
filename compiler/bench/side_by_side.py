"""What engines take for the same nodes. Each joins others into kernels, so that only what is joined by none of them can be told apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .layer_times import LayerTime

__all__ = ["SameNodes", "same_nodes"]


@dataclass(frozen=True, slots=True)
class SameNodes:
    """The least set of nodes that every engine computes apart from all others, with their kernels; or all kernels of one engine that move
    values into another layout and are called alike, without nodes. Units: `microseconds` a run of each engine that has kernels here.
    """

    nodes: list[str]
    kernels: dict[str, list[str]]
    microseconds: dict[str, float]


def same_nodes(profiles: Mapping[str, Sequence[LayerTime]]) -> list[SameNodes]:
    """Rows of the kernels of each engine, every kernel in one of them: in the order of the network, then what only moves."""
    import networkx as nx

    kernels = [(engine, place, layer) for engine, layers in profiles.items() for place, layer in enumerate(layers)]
    joined: nx.Graph[tuple[str, object]] = nx.Graph()
    moving: defaultdict[tuple[str, str], list[tuple[str, int, LayerTime]]] = defaultdict(list)
    for engine, place, layer in kernels:
        if layer.moves:
            moving[engine, layer.kernel].append((engine, place, layer))
            continue
        joined.add_edges_from(((engine, place), ("", name)) for name in layer.nodes)
    rows: list[SameNodes] = []
    for part in nx.connected_components(joined):
        own = [kernel for kernel in kernels if kernel[:2] in part]
        rows.append(_row(list(dict.fromkeys(name for *_, layer in own for name in layer.nodes)), own))
    return rows + [_row([], own) for own in moving.values()]


def _row(nodes: list[str], kernels: Sequence[tuple[str, int, LayerTime]]) -> SameNodes:
    names: defaultdict[str, list[str]] = defaultdict(list)
    times: defaultdict[str, float] = defaultdict(float)
    for engine, _, layer in kernels:
        names[engine].append(layer.kernel)
        times[engine] += layer.microseconds
    return SameNodes(nodes, dict(names), dict(times))
