"""Values so large that 32 bits only just number their elements, or not those that they have where they lie: places are computed in enough
bits, which is read off the kernels. Nothing of that size is run."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.kernels import borders
from convc.backends.tvm.cuda.kernels.kernel import VIEW
from convc.backends.tvm.cuda.kernels.writer import NUMBERED, GpuWriter
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.cuda.scheduling import GpuKernels
from convc.backends.tvm.cuda.target import cuda_target
from convc.ir.binding import specialize
from convc.ir.graph import Graph
from convc.tests.backends.tvm.cuda.test_families import CASES, MANY
from convc.tests.support.graphs import typed_graph
from convc.tests.support.index_bounds import overflows

MOST = (1 << 31) - 1  # elements of a value that is an image to us
LARGE = (MOST, NUMBERED - 1)  # and the most that are numbered by 32 bits
FEW = "graph @few(%x: f16[N,512,3,3]) { %w = param : f16[64,512,3,3] %m = conv2d(%x, %w) return %m }"


def _large(text: str, elements: int = MOST) -> Graph:
    """With so many images that one more would have more elements than that."""
    graph = typed_graph(text)
    most = max(math.prod(node.typed.concrete()) for node in (*specialize(graph, {"N": 1}).ops, *specialize(graph, {"N": 1}).inputs))
    return specialize(graph, {"N": elements // most})


def _device_functions(graph: Graph) -> Iterator[Any]:
    """What the kernels of our own launch, lowered."""
    split = importlib.import_module("tvm.tirx.build").split_host_device_mods
    kernels = [call.work.kernel for call in gpu_plan(graph).calls if call.work is not None and call.kernel != VIEW]
    x = graph.inputs[0].typed.concrete()
    rows, cols = (*x[2:], 1, 1)[:2]
    moves = [kind.of(x[0], x[1], rows, cols, "float16", "float16") for kind in (borders.enter, borders.leave)]
    for number, kernel in enumerate([*kernels, *(each.finish for each in kernels if each.finish is not None), *moves]):
        lowered = GpuKernels(cuda_target())._lowered(f"kernel{number}", kernel.written())
        for module in split(lowered)[1].values():
            yield from (function for _, function in module.functions_items())


LONG = "pointwise, activations"  # in places as any pointwise kernel, with formulas that TVM takes ten seconds to lower
TEXTS = {case: f"graph @g(%x: f16[N,11,9,7]) {{ {lines} return %m }}" for case, lines in CASES.items() if case != LONG}
TEXTS |= {"depthwise, of several pixels a thread": MANY.replace("[32,", "[N,"), "conv, an image a pixel": FEW}


@pytest.mark.parametrize("elements", LARGE)
@pytest.mark.parametrize("case", TEXTS)
def test_places_are_computed_in_enough_bits(case: str, elements: int) -> None:
    functions = list(_device_functions(_large(TEXTS[case], elements)))
    assert len(functions) > 2
    assert [line for function in functions for line in overflows(function)] == []


def test_what_is_too_narrow_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place in 11 channels that lie as 16, where nobody widens."""
    monkeypatch.setattr(GpuWriter, "place", lambda writer, number: number)
    graph = _large("graph @g(%x: f16[N,11,8,8]) { %m = max_pool(%x) {kernel=[2,2]} return %m }")
    found = [line for function in _device_functions(graph) for line in overflows(function)]
    assert "blockIdx_x * 2048: 0 to 2,391,515,136" in found


STOCK = """graph @stock(%x: f32[256,3,512,512]) {
    %w = param : f32[64,3,3,3]
    %v = param : f32[8,64,3,3]
    %a = conv2d(%x, %w) {pads=[1,1,1,1]}
    %r = tanh(%a)
    %p = max_pool(%r) {kernel=[2,2], strides=[2,2]}
    %s = softmax(%r) {axis=1}
    %q = conv2d(%r, %v)
    %b = conv_transpose2d(%q, %v)
    return %p, %s, %b
}"""


def test_stock_rows_number_four_billion_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first layers of a U-Net for 256 images of 512x512: what TVM schedules itself has 64 bits there."""
    found = list[Any]()
    monkeypatch.setattr(GpuKernels, "_printable", lambda self, module: found.extend(module.functions_items()) or module)
    assert build_cuda(typed_graph(STOCK), tmp_path, batches=(0,), check=False, cached=False).library.fixed
    assert len(found) == 5
    assert [line for _, function in found for line in overflows(function)] == []
