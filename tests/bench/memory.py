"""Memory of every network of the zoo, and times on graphs of many nodes: `python tests/bench/memory.py [-O LEVEL]`."""

from __future__ import annotations

import argparse
import sys
import time

from convc import models
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.passes.analysis.liveness import liveness
from convc.passes.analysis.memory import plan_memory
from convc.passes.analysis.memory_check import check_plan
from convc.passes.order_for_memory import order_for_memory
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.random_nets import deep, random_net, towers, wide


def timed(work, *given):
    start = time.perf_counter()
    result = work(*given)
    return result, (time.perf_counter() - start) * 1e3


def zoo(level: int) -> int:
    """KiB for one image; ms. A gap is a missed bar."""
    print(
        f"{'network':18}{'ops':>5}{'buffers':>8}{'unshared':>10}{'peak':>10}{'ordered':>10}{'arena':>10}{'bound':>10}{'ratio':>7}  ms: order  plan  found by"
    )
    missed = 0
    for name, entry in models.ZOO.items():
        graph, _ = optimize(entry.network(), level)
        ordered, order_ms = timed(order_for_memory, graph, Ledger(ONNXRUNTIME.prices))
        plan, plan_ms = timed(plan_memory, ordered)
        check_plan(plan, ordered)
        missed += plan.ratio > 1
        sizes = [plan.unshared, liveness(graph).peak, liveness(ordered).peak, plan.arena, plan.lower_bound]
        row = f"{name:18}{len(tuple(graph.ops)):5}{len(plan.slots):8}" + "".join(f"{size / 1024:10.1f}" for size in sizes)
        print(f"{row}{plan.ratio:7.3f}{order_ms:11.1f}{plan_ms:6.1f}  {plan.why}")
    return missed


def large() -> None:
    print(f"\n{'graph':10}{'nodes':>8}{'peak':>12}{'ordered':>12}{'ratio':>7}  seconds: liveness  order   plan  check")
    shapes = {"deep": deep, "wide": wide, "2 towers": lambda n: towers(2, n // 2), "random": lambda n: random_net(1, n // 10, 8)}
    for name, build in shapes.items():
        for nodes in (10_000, 100_000) if name != "random" else (3_000, 10_000):
            graph = build(nodes)
            live, live_ms = timed(liveness, graph)
            ordered, order_ms = timed(order_for_memory, graph, Ledger(ONNXRUNTIME.prices))
            plan, plan_ms = timed(plan_memory, ordered)
            _, check_ms = timed(check_plan, plan, ordered)
            times = "".join(f"{ms / 1e3:7.2f}" for ms in (order_ms, plan_ms, check_ms))
            after = liveness(ordered).peak
            print(f"{name:10}{len(graph.nodes):8}{live.peak:12}{after:12}{plan.ratio:7.3f}{live_ms / 1e3:19.2f}{times}  {plan.why}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-O", dest="level", type=int, default=2)
    level = options.parse_args().level
    missed = zoo(level)
    large()
    sys.exit(1 if missed else 0)
