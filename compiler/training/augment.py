"""Pictures changed as a camera might have changed them. Pixels are float32 [H,W,C]; each change is a function of a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...ir.errors import UsageError
from ...ir.suggest import did_you_mean
from ...ir.types import Array

__all__ = ["AUGMENTATIONS", "augmented", "need_augmentations"]

CROP = 8  # an eighth of the size is put around, 4 pixels of 32: He et al. 2015, sec. 4.2
SHIFT = 16  # half as far: of small pictures of one thing, a crop would cut it
JITTER = 0.4  # of brightness and colour, up or down
TURN = 10.0  # degrees, either way
KNOTS = 5  # of a grid over the picture, each moved by itself
PULL = 1 / 32  # of the size, the deviation by which a knot moves: a pixel of 32


def _flip(x: Array, draws: np.random.Generator) -> Array:
    """Left for right, every other time."""
    return x[:, ::-1] if draws.random() < 0.5 else x


def _crop(x: Array, draws: np.random.Generator) -> Array:
    """Zeros around, and a window of the old size anywhere in it."""
    return _moved(x, draws, CROP)


def _shift(x: Array, draws: np.random.Generator) -> Array:
    return _moved(x, draws, SHIFT)


def _moved(x: Array, draws: np.random.Generator, part: int) -> Array:
    rows, cols, _ = x.shape
    high, wide = max(1, rows // part), max(1, cols // part)
    top, left = int(draws.integers(0, 2 * high + 1)), int(draws.integers(0, 2 * wide + 1))
    return np.pad(x, ((high, high), (wide, wide), (0, 0)))[top : top + rows, left : left + cols]


def _brightness(x: Array, draws: np.random.Generator) -> Array:
    return x * np.float32(1 + JITTER * draws.uniform(-1, 1))


def _colour(x: Array, draws: np.random.Generator) -> Array:
    """Nearer to grey, or farther from it."""
    factor = np.float32(1 + JITTER * draws.uniform(-1, 1))
    return x * factor + x.mean(2, keepdims=True) * (1 - factor)


def _rotate(x: Array, draws: np.random.Generator) -> Array:
    from PIL import Image

    angle = float(TURN * draws.uniform(-1, 1))
    planes = [Image.fromarray(np.ascontiguousarray(x[..., c])).rotate(angle, Image.Resampling.BILINEAR) for c in range(x.shape[2])]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def _elastic(x: Array, draws: np.random.Generator) -> Array:
    """Pulled about as rubber would be: displacements at KNOTS times KNOTS places, smooth between them. Simard et al. 2003, sec. 2."""
    down, right = (place + pull for place, pull in zip(np.indices(x.shape[:2]), _pulls(x.shape[:2], draws), strict=True))
    top, left = (np.clip(np.floor(place).astype(int), 0, max(0, size - 2)) for place, size in zip((down, right), x.shape, strict=False))
    v, u = (np.clip(place - before, 0, 1).astype(np.float32)[..., None] for place, before in ((down, top), (right, left)))
    bottom, end = np.minimum(top + 1, x.shape[0] - 1), np.minimum(left + 1, x.shape[1] - 1)
    return (x[top, left] * (1 - u) + x[top, end] * u) * (1 - v) + (x[bottom, left] * (1 - u) + x[bottom, end] * u) * v


def _pulls(size: tuple[int, ...], draws: np.random.Generator) -> list[Array]:
    """Of each axis the displacements [rows,cols], in pixels."""
    from PIL import Image

    knots = [Image.fromarray(draws.normal(0, PULL * extent, (KNOTS, KNOTS)).astype(np.float32)) for extent in size]
    return [np.asarray(each.resize((size[1], size[0]), Image.Resampling.BICUBIC)) for each in knots]


AUGMENTATIONS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "flip": _flip,
    "crop": _crop,
    "shift": _shift,
    "brightness": _brightness,
    "colour": _colour,
    "rotate": _rotate,
    "elastic": _elastic,
}


def augmented(x: Array, names: Sequence[str], draws: np.random.Generator) -> Array:
    for name in names:
        x = AUGMENTATIONS[name](x, draws)
    return np.ascontiguousarray(x, np.float32)


def need_augmentations(names: Sequence[str]) -> None:
    """Raises: UsageError for an unknown one."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise UsageError(f"unknown augmentation '{name}'" + did_you_mean(name, AUGMENTATIONS))
