"""`cc.summary(network)`: the table of `convc summary`, to look at in a prompt or a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.binding import need_elements
from ...ir.graph import Graph
from ...ir.plot import AFTER, Plot, named_places, panels, scale_of
from ...ir.shown import html_lines, html_table, text_table
from ...ir.usual_sizes import counting_sizes
from .layer_table import Figure, LayerTable, layer_table
from .text import count

__all__ = ["NetworkSummary", "summary"]

HEADINGS = ("layer", "output", "memory", "parameters", "multiply-adds", "name")
SUMS = {"macs": "multiply-adds", "params": "parameters", "memory": "values of activations"}  # by the key of a total


@dataclass(frozen=True, repr=False)
class NetworkSummary:
    """A line per layer and totals, per image. `table` has the figures; `sizes` are the numbers that stand for named sizes."""

    name: str
    table: LayerTable
    sizes: Mapping[str, int]

    @property
    def totals(self) -> Mapping[str, Figure]:
        """By name: memory (values), memory_bytes, weights, biases, params, trainable, weight_bytes, macs, flops."""
        return self.table.totals

    def rows(self) -> list[tuple[str, ...]]:
        """As they are shown."""
        return [(line.layer, line.output, line.memory_text, line.weights_text, _figure(line.macs), line.name) for line in self.table.lines]

    @property
    def lines(self) -> list[str]:
        """The totals in words."""
        at = f", where {', '.join(f'{name}={size}' for name, size in self.sizes.items())}" if self.sizes else ""
        totals = self.totals
        return [
            f"{_figure(totals['memory'], exact=True)} values of activations an image{at}",
            f"{_figure(totals['params'], exact=True)} parameters, {_figure(totals['weight_bytes'], exact=True)} bytes",
            f"{_figure(totals['macs'], exact=True)} multiply-adds, {_figure(totals['flops'], exact=True)} FLOPs an image{at}",
        ]

    def __repr__(self) -> str:
        return "\n".join([f"@{self.name}", text_table(self.rows(), HEADINGS, most=None), *self.lines])

    def _repr_html_(self) -> str:
        return html_table(self.rows(), HEADINGS, f"@{self.name}", most=None) + html_lines(self.lines)

    def plot(self) -> Plot:
        """Multiply-adds, parameters and memory of each layer, an image: mostly the first convolutions have the memory, the last layers the
        parameters. What has no number, for a size that only has a name, has no bar.

        Raises: BackendMissing where matplotlib is not here.
        """
        lines = self.table.lines
        work, memory = [_bar(line.macs) for line in lines], [_bar(line.memory_bytes) for line in lines]
        params = [line.weights + line.biases for line in lines]
        bars = (("{}multiply-adds", work, False), ("{}parameters", params, False), ("{} of its result", memory, True))
        figures = [f"{_figure(self.totals[key])} {what}" for key, what in SUMS.items()]
        plot, axes = panels(f"@{self.name}: {', '.join(figures)}", [1.9] * len(bars))
        for each, (label, heights, of_bytes) in zip(axes, bars, strict=True):
            unit, word = scale_of(max(heights, default=0), of_bytes=of_bytes)
            each.bar(range(len(lines)), [height / unit for height in heights], color=AFTER)
            each.set(ylabel=label.format(word), xticks=[])
            each.margins(x=0.01)
        named_places(axes[-1].xaxis, [line.name for line in lines])
        return plot


def summary(graph: Graph, every: bool = False) -> NetworkSummary:
    """A line per layer: output, memory, parameters, multiply-adds; and totals, all per image.

    graph: the network.
    every: also activations and reshapes, which need no memory of their own.

    Rows, columns and lengths that have only a name are counted at numbers that fit. No weights are made.

    Raises: UsageError for an input of no elements.
    """
    need_elements(graph, "count for an image")
    sizes = counting_sizes(graph)
    return NetworkSummary(graph.name, layer_table(graph, every=every, sizes=sizes), sizes)


def _figure(figure: Figure, *, exact: bool = False) -> str:
    if not isinstance(figure, int):
        return "-" if figure is None else str(figure)
    return f"{figure:,}" if exact else count(figure)


def _bar(figure: Figure) -> int:
    return figure if isinstance(figure, int) else 0
