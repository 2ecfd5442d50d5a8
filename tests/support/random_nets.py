"""Networks that use memory in every way: drawn at random, or of a shape and size."""

from __future__ import annotations

import random

from convc.ir.graph import Graph, Node
from convc.ir.ops import OPS
from convc.ir.types import TensorType
from convc.ir.verifier import verify_graph


def image(channels: int) -> TensorType:
    return TensorType("f32", (1, channels, 2, 2))


def random_net(seed: int, ops: int, reach: int = 4) -> Graph:
    """Ops that share, view, join and cut memory; each reads one of the last `reach` values. Some outputs are read, some ops are dead."""
    draw = random.Random(seed)
    x = Node("x", OPS["input"], OPS["input"].Attrs(), (), image(2))
    values = [x]
    for i in range(ops):
        kind = OPS[draw.choice(("relu", "softmax", "identity", "add", "concat", "slice", "pad", "reshape"))]
        operand = draw.choice(values[-reach:])
        channels = made = operand.typed.concrete()[1]
        operands, attributes = (operand,), ()
        if kind.name == "concat":
            operands = (operand, draw.choice(values))
            made = sum(o.typed.concrete()[1] for o in operands)
        elif kind.name == "add":
            operands = (operand, draw.choice([value for value in values if value.type == operand.type]))
        elif kind.name == "slice":
            made = draw.randint(1, channels)
            attributes = ((1,), (0,), (made,))
        elif kind.name == "pad":
            made = channels + draw.randint(0, 4)
            attributes = ((0, 0, 0, 0, 0, made - channels, 0, 0),)
        elif kind.name == "reshape":
            attributes = ((1, channels, 2, 2),)
        values.append(Node(f"n{i}", kind, kind.Attrs(*attributes), operands, image(made)))
    outputs = dict.fromkeys([values[-1], *([draw.choice(values)] if draw.random() < 0.3 else [])])
    whole = Graph("random", (x,), tuple(outputs), tuple(values))
    verify_graph(whole)
    return Graph.of("random", (x,), outputs, values) if draw.random() < 0.7 else whole


def towers(count: int, length: int) -> Graph:
    """Branches from one input to one concat, written in turns, each as full as the others in the middle."""
    x = Node("x", OPS["input"], OPS["input"].Attrs(), (), image(1))
    ends, ops = [x] * count, []
    for level in range(length):
        for i, below in enumerate(ends):
            had, channels = below.typed.concrete()[1], 1 if level == length - 1 else 1 + (7 * level + i) % 5
            kind = OPS["slice" if channels <= had else "pad"]
            op = kind.Attrs((1,), (0,), (channels,)) if channels <= had else kind.Attrs((0, 0, 0, 0, 0, channels - had, 0, 0))
            ends[i] = Node(f"t{i}.{level}", kind, op, (below,), image(channels))
            ops.append(ends[i])
    y = Node("y", OPS["concat"], OPS["concat"].Attrs(), tuple(ends), image(count))
    return Graph("towers", (x,), (y,), (x, *ops, y))


def deep(nodes: int) -> Graph:
    x = Node("x", OPS["input"], OPS["input"].Attrs(), (), image(4))
    kinds = [OPS["relu"], OPS["tanh"], OPS["transpose"]]
    made = [x]
    for i in range(nodes):
        kind = kinds[i % 3]
        op = kind.Attrs((0, 1, 3, 2)) if kind.name == "transpose" else kind.Attrs()
        made.append(Node(f"n{i}", kind, op, (made[-1],), x.type))
    return Graph("deep", (x,), (made[-1],), tuple(made))


def wide(nodes: int) -> Graph:
    x = Node("x", OPS["input"], OPS["input"].Attrs(), (), image(1))
    branches = tuple(Node(f"n{i}", OPS["relu"], OPS["relu"].Attrs(), (x,), x.type) for i in range(nodes))
    y = Node("y", OPS["concat"], OPS["concat"].Attrs(), branches, image(nodes))
    return Graph("wide", (x,), (y,), (x, *branches, y))
