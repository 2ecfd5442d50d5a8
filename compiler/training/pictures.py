"""What there is to learn from: a folder of pictures for each class, an .npz file, or the digits that come with convc."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...ir.errors import InvalidInput, UsageError
from ...ir.legible import legible, quoted
from ...ir.memory import need_bytes
from ...ir.suggest import did_you_mean, not_there
from ...ir.types import Array, TensorType
from ..files.colours import in_channels
from ..files.images import IMAGE_SUFFIXES, NOT_AN_IMAGE, opened_upright
from ..files.weights import load_arrays

__all__ = ["NAMED", "Pictures", "read_pictures"]

LARGEST = 8 << 30  # bytes of all pictures together, which lie in memory
SHOWN = 3
LEVELS = 255
DIGIT = 8  # rows and columns of the digits that come with convc, of which none are lost
MARGIN = 8  # an eighth of a picture lies around a digit on each side, 4 pixels of 32
X_NAMES, Y_NAMES = ("x", "images", "x_train"), ("y", "labels", "y_train")


@dataclass(frozen=True, eq=False)
class Pictures:
    """`pixels` [n,H,W,C], whole numbers up to 255 or floats; `labels` [n]; `classes` are their names, where they have some; `skipped`
    are files that are no pictures, each with why.
    """

    pixels: Array
    labels: Array
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def pixel(self, index: int) -> Array:
        """A picture in float32, whole numbers over 255."""
        return _floats(self.pixels[index])

    def moments(self, indices: Array) -> tuple[Array, Array]:
        """Mean and deviation of each channel over these pictures."""
        sums = [(float(len(picture)), picture.sum(0), (picture * picture).sum(0)) for picture in map(self._flat, indices)]
        count = sum(each[0] for each in sums)
        mean = sum(each[1] for each in sums) / count
        var = sum(each[2] for each in sums) / count - mean * mean
        return np.asarray(mean, np.float32), np.sqrt(np.maximum(var, 1e-12)).astype(np.float32)

    def _flat(self, index: int) -> Array:
        picture = self.pixel(index).astype(np.float64)
        return picture.reshape(-1, picture.shape[-1])


def _floats(pixels: Array) -> Array:
    return pixels.astype(np.float32) / LEVELS if pixels.dtype == np.uint8 else pixels.astype(np.float32)


def read_pictures(data: str, image: TensorType, classes: int, say: Callable[[str], None] = lambda line: None) -> Pictures:
    """The pictures in the size and channels of the input `image`, at most `classes` classes.

    Raises: UsageError for data that is not there; InvalidInput for a class without pictures, labels outside the classes, or arrays that
    are no pictures.
    """
    size = _size(image)
    path = Path(data)
    if data in NAMED:
        found = NAMED[data](size)
    elif path.is_dir():
        found = _folder(path, size)
    elif path.suffix == ".npz":
        found = _arrays(path, size)
    elif path.exists():
        raise UsageError(f"'{data}' is neither a folder of class folders nor an .npz file")
    else:
        named = did_you_mean(data, NAMED) if "/" not in data else ""
        raise UsageError(f"there is no folder or file '{data}'{named}" if named else not_there(path, "folder or file"))
    for line in found.skipped[:SHOWN]:
        say(f"warning: skipped {line}")
    if found.skipped:
        say(f"warning: skipped {len(found.skipped)} files that are no pictures; {len(found)} are left")
    _check_labels(found, classes, data)
    return found


def _size(image: TensorType) -> tuple[int, int, int]:
    """Rows, columns and channels.

    Raises: InvalidInput for an input that no pictures go into.
    """
    if image.rank != 4 or not all(isinstance(dim, int) for dim in image.shape[1:]) or image.shape[1] not in (1, 3):
        raise InvalidInput(f"the network's input is {image}; pictures need [N,1 or 3,H,W] with sizes in numbers, as --input gives them")
    channels, rows, cols = (dim for dim in image.shape[1:] if isinstance(dim, int))
    return rows, cols, channels


def _check_labels(found: Pictures, classes: int, data: str) -> None:
    if len(found.classes) > classes:
        raise InvalidInput(f"'{data}' has {len(found.classes)} classes, and the network {classes}; pass --set classes={len(found.classes)}")
    outside = found.labels[(found.labels < 0) | (found.labels >= classes)]
    if outside.size:
        raise InvalidInput(
            f"'{data}' has the label {outside[0]}, outside the {classes} classes of the network, which are 0 to {classes - 1}"
        )


def _folder(folder: Path, size: tuple[int, int, int]) -> Pictures:
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not names:
        raise InvalidInput(f"'{folder}' has no folders; each class is a folder of its pictures")
    pixels, labels, skipped = list[Array](), list[int](), list[str]()
    budget = LARGEST // max(1, size[0] * size[1] * size[2])
    for label, name in enumerate(names):
        before, passed_over = len(pixels), len(skipped)
        for path in sorted((folder / name).rglob("*")):
            if not path.is_file() or path.name.startswith("."):
                continue
            made = _decoded(path, size)
            if isinstance(made, str):
                skipped.append(f"{quoted(path)}: {legible(made)}")
                continue
            pixels.append(made)
            labels.append(label)
            if len(pixels) > budget:
                raise InvalidInput(f"'{folder}' has more pictures than {LARGEST >> 30} GiB hold at this size; give a smaller --input")
        if len(pixels) == before:
            broken = f" that can be read ({skipped[passed_over]})" if len(skipped) > passed_over else ""
            raise InvalidInput(f"class {quoted(name)} of '{folder}' has no pictures{broken}; put some there, or take the folder away")
    return Pictures(np.stack(pixels), np.array(labels, np.int64), tuple(names), tuple(skipped))


def _decoded(path: Path, size: tuple[int, int, int]) -> Array | str:
    """A picture scaled to the size, or why it is none."""
    from PIL import Image

    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return "not the name of a picture"
    rows, cols, channels = size
    try:
        with opened_upright(path) as (upright, _):
            scaled = in_channels(upright, channels)[0].resize((cols, rows), Image.Resampling.BILINEAR)
    except NOT_AN_IMAGE as error:
        return str(error)
    return np.asarray(scaled, np.uint8).reshape(rows, cols, channels)


def _arrays(path: Path, size: tuple[int, int, int]) -> Pictures:
    """What is neither pictures nor labels is not read, and neither are they where they cannot fit."""

    def choose(unread: Mapping[str, Array]) -> Collection[str]:
        _pictures_and_labels(unread, str(path), size)
        return _one_of(unread, X_NAMES, str(path)), _one_of(unread, Y_NAMES, str(path))

    x, y = _pictures_and_labels(load_arrays(path, choose), str(path), size)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InvalidInput(f"'{path}' has pictures with values that are no numbers")
    return Pictures(_scaled(x, size), y.astype(np.int64))


def _pictures_and_labels(arrays: Mapping[str, Array], source: str, size: tuple[int, int, int]) -> tuple[Array, Array]:
    """[n,H,W,C] of [n,H,W], [n,H,W,C] or [n,C,H,W], and a label each; no value is read."""
    x, y = arrays[_one_of(arrays, X_NAMES, source)], arrays[_one_of(arrays, Y_NAMES, source)]
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise InvalidInput(f"'{source}': labels are {list(y.shape)} {y.dtype}, expected one whole number for each picture")
    if x.ndim not in (3, 4) or 0 in x.shape[1:]:
        raise InvalidInput(
            f"'{source}': pictures are {list(x.shape)} {x.dtype}, expected [n,H,W] or [n,H,W,{size[2]}], each of some pixels"
        )
    if len(x) != len(y) or not len(x):
        raise InvalidInput(f"'{source}' has {len(x)} pictures and {len(y)} labels, expected as many, and some")
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim == 4 and x.shape[1] == size[2] and x.shape[3] != size[2]:
        x = np.moveaxis(x, 1, -1)
    if x.ndim != 4 or x.shape[3] != size[2] or not (x.dtype == np.uint8 or x.dtype.kind == "f"):
        raise InvalidInput(f"'{source}': pictures are {list(x.shape)} {x.dtype}, expected [n,H,W,{size[2]}] of uint8 or floats")
    return x, y


def _one_of(arrays: Mapping[str, Array], names: tuple[str, ...], source: str) -> str:
    found = next((name for name in names if name in arrays), None)
    if found is None:
        raise InvalidInput(f"'{source}' has none of {', '.join(names)}; it has {', '.join(arrays) or 'nothing'}")
    return found


def _scaled(x: Array, size: tuple[int, int, int]) -> Array:
    """Every channel scaled as a plane of floats."""
    from PIL import Image

    rows, cols, channels = size
    if x.shape[1:3] == (rows, cols):
        return x
    if (nbytes := len(x) * rows * cols * channels * 4) > LARGEST:
        raise InvalidInput(f"{len(x)} pictures do not fit into {LARGEST >> 30} GiB at {rows}x{cols}; give a smaller --input")
    need_bytes(f"{len(x)} pictures at {rows}x{cols}", nbytes, "give a smaller --input")
    made = np.empty((len(x), rows, cols, channels), np.float32)
    for n, picture in enumerate(x):
        floats = _floats(picture)
        for c in range(channels):
            plane = Image.fromarray(np.ascontiguousarray(floats[..., c])).resize((cols, rows), Image.Resampling.BILINEAR)
            made[n, ..., c] = np.asarray(plane)
    return made


def _digits(size: tuple[int, int, int]) -> Pictures:
    """1,797 digits of 8x8 pixels in 17 greys, as scikit-learn has them. Alpaydin & Kaynak 1998, UCI Machine Learning Repository.

    They fill their pictures; around them comes what LeCun et al. 1998, sec. II-B, leave around theirs, so that an end of a stroke may lie
    in the middle of a window, and nothing is lost where they are moved.
    """
    if size[2] != 1:
        raise InvalidInput(f"digits have 1 channel, and the network's input {size[2]}; give --input image:N,1,{size[0]},{size[1]}")
    with np.load(io.BytesIO(Path(__file__).with_name("digits.npz").read_bytes())) as file:
        x, y = file["x"], file["y"]
    rows, cols = (min(extent // MARGIN, max(extent - DIGIT, 0) // 2) for extent in size[:2])
    inner = (size[0] - 2 * rows, size[1] - 2 * cols, 1)
    pixels = np.pad(_scaled((x / 16).astype(np.float32)[..., None], inner), ((0, 0), (rows, rows), (cols, cols), (0, 0)))
    return Pictures(pixels, y.astype(np.int64), tuple("0123456789"))


NAMED: dict[str, Callable[[tuple[int, int, int]], Pictures]] = {"digits": _digits}
