"""A small network, and libraries of TVM's: built, and held to the reference."""

from __future__ import annotations

import os

from convc.backends.tvm.cpu.lower import lower_plan
from convc.backends.tvm.cpu.plan import KernelPlan
from convc.backends.tvm.host import host_target
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.built import Library
from convc.backends.tvm.library.compile_kernels import compile_kernels
from convc.backends.tvm.library.link import export
from convc.backends.tvm.library.pipeline import cpu_pipeline
from convc.backends.tvm.library.run import LoadedLibrary
from convc.backends.tvm.store.cache import usable_cache
from convc.compiler.engines.engine import Run
from convc.ir.binding import batch_names, specialize
from convc.ir.files import scratch_folder
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.tests.support.graphs import hold_to_reference, normal_inputs

SMALL = """graph @small(%x: f32[N,3,16,16]) {
    %w = param : f32[8,3,3,3]
    %b = param : f32[8]
    %v = param : f32[10,8]
    %conv1 = conv2d(%x, %w, %b) {strides=[2,2], pads=[1,1,1,1]}
    %relu1 = relu(%conv1)
    %pool1 = max_pool(%relu1) {kernel=[2,2], strides=[2,2]}
    %mean = global_avg_pool(%pool1)
    %flat = flatten(%mean)
    %scores = dense(%flat, %v)
    %y = softmax(%scores)
    return %y
}"""
# What is said where the folder for temporary files, `full`, takes none.
FULL = r"^cannot write temporary files in '.*full': No such file or directory; set TMPDIR to a folder"


def build_and_hold(graph: Graph, *settings: dict[str, int], inputs: dict[str, Array] | None = None) -> LoadedLibrary:
    """Build a graph for this machine and compare it with the reference, once for each setting of its named sizes."""
    with scratch_folder() as folder:
        built = build_cpu(graph, folder / "model.so", BuildOptions(single=False))
        assert os.listdir(folder) == ["model.so"]
        module = LoadedLibrary.load(built.library)
        for seed, sizes in enumerate(settings or ({},)):
            arrays = inputs if inputs is not None else normal_inputs(graph, seed, **sizes)
            hold_to_reference(graph, module.run(arrays), arrays)
        return module


def sizes_of(batch: str) -> list[dict[str, int]]:
    """Settings to try of a batch that has the name N, or is a number."""
    return [{"N": 1}, {"N": 3}] if batch == "N" else [{}]


def start_stock(graph: Graph, threads: int | None = None) -> Run:
    """A graph computed by stock rows alone, for any batch and for one image."""
    target = host_target()
    whole, one = (KernelPlan(each, {}, frozenset()) for each in (graph, specialize(graph, dict.fromkeys(batch_names(graph), 1))))
    with scratch_folder() as folder:
        paths = {folder / "model.so": whole} | ({folder / "single.so": one} if one.takes == whole.takes else {})
        for path, stock in paths.items():
            with target:
                module = cpu_pipeline(target)(lower_plan(stock))
                export(compile_kernels(module, target, 1, usable_cache()[0]).executable, path, target)
        library = Library(folder / "model.so", graph, whole.arguments, whole.calls, [*paths, None][1])
        return LoadedLibrary.load(library, threads=threads).run
