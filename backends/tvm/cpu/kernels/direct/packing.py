"""The weights of a direct convolution as its kernel reads them, in groups of whole blocks."""

from __future__ import annotations

import numpy as np

from ......ir.types import Array
from ..layout import LANES, Packing, blocks
from .size import Direct

__all__ = ["direct_filters", "pack_direct", "whole_groups", "widened"]


def direct_filters(size: Direct, groups: int) -> Packing:
    """Of a layer that has so many groups, [O,C/groups,KH,KW]; as many of them as need be are one of the kernel's."""
    return Packing(size.weights, lambda w: pack_direct(widened(w, groups, groups // size.groups), size.lanes_in, size.groups))


def whole_groups(groups: int, c_in: int, c_out: int) -> int:
    """How many groups are left when narrow ones are put side by side, with zeros between, until each is whole blocks."""
    for merged in range(1, groups + 1):
        if groups % merged == 0 and (c_in // groups * merged) % LANES == 0 and (c_out // groups * merged) % LANES == 0:
            return groups // merged
    return 1


def widened(w: Array, groups: int, merged: int) -> Array:
    """[O,C/groups,...] as [O,merged*C/groups,...]: each filter reads its own channels of the wider group."""
    if merged == 1:
        return w
    c_out, c_in, *kernel = w.shape
    wide = np.zeros((groups // merged, merged, c_out // groups, merged, c_in, *kernel), w.dtype)
    split = w.reshape(groups // merged, merged, c_out // groups, c_in, *kernel)
    for i in range(merged):
        wide[:, i, :, i] = split[:, i]
    return wide.reshape(c_out, merged * c_in, *kernel)


def pack_direct(w: Array, lanes_in: int, groups: int) -> Array:
    """[O,C/groups,KH,KW] as [COB,CIG,KH,KW,lanes_in,16] with zeros for lanes of padding.

    Groups are whole blocks here; narrower ones are widened first, by zeros between them.
    """
    c_out, c_in, *taps = w.shape
    per_out = c_out // groups
    blocks_in = -(-c_in // lanes_in)
    padded = np.zeros((groups, blocks(per_out) * LANES, blocks_in * lanes_in, *taps), w.dtype)
    padded[:, :per_out, :c_in] = w.reshape(groups, per_out, c_in, *taps)
    split = padded.reshape(groups * blocks(per_out), LANES, blocks_in, lanes_in, *taps)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))
