"""Numbers as colours: arrays in, [H,W,3] bytes out. What is not finite is magenta, so that nobody takes it for a value."""

from __future__ import annotations

import numpy as np

from ...ir.types import Array

__all__ = ["NOT_FINITE", "about_grey", "diverging", "enlarged", "heat_over", "sequential", "signed_over", "strongest"]

NOT_FINITE = (255, 0, 255)
# Anchors at even distances. Dark to bright, of rising lightness (after Matplotlib's inferno); blue over white to red, white at zero
# (after ColorBrewer's RdBu, Harrower & Brewer 2003).
RISING = ((0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21), (250, 193, 39), (252, 255, 164))
SIGNED = (
    (5, 48, 97),
    (33, 102, 172),
    (67, 147, 195),
    (146, 197, 222),
    (247, 247, 247),
    (244, 165, 130),
    (214, 96, 77),
    (178, 24, 43),
    (103, 0, 31),
)
GREYNESS = 0.75  # of a photograph under colours: what is left of its own must not be taken for heat
STRONGEST = 0.8  # share of colour where the heat is greatest
OUTLIERS = 99.8  # percentile that takes the full colour: one wild pixel shall not darken all others


def strongest(values: Array) -> float:
    """The size that takes the full colour; 0 of nothing."""
    sizes = np.abs(values[np.isfinite(values)])
    return float(max(np.percentile(sizes, OUTLIERS), sizes.max() / 8)) if sizes.size else 0.0


def sequential(values: Array, limit: float | None = None) -> Array:
    """[H,W] from 0, dark, to `limit`, bright."""
    return _marked(values, _along(RISING, _shares(values, limit)))


def diverging(values: Array, limit: float | None = None) -> Array:
    """[H,W]: blue below zero, white at it, red above; `limit` either way."""
    return _marked(values, _along(SIGNED, (_shares(values, limit, -1) + 1) / 2))


def about_grey(values: Array, limit: float | None = None) -> Array:
    """[C,H,W] of 1 or 3 channels that belong to a picture's: grey at zero, each channel darker below and brighter above."""
    shares = (_shares(values, limit, -1) + 1) / 2
    pixels = np.rint(np.moveaxis(np.broadcast_to(shares, (3, *shares.shape[1:])), 0, 2) * 255).astype(np.uint8)
    return _marked(values.sum(0), pixels)


def heat_over(picture: Array, heat: Array, limit: float | None = None) -> Array:
    """[H,W] heat from 0 up over a picture [H,W,3], which shows through where there is little."""
    shares = _shares(heat, limit)
    return _blended(picture, _marked(heat, _along(RISING[2:], shares)), shares**0.75 * STRONGEST)


def signed_over(picture: Array, values: Array, limit: float | None = None) -> Array:
    """[H,W] over a picture: red where above zero, blue where below, the picture where nothing."""
    shares = _shares(values, limit, -1)
    return _blended(picture, diverging(values, limit), abs(shares) ** 0.6 * STRONGEST)


def enlarged(values: Array, size: tuple[int, int]) -> Array:
    """[h,w] as [H,W], `size` its rows and columns, by straight lines between the middles of the cells."""
    from PIL import Image

    finite = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    return np.asarray(Image.fromarray(finite).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _blended(picture: Array, colours: Array, share: Array) -> Array:
    grey = picture.mean(2, keepdims=True)
    base = picture * (1 - GREYNESS) + grey * GREYNESS
    return np.rint(base + (colours - base) * share[..., None]).astype(np.uint8)


def _shares(values: Array, limit: float | None, least: float = 0) -> Array:
    limit = strongest(values) if limit is None else limit
    return np.clip(np.nan_to_num(values / limit), least, 1) if limit > 0 else np.zeros(values.shape)


def _along(anchors: tuple[tuple[int, int, int], ...], at: Array) -> Array:
    places = np.linspace(0, 1, len(anchors))
    channels = [np.interp(at, places, [anchor[c] for anchor in anchors]) for c in range(3)]
    return np.rint(np.stack(channels, 2)).astype(np.uint8)


def _marked(values: Array, pixels: Array) -> Array:
    pixels = pixels.copy()
    pixels[~np.isfinite(values)] = NOT_FINITE
    return pixels
