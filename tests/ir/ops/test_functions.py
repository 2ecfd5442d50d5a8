"""Functions, gates and comparisons in the reference: against SciPy, at their ends, and what does not fit them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import convc as cc
from convc.backends import reference
from convc.ir.errors import ShapeError
from convc.ir.ops import activation_variants, elementwise, unary
from convc.ir.types import TensorType
from convc.tests.support.graphs import typed_graph

WIDE = np.concatenate([np.linspace(-8, 8, 200_001), np.logspace(-300, 1, 10_001), -np.logspace(-300, 1, 10_001)])


def test_erf_is_right_to_three_units_of_the_last_place():
    exact = scipy.special.erf(WIDE)
    assert np.max(abs(unary.erf(WIDE) - exact) - 4 * 2**-52 * abs(exact)) <= 0
    assert np.array_equal(unary.erf(np.array([np.nan, np.inf, -np.inf, 0.0])), [np.nan, 1, -1, 0], equal_nan=True)
    assert np.signbit(unary.erf(np.array([-0.0])))
    assert unary.erf(np.zeros(2, np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "op", "exact"),
    [
        (activation_variants.GELU, activation_variants.Gelu(), lambda x: x * scipy.special.ndtr(x)),
        (activation_variants.ELU, activation_variants.Elu(2.0), lambda x: np.where(x > 0, x, 2 * scipy.special.expm1(np.minimum(x, 0)))),
        (
            activation_variants.SELU,
            activation_variants.Selu(),
            lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * scipy.special.expm1(np.minimum(x, 0))),
        ),
        (activation_variants.MISH, activation_variants.Mish(), lambda x: x * np.tanh(np.logaddexp(x, 0))),
        (activation_variants.HARD_SWISH, activation_variants.HardSwish(), lambda x: x * np.minimum(np.maximum(x + 3, 0), 6) / 6),
        (unary.SOFTPLUS, unary.Softplus(), lambda x: np.logaddexp(x, 0)),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_gates_are_the_formulas_of_their_papers(kind, op, exact):
    np.testing.assert_allclose(kind.meaning(op, WIDE), exact(WIDE), rtol=1e-7, atol=1e-15)


def test_the_tanh_form_of_gelu_is_near_the_exact_one():
    apart = abs(
        activation_variants.GELU.meaning(activation_variants.Gelu("tanh"), WIDE)
        - activation_variants.GELU.meaning(activation_variants.Gelu(), WIDE)
    ).max()
    assert 1e-4 < apart < 5e-4


def test_large_values_do_not_overflow():
    with np.errstate(over="raise", invalid="raise"):
        for kind, op in [
            (unary.SOFTPLUS, unary.Softplus()),
            (activation_variants.ELU, activation_variants.Elu()),
            (activation_variants.MISH, activation_variants.Mish()),
            (activation_variants.SELU, activation_variants.Selu()),
        ]:
            far = kind.meaning(op, np.array([-1e30, -1e4, 1e4, 1e30], np.float32))
            assert np.isfinite(far).all(), kind.name


def test_round_takes_the_even_neighbour_and_zero_keeps_its_sign():
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert np.array_equal(unary.ROUND.meaning(unary.Round(), halves), [-2, -2, -0.0, 0, 2, 2])
    assert np.signbit(unary.NEG.meaning(unary.Neg(), np.zeros(1)))


def test_the_greater_of_a_number_and_nan_is_nan():
    a, b = np.array([np.nan, 1, np.inf]), np.array([1, np.nan, -np.inf])
    assert np.array_equal(elementwise.MAXIMUM.meaning(elementwise.Maximum(), a, b), [np.nan, np.nan, np.inf], equal_nan=True)
    assert np.array_equal(elementwise.MINIMUM.meaning(elementwise.Minimum(), a, b), [np.nan, np.nan, -np.inf], equal_nan=True)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("exp(%i)", r"%y = exp: input is i32\[N,4\], expected floating point"),
        ("abs(%b)", r"%y = abs: input is bool\[N,4\], expected numbers"),
        ("neg(%u)", r"%y = neg: input is u8\[N,4\], which has no negative numbers"),
        ("logical_not(%x)", r"input is f32\[N,4\], expected bool"),
        ("elu(%x) {alpha=inf}", "alpha is inf, expected a finite number"),
        ("hard_sigmoid(%x) {beta=nan}", "beta is nan, expected a finite number"),
        ("gelu(%x) {approximate=erf}", "approximate is 'erf', expected 'none' or 'tanh'"),
        ("prelu(%x, %wide)", r"the slope is f32\[2,1,4\], which does not broadcast to f32\[N,4\]"),
        ("prelu(%i, %i)", "expected floating point"),
        ("pow(%i, %i)", "expected floating point"),
        ("pow(%x, %d)", "element types f32 and f64"),
        ("maximum(%b, %b)", "arithmetic on booleans"),
        ("minimum(%x, %three)", "do not broadcast: 4 against 3"),
        ("equal(%x, %i)", "element types f32 and i32"),
        ("greater(%b, %b)", "booleans have no order"),
        ("logical_and(%b, %u)", r"operand is u8\[N,4\], expected bool"),
        ("where(%u, %x, %x)", r"the condition is u8\[N,4\], expected bool"),
        ("where(%b, %x, %i)", "element types f32 and i32"),
        ("where(%b, %three, %three)", "do not broadcast: 4 against 3"),
    ],
)
def test_what_does_not_fit_is_refused(line, complaint):
    inputs = "%x: f32[N,4], %i: i32[N,4], %u: u8[N,4], %b: bool[N,4], %d: f64[N,4], %three: f32[3], %wide: f32[2,1,4]"
    with pytest.raises(ShapeError, match=complaint):
        typed_graph(f"graph @g({inputs}) {{ %y = {line} return %y }}")


def test_all_three_operands_of_where_broadcast():
    graph = typed_graph("graph @g(%m: bool[N,1,3], %a: f32[4,1], %b: f32[2,1,1,1]) { %y = where(%m, %a, %b) return %y }")
    assert str(graph.outputs[0].type) == "f32[2,N,4,3]"


def test_a_network_of_gates():
    def net(x):
        for layer in (cc.elu, cc.selu, cc.gelu, cc.mish, cc.silu, cc.hard_swish, cc.hard_sigmoid, cc.softplus, cc.prelu):
            x = layer(cc.conv(x, 4, 3, pad="same"))
        return cc.prelu(cc.flatten(x), shared=True, name="last")

    graph = cc.network(x="N,3,6,5")(net)()
    slopes = {node.name: node.typed for node in graph.params if node.name.endswith(".slope")}
    assert slopes == {"prelu1.slope": TensorType("f32", (4, 1, 1)), "last.slope": TensorType("f32", (1,))}
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 5)).astype(np.float32)
    (y,) = reference.run(graph, {"x": x}).values()
    assert y.shape == (2, 120)
    assert np.isfinite(y).all()


def test_powers_at_the_ends_are_those_of_c():
    """For a power of 1/2 NumPy takes the root, which is NaN of -inf and -0 of -0."""
    base = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan, -1.0, 4.0])
    for exponent in (0.5, 0.25, -0.5, 1.5):
        with np.errstate(all="ignore"):
            found = elementwise.POW.meaning(elementwise.Pow(), base, np.full(1, exponent))
        wanted = [0.0 if exponent > 0 else np.inf] * 2
        assert np.array_equal(found[1:3], wanted)
        assert not np.signbit(found[1:3]).any()
        assert found[0] == found[3] == (np.inf if exponent > 0 else 0)
        assert np.isnan(found[4:6]).all()
