"""Nodes without operands: the graph's inputs and its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..dims import Dim
from ..errors import InvalidModel
from ..facts import Facts
from ..op import OpDef
from ..types import Array, TensorType

__all__ = ["INPUT", "OPS", "PARAM", "Input", "Param"]


@dataclass(frozen=True, slots=True)
class Input:
    """An argument of the graph. Its type is written down, not inferred."""


@dataclass(frozen=True, slots=True)
class Param:
    """A weight or constant: `init` names its recipe (ir/weights.py), `key` and `seed` set the draw apart.

    An empty `key` stands for the node's own name; `value` is what `full` fills with.
    """

    init: str = "auto"
    key: str = ""
    seed: int = 0
    value: float | int = 0.0  # an int where no float is that number


def _written(op: Any) -> TensorType:
    raise InvalidModel("the type of an input or param is written down, not inferred")


def _bound(op: Any) -> Array:
    raise InvalidModel("the value of an input or param is bound, not computed")


def _free(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, 0


INPUT = OpDef(
    "input",
    Input,
    (0, 0),
    _written,
    _bound,
    _free,
    facts=Facts(),
    gradient=(),
)
PARAM = OpDef(
    "param",
    Param,
    (0, 0),
    _written,
    _bound,
    _free,
    facts=Facts(),
    gradient=(),
)
OPS = (INPUT, PARAM)
