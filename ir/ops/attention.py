"""Weighted means of values, by how much keys and queries agree: attention; and rotary_embedding, which turns these by their places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, rounded
from ..terms import NoGradient, Term
from ..types import Array, TensorType
from .check import broadcast, need_float, need_same_dtype

__all__ = ["ATTENTION", "OPS", "OPTIONAL", "ROTARY_EMBEDDING", "Attention", "RotaryEmbedding", "Sizes", "sizes_of"]

OPTIONAL = ("mask", "past_key", "past_value", "lengths")


@dataclass(frozen=True, slots=True)
class Attention:
    """softmax(scale q k^T + mask) v. Vaswani et al. 2017, sec. 3.2; ONNX Attention, the result of that number: y, keys, values, scores.

    Shapes: q[N,H,Q,D], k[N,G,K,D], v[N,G,K,V] -> [N,H,Q,V], or q[N,Q,H*D] and so on with `q_heads` H and `kv_heads` G, which divides H.
    `given` names operands that follow, in order: mask (bool, or added), past_key[N,G,P,D], past_value[N,G,P,V], lengths i64[N] of keys.
    `scale` 0 is 1/sqrt(D). `softcap` bends scores by a tanh, `causal` hides keys that come later; a row that sees none is 0.
    `left` and `right` are how many keys before and after its own place a query sees, -1 for all.
    `scores` says what result 3 is: before the softcap 0, after it 1, after the mask 2, after the softmax 3.
    """

    q_heads: int = 0
    kv_heads: int = 0
    scale: float = 0.0
    causal: bool = False
    softcap: float = 0.0
    scores: int = 0
    left: int = -1
    right: int = -1
    given: tuple[str, ...] = ()
    result: int = 0


@dataclass(frozen=True, slots=True)
class RotaryEmbedding:
    """x turned in pairs of values by an angle for each place. Su et al. 2021; ONNX RotaryEmbedding.

    Shapes: x[N,H,S,D] or x[N,S,H*D] with `heads`; cos, sin [N,S,R/2], or [P,R/2] with places i64[N,S] -> x. `dim` R is how many of D are
    turned, 0 for all; pairs are halves apart, or neighbours if `interleaved`.
    """

    heads: int = 0
    interleaved: bool = False
    dim: int = 0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Images, heads of queries and of keys, queries, keys that are new and that were there, values of a key and of a value."""

    batch: Dim
    heads: int
    groups: int
    queries: Dim
    keys: Dim
    past: Dim
    depth: int
    width: int


def sizes_of(op: Attention, q: TensorType, k: TensorType, v: TensorType, *more: TensorType) -> Sizes:
    """Raises: ShapeError for operands that do not fit."""
    for x in (q, k, v):
        if x.rank != q.rank or x.rank not in (3, 4):
            raise ShapeError(f"q, k, v are {q}, {k}, {v}; expected 3 axes each, or 4")
    past = dict(zip(op.given, more, strict=True)).get("past_key")
    kept = 0 if past is None or past.rank != 4 else past.shape[2]
    if q.rank == 4:
        heads, groups = q.shape[1], k.shape[1]
        depth, width, queries, keys = q.shape[3], v.shape[3], q.shape[2], k.shape[2]
        fits = k.shape[3] == depth and v.shape[1:3] == k.shape[1:3]
    else:
        heads, groups = op.q_heads, op.kv_heads
        if heads < 1 or groups < 1:
            raise ShapeError(f"q_heads {heads} and kv_heads {groups} must be at least 1 for {q}")
        depth, width, queries, keys = q.shape[2] // heads, v.shape[2] // groups, q.shape[1], k.shape[1]
        fits = (q.shape[2], k.shape[2], v.shape[2]) == (depth * heads, depth * groups, width * groups) and v.shape[1] == keys
    numbers = all(isinstance(size, int) and size > 0 for size in (heads, groups, depth, width))
    if not fits or not numbers or q.shape[0] != k.shape[0] or v.shape[0] != k.shape[0]:
        raise ShapeError(f"q, k, v are {q}, {k}, {v}; keys are as deep as queries, and values as many as keys")
    assert isinstance(heads, int)
    assert isinstance(groups, int)
    assert isinstance(depth, int)
    assert isinstance(width, int)
    if heads % groups:
        raise ShapeError(f"{heads} heads of queries do not divide into {groups} of keys")
    return Sizes(q.shape[0], heads, groups, queries, keys, kept, depth, width)


def infer_attention(op: Attention, q: TensorType, k: TensorType, v: TensorType, *more: TensorType) -> TensorType:
    """Raises: ShapeError for operands that do not fit each other, or a result that is not there."""
    need_float(q)
    need_same_dtype(q, k, v)
    if list(op.given) != [name for name in OPTIONAL if name in op.given] or len(more) != len(op.given):
        raise ShapeError(f"given is {list(op.given)} for {len(more)} operands; known are, in this order, {', '.join(OPTIONAL)}")
    if ("past_key" in op.given) != ("past_value" in op.given) or {"past_key", "lengths"} <= set(op.given):
        raise ShapeError("past_key and past_value go together, and not with lengths")
    of = sizes_of(op, q, k, v, *more)
    total = of.past + of.keys
    wanted = {"past_key": (of.batch, of.groups, of.past, of.depth), "past_value": (of.batch, of.groups, of.past, of.width)}
    for what, type_ in zip(op.given, more, strict=True):
        if what == "mask":
            _need_mask(type_, TensorType(q.dtype, (of.batch, of.heads, of.queries, total)))
        elif what == "lengths" and type_ != TensorType("i64", (of.batch,)):
            raise ShapeError(f"lengths are {type_}, expected i64[{of.batch}]")
        elif what in wanted and type_ != TensorType(q.dtype, wanted[what]):
            raise ShapeError(f"{what} is {type_}, expected {TensorType(q.dtype, wanted[what])}")
    if not 0 <= op.result <= 3 or not 0 <= op.scores <= 3 or min(op.left, op.right) < -1:
        raise ShapeError(f"result {op.result} and scores {op.scores} must be 0 to 3, left {op.left} and right {op.right} at least -1")
    y = (of.batch, of.heads, of.queries, of.width) if q.rank == 4 else (of.batch, of.queries, of.heads * of.width)
    keys, values = ((of.batch, of.groups, total, size) for size in (of.depth, of.width))
    return TensorType(q.dtype, (y, keys, values, (of.batch, of.heads, of.queries, total))[op.result])


def _need_mask(mask: TensorType, scores: TensorType) -> None:
    """A mask of fewer keys hides the others."""
    if mask.dtype not in ("bool", scores.dtype) or not 1 <= mask.rank <= 4:
        raise ShapeError(f"mask is {mask}, expected bool or {scores.dtype} of 1 to 4 axes")
    short, total = mask.shape[-1], scores.shape[-1]
    if short != total and isinstance(short, int) and isinstance(total, int) and 1 < short < total:
        mask = TensorType(mask.dtype, (*mask.shape[:-1], total))
    if broadcast(mask, scores) != scores.shape:
        raise ShapeError(f"mask is {mask}, which does not broadcast to the scores, {scores}")


def attention(op: Attention, q: Array, k: Array, v: Array, *more: Array) -> Array:
    given = dict(zip(op.given, more, strict=True))
    flat = q.ndim == 3
    if flat:
        q, k, v = (_in_heads(x, heads) for x, heads in ((q, op.q_heads), (k, op.kv_heads), (v, op.kv_heads)))
    if "past_key" in given:
        k, v = np.concatenate([given["past_key"], k], axis=2), np.concatenate([given["past_value"], v], axis=2)
    if op.result in (1, 2):
        return (k, v)[op.result - 1]
    repeats = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeats, axis=1), np.repeat(v, repeats, axis=1)
    root = q.dtype.type(math.sqrt(op.scale or 1 / math.sqrt(q.shape[3])))
    scores = np.matmul(q * root, (k * root).transpose(0, 1, 3, 2))
    bent = op.softcap * np.tanh(scores / op.softcap) if op.softcap > 0 else scores
    bias = _bias(op, q, k.shape[2], given)
    shares = _shares(bent + bias, bias)
    if op.result == 3:
        shown = (scores if op.scores == 0 and not op.softcap else bent, bent, bent + bias, shares)[op.scores]
        return np.ascontiguousarray(np.broadcast_to(shown, scores.shape)).astype(q.dtype, copy=False)
    y = np.matmul(shares, v)
    return np.ascontiguousarray(y.transpose(0, 2, 1, 3)).reshape(y.shape[0], y.shape[2], y.shape[1] * y.shape[3]) if flat else y


def _in_heads(x: Array, heads: int) -> Array:
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(0, 2, 1, 3)


def _bias(op: Attention, q: Array, keys: int, given: Mapping[str, Array]) -> Array:
    """0 where a query sees a key, -inf where not, or what a mask adds."""
    mask = given.get("mask", np.zeros((1, 1), q.dtype))
    if 1 < mask.shape[-1] < keys:
        missing = [(0, 0)] * (mask.ndim - 1) + [(0, keys - mask.shape[-1])]
        mask = np.pad(mask, missing, constant_values=False if mask.dtype == bool else -np.inf)
    added = _seen(mask, q) if mask.dtype == bool else mask
    every: Array = np.zeros((1, 1, q.shape[2], keys), q.dtype)
    bias: Array = added + every
    at, place = _numbered(keys), _numbered(q.shape[2])[:, None]
    lengths = given["lengths"].reshape(-1, 1, 1, 1) if "lengths" in given else None
    offset = lengths - q.shape[2] if lengths is not None else given["past_key"].shape[2] if "past_key" in given else 0
    behind = place + offset - at
    for is_bounded, apart, most in ((op.causal, -behind, 0), (op.left >= 0, behind, op.left), (op.right >= 0, -behind, op.right)):
        bias = bias + _seen(np.less_equal(apart, most), q) if is_bounded else bias
    return bias if lengths is None else bias + _seen(np.less(at, lengths), q)


def _seen(which: Array, q: Array) -> Array:
    bias: Array = np.zeros(which.shape, q.dtype)
    bias[~which] = -np.inf
    return bias


def _numbered(count: int) -> Array:
    every: Array = np.arange(count)
    return every


def _shares(scores: Array, bias: Array) -> Array:
    """Softmax over keys; a row that sees none is 0."""
    sees = np.broadcast_to(bias, scores.shape).max(axis=-1, keepdims=True, initial=-np.inf) > -np.inf
    most = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    grown: Array = np.exp(scores - np.where(most == -np.inf, np.zeros((), scores.dtype), most))
    total = grown.sum(axis=-1, keepdims=True)
    return np.where(sees, grown / np.where(total == 0, np.ones((), scores.dtype), total), np.zeros((), scores.dtype))


def attention_magnitude(op: Attention, q: Array, k: Array, v: Array, *more: Array) -> Array:
    """The greatest value, times the size of the scores, whose rounding moves shares by as much."""
    given = dict(zip(op.given, more, strict=True))
    depth = q.shape[-1] if q.ndim == 4 else q.shape[-1] // op.q_heads
    keys, values = (
        max(abs(x).max(initial=0), abs(given[past]).max(initial=0) if past in given else 0)
        for x, past in ((k, "past_key"), (v, "past_value"))
    )
    score = abs(q).max(initial=0) * keys * depth * (op.scale or 1 / math.sqrt(depth))
    size = {0: values * (2 + 2 * score), 1: 0.0, 2: 0.0, 3: 1 + 2 * score}[op.result]
    return np.full_like(attention(op, q, k, v, *more), size)


def attention_arithmetic(op: Attention, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    of = sizes_of(op, *inputs)
    pairs = of.batch * of.heads * of.queries * (of.past + of.keys)
    macs = pairs * (of.depth + of.width) if op.result == 0 else pairs * of.depth if op.result == 3 else 0
    return macs, macs * 2 + pairs * 5


def attention_roundings(op: Attention, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    of = sizes_of(op, *inputs)
    return of.depth + of.past + of.keys + 16


def infer_rotary(op: RotaryEmbedding, x: TensorType, cos: TensorType, sin: TensorType, places: TensorType | None = None) -> TensorType:
    """Raises: ShapeError for operands that do not fit each other."""
    need_float(x)
    need_same_dtype(x, cos, sin)
    if x.rank not in (3, 4) or (x.rank == 3 and op.heads < 1):
        raise ShapeError(f"input is {x}, expected 4 axes, or 3 and heads")
    steps = x.shape[2] if x.rank == 4 else x.shape[1]
    width = x.shape[3] if x.rank == 4 else x.shape[2] // op.heads
    turned = op.dim or width
    if not isinstance(turned, int) or turned % 2 or (isinstance(width, int) and not 0 < turned <= width):
        raise ShapeError(f"dim {turned} must be even and at most the {width} values of a head")
    wanted = (x.shape[0], steps, turned // 2)
    fits = cos.shape == wanted if places is None else cos.rank == 2 and cos.shape[1] == turned // 2
    if not fits or cos.shape != sin.shape or (places is not None and places != TensorType("i64", wanted[:2])):
        raise ShapeError(
            f"cos is {cos}, sin {sin}, places {places}; expected [{wanted[0]},{wanted[1]},{wanted[2]}], or rows of it at places"
        )
    return x


def rotary_embedding(op: RotaryEmbedding, x: Array, cos: Array, sin: Array, places: Array | None = None) -> Array:
    """Raises: ShapeError for a place that is not there."""
    if places is not None:
        outside = (places < 0) | (places >= cos.shape[0])
        if outside.any():
            raise ShapeError(f"place {places[outside].flat[0]} is outside 0 to {cos.shape[0] - 1}")
        cos, sin = cos[places], sin[places]
    heads = x if x.ndim == 4 else _in_heads(x, op.heads)
    turned = op.dim or heads.shape[3]
    part, rest = heads[..., :turned], heads[..., turned:]
    cos, sin = cos[:, None], sin[:, None]
    a, b = (part[..., 0::2], part[..., 1::2]) if op.interleaved else (part[..., : turned // 2], part[..., turned // 2 :])
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    pairs = np.stack([real, imaginary], axis=-1 if op.interleaved else -2)
    out = np.concatenate([pairs.reshape(part.shape), rest], axis=-1)
    return out if x.ndim == 4 else np.ascontiguousarray(out.transpose(0, 2, 1, 3)).reshape(x.shape)


def rotary_magnitude(op: RotaryEmbedding, x: Array, cos: Array, sin: Array, places: Array | None = None) -> Array:
    return np.full_like(x, 2 * abs(x).max(initial=0) * max(abs(cos).max(initial=0), abs(sin).max(initial=0), 1))


def rotary_arithmetic(op: RotaryEmbedding, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return out.numel * 2, out.numel * 3


def rotary_gradient(op: RotaryEmbedding, g: Term, y: Term, x: Term, cos: Term, sin: Term, *places: Term) -> Term:
    """Turned back."""
    return g.op("rotary_embedding", cos, -sin, *places, heads=op.heads, interleaved=op.interleaved, dim=op.dim)


def angle_gradient(op: RotaryEmbedding, g: Term, y: Term, *operands: Term) -> NoGradient:
    return NoGradient("its angles are fixed in the paper, and so they are here; leave them out")


NO_GRADIENT = NoGradient("that of the whole is not written; use its parts, matmul, softmax and matmul, which have one")

ATTENTION = OpDef(
    "attention",
    Attention,
    (3, 7),
    infer_attention,
    attention,
    attention_arithmetic,
    attention_magnitude,
    attention_roundings,
    facts=Facts(),
    gradient=NO_GRADIENT,
)
ROTARY_EMBEDDING = OpDef(
    "rotary_embedding",
    RotaryEmbedding,
    (3, 4),
    infer_rotary,
    rotary_embedding,
    rotary_arithmetic,
    rotary_magnitude,
    rounded(4),
    facts=Facts(),
    gradient=(rotary_gradient, angle_gradient, angle_gradient, None),
)
OPS = (ATTENTION, ROTARY_EMBEDDING)
