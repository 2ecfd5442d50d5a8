"""Operators that no row reads, gathered: a file is refused for all of them in one sentence."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ....ir.errors import UnsupportedOp

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["Refusals", "UnreadOperators", "label"]

NAMED = 5  # nodes of an operator that an error names


class UnreadOperators(UnsupportedOp):
    """Operators of a file that convc does not have, or not in that form, for a caller who is strict."""


@dataclass
class Refusals:
    """Nodes by the label of their operator, and why the rows that there are do not take them."""

    nodes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list[str]))
    reasons: list[str] = field(default_factory=list[str])

    def __bool__(self) -> bool:
        return bool(self.nodes)

    def add(self, node: NodeProto, why: str = "") -> None:
        self.nodes[label(node)].append(node.name or next(iter(node.output), ""))
        if why:
            self.reasons.append(why)

    def error(self, file: str) -> UnreadOperators:
        listed: list[str] = []
        for operator, names in sorted(self.nodes.items()):
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            nodes = "node" if len(names) == 1 else f"{len(names)} nodes:"
            listed.append(f"{operator} ({nodes} {', '.join(names[:NAMED])}{more})")
        why = f"; the first: {self.reasons[0]}" if self.reasons else ""
        count = sum(map(len, self.nodes.values()))
        operators = "1 operator" if count == 1 else f"{count} operators"
        return UnreadOperators(f"{file}: {operators} cannot be read: {'; '.join(listed)}{why}")


def label(node: NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
