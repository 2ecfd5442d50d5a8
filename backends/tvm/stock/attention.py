"""Lowerings of attention, all scores of a head at once, and of rotary_embedding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ....ir.graph import Node
from ....ir.ops.attention import ATTENTION, ROTARY_EMBEDDING, sizes_of
from .reduce import extreme_of
from .relax_emitter import RelaxEmitter

__all__ = ["attention", "rotary_embedding"]


def attention(emitter: RelaxEmitter, node: Node, *operands: Any) -> Any:
    def computed(q: Any, k: Any, v: Any, *more: Any, shape: Any) -> Any:
        return _Attention(emitter, node, q, k, v, *more).result(shape)

    return emitter.compute(node, computed, *operands)


class _Attention:
    """One node over the tensors of its operands: keys and values with what was there before, [N,G,T,D]; scores [N,H,Q,T]."""

    def __init__(self, emitter: RelaxEmitter, node: Node, q: Any, k: Any, v: Any, *more: Any) -> None:
        self.emitter, self.te, self.tirx, self.op = emitter, emitter.te, emitter.tirx, ATTENTION.of(node)
        self.of = sizes_of(self.op, *(operand.typed for operand in node.inputs))
        self.flat = node.inputs[0].typed.rank == 3
        self.given = dict(zip(self.op.given, more, strict=True))
        self.q, self.batch, self.queries = q, q.shape[0], q.shape[1 if self.flat else 2]
        self.past = self.given["past_key"].shape[2] if "past_key" in self.given else emitter.dim(0)
        self.total = self.past + k.shape[1 if self.flat else 2]
        self.rows = [self.batch, emitter.dim(self.of.heads), self.queries]
        self.keys, self.values = self._joined(k, "past_key", self.of.depth), self._joined(v, "past_value", self.of.width)

    def result(self, shape: Any) -> Any:
        """What the node gives: the attended values, the keys or values of all steps, or scores at one of their stages."""
        if self.op.result in (1, 2):
            return (self.keys, self.values)[self.op.result - 1]
        bent, bias = self._bent(self._scores()), self._bias()
        biased = self._biased(bent, bias)
        shares = self._shares(biased, bias)
        return (bent, bent, biased, shares)[self.op.scores] if self.op.result == 3 else self._mean(shares, shape)

    def _const(self, value: float) -> Any:
        return self.tirx.const(value, str(self.q.dtype))

    def _scored(self, name: str, element: Callable[..., Any]) -> Any:
        return self.te.compute([*self.rows, self.total], element, name)

    def _along(self, name: str) -> Any:
        return self.te.reduce_axis((0, self.total), name)

    def _joined(self, x: Any, name: str, size: int) -> Any:
        """What was there and what is new, [N,G,T,size]."""

        def element(n: Any, g: Any, j: Any, d: Any) -> Any:
            fresh = x[n, j - self.past, g * size + d] if self.flat else x[n, g, j - self.past, d]
            return self.tirx.if_then_else(j < self.past, self.given[name][n, g, j, d], fresh) if name in self.given else fresh

        dim = self.emitter.dim
        return self.te.compute([self.batch, dim(self.of.groups), self.total, dim(size)], element, name)

    def _group(self, head: Any) -> Any:
        """The head of keys and values that a head of queries reads."""
        return head // (self.of.heads // self.of.groups)

    def _scores(self) -> Any:
        """Queries times keys, each scaled by the root of the scale, as ONNX does."""
        across = self.te.reduce_axis((0, self.emitter.dim(self.of.depth)), "depth")
        root = math.sqrt(self.op.scale or 1 / math.sqrt(self.of.depth))

        def product(n: Any, h: Any, i: Any, j: Any) -> Any:
            query = self.q[n, i, h * self.of.depth + across] if self.flat else self.q[n, h, i, across]
            key = self.keys[n, self._group(h), j, across]
            return self.te.sum(query * self._const(root) * (key * self._const(root)), axis=across)

        return self._scored("scores", product)

    def _bent(self, scores: Any) -> Any:
        """Scores that no longer grow beyond the softcap, where there is one."""
        cap = self._const(self.op.softcap)

        def element(*at: Any) -> Any:
            return cap * self.te.tanh(scores[at] / cap) if self.op.softcap > 0 else scores[at]

        return self._scored("bent", element)

    def _bias(self) -> Any:
        """What a mask adds, and minus infinity for keys that a query does not see."""
        op, tirx, given, hidden = self.op, self.tirx, self.given, self._const(-math.inf)

        def element(n: Any, h: Any, i: Any, j: Any) -> Any:
            bias = _mask(self.emitter, given["mask"], (n, h, i, j), self._const) if "mask" in given else self._const(0)
            length = given["lengths"][n] if "lengths" in given else None
            behind = i + (self.past if length is None else length - self.queries) - j
            for is_bounded, sees in ((op.causal, behind >= 0), (op.left >= 0, behind <= op.left), (op.right >= 0, behind >= -op.right)):
                bias = tirx.Select(sees, bias, hidden) if is_bounded else bias
            return bias if length is None else tirx.Select(j < length, bias, hidden)

        return self._scored("bias", element)

    def _biased(self, bent: Any, bias: Any) -> Any:
        def element(*at: Any) -> Any:
            return bent[at] + bias[at]

        return self._scored("biased", element)

    def _greatest(self, x: Any, axis: Any, name: str) -> Any:
        """Of each row, [N,H,Q]."""
        greatest = extreme_of(self.emitter, greatest=True, may_be_nan=True)

        def entry(*at: Any) -> Any:
            return greatest(x[(*at, axis)], axis=[axis])

        return self.te.compute(self.rows, entry, name)

    def _is_least(self, value: Any) -> Any:
        return value == self._const(-math.inf)

    def _shares(self, biased: Any, bias: Any) -> Any:
        """Softmax of a row; 0 all along one that sees nothing."""
        te, const = self.te, self._const
        most = self._greatest(biased, self._along("along0"), "most")
        sees = self._greatest(bias, self._along("along1"), "sees")

        def grow(*at: Any) -> Any:
            best = most[at[:-1]]
            return te.exp(biased[at] - self.tirx.Select(self._is_least(best), const(0), best))

        grown, along = self._scored("grown", grow), self._along("along2")

        def add_up(*at: Any) -> Any:
            return te.sum(grown[(*at, along)], axis=along)

        sums = te.compute(self.rows, add_up, "sums")

        def share(*at: Any) -> Any:
            row = at[:-1]
            whole = self.tirx.Select(sums[row] == const(0), const(1), sums[row])
            return self.tirx.Select(self._is_least(sees[row]), const(0), grown[at] / whole)

        return self._scored("shares", share)

    def _mean(self, shares: Any, shape: Any) -> Any:
        """Of the values, by the shares."""
        along, width = self._along("along3"), self.of.width

        def mean(*at: Any) -> Any:
            n, h, i, d = (at[0], at[2] // width, at[1], at[2] % width) if self.flat else at
            return self.te.sum(shares[n, h, i, along] * self.values[n, self._group(h), along, d], axis=along)

        return self.te.compute(shape, mean, "attention")


def _mask(emitter: RelaxEmitter, mask: Any, at: tuple[Any, ...], const: Any) -> Any:
    """Axes of one element stand still; keys that the mask does not have are hidden."""
    tirx = emitter.tirx
    own = at[4 - len(mask.shape) :]
    is_one = [getattr(extent, "value", None) == 1 for extent in mask.shape]
    place = [tirx.IntImm("int64", 0) if one else i for i, one in zip(own, is_one, strict=True)]
    there = own[-1] < mask.shape[-1]
    value = mask[tuple(place)] if is_one[-1] else tirx.if_then_else(there, mask[tuple(place)], _nothing(emitter, mask, const))
    return tirx.Select(value, const(0), const(-math.inf)) if str(mask.dtype) == "bool" else value


def _nothing(emitter: RelaxEmitter, mask: Any, const: Any) -> Any:
    return emitter.tirx.const(False, "bool") if str(mask.dtype) == "bool" else const(-math.inf)


def rotary_embedding(emitter: RelaxEmitter, node: Node, x: Any, cos: Any, sin: Any, places: Any = None) -> Any:
    op, te, tirx = ROTARY_EMBEDDING.of(node), emitter.te, emitter.tirx
    flat = node.typed.rank == 3

    def computed(x: Any, cos: Any, sin: Any, *places: Any, shape: Any) -> Any:
        width = x.shape[2] // op.heads if flat else x.shape[3]
        turned = tirx.IntImm("int64", op.dim) if op.dim else width
        half = turned // 2

        def element(*at: Any) -> Any:
            n, h, s, d = (at[0], at[2] // width, at[1], at[2] % width) if flat else at
            inside = te.min(d, turned - 1)
            pair, second = (inside // 2, inside % 2 == 1) if op.interleaved else (inside % half, inside >= half)
            first_at, second_at = (pair * 2, pair * 2 + 1) if op.interleaved else (pair, pair + half)
            row = te.max(te.min(places[0][n, s], cos.shape[0] - 1), tirx.const(0, "int64")) if places else None
            c, w = ((table[n, s, pair] if row is None else table[row, pair]) for table in (cos, sin))
            a, b = ((x[n, s, h * width + i] if flat else x[n, h, s, i]) for i in (first_at, second_at))
            value = tirx.Select(second, w * a + c * b, c * a - w * b)
            return tirx.Select(d < turned, value, x[at])

        return te.compute(shape, element, "rotary_embedding")

    return emitter.compute(node, computed, x, cos, sin, *(() if places is None else (places,)))
