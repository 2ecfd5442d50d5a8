"""Layers with a state that goes on from step to step: rnn, gru, lstm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef
from ..terms import NoGradient
from ..types import Array, TensorType
from .activation import Sigmoid, sigmoid
from .check import need_float, need_rank

__all__ = ["FUNCTIONS", "GATES", "GRU", "LSTM", "OPS", "RNN", "Gru", "Lstm", "Rnn", "activations_of", "given_operands"]

DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@dataclass(frozen=True, slots=True)
class Rnn:
    """h = f(W x + Wb + R h + Rb) step by step. Elman 1990; ONNX RNN, the result of that number: all states, the last one.

    Shapes: x[S,N,I], w[D,H,I], r[D,H,H]; `given` names operands that follow, in order: bias[D,2H], lengths[N], start[D,N,H]
    -> [S,D,N,H], or with `result` 1 [D,N,H]. D is 2 for both directions. With `layout` 1, N stands first: [N,S,I], [N,S,D,H], [N,D,H].
    """

    hidden: int
    direction: str = "forward"
    activations: tuple[str, ...] = ()
    clip: float = 0.0
    layout: int = 0
    given: tuple[str, ...] = ()
    result: int = 0


@dataclass(frozen=True, slots=True)
class Gru:
    """A gated unit: z, r = f(...), h' = g(W x + R (r*h)), h = (1-z) h' + z h. Cho et al. 2014; ONNX GRU, as rnn.

    With `linear_before_reset` r is taken times R h + Rb. Shapes as of rnn with w[D,3H,I], r[D,3H,H], bias[D,6H], gates z, r, h.
    """

    hidden: int
    direction: str = "forward"
    activations: tuple[str, ...] = ()
    clip: float = 0.0
    layout: int = 0
    linear_before_reset: bool = False
    given: tuple[str, ...] = ()
    result: int = 0


@dataclass(frozen=True, slots=True)
class Lstm:
    """Long short-term memory: c = f*c + i*g(...), h = o*h(c). Hochreiter & Schmidhuber 1997; ONNX LSTM, as rnn; result 2 is the last cell.

    Shapes as of rnn with w[D,4H,I], r[D,4H,H], bias[D,8H], gates i, o, f, c; more operands: cell[D,N,H], peepholes[D,3H] (Gers 2000).
    """

    hidden: int
    direction: str = "forward"
    activations: tuple[str, ...] = ()
    clip: float = 0.0
    layout: int = 0
    input_forget: bool = False
    given: tuple[str, ...] = ()
    result: int = 0


Recurrent = Rnn | Gru | Lstm
GATES = {Rnn: 1, Gru: 3, Lstm: 4}
DEFAULTS = {Rnn: ("Tanh",), Gru: ("Sigmoid", "Tanh"), Lstm: ("Sigmoid", "Tanh", "Tanh")}
OPTIONAL = {
    Rnn: ("bias", "lengths", "start"),
    Gru: ("bias", "lengths", "start"),
    Lstm: ("bias", "lengths", "start", "cell", "peepholes"),
}


def _sigmoid(x: Array) -> Array:
    return sigmoid(Sigmoid(), x)


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x * x.dtype.type(0.2) + x.dtype.type(0.5), 0, 1)


def _softsign(x: Array) -> Array:
    return x / (1 + abs(x))


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Relu": _relu,
    "HardSigmoid": _hard_sigmoid,
    "Softsign": _softsign,
}


def activations_of(op: Recurrent) -> list[tuple[str, ...]]:
    """Of each direction."""
    usual = DEFAULTS[type(op)]
    named = op.activations or usual * DIRECTIONS[op.direction]
    return [named[i : i + len(usual)] for i in range(0, len(named), len(usual))]


def given_operands(op: Recurrent, operands: Sequence[Any]) -> Mapping[str, Any]:
    """The optional operands by name."""
    return dict(zip(op.given, operands, strict=True))


def infer_recurrent(op: Recurrent, x: TensorType, w: TensorType, r: TensorType, *more: TensorType) -> TensorType:
    """Raises: ShapeError for operands that do not fit each other, or attributes that are none of the layer's."""
    need_float(x)
    for what, type_ in (("input", x), ("weight", w), ("recurrent weight", r)):
        need_rank(what, type_, 3)
    _need_attributes(op, len(more))
    count, gates = DIRECTIONS[op.direction], GATES[type(op)]
    batch, steps = (x.shape[0], x.shape[1]) if op.layout else (x.shape[1], x.shape[0])
    state = (batch, count, op.hidden) if op.layout else (count, batch, op.hidden)
    floats: dict[str, tuple[Dim, ...]] = {
        "weight": (count, gates * op.hidden, x.shape[2]),
        "recurrent weight": (count, gates * op.hidden, op.hidden),
        "bias": (count, 2 * gates * op.hidden),
        "start": state,
        "cell": state,
        "peepholes": (count, 3 * op.hidden),
    }
    for what, type_ in {"weight": w, "recurrent weight": r, **given_operands(op, more)}.items():
        wanted = TensorType("i32", (batch,)) if what == "lengths" else TensorType(x.dtype, floats[what])
        if type_ != wanted:
            raise ShapeError(f"{what} is {type_}, expected {wanted} for an input of {x} and {op.hidden} hidden values")
    if op.result:
        return TensorType(x.dtype, state)
    return TensorType(x.dtype, (batch, steps, count, op.hidden) if op.layout else (steps, count, batch, op.hidden))


def _need_attributes(op: Recurrent, more: int) -> None:
    if op.direction not in DIRECTIONS:
        raise ShapeError(f"unknown direction '{op.direction}'; known are {', '.join(DIRECTIONS)}")
    known = OPTIONAL[type(op)]
    if list(op.given) != [name for name in known if name in op.given] or more != len(op.given):
        raise ShapeError(f"given is {list(op.given)} for {more} operands; known are, in this order, {', '.join(known)}")
    if op.hidden < 1 or op.layout not in (0, 1) or not op.clip >= 0:
        raise ShapeError(f"hidden {op.hidden} must be at least 1, layout {op.layout} 0 or 1, and clip {op.clip} not negative")
    if not 0 <= op.result <= (2 if isinstance(op, Lstm) else 1):
        raise ShapeError(f"there is no result {op.result}")
    unknown = [name for name in op.activations if name not in FUNCTIONS]
    if unknown or len(op.activations) not in (0, len(DEFAULTS[type(op)]) * DIRECTIONS[op.direction]):
        raise ShapeError(
            f"activations are {list(op.activations)}; expected {len(DEFAULTS[type(op)])} a direction of {', '.join(FUNCTIONS)}"
        )


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction's operands, steps first: x[S,N,I], w, r, and those that may be left out; `valid` [S,N] where a sequence goes on."""

    x: Array
    w: Array
    r: Array
    input_bias: Array
    state_bias: Array
    start: Array
    cell: Array
    peepholes: Array
    valid: Array
    functions: list[Callable[[Array], Array]]


def recurrent(op: Recurrent, x: Array, w: Array, r: Array, *more: Array) -> Array:
    x = x.swapaxes(0, 1) if op.layout else x
    outs: list[Array] = []
    lasts: list[tuple[Array, Array]] = []
    lengths = given_operands(op, more).get("lengths")
    for d, of in enumerate(_directions(op, x, w, r, given_operands(op, more))):
        states, last, cell = _run(op, of)
        backward = op.direction == "reverse" or d == 1
        outs.append(_turned(states, lengths) if backward else states)
        lasts.append((last, cell))
    if op.result:
        state = np.stack([pair[op.result - 1] for pair in lasts])
        return np.ascontiguousarray(state.swapaxes(0, 1)) if op.layout else state
    y = np.stack(outs, axis=1)
    return np.ascontiguousarray(y.transpose(2, 0, 1, 3)) if op.layout else y


def _directions(op: Recurrent, x: Array, w: Array, r: Array, more: Mapping[str, Array]) -> Iterator[_Direction]:
    steps, batch, half = x.shape[0], x.shape[1], GATES[type(op)] * op.hidden
    counts = DIRECTIONS[op.direction]
    lengths = more.get("lengths")
    valid = np.ones((steps, batch), bool) if lengths is None else _before(steps, lengths)
    states = {name: more[name].swapaxes(0, 1) if op.layout else more[name] for name in ("start", "cell") if name in more}
    bias = more.get("bias", np.zeros((counts, 2 * half), x.dtype))
    peepholes = more.get("peepholes", np.zeros((counts, 3 * op.hidden), x.dtype))
    for d, names in enumerate(activations_of(op)):
        backward = op.direction == "reverse" or d == 1
        zero: Array = np.zeros((batch, op.hidden), x.dtype)
        start, cell = (states[name][d] if name in states else zero for name in ("start", "cell"))
        seen = _turned(x, lengths) if backward else x
        functions = [FUNCTIONS[name] for name in names]
        yield _Direction(seen, w[d], r[d], bias[d, :half], bias[d, half:], start, cell, peepholes[d], valid, functions)


def _before(steps: int, lengths: Array) -> Array:
    """[S,N]: whether a step comes before the end of a sequence."""
    return np.less(_numbered(steps), lengths)


def _numbered(steps: int) -> Array:
    """[S,1]"""
    every: Array = np.arange(steps)
    return every[:, None]


def _turned(x: Array, lengths: Array | None) -> Array:
    """Each sequence read from its end; what follows the end stays."""
    if lengths is None:
        return np.ascontiguousarray(x[::-1])
    steps = _numbered(x.shape[0])
    places: Array = np.where(_before(x.shape[0], lengths), lengths - 1 - steps, steps)
    return np.take_along_axis(x, places.reshape(*places.shape, *(1,) * (x.ndim - 2)), axis=0)


def _run(op: Recurrent, of: _Direction) -> tuple[Array, Array, Array]:
    """All states, the last of each sequence, and the last cell. What follows the end of a sequence is 0."""
    step = {Rnn: _rnn_step, Gru: _gru_step, Lstm: _lstm_step}[type(op)]
    h, c = of.start, of.cell
    out: Array = np.zeros((of.x.shape[0], *h.shape), of.x.dtype)
    for t in range(of.x.shape[0]):
        goes_on = of.valid[t][:, None]
        new_h, new_c = step(op, of, of.x[t] @ of.w.T + of.input_bias, h, c)
        h, c = np.where(goes_on, new_h, h), np.where(goes_on, new_c, c)
        out[t] = np.where(goes_on, h, 0)
    return out, h, c


def _clipped(op: Recurrent, x: Array) -> Array:
    return np.clip(x, -op.clip, op.clip) if op.clip else x


def _rnn_step(op: Any, of: _Direction, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    return of.functions[0](_clipped(op, x + h @ of.r.T + of.state_bias)), c


def _gru_step(op: Any, of: _Direction, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    f, g = of.functions
    size = op.hidden
    r, bias = np.split(of.r, 3), np.split(of.state_bias, 3)
    z = f(_clipped(op, x[:, :size] + h @ r[0].T + bias[0]))
    reset = f(_clipped(op, x[:, size : 2 * size] + h @ r[1].T + bias[1]))
    kept = reset * (h @ r[2].T + bias[2]) if op.linear_before_reset else (reset * h) @ r[2].T + bias[2]
    new = g(_clipped(op, x[:, 2 * size :] + kept))
    return (1 - z) * new + z * h, c


def _lstm_step(op: Any, of: _Direction, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    f, g, last = of.functions
    gates = np.split(x + h @ of.r.T + of.state_bias, 4, axis=1)
    peep = np.split(of.peepholes, 3)
    i = f(_clipped(op, gates[0] + peep[0] * c))
    forget = 1 - i if op.input_forget else f(_clipped(op, gates[2] + peep[2] * c))
    c = forget * c + i * g(_clipped(op, gates[3]))
    o = f(_clipped(op, gates[1] + peep[1] * c))
    return o * last(c), c


def recurrent_magnitude(op: Recurrent, x: Array, w: Array, r: Array, *more: Array) -> Array:
    """What a gate adds up at most, everywhere: a state carries its errors on, and no gate makes them grow much."""
    most = (
        abs(x).max(initial=0) * abs(w).sum(axis=2).max()
        + np.maximum(1, abs(recurrent(op, x, w, r, *more)).max(initial=0)) * abs(r).sum(axis=2).max()
    )
    most = most + sum(abs(value).max(initial=0) for name, value in given_operands(op, more).items() if name != "lengths")
    return np.full_like(recurrent(op, x, w, r, *more), 1 + most)


def recurrent_arithmetic(op: Recurrent, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    x, w, r = inputs[:3]
    macs = x.shape[0] * x.shape[1] * (w.numel + r.numel)
    return macs, macs * 2 + x.shape[0] * x.shape[1] * (w.shape[0] * w.shape[1]) * 8


def recurrent_roundings(op: Recurrent, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """Those of a step, and of all steps before it, of which each counts for half of the next."""
    return inputs[0].shape[2] + op.hidden + 64


NO_GRADIENT = NoGradient("the walk back through its steps is not written; use its parts, step by step")

RNN = OpDef(
    "rnn",
    Rnn,
    (3, 6),
    infer_recurrent,
    recurrent,
    recurrent_arithmetic,
    recurrent_magnitude,
    recurrent_roundings,
    facts=Facts(),
    gradient=NO_GRADIENT,
)
GRU = OpDef(
    "gru",
    Gru,
    (3, 6),
    infer_recurrent,
    recurrent,
    recurrent_arithmetic,
    recurrent_magnitude,
    recurrent_roundings,
    facts=Facts(),
    gradient=NO_GRADIENT,
)
LSTM = OpDef(
    "lstm",
    Lstm,
    (3, 8),
    infer_recurrent,
    recurrent,
    recurrent_arithmetic,
    recurrent_magnitude,
    recurrent_roundings,
    facts=Facts(),
    gradient=NO_GRADIENT,
)
OPS = (RNN, GRU, LSTM)
