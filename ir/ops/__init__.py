"""Every op convc knows, by name. One family a file; a new op is added to its family's `OPS`."""

from __future__ import annotations

from ..op import OpDef
from . import activation, compare, conv, elementwise, gate, leaf, linear, norm, pool, reduce, resize, shape, unary

__all__ = ["OPS"]

FAMILIES = (leaf, conv, pool, norm, linear, activation, gate, unary, elementwise, compare, shape, resize, reduce)

OPS: dict[str, OpDef] = {op.name: op for family in FAMILIES for op in family.OPS}
