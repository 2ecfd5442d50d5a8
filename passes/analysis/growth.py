"""What constants would add to a file if they were written out: a small weight spread over an image, a table written once a reader."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from ...ir.graph import Graph, Node
from ...ir.weights import FILLED

__all__ = ["SLACK_BYTES", "swells"]

SLACK_BYTES = 2 << 10  # of one file, whatever its size
SLACK_SHARE = 32  # or a part of its parameters
OPERATOR_BYTES = 160  # of one node, with the names of its operands
SHARED = 8  # results that a parameter may end in and still be told to go
ROUNDS = 8


def swells(graph: Graph, constant: AbstractSet[Node]) -> dict[Node, str]:
    """Of the nodes that depend on parameters alone those that are better left as they are, and why.

    A result that somebody reads who is no constant is written in full, and the parameters that lead nowhere else are not any more.
    What it adds beyond that, and beyond the operators that go, may come to SLACK_BYTES, or to a share of all parameters. Where one is
    left, its operands are results that somebody reads, and are judged anew; after ROUNDS of that they are taken.
    """
    slack = max(SLACK_BYTES, sum(_stored(node) for node in graph.params) // SLACK_SHARE)
    left: dict[Node, str] = {}
    for _ in range(ROUNDS):
        growth = _growth(graph, constant, left)
        over = _beyond(growth, slack)
        if not over:
            break
        left |= {node: f"it would add {growth[node]:,} bytes to a file" for node in over}
    return left


def _beyond(growth: dict[Node, int], slack: int) -> list[Node]:
    """Those that do not fit into the slack, the least first."""
    over: list[Node] = []
    for node, more in sorted(growth.items(), key=lambda item: item[1]):
        if 0 < more <= slack:
            slack -= more
        elif more > 0:
            over.append(node)
    return over


def _growth(graph: Graph, constant: AbstractSet[Node], left: dict[Node, str]) -> dict[Node, int]:
    """Bytes that each result adds: its own, without its part in the operators and parameters that nothing else needs."""
    ends = _ends(graph, constant, left)
    growth = {node: _stored(node) for node, own in ends.items() if node in constant and own is not None and node in own}
    for node, own in ends.items():
        for end in own or ():
            growth[end] -= (OPERATOR_BYTES if node.inputs else _stored(node)) // len(own or ())
    return growth


def _ends(graph: Graph, constant: AbstractSet[Node], left: dict[Node, str]) -> dict[Node, frozenset[Node] | None]:
    """The results that a parameter or a constant ends in, itself perhaps; None for one that somebody else reads, or very many do."""
    outputs, ends = set(graph.outputs), dict[Node, frozenset[Node] | None]()
    for node in reversed(graph.nodes):
        is_folded = node in constant and node not in left
        readers = graph.readers[node]
        inner = [reader for reader in readers if reader in constant and reader not in left]
        if not is_folded and (node in outputs or len(inner) < len(readers)):
            ends[node] = None  # stays, whoever else reads it
        elif is_folded and (node in outputs or len(inner) < len(readers)):
            ends[node] = frozenset({node})
        else:
            ends[node] = _joined([ends[reader] for reader in inner])
    return ends


def _joined(several: list[frozenset[Node] | None]) -> frozenset[Node] | None:
    known = [each for each in several if each is not None]
    joined = frozenset[Node]().union(*known)
    return joined if len(known) == len(several) and len(joined) <= SHARED else None


def _stored(node: Node) -> int:
    """Bytes in a file."""
    if node.weights is not None and node.weights.recipe.init in FILLED:
        return 0
    return size if isinstance(size := node.typed.nbytes, int) else 0
