"""Average pools whose ceil_mode drops a window and whose pads count: the rule is of opset 22, and files of older ones stay where they are."""

from __future__ import annotations

import itertools

import onnx
import pytest

from convc.backends.onnx.write.export import to_model
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.onnx_files import hold_onnxruntime

FORMS = list(itertools.product(((9, 10), (8, 5)), (2, 3), ("2,2", "3,2"), ("0,0,0,0", "1,1,1,1", "1,0,0,1"), ("true", "false")))


def pooled(size, kernel, strides, pads, counts):
    attributes = f"kernel=[{kernel},{kernel}], strides=[{strides}], pads=[{pads}], ceil_mode=true, count_include_pad={counts}"
    return typed_graph(f"graph @g(%x: f32[1,2,{size[0]},{size[1]}]) {{ %y = avg_pool(%x) {{{attributes}}} return %y }}")


@pytest.mark.parametrize("opset", [13, 22])
def test_every_form_is_one_node_that_onnxruntime_computes_right(opset):
    for form in FORMS:
        graph = pooled(*form)
        model = to_model(graph, opset)
        assert [node.op_type for node in model.graph.node] == ["AveragePool"], form
        hold_onnxruntime(graph, model, normal_inputs(graph))


def test_older_specs_see_the_same_windows():
    """17 columns padded by 1 on each side: a third window of stride 2 would start in the padding behind."""
    model = to_model(pooled((17, 18), 2, "2,2", "1,1,1,1", "true"), 17)
    onnx.checker.check_model(model, full_check=True)
