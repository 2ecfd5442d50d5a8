"""Register tiles fit the registers of the processor that a kernel is compiled for: no sum of a product goes to the stack and back."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.attributes import IN_PLACE
from convc.backends.tvm.cpu.kernels.dense import dense
from convc.backends.tvm.cpu.kernels.depthwise import depthwise
from convc.backends.tvm.cpu.kernels.direct.kernel import direct
from convc.backends.tvm.cpu.kernels.direct.size import Direct
from convc.backends.tvm.cpu.kernels.narrow import narrow
from convc.backends.tvm.cpu.kernels.planes import depthwise_planes
from convc.backends.tvm.cpu.kernels.transposed.kernel import transposed
from convc.backends.tvm.cpu.kernels.transposed.phases import Transposed
from convc.backends.tvm.cpu.kernels.volumes import Volume, direct_volume
from convc.backends.tvm.cpu.kernels.weight_gradient import WeightGradient, weight_gradient
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cpu.kernels.winograd.arrangement import Tiled
from convc.backends.tvm.cpu.kernels.winograd.groups import winograd_groups
from convc.backends.tvm.cpu.kernels.winograd.kernel import winograd
from convc.backends.tvm.cpu.kernels.winograd.weight_gradient import TiledWeightGradient, tiled_weight_gradient
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.host import instruction_sets, tvm
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.compile_kernels import passes_for
from convc.backends.tvm.library.run import LoadedLibrary
from convc.backends.tvm.processor import AVX2, AVX512, NEON, SSE, Processor, processor_of
from convc.ir.ops.conv_transpose import ConvTranspose2d
from convc.models import ZOO
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph

PADS = (1, 1, 1, 1)
UPSAMPLING = Transposed(28, 28, (2, 2), ConvTranspose2d((2, 2)), (56, 56))
FILM = Volume(1, 16, 32, Window(8, 1, (3, 1), (1, 1), (1, 0, 1, 0)), Window(28, 28, (3, 3), (1, 1), PADS))
LAYER = Window(28, 28, (3, 3), (1, 1), PADS)
TARGETS = [
    {"kind": "llvm", "mcpu": "x86-64-v2"},
    {"kind": "llvm", "mcpu": "x86-64-v3"},
    {"kind": "llvm", "mcpu": "znver3"},
    {"kind": "llvm", "mcpu": "neoverse-n1", "mtriple": "aarch64-linux-gnu"},
]
# the kernel, and what share of a loop's lines may name the stack: what a window reads again, LLVM keeps longer than it should, and of the way
# back of 36 sums it has no room for more
KERNELS: dict[str, tuple[Callable[[Processor], Any], float]] = {
    "direct": (lambda processor: direct(Direct(1, 4, 16, Window(28, 28, (3, 3), (2, 2), PADS), 4, 1, (), processor=processor)), 0),
    "winograd": (lambda processor: winograd(Tiled(4, 1, 256, 64, 14, 14, PADS, processor=processor)), 0),
    "winograd groups": (lambda processor: winograd_groups(Tiled(4, 1, 64, 64, 14, 14, PADS, processor=processor), 2), 0),
    "dense": (lambda processor: dense(None, (64,), 64, (), processor), 0),
    "narrow": (lambda processor: narrow(1, 48, 8, Window(28, 28, (3, 3), (1, 1), PADS), (), processor), 0),
    "planes": (lambda processor: depthwise_planes(1, 3, Window(28, 83, (3, 3), (1, 1), PADS), (), processor), 0),
    "transposed": (lambda processor: transposed(UPSAMPLING, 1, 4, 4, 1, (), processor), 0),
    "volumes": (lambda processor: direct_volume(FILM, (), processor), 0.1),
    "weight gradient": (lambda processor: weight_gradient(WeightGradient(None, 64, 64, LAYER, processor=processor)), 0),
    "winograd weight gradient": (lambda processor: tiled_weight_gradient(TiledWeightGradient(4, 2, 64, 64, 28, 28, PADS, processor)), 0.25),
    "depthwise": (lambda processor: depthwise(1, 32, Window(28, 28, (3, 3), (1, 1), PADS), (), processor), 0.1),
}
PRODUCT = re.compile(r"\s(v?fmadd\w+|mulps|fmla)\s")
ON_STACK = re.compile(r"[xyz]mm\d.*\(%rsp|\(%rsp.*[xyz]mm\d|\b[qv]\d.*\[sp")
LABEL = re.compile(r"(\.L\w+):")
JUMP = re.compile(r"\s(?:j\w+|b\.?\w*|cbn?z|tbn?z)\s.*?(\.L\w+)$")


def assembly(function: Any, target: dict[str, str]) -> str:
    host = tvm()
    module = host.IRModule({"main": function.with_attr("global_symbol", "main")})
    with passes_for(function.with_attr(IN_PLACE, 0)):
        return str(host.tirx.build(module, target=host.target.Target(target)).inspect_source("asm"))


def product_loops(text: str) -> list[list[str]]:
    """The innermost loops that do little but multiply and add, SSE in two instructions and a copy. Winograd's transforms mostly add."""
    lines = text.splitlines()
    labels = {found[1]: at for at, line in enumerate(lines) if (found := LABEL.match(line))}
    ends = {at: found[1] for at, line in enumerate(lines) if (found := JUMP.search(line))}
    loops = [(labels[label], at) for at, label in ends.items() if labels.get(label, at) < at]
    inner = [lines[a : b + 1] for a, b in loops if not any(a <= c and d <= b and (c, d) != (a, b) for c, d in loops)]
    return [loop for loop in inner if sum(bool(PRODUCT.search(line)) for line in loop) > 0.22 * len(loop)]


def on_stack(loop: list[str]) -> list[str]:
    return [line for line in loop if ON_STACK.search(line)]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["mcpu"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_products_stay_in_registers(kernel: str, target: dict[str, str]):
    processor = processor_of(target["mcpu"], instruction_sets(tvm().target.Target(target)))
    assert processor in (AVX2, NEON, SSE)
    build, share = KERNELS[kernel]
    loops = product_loops(assembly(build(processor), target))
    assert loops
    for loop in loops:
        assert len(on_stack(loop)) <= share * len(loop), "\n".join(loop)


@pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS if kernel != "planes"])  # AVX2 has room for its four sums
def test_tiles_for_wider_registers_do_not(kernel: str):
    """So the test above sees what it looks for."""
    build, _ = KERNELS[kernel]
    lines = assembly(build(AVX512), TARGETS[1]).splitlines()
    assert sum(bool(PRODUCT.search(line)) for line in lines) < 2 * len(on_stack(lines))


@pytest.mark.parametrize(("processor", "blocks", "pairs"), [(AVX512, 30, 14), (AVX2, 6, 2), (NEON, 6, 2), (SSE, 2, 1)])
def test_sums_leave_room_for_what_is_loaded(processor: Processor, blocks: int, pairs: int):
    assert (processor.sums(16), processor.sums(32)) == (blocks, pairs)
    for count, floats in ((blocks, 16), (pairs, 32)):
        assert count == 1 or (count + 1) * floats + processor.lanes <= processor.floats


# 224 channels @7: what AVX-512 computes directly, since weights for Winograd's way would come too slow, SSE does not
NETWORK = """graph @g(%x: f32[N,3,28,28]) {
  %w1 = param : f32[224,3,7,7]
  %w2 = param : f32[224,224,3,3]
  %w3 = param : f32[224,1,3,3]
  %w4 = param : f32[40,224,1,1]
  %w5 = param : f32[37,40]
  %w6 = param : f32[40,40,2,2]
  %w7 = param : f32[40,1,3,3]
  %a = conv2d(%x, %w1) {strides=[2,2], pads=[3,3,3,3]}
  %b = max_pool(%a) {kernel=[3,3], strides=[2,2], pads=[1,1,1,1]}
  %c = conv2d(%b, %w2) {pads=[1,1,1,1]}
  %d = relu(%c)
  %e = conv2d(%d, %w3) {pads=[1,1,1,1], groups=224}
  %f = conv2d(%e, %w4)
  %t = conv_transpose2d(%f, %w6) {strides=[2,2]}
  %u = conv_transpose2d(%t, %w7) {groups=40}
  %h = avg_pool(%u) {kernel=[3,3], strides=[2,2]}
  %i = global_avg_pool(%h)
  %j = flatten(%i)
  %y = dense(%j, %w5)
  return %y
}
"""


@pytest.mark.parametrize("mcpu", ["x86-64-v2", "x86-64-v3"])
def test_a_library_for_a_lesser_processor_runs_here(mcpu: str, tmp_path: Path):
    """Loaded as any other: the processor changes kernels, and no argument that they take."""
    graph = typed_graph(NETWORK)
    tiles = plan(graph).tiles
    assert plan(graph, processor=SSE).tiles != tiles
    module = LoadedLibrary.load(build_cpu(graph, tmp_path / "model.so", BuildOptions(tiles, mcpu, single=False)).library)
    for images in (1, 11):
        inputs = normal_inputs(graph, images, N=images)
        hold_to_reference(graph, module.run(inputs), inputs)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet", "densenet121", "filters"])
def test_every_rule_tells_its_kernel_the_processor(name: str) -> None:
    """One that does not would compile tiles of AVX-512 for all."""
    for work in plan(ZOO[name].network(), processor=AVX2).works.values():
        build = work.kernel.build
        signature = inspect.signature(build.func)
        given = signature.bind_partial(*build.args, **build.keywords).arguments
        sizes = [value for value in given.values() if isinstance(value, Direct | Tiled)]
        if sizes or "processor" in signature.parameters:
            assert [size.processor for size in sizes] or given.get("processor") == AVX2, work.kernel.name
            assert all(size.processor == AVX2 for size in sizes), work.kernel.name
