"""Types as a file writes them down, with its named sizes under names that the IR can write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ....ir.dims import Dim, Expr, dim_names, linear, parse_dim, symbol
from ....ir.errors import InvalidModel
from ....ir.graph import Node
from ....ir.types import OPAQUE, TensorType
from ..file.tensors import ELEMENTS
from ..file.types_text import type_text

if TYPE_CHECKING:
    from onnx import TypeProto, ValueInfoProto

__all__ = ["Declared", "may_be"]


@dataclass(slots=True)
class Declared:
    """Types of one file where `sizes` stand for its named ones. `symbols` are the names of its sizes, by what they are called there."""

    sizes: Mapping[str, Dim] = field(default_factory=dict[str, Dim])
    symbols: dict[str, str] = field(default_factory=dict[str, str])

    def type_of(self, value: ValueInfoProto) -> TensorType | None:
        """The type that the file writes down, or None where it writes none that convc has."""
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            return None
        tensor = value.type.tensor_type
        element = ELEMENTS.get(tensor.elem_type)
        if element is None or not element.ours:
            return None
        dims: list[Dim] = []
        for axis, dim in enumerate(tensor.shape.dim):
            is_number = dim.HasField("dim_value") and dim.dim_value >= 0  # older exporters write -1 for any
            dims.append(dim.dim_value if is_number else self.named(dim.dim_param or f"{value.name}_{axis}"))
        return TensorType(element.ours, tuple(dims)).with_sizes(self.sizes)

    def found(
        self, name: str, inferred: TypeProto | None, written: ValueInfoProto | None, operands: Iterable[Node], *, trusted: bool = True
    ) -> TensorType:
        """The type of an operator's result that was `inferred` from its `operands`; what that leaves open is taken from what the file has
        written down, if that is `trusted`, and else is a new named size, or a value that convc cannot look into.
        """
        from onnx import ValueInfoProto

        known = {name for operand in operands for name in operand.typed.symbols}
        seen = ValueInfoProto(name=name, type=inferred)
        if inferred is not None and inferred.WhichOneof("value") == "tensor_type" and not inferred.tensor_type.HasField("shape"):
            element = inferred.tensor_type.elem_type
            inferred = None if written is not None and written.type.tensor_type.elem_type == element else inferred
        if inferred is None and written is not None and not trusted:
            return self.blind_type_of(written)
        if inferred is None and written is not None:
            return self.type_of(written) or self.blind_type_of(written)
        type_ = self.type_of(seen)
        if type_ is None:
            return self.blind_type_of(seen)
        aside = self.type_of(written) if written is not None and trusted else None
        aside = aside if aside is not None and may_be(aside, type_) else None
        dims: list[Dim] = []
        for axis, dim in enumerate(seen.type.tensor_type.shape.dim):
            said = _over(dim.dim_param, known) if not dim.HasField("dim_value") else type_.shape[axis]
            other = aside.shape[axis] if aside is not None else self.named(f"{name}_{axis}")
            dims.append(other if said is None else said)
        return TensorType(type_.dtype, tuple(dims))

    def blind_type_of(self, value: ValueInfoProto | None) -> TensorType:
        """The type of a value that convc cannot look into, as far as the file knows it."""
        return TensorType(OPAQUE, (), type_text(value.type) if value is not None else "")

    def named(self, text: str) -> Dim:
        """A named size, or what one tells, such as 32*H or 2*W+2, as PyTorch and convc write them."""
        known = {name for name, own in self.symbols.items() if name == own}
        if isinstance(dim := _over(text, known), Expr) and linear(dim) is None:
            return dim  # H*W, of inputs before this one
        try:
            name, factor, rest = linear(parse_dim(text)) or (text, 1, 0)
        except InvalidModel:
            name, factor, rest = text, 1, 0
        return symbol(self._symbol(name)) * factor + rest

    def _symbol(self, text: str) -> str:
        """A named size as the IR can write it; different names stay different."""
        if text not in self.symbols:
            name = re.sub(r"\W", "_", text, flags=re.ASCII)
            name = name if re.match(r"[A-Za-z_]", name) else f"d{name}"
            while name in self.symbols.values():
                name += "_"
            self.symbols[text] = name
        return self.symbols[text]


def _over(text: str, known: Set[str]) -> Dim | None:
    """A dimension as convc wrote it for the inference, over names that are known; None for any other."""
    try:
        dim = parse_dim(text) if text else None
    except InvalidModel:
        return None
    return dim if dim is not None and known >= set(dim_names(dim)) else None


def may_be(type_: TensorType, declared: TensorType) -> bool:
    """Whether they are of one rank and element type, and of one extent where both say a number."""
    if (type_.dtype, type_.rank) != (declared.dtype, declared.rank):
        return False
    pairs = zip(type_.shape, declared.shape, strict=True)
    return all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in pairs)
