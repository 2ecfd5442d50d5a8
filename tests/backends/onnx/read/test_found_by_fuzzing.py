"""What `make fuzz-onnx` found in the importer, made small: each ended in something other than a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from convc.backends.onnx.read.importer import read_graph
from convc.compiler.engines.optimize import optimize
from convc.ir.errors import ConvcError
from convc.tests.support import onnx_files as files


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def small(*nodes, inputs=(("x", "N", 4),), output=("y",), constants=None):
    return files.small_model(
        nodes=[helper.make_node(kind, reads, writes, **attributes) for kind, reads, writes, attributes in nodes],
        inputs=[value(*given) for given in inputs],
        outputs=[helper.make_empty_tensor_value_info(name) for name in output],
        initializer=[numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )


IMAGE = (("x", "N", 4, 8, 8),)
REFUSED = {
    "an operand too many": (small(("Add", ["x", "x", "x"], ["y"], {})), "3 operands, expected 2"),
    "an operand too few": (small(("Add", ["x"], ["y"], {})), "operand"),
    "an attribute with control characters": (
        small(("Pad", ["x", "p"], ["y"], {"mode": "constant\0"}), constants={"p": np.zeros(4, np.int64)}),
        "cannot be printed",
    ),
    "infinitely many": (small(("Resize", ["x", "", "s"], ["y"], {}), inputs=IMAGE, constants={"s": np.float32([1, 1, np.inf, 1])}), ""),
    "an index out of range": (
        small(
            ("Shape", ["x"], ["s"], {}),
            ("Gather", ["s", "i"], ["d"], {}),
            ("Reshape", ["x", "d"], ["y"], {}),
            constants={"i": np.int64([9])},
        ),
        "out of range",
    ),
    "a named size as an index": (
        small(
            ("Shape", ["x"], ["s"], {}),
            ("Gather", ["s", "s"], ["d"], {}),
            ("Reshape", ["x", "d"], ["y"], {}),
        ),
        "computed from the network's data",
    ),
    "a size too few": (
        small(
            ("ConvTranspose", ["x", "w"], ["y"], {"output_shape": [8]}), inputs=IMAGE, constants={"w": np.zeros((4, 2, 3, 3), np.float32)}
        ),
        "output_shape is [8]",
    ),
    "groups of a vector": (
        small(("GroupNormalization", ["x", "g", "g"], ["y"], {"num_groups": 2}), inputs=(("x", 4),), constants={"g": np.float32([1, 1])}),
        "",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_printable_line(tmp_path, case):
    model, why = REFUSED[case]
    model.opset_import[0].version = 18
    with pytest.raises(ConvcError) as caught:
        read_graph(files.written(tmp_path, model), strict=True)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_empty_constant_of_a_named_size_is_not_folded(tmp_path):
    model = small(
        ("Shape", ["x"], ["s"], {}),
        ("Gather", ["s", "first"], ["n"], {"axis": 0}),
        ("Concat", ["n", "zero"], ["shape"], {"axis": 0}),
        ("Expand", ["empty", "shape"], ["e"], {}),
        ("Concat", ["x", "e"], ["y"], {"axis": 1}),
        constants={"first": np.int64([0]), "zero": np.int64([0]), "empty": np.zeros((1, 0), np.float32)},
    )
    graph, _ = optimize(read_graph(files.written(tmp_path, model)).graph, 2)
    assert str(graph.outputs[0].typed) == "f32[N,4]"
