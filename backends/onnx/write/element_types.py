"""Whether a file's own node still fits once passes have given values another element type: float16 where there was float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....ir.graph import Graph
from ..file.types_text import tensor_text

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["ElementTypes"]


@dataclass(frozen=True)
class ElementTypes:
    """Of values by name: in the file as it was read, and now."""

    old: Mapping[str, str]
    new: Mapping[str, str]

    @staticmethod
    def of(before: Graph, after: Graph) -> ElementTypes:
        old, new = ({node.name: node.typed.dtype for node in graph.nodes if not node.typed.is_opaque} for graph in (before, after))
        return ElementTypes(old, new)

    def fit(self, node: NodeProto, names: Sequence[str], made: Sequence[str], opset: int) -> bool:
        """Whether `node` may read `names` and give its results in the types that these have now: one for what its operator says to be of
        one type. It may not stand for what was `made` in a type that it knows nothing of: a product in 16 bits between two casts.
        """
        results = [name for name in node.output if name in self.new]
        if all(self._is_as_it_was(name) for name in (*names, *made)):
            return True
        known = {self._now(name) for name in (*names, *results)}
        if not {self.new[name] for name in made if name in self.new} <= known:
            return False
        return self._binds(node, names, opset)

    def _is_as_it_was(self, name: str) -> bool:
        return name not in self.new or self.new[name] == self.old.get(name)

    def _now(self, name: str) -> str:
        """A constant that no graph has now, and that the file's node would bring back, has the type that it had; "" is not known."""
        return self.new.get(name) or self.old.get(name, "")

    def _binds(self, node: NodeProto, names: Sequence[str], opset: int) -> bool:
        """Every letter of the operator's schema stands for one type; of what no operand says, an attribute does, which is as it was."""
        from onnx import defs

        schema, bound, unknown = defs.get_schema(node.op_type, opset), dict[str, str](), set[str]()
        for formal, name in _by_place(schema.inputs, names):
            if not self._now(name):
                unknown.add(formal.type_str)
            elif not _takes(formal, self._now(name), bound):
                return False
        for formal, name in _by_place(schema.outputs, node.output):
            if name in self.new and formal.type_str not in bound and not self._is_as_it_was(name):
                return False
            if name in self.new and not _takes(formal, self.new[name], bound):
                return False
        return unknown.isdisjoint(bound)


def _by_place(formals: Sequence[Any], names: Sequence[str]) -> Iterator[tuple[Any, str]]:
    """Names with what the schema says of each; the last of these may stand for several, and an empty name for nothing."""
    return ((formals[min(place, len(formals) - 1)], name) for place, name in enumerate(names) if name)


def _takes(formal: Any, dtype: str, bound: dict[str, str]) -> bool:
    is_bound = not formal.is_homogeneous or bound.setdefault(formal.type_str, dtype) == dtype
    return is_bound and tensor_text(dtype) in formal.types
