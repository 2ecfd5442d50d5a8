"""The graph: immutable, single-result nodes in SSA form, in an explicit topological order.

A pass is a function from graph to graph. Nodes hold their operands directly, so an old graph
survives for free and unchanged nodes and weights are shared. Nothing here recurses: a graph of
100,000 nodes must pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .dims import alone
from .errors import InvalidModel
from .op import OpDef
from .ops.leaf import INPUT, PARAM, Param
from .types import TensorType
from .weights import GIVEN, Weights

if TYPE_CHECKING:
    import networkx

__all__ = ["Graph", "Node", "Origin", "fresh_name", "given", "given_param"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node came from: the user's line or ONNX node, its scope, and what a rewrite made it from.

    `read_at` is the line of the text that it was read from, which for another text is another one and so is not printed.
    """

    source: str = ""
    scope: str = ""
    made_from: tuple[str, ...] = ()
    read_at: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One value: `name = kind(inputs) {op} : type`. `op` is an instance of `kind.Attrs`.

    `type` is None until shapes are inferred; `weights` holds the values of a `param`.
    """

    name: str
    kind: OpDef[Any]
    op: Any
    inputs: tuple[Node, ...] = ()
    type: TensorType | None = None
    origin: Origin = Origin()
    weights: Weights | None = None

    @property
    def typed(self) -> TensorType:
        """The type, where a caller needs one.

        Raises: InvalidModel naming the node when it has none yet.
        """
        if self.type is None:
            raise InvalidModel(f"{self.where} has no type yet; run infer-shapes first")
        return self.type

    @property
    def where(self) -> str:
        """`%name = kind (file:line)`: how every error names a node."""
        place = self.origin.source or self.origin.read_at
        return f"%{self.name} = {self.kind.name}" + (f" ({place})" if place else "")

    def reading(self, operands: tuple[Node, ...]) -> Node:
        """This node with other operands; itself if they are the ones it has."""
        return self if operands == self.inputs else replace(self, inputs=operands)  # nodes are equal to themselves alone

    def like(self, **changes: Any) -> Node:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def __repr__(self) -> str:
        return f"<%{self.name} = {self.kind.name}>"


@dataclass(frozen=True, eq=False)
class Graph:
    """A network and its `name`: `inputs` are its arguments, `outputs` what it returns, `nodes` all of it in order."""

    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    nodes: tuple[Node, ...]

    @staticmethod
    def of(name: str, inputs: Iterable[Node], outputs: Iterable[Node], order: Iterable[Node] = ()) -> Graph:
        """The graph `name` of what is reachable from `outputs`, plus all `inputs`.

        Nodes keep their place in `order` where operands allow; one that is missing there comes just
        before its first reader.

        Raises: InvalidModel if nodes form a cycle.
        """
        inputs, outputs = tuple(inputs), tuple(outputs)
        reachable = set(_postorder(outputs))
        wanted = [*inputs, *(node for node in order if node in reachable), *outputs]
        return Graph(name, inputs, outputs, tuple(_postorder(wanted)))

    @cached_property
    def live(self) -> Graph:
        """Without what no output depends on: what a dead node reads is not read."""
        return Graph.of(self.name, self.inputs, self.outputs, self.nodes)

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def positions(self) -> dict[Node, int]:
        """Where each node stands in the order."""
        return {node: index for index, node in enumerate(self.nodes)}

    @cached_property
    def uses(self) -> Counter[Node]:
        """How often each node is read, being an output counted as a read."""
        counts: Counter[Node] = Counter(operand for node in self.nodes for operand in node.inputs)
        counts.update(self.outputs)
        return counts

    @cached_property
    def readers(self) -> dict[Node, list[Node]]:
        """The nodes that read each node, once per operand position."""
        readers: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for operand in node.inputs:
                readers[operand].append(node)
        return readers

    @property
    def params(self) -> Iterator[Node]:
        return (node for node in self.nodes if node.weights is not None)

    @property
    def ops(self) -> Iterator[Node]:
        """The nodes that compute: neither inputs nor parameters."""
        return (node for node in self.nodes if node.kind not in (INPUT, PARAM))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The named sizes of the inputs."""
        return tuple(dict.fromkeys(name for node in self.inputs for name in node.typed.symbols))

    @cached_property
    def found_symbols(self) -> tuple[str, ...]:
        """The named sizes that no input has: what opaque nodes compute tells them in a run."""
        known, opaque = set(self.symbols), (node.typed.symbols for node in self.nodes if node.kind.facts.opaque)
        return tuple(dict.fromkeys(name for names in opaque for name in names if name not in known))

    @cached_property
    def takes_any_batch(self) -> bool:
        """Whether images stay apart in all types: what has a named size, or is computed of such, has the one name as its first axis and
        nowhere else. Then no op refuses a number of images, but none. Others may: the two greatest of a batch need two."""
        names, of_images = set(self.symbols), set[Node]()
        for node in self.nodes:
            if node.typed.symbols or not of_images.isdisjoint(node.inputs):
                of_images.add(node)
                shape = node.typed.shape
                if len(names) > 1 or not shape or alone(shape[0]) not in names or not all(isinstance(dim, int) for dim in shape[1:]):
                    return False
        return True

    def rebuild(self, visit: Callable[[Node, tuple[Node, ...]], Node]) -> Graph:
        """A new graph of `visit(node, its rebuilt operands)` for every node, in order.

        `visit` returns the same node to leave it alone; an untouched graph is returned as it is.
        """
        new: dict[Node, Node] = {}
        is_same = True
        for node in self.nodes:
            made = new[node] = visit(node, tuple(map(new.__getitem__, node.inputs)))
            is_same = is_same and made is node
        if is_same:
            return self
        return Graph.of(self.name, (new[n] for n in self.inputs), (new[n] for n in self.outputs), new.values())

    def renamed(self, names: Mapping[Node, str]) -> Graph:
        """The graph in which these nodes have other names; the caller keeps all names apart."""

        def called(node: Node, operands: tuple[Node, ...]) -> Node:
            node, name = node.reading(operands), names.get(node, node.name)
            return node if name == node.name else node.like(name=name)

        return self.rebuild(called)

    def to_networkx(self) -> networkx.MultiDiGraph[Node]:
        """For analyses that are really graph algorithms; an edge runs from operand to reader and says as which `operand`."""
        import networkx

        drawn: networkx.MultiDiGraph[Node] = networkx.MultiDiGraph(name=self.name)
        drawn.add_nodes_from(self.nodes)
        drawn.add_edges_from((operand, node, {"operand": i}) for node in self.nodes for i, operand in enumerate(node.inputs))
        return drawn

    def __repr__(self) -> str:
        """About the IR text, up to a screen of it; `print_graph` has all, to be read back."""
        from .shown import SCREEN

        whole = [node for node in self.nodes if node.kind is not INPUT]
        nodes = whole if len(whole) <= SCREEN else whole[: SCREEN - 4]
        left = len(whole) - len(nodes)
        more = [f"  ... {left:,} more nodes; cc.print_graph has them all"] if left else []
        inputs = ", ".join(f"%{node.name}: {node.type}" for node in self.inputs)
        outputs = ", ".join(f"%{node.name}" for node in self.outputs)
        return "\n".join([f"graph @{self.name}({inputs}) {{", *map(_line, nodes), *more, f"  return {outputs}", "}"])

    def _repr_html_(self) -> str:
        """For notebooks: a table of what computes, up to a screen of it. `cc.draw(graph)` is a figure."""
        from .attributes import format_attributes
        from .shown import html_table

        ops = list(self.ops)
        rows = [(n.name, n.kind.name, ", ".join(x.name for x in n.inputs), format_attributes(n.op), str(n.type or "")) for n in ops]
        inputs, outputs = (", ".join(f"{node.name} {node.type or ''}" for node in nodes) for nodes in (self.inputs, self.outputs))
        caption = f"@{self.name}: {inputs} -> {outputs}; {len(ops):,} ops, {sum(1 for _ in self.params):,} parameters"
        return html_table(rows, ("value", "op", "of", "attributes", "type"), caption)


def given_param(name: str, weights: Weights, origin: Origin) -> Node:
    """A parameter whose values come from outside, or were computed from those of others."""
    return Node(name, PARAM, Param("given"), (), weights.type, origin, weights)


def given(op: Param) -> Param:
    """Of a parameter whose values come from outside now; whether it is one to train stays as it was said."""
    return op if op.init in GIVEN else Param("given")


def fresh_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, or `wanted_1`, `wanted_2`... where it is taken; the choice is added to `taken`."""
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def _postorder(roots: Sequence[Node]) -> list[Node]:
    """Every node reachable from `roots`, operands first, by depth-first search with its own stack."""
    done: set[Node] = set()
    open_: set[Node] = set()
    order: list[Node] = []
    for root in roots:
        stack = [(root, False)]
        while stack:
            node, left = stack.pop()
            if left:
                open_.discard(node)
                done.add(node)
                order.append(node)
                continue
            if node in done:
                continue
            if node in open_:
                raise InvalidModel(f"{node.where} depends on itself")
            open_.add(node)
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.inputs) if operand not in done)
    return order


def _line(node: Node) -> str:
    """`  %name = op(%a, %b) {attributes} : type`, on one line whatever the names are."""
    from .attributes import format_attributes
    from .legible import escaped

    operands = f"({', '.join(f'%{operand.name}' for operand in node.inputs)})" if node.inputs else ""
    attributes = format_attributes(node.op)
    type_ = f" : {node.type}" if node.type is not None else ""
    return escaped(f"  %{node.name} = {node.kind.name}{operands}{' ' if attributes else ''}{attributes}{type_}", backslash=False)
