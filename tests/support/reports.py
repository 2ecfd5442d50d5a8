"""What stands in an HTML report, read back, and networks that are hard on one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from convc.ir.graph import Graph
from convc.ir.legible import escaped
from convc.ir.ops.leaf import INPUT, Input
from convc.tests.support.graphs import typed_graph

# names as a file may have them: markup, quotes, line breaks, the other direction of writing
HOSTILE = (
    '</script><script>alert("x")</script>',
    "<img src=x onerror=alert(1)>",
    "quote \"'` &amp; \\",
    "two\nlines",
    "a\u202egnp.exe",
    "]]>-->",
    "%s {0} ${x}",
)


def data_in(page: bytes) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', page.decode(), re.DOTALL)
    return json.loads(found)


def named_at(data: dict[str, Any], places: list[int]) -> list[str]:
    return [data["names"][place] for place in places]


def graphs_in(data: dict[str, Any]) -> Iterator[list[int]]:
    """The rows of the graph as it came, and after each pass, put together from what each cut and put in."""
    rows = list(data["start"]["order"])
    yield rows
    for step in data["steps"]:
        for at, gone, came in reversed(step.get("splices", [])):
            rows = [*rows[:at], *came, *rows[at + gone :]]
        yield rows


def with_hostile_names() -> Graph:
    """A chain of relus with these names, two of which cancel."""
    graph = typed_graph(
        "graph @g(%x: f32[N,4]) { %a = relu(%x) %b = relu(%a) %c = relu(%b) %d = sigmoid(%c) %e = relu(%d) %f = add(%e, %a) return %f }"
    )
    return graph.renamed(dict(zip(graph.nodes, HOSTILE, strict=True)))


def shown(name: str) -> str:
    return escaped(name)


def without_ops() -> Graph:
    return Graph.of("empty", [node := typed_input("x")], [node])


def typed_input(name: str) -> Any:
    (node,) = typed_graph(f"graph @g(%{name}: f32[N,4]) {{ return %{name} }}").inputs
    assert node.kind is INPUT
    assert isinstance(node.op, Input)
    return node


def deep_network(blocks: int, *, scoped: bool = True) -> Graph:
    """Residual blocks of 8 values each, in scopes of 10, or with names that tell of none."""
    from convc import conv, network, relu, scope
    from convc.compiler.dsl.norms import batch_norm

    def block(x: Any) -> Any:
        return relu(batch_norm(conv(relu(batch_norm(conv(x, 8, 3, pad="same"))), 8, 3, pad="same")) + x)

    @network(image="N,8,16,16")
    def deep(image: Any) -> Any:
        x = image
        for number in range(blocks):
            if not scoped:
                x = block(x)
                continue
            with scope(f"part{number // 10 + 1}"), scope(f"block{number + 1}"):
                x = block(x)
        return x

    return deep()
