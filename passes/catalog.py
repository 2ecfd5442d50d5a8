"""Every pass, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.graph import Graph
from .canonicalize import canonicalize
from .compose_linear import compose_linear
from .constant_places import constant_places
from .dense_to_conv import dense_to_conv
from .differentiate import differentiate
from .drop_identity import drop_identity
from .eliminate_dead import eliminate_dead
from .flatten_concat import flatten_concat
from .fold_affine import fold_affine
from .fold_constants import fold_constants
from .fold_pad import fold_pad
from .fold_shapes import fold_shapes
from .fuse_conv_bn import fuse_conv_bn
from .hoist_stride import hoist_stride
from .infer_shapes import infer_shapes
from .merge_common import merge_common
from .merge_siblings import merge_siblings
from .move_dequantize import move_dequantize
from .move_pointwise import move_pointwise
from .order_for_memory import order_for_memory
from .pick_channels import pick_channels
from .pool_before_relu import pool_before_relu
from .recompute import recompute
from .rewriting.ledger import Ledger
from .sink_transposes import sink_transposes
from .split_concat import split_concat
from .to_bfloat16 import to_bfloat16
from .to_float16 import to_float16

__all__ = ["PASSES", "Pass"]


@dataclass(frozen=True, slots=True)
class Pass:
    """A function from graph to graph. `exact` promises the same function up to rounding.

    The network's inputs and outputs stay, but where a pass `adds_outputs`, others may follow the ones that were there.
    All but a few need every node's type, which infer-shapes gives.
    """

    name: str
    run: Callable[[Graph, Ledger], Graph]
    summary: str
    exact: bool = True
    needs_types: bool = True
    adds_outputs: bool = False


PASSES = {
    entry.name: entry
    for entry in (
        Pass("infer-shapes", infer_shapes, "give every node its type", needs_types=False),
        Pass("drop-identity", drop_identity, "x in place of dropout(x), pad(x) by nothing and their like"),
        Pass("move-dequantize", move_dequantize, "transpose(dequantize(weight)) -> dequantize(transpose(weight)); reshapes too"),
        Pass("fold-constants", fold_constants, "op(params) -> param, under a size budget"),
        Pass("constant-places", constant_places, "gather and scatter at known places -> slices, gathers of one axis, concats"),
        Pass("fold-shapes", fold_shapes, "transposes and reshapes, axes of one element among them, that come to fewer"),
        Pass("canonicalize", canonicalize, "one form of global pools, flattens, dense layers, group norms, mish and constant arithmetic"),
        Pass("flatten-concat", flatten_concat, "concat(concat(a, b), c) -> concat(a, b, c); slices back to their whole"),
        Pass("merge-common", merge_common, "equal nodes become one"),
        Pass("sink-transposes", sink_transposes, "transposes through what lies between two that undo each other; products -> 1x1 convs"),
        Pass("fuse-conv-bn", fuse_conv_bn, "batch_norm into the conv, transposed conv, dense or matmul before or after it"),
        Pass("fold-affine", fold_affine, "constant +, -, *, / around conv, transposed conv and dense into their weights"),
        Pass("fold-pad", fold_pad, "pad into the conv or pool that reads it"),
        Pass("pick-channels", pick_channels, "shuffles of channels, and slices of them -> a gather, or weights in another order"),
        Pass("move-pointwise", move_pointwise, "1x1 conv before a resize that grows, after a pool that shrinks"),
        Pass("compose-linear", compose_linear, "two convs in a row, one of them 1x1, -> one conv"),
        Pass("split-concat", split_concat, "1x1 conv of a concat -> a sum of 1x1 convs of its parts"),
        Pass("hoist-stride", hoist_stride, "compute only what strided 1x1 convs read"),
        Pass("merge-siblings", merge_siblings, "convs of one value with stacked filters -> one conv and slices of it"),
        Pass("pool-before-relu", pool_before_relu, "max_pool(relu(x)) -> relu(max_pool(x)); also other rising functions"),
        Pass("dense-to-conv", dense_to_conv, "dense over a flattened image -> conv, the fully convolutional form"),
        Pass("order-for-memory", order_for_memory, "an order of branches that keeps fewer bytes live at once"),
        Pass("recompute", recompute, "values that are kept long computed again, without products, down to the least peak"),
        Pass("to-float16", to_float16, "products and what follows them in float16, casts at the borders", exact=False),
        Pass("to-bfloat16", to_bfloat16, "products and what follows them in bfloat16, casts at the borders", exact=False),
        Pass("differentiate", differentiate, "also the gradients of the loss that a network returns", adds_outputs=True),
        Pass("eliminate-dead", eliminate_dead, "drop what no output depends on", needs_types=False),
    )
}
