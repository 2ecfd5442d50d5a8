"""Cost by size: -O2, printing, parsing and verifying of graphs of 1,000, 10,000 and 100,000 nodes."""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable

from convc.backends import reference
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph, Node
from convc.ir.ops import activation, conv, elementwise, leaf, norm, pool, shape
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.ir.types import TensorType
from convc.ir.verifier import infer_type, verify_graph
from convc.ir.weights import Recipe, Weights
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS

SIZES = (1_000, 10_000, 100_000)
WORST_RATIO = 12.0  # of the time for 100,000 nodes to that for 10,000
WORST_MICROSECONDS = 60.0  # a node
CHANNELS = 4


class Chain:
    """Layers one after another; `x` is the last value."""

    def __init__(self, channels: int = CHANNELS) -> None:
        self.nodes: list[Node] = []
        self.x = self.add("x", leaf.INPUT, leaf.Input(), type_=TensorType("f32", (1, channels, 4, 4)))

    def add(self, name: str, kind, op, *operands: Node, type_: TensorType | None = None) -> Node:
        node = Node(name, kind, op, operands, type_)
        self.nodes.append(node if type_ is not None else node.like(type=infer_type(node)))
        return self.nodes[-1]

    def param(self, name: str, init: str, *dims: int) -> Node:
        type_ = TensorType("f32", dims)
        node = Node(name, leaf.PARAM, leaf.Param(init), (), type_, weights=Weights(type_, Recipe(init, name)))
        self.nodes.append(node)
        return node

    def conv_bn_relu(self, name: str, x: Node) -> Node:
        y = self.add(
            f"{name}.conv", conv.CONV2D, conv.Conv2d(pads=(1, 1, 1, 1)), x, self.param(f"{name}.w", "he", CHANNELS, CHANNELS, 3, 3)
        )
        stats = [
            self.param(f"{name}.{what}", init, CHANNELS) for what, init in (("scale", "around_one"), ("shift", "small"), ("mean", "small"))
        ]
        y = self.add(f"{name}.bn", norm.BATCH_NORM, norm.BatchNorm(), y, *stats, self.param(f"{name}.var", "around_one", CHANNELS))
        return self.add(f"{name}.relu", activation.RELU, activation.Relu(), y)

    def graph(self, name: str) -> Graph:
        return Graph(name, (self.nodes[0],), (self.x,), tuple(self.nodes))


def residual_net(nodes: int) -> Graph:
    """conv-bn-relu, every second with a shortcut around it; now and then two branches joined, and a dropout."""
    net, count = Chain(), 0
    while len(net.nodes) < nodes:
        x, name = net.x, f"b{count}"
        net.x = net.conv_bn_relu(f"{name}.0", x)
        if count % 2:
            net.x = net.add(f"{name}.add", elementwise.ADD, elementwise.Add(), net.x, x)
        if count % 5 == 4:
            sides = (net.conv_bn_relu(f"{name}.1", net.x), net.add(f"{name}.drop", activation.DROPOUT, activation.Dropout(), net.x))
            both = net.add(f"{name}.cat", shape.CONCAT, shape.Concat(), *sides)
            net.x = net.add(f"{name}.cut", shape.SLICE, shape.Slice((1,), (0,), (CHANNELS,)), both)
        if count % 7 == 6:
            net.x = net.add(f"{name}.pool", pool.MAX_POOL, pool.MaxPool((3, 3), pads=(1, 1, 1, 1)), net.x)
        count += 1
    return net.graph("residual")


def plain_chain(nodes: int) -> Graph:
    """Scales, shifts and activations in a row: everything fits one pattern or another."""
    net = Chain()
    scale = net.param("scale", "around_one", CHANNELS, 1, 1)
    while len(net.nodes) < nodes:
        i = len(net.nodes)
        net.x = net.add(f"m{i}", elementwise.MUL, elementwise.Mul(), net.x, scale)
        net.x = net.add(f"a{i}", elementwise.ADD, elementwise.Add(), net.x, scale)
        if i % 4 == 0:
            net.x = net.add(f"r{i}", activation.RELU, activation.Relu(), net.x)
    return net.graph("scales")


def constants(nodes: int) -> Graph:
    """A long computation on parameters alone."""
    net = Chain()
    k = net.param("k", "around_one", CHANNELS, 1, 1)
    c = k
    while len(net.nodes) < nodes - 1:
        c = net.add(f"c{len(net.nodes)}", elementwise.ADD, elementwise.Add(), c, k)
    net.x = net.add("y", elementwise.MUL, elementwise.Mul(), net.x, c)
    return net.graph("constants")


def wide(nodes: int) -> Graph:
    """Many branches from one value, all joined by one concat of one-channel convs."""
    net = Chain()
    ends = []
    while len(net.nodes) < nodes - 1:
        i = len(net.nodes)
        w = net.param(f"w{i}", "he", 1, CHANNELS, 1, 1)
        y = net.add(f"c{i}", conv.CONV2D, conv.Conv2d(), net.nodes[0], w)
        ends.append(net.add(f"r{i}", activation.RELU, activation.Relu(), y))
    net.x = net.add("y", shape.CONCAT, shape.Concat(), *ends)
    return net.graph("wide")


NETS = {"residual": residual_net, "scales": plain_chain, "constants": constants, "wide": wide}


def seconds(work: Callable[[], object], runs: int) -> float:
    """The best of some runs, of the processor's time: other work on the machine says nothing about the growth.

    The collector is kept out, since it would walk the heap of the whole process.
    """
    taken = []
    for _ in range(runs):
        gc.collect()
        gc.disable()
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
        gc.enable()
    return min(taken)


def measure(graph: Graph, runs: int, level: int) -> dict[str, float]:
    """Seconds by task."""
    text = print_graph(graph)
    return {
        f"-O{level}": seconds(lambda: optimize(graph, level), runs),
        "print": seconds(lambda: print_graph(graph), runs),
        "parse": seconds(lambda: parse_graph(text), runs),
        "verify": seconds(lambda: verify_graph(graph), runs),
    }


def runs(graph: Graph, level: int) -> str:
    """Whether what the passes left can be computed: folded weights wait for one another, in a row as long as the network."""
    better, _ = optimize(graph, level)
    try:
        reference.run(better, random_inputs(better))
    except RecursionError:
        return "RecursionError"
    return ""


def by_pass(graph: Graph, level: int) -> None:
    """Where a pipeline's time goes."""
    start = time.perf_counter()
    _, trace = run_passes(graph, LEVELS[level], ONNXRUNTIME.prices)
    whole = time.perf_counter() - start
    for stage in trace:
        print(f"    {stage.name:20} {stage.seconds / len(graph.nodes) * 1e6:7.2f} us a node, {len(stage.rewrites)} rewrites")
    rest = whole - sum(stage.seconds for stage in trace)
    print(f"    {'checks in between':20} {rest / len(graph.nodes) * 1e6:7.2f} us a node")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", type=int, default=2)
    parser.add_argument("--net", choices=NETS, action="append", help="these alone")
    parser.add_argument("--passes", action="store_true", help="also the time of every pass at the largest size")
    given = parser.parse_args()
    limit, missed = sys.getrecursionlimit(), 0
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; microseconds a node")
    for name in given.net or NETS:
        taken: dict[str, list[float]] = defaultdict(list)
        for size in SIZES:
            graph = NETS[name](size)
            for task, time_ in measure(graph, 5 if size < SIZES[-1] else 3, given.level).items():
                taken[task].append(time_)
        print(f"{name:10}" + "".join(f"{size:>10,}" for size in SIZES) + "     ratio")
        for task, times in taken.items():
            each = [time_ / size * 1e6 for time_, size in zip(times, SIZES, strict=True)]
            ratio = times[-1] / times[-2]
            met = ratio <= WORST_RATIO and max(each[1:]) <= WORST_MICROSECONDS
            missed += not met
            print(f"  {task:8}" + "".join(f"{us:10.2f}" for us in each) + f"{ratio:10.2f}  {'met' if met else 'MISSED'}")
        wrong = runs(NETS[name](SIZES[1]), given.level)
        missed += bool(wrong)
        print(f"  {'run':8}{f'after -O{given.level}, {SIZES[1]:,} nodes':>40}  {f'MISSED: {wrong}' if wrong else 'met'}")
        if given.passes:
            by_pass(NETS[name](SIZES[-1]), given.level)
    assert sys.getrecursionlimit() == limit
    print(
        f"bars: ratio of {SIZES[-1]:,} to {SIZES[-2]:,} nodes at most {WORST_RATIO:.0f}, at most {WORST_MICROSECONDS:.0f} us a node; {missed} missed"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
