"""Lowerings of attention, all scores of a head at once, and of rotary_embedding."""

from __future__ import annotations

import math
from typing import Any

from ....ir.graph import Node
from ....ir.ops.attention import ATTENTION, ROTARY_EMBEDDING, sizes_of
from .reduce import extreme_of
from .relax_emitter import RelaxEmitter

__all__ = ["attention", "rotary_embedding"]


def attention(emitter: RelaxEmitter, node: Node, *operands: Any) -> Any:
    op, te, tirx = ATTENTION.of(node), emitter.te, emitter.tirx
    of = sizes_of(op, *(operand.typed for operand in node.inputs))
    flat = node.inputs[0].typed.rank == 3
    repeats = of.heads // of.groups

    def computed(q: Any, k: Any, v: Any, *more: Any, shape: Any) -> Any:
        given = dict(zip(op.given, more, strict=True))
        batch, queries, new = q.shape[0], q.shape[1 if flat else 2], k.shape[1 if flat else 2]
        past = given["past_key"].shape[2] if "past_key" in given else emitter.dim(0)
        total = past + new

        def const(value: float) -> Any:
            return tirx.const(value, str(q.dtype))

        def joined(x: Any, name: str, size: int) -> Any:
            """What was there and what is new, [N,G,K,size]."""

            def element(n: Any, g: Any, j: Any, d: Any) -> Any:
                fresh = x[n, j - past, g * size + d] if flat else x[n, g, j - past, d]
                return tirx.if_then_else(j < past, given[name][n, g, j, d], fresh) if name in given else fresh

            return te.compute([batch, emitter.dim(of.groups), total, emitter.dim(size)], element, name)

        keys, values = joined(k, "past_key", of.depth), joined(v, "past_value", of.width)
        if op.result in (1, 2):
            return (keys, values)[op.result - 1]
        across = te.reduce_axis((0, emitter.dim(of.depth)), "depth")
        root = math.sqrt(op.scale or 1 / math.sqrt(of.depth))

        def product(n: Any, h: Any, i: Any, j: Any) -> Any:
            query = q[n, i, h * of.depth + across] if flat else q[n, h, i, across]
            return te.sum(query * const(root) * (keys[n, h // repeats, j, across] * const(root)), axis=across)

        rows = [batch, emitter.dim(of.heads), queries]
        scores = te.compute([*rows, total], product, "scores")

        def bend(*at: Any) -> Any:
            return const(op.softcap) * te.tanh(scores[at] / const(op.softcap)) if op.softcap > 0 else scores[at]

        def hidden(n: Any, h: Any, i: Any, j: Any) -> Any:
            bias = const(0)
            if "mask" in given:
                bias = _mask(emitter, given["mask"], (n, h, i, j), total, const)
            length = given["lengths"][n] if "lengths" in given else None
            behind = i + (past if length is None else length - queries) - j
            for is_bounded, sees in ((op.causal, behind >= 0), (op.left >= 0, behind <= op.left), (op.right >= 0, behind >= -op.right)):
                bias = tirx.Select(sees, bias, const(-math.inf)) if is_bounded else bias
            return bias if length is None else tirx.Select(j < length, bias, const(-math.inf))

        bent = te.compute([*rows, total], bend, "bent")
        bias = te.compute([*rows, total], hidden, "bias")

        def add(*at: Any) -> Any:
            return bent[at] + bias[at]

        biased = te.compute([*rows, total], add, "biased")
        greatest = extreme_of(emitter, greatest=True, may_be_nan=True)
        along = [te.reduce_axis((0, total), f"along{i}") for i in range(4)]

        def best_of(x: Any, axis: Any, name: str) -> Any:
            def entry(*at: Any) -> Any:
                return greatest(x[(*at, axis)], axis=[axis])

            return te.compute(rows, entry, name)

        most, sees = best_of(biased, along[0], "most"), best_of(bias, along[1], "sees")

        def grow(*at: Any) -> Any:
            best = most[at[:-1]]
            return te.exp(biased[at] - tirx.Select(best == const(-math.inf), const(0), best))

        grown = te.compute([*rows, total], grow, "grown")

        def add_up(*at: Any) -> Any:
            return te.sum(grown[(*at, along[2])], axis=along[2])

        sums = te.compute(rows, add_up, "sums")

        def share(*at: Any) -> Any:
            row = at[:-1]
            whole = tirx.Select(sums[row] == const(0), const(1), sums[row])
            return tirx.Select(sees[row] == const(-math.inf), const(0), grown[at] / whole)

        shares = te.compute([*rows, total], share, "shares")
        if op.result == 3:
            return (bent, bent, biased, shares)[op.scores]

        def mean(*at: Any) -> Any:
            n, h, i, d = (at[0], at[2] // of.width, at[1], at[2] % of.width) if flat else at
            return te.sum(shares[n, h, i, along[3]] * values[n, h // repeats, along[3], d], axis=along[3])

        return te.compute(shape, mean, "attention")

    return emitter.compute(node, computed, *operands)


def _mask(emitter: RelaxEmitter, mask: Any, at: tuple[Any, ...], total: Any, const: Any) -> Any:
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
