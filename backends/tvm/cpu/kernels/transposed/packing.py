"""The weights of a transposed convolution as its kernels read them: the filters of each phase in turn, as those of an ordinary one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from ......ir.ops.window import Pair
from ......ir.types import Array
from ..direct.packing import pack_direct, widened
from ..layout import LANES, Packing, block_channels, blocks
from .phases import Transposed

__all__ = ["depthwise_phase_filters", "pack_depthwise_phases", "pack_phases", "phase_filters"]


def phase_filters(size: Transposed, channels: Pair, groups: int, whole: int) -> Packing:
    """Of a layer of so many inputs and outputs and so many groups, [C,O/groups,KH,KW]; `whole` of them are left when they are blocks."""
    c_in, c_out = channels

    def pack(w: Array) -> Array:
        return pack_phases(widened(_turned(w, groups), groups, groups // whole), whole, size)

    return Packing((size.taps * blocks(c_out) * (blocks(c_in) // whole), LANES, LANES), pack)


def depthwise_phase_filters(size: Transposed, channels: int) -> Packing:
    """Of a layer whose every channel has a filter of its own, [C,1,KH,KW]."""
    return Packing((size.taps * blocks(channels), LANES), lambda w: pack_depthwise_phases(_turned(w, channels), size))


def _turned(w: Array, groups: int) -> Array:
    """[C,O/groups,KH,KW] as an ordinary convolution's, [O,C/groups,KH,KW]."""
    c_in, per_out, *taps = w.shape
    split = w.reshape(groups, c_in // groups, per_out, *taps)
    return split.swapaxes(1, 2).reshape(groups * per_out, c_in // groups, *taps)


def pack_phases(w: Array, groups: int, size: Transposed) -> Array:
    """[O,C/groups,KH,KW] as [V,16,16]: the filters of each phase as a direct convolution's. Groups are whole blocks."""
    return _packed(w, size, lambda part: pack_direct(part, LANES, groups).reshape(-1, LANES, LANES))


def pack_depthwise_phases(w: Array, size: Transposed) -> Array:
    """[C,1,KH,KW] as [V,16]."""
    return _packed(w, size, lambda part: block_channels(part[:, 0]).reshape(-1, LANES))


def _packed(w: Array, size: Transposed, packed: Callable[[Array], Array]) -> Array:
    parts = [
        packed(w[:, :, rows][..., cols])
        for lattice in size.lattices()
        for rows, cols in itertools.product(map(list, lattice.rows.taps), map(list, lattice.cols.taps))
        if rows and cols
    ]
    return np.ascontiguousarray(np.concatenate(parts))
