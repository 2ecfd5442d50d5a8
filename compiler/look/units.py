"""Which value, which of its units, which class is meant: names and numbers that a user gives, held to what a network has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.errors import InvalidModel, UsageError
from ...ir.graph import Graph, Node
from ...ir.legible import legible, quoted
from ...ir.ops.activation import LOG_SOFTMAX, SIGMOID, SOFTMAX
from ...ir.ops.leaf import PARAM
from ...ir.ops.shape import RESHAPES
from ...ir.suggest import did_you_mean

__all__ = ["Unit", "class_named", "image_of", "last_map", "layer_named", "maps_of", "need_place", "need_unit", "score_of", "scored"]

UnitPlace = tuple[int, ...]  # of a unit in its channel: row and column
SPREADS = (SOFTMAX, LOG_SOFTMAX, SIGMOID)  # after which a score depends on those of other classes, or is flat


@dataclass(frozen=True, slots=True)
class Unit:
    """One channel of a value; `at` is the unit's place in it, or None for where it is strongest."""

    layer: str
    channel: int
    at: UnitPlace | None = None


def image_of(graph: Graph) -> Node:
    """The one input, a picture [N,C,H,W].

    Raises: InvalidModel for a network that takes something else.
    """
    pictures = [node for node in graph.inputs if node.typed.rank == 4 and node.typed.is_float]
    if len(graph.inputs) != 1 or not pictures:
        has = ", ".join(f"{legible(node.name)}: {node.type}" for node in graph.inputs) or "none"
        raise InvalidModel(
            f"@{legible(graph.name)} takes {has}; to look inside, it must take one picture, [N,C,H,W] of floats, and nothing else"
        )
    return pictures[0]


def layer_named(graph: Graph, name: str) -> Node:
    """The value of that name, computed from the picture.

    Raises: UsageError for one that does not exist, with the nearest names, and for a parameter.
    """
    computed = {node.name: node for node in graph.ops}
    if name not in computed:
        if name in graph.by_name:
            kind = "a parameter" if graph.by_name[name].kind is PARAM else "the input"
            raise UsageError(
                f"%{legible(name)} is {kind} of @{legible(graph.name)}, and no layer" + did_you_mean(name, computed, widely=True)
            )
        otherwise = "`convc summary MODEL --all` lists them" if computed else "it computes nothing"
        raise UsageError(
            f"@{legible(graph.name)} has no layer {quoted(name)}" + did_you_mean(name, map(legible, computed), otherwise, widely=True)
        )
    return computed[name]


def maps_of(graph: Graph, name: str) -> Node:
    """A layer whose units lie in maps, [N,C,H,W].

    Raises: UsageError for another.
    """
    node = layer_named(graph, name)
    if node.typed.rank != 4 or not node.typed.is_float:
        raise UsageError(
            f"%{legible(name)} is {node.type}, which has no maps of units; name a layer of [N,C,H,W], such as {_some_maps(graph)}"
        )
    return node


def _some_maps(graph: Graph) -> str:
    names = [legible(node.name) for node in graph.ops if node.typed.rank == 4]
    return f"'{names[-1]}'" if names else "none of this network"


def last_map(graph: Graph, scores: Node) -> Node:
    """The last value with more than one place to see, of which the scores are made.

    Raises: UsageError where there is none.
    """
    before = Graph.of(graph.name, graph.inputs, [scores], graph.nodes)
    for node in reversed(list(before.ops)):
        if node is not scores and node.typed.rank == 4 and node.typed.is_float and any(dim != 1 for dim in node.typed.shape[2:]):
            return node
    raise UsageError(
        f"@{legible(graph.name)} has no layer of maps, [N,C,H,W], before its scores, %{legible(scores.name)}; "
        "there is nothing to lay over a picture"
    )


def need_unit(node: Node, channel: int) -> None:
    """Raises: UsageError for a channel that the value does not have."""
    if node.typed.rank < 2:
        raise UsageError(f"%{legible(node.name)} is {node.type}, which has no channels on axis 1")
    channels = node.typed.shape[1]
    if isinstance(channels, int) and not 0 <= channel < channels:
        raise UsageError(f"%{legible(node.name)} has no unit {channel}; its {channels} units are 0 to {channels - 1}")


def need_place(node: Node, at: UnitPlace) -> None:
    """Raises: UsageError for a place that the channels of the value do not have."""
    sizes = node.typed.shape[2:]
    if len(at) != len(sizes):
        raise UsageError(
            f"%{legible(node.name)} is {node.type}; a place in it is {len(sizes)} numbers, and {','.join(map(str, at))} is {len(at)}"
        )
    for axis, (place, size) in enumerate(zip(at, sizes, strict=True)):
        if isinstance(size, int) and not 0 <= place < size:
            what = ("row", "column")[axis] if len(sizes) == 2 else "place"
            raise UsageError(f"%{legible(node.name)} has no {what} {place}; it has {size}, 0 to {size - 1}")


def score_of(graph: Graph) -> Node:
    """The scores of the classes, [N,classes], before a softmax over them.

    Raises: UsageError for a network that gives no scores.
    """
    scores = [node for node in graph.outputs if node.typed.is_float and 2 <= node.typed.rank <= 4]
    if not scores:
        gives = ", ".join(f"{legible(node.name)}: {node.type}" for node in graph.outputs) or "nothing"
        raise UsageError(f"@{legible(graph.name)} gives {gives}, and no score for each of some classes, [N,classes]")
    node = scores[0]
    while node.kind in (*SPREADS, *RESHAPES) and node.inputs[0].typed.rank >= 2 and _keeps_classes(node):
        node = node.inputs[0]
    return node


def scored(scores: Node, value: float) -> str:
    """One number for a class, in words: of scores for each place it is their mean."""
    sizes = scores.typed.shape[2:]
    return f"score {value:.4g}" if all(size == 1 for size in sizes) else f"mean score {value:.4g} of {'x'.join(map(str, sizes))} places"


def _keeps_classes(node: Node) -> bool:
    return node.inputs[0].typed.shape[1] == node.typed.shape[1]


def class_named(node: Node, wanted: str, names: Sequence[str] = ()) -> int:
    """A class by its number, or by the name that the weights give it.

    Raises: UsageError for one that does not exist, with the nearest names.
    """
    count = node.typed.shape[1]
    if wanted in names:
        return list(names).index(wanted)
    if wanted.isdecimal() and len(wanted) < 10:
        if isinstance(count, int) and int(wanted) >= count:
            raise UsageError(f"there is no class {int(wanted)}; the {count} classes of %{legible(node.name)} are 0 to {count - 1}")
        return int(wanted)
    otherwise = "the weights name none" if not names else ""
    classes = f"0 to {count - 1}" if isinstance(count, int) else "numbers"
    way_out = did_you_mean(wanted, names, otherwise, widely=True)
    raise UsageError(f"there is no class {quoted(wanted)}; classes are {classes}" + way_out)
