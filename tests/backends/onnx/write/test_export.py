"""Export against onnx's own checker, and every op against onnxruntime at several opsets."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import convc as cc
from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.read.operators import ROWS as READ
from convc.backends.onnx.session import Session, version
from convc.backends.onnx.write.export import newest_opset, to_model
from convc.backends.onnx.write.onnx_rows import ROWS
from convc.backends.unsupported import Unsupported
from convc.compiler.files.inputs import random_inputs
from convc.ir.errors import UnsupportedOp, UsageError
from convc.ir.graph import Graph
from convc.ir.parser import parse_graph
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph, without
from convc.tests.support.onnx_files import written
from convc.tests.support.op_cases import CASES, INDEXED, LAYERS, STRUCTURE, text_of
from convc.tests.support.tiers import EACH_NETWORK, small

OPSETS = (13, 17, 18, 22)
FUNCTIONS = ("gates", "unary", "binary", "compare", "half_gates", "double_gates")  # as STRUCTURE, of which the forms depend on the opset
GRIDS = (
    *(f"grid_sample.{name}" for name in ("plain", "corners", "border", "near", "near_border")),
    *(f"grid_sample-more.{name}" for name in ("mirror", "mirror_corners", "cubic", "cubic_border", "cubic_mirror")),
)
POOLED = ("plain", "padded", "dilated", "ceil", "dropped", "ties", "sequence", "volume")
# What ONNX itself has no words for: (variant, first opset that has them), or None for no opset.
NOT_IN_ONNX = {
    **dict.fromkeys(("avg_pool.dilated", "avg_pool.dilated_counted", "avg_pool.ceil_dilated"), 19),
    "pools_of_sequences.sparse": 19,
    **dict.fromkeys(("lp_pools.dilated", "lp_pools.line"), 18),
    **dict.fromkeys((f"centred.{name}" for name in ("cropped", "padded", "both", "batch", "truth", "either")), 18),
    **dict.fromkeys(("integers.wrap", "integers.bytes", "integers.short", "integers.small"), 14),  # 8-bit arithmetic
    **dict.fromkeys(("resize-symmetric.part", "resize-symmetric.near"), 19),  # elsewhere half_pixel says the same
    **dict.fromkeys((f"max_pool_gradient.{name}" for name in POOLED), 16),
    **dict.fromkeys(("scatter.added", "scatter.scaled", "scatter.part", "scatter.sums", "scatter.products"), 16),
    **dict.fromkeys(("scatter.most", "scatter.least", "scatter.greatest", "scatter.smallest"), 18),
    **dict.fromkeys((f"diagonals.{name}" for name in ("upper", "lower", "right", "left", "nothing", "whole", "truth")), 14),
    **dict.fromkeys(("running_products.products", "running_products.product", "running_products.whole"), 26),
    "mod.signed": 28,
    **dict.fromkeys((f"attention.{name}" for name in ("plain", "flat", "causal", "masked", "biased", "shares")), 23),
    **dict.fromkeys((f"attention_with_past.{name}" for name in ("y", "keys", "values")), 23),
    **dict.fromkeys((f"rotary_embedding.{name}" for name in ("plain", "pairs", "part", "flat", "placed")), 23),
    **dict.fromkeys(("quantized_blocks.steps", "quantized_blocks.uneven"), 21),
    "attention_with_past.short": 24,
    "attention_with_past.near": 25,
    "grid_sample-more.volume": 20,
    **dict.fromkeys((f"resize-filters.{name}" for name in ("line", "both", "inside", "cubic", "keys", "sequence")), 18),
    **dict.fromkeys((f"resize-policies.{name}" for name in ("less", "more", "small", "smooth")), 18),
    **dict.fromkeys((f"deform_conv2d.{name}" for name in ("plain", "bias", "groups", "masked", "depthwise")), 19),
    **dict.fromkeys(GRIDS, 16),
    **dict.fromkeys(("lengths_of_sequences.batch", "lengths_of_sequences.batch_end"), 14),
    **dict.fromkeys(("roi_align.mean", "roi_align.sampled", "roi_align.most"), 16),
    **dict.fromkeys(("whole.sums", "whole.wraps", "whole.up"), None),  # convolution of integers
}
# What the spec allows and onnxruntime does not run on a CPU, with its own words.
NOT_IN_ONNXRUNTIME = {
    "avg_pool.dilated": "pads\\[dim\\] < kernel_shape",
    "avg_pool.dilated_counted": "pads\\[dim\\] < kernel_shape",
    "avg_pool.ceil_dilated": "pads\\[dim\\] < kernel_shape",
    "local_response_norm.even": "size_ % 2 == 1",
    "local_response_norm.line": "running LRN node",
    "resize_of_sequences.cubic": "'Cubic' mode only supports",
    "double.conv": "Could not find an implementation for Conv",
    "double.avg": "Could not find an implementation for AveragePool",
    "integer_products.filters": "lacks a kernel .* conv_integer2d with the zero points",
    **dict.fromkeys(("integer_products.rows", "integer_products.column"), "lacks a kernel .* matmul_integer with the zero points"),
    "compare.truth": "Could not find an implementation for Where",
    "attention_with_past.near": "invalid model",
    "lengths_of_sequences.batch": "Batchwise recurrent operations",
    "lengths_of_sequences.batch_end": "Batchwise recurrent operations",
}
# Operators of which it has no kernel from some opset on.
NO_NEWER_KERNEL = {f"roi_align.{name}": 22 for name in ("mean", "sampled", "old", "most")}
# Wrong results of onnxruntime 1.23.2, the last for Python 3.10; 1.31.1 is right. By variant: the opsets; None is the default.
WRONG_BEFORE_1_24 = {
    "avg_pool.counted": (22, None),
    "avg_pool.ceil_counted": (13, 17, 18),
    "resize-nearest-asymmetric.r9": (13, 17, 18, 22, None),
    "binary.byte": (13, 17, 18, 22, None),  # no Max of bytes
    # It takes models of opset 23, but has QuantizeLinear up to 22 only.
    **dict.fromkeys((f"quantized.{name}" for name in ("byte", "signed", "channels", "rows", "ties", "round")), (None,)),
}
OLD = tuple(map(int, version().split(".")[:2])) < (1, 24)


def _variants(case):
    """A graph for each output of a case, so that a refusal is one op's and not the whole graph's."""
    graph = typed_graph(text_of(case))
    return [Graph.of(f"{case}.{node.name}", graph.inputs, (node,), graph.nodes) for node in graph.outputs if node.inputs]


VARIANTS = {graph.name: graph for case in CASES for graph in _variants(case)}


def test_the_cases_cover_every_op():
    tried = {node.kind for graph in VARIANTS.values() for node in graph.ops}
    assert {op for op, row in ROWS.items() if not isinstance(row, Unsupported) and not op.facts.opaque} <= tried


def test_every_operator_that_is_written_can_be_read():
    late = newest_opset() + 1
    models = (to_model(graph) for name, graph in VARIANTS.items() if (NOT_IN_ONNX.get(name, 0) or late * (name in NOT_IN_ONNX)) < late)
    assert {node.op_type for model in models for node in model.graph.node} <= set(READ)


@pytest.mark.parametrize("opset", [*OPSETS, None], ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_op_agrees_with_onnxruntime(name, opset):
    graph = VARIANTS[name]
    first = NOT_IN_ONNX.get(name, 0)
    if first is None or (opset or newest_opset()) < first:
        with pytest.raises(UnsupportedOp, match="opset"):
            to_model(graph, opset)
        return
    model = to_model(graph, opset)
    onnx.checker.check_model(model, full_check=True)
    if (opset or newest_opset()) >= NO_NEWER_KERNEL.get(name, 99):
        with pytest.raises(cc.ConvcError, match="Could not find an implementation"):
            Session(graph, model.SerializeToString()).run(normal_inputs(graph, N=1))
        return
    if name in NOT_IN_ONNXRUNTIME:
        with pytest.raises(cc.ConvcError, match=NOT_IN_ONNXRUNTIME[name]):
            Session(graph, model.SerializeToString()).run(normal_inputs(graph, N=1))
        return
    if OLD and opset in WRONG_BEFORE_1_24.get(name, ()):
        pytest.skip("a fault of this old onnxruntime, mended in newer ones")
    session = Session(graph, model.SerializeToString())
    for batch in (1, 3):
        inputs = normal_inputs(graph, seed=batch, N=batch)
        hold_to_reference(graph, session.run(inputs), inputs)


@pytest.mark.parametrize("opset", range(13, onnx.defs.onnx_opset_version() + 1))  # older ones: test_older_opsets.py
@pytest.mark.parametrize("case", [*FUNCTIONS, *STRUCTURE, *INDEXED, *LAYERS])
def test_the_checker_of_every_opset_accepts_every_variant(case, opset):
    late = [name.removeprefix(f"{case}.") for name, first in NOT_IN_ONNX.items() if first is None or opset < first]
    onnx.checker.check_model(to_model(without(typed_graph(text_of(case)), *late), opset), full_check=True)


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_zoo_model_passes_the_full_checker_and_keeps_its_names(name):
    graph = small(name)
    model = to_model(graph)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == [node.name for node in graph.inputs]
    assert [value.name for value in model.graph.output] == [node.name for node in graph.outputs]
    results, names = {result for node in model.graph.node for result in node.output}, {node.name for node in graph.ops}
    assert names <= results  # of a Split several
    assert all(more.rpartition(".")[0] in names for more in results - names)  # a named size that an Expand goes to
    assert model.producer_name == "convc"
    assert all(node.doc_string.startswith("at ") for node in model.graph.node), "a node without its source line"


def test_a_named_batch_stays_symbolic():
    graph = cc.models.lenet5()
    model = to_model(graph)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    session = Session(graph, model.SerializeToString())
    for batch in (1, 7):
        inputs = random_inputs(graph, sizes={"N": batch})
        np.testing.assert_allclose(session.run(inputs)["softmax1"], reference.run(graph, inputs)["softmax1"], rtol=1e-4)


def test_bytes_are_deterministic():
    first, second = (to_model(cc.models.resnet20()).SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("opset", range(10, 23))  # its shortcuts are slices with steps
def test_every_opset_exports_and_runs(opset):
    graph = cc.models.resnet20()
    model = to_model(graph, opset)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == opset
    inputs = random_inputs(graph)
    np.testing.assert_allclose(
        Session(graph, model.SerializeToString()).run(inputs)["softmax1"], reference.run(graph, inputs)["softmax1"], rtol=1e-3
    )


def test_the_default_opset_is_the_newest_that_runs():
    """One more than the default is refused by onnxruntime, or unknown to onnx."""
    graph = typed_graph("graph @g(%x: f32[N,3]) {\n  %y = relu(%x)\n  return %y\n}\n")
    newest = newest_opset()
    assert to_model(graph).opset_import[0].version == newest >= 22
    Session(graph, to_model(graph).SerializeToString())
    if newest < onnx.defs.onnx_opset_version():
        with pytest.raises(cc.ConvcError, match="onnxruntime refuses"):
            Session(graph, to_model(graph, newest + 1).SerializeToString())


@pytest.mark.parametrize("opset", [0, 6, 1000])
def test_an_opset_nobody_supports_is_refused(opset):
    with pytest.raises(UsageError, match=f"opset {opset} is not supported; choose 7 to"):
        to_model(cc.models.mlp(), opset)


NAMED = {
    "one size that ONNX infers": ("%y = reshape(%x) {shape=[N,4,H,8]}", ["Reshape"]),
    "two sizes": ("%y = reshape(%x) {shape=[H,8*N,4]}", ["Shape", "Shape", "Mul", "Concat", "Reshape"]),
    "a crop": ("%y = slice(%x) {axes=[1], starts=[H//2], ends=[H-1]}", ["Shape", "Div", "Add", "Slice"]),
    "a shorter axis": ("%y = slice(%x) {axes=[1,0], starts=[1,0], ends=[-2,9223372036854775807], steps=[2,1]}", ["Slice"]),
    "a resize": ("%y = resize(%x) {sizes=[2*H//3+1,5]}", ["Shape", "Mul", "Div", "Add", "Concat", "Resize"]),
    "two of one size": (
        "%a = resize(%x) {sizes=[H,N]} %b = resize(%x) {sizes=[H,N], mode=bilinear} %y = add(%a, %b)",
        ["Shape", "Shape", "Concat", "Resize", "Resize", "Add"],
    ),
    "half of the rows, 2*H+2": ("%y = reshape(%x) {shape=[N,H+1,64]}", None),
    "half of the rows less one, 2*H+2": ("%y = slice(%x) {axes=[1], starts=[H], ends=[2*H]}", ["Shape", "Sub", "Div", "Mul", "Slice"]),
    "an expand": ("%t = reshape(%x) {shape=[N,1,32*H]} %y = expand(%t) {shape=[N,N,1]}", None),
    "a range": ("%s = param {init=full, value=2} : i32[] %y = range(%s, %s) {count=N*H}", None),
}


@pytest.mark.parametrize("opset", [13, newest_opset()])
@pytest.mark.parametrize("name", NAMED)
def test_named_sizes_are_computed_from_the_inputs_and_come_back(name, opset, tmp_path):
    lines, wanted = NAMED[name]
    rows = "2*H+2" if "2*H+2" in name else "H"
    graph = typed_graph(f"graph @g(%x: f32[N,{rows},4,8]) {{ {lines} return %y }}")
    model = to_model(graph, opset)
    if wanted and not (opset == 13 and "Shape" in wanted):  # which gives single extents from opset 15 on
        assert [node.op_type for node in model.graph.node] == wanted
    back = read_graph(written(tmp_path, model)).graph
    assert str(back.outputs[0].type) == str(graph.outputs[0].type)
    session = Session(graph, model.SerializeToString())
    for n, h in ((1, 5), (3, 12)):
        x = random_inputs(graph, seed=n, sizes={"N": n, "H": h})
        expected = reference.run(graph, x)["y"]
        np.testing.assert_allclose(session.run(x)["y"], expected, rtol=1e-6)
        np.testing.assert_allclose(reference.run(back, x)["y"], expected, rtol=1e-6)


def test_a_size_that_no_input_tells_is_refused():
    graph = typed_graph("graph @g(%x: f32[H//2,4]) { %z = reshape(%x) {shape=[2,H//2,2]} %y = expand(%z) {shape=[H,1,1,1]} return %y }")
    with pytest.raises(UnsupportedOp, match="%y = expand: no dimension of an input tells the named size H"):
        to_model(graph)


def test_a_name_is_that_of_one_node():
    """The second has the name of a value and the first the name of an operator of the file: both want %y's."""
    text = """graph @net(%x: f32[2]) { %a = neg(%x) : f32[2] at "onnx:y" %y = exp(%a) : f32[2] at "onnx:y" return %y }"""
    names = [node.name for node in to_model(parse_graph(text)).graph.node]
    assert names == ["y", "y_1"]
