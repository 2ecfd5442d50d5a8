"""Every op convc knows, by name. One family a file; a new op is added to its family's `OPS`."""

from __future__ import annotations

from typing import Any

from ..op import OpDef
from . import (
    activation,
    activation_variants,
    attention,
    boxes,
    compare,
    conv,
    conv_transpose,
    conv_weight_gradient,
    deform,
    diagonal,
    einsum,
    elementwise,
    group,
    indexed,
    integer,
    leaf,
    lengths,
    linear,
    max_pool_gradient,
    norm,
    opaque,
    pool,
    qlinear,
    quantize,
    random_uniform,
    rearrange,
    recurrent,
    reduce,
    resize,
    sample,
    select,
    shape,
    thresholds,
    trigonometry,
    unary,
    unpool,
)

__all__ = ["OPS"]

FAMILIES = (
    *(
        leaf,
        conv,
        conv_transpose,
        conv_weight_gradient,
        deform,
        pool,
        unpool,
        max_pool_gradient,
        norm,
        group,
        linear,
        einsum,
        attention,
        recurrent,
    ),
    *(activation, activation_variants, thresholds),
    *(unary, trigonometry, elementwise, compare),
    *(
        shape,
        rearrange,
        diagonal,
        select,
        indexed,
        resize,
        sample,
        boxes,
        reduce,
        lengths,
        quantize,
        qlinear,
        integer,
        random_uniform,
        opaque,
    ),
)

OPS: dict[str, OpDef[Any]] = {op.name: op for family in FAMILIES for op in family.OPS}
