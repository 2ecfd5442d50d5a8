"""Activations on vectors, over the whole range of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.dense import dense
from convc.backends.tvm.cpu.kernels.direct.kernel import direct
from convc.backends.tvm.cpu.kernels.direct.packing import pack_direct
from convc.backends.tvm.cpu.kernels.direct.size import Direct
from convc.backends.tvm.cpu.kernels.epilogue import ALONE, STEPS, EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.pointwise import pointwise
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cpu.plan import plan
from convc.ir.op import OpDef
from convc.ir.ops.activation import RELU, SIGMOID, TANH
from convc.ir.ops.activation_variants import ELU, GELU, MISH, SELU
from convc.ir.ops.elementwise import ADD, MUL
from convc.ir.ops.unary import ERF, SOFTPLUS
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks
from convc.tests.support.graphs import typed_graph

UNIT = 2.0**-23
LEAST = 2.0**-126  # what is smaller may have lost digits
# Units in the last place, of the result; for gelu, which is a factor between 0 and 1 with an absolute error, of x.
FORMULAS = {
    "tanh": (EpilogueStep(TANH, TANH.Attrs()), 6),
    "erf": (EpilogueStep(ERF, ERF.Attrs()), 6),
    "sigmoid": (EpilogueStep(SIGMOID, SIGMOID.Attrs()), 4),
    "elu": (EpilogueStep(ELU, ELU.Attrs()), 8),
    "steep": (EpilogueStep(ELU, ELU.Attrs(2.5)), 8),
    "selu": (EpilogueStep(SELU, SELU.Attrs()), 8),
    "softplus": (EpilogueStep(SOFTPLUS, SOFTPLUS.Attrs()), 4),
    "mish": (EpilogueStep(MISH, MISH.Attrs()), 6),
    "gelu": (EpilogueStep(GELU, GELU.Attrs()), 4),
    "bent": (EpilogueStep(GELU, GELU.Attrs("tanh")), 4),
}


def everywhere() -> Array:
    """Every exponent of float32 in either sign, where curves bend more closely, and the ends."""
    small = np.geomspace(1e-45, 3e38, 20000)
    ends = [0.0, 1e-45, 87.0, 88.5, 89.0, 103.0, 104.0, 3e38, np.inf]
    steps = np.linspace(0, 20, 100000)
    values = np.concatenate([ends, small, steps]).astype(np.float32)
    return np.concatenate([values, -values, [np.nan] * (-2 * len(values) % 16)]).astype(np.float32)


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_everywhere(name: str) -> None:
    step, units = FORMULAS[name]
    x = np.append(everywhere(), np.full(16, np.nan, np.float32)).reshape(1, 16, 1, -1)
    got = from_blocks(call(pointwise(1, *x.shape[1:], (step,)), [into_blocks(x)], blocked_shape(*x.shape)), 16)
    with np.errstate(all="ignore"):
        wanted = step.kind.meaning(step.op, x.astype(np.float64))
        scale = abs(x.astype(np.float64)) if step.kind is GELU else abs(wanted)
        same = (got == wanted) | (np.isnan(got) & np.isnan(wanted)) | ((abs(wanted) > 3.4e38) & np.isinf(got))
        excess = np.where(same, 0, abs(got - wanted) - units * UNIT * scale - LEAST)
    assert not np.isnan(excess).any()
    assert excess.max() <= 0, f"{x.flat[excess.argmax()]}: {got.flat[excess.argmax()]}, expected {wanted.flat[excess.argmax()]}"


@pytest.mark.parametrize("kind", sorted(ALONE, key=str), ids=str)
def test_a_value_times_what_is_made_of_it_far_out(kind: OpDef[Any]) -> None:
    """A gate that stays a little above 0 leaves something of 1e38; of an infinity 0 leaves no number."""
    far = np.array([-np.inf, -3.4e38, -1e38, -1e30, -1e4, -104, -90, -88.5, -88, -50, 50, 90, 1e30, 3.4e38, np.inf, np.nan], np.float32)
    gate = EpilogueStep(kind, kind.Attrs())
    x = np.tile(far, (1, 16, 1, 1))
    steps = (EpilogueStep(MUL, MUL.Attrs(), gate=gate),)
    got = from_blocks(call(pointwise(1, *x.shape[1:], steps), [into_blocks(x)], blocked_shape(*x.shape)), 16)[0, 0, 0]
    wide = far.astype(np.float64)
    with np.errstate(all="ignore"):
        wanted = (wide * kind.meaning(gate.op, wide)).astype(np.float32)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-35)


def test_every_formula_is_tested_and_has_a_slope() -> None:
    """What an error in an activation's argument becomes is asked for by verify."""
    assert {step.kind for step, _ in FORMULAS.values()} <= set(STEPS)
    assert {kind for kind in STEPS if kind.facts.slope is None} == {MUL}
    x = np.linspace(-20, 20, 200001)
    for step, _ in FORMULAS.values():
        y = step.kind.meaning(step.op, x)
        steepest = abs(np.diff(y) / np.diff(x)).max()
        assert steepest <= step.kind.facts.slope(step.op) * (1 + 1e-6) <= 1.1 * steepest


def test_lanes_of_padding_stay_finite() -> None:
    x = np.full((1, 16, 1, 2), [3e38, -3e38], np.float32)
    for step, _ in FORMULAS.values():
        assert np.isfinite(call(pointwise(1, 16, 1, 2, (step,)), [into_blocks(x)], blocked_shape(*x.shape))).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_after_products(name: str) -> None:
    """A dense layer's last block stores lane by lane, and a sum follows."""
    step, _ = FORMULAS[name]
    steps = (step, EpilogueStep(ADD, ADD.Attrs(), 1), step)
    x, w, bias, other = draw(3, 40), draw(37, 40) / 6, draw(37), draw(3, 37)
    got = call(dense(None, (40,), 37, steps), [x, block_channels(w), block_channels(bias), other], (3, 37))
    wanted = step.kind.meaning(step.op, x.astype(np.float64) @ w.T + bias)
    np.testing.assert_allclose(got, step.kind.meaning(step.op, wanted + other), rtol=2e-5, atol=2e-5)
    image, filters = draw(1, 5, 6, 7), draw(20, 5, 1, 1)
    size = Direct(1, 1, 5, Window(6, 7, (1, 1)), 2, 1, (step,))
    got = call(direct(size), [image, pack_direct(filters, 5, 1), block_channels(draw(20) * 0)], blocked_shape(1, 20, 6, 7))
    wanted = step.kind.meaning(step.op, np.einsum("oc,nchw->nohw", filters[:, :, 0, 0].astype(np.float64), image))
    np.testing.assert_allclose(from_blocks(got, 20), wanted, rtol=2e-5, atol=2e-5)


def test_winograd_takes_only_simple_steps() -> None:
    for kind, covered in ((TANH, False), (RELU, True)):
        graph = typed_graph(
            f"graph @g(%x: f32[1,32,20,20]) {{ %w = param : f32[32,32,3,3] %c = conv2d(%x, %w) {{pads=[1,1,1,1]}} "
            f"%y = {kind.name}(%c) return %y }}"
        )
        first = next(iter(plan(graph).works.values()))
        assert first.kernel.tile == 4
        assert (graph.by_name["y"] in first.covers) == covered
        assert graph.by_name["y"] in plan(graph).covered
