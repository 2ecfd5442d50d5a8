"""What the tables say that an engine appends to a product is what it appends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from convc.backends.onnx.write.export import to_model
from convc.backends.tvm.cpu.plan import plan
from convc.compiler.engines.engine import Engine
from convc.compiler.engines.onnxruntime import APPENDS, ONNXRUNTIME
from convc.compiler.engines.tvm import TVM
from convc.ir.graph import Graph
from convc.ir.ops import OPS
from convc.ir.ops.conv import CONV2D
from convc.passes.manager import Step, run_passes
from convc.tests.support.graphs import typed_graph

CANDIDATES = sorted({kind.name for kinds in (*APPENDS.values(), TVM.prices.appends) for kind in kinds})
PRODUCTS = {
    "conv2d": ("f32[1,16,8,8]", "conv2d", "f32[16,16,1,1]"),
    "conv_transpose2d": ("f32[1,16,8,8]", "conv_transpose2d", "f32[16,16,1,1]"),
    "dense": ("f32[1,16]", "dense", "f32[16,16]"),
}


def followed(product: str, kind: str) -> Graph:
    """A product of an input, and what follows it; a second operand is a product too, as in a residual block."""
    x, op, w = PRODUCTS[product]
    is_binary = kind in ("add", "sub", "mul")
    return typed_graph(f"""graph @g(%x: {x}) {{
        %w = param : {w}
        %v = param : {w}
        {f"%d = {op}(%x, %v)" if is_binary else ""}
        %c = {op}(%x, %w)
        %y = {kind}(%c{", %d" if is_binary else ""}) {"{min=0.0, max=6.0}" if kind == "clip" else ""}
        %s = reduce_sum(%y) {{axes=[1]}}
        return %s
    }}""")


def optimized(graph: Graph, folder: Path) -> list[str]:
    """The operators that onnxruntime makes of it; what only changes the layout is left out."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(to_model(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    return [node.op_type for node in nodes if not node.op_type.startswith("Reorder")]


@pytest.mark.parametrize("kind", CANDIDATES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_onnxruntime_appends_what_its_table_says(product: str, kind: str, tmp_path: Path):
    graph = followed(product, kind)
    nodes = optimized(graph, tmp_path)
    appended = OPS[kind] in APPENDS.get(OPS[product], ())
    assert (len(nodes) < len(list(graph.ops))) is appended, nodes


@pytest.mark.parametrize("kind", sorted(kind.name for kind in TVM.prices.appends))
def test_the_kernel_of_a_convolution_takes_in_what_tvm_appends(kind: str):
    graph = followed("conv2d", kind)
    work = plan(graph).works[graph.by_name["y"]]
    assert work.covers[0].kind is CONV2D


@pytest.mark.parametrize(("engine", "elus"), [(ONNXRUNTIME, 2), (TVM, 1)], ids=["onnx", "tvm"])
def test_siblings_share_an_activation_that_the_engine_appends(engine: Engine, elus: int):
    """TVM computes an elu where a convolution stores its result, before the cut; for onnxruntime it is a layer of its own, after it."""
    graph = typed_graph("""graph @siblings(%x: f32[1,8,12,12]) {
        %v = param : f32[8,8,3,3]
        %w = param : f32[8,8,3,3]
        %a = conv2d(%x, %v)
        %b = conv2d(%x, %w)
        %ra = elu(%a)
        %rb = elu(%b)
        %y = mul(%ra, %rb)
        return %y
    }""")
    free = replace(engine.prices, macs=1e12, layer=0.0, cut=0)
    better, _ = run_passes(graph, [Step("merge-siblings", "test")], free)
    kinds = [node.kind.name for node in better.ops]
    assert (kinds.count("conv2d"), kinds.count("elu")) == (1, elus)
