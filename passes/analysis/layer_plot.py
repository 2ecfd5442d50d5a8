"""Work and memory of a network by layer, as a plot: as it came, and what passes made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...ir.graph import Graph, Node
from ...ir.plot import ABOVE, AFTER, BEFORE, Plot, named_places, panels, scale_of
from .cost import graph_cost, node_cost, numbered
from .memory import plan_memory

__all__ = ["layer_plot"]

Bars = dict[str, tuple[float, float]]  # by layer: multiply-adds, bytes of its result
HEIGHT = 2.4  # inches


def layer_plot(before: Graph, after: Graph, sizes: Mapping[str, int]) -> Plot:
    """Multiply-adds of each layer above, and bytes of its result below, in the order of `before`; layers of which a pass made one stand
    together, where the first of them stood. Both at these `sizes`, a named size without a number as 1.

    Raises: BackendMissing where matplotlib is not here.
    """
    numbers = {**dict.fromkeys((*before.symbols, *before.found_symbols, *after.symbols, *after.found_symbols), 1), **sizes}
    graphs = (before, after) if after is not before else (before,)
    bars = [_bars(graph, numbers) for graph in graphs]
    places = _places(*graphs)
    shown = [name for name in dict.fromkeys(places.values()) if any(any(each.get(name, (0, 0))) for each in _placed(bars, places))]
    plot, (work, memory) = panels(_title(graphs, numbers), (HEIGHT, HEIGHT))
    for axes, which, label in ((work, 0, "multiply-adds"), (memory, 1, " of its result")):
        most = max((own[name][which] for own in _placed(bars, places) for name in own), default=0.0)
        scale, word = scale_of(most, of_bytes=which == 1)
        for number, (own, colour) in enumerate(zip(_placed(bars, places), (BEFORE, AFTER), strict=False)):
            width = 0.8 / len(graphs)
            at = [place + width * (number - (len(graphs) - 1) / 2) for place in range(len(shown))]
            heights = [own.get(name, (0.0, 0.0))[which] / scale for name in shown]
            axes.bar(at, heights, width, color=colour, label=("as it came", "after the passes")[number])
        axes.set_ylabel(word + label)
        axes.margins(x=0.01)
    work.set_xticks([])
    named_places(memory.xaxis, shown)
    if len(graphs) > 1:
        work.legend(**ABOVE)
    return plot


def _bars(graph: Graph, sizes: Mapping[str, int]) -> Bars:
    """What a view or an activation gives has no memory of its own, as in the tables of layers."""
    found: Bars = {}
    for node in graph.ops:
        is_in_place = node.kind.facts.activation or node.kind.facts.is_view
        nbytes = 0 if is_in_place else numbered(node.typed, sizes).nbytes
        found[node.name] = _number(node_cost(node, sizes).macs), _number(nbytes)
    return found


def _places(before: Graph, after: Graph | None = None) -> dict[str, str]:
    """By layer of either graph the one of `before` at which it stands: the first that it, or what has its name in `after`, was made of;
    for one that is new the last before it.
    """
    order = {node.name: place for place, node in enumerate(before.ops)}
    found = {name: name for name in order}
    last = next(iter(order), "")
    for node in () if after is None else after.ops:
        last = found[node.name] = min(_sources(node, order), key=order.__getitem__, default=last)
    return found


def _sources(node: Node, order: Mapping[str, int]) -> list[str]:
    return [name for name in (*node.origin.made_from, node.name) if name in order]


def _placed(bars: Sequence[Bars], places: Mapping[str, str]) -> list[Bars]:
    """The same, each layer's figures at its place; of several at one place their sums."""
    found: list[Bars] = []
    for own in bars:
        sums: Bars = {}
        for name, (macs, nbytes) in own.items():
            was = sums.get(places[name], (0.0, 0.0))
            sums[places[name]] = was[0] + macs, was[1] + nbytes
        found.append(sums)
    return found


def _title(graphs: Sequence[Graph], sizes: Mapping[str, int]) -> str:
    macs = _change([graph_cost(graph, sizes).macs for graph in graphs])
    arenas = _change([plan_memory(graph, sizes, searched=False).arena for graph in graphs], of_bytes=True)
    return f"@{graphs[0].name}: {macs}multiply-adds, {arenas} of activations at once"


def _change(figures: Sequence[int], *, of_bytes: bool = False) -> str:
    """Before and after in the unit of the larger; one figure where nothing changed."""
    scale, word = scale_of(max(figures), of_bytes=of_bytes)
    return f"{' -> '.join(f'{figure / scale:,.4g}' for figure in dict.fromkeys(figures))} {word}"


def _number(figure: object) -> float:
    return float(figure) if isinstance(figure, int) else 0.0
