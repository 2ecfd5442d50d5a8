"""What a kernel for a GPU computes of whole numbers, over all blocks and threads that are launched: whether it fits into 32 bits."""

from __future__ import annotations

import itertools
import operator
from typing import Any

from convc.backends.tvm.host import tvm, tvm_ffi

__all__ = ["overflows"]

Span = tuple[int, int] | None  # least and greatest; None where nothing is known
INT32 = (-(1 << 31), (1 << 31) - 1)
WAYS = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Min": min,
    "Max": max,
    "FloorDiv": operator.floordiv,
    "Div": operator.floordiv,
    "RShift": operator.rshift,
    "LShift": lambda number, by: number << max(by, 0),  # UBSan looks for those that are less
}
MOVE = "tirx.ptx.mov"  # into the first operand
TABLES = (0, 1 << 20)  # what arguments hold that are whole numbers: rows, columns and channels


def overflows(function: Any) -> list[str]:
    """Sums, differences and products of a device function, lowered, that go beyond 32 bits with a sign, in which they are computed; and places
    in its arguments of which nothing is known. Conditions are not believed.
    """
    return _Spans().of(function)


class _Spans:
    def __init__(self) -> None:
        self.tirx: Any = tvm().tirx
        self.found: list[str] = []
        self.vars: dict[Any, Span] = {}
        self.registers: dict[Any, Span] = {}  # by the buffer that they are
        self.known: dict[Any, Span] = {}

    def of(self, function: Any) -> list[str]:
        walk, statements, values = tvm_ffi().structural_walk, list[Any](), list[Any]()
        walk(function.body, (self.tirx.Stmt, statements.append), order="pre")
        for statement in statements:
            self._note(statement)
        self.known.clear()
        walk(function.body, (tvm().ir.Expr, values.append))
        for value in values:
            span = self._span(value) if isinstance(value, self.tirx.Add | self.tirx.Sub | self.tirx.Mul) else None
            if span and str(value.ty) == "int32" and not INT32[0] <= span[0] <= span[1] <= INT32[1]:
                self.found.append(f"{value}: {span[0]:,} to {span[1]:,}")
        for value in values:
            if isinstance(value, tvm().ir.TensorLoad) and value.source.scope() == "global":
                self.found += [f"{value}: a place anywhere" for place in value.indices if self._span(place) is None]
        return list(dict.fromkeys(self.found))

    def _note(self, statement: Any) -> None:
        """What variables and registers hold, as it is written."""
        tirx = self.tirx
        if isinstance(statement, tirx.AttrStmt) and statement.attr_key == "thread_extent":
            self.vars[statement.node.var] = self._up_to(statement.value)
        elif isinstance(statement, tirx.For):
            start, count = self._span(statement.min), self._up_to(statement.extent)
            self.vars[statement.loop_var] = _all_of([start, count], lambda a, b: a + b)
        elif isinstance(statement, tirx.Bind):
            self.vars[statement.var] = self._span(statement.value)
        elif isinstance(statement, tirx.BufferStore) and "int" in str(statement.value.ty):
            self._stored(statement.buffer, statement.value)
        elif isinstance(statement, tirx.Evaluate) and getattr(getattr(statement.value, "op", None), "name", "") == MOVE:
            target, value, *_ = statement.value.args
            self._stored(target.source, value)

    def _stored(self, buffer: Any, value: Any) -> None:
        new = self._span(value)
        self.registers[buffer] = _joined([new, self.registers.get(buffer, new)])
        self.known.clear()

    def _up_to(self, extent: Any) -> Span:
        span = self._span(extent)
        return (0, max(0, span[1] - 1)) if span else None

    def _span(self, value: Any) -> Span:
        if value not in self.known:
            self.known[value] = self._found(value)
        return self.known[value]

    def _found(self, value: Any) -> Span:
        tirx, ir = self.tirx, tvm().ir
        if isinstance(value, tirx.IntImm):
            return int(value.value), int(value.value)
        if isinstance(value, ir.TensorLoad):
            return self.registers.get(value.source, TABLES if "int" in str(value.ty) else None)
        if isinstance(value, ir.Var):
            return self.vars.get(value)
        if isinstance(value, tirx.Cast | tirx.Broadcast):
            return self._span(value.value)
        if isinstance(value, tirx.Ramp):
            base, stride, most = self._span(value.base), self._span(value.stride), int(value.lanes) - 1
            steps = _all_of([stride, (0, most)], operator.mul)
            return _all_of([base, steps], operator.add)
        if isinstance(value, tirx.Select):
            return _joined([self._span(value.true_value), self._span(value.false_value)])
        if isinstance(value, ir.Call):
            is_choice = getattr(value.op, "name", "") == "prim.if_then_else"
            return _joined([self._span(each) for each in value.args[1:]]) if is_choice else None
        return self._computed(value) if hasattr(value, "a") and hasattr(value, "b") else None

    def _computed(self, value: Any) -> Span:
        kind, spans = type(value).__name__, [self._span(value.a), self._span(value.b)]
        if kind == "BitwiseAnd":  # with a mask, on either side
            masks = [span[1] for span in spans if span and span[0] >= 0]
            return (0, min(masks)) if masks else None
        if None in spans:
            return self._rest(*spans) if kind in ("FloorMod", "Mod") else None
        if kind in ("BitwiseXor", "BitwiseOr"):
            return 0, (1 << max(span[1] for span in spans if span).bit_length()) - 1
        if kind in ("FloorMod", "Mod"):
            return self._rest(*spans)
        return _all_of(spans, WAYS[kind]) if kind in WAYS else None

    def _rest(self, of: Span, divisor: Span) -> Span:
        if divisor is None or divisor[0] <= 0:
            return None
        if of and 0 <= of[0] <= of[1] < divisor[0]:
            return of
        return 0 if of and of[0] >= 0 else 1 - divisor[1], divisor[1] - 1


def _joined(spans: list[Span]) -> Span:
    known = [span for span in spans if span is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if len(known) == len(spans) else None


def _all_of(spans: list[Span], way: Any) -> Span:
    """Of an operation that rises or falls in each of two numbers."""
    known = [span for span in spans if span is not None]
    if len(known) < 2:
        return None
    ends = [way(a, b) for a, b in itertools.product(*known)]
    return min(ends), max(ends)
