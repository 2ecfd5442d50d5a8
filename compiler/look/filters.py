"""The filters of a convolution as pictures; of the first layer, in the colours that they look for. Krizhevsky et al. 2012, fig. 3."""

from __future__ import annotations

import numpy as np

from ...ir.errors import UsageError
from ...ir.graph import Graph, Node
from ...ir.legible import legible
from ...ir.ops.conv import CONVS
from ...ir.types import Array
from .colours import about_grey, diverging, strongest
from .sheet import Framed, Look, scaled_up, sheet
from .units import layer_named

__all__ = ["filters"]

MOST = 256
WIDE = 78  # pixels that a filter is enlarged to, at least
DARKEST = 1e-3  # of the strongest filter's size: below it one is called empty


def filters(graph: Graph, layer: str = "", most: int = MOST, scale: int | None = None) -> Look:
    """Each filter [I,KH,KW] of a 2-D convolution (default: the first): in colour where it reads three channels, else a plane for each
    that it reads, blue below zero and red above. Each takes the full range of colours; its size is in the caption.

    Raises: UsageError for a layer without filters, or whose weights are computed.
    """
    node = _convolution(graph, layer)
    weights = _weights(node)
    count, reads, rows, cols = weights.shape
    times = scale or max(1, -(-WIDE // max(rows, cols)))
    sizes = np.sqrt((weights.astype(np.float64) ** 2).sum((1, 2, 3)))
    in_colour = reads == 3
    planes = [(o, i) for o in range(count) for i in ([-1] if in_colour else range(reads))][:most]
    tiles = [_tile(weights, o, i, times, float(sizes[o]), reads) for o, i in planes]
    name = legible(node.name)
    shown = f"{len(planes)} of {count * (1 if in_colour else reads)}" if len(planes) < count * (1 if in_colour else reads) else f"{count}"
    title = f"%{name}: {shown} filters of {reads}x{rows}x{cols}"
    note = (
        "grey is zero, each filter in its own range"
        if in_colour
        else "blue below zero, white at it, red above; each filter in its own range"
    )
    columns = min(16, reads) if 1 < reads <= 16 and not in_colour else None
    empty = [o for o in range(count) if sizes[o] <= DARKEST * sizes.max()]
    lines = (f"{title}; sizes from {sizes.min():.4g} to {sizes.max():.4g}" + (f"; {len(empty)} empty" if empty else ""),)
    figures = {
        "layer": node.name,
        "shape": list(weights.shape),
        "sizes": sizes.tolist(),
        "means": weights.astype(np.float64).mean((1, 2, 3)).tolist(),
        "empty": empty,
    }
    return Look(sheet(title, tiles, columns, [note]), lines, figures)


def _tile(weights: Array, o: int, i: int, times: int, size: float, reads: int) -> Framed:
    if i < 0:
        pixels = about_grey(weights[o], float(abs(weights[o]).max()))
        return Framed(scaled_up(pixels, times), (f"{o}  |w| {size:.2g}",))
    pixels = diverging(weights[o, i], strongest(weights[o]))
    return Framed(scaled_up(pixels, times), (f"{o}" + (f",{i}" if reads > 1 else "") + f"  |w| {size:.2g}",))


def _convolution(graph: Graph, layer: str) -> Node:
    if not layer:
        first = next((node for node in graph.ops if node.kind in CONVS and node.typed.rank == 4), None)
        if first is None:
            raise UsageError(f"@{legible(graph.name)} has no 2-D convolution, and so no filters to look at")
        return first
    node = layer_named(graph, layer)
    if node.kind not in CONVS or node.typed.rank != 4:
        raise UsageError(f"{node.where} has no filters; name a 2-D convolution, or none for the first")
    return node


def _weights(node: Node) -> Array:
    found = node.inputs[1].weights
    if found is None:
        name, by = legible(node.name), legible(node.inputs[1].name)
        raise UsageError(f"the filters of %{name} are computed by %{by}; run `convc optimize` first, or name another layer")
    return found.array()
