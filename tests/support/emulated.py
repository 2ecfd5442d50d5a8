"""Networks on the emulated GPU, for a process of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convc.backends.tvm.cuda.batches import fixed_batches
from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.gpus.architectures import USUAL, Architecture
from convc.backends.tvm.library.fixed import FixedLibrary
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.engines.optimize import optimize
from convc.compiler.files.inputs import random_inputs
from convc.ir.binding import specialize
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph
from convc.tests.support.tiers import small

Counted = list[dict[str, int]]


def run_emulated(text: str, folder: Path, sizes: Sequence[dict[str, int]], arch: Architecture = USUAL) -> Counted:
    """Builds a graph for GPUs of `arch`, loads it and holds it to the reference, once for each setting of its named sizes; what was counted
    each time.
    """
    graph = typed_graph(text)
    device = emulated()
    loaded = LoadedLibrary.load(build_cuda(graph, folder, arch, check=False).library)
    counted: Counted = []
    device.counters()
    for seed, setting in enumerate(sizes):
        inputs = normal_inputs(graph, seed, **setting)
        hold_to_reference(graph, loaded.run(inputs), inputs)
        counted.append(device.counters())
    return counted


def held_to_noise(text: str, folder: Path) -> list[str]:
    """Of a graph of numbers, built and run: the outputs that differ from float64 by more than rounding in their types, wherever it is lost."""
    graph = typed_graph(text)
    emulated()
    loaded = LoadedLibrary.load(build_cuda(graph, folder, check=False).library)
    inputs = normal_inputs(graph)
    return [str(line) for line in compare(graph.name, Oracle.of(graph, inputs), loaded.run(inputs)) if not line.agrees]


def run_fixed_emulated(text: str, folder: Path) -> None:
    """Builds a graph with numbers for all of its sizes and holds it to the reference, by launches and by a CUDA graph of them. Schedules are
    others there than for named sizes.
    """
    graph = typed_graph(text)
    graph = specialize(graph, dict.fromkeys(graph.symbols, 3))
    emulated()
    loaded = FixedLibrary.load(build_cuda(graph, folder, batches=fixed_batches(graph), check=False).library)
    for seed in (0, 1):
        hold_to_reference(graph, loaded.run(inputs := normal_inputs(graph, seed)), inputs)


def run_zoo_emulated(name: str, folder: Path) -> list[str]:
    """Builds a network of the zoo in its small form, for one image, and runs it twice: by launches, and by a CUDA graph of them. Its outputs
    that differ from float64 by more than rounding.
    """
    graph = small(name)
    better, _ = optimize(graph, 2)
    device = emulated()
    inputs = random_inputs(graph)
    loaded = FixedLibrary.load(build_cuda(better, folder, batches=(1,), check=False).library)
    oracle, first = Oracle.of(graph, inputs), loaded.run(inputs)
    device.counters()
    again = loaded.run(inputs)
    assert device.counters()["graph_launches"] == 1
    return [str(line) for got in (first, again) for line in compare(name, oracle, got) if not line.agrees]
