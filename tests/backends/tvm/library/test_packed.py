"""weights.packed: what is mapped is what would be packed, and a file that is not the library's is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.packed import ALIGNMENT, Packed, map_packed, mapped_arguments, packing, write_packed
from convc.backends.tvm.library.run import LoadedLibrary
from convc.ir.errors import ArtifactError
from convc.ir.graph import Node
from convc.ir.types import Array
from convc.tests.support.graphs import normal_inputs, typed_graph

NET = """graph @net(%x: f32[N,3,20,20]) {
    %w = param : f32[24,3,3,3]
    %v = param : f32[24,24,3,3]
    %u = param : f32[24,1,3,3]
    %k = param : f32[7,24]
    %s = param : f32[1,7]
    %o = param : f32[]
    %a = conv2d(%x, %w)
    %c = conv2d(%a, %v) {pads=[1,1,1,1]}
    %d = conv2d(%c, %u) {groups=24}
    %m = global_avg_pool(%d)
    %f = flatten(%m)
    %h = dense(%f, %k)
    %t = tile(%h) {repeats=[1,1]}
    %z = mul(%t, %s)
    %y = mul(%z, %o)
    return %y
}"""


def _own(node: Node) -> Array:
    assert node.weights is not None
    return node.weights.drawn()


@pytest.mark.parametrize("tiles", [{}, {"c": 2}, {"c": 4}])
def test_the_file_holds_the_arguments_in_order(tmp_path: Path, tiles: dict[str, int]) -> None:
    graph = typed_graph(NET)
    built = build_cpu(graph, tmp_path / "model.so", BuildOptions(tiles))
    packed = write_packed(built.plan, tmp_path / "w")
    assert packed == packing(plan(graph, tiles)) == Packed.of(json.loads(json.dumps(packed.record())))
    arrays = map_packed(tmp_path / "w", packed)
    for argument, array in zip(built.plan.arguments, arrays, strict=True):
        assert array.ctypes.data % ALIGNMENT == 0
        assert not array.flags.writeable
        assert np.array_equal(array, argument.make(_own)), argument.name
    library = replace(built.library, arguments=mapped_arguments(tmp_path / "w", packed))
    inputs = normal_inputs(graph, N=2)
    mapped = LoadedLibrary.load(library).run(inputs)["y"]
    assert np.array_equal(mapped, LoadedLibrary.load(built.library).run(inputs)["y"])


def test_mapped_weights_are_read_where_they_lie(tmp_path: Path) -> None:
    """The network returns a parameter, unchanged: TVM's tensor of it lies in the file's pages."""
    graph = typed_graph("graph @g(%x: f32[32]) { %p = param : f32[32] %y = add(%x, %p) return %y }")
    built = build_cpu(graph, tmp_path / "g.so")
    (argument,) = mapped_arguments(tmp_path / "w", write_packed(built.plan, tmp_path / "w"))
    array = argument.make(_own)
    module = LoadedLibrary.load(replace(built.library, arguments=[argument]))
    assert [tensor.data_ptr() for tensor in module._weights] == [array.ctypes.data]


def test_another_file_is_refused(tmp_path: Path) -> None:
    graph = typed_graph(NET)
    path = tmp_path / "w"
    packed = write_packed(plan(graph, {"c": 4}), path)
    with pytest.raises(ArtifactError, match="laid out otherwise than the manifest says"):
        map_packed(path, packing(plan(graph, {})))
    os.truncate(path, 1000)
    with pytest.raises(ArtifactError, match="laid out otherwise than the manifest says"):
        map_packed(path, packed)
    path.write_bytes(b"")
    with pytest.raises(ArtifactError, match="cannot be mapped into memory"):
        map_packed(path, packed)
    path.unlink()
    with pytest.raises(ArtifactError, match="cannot be mapped into memory"):
        map_packed(path, packed)


def test_weights_of_the_same_network_have_the_same_layout() -> None:
    """So a C program need not be built again for new weights, and one of another form is refused."""
    assert packing(plan(typed_graph(NET))).layout == packing(plan(typed_graph(NET.replace("%w = param", "%w = param {init=small}")))).layout
    assert packing(plan(typed_graph(NET), {"c": 4})).layout != packing(plan(typed_graph(NET), {})).layout


def test_what_a_library_needs_is_part_of_the_layout() -> None:
    """So a C program, which has asked for what it knows of, is refused."""
    assert packing(plan(typed_graph(NET)), needs=("avx2",)).layout != packing(plan(typed_graph(NET)), needs=("avx2", "avx512fp16")).layout
