"""Random networks in 16 bits: whatever stands before and after what, plans hold together, and what runs on the emulated GPU is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.cuda.plan import GpuPlan, gpu_plan
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.checking.oracle import Oracle, compare
from convc.ir.graph import Graph
from convc.tests.fuzz.random_networks import random_inputs_of, random_network
from convc.tests.support.narrow import narrow

PLANNED, RUN = range(2000, 2180), range(1000, 1030)
FEWEST = 3  # kernels of ours besides which a network is worth its compilation
REACHED = {
    "conv",
    "transposed conv",
    "depthwise",
    "max pool",
    "pointwise",
    "by channel",
    "batch norm",
    "softmax",
    "slice",
    "pad",
}


def _network(seed: int) -> Graph:
    return narrow(random_network(seed), "f16" if seed % 5 else "bf16")


def _is_whole(plan: GpuPlan) -> bool:
    """Whether everything that is read was computed before, in the layout that it is read in, and nothing is computed twice."""
    padded, plain = set[Any](), {*plan.graph.inputs, *(node for node in plan.graph.nodes if node.weights is not None)}
    for call in plan.calls:
        if call.work is not None:
            if not all(node in (padded if in_padded else plain) for node, in_padded in call.work.reads):
                return False
            made, places = call.work.result, padded if call.work.is_laid else plain
        elif call.kernel == "enter":
            made, places = call.node, padded
        else:
            made, places = call.node, plain
            if call.kernel != "leave" and not all(operand in plain for operand in call.node.inputs):
                return False
        if made in places:
            return False
        places.add(made)
    return all(node in plain for node in plan.graph.outputs)


def test_plans_hold_together() -> None:
    kinds: Counter[str] = Counter()
    for seed in PLANNED:
        plan = gpu_plan(_network(seed))
        assert _is_whole(plan), f"seed {seed}: {plan.lines()}"
        kinds.update(call.kernel for call in plan.calls)
    assert set(kinds) >= REACHED


def _wrong(seeds: range, folder: Path) -> tuple[int, list[str]]:
    """How many networks ran, and their outputs that differ by more than rounding in 16 bits."""
    emulated()
    ran, wrong = 0, list[str]()
    for seed in seeds:
        graph = _network(seed)
        if sum(call.work is not None for call in gpu_plan(graph).calls) < FEWEST:
            continue
        loaded = LoadedLibrary.load(build_cuda(graph, folder / str(seed), check=False).library)
        inputs = random_inputs_of(graph)
        found = compare(f"seed {seed}", Oracle.of(graph, inputs), loaded.run(inputs))
        wrong += [str(line) for line in found if not line.agrees]
        ran += 1
    return ran, wrong


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_they_are_right(apart: Callable[..., Any], tmp_path: Path) -> None:
    ran, wrong = apart(_wrong, RUN, tmp_path)
    assert wrong == []
    assert ran > len(RUN) // 4
