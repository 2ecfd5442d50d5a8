"""What TVM gets wrong of kernels for CUDA and convc mends, seen without a GPU: in the source, or with the threads run one after another."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.kernels.epilogue import GPU_STEPS
from convc.backends.tvm.cuda.repairs import exact_constants
from convc.backends.tvm.cuda.scheduling import GpuKernels
from convc.backends.tvm.cuda.target import cuda_target
from convc.backends.tvm.host import tvm, tvm_ffi
from convc.backends.tvm.library.pipeline import fused_where_possible
from convc.backends.tvm.stock.lower import lower
from convc.ir.graph import Graph
from convc.ir.op import OpDef
from convc.ir.ops.activation import LEAKY_RELU, LeakyRelu
from convc.ir.ops.activation_variants import ELU, HARD_SIGMOID, SELU, Elu, HardSigmoid, Selu
from convc.ir.types import Array
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph

SUMS_OF_ONE = {
    "epilogue": """(%x: f32[N,4,5,6]) {
        %d = param : f32[4,1,2,2]
        %c = param {init=small} : f32[4]
        %y = conv_transpose2d(%x, %d, %c) {strides=[2,2], groups=4}
        return %y""",
    "formula": "(%x: f32[N,8,5,4]) { %y = local_response_norm(%x) {size=1, alpha=1.0} return %y",
}


@pytest.mark.parametrize("case", SUMS_OF_ONE)
def test_a_sum_of_one_element_is_not_taken_twice(case: str) -> None:
    graph = typed_graph(f"graph @g {SUMS_OF_ONE[case]} }}")
    arrays = normal_inputs(graph, N=2)
    run = _threads_in_turn(graph)
    hold_to_reference(graph, {"y": run(*(arrays[node.name] for node in graph.inputs))}, arrays)


def test_what_is_padded_while_it_is_summed_is_not_read_beforehand(tmp_path: Path) -> None:
    """dlight's Matmul reads it into shared memory, where the image has it and where not."""
    text = "graph @g(%x: f32[N,4,5,6,7]) { %w = param : f32[6,4,2,3,3] %y = conv3d(%x, %w) {PADS} return %y }"
    padded, plain = (typed_graph(text.replace("PADS", pads)) for pads in ("pads=[1,1,1,1,1,1]", "pads=[0,0,0,0,0,0]"))
    assert "__shared__" not in build_cuda(padded, tmp_path, check=False).source.read_text()
    assert "__shared__" in build_cuda(plain, tmp_path, check=False).source.read_text()


IN_ONE_KERNEL = {  # and TVM would take them for never, and for x
    "is no number": ("%e = equal(%x, %x) %n = logical_not(%e) %y = cast(%n) {to=f32}", [1, 0, 0, 0, 0, 0]),
    "rounded": ("%c = param {init=full, value=12582912.0} : f32[] %a = add(%x, %c) %y = sub(%a, %c)", [np.nan, np.inf, -np.inf, 0, 2, -4]),
}


@pytest.mark.parametrize(("lines", "wanted"), IN_ONE_KERNEL.values(), ids=IN_ONE_KERNEL)
def test_what_holds_of_numbers_alone_is_not_simplified(lines: str, wanted: list[float]) -> None:
    run = _threads_in_turn(typed_graph(f"graph @g(%x: f32[6]) {{ {lines} return %y }}"))
    assert np.array_equal(run(np.array([np.nan, np.inf, -np.inf, 0.5, 1.5, -3.7], np.float32)), wanted, equal_nan=True)


NO_SLOPE = {LEAKY_RELU: LeakyRelu(alpha=0.0), HARD_SIGMOID: HardSigmoid(alpha=0.0), ELU: Elu(alpha=0.0), SELU: Selu(gamma=0.0)}


@pytest.mark.parametrize("kind", NO_SLOPE, ids=lambda kind: kind.name)
def test_products_with_the_number_0_stay_in_kernels_of_ours(kind: OpDef[Any]) -> None:
    """TVM would have folded them as they were made: what is left names the value, which may be none or infinite."""
    tirx = tvm().tirx
    value = tirx.Var("value", "float32")
    scalars = SimpleNamespace(
        tirx=tirx, settle=lambda each: each, Select=tirx.Select, const=lambda x, dtype="float32": tirx.const(x, dtype)
    )
    left: Any = GPU_STEPS[kind](scalars, NO_SLOPE[kind], value, None)
    choices = (left.true_value, left.false_value) if kind is not HARD_SIGMOID else (left.condition,)
    assert all("value" in str(choice) for choice in choices)


MASKS = {
    "read": "%f = cast(%m) {to=f32} %y = mul(%d, %f)",
    "choosing": "%z = param : f32[] %y = where(%m, %d, %z)",
    "left": "%z = param : f32[] %y = less(%d, %z)",
}


@pytest.mark.parametrize("lines", MASKS.values(), ids=MASKS)
def test_truth_values_have_one_byte_each(lines: str, tmp_path: Path) -> None:
    """dlight's Matmul takes several beside each other at once, which TVM prints as if each had two."""
    text = f"graph @g(%x: f32[N,64], %m: bool[N,32]) {{ %w = param : f32[32,64] %d = dense(%x, %w) {lines} return %y }}"
    assert "(ushort2*)" not in build_cuda(typed_graph(text), tmp_path, check=False).source.read_text().partition("__global__")[2]


SLOPES = {
    "f64": [4 / 7, 1 / 3, math.pi, 1e-300, 1e300, 5e-324, 2.2250738585072014e-308, 123456789.12345679, 1.5, 0.1, 3e-15],
    "f32": [4 / 7, 0.1, 1e-38, 1e-45, 16777217.0, math.pi],
}


@pytest.mark.parametrize("dtype", SLOPES)
def test_constants_are_printed_exactly(dtype: str, tmp_path: Path) -> None:
    """TVM prints those of float64 with 15 digits after the point."""
    slopes = SLOPES[dtype]
    lines = " ".join(f"%y{i} = leaky_relu(%x) {{alpha={slope!r}}}" for i, slope in enumerate(slopes))
    graph = typed_graph(f"graph @g(%x: {dtype}[4]) {{ {lines} return {', '.join(f'%y{i}' for i in range(len(slopes)))} }}")
    code = build_cuda(graph, tmp_path, check=False).source.read_text()
    single = np.float32 if dtype == "f32" else np.float64
    assert sorted(map(single, _factors(code))) == sorted(map(single, slopes))


def test_a_constant_in_float16_is_rounded_once() -> None:
    """In the source it stands in float32, where this one would lie in the middle between two."""
    host = tvm()
    half = host.te.compute((1,), lambda i: host.tirx.const(1 + 2**-11 + 2**-40, "float16"))
    (store,) = _found(exact_constants(host.te.create_prim_func([half])), host.tirx.BufferStore)
    assert store.value.value == 1 + 2**-10


NAMES = """graph @names(%"/Abs_output_0": f32[float,4], %"3x": f32[float,4], %"深度": f32[float,4], %"float": f32[float,4], %"a/b": f32[float,4],
    %"a.b": f32[float,4], %"a b": f32[float,4], %"a_b_1": f32[float,4], %"__shared__": f32[threadIdx,M_PI]) {
    %"/y" = add(%"/Abs_output_0", %"3x")
    %"threadIdx" = mul(%"/y", %"深度")
    %"main" = add(%"threadIdx", %"float")
    %"p/q" = add(%"main", %"a/b")
    %"p.q" = add(%"p/q", %"a.b")
    %"p q" = add(%"p.q", %"a b")
    %"blockIdx.x" = mul(%"p q", %"a_b_1")
    %"template" = softmax(%"__shared__")
    return %"blockIdx.x", %"threadIdx", %"template"
}"""


def test_values_and_sizes_may_have_any_name(tmp_path: Path) -> None:
    code = build_cuda(typed_graph(NAMES), tmp_path, check=False).source.read_text()
    kernels = re.findall(r"^extern \"C\" __global__ void __launch_bounds__\(\d+\) (\w+)\((.*)\) \{$", code, re.MULTILINE)
    assert len(kernels) == 3
    for name, params in kernels:
        names = [
            re.fullmatch(r"(?:float\* __restrict__|int64_t) ([A-Za-z]\w*(?:_ptr(?:_\d+)?|_arg))", param) for param in params.split(", ")
        ]
        assert None not in names, f"{name}({params})"
        assert len({match[1] for match in names if match}) == len(names), params
    assert code.isascii()
    assert not re.search(r"Abs_output_0(?!_ptr)|\b3x", code)


def _factors(code: str) -> list[float]:
    """What x is multiplied by, kernel by kernel."""
    found: list[float] = []
    for kernel in code.split('extern "C"')[1:]:
        bits = dict(re.findall(r"int64_t (\w+) = \(int64_t\)(\d+);", kernel))
        for factor in re.findall(r"x_ptr\[[^]]*\] \* (.*?)\);$", kernel, re.MULTILINE):
            if match := re.fullmatch(r"\(\*\(double \*\)\(&\((\w+)\)\)\)", factor):
                found += struct.unpack("<d", struct.pack("<q", int(bits[match[1]])))
            elif factor.startswith("0x"):
                found.append(float.fromhex(factor.partition("f/*")[0]))
            else:
                found.append(float(factor))
    return found


def _threads_in_turn(graph: Graph) -> Callable[..., Array]:
    """The kernels of a graph scheduled for CUDA, with their threads as loops: right for those that wait for nobody."""
    host = tvm()
    passes, tirx = host.relax.transform, host.tirx
    cuda = cuda_target()

    @host.transform.module_pass(opt_level=0)
    def in_turn(module: Any, context: Any) -> Any:
        def loop(at: Any) -> Any:
            return tirx.For(at.loop_var, at.min, at.extent, tirx.ForKind.SERIAL, at.body) if at.thread_binding is not None else at

        for var, function in list(module.functions_items()):
            if isinstance(function, tirx.PrimFunc):
                assert _found(function, tirx.For)
                module[var] = function.with_body(tvm_ffi().structural_map(function.body, (tirx.For, loop), order="post"))
        return module

    steps = [
        passes.LegalizeOps(),
        passes.AnnotateTIROpPattern(),
        passes.FoldConstant(),
        fused_where_possible(),
        GpuKernels(cuda).scheduled(),
        in_turn,
    ]
    with cuda:
        module = host.transform.Sequential(steps)(lower(graph, on_gpu=True))
    executable = host.compile(module, target=host.target.Target({"kind": "llvm"}))
    weights = [host.runtime.tensor(node.weights.drawn()) for node in graph.params if node.weights]
    run = host.relax.VirtualMachine(executable, host.cpu())["main"]
    return lambda *arrays: run(*map(host.runtime.tensor, arrays), *weights)[0].numpy()


def _found(function: Any, kind: Any) -> list[Any]:
    found: list[Any] = []
    tvm_ffi().structural_walk(function.body, (kind, found.append))
    return found
