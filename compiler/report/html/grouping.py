"""Where each value is drawn: in the group of its scope, and where a group would be too long to look at in a part of it.

Groups are the same before and after every pass, so that nothing moves to another one while a reader looks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ....ir.graph import Graph, Node
from ....ir.legible import escaped
from ....passes.manager import Stage

__all__ = ["Group", "Grouping", "grouping_of"]

MOST_CHILDREN = 40  # that are pleasant to look at; more are put into runs
LEAST_RUN = 10
DEEPEST = 12  # groups in groups; a name may hold any number of slashes


@dataclass
class Group:
    """A box of the drawing, by its label. `children` are the names of values, and groups."""

    label: str
    children: list[str | Group] = field(default_factory=list["str | Group"])


@dataclass(frozen=True)
class Grouping:
    """`groups` are (parent, label), a parent before its children; -1 is the whole drawing. `of` has the group of each value."""

    groups: Sequence[tuple[int, str]]
    of: dict[str, int]


def grouping_of(graph: Graph, trace: Iterable[Stage]) -> Grouping:
    """Of all values that are computed in the graph, or after any pass; what a pass made lies beside what it was made for."""
    whole = Group("")
    scopes: dict[tuple[str, ...], Group] = {(): whole}
    scope_of: dict[str, Group] = {}
    late: dict[str, str] = {}  # of what a pass made, that for which it did
    for node in graph.nodes:
        _enter(node, scopes, scope_of)
    for stage in trace:
        roots = {name: rewrite.root for rewrite in stage.rewrites for name in rewrite.made}
        for node in stage.graph.nodes:
            if node.weights is None and node.name not in scope_of:
                scope_of[node.name] = _scope(node, scopes)
                late[node.name] = roots.get(node.name, "")
    groups: list[tuple[int, str]] = []
    of: dict[str, int] = {}
    _number(_in_runs(whole), -1, groups, of)
    for name, root in late.items():
        of[name] = _beside(name, root, scope_of, of)
    return Grouping(groups, of)


def _enter(node: Node, scopes: dict[tuple[str, ...], Group], scope_of: dict[str, Group]) -> None:
    if node.weights is None:
        group = _scope(node, scopes)
        group.children.append(node.name)
        scope_of[node.name] = group


def _scope(node: Node, scopes: dict[tuple[str, ...], Group]) -> Group:
    """Its scope, made with those around it where it is new."""
    path = _path(node)
    for depth in range(len(path) + 1):
        if path[:depth] not in scopes:
            scopes[path[:depth]] = Group(escaped(path[depth - 1]))
            scopes[path[: depth - 1]].children.append(scopes[path[:depth]])
    return scopes[path]


def _path(node: Node) -> tuple[str, ...]:
    """`conv2_1.shortcut` is a scope in a scope; exporters write `/layer1/conv1/Conv` where there are none."""
    parts = node.origin.scope.split(".") if node.origin.scope else node.name.split("/")[:-1] if node.name.startswith("/") else []
    return tuple(part for part in parts if part)[:DEEPEST]


def _in_runs(group: Group) -> Group:
    """The group with runs of its children as groups of their own where there are too many, and so within each."""
    stack = [group]
    while stack:
        current = stack.pop()
        if len(current.children) > MOST_CHILDREN:
            stems = _by_stem(current.children)
            current.children = stems if len(stems) > 1 else current.children
        if len(current.children) > MOST_CHILDREN:
            current.children = _by_number(current.children)
        stack.extend(child for child in current.children if isinstance(child, Group))
    return group


def _by_stem(children: Sequence[str | Group]) -> list[str | Group]:
    """Neighbours with one name but for the number at its end, as block3_1 and block3_2, are a group of that name."""
    runs: list[list[Group]] = []
    found: list[str | Group] = []
    for child in children:
        stem = _stem(child)
        if isinstance(child, Group) and runs and found and found[-1] is runs[-1][0] and _stem(runs[-1][0]) == stem:
            runs[-1].append(child)
            continue
        found.append(child)
        if isinstance(child, Group):
            runs.append([child])
    wide = {id(run[0]): run for run in runs if len(run) > 1}
    return [_run(wide[id(child)]) if id(child) in wide else child for child in found]


def _stem(child: str | Group) -> str:
    return re.sub(r"\d+\Z", "", child.label if isinstance(child, Group) else child)


def _by_number(children: Sequence[str | Group]) -> list[str | Group]:
    """Runs of one length, the last but for its rest."""
    length = max(math.ceil(len(children) / MOST_CHILDREN), LEAST_RUN)
    return [_run(children[start : start + length]) for start in range(0, len(children), length)]


def _run(children: Sequence[str | Group]) -> Group:
    first, last = (child.label if isinstance(child, Group) else escaped(child) for child in (children[0], children[-1]))
    return Group(first if first == last else f"{first} \N{HORIZONTAL ELLIPSIS} {last}", list(children))


def _number(whole: Group, above: int, groups: list[tuple[int, str]], of: dict[str, int]) -> None:
    stack = [(whole, above)]
    while stack:
        group, own = stack.pop()
        for child in group.children:
            if isinstance(child, str):
                of[child] = own
            else:
                groups.append((own, child.label))
                stack.append((child, len(groups) - 1))


def _beside(name: str, root: str, scope_of: dict[str, Group], of: dict[str, int]) -> int:
    """The group of what it was made for, where that has the same scope, or else of the last in that scope."""
    if root in of and scope_of.get(root) is scope_of[name]:
        return of[root]
    return next((of[other] for other, group in reversed(scope_of.items()) if group is scope_of[name] and other in of), of.get(root, -1))
