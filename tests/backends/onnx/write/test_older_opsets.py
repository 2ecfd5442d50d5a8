"""Export at opsets 7 to 12: every variant of every op runs in onnxruntime as the op means it, or is refused with the opset that has it."""

from __future__ import annotations

import functools
import itertools
from fnmatch import fnmatch

import onnx
import pytest

from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.ir.errors import UnsupportedOp
from convc.ir.graph import Graph
from convc.tests.backends.onnx.write.test_export import NOT_IN_ONNX, NOT_IN_ONNXRUNTIME, VARIANTS
from convc.tests.support.graphs import hold_to_reference, normal_inputs
from convc.tests.support.once import once
from convc.tests.support.op_cases import CASES

# The first opset that has words for a variant; the first pattern that fits decides. What is not here is written from 7 on.
FIRST = {
    **{name: first or 99 for name, first in NOT_IN_ONNX.items()},
    **dict.fromkeys(("resize-nearest-half_pixel.r[01]", "resize-nearest-pytorch_half_pixel.r[01]"), 7),  # by whole factors
    **dict.fromkeys(("resize-nearest-asymmetric.r2", "resize-bilinear-asymmetric.r0"), 7),
    **dict.fromkeys(("resize-nearest-asymmetric.r19", "resize-bilinear-asymmetric.r[14]"), 10),  # they shrink
    **dict.fromkeys(("resize-*", "half.large"), 11),
    **dict.fromkeys(("quantized.channels", "quantized.rows", "quantized.along", "quantized.round"), 13),
    **dict.fromkeys(("quantized.*", "quantized_products.*", "integer_products.*"), 10),
    **dict.fromkeys(("*.gelu", "*.erf", "compare.where", "compare.row", "compare.whole", "compare.truth"), 9),
    **dict.fromkeys(("*gates.where", "compare.more", "compare.bytes", "compare.not_less"), 9),
    **dict.fromkeys(("*.round", "compare.itself", "double_gates.equal", "pad.whole"), 11),
    **dict.fromkeys(("compare.at_*",), 11),  # Equal takes floats from 11 on
    **dict.fromkeys(("binary.greatest", "binary.min", "binary.least", "half_gates.max", "double_gates.max", "scalars.expand"), 8),
    **dict.fromkeys(("rearrangements.expanded", "rearrangements.named", "rearrangements.up", "rearrangements.wide"), 8),
    **dict.fromkeys(("rearrangements.back", "rearrangements.images", "rearrangements.shuffled"), 11),
    **dict.fromkeys(("binary.whole", "binary.wholes", "binary.byte", "whole_reductions.byte", "whole_reductions.low"), 12),
    **dict.fromkeys(("places.last", "places.lowest"), 12),
    **dict.fromkeys(("top_k.channels", "top_k.which", "top_k.ties", "top_k.tied", "top_k.sorted"), 11),
    **dict.fromkeys(("max_pool.dilated", "avg_pool.ceil_counted", "pools_of_*.dilated", "max_pool_indices.dilated"), 10),
    **dict.fromkeys(("max_pool_indices.ties", "max_pool_indices.tied"), 10),  # by Mod
    "max_pool_indices.*": 8,
    "max_unpool.*": 9,
    **dict.fromkeys((f"resize_of_*.{name}" for name in ("sizes", "aligned", "cubic", "linear")), 11),
    **dict.fromkeys(("slice.steps", "slice.backward", "slice.part", "slice.half"), 10),
    **dict.fromkeys(("lp_pools.dilated", "lp_pools.line"), 18),
    "pad.truth": 13,
    **dict.fromkeys((*(f"angles.{name}" for name in ("sinh", "cosh", "asinh", "acosh", "atanh")), "moments.*", "one_hot.*"), 9),
    **dict.fromkeys(("thresholds.hard", "thresholds.soft", "diagonals.one", "diagonals.off", "diagonals.long"), 9),
    **dict.fromkeys(("scatter.put", "scatter.backward"), 9),
    **dict.fromkeys(("mod.*", "roi_align.*"), 10),
    **dict.fromkeys(("gather_nd.slices", "einsum.*"), 12),
    **dict.fromkeys(
        ("gather_elements.*", "gather_nd.*", "scatter.*", "running.*", "dynamic_quantization.*", "random.*", "random-none.none"), 11
    ),
    **dict.fromkeys(("conv_weight_gradients.grouped", "conv_weight_gradients.depthwise"), 10),
    "max_pool_gradient.*": 16,
}
# onnxruntime has no kernel of that age.
NO_KERNEL = {**dict.fromkeys(NOT_IN_ONNXRUNTIME, 99), "double_gates.swish": 12}


OF_CASE = {case: list(names) for case, names in itertools.groupby(VARIANTS, lambda name: name.rpartition(".")[0])}


@functools.cache
def _first(name: str) -> int:
    return next((first for pattern, first in FIRST.items() if fnmatch(name, pattern)), 7)


@pytest.mark.parametrize("opset", range(7, 13))
def test_a_variant_is_written_or_refused_with_the_opset_that_has_it(opset: int):
    for name, graph in VARIANTS.items():
        if opset >= _first(name):
            onnx.checker.check_model(to_model(graph, opset), full_check=True)
        else:
            with pytest.raises(UnsupportedOp, match=f"opset {_first(name)}, not {opset}|at opset {opset}|needs ONNX opset"):
                to_model(graph, opset)


def _written(case: str, opset: int) -> list[Graph]:
    """The variants of a case that the opset has, and onnxruntime a kernel for."""
    return [VARIANTS[name] for name in OF_CASE[case] if opset >= max(_first(name), NO_KERNEL.get(name, 0))]


WRITTEN = once("older_opsets", lambda: [(case, opset) for case in CASES for opset in range(7, 13) if _written(case, opset)])


@pytest.mark.parametrize(("case", "opset"), WRITTEN)
def test_what_is_written_agrees_with_onnxruntime(case: str, opset: int):
    variants = _written(case, opset)
    whole = Graph.of(case, variants[0].inputs, [graph.outputs[0] for graph in variants])
    session = Session(whole, to_model(whole, opset).SerializeToString())
    inputs = normal_inputs(whole, seed=1, N=2)
    hold_to_reference(whole, session.run(inputs), inputs)
