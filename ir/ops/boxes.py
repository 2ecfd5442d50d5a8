"""Boxes chosen by their scores: non_max_suppression. How many there are is known only once it has run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, no_rounding
from ..types import Array, TensorType
from .check import need_rank

__all__ = ["NON_MAX_SUPPRESSION", "OPS", "OPTIONAL", "NonMaxSuppression", "thresholds_of"]

OPTIONAL = ("most", "iou", "score")


@dataclass(frozen=True, slots=True)
class NonMaxSuppression:
    """Of each class of each image the boxes of the greatest scores, without those that cover one chosen before by more than `iou`.

    Intersection over union, and scores above `score`, are compared strictly; of equal scores the first box comes first. At most `most` of a
    class are chosen, none where that is left out, as `iou` is 0 then. A box is two opposite corners, y1, x1, y2, x2, or with `center` the
    middle and the size: x, y, width, height. `given` names the optional operands that are there, in the order most, iou, score.
    ONNX NonMaxSuppression; Felzenszwalb et al. 2010, sec. 7.2.

    Shapes: boxes[N,B,4], scores[N,C,B] of f32, most[] or [1] of i64, iou and score [] or [1] of f32 -> [count,3] of i64, the places of
    image, class and box. `count` names how many there are.
    """

    count: Dim
    center: bool = False
    given: tuple[str, ...] = ()


def infer_non_max_suppression(op: NonMaxSuppression, boxes: TensorType, scores: TensorType, *given: TensorType) -> TensorType:
    """Raises: ShapeError for boxes and scores that do not belong together, or an optional operand that is not one number."""
    for what, x in (("boxes", boxes), ("scores", scores)):
        need_rank(what, x, 3)
        if x.dtype != "f32":
            raise ShapeError(f"{what} are {x}, expected f32; cast them")
    (images, count, four), (scored, _, of) = boxes.shape, scores.shape
    if four != 4 or images != scored or count != of:
        raise ShapeError(f"boxes are {boxes} and scores {scores}, expected [N,B,4] and [N,C,B]")
    if op.given != tuple(name for name in OPTIONAL if name in op.given) or len(op.given) != len(given):
        raise ShapeError(f"given is {list(op.given)} for {len(given)} operands; known are {', '.join(OPTIONAL)}, in this order")
    for name, x in zip(op.given, given, strict=True):
        wanted = "i64" if name == "most" else "f32"
        if x.dtype != wanted or x.shape not in ((), (1,)):
            raise ShapeError(f"{name} is {x}, expected one number of {wanted}")
    return TensorType("i64", (op.count, 3))


def non_max_suppression(op: NonMaxSuppression, boxes: Array, scores: Array, *given: Array) -> Array:
    """Raises: ShapeError for an `iou` that is not between 0 and 1."""
    most, iou, score = thresholds_of(op, given)
    if not 0 <= iou <= 1:
        raise ShapeError(f"iou is {iou}, expected 0 to 1")
    chosen: list[tuple[int, int, int]] = []
    for image in range(len(boxes) if most > 0 else 0):
        corners = _corners(op, boxes[image])
        for kind in range(scores.shape[1]):
            chosen += [(image, kind, box) for box in _best(corners, scores[image, kind], most, iou, score)]
    return np.array(chosen, np.int64).reshape(-1, 3)


def thresholds_of(op: NonMaxSuppression, given: Sequence[Array]) -> tuple[int, Any, Any]:
    """The greatest number, the greatest share, and what scores must be above."""
    values = {name: array.reshape(-1)[0] for name, array in zip(op.given, given, strict=True)}
    return int(values.get("most", 0)), values.get("iou", 0.0), values.get("score")


def _corners(op: NonMaxSuppression, boxes: Array) -> Array:
    """[2,2,B]: the least and the greatest, of both axes."""
    if op.center:
        middle, half = boxes[:, :2].T, boxes[:, 2:].T / 2
        return np.stack([middle - half, middle + half])
    ends = boxes[:, :2].T, boxes[:, 2:].T
    return np.stack([np.minimum(*ends), np.maximum(*ends)])


def _best(corners: Array, scores: Array, most: int, iou: Any, score: Any) -> list[int]:
    """Boxes of one class, the best first."""
    order = np.argsort(-scores, kind="stable")
    order = order if score is None else order[scores[order] > score]
    chosen: list[int] = []
    while len(order) and len(chosen) < most:
        best, order = int(order[0]), order[1:]
        chosen.append(best)
        order = order[~(_shares(corners, best, order) > iou)]
    return chosen


def _shares(corners: Array, box: int, others: Array) -> Array:
    """Intersection over union, 0 where nothing is covered or a box has no area; rounded as engines round it, one operation at a time."""
    (low, high), (lows, highs) = corners[:, :, box, None], corners[:, :, others]
    covered = np.minimum(high, highs) - np.maximum(low, lows)
    common = covered[1] * covered[0]
    areas = [(sides[1] * sides[0]) for sides in (high - low, highs - lows)]
    union = areas[0] + areas[1] - common
    some = (covered > 0).all(axis=0) & (common > 0) & (areas[0] > 0) & (areas[1] > 0) & (union > 0)
    return np.where(some, common, 0) / np.where(some, union, 1)


def _uncounted(op: NonMaxSuppression, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, 0


NON_MAX_SUPPRESSION = OpDef(
    "non_max_suppression",
    NonMaxSuppression,
    (2, 5),
    infer_non_max_suppression,
    non_max_suppression,
    _uncounted,
    roundings=no_rounding,
    facts=Facts(opaque=True, sizes=("count",)),
)
OPS = (NON_MAX_SUPPRESSION,)
