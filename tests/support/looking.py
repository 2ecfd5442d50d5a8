"""A small network, photographs and masks to look at, as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from convc.tests.support.shell import Result

__all__ = ["NET", "figures", "masks_in", "photographs_in", "pixels_of"]

NET = """
from convc import conv, dense, flatten, global_avg_pool, max_pool, network, relu, softmax


@network(image="N,3,24,24")
def small(image, classes=5):
    x = max_pool(relu(conv(image, 6, 3, pad=1)), 2)
    return softmax(dense(flatten(global_avg_pool(relu(conv(x, 8, 3, pad=1)))), classes))
"""


def photographs_in(folder: Path) -> Path:
    """Three, of one bright square each, at another place; of other sizes than the network's."""
    folder.mkdir()
    for number, (top, left) in enumerate([(4, 4), (20, 30), (2, 36)]):
        pixels = np.full((40, 60, 3), 30, np.uint8)
        pixels[top : top + 14, left : left + 14] = (250, 200 - 80 * number, 40 + 60 * number)
        Image.fromarray(pixels).save(folder / f"photo{number}.png")
    return folder


def masks_in(folder: Path) -> Path:
    """Of the squares of two photographs."""
    (folder / "square").mkdir(parents=True)
    for number, (top, left) in enumerate([(4, 4), (20, 30)]):
        pixels = np.zeros((40, 60), np.uint8)
        pixels[top : top + 14, left : left + 14] = 255
        Image.fromarray(pixels).save(folder / "square" / f"photo{number}.png")
    return folder


def figures(done: Result) -> dict[str, object]:
    """Of a command that went well, with --json."""
    assert done.code == 0, done.err
    return json.loads(done.out)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)
