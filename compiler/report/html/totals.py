"""What the graphs of a trace cost, and how long they are estimated to take: every node once, as most are in most graphs."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir.graph import Graph, Node
from ....ir.op import Cost
from ....passes.analysis.cost import graph_cost
from ....passes.analysis.prices import Prices

__all__ = ["Totals", "is_typed"]


class Totals:
    """Of graphs at these numbers for named sizes. `costs` are those of nodes that were counted at them before."""

    def __init__(self, sizes: Mapping[str, int], costs: dict[Node, Cost]) -> None:
        self.sizes, self.costs = sizes, costs
        self._prices: Prices | None = None
        self._seconds: dict[Node, float] = {}

    def of(self, graph: Graph, prices: Prices | None) -> dict[str, int | float] | None:
        """None of a graph without types. `estimated` are seconds by these prices, as passes reckon with them."""
        if not is_typed(graph):
            return None
        cost = graph_cost(graph, self.sizes, self.costs)
        totals: dict[str, int | float] = {
            "macs": cost.macs,
            "flops": cost.flops,
            "params": cost.params,
            "weightBytes": cost.weight_bytes,
            "bytesMoved": cost.bytes_moved,
        }
        return totals if prices is None else totals | {"estimated": self._estimated(graph, prices)}

    def _estimated(self, graph: Graph, prices: Prices) -> float:
        if prices != self._prices:  # with other numbers for named sizes
            self._prices, self._seconds = prices, {}
        known = self._seconds
        for node in graph.ops:
            if node not in known:
                known[node] = prices.seconds(node)
        return sum(known[node] for node in graph.ops)


def is_typed(graph: Graph) -> bool:
    return all(node.type is not None for node in graph.nodes)
