"""bfloat16 through TVM: computed in float32, rounded once to the nearest, and handed over as memory that NumPy and DLPack cannot name."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.library.run import SMALL
from convc.ir.types import DTYPES, Array
from convc.tests.support.graphs import typed_graph
from convc.tests.support.op_cases import text_of
from convc.tests.support.tvm_modules import build_and_hold

BF16 = DTYPES["bf16"]


@pytest.mark.parametrize("case", ["half", "compare", "einsum"])
def test_ops_agree_with_the_reference(case: str) -> None:
    """The layers of a CNN, and ops whose results or operands are of other types."""
    text = text_of(case).replace("f16", "bf16").replace("f32", "bf16")
    build_and_hold(typed_graph(text), {"N": 1}, {"N": 3})


def test_a_cast_rounds_to_nearest_even_and_keeps_nan() -> None:
    text = "graph @casts(%x: f32[4096], %d: f64[8], %i: i32[4]) { %y = cast(%x) {to=bf16} %z = cast(%d) {to=bf16} %w = cast(%i) {to=bf16} "
    graph = typed_graph(text + "%back = cast(%y) {to=f32} %whole = cast(%w) {to=i32} return %y, %z, %w, %back, %whole }")
    bits = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32)
    bits[:8] = 0x7F800001, 0xFFFFFFFF, 0x7FC00000, 0x7F800000, 0xFF800000, 0x3F808000, 0x3F818000, 0x7F7FFFFF
    inputs: dict[str, Array] = {
        "x": bits.view(np.float32),
        "d": np.array([1e39, -1e39, 1e-60, np.nan, np.inf, 257, 259, 1.0]),
        "i": np.array([257, 259, -(2**31), 0], np.int32),
    }
    got = build_and_hold(graph, inputs=inputs).run(inputs)
    with np.errstate(all="ignore"):
        for name, given in zip("yzw", inputs.values(), strict=True):
            wanted = given.astype(BF16)
            nan = np.isnan(wanted)
            assert np.array_equal(np.isnan(got[name]), nan)
            assert np.array_equal(got[name][~nan].view(np.uint16), wanted[~nan].view(np.uint16))


@pytest.mark.parametrize("count", [4, SMALL])
def test_memory_is_handed_over(count: int) -> None:
    """Small and copied, or large and shared; an output that is an input is the caller's own all the same."""
    graph = typed_graph("graph @memory(%x: bf16[N]) { %p = param {init=full, value=0.5} : bf16[1] %y = add(%x, %p) return %y, %x }")
    module = build_and_hold(graph, {"N": count})
    x = np.arange(count).astype(BF16)
    got = module.run({"x": x})
    assert got["y"].dtype == got["x"].dtype == BF16
    got["x"][:] = 0
    assert x[3] == 3
    assert np.array_equal(got["y"], (x.astype(np.float32) + 0.5).astype(BF16))
