"""A file's own nodes in place of what convc writes for them, where neither its inputs nor its results have changed.

An operator is read as ops, and ops are written as operators; what is one node in the file can come out as several (Split as slices), or
in another spelling (Squeeze as a reshape). A value keeps its name through every pass, so that a node whose operands are still there
computes it yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.graph import Graph
from ....ir.weights import Weights
from ..file.opaque import outer_names
from ..read.importer import Imported
from .element_types import ElementTypes
from .export import UNWRITTEN, bytes_of, declaration
from .messages import in_order, replace_all

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

__all__ = ["put_back"]

PASSING = ("Identity", "Dropout")  # what makes of its first operand the same value
LARGEST = 64  # nodes that one of the file's may stand for
# Of one node for another these are other spellings; elsewhere another operator is a better one, as Relu is of Clip.
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
SPELLINGS = (VIEWS, frozenset({"MatMul", "Gemm"}))


def put_back(
    model: ModelProto,
    values: dict[str, Callable[[], bytes]],
    imported: Imported,
    before: Graph,
    after: Graph,
    equal: Mapping[str, Sequence[str]],
) -> None:
    """Change `model`, the export of `after`, and the `values` of its weights in place; `before` is the imported graph without passes, in
    which names are `equal` that mean equal values.
    """
    written = _Written(model, values, _Source.of(imported, before, after, equal))
    for node in imported.model.proto.graph.node:
        written.consider(node)
    written.finish()


@dataclass(frozen=True)
class _Source:
    """What the file has. `same` are names that mean in the new graph what they mean in the file, `passed` results by the operand that they
    are, `equal` lists the names of equal values.
    """

    opset: int
    names: frozenset[str]
    same: frozenset[str]
    constants: Mapping[str, TensorProto]
    before: Graph
    passed: Mapping[str, str]
    equal: Mapping[str, Sequence[str]]
    computed: Mapping[str, Weights]
    types: ElementTypes

    @staticmethod
    def of(imported: Imported, before: Graph, after: Graph, equal: Mapping[str, Sequence[str]]) -> _Source:
        graph = imported.model.proto.graph
        old = {node.name: node.weights for node in before.nodes}
        same = {node.name for node in after.nodes if node.name in old and (old[node.name] is None or old[node.name] is node.weights)}
        names = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
        passed = {node.output[0]: node.input[0] for node in graph.node if node.op_type in PASSING and node.domain in ("", "ai.onnx")}
        opset = imported.model.opset.get("", 0)
        types = ElementTypes.of(before, after)
        return _Source(opset, frozenset(names), frozenset(same), dict(_constants(graph)), before, passed, equal, imported.constants, types)

    def today(self, name: str) -> str:
        """The name by which a value of the file goes now."""
        for _ in self.passed:
            if name in self.same or name not in self.passed:
                break
            name = self.passed[name]
        return name if name in self.same else next((other for other in self.equal.get(name, ()) if other in self.same), name)


@dataclass
class _Written:
    """The new model as nodes by the names they make and read, and which of the file's nodes will stand for which of them."""

    model: ModelProto
    values: dict[str, Callable[[], bytes]]
    source: _Source
    added: dict[str, TensorProto] = field(default_factory=dict[str, "TensorProto"])
    instead: dict[int, NodeProto] = field(default_factory=dict[int, "NodeProto"])  # by position of the last node of each group
    gone: set[int] = field(default_factory=set[int])

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.nodes = list(graph.node)
        self.opset = next(entry.version for entry in self.model.opset_import if entry.domain == "")
        self.inputs = {value.name for value in graph.input}
        self.outputs = {value.name for value in graph.output}
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.maker = {name: place for place, node in enumerate(self.nodes) for name in node.output if name}
        self.readers: dict[str, set[int]] = defaultdict(set)
        for place, node in enumerate(self.nodes):
            for name in outer_names(node):
                self.readers[name].add(place)

    def consider(self, node: NodeProto) -> None:
        """Let the file's `node` stand for the nodes that compute its results from its operands, if that is no more and no other work."""
        results = {name for name in node.output if name in self.maker and name in self.source.same}
        if not results or node.domain not in ("", "ai.onnx") or any(attribute.HasField("g") for attribute in node.attribute):
            return
        group = self._group(results)
        names = [self.source.today(name) for name in node.input]
        if group is None or not self._is_another_way(node, names, group) or not self._means_the_same(node):
            return
        made = [name for place in group for name in self.nodes[place].output]
        if not self.source.types.fit(node, names, made, self.opset):
            return
        if any(name in self.maker and name not in results for name in node.output):
            return  # convc has a value of that name
        tensors = [self._tensor(name) for name in names if name and not self._is_there(name)]
        if any(tensor is None for tensor in tensors):
            return
        self.added |= {tensor.name: tensor for tensor in tensors if tensor is not None}
        self.instead[max(group)] = _reading(node, names)
        self.gone |= group

    def _group(self, results: set[str]) -> set[int] | None:
        """The nodes that compute `results` and nothing else, back to values of the file."""
        group, leaves, open_ = set[int](), set[str](), [self.maker[name] for name in results]
        while open_:
            place = open_.pop()
            if place in group:
                continue
            group.add(place)
            if len(group) > LARGEST:
                return None
            for name in outer_names(self.nodes[place]):
                is_known = name in self.source.names and name in self.source.same and name not in results
                if is_known or name in self.inputs:
                    leaves.add(name)
                elif name in self.maker:
                    open_.append(self.maker[name])
        made = {name for place in group for name in self.nodes[place].output if name} - results
        if any(name in self.outputs or not self.readers[name] <= group for name in made):
            return None
        self.leaves = leaves
        return group

    def _is_another_way(self, node: NodeProto, names: list[str], group: set[int]) -> bool:
        """Whether the group reads nothing but the node's operands, and is the node in another spelling or several nodes."""
        if not self.leaves <= set(names):
            return False
        kinds = [self.nodes[place].op_type for place in group]
        if len(kinds) > 1 or self.nodes[min(group)].domain == UNWRITTEN:
            return True
        return kinds[0] == node.op_type or any({kinds[0], node.op_type} <= spellings for spellings in SPELLINGS)

    def _means_the_same(self, node: NodeProto) -> bool:
        """Whether the operator is one and the same in the file's opset and the new one."""
        from onnx import defs

        if not defs.has(node.op_type, self.opset) or not defs.has(node.op_type, self.source.opset):
            return False
        versions = {defs.get_schema(node.op_type, opset).since_version for opset in (self.opset, self.source.opset)}
        return len(versions) == 1

    def _is_there(self, name: str) -> bool:
        if name in self.maker or name in self.inputs:
            return name in self.source.same
        if name not in self.stored:
            return False
        constant = self.source.constants.get(name)
        return name in self.source.same or (constant is not None and _equal(self.stored[name], constant))

    def _tensor(self, name: str) -> TensorProto | None:
        """A constant of the file, or computed in it from constants, that convc did without."""
        from onnx import numpy_helper

        if name in self.maker or name in self.inputs or name in self.stored:
            return None  # something else goes by that name
        if name in self.source.constants:
            return self.source.constants[name]
        if name in self.source.computed:
            return numpy_helper.from_array(np.asarray(self.source.computed[name].array(), order="C"), name)
        node = self.source.before.by_name.get(name)
        if node is None or node.weights is None:
            return None
        self.values[name] = bytes_of(node)
        return declaration(node)

    def finish(self) -> None:
        """Put them in, and leave out constants that nobody reads any more.

        Raises: UnsupportedOp for an op that could not be written and for which no node of the file can stand.
        """
        if not self.instead:
            return
        graph = self.model.graph
        kept = [self.instead.get(place, node) for place, node in enumerate(self.nodes) if place not in self.gone or place in self.instead]
        replace_all(graph.node, list(in_order(kept)))
        read = {name for node in graph.node for name in outer_names(node)} | self.outputs
        replace_all(graph.initializer, [tensor for tensor in (*graph.initializer, *self.added.values()) if tensor.name in read])


def _reading(node: NodeProto, names: list[str]) -> NodeProto:
    """The node with operands of these names; itself if they are the ones it has."""
    from onnx import NodeProto

    if names == list(node.input):
        return node
    made = NodeProto.FromString(node.SerializeToString())
    made.input[:] = names
    return made


def _constants(graph: Any) -> Iterable[tuple[str, TensorProto]]:
    """Values that stand in the file itself: initializers that are small, and Constant nodes."""
    from onnx import TensorProto

    for tensor in graph.initializer:
        if not tensor.external_data and (0 in tensor.dims or any(len(getattr(tensor, kind)) for kind in DATA)):
            yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            tensor = TensorProto.FromString(node.attribute[0].t.SerializeToString())
            tensor.name = node.output[0]
            yield tensor.name, tensor


DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def _equal(a: TensorProto, b: TensorProto) -> bool:
    from onnx import numpy_helper

    if (a.data_type, list(a.dims)) != (b.data_type, list(b.dims)):
        return False
    return numpy_helper.to_array(a).tobytes() == numpy_helper.to_array(b).tobytes()
