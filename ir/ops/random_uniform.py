"""Numbers that look drawn at random: random_uniform. Each follows from a seed and its place alone, in whole numbers below 2^24.

So every runtime gives the same bits, on any number of threads; also one that computes whole numbers as float32, as OpenVINO does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, no_rounding
from ..types import MAX_RANK, Array, TensorType

__all__ = ["KEYED", "MODULUS", "OPS", "RANDOM_UNIFORM", "SCALE", "RandomUniform", "round_constants"]

MODULUS = 2039  # the greatest prime p for which 4 p^2 + p, the greatest number of a round, is below 2^24
WARMING = 4  # rounds that mix the seed before a round's result becomes a key
KEYED = 9  # rounds that each number goes through; from 7 on no test of ours tells them from chance
SCALE = float(np.float32(1 / MODULUS**2))  # of two states, so that there are p^2 numbers, and the greatest is below 1
MOST = 2**31  # places are counted in 32 bits


@dataclass(frozen=True, slots=True)
class RandomUniform:
    """Numbers in [0, 1), the same for the same seed, `shape` and `stream`; streams of a seed are independent.

    A Feistel network of three states below a prime p: (a, b, c) -> (b, c, ((c + key)^2 + a) mod p), whose keys are the results of the same
    network on the seed (Luby & Rackoff 1988; with MiMC's arithmetic, Albrecht et al. 2016). It starts with the digits of i in base p for
    element i, and ends with (b p + c) / p^2.
    Shapes: seed[] of i32, at least p - 2^31 -> f32 `shape`.
    """

    shape: tuple[Dim, ...]
    stream: int = 0


def round_constants(stream: int) -> list[int]:
    """What is added in each round on the seed: powers of small primes, and the two digits of the stream times others."""
    high, low = divmod(stream, MODULUS)
    power = [[pow(base, i, MODULUS) for i in range(1, WARMING + KEYED + 1)] for base in (7, 11, 13)]
    return [(343 * own + low * first + high * second) % MODULUS for own, first, second in zip(*power, strict=True)]


def infer_random_uniform(op: RandomUniform, seed: TensorType) -> TensorType:
    """Raises: ShapeError for a seed that is no i32 number, a negative stream or dimension, or more numbers than are counted."""
    if seed != TensorType("i32", ()):
        raise ShapeError(f"seed is {seed}, expected one number, i32[]")
    if not 0 <= op.stream < MODULUS**2:
        raise ShapeError(f"stream {op.stream} is outside [0, {MODULUS**2})")
    if len(op.shape) > MAX_RANK or any(isinstance(dim, int) and dim < 0 for dim in op.shape):
        raise ShapeError(f"random numbers of shape {list(op.shape)}; at most {MAX_RANK} axes, none negative")
    out = TensorType("f32", op.shape)
    if isinstance(count := out.numel, int) and count > MOST:
        raise ShapeError(f"{out} has {count:,} elements; a stream has {MOST:,} numbers")
    return out


def random_uniform(op: RandomUniform, seed: Array) -> Array:
    """The interpreter has put numbers for named sizes before it calls this."""
    shape = tuple(int(dim) for dim in op.shape if isinstance(dim, int))
    place = np.arange(np.prod(shape, dtype=np.int64), dtype=np.int32)
    a, b, c = place // MODULUS // MODULUS, place // MODULUS % MODULUS, place % MODULUS
    for key in _keys(int(seed), op.stream):
        shifted = c + np.int32(key)
        a, b, c = b, c, (shifted * shifted + a) % MODULUS
    return ((b * MODULUS + c).astype(np.float32) * np.float32(SCALE)).reshape(shape)


def _keys(seed: int, stream: int) -> list[int]:
    """A seed below 0 begins with the digits that rounding down gives."""
    rest, c = divmod(seed, MODULUS)
    a, b, results = rest // MODULUS % MODULUS, rest % MODULUS, list[int]()
    for constant in round_constants(stream):
        a, b, c = b, c, ((c + constant) ** 2 + a) % MODULUS
        results.append(c)
    return results[WARMING:]


def random_uniform_arithmetic(op: RandomUniform, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, out.numel  # the scaling; all else is in whole numbers


RANDOM_UNIFORM = OpDef(
    "random_uniform",
    RandomUniform,
    (1, 1),
    infer_random_uniform,
    random_uniform,
    random_uniform_arithmetic,
    roundings=no_rounding,  # the one that there is comes out the same everywhere
    facts=Facts(sizes=("shape",)),
    gradient=(None,),
)
OPS = (RANDOM_UNIFORM,)
