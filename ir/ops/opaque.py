"""What only another runtime computes: an operator that convc has no op for, kept as its file has it.

One node is one call of the operator, so it is never doubled. What comes back as several results is one value here, of which `opaque_result`
takes each. The meaning is not in NumPy: `backends/onnx/stand_in.py` has onnxruntime compute it, or ONNX's own reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ..dims import Dim
from ..errors import InvalidModel, ShapeError
from ..facts import Facts
from ..op import OpDef
from ..terms import NoGradient
from ..types import OPAQUE as BLIND
from ..types import Array, TensorType

__all__ = ["OPAQUE", "OPAQUE_RESULT", "OPS", "Opaque", "OpaqueResult"]

T = TypeVar("T", bound="_Typed")


@dataclass(frozen=True, slots=True)
class _Typed:
    """What is written down of a result: its type."""

    dtype: str = field(default=BLIND, kw_only=True)
    shape: tuple[Dim, ...] = field(default=(), kw_only=True)
    about: str = field(default="", kw_only=True)

    def typed(self: T, type_: TensorType | None) -> T:
        """The same of this type; None is for one that is said elsewhere."""
        type_ = type_ or TensorType(BLIND, ())
        return replace(self, dtype=type_.dtype, shape=type_.shape, about=type_.about)


@dataclass(frozen=True, slots=True)
class Opaque(_Typed):
    """An operator of an ONNX file; `domain` "" is ONNX's own, in the operator set `version`.

    `attributes` are as ONNX writes them in text, `axis: int = 1`; subgraphs and tensors are packed. `imports` are the domains, with
    versions, that its subgraphs use besides. Operands are those of the operator but the `absent` places, then the values from outside that
    its subgraphs read under the names in `captured`. With more `results` than one the value is all of them. `dtype`, `shape` and `about`
    are its type, as the file or ONNX's inference has it.
    """

    operator: str
    version: int
    domain: str = ""
    attributes: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    absent: tuple[int, ...] = ()
    captured: tuple[str, ...] = ()
    results: int = 1

    @property
    def label(self) -> str:
        """The operator's name, with its domain where that is not ONNX's."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator


@dataclass(frozen=True, slots=True)
class OpaqueResult(_Typed):
    """The result at `index` of an operator with several."""

    index: int


def _written(op: Opaque | OpaqueResult, *operands: TensorType) -> TensorType:
    return TensorType(op.dtype, op.shape, op.about)


def _one_of(op: OpaqueResult, x: TensorType) -> TensorType:
    if not x.is_opaque:
        raise ShapeError(f"its operand is {x}, expected all results of an opaque node")
    if op.index < 0:
        raise ShapeError(f"index {op.index} must be 0 or more")
    return _written(op)


def _elsewhere(op: Any, *operands: Array) -> Array:
    raise InvalidModel("only another runtime computes it")


def _uncounted(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, 0


FACTS: Facts[Any] = Facts(opaque=True, sizes=("shape",))
NO_GRADIENT = NoGradient("another runtime computes it")

OPAQUE = OpDef(
    "opaque",
    Opaque,
    (0, None),
    _written,
    _elsewhere,
    _uncounted,
    facts=FACTS,
    gradient=NO_GRADIENT,
)
OPAQUE_RESULT = OpDef(
    "opaque_result",
    OpaqueResult,
    (1, 1),
    _one_of,
    _elsewhere,
    _uncounted,
    facts=FACTS,
    gradient=NO_GRADIENT,
)
OPS = (OPAQUE, OPAQUE_RESULT)
