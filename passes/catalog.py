"""Every pass, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.graph import Graph
from .drop_identity import drop_identity
from .eliminate_dead import eliminate_dead
from .fold_constants import fold_constants
from .fuse_conv_bn import fuse_conv_bn
from .infer_shapes import infer_shapes
from .ledger import Ledger

__all__ = ["PASSES", "Pass"]


@dataclass(frozen=True, slots=True)
class Pass:
    """A function from graph to graph. `exact` promises the same function up to rounding."""

    name: str
    run: Callable[[Graph, Ledger], Graph]
    summary: str
    exact: bool = True


PASSES = {
    entry.name: entry
    for entry in (
        Pass("infer-shapes", infer_shapes, "give every node its type"),
        Pass("drop-identity", drop_identity, "x in place of dropout(x), pad(x) by nothing and their like"),
        Pass("fold-constants", fold_constants, "op(params) -> param, under a size budget"),
        Pass("fuse-conv-bn", fuse_conv_bn, "batch_norm(conv2d) -> conv2d; also dense and transposed conv"),
        Pass("eliminate-dead", eliminate_dead, "drop what no output depends on"),
    )
}
