"""Lowerings of recurrent layers: sequence by sequence, a step after the other, states in scratch memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from ....ir.graph import Node
from ....ir.ops.recurrent import DIRECTIONS, GATES, activations_of, given_operands
from .relax_emitter import RelaxEmitter, dtype_name
from .statements import Statements, written

__all__ = ["gru", "lstm", "rnn"]

Cell = Callable[["_Sequence", Any], None]  # one step: from gates, state and cell to the next, for one hidden value or all


class _Sequence(ABC):
    """The statements of one sequence in one direction: `x`, `w`, `r` and optional operands, `gates`, `state`, `cell` in scratch."""

    def __init__(self, emitter: RelaxEmitter, node: Node, write: Statements, buffers: Sequence[Any]) -> None:
        self.emitter, self.node, self.write, self.op = emitter, node, write, node.op
        self.x, self.w, self.r = buffers[:3]
        self.given = given_operands(node.op, buffers[3:])
        self.hidden, self.gates_each = node.op.hidden, GATES[type(node.op)]
        self.dtype = dtype_name(node.typed).replace("float16", "float32")
        self.tirx = emitter.tirx
        self.gates, self.kept = (self._scratch(self.gates_each * self.hidden) for _ in range(2))
        self.state, self.cell = self._scratch(self.hidden), self._scratch(self.hidden)

    def _scratch(self, count: int) -> Any:
        return self.write.to.alloc_buffer((count,), self.dtype, scope="local")

    def const(self, value: float) -> Any:
        return self.tirx.const(value, self.dtype)

    def run(self, out: Any, d: int, n: Any, reverse: bool) -> None:
        """Fills what `out`, the result, has of this sequence."""
        layout, result = self.op.layout, self.op.result
        steps = self.x.shape[1 if layout else 0]
        length = self._length(n, steps)
        for name, buffer in (("start", self.state), ("cell", self.cell)):
            with self.write.each([self.hidden]) as (j,):
                given = self.given.get(name)
                value = self.const(0) if given is None else given[(n, d, j) if layout else (d, n, j)]
                self.write.store(buffer, value, [j])
        with self.write.each([steps]) as (t,):
            place = self.tirx.Select(t < length, length - 1 - t, t) if reverse else t
            self._if(t < length, lambda: self._step(d, n, place))
            if not result:
                with self.write.each([self.hidden]) as (j,):
                    value = self.tirx.Select(t < length, self.state[j], self.const(0))
                    self.write.store(out, value, (n, place, d, j) if layout else (place, d, n, j))
        if result:
            with self.write.each([self.hidden]) as (j,):
                last = self.state if result == 1 else self.cell
                self.write.store(out, last[j], (n, d, j) if layout else (d, n, j))

    def _length(self, n: Any, steps: Any) -> Any:
        """Whatever the data say, no step beyond the last."""
        if "lengths" not in self.given:
            return steps
        te, given = self.emitter.te, self.given["lengths"][n].astype("int64")
        return te.max(te.min(given, steps), self.tirx.const(0, "int64"))

    def _if(self, condition: Any, then: Callable[[], None]) -> None:
        to = self.write.to
        with to.If(condition), to.Then():
            then()

    def _step(self, d: int, n: Any, t: Any) -> None:
        size = self.gates_each * self.hidden
        at = (n, t) if self.op.layout else (t, n)
        self.products(self.gates, size, self.w.shape[2], lambda g, k: self.x[(*at, k)] * self.w[d, g, k], lambda g: self.bias(d, g))
        self.next(d)

    def bias(self, d: int, g: Any) -> Any:
        return self.given["bias"][d, g] if "bias" in self.given else self.const(0)

    def products(
        self, into: Any, count: int, extent: Any, term: Callable[[Any, Any], Any], start: Callable[[Any], Any], first: int = 0
    ) -> None:
        with self.write.each([count]) as (i,):
            g = i + first
            self.write.store(into, start(g), [g])
            with self.write.each([extent]) as (k,):
                self.write.store(into, into[g] + term(g, k), [g])

    def recur(self, d: int, count: int, first: int = 0) -> None:
        """The share of the state in so many gates, with its bias."""
        half = self.gates_each * self.hidden
        self.products(self.kept, count, self.hidden, lambda g, k: self.state[k] * self.r[d, g, k], lambda g: self.bias(d, g + half), first)

    def function(self, d: int, which: int, value: Any, *, clip: bool = True) -> Any:
        te, const = self.emitter.te, self.const
        if clip and self.op.clip:
            value = te.max(te.min(value, const(self.op.clip)), const(-self.op.clip))
        formulas: dict[str, Any] = {
            "Sigmoid": const(1) / (const(1) + te.exp(const(0) - value)),
            "Tanh": te.tanh(value),
            "Relu": te.max(value, const(0)),
            "HardSigmoid": te.max(te.min(value * const(0.2) + const(0.5), const(1)), const(0)),
            "Softsign": value / (const(1) + te.abs(value)),
        }
        return formulas[activations_of(self.op)[d][which]]

    def gate(self, which: int, j: Any) -> Any:
        """What goes into a gate of the hidden value j."""
        at = j + which * self.hidden
        return self.gates[at] + self.kept[at]

    @abstractmethod
    def next(self, d: int) -> None:
        """Write the step that makes the next state, of direction `d`."""


class _Rnn(_Sequence):
    def next(self, d: int) -> None:
        self.recur(d, self.hidden)
        with self.write.each([self.hidden]) as (j,):
            self.write.store(self.state, self.function(d, 0, self.gate(0, j)), [j])


class _Gru(_Sequence):
    def next(self, d: int) -> None:
        h = self.hidden
        self.recur(d, (3 if self.op.linear_before_reset else 2) * h)
        with self.write.each([2 * h]) as (g,):
            self.write.store(self.gates, self.function(d, 0, self.gates[g] + self.kept[g]), [g])
        if not self.op.linear_before_reset:
            self.products(
                self.kept, h, h, lambda g, k: self.gates[k + h] * self.state[k] * self.r[d, g, k], lambda g: self.bias(d, g + 3 * h), 2 * h
            )
        with self.write.each([h]) as (j,):
            kept = self.kept[j + 2 * h]
            kept = self.gates[j + h] * kept if self.op.linear_before_reset else kept
            new = self.function(d, 1, self.gates[j + 2 * h] + kept)
            self.write.store(self.state, (self.const(1) - self.gates[j]) * new + self.gates[j] * self.state[j], [j])


class _Lstm(_Sequence):
    def next(self, d: int) -> None:
        self.recur(d, 4 * self.hidden)
        with self.write.each([self.hidden]) as (j,):
            i = self.function(d, 0, self.gate(0, j) + self.peep(d, 0, j))
            forget = self.const(1) - i if self.op.input_forget else self.function(d, 0, self.gate(2, j) + self.peep(d, 2, j))
            self.write.store(self.cell, forget * self.cell[j] + i * self.function(d, 1, self.gate(3, j)), [j])
            o = self.function(d, 0, self.gate(1, j) + self.peep(d, 1, j))
            self.write.store(self.state, o * self.function(d, 2, self.cell[j], clip=False), [j])

    def peep(self, d: int, which: int, j: Any) -> Any:
        if "peepholes" not in self.given:
            return self.const(0)
        return self.given["peepholes"][d, j + which * self.hidden] * self.cell[j]


def _recurrent(sequence: type[_Sequence]) -> Callable[..., Any]:
    def row(emitter: RelaxEmitter, node: Node, *operands: Any) -> Any:
        def body(write: Statements, out: Any, *buffers: Any) -> None:
            batch = buffers[0].shape[0 if node.op.layout else 1]
            one = sequence(emitter, node, write, buffers)
            with write.each([batch]) as (n,):
                for d in range(DIRECTIONS[node.op.direction]):
                    one.run(out, d, n, d == 1 or node.op.direction == "reverse")

        return written(emitter, node, body, *operands)

    return row


rnn, gru, lstm = map(_recurrent, (_Rnn, _Gru, _Lstm))
