"""The facts that ops state, held to their meanings: on every variant of op_cases, and on other numbers for attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from convc.compiler.engines.table import ENGINES
from convc.ir.binding import specialize
from convc.ir.errors import ShapeError
from convc.ir.facts import BY_PLACE, RENAMED, Facts, always, fixed, follows, never
from convc.ir.graph import Node
from convc.ir.op import OpDef
from convc.ir.ops import OPS
from convc.ir.ops.activation import RELU, SOFTMAX, TANH
from convc.ir.ops.activation_variants import GELU, HARD_SIGMOID
from convc.ir.ops.elementwise import CAST, MUL, SUB
from convc.ir.ops.leaf import INPUT, PARAM
from convc.ir.ops.norm import BATCH_NORM
from convc.ir.ops.shape import PAD, TRANSPOSE
from convc.ir.ops.unary import ABS, NEG
from convc.ir.types import Array, TensorType
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.op_cases import CASES

LINE = np.concatenate([np.linspace(-30, 30, 6001), np.linspace(-2, 2, 4001)])
LINE.sort()
PLACES = 5  # of each operand, changed one at a time
ROUNDED_FEW_TIMES = 4 * 2.0**-11  # of float16
DRAWS = 40  # of other numbers for attributes
COMPUTED = [kind for kind in OPS.values() if kind not in (INPUT, PARAM) and not kind.facts.opaque]


@dataclass(frozen=True)
class Variant:
    """A node and its operands, floats in float64."""

    node: Node
    operands: tuple[Array, ...]

    @property
    def op(self) -> Any:
        return self.node.op

    def value(self, *operands: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.node.kind.meaning(self.op, *(operands or self.operands)))


def wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


@cache
def variants() -> dict[OpDef[Any], list[Variant]]:
    found: dict[OpDef[Any], list[Variant]] = {kind: [] for kind in COMPUTED}
    for text in CASES.values():
        graph = typed_graph(f"graph @g{text} }}")
        values: dict[Node, Array] = {}
        inputs = normal_inputs(graph, N=2)
        for node in specialize(graph, {"N": 2}).nodes:
            if node.kind is INPUT:
                values[node] = wide(inputs[node.name])
            elif node.weights is not None:
                values[node] = wide(node.weights.drawn())
            else:
                variant = Variant(node, tuple(values[operand] for operand in node.inputs))
                found[node.kind].append(variant)
                values[node] = variant.value()
    return found


def attributes_of(kind: OpDef[Any]) -> Iterator[Any]:
    """Of a function of one float: those of the variants, and others with all numbers drawn anew."""
    yield from (variant.op for variant in variants()[kind])
    if kind.arity != (1, 1) or any(not isinstance(f.default, float) for f in fields(kind.Attrs)):
        return
    draws = np.random.default_rng(0)
    for _ in range(DRAWS if fields(kind.Attrs) else 0):
        op = kind.Attrs(*(float(draws.choice([0.0, 1.0, draws.uniform(-3, 3)])) for _ in fields(kind.Attrs)))
        try:
            kind.infer(op, TensorType("f64", (2,)))
        except ShapeError:
            continue
        yield op


def on_a_line(kind: OpDef[Any], op: Any, x: Array = LINE) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(kind.meaning(op, x))


# ---- the facts, one by one


def check_pointwise(kind: OpDef[Any], facts: Facts[Any]) -> None:
    """An element of an operand reaches its own place in the result and no other."""
    draws = np.random.default_rng(0)
    for variant in variants()[kind] if facts.pointwise else ():
        before = variant.value()
        whole = [operand.shape for position, operand in enumerate(variant.operands) if position not in facts.by_channel]
        assert before.shape == np.broadcast_shapes(*whole), variant.node
        for position, operand in enumerate(variant.operands):
            for at in draws.integers(0, operand.size, PLACES):
                changed, mark = operand.copy(), np.zeros(operand.shape, bool)
                changed.flat[at] = not changed.flat[at] if changed.dtype == bool else changed.flat[at] + 9
                mark.flat[at] = True
                if position in facts.by_channel:
                    mark = mark.reshape(-1, *(1,) * (before.ndim - 2))
                after = variant.value(*variant.operands[:position], changed, *variant.operands[position + 1 :])
                moved = (after != before) & ~((after != after) & (before != before))
                assert not (moved & ~np.broadcast_to(mark, before.shape)).any(), variant.node


def check_reuse(kind: OpDef[Any], facts: Facts[Any]) -> None:
    """A view has its operand's elements in their order. That what lies in place may, test_memory.py holds to the meanings."""
    for variant in variants()[kind] if facts.is_view else ():
        assert np.array_equal(variant.value().ravel(), variant.operands[0].ravel()), variant.node
    assert facts.reuse is not None or not (facts.pointwise or facts.activation)


def check_rising(kind: OpDef[Any], facts: Facts[Any]) -> None:
    for op in attributes_of(kind):
        if facts.rising(op):
            assert facts.pointwise
            y = on_a_line(kind, op, np.concatenate([[-np.inf], LINE, [np.inf]]))
            assert not np.isnan(y).any(), op
            assert (y[1:] >= y[:-1] - 1e-15 * abs(y[1:])).all(), op
            assert kind.infer(op, TensorType("f32", (3,))) == TensorType("f32", (3,))


def check_slope(kind: OpDef[Any], facts: Facts[Any]) -> None:
    if facts.slope is None:
        return
    if kind.arity == (1, 1):
        for op in attributes_of(kind):
            y = on_a_line(kind, op)
            assert (abs(np.diff(y)) <= facts.slope(op) * np.diff(LINE) * (1 + 1e-9) + 1e-13).all(), op
        return
    draws = np.random.default_rng(0)
    for variant in variants()[kind]:
        if all(operand.dtype.kind == "f" for operand in variant.operands):
            errors = [draws.normal(0, 0.1, operand.shape) for operand in variant.operands]
            off = variant.value(*(a + e for a, e in zip(variant.operands, errors, strict=True))) - variant.value()
            assert (abs(off) <= facts.slope(variant.op) * sum(map(abs, errors)) + 1e-13).all(), variant.node


def check_least(kind: OpDef[Any], facts: Facts[Any]) -> None:
    for variant in variants()[kind]:
        if variant.node.typed.is_float:
            value = variant.value()
            assert (value[~np.isnan(value)] >= facts.least(variant.op)).all(), variant.node
    if kind.arity == (1, 1) and kind.facts.pointwise and kind is not CAST:
        for op in attributes_of(kind):
            assert not (on_a_line(kind, op) < facts.least(op)).any(), op


def check_commutes(kind: OpDef[Any], facts: Facts[Any]) -> None:
    for variant in variants()[kind] if facts.commutes else ():
        a, b = variant.operands
        assert np.array_equal(variant.value(a, b), variant.value(b, a), equal_nan=a.dtype.kind == "f"), variant.node


def check_identity(kind: OpDef[Any], facts: Facts[Any]) -> None:
    for variant in variants()[kind]:
        if facts.identity(variant.op, tuple(operand.typed for operand in variant.node.inputs), variant.node.typed):
            assert variant.node.typed == variant.node.inputs[0].typed, variant.node
            assert np.array_equal(variant.value(), variant.operands[0], equal_nan=variant.node.typed.is_float), variant.node
    if kind.arity == (1, 1) and kind.facts.pointwise and kind is not CAST:
        for op in attributes_of(kind):
            if facts.identity(op, (TensorType("f64", LINE.shape),), TensorType("f64", LINE.shape)):
                assert np.array_equal(on_a_line(kind, op), LINE), op


def check_idempotent(kind: OpDef[Any], facts: Facts[Any]) -> None:
    for variant in variants()[kind]:
        if facts.idempotent(variant.op):
            assert facts.pointwise
            once = variant.value()
            assert np.array_equal(variant.value(once), once, equal_nan=variant.node.typed.is_float), variant.node
    for op in attributes_of(kind) if kind.facts.pointwise and kind is not CAST else ():
        if facts.idempotent(op):
            once = on_a_line(kind, op)
            assert np.array_equal(on_a_line(kind, op, once), once, equal_nan=True), op


def check_sizes(kind: OpDef[Any], facts: Facts[Any]) -> None:
    assert set(facts.sizes) == {f.name for f in fields(kind.Attrs) if "Dim" in str(f.type)}


def check_narrow(kind: OpDef[Any], facts: Facts[Any]) -> None:
    """In float16 it has a result of float16; what follows its operands is off by a few roundings of that, even computed in it."""
    for variant in variants()[kind]:
        inputs, numbers = variant.node.inputs, (getattr(variant.op, f.name) for f in fields(variant.op))
        is_beyond = any(isinstance(number, float) and 65504 < abs(number) < np.inf for number in numbers)
        if facts.narrow(variant.op) == "never" or is_beyond or not any(x.typed.dtype == "f32" for x in inputs):
            continue
        types = [replace(x.typed, dtype="f16") if x.typed.dtype == "f32" else x.typed for x in inputs]
        assert kind.infer(variant.op, *types) == replace(variant.node.typed, dtype="f16"), variant.node
        for scale in (1, 64) if facts.narrow(variant.op) == "follows" else ():  # what squares them overflows
            halves = [(scale * x).astype(np.float16) if x.dtype.kind == "f" else x for x in variant.operands]
            exact, got = variant.value(*map(wide, halves)), variant.value(*halves)
            size = abs(exact) if kind.magnitude is None else kind.magnitude(variant.op, *map(wide, halves))
            held = abs(exact) < 65504
            assert (abs(got[held] - exact[held]) <= ROUNDED_FEW_TIMES * np.maximum(size[held], 2.0**-14)).all(), variant.node


CHECKS: tuple[Callable[[OpDef[Any], Facts[Any]], None], ...] = (
    *(check_pointwise, check_reuse, check_rising, check_slope, check_least),
    *(check_commutes, check_identity, check_idempotent, check_sizes, check_narrow),
)


@pytest.mark.parametrize("kind", COMPUTED, ids=lambda kind: kind.name)
def test_facts_hold_for_the_meaning(kind):
    assert variants()[kind]
    for check in CHECKS:
        check(kind, kind.facts)


def test_every_op_states_its_facts():
    assert all(isinstance(kind.facts, Facts) for kind in OPS.values())
    assert next(f for f in fields(OpDef) if f.name == "facts").default is MISSING


def test_what_an_engine_appends_has_a_slope():
    """By it verify carries the error of what comes before; that of a product it knows."""
    appended = {kind for engine in ENGINES.values() for kind in engine.prices.appends}
    assert appended
    assert {kind for kind in appended if kind.facts.slope is None} <= {MUL}


def is_so(*given: Any) -> bool:
    return True


def holds(check: Callable[[OpDef[Any], Facts[Any]], None], kind: OpDef[Any], facts: Facts[Any]) -> bool:
    try:
        check(kind, facts)
    except (AssertionError, ValueError, TypeError, IndexError, ShapeError):
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        (SOFTMAX, {"pointwise": True}),
        (BATCH_NORM, {"by_channel": (1, 2, 3)}),
        (TRANSPOSE, {"reuse": RENAMED}),
        (PAD, {"activation": True}),
        (ABS, {"rising": always}),
        (HARD_SIGMOID, {"rising": always}),
        (OPS["log"], {"rising": always}),
        (GELU, {"slope": fixed(1.0)}),
        (HARD_SIGMOID, {"slope": fixed(0.2)}),
        (OPS["mul"], {"slope": fixed(1.0)}),
        (TANH, {"least": fixed(-0.5)}),
        (OPS["clip"], {"least": fixed(0.0)}),
        (SUB, {"commutes": True}),
        (PAD, {"identity": is_so}),
        (RELU, {"identity": is_so}),
        (OPS["leaky_relu"], {"identity": is_so}),
        (RELU, {"pointwise": True, "reuse": None}),
        (TANH, {"idempotent": always}),
        (NEG, {"idempotent": always}),
        (OPS["expand"], {"pointwise": True}),
        (OPS["reshape"], {"rising": always}),
        (OPS["slice"], {"sizes": ("starts",)}),
        (OPS["arg_max"], {"narrow": follows}),
        (OPS["reduce_l2"], {"narrow": follows}),
        (OPS["local_response_norm"], {"narrow": follows}),
    ],
    ids=lambda value: getattr(value, "name", None) or next(iter(value)),
)
def test_what_is_not_so_is_noticed(kind, claim):
    assert not all(holds(check, kind, replace(kind.facts, **claim)) for check in CHECKS)


def unclaimed(kind: OpDef[Any], facts: Facts[Any]) -> Iterator[tuple[str, Facts[Any]]]:
    """What an op could claim besides, whatever its attributes are: one fact at a time, and the facts with it."""
    operands = max(len(variant.operands) for variant in variants()[kind])
    if not facts.pointwise:
        yield "pointwise", replace(facts, pointwise=True, reuse=BY_PLACE)
        yield "pointwise", replace(facts, pointwise=True, reuse=BY_PLACE, by_channel=tuple(range(1, operands)))
    if facts.reuse is None:
        yield "reuse", replace(facts, reuse=RENAMED)
    if not facts.commutes and kind.arity == (2, 2):
        yield "commutes", replace(facts, commutes=True)
    if facts.identity is never:
        yield "identity", replace(facts, identity=is_so)
    if facts.rising is never and kind.arity == (1, 1):
        yield "rising", replace(facts, rising=always)
    if facts.idempotent is never and facts.pointwise and kind.arity == (1, 1):
        yield "idempotent", replace(facts, idempotent=always)


# Facts that are left out although no check refutes them, and why.
LEFT_OUT = {
    ("identity", "idempotent"): "even the first time it is the identity",
    ("dropout", "idempotent"): "even the first time it is the identity",
    ("cast", "idempotent"): "of its own result it is the identity",
    ("trilu", "pointwise"): "it looks at the place too, which is another where a pass moves it",
    ("eye_like", "pointwise"): "it looks at the place alone",
    ("range", "commutes"): "start and delta are one value in its cases",
}


def left_out(kind: OpDef[Any], facts: Facts[Any]) -> set[str]:
    return {fact for fact, claim in unclaimed(kind, facts) if all(holds(check, kind, claim) for check in CHECKS)}


def test_what_is_so_is_claimed():
    assert {(kind.name, fact) for kind in COMPUTED for fact in left_out(kind, kind.facts)} == set(LEFT_OUT)


@pytest.mark.parametrize("fact", ["pointwise", "rising", "idempotent", "reuse", "commutes"])
def test_what_is_left_out_is_noticed(fact):
    nothing: Facts[Any] = Facts()
    claiming = [kind for kind in COMPUTED if getattr(kind.facts, fact) in (True, always, RENAMED)]
    assert claiming
    for kind in claiming:
        without = nothing if fact == "pointwise" else replace(kind.facts, **{fact: getattr(nothing, fact)})
        assert fact in left_out(kind, without), kind
