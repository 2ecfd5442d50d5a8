"""What the exact passes around 1x1 convolutions gain in onnxruntime: `python tests/bench/exact.py [NETWORK ...]` writes EXACT.md beside this file.

Each network is taken through -O2 with these passes and without them; where the two differ, each is run by onnxruntime in a process of its
own, turn by turn. --only takes a single pass of them away.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from convc.compiler.bench.measure import write_network
from convc.compiler.bench.process import Worker
from convc.compiler.bench.worker import Assignment
from convc.compiler.commands.bench import processor_name
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.ir.binding import specialize
from convc.ir.graph import Graph
from convc.ir.usual_sizes import usual_sizes
from convc.models import ZOO
from convc.passes.analysis.cost import graph_cost
from convc.passes.analysis.prices import Prices
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS

EXACT = ("merge-siblings", "split-concat", "move-pointwise", "compose-linear", "hoist-stride")
MOST = 1.02  # times as long as without them, which no network may take
HEAD = """# What the exact passes gain

Milliseconds in onnxruntime, batch 1, published sizes: each form of a network in two processes of its own, which take turns; the mean of
the two medians. Before: -O2 without {left_out}. Ratio: after over before,
which no network may have above {most}. Apart: by how much two processes with one and the same network differ; what is nearer to 1 than that is
noise. {processor}. Written by `python tests/bench/exact.py`.

| network | threads | passes | G multiply-adds | ms | ratio | apart |
|---|---|---|---|---|---|---|
"""


def forms(name: str, left_out: tuple[str, ...], prices: Prices) -> tuple[Graph, Graph, str]:
    """The network without and with these passes, and those of them that changed it."""
    graph = ZOO[name].network()
    graph = specialize(graph, usual_sizes(graph))
    without, _ = run_passes(graph, [step for step in LEVELS[2] if step.name not in left_out], prices)
    better, trace = optimize(graph, 2, prices=prices)
    return without, better, ", ".join(stage.name for stage in trace if stage.name in left_out and stage.changed)


def medians(graphs: list[Graph], threads: int, turns: int) -> list[float]:
    """Milliseconds of each graph in onnxruntime, in turn."""
    with ExitStack() as stack:
        workers = list[Worker]()
        for graph in graphs:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            write_network(graph, Path(folder))
            workers.append(stack.enter_context(Worker(Assignment("onnx", 0, threads, {}, folder))))
            workers[-1].wait()
        for _ in range(turns):
            for worker in workers:
                worker.turn()
        return [statistics.median(worker.taken) for worker in workers]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(ZOO))
    parser.add_argument("--only", choices=EXACT, help="take away only this pass")
    parser.add_argument("--reads-only", action="store_true", help="decide as if only what layers read had a price: what is declined else")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("-o", "--output", type=Path, help="default: EXACT.md beside this file, for the whole zoo and all passes")
    given = parser.parse_args()
    left_out = (given.only,) if given.only else EXACT
    prices = replace(ONNXRUNTIME.prices, macs=math.inf, layer=0.0, cut=0) if given.reads_only else ONNXRUNTIME.prices
    rows, slower, same = list[str](), list[str](), list[str]()
    for name in given.networks:
        without, better, changed = forms(name, left_out, prices)
        if not changed:
            same.append(name)
            continue
        macs = " -> ".join(f"{graph_cost(graph).macs / 1e9:.3f}" for graph in (without, better))
        for threads in given.threads:
            times = medians([without, better] * 2, threads, given.turns)
            before, after = statistics.mean(times[::2]), statistics.mean(times[1::2])
            apart = max(max(pair) / min(pair) for pair in (times[::2], times[1::2]))
            slower += [f"{name} on {threads}"] if after / before > MOST else []
            rows.append(f"| {name} | {threads} | {changed} | {macs} | {before:.2f} -> {after:.2f} | {after / before:.3f} | {apart:.3f} |")
            print(rows[-1], flush=True)
    head = HEAD.format(left_out=", ".join(left_out), most=MOST, processor=f"{processor_name()}, {os.cpu_count()} processors")
    is_whole = given.networks == list(ZOO) and not (given.only or given.reads_only)
    output = given.output or (Path(__file__).parent / "EXACT.md" if is_whole else None)
    if output is not None:
        output.write_text(head + "\n".join(rows) + f"\n\nNot changed by any of them: {', '.join(same)}.\n")
    print(f"above {MOST}: {', '.join(slower) or 'none'}")
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main())
