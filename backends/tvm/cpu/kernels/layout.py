"""How values lie for kernels of our own: activations, and what they are multiplied with, in blocks of channels. No TVM is needed.

Activations are blocked, [CB,N,H,W,LANES] in float32. Channel c is lane c % LANES of block c // LANES. Lanes beyond the last channel hold
anything that is finite. Blocks come before images, so that some channels of all images lie together: a concatenation of channels is its
operands end to end, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .....ir.types import Array

__all__ = ["LANES", "Batch", "Packing", "block_channels", "blocks", "constants", "one_for_all"]

LANES = 16  # of float32 in a vector register of AVX-512
Batch = int | None  # None: a named size


@dataclass(frozen=True, slots=True)
class Packing:
    """How a kernel reads one parameter of a layer: in this shape, which `pack` makes of the parameter as it is."""

    shape: tuple[int, ...]
    pack: Callable[[Array], Array]


def blocks(channels: int) -> int:
    """Blocks that hold so many channels."""
    return -(-channels // LANES)


def block_channels(x: Array, axis: int = 0) -> Array:
    """`axis` as blocks, its lanes moved to the end: [O,KH,KW] as [OB,KH,KW,LANES]. Lanes beyond the last channel are 0."""
    grown = np.zeros((*x.shape[:axis], blocks(x.shape[axis]) * LANES, *x.shape[axis + 1 :]), x.dtype)
    grown[(slice(None),) * axis + (slice(x.shape[axis]),)] = x
    split = grown.reshape(*x.shape[:axis], -1, LANES, *x.shape[axis + 1 :])
    return np.ascontiguousarray(np.moveaxis(split, axis + 1, -1))


def constants(channels: int) -> Packing:
    """A number a channel, such as a bias, [C] or [C,1,1], as [CB,LANES]."""
    return Packing((blocks(channels), LANES), lambda x: block_channels(x.ravel()))


def one_for_all(channels: int) -> Packing:
    """The same number for each channel."""
    return Packing((blocks(channels), LANES), lambda x: np.full((blocks(channels), LANES), x.ravel()[0]))
