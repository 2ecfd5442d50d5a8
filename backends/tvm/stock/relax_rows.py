"""The table: how each op becomes Relax. An op with no Relax operator of the same meaning is written as a tensor expression."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.opened import opened
from ....ir.ops import (
    activation,
    activation_variants,
    boxes,
    compare,
    conv,
    conv_transpose,
    elementwise,
    group,
    integer,
    leaf,
    linear,
    norm,
    opaque,
    pool,
    qlinear,
    quantize,
    random_uniform,
    rearrange,
    reduce,
    resize,
    select,
    shape,
    thresholds,
    trigonometry,
    unary,
    unpool,
)
from ....ir.types import BITS
from ...unsupported import Unsupported
from .conv import accumulator, conv2d, in_own_type
from .conv import conv as conv_
from .conv import conv_transpose as conv_transpose_
from .gradients import GRADIENTS
from .group import group_norm, instance_norm, layer_norm, mean_variance_norm
from .indexed import INDEXED, in_wider
from .integer import conv_integer, matmul_integer
from .layers import LAYERS
from .lengths import LENGTHS
from .norm import batch_norm, local_response_norm
from .pointwise import (
    elu,
    equal,
    gelu,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    logical_not,
    maximum,
    minimum,
    mish,
    mod,
    prelu,
    round_,
    selu,
    shrink,
    softplus,
    subtract,
    tanh,
    where,
)
from .pool import avg_pool, global_avg_pool, global_max_pool, lp_pool, max_pool, max_pool_indices, max_unpool
from .quantize import dequantize_linear, dynamic_scale, dynamic_zero, quantize_linear
from .random import random_uniform as random_uniform_
from .reduce import arg_extreme, hardmax, reduce_extreme, reduce_mean, reduce_prod, reduce_sum
from .relax_emitter import Lowering, RelaxEmitter, dtype_name
from .resize import resize as resize_
from .select import depth_to_space, expand, gather, range_, space_to_depth, tile, top_k
from .shape import center_crop_pad, concat, pad, reshape, slice_, transpose

__all__ = ["ROWS"]


def argument(emitter: RelaxEmitter, node: Node) -> Any:
    """Inputs and parameters are arguments of the function: weights of 500 MiB do not belong in a library."""
    return emitter.tvm.relax.Var(node.name, emitter.type(node.typed))


def simple(name: str) -> Lowering:
    """The Relax operator `name`, with the same operands and no attributes."""

    def row(emitter: RelaxEmitter, node: Node, *operands: Any) -> Any:
        return _operator(emitter, name)(*operands)

    return row


def itself(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return x


def relu(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return between(emitter, node, x, 0.0, math.inf)


def clip(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = activation.CLIP.of(node)
    return between(emitter, node, x, op.min, op.max)


def between(emitter: RelaxEmitter, node: Node, x: Any, low: float, high: float) -> Any:
    """Relax's maximum turns a NaN into the bound, which would hide it. An infinite bound bounds nothing."""
    te, tirx = emitter.te, emitter.tirx

    def bounded(x: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            value, least, most = x[at], tirx.const(low, x.dtype), tirx.const(high, x.dtype)
            value = value if low == -math.inf else tirx.Select(value < least, least, value)
            return value if high == math.inf else tirx.Select(value > most, most, value)

        return te.compute(shape, element, node.kind.name)

    return emitter.compute(node, bounded, x)


def along_axis(name: str) -> Lowering:
    def row(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
        op: activation.Softmax | activation.LogSoftmax = node.op
        return _operator(emitter, name)(x, axis=op.axis)

    return row


def div(emitter: RelaxEmitter, node: Node, a: Any, b: Any) -> Any:
    """Whole numbers round toward zero; a divisor that would trap (0, and -1 under the least number) is taken out first."""
    ops, dtype = emitter.ops, dtype_name(node.typed)
    if node.typed.is_float:
        return ops.divide(a, b)
    one, zero = emitter.scalar(1, dtype), emitter.scalar(0, dtype)
    if dtype.startswith("u"):
        return ops.divide(a, ops.maximum(b, one))
    minus = ops.equal(b, emitter.scalar(-1, dtype))
    safe = ops.where(ops.logical_or(minus, ops.equal(b, zero)), one, b)
    return ops.where(minus, ops.subtract(zero, a), ops.divide(a, safe))


def cast(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Of a whole number in less than 8 bits the lowest are left, and the highest of these is the sign."""
    bits, ops = BITS.get(node.typed.dtype), emitter.ops
    if bits is None:
        return ops.astype(x, dtype_name(node.typed))
    whole = emitter.builder.emit(ops.astype(ops.astype(x, "int32"), "uint8"), f"{node.name}.byte")
    low = ops.bitwise_and(whole, emitter.scalar(2**bits - 1, "uint8"))
    sign = emitter.scalar(2 ** (bits - 1) if node.typed.dtype[0] == "i" else 0, "uint8")
    return ops.astype(ops.subtract(ops.bitwise_xor(low, sign), sign), dtype_name(node.typed))


def dense(emitter: RelaxEmitter, node: Node, x: Any, w: Any, b: Any = None) -> Any:
    """Reads the weight as it lies; matmul with permute_dims would copy it on every run."""
    te, dtype = emitter.te, accumulator(node.typed)

    def product(x: Any, w: Any, shape: Any) -> Any:
        feature = te.reduce_axis((0, w.shape[1]), "feature")

        def row(n: Any, o: Any) -> Any:
            return te.sum(x[n, feature].astype(dtype) * w[o, feature].astype(dtype), axis=feature)

        return te.compute(shape, row, "dense")

    y = in_own_type(emitter, node, emitter.compute(node, product, x, w))
    return y if b is None else emitter.ops.add(y, b)


def matmul(emitter: RelaxEmitter, node: Node, a: Any, b: Any) -> Any:
    return in_own_type(emitter, node, emitter.ops.matmul(a, b, out_dtype=accumulator(node.typed)))


def in_float32(row: Callable[..., Any]) -> Lowering:
    """Half precision computed in single and rounded once, where several roundings would add up."""

    def widened(emitter: RelaxEmitter, node: Node, *operands: Any) -> Any:
        if node.typed.dtype != "f16":
            return row(emitter, node, *operands)
        wide = [emitter.builder.emit(emitter.ops.astype(x, "float32"), f"{node.name}.wide") for x in operands]
        return emitter.ops.astype(row(emitter, node, *wide), "float16")

    return widened


def _operator(emitter: RelaxEmitter, name: str) -> Callable[..., Any]:
    found: Any = emitter.ops
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _quantized_product(emitter: RelaxEmitter, node: Node, *operands: Any) -> Any:
    """The three ops that it means, one after another."""
    values, parts = dict(zip(node.inputs, operands, strict=True)), opened(node)
    for part in parts:
        if part.weights is not None:
            values[part] = emitter.tvm.relax.const(part.weights.array())
            continue
        row = ROWS[part.kind]
        assert not isinstance(row, Unsupported)
        values[part] = emitter.builder.emit(row(emitter, part, *(values[operand] for operand in part.inputs)), part.name)
    return values[parts[-1]]


ROWS: dict[OpDef[Any], Lowering | Unsupported] = {
    leaf.INPUT: argument,
    leaf.PARAM: argument,
    opaque.OPAQUE: Unsupported("it needs another runtime"),
    opaque.OPAQUE_RESULT: Unsupported("it needs another runtime"),
    boxes.NON_MAX_SUPPRESSION: Unsupported("how many boxes there are is known only once it has run"),
    **dict.fromkeys(conv.CONVS, conv_),
    conv.CONV2D: conv2d,
    **dict.fromkeys(conv_transpose.CONV_TRANSPOSES, conv_transpose_),
    pool.MAX_POOL: max_pool,
    **GRADIENTS,
    unpool.MAX_POOL_INDICES: max_pool_indices,
    unpool.MAX_UNPOOL: max_unpool,
    pool.AVG_POOL: in_float32(avg_pool),
    pool.LP_POOL: in_float32(lp_pool),
    pool.GLOBAL_AVG_POOL: in_float32(global_avg_pool),
    pool.GLOBAL_MAX_POOL: global_max_pool,
    norm.BATCH_NORM: in_float32(batch_norm),
    norm.LOCAL_RESPONSE_NORM: in_float32(local_response_norm),
    linear.DENSE: dense,
    linear.MATMUL: matmul,
    activation.RELU: relu,
    activation.LEAKY_RELU: leaky_relu,
    activation.CLIP: clip,
    activation.SIGMOID: in_float32(simple("sigmoid")),
    activation.TANH: in_float32(tanh),
    activation.SOFTMAX: in_float32(along_axis("nn.softmax")),
    activation.LOG_SOFTMAX: in_float32(along_axis("nn.log_softmax")),
    activation.DROPOUT: itself,
    activation_variants.ELU: in_float32(elu),
    activation_variants.SELU: in_float32(selu),
    activation_variants.HARD_SIGMOID: in_float32(hard_sigmoid),
    activation_variants.HARD_SWISH: in_float32(hard_swish),
    activation_variants.GELU: in_float32(gelu),
    activation_variants.MISH: in_float32(mish),
    activation_variants.PRELU: prelu,
    thresholds.SHRINK: in_float32(shrink),
    thresholds.HARDMAX: hardmax,
    unary.EXP: in_float32(simple("exp")),
    unary.LOG: in_float32(simple("log")),
    unary.SQRT: in_float32(simple("sqrt")),
    unary.ERF: in_float32(simple("erf")),
    unary.ABS: simple("abs"),
    unary.NEG: simple("negative"),
    unary.FLOOR: in_float32(simple("floor")),
    unary.CEIL: in_float32(simple("ceil")),
    unary.ROUND: in_float32(round_),
    unary.SOFTPLUS: in_float32(softplus),
    unary.LOGICAL_NOT: logical_not,
    trigonometry.SIN: in_float32(simple("sin")),
    trigonometry.COS: in_float32(simple("cos")),
    trigonometry.TAN: in_float32(simple("tan")),
    trigonometry.ASIN: in_float32(simple("asin")),
    trigonometry.ACOS: in_float32(simple("acos")),
    trigonometry.ATAN: in_float32(simple("atan")),
    trigonometry.SINH: in_float32(simple("sinh")),
    trigonometry.COSH: in_float32(simple("cosh")),
    trigonometry.ASINH: in_float32(simple("asinh")),
    trigonometry.ACOSH: in_float32(simple("acosh")),
    trigonometry.ATANH: in_float32(simple("atanh")),
    elementwise.ADD: simple("add"),
    elementwise.SUB: subtract,
    elementwise.MUL: simple("multiply"),
    elementwise.DIV: div,
    elementwise.MOD: in_float32(mod),
    elementwise.POW: in_float32(simple("power")),
    elementwise.MAXIMUM: maximum,
    elementwise.MINIMUM: minimum,
    elementwise.CAST: cast,
    elementwise.IDENTITY: itself,
    compare.EQUAL: equal,
    compare.GREATER: simple("greater"),
    compare.LESS: simple("less"),
    compare.GREATER_OR_EQUAL: simple("greater_equal"),
    compare.LESS_OR_EQUAL: simple("less_equal"),
    compare.LOGICAL_AND: simple("logical_and"),
    compare.LOGICAL_OR: simple("logical_or"),
    compare.WHERE: where,
    shape.CONCAT: concat,
    shape.SLICE: slice_,
    shape.PAD: pad,
    shape.FLATTEN: reshape,
    shape.RESHAPE: reshape,
    shape.TRANSPOSE: transpose,
    resize.RESIZE: in_float32(resize_),
    reduce.REDUCE_MEAN: in_float32(reduce_mean),
    reduce.REDUCE_SUM: in_float32(reduce_sum),
    reduce.REDUCE_MAX: reduce_extreme,
    reduce.REDUCE_MIN: reduce_extreme,
    reduce.REDUCE_PROD: in_float32(reduce_prod),
    reduce.ARG_MAX: arg_extreme,
    reduce.ARG_MIN: arg_extreme,
    group.INSTANCE_NORM: in_float32(instance_norm),
    group.GROUP_NORM: in_float32(group_norm),
    group.LAYER_NORM: in_float32(layer_norm),
    group.MEAN_VARIANCE_NORM: in_float32(mean_variance_norm),
    rearrange.DEPTH_TO_SPACE: depth_to_space,
    rearrange.SPACE_TO_DEPTH: space_to_depth,
    rearrange.CENTER_CROP_PAD: center_crop_pad,
    rearrange.EXPAND: expand,
    rearrange.RANGE: range_,
    rearrange.TILE: tile,
    random_uniform.RANDOM_UNIFORM: random_uniform_,
    select.GATHER: gather,
    select.TOP_K_VALUES: top_k,
    select.TOP_K_INDICES: top_k,
    quantize.QUANTIZE_LINEAR: quantize_linear,
    quantize.DEQUANTIZE_LINEAR: in_float32(dequantize_linear),
    **dict.fromkeys(qlinear.QLINEAR_CONVS, _quantized_product),
    qlinear.QLINEAR_MATMUL: _quantized_product,
    quantize.DYNAMIC_SCALE: dynamic_scale,
    quantize.DYNAMIC_ZERO: dynamic_zero,
    **dict.fromkeys(integer.CONV_INTEGERS, conv_integer),
    integer.MATMUL_INTEGER: matmul_integer,
    **INDEXED,
    **{op: in_wider(row) for op, row in LAYERS.items()},
    **{op: in_float32(row) for op, row in LENGTHS.items()},
}
