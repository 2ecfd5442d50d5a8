"""An If whose condition is known while the file is read: the nodes of the branch that is taken, in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....ir.errors import InvalidModel
from ....ir.graph import fresh_name
from ..file.opaque import inner_names, made_in, renamed

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

__all__ = ["Branch", "branch_of"]


@dataclass(frozen=True)
class Branch:
    """What a branch brings into the graph around it."""

    constants: list[TensorProto]
    nodes: list[NodeProto]


def branch_of(node: NodeProto, condition: bool, seen: set[str]) -> Branch:
    """The branch of an If, its results under the names of the If's. Names in `seen` that it defines are changed, and what it defines joins
    them: the other branch, or a branch beside this, may use the same.

    Raises: InvalidModel for an If without that branch, or with another number of results.
    """
    wanted = "then_branch" if condition else "else_branch"
    graph = next((attribute.g for attribute in node.attribute if attribute.name == wanted and attribute.HasField("g")), None)
    if graph is None or len(graph.output) < len(node.output) or graph.input:
        raise InvalidModel(f"If '{node.name}' has no {wanted} with {len(node.output)} results")
    names = {value.name: name for value, name in zip(graph.output, node.output, strict=False) if name}
    own = set(made_in(graph))
    names = {inner: name for inner, name in names.items() if inner in own}
    for inner in sorted(own.union(*(inner_names(each) for each in graph.node)) - names.keys()):
        names[inner] = fresh_name(inner, seen)
    made = renamed(graph, names)
    return Branch(list(made.initializer), [*made.node, *_copies(node, made)])


def _copies(node: NodeProto, made: GraphProto) -> list[NodeProto]:
    """Results that the branch does not compute under that name: a value from outside, or one that it gives twice."""
    from onnx import helper

    pairs = zip(made.output, node.output, strict=False)
    return [helper.make_node("Identity", [value.name], [name], name=node.name) for value, name in pairs if name and value.name != name]
