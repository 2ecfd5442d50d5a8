"""Single layers of random networks, with whatever attributes they may have.

As in the files of patterns, all take the builder and the value to read, and return the value made.
"""

from __future__ import annotations

from convc.ir.graph import Node
from convc.ir.ops import (
    activation,
    activation_variants,
    conv,
    elementwise,
    linear,
    norm,
    pool,
    rearrange,
    reduce,
    resize,
    shape,
    unary,
    unpool,
)
from convc.ir.ops import conv_transpose as transposed
from convc.ir.types import MAX_RANK
from convc.tests.fuzz.network_builder import Builder, Refused

THIN = ((1, 8), (8, 1), (1, 16), (16, 1))  # windows of sequences


def weight(b: Builder, *dims: int, init: str = "auto") -> Node:
    """A parameter, now and then one that is computed from another, or an input: kernels that know their weights cannot serve these."""
    how = b.int(0, 8)
    if how == 8:
        return b.input("w", *dims, dtype=b.dtype)
    w = b.param(*dims, init=init)
    if how == 7:
        w = b.op(elementwise.ADD, elementwise.Add(), w, b.twin(w))
        b.hide(w)
    return w


def conv2d(b: Builder, x: Node, *, w: Node | None = None, c_out: int = 0, kernel=None, strides=None, pads=None, groups: int = 0) -> Node:
    c_in = b.channels(x)
    if w is None:
        groups = groups or b.pick(*(g for g in (1, 1, 2, 3, c_in) if c_in % g == 0))
        c_out = c_out or groups * b.int(1, 3)
        kernel = kernel or b.pick(b.pair(1, 3), b.pair(1, 3), b.pair(1, 3), *THIN)
        w = weight(b, c_out, c_in // groups, *b.fit(x, kernel), init=b.pick("he", "he", "he", "small", "ones"))
    else:
        groups = groups or c_in // w.typed.shape[1]
        kernel = w.typed.shape[2:]
    bias = (b.param(w.typed.shape[0], init=b.pick("small", "around_one", "zeros"), like="b"),) if b.flag() else ()
    dilations = b.pick((1, 1), (1, 1), (1, 1), (2, 1), (2, 2))
    op = conv.Conv2d(strides or b.pick((1, 1), (1, 1), (2, 2), b.pair(1, 3)), b.pads() if pads is None else pads, dilations, groups)
    return b.op(conv.CONV2D, op, x, w, *bias)


def pointwise(b: Builder, x: Node) -> Node:
    return conv2d(b, x, kernel=(1, 1), strides=b.pick((1, 1), (2, 2)), pads=b.pick((0, 0, 0, 0), (1, 0, 0, 1)), c_out=b.int(1, 6), groups=1)


def depthwise(b: Builder, x: Node) -> Node:
    c_in = b.channels(x)
    return conv2d(b, x, c_out=c_in * b.pick(1, 1, 2), groups=c_in)


def same_conv(b: Builder, x: Node, c_out: int = 0) -> Node:
    """Keeps rows and columns."""
    kernel = b.pick((1, 1), (3, 3), (3, 1))
    w = b.filters(x, c_out or b.channels(x), b.channels(x), *kernel)
    bias = (b.param(w.typed.shape[0], init="small", like="b"),) if b.flag() else ()
    pads = tuple(k // 2 for k in kernel * 2)
    y = b.op(conv.CONV2D, conv.Conv2d(pads=pads), x, w, *bias)
    return act_or_not(b, y)


def conv_transpose(b: Builder, x: Node) -> Node:
    c_in = b.channels(x)
    groups = b.pick(*(g for g in (1, 1, 2, c_in) if c_in % g == 0))
    per_group, kernel = b.int(1, 4), b.pick(b.pair(1, 3), b.pair(1, 3), *THIN)
    w = weight(b, c_in, per_group, *b.fit(x, kernel))
    bias = (b.param(per_group * groups, init="small", like="b"),) if b.flag() else ()
    strides = b.pick(b.pair(1, 2), b.pair(1, 2), b.pair(1, 8), tuple(max(size // 2, 1) for size in kernel))
    op = transposed.ConvTranspose2d(strides, b.pads(0, 1), b.pick((1, 1), (1, 1), (2, 1)), groups, b.pick((0, 0), (0, 0), (1, 0), (1, 1)))
    return b.op(transposed.CONV_TRANSPOSE2D, op, x, w, *bias)


def upsampled(b: Builder, x: Node) -> Node:
    """A transposed convolution that grows an axis, or both, by a power of two or nearly, with one tap or two for each result."""
    factors = b.pick((1, 4), (4, 1), (2, 2), (1, 2), (1, 8), (8, 1), (4, 2), (1, 3))
    kernel = tuple(b.pick(1, 2) * factor for factor in factors)
    c_in = b.channels(x)
    groups = b.pick(1, 1, c_in)
    w = weight(b, c_in, b.int(1, 4), *b.fit(x, kernel))
    pads = b.pick((0, 0, 0, 0), tuple((size - factor) // 2 for size, factor in zip(kernel, factors, strict=True)) * 2)
    return b.op(transposed.CONV_TRANSPOSE2D, transposed.ConvTranspose2d(factors, pads, groups=groups), x, w)


def batch_norm(b: Builder, x: Node, stats: list[Node] | None = None) -> Node:
    c = b.channels(x)
    if stats is None:
        scale = b.param(c, init=b.pick("around_one", "around_one", "small", "ones", "full"), value=-1.5, like="scale")
        shift = b.param(c, init=b.pick("small", "zeros"), like="shift")
        mean = b.param(c, init=b.pick("small", "zeros"), like="mean")
        stats = [scale, shift, mean, b.param(c, init=b.pick("around_one", "ones"), like="var")]
    return b.op(norm.BATCH_NORM, norm.BatchNorm(b.pick(1e-5, 0.1)), x, *stats)


def act(b: Builder, x: Node) -> Node:
    kind, op = b.pick(
        *[(activation.RELU, activation.Relu())] * 5,
        (activation.CLIP, activation.Clip(0.0, 6.0)),
        (activation.CLIP, activation.Clip(min=0.0)),
        (activation.CLIP, activation.Clip(-0.5, 0.5)),
        (activation.CLIP, activation.Clip(max=-0.25)),
        (activation.LEAKY_RELU, activation.LeakyRelu(0.1)),
        (activation.LEAKY_RELU, activation.LeakyRelu(b.pick(0.0, 1.0, -0.5, 2.0))),
        (activation.SIGMOID, activation.Sigmoid()),
        (activation.TANH, activation.Tanh()),
        (activation_variants.ELU, activation_variants.Elu(b.pick(1.0, 0.5, -0.5))),
        (activation_variants.SELU, activation_variants.Selu()),
        (activation_variants.HARD_SIGMOID, activation_variants.HardSigmoid(b.pick(0.25, -0.25))),
        (activation_variants.HARD_SWISH, activation_variants.HardSwish()),
        (activation_variants.GELU, activation_variants.Gelu(b.pick("none", "tanh"))),
        (activation_variants.MISH, activation_variants.Mish()),
        (unary.SOFTPLUS, unary.Softplus()),
        (unary.ERF, unary.Erf()),
        (unary.ABS, unary.Abs()),
        (unary.NEG, unary.Neg()),
    )
    return b.op(kind, op, x)


def max_pool(b: Builder, x: Node, pads=None) -> Node:
    return b.op(pool.MAX_POOL, pool.MaxPool(*windows(b, x, pads), b.flag(3)), x)


def unpooled(b: Builder, x: Node) -> Node:
    """Values put back where the greatest of whole numbers lie: of floats that are all but equal, engines would choose differently."""
    kernel, strides, pads, dilations = windows(b, x)
    whole = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), b.input_like(x, "i32"))
    b.hide(whole)
    window, is_ceil = (kernel, strides, pads, dilations), b.flag(3)
    y = b.op(pool.MAX_POOL, pool.MaxPool(*window, is_ceil), b.pick(x, whole))
    b.hide(y)
    places = b.op(unpool.MAX_POOL_INDICES, unpool.MaxPoolIndices(*window, is_ceil), whole)
    b.hide(places)
    return b.op(unpool.MAX_UNPOOL, unpool.MaxUnpool(kernel, strides, pads, x.typed.shape[2:]), y, places)


def avg_pool(b: Builder, x: Node, pads=None) -> Node:
    return b.op(pool.AVG_POOL, pool.AvgPool(*windows(b, x, pads), b.flag(3), b.flag()), x)


def lp_pool(b: Builder, x: Node) -> Node:
    return b.op(pool.LP_POOL, pool.LpPool(*windows(b, x), b.flag(3), b.pick(2, 1, 3)), x)


def windows(b: Builder, x: Node, pads=None) -> tuple:
    """Kernel, strides, pads, dilations of a pool. Taps so far apart that they straddle the input would read padding only: -inf, 0/0."""
    kernel, strides, dilations = b.pick((2, 2), b.pair(1, 3)), b.pair(1, 3), b.pick((1, 1), (1, 1), (1, 1), (2, 1))
    pads = b.pads(0, min(1, min(kernel) - 1)) if pads is None else pads
    if any(isinstance(size, int) and size < dilation for size, dilation in zip(b.numbers[x].shape[2:], b.fit(x, dilations), strict=True)):
        raise Refused
    return kernel, strides, pads, dilations


def window(b: Builder, x: Node, pads=None) -> Node:
    """A conv or pool, so that a motif may stand before any of them."""
    layer = b.pick(conv2d, max_pool, avg_pool)
    return layer(b, x, pads=pads)


def global_pool(b: Builder, x: Node) -> Node:
    if b.flag(4):
        return b.op(reduce.REDUCE_MEAN, reduce.ReduceMean(b.pick((2, 3), (-1, -2), (2,), (1,)), b.flag()), x)
    return b.op(*b.pick((pool.GLOBAL_AVG_POOL, pool.GlobalAvgPool()), (pool.GLOBAL_MAX_POOL, pool.GlobalMaxPool())), x)


def lrn(b: Builder, x: Node) -> Node:
    op = norm.LocalResponseNorm(b.pick(3, 1, 5, 2), b.pick(1e-4, 0.9), b.pick(0.75, 1.0, 0.5), b.pick(1.0, 2.0))
    return b.op(norm.LOCAL_RESPONSE_NORM, op, x)


def pad(b: Builder, x: Node, *, spatial: bool = True, most: int = 2) -> Node:
    before, after = [0] * x.typed.rank, [0] * x.typed.rank
    for axis in range(2 if spatial else 0, x.typed.rank):
        before[axis], after[axis] = b.int(0, most), b.int(0, most)
    mode = b.pick("constant", "constant", "constant", "edge", "reflect")
    value = b.pick(0.0, 0.0, 0.0, 0.5, -2.0) if mode == "constant" else 0.0
    return b.op(shape.PAD, shape.Pad((*before, *after), value, mode), x)


def resample(b: Builder, x: Node) -> Node:
    mode, to = b.pick("nearest", "bilinear", "cubic"), b.pick(*resize.COORDINATES)
    if mode == "nearest" and to == "half_pixel_symmetric":
        raise Refused  # its positions are whole but for a rounding now and then, which decides
    rounding = b.pick(*resize.ROUNDINGS) if mode == "nearest" else resize.ROUNDINGS[0]
    if b.flag(3):
        return b.op(resize.RESIZE, resize.Resize(mode=mode, coordinates=to, rounding=rounding, sizes=b.pair(1, 7)), x)
    scales = b.pick((2.0, 2.0), (1.0, 2.0), (3.0, 1.0), (0.5, 0.5), (1.5, 0.75))
    antialias = mode != "nearest" and b.flag(3)
    exclude = (antialias or mode == "cubic") and b.flag(3)
    return b.op(resize.RESIZE, resize.Resize(scales, mode, to, rounding, antialias=antialias, exclude_outside=exclude), x)


def constant(b: Builder, x: Node, *, divisor: bool = False) -> Node:
    """A parameter that broadcasts against `x`: a scalar, a value a channel, or something that only looks like it."""
    dims, rank = x.typed.shape, x.typed.rank
    shapes = [(), (1,), (1,) * rank]
    if rank >= 2 and isinstance(dims[1], int):
        c = dims[1] if dims[1] > 1 or not b.flag(3) else 3  # of one channel it makes three
        shapes += [(c, *(1,) * (rank - 2))] * 4 + [(1, c, *(1,) * (rank - 2))] * 2
        shapes += [(2, c, *(1,) * (rank - 2)), (c, *(3,) * (rank - 2)), (1, 1, c, *(1,) * (rank - 2))]
    if rank >= 2 and isinstance(dims[-1], int):
        shapes += [
            (dims[-1],),
            (*(dim if isinstance(dim, int) else 1 for dim in dims[-2:]),),
            tuple(d if isinstance(d, int) else 1 for d in dims),
        ]
    init, value = b.pick(("around_one", 0.0), ("full", 2.0), ("full", -1.5), ("ones", 0.0), ("small", 0.0), ("zeros", 0.0), ("full", 1.0))
    if divisor and init in ("small", "zeros"):
        init = "around_one"
    return b.param(*b.pick(*(shape for shape in shapes if len(shape) <= MAX_RANK)), init=init, value=value, like="k")


def scale_or_shift(b: Builder, x: Node) -> Node:
    kind, op = b.pick(
        (elementwise.MUL, elementwise.Mul()),
        (elementwise.ADD, elementwise.Add()),
        (elementwise.SUB, elementwise.Sub()),
        (elementwise.DIV, elementwise.Div()),
    )
    k = constant(b, x, divisor=kind is elementwise.DIV)
    operands = (k, x) if kind is not elementwise.DIV and b.flag(3) else (x, k)
    return b.op(kind, op, *operands)


def act_or_not(b: Builder, x: Node) -> Node:
    return b.op(activation.RELU, activation.Relu(), x) if b.flag() else x


def nothing(b: Builder, x: Node) -> Node:
    """An op that changes nothing, or its near miss."""
    rank = x.typed.rank
    axis = b.int(0, max(rank - 1, 0))
    choices = [
        (elementwise.IDENTITY, elementwise.Identity()),
        (activation.DROPOUT, activation.Dropout()),
        (shape.RESHAPE, shape.Reshape(x.typed.shape)),
        (shape.PAD, shape.Pad((0,) * 2 * rank, b.pick(0.0, 1.0), b.pick("constant", "edge", "reflect"))),
        (shape.CONCAT, shape.Concat(axis)),
        (elementwise.CAST, elementwise.Cast(x.typed.dtype)),
        (activation.CLIP, activation.Clip()),
        (shape.TRANSPOSE, shape.Transpose(tuple(range(rank)))),
        (shape.SLICE, shape.Slice((axis,), (0,), (2**31,))),
        (shape.SLICE, shape.Slice((axis,), (-1,), (-(2**31),), (-1,))),
        (shape.FLATTEN, shape.Flatten(b.pick(1, 0))),
    ]
    if 3 <= rank <= 5:
        choices += [
            (pool.MAX_POOL, pool.MaxPool((1, 1), b.pick((1, 1), (2, 1)))),
            (pool.AVG_POOL, pool.AvgPool((1, 1), b.pick((1, 1), (1, 2)), ceil_mode=b.flag())),
            (resize.RESIZE, resize.Resize((1.0, 1.0), b.pick("nearest", "bilinear"), b.pick(*resize.COORDINATES))),
        ]
    return b.op(*b.pick(*choices), x)


def cut(b: Builder, x: Node) -> Node:
    """A slice of one axis or two: a range of channels, a crop, a stride, backwards."""
    axis = b.int(1, max(x.typed.rank - 1, 1))
    steps = b.pick((1,), (1,), (2,), (3,), (-1,))
    if steps == (-1,):
        return b.op(shape.SLICE, shape.Slice((axis,), (-1,), (-(2**31),), steps), x)
    if b.flag(3) and x.typed.rank == 4:
        strides = b.pair(1, 3)
        return b.op(shape.SLICE, shape.Slice((2, 3), (0, 0), (2**31, 2**31), strides), x)
    return b.op(shape.SLICE, shape.Slice((axis - b.pick(0, x.typed.rank),), (b.int(0, 2),), (b.pick(2**31, 3, 2, -1),), steps), x)


def centred(b: Builder, x: Node) -> Node:
    """Cropped along one axis, padded along another, or a little of both."""
    axes = tuple(range(max(0, min(2, x.typed.rank - 1)), x.typed.rank))
    sizes = tuple(b.pick(x.typed.shape[axis], b.int(1, 9)) for axis in axes)
    return b.op(rearrange.CENTER_CROP_PAD, rearrange.CenterCropPad(sizes, axes), x)


def softmax(b: Builder, x: Node) -> Node:
    axis = b.pick(1, -1, 0)
    kind, op = b.pick((activation.SOFTMAX, activation.Softmax(axis)), (activation.LOG_SOFTMAX, activation.LogSoftmax(axis)))
    return b.op(kind, op, x)


def dense(b: Builder, x: Node) -> Node:
    w = weight(b, b.int(1, 6), b.channels(x))
    bias = (b.param(w.typed.shape[0], init="small", like="b"),) if b.flag() else ()
    return b.op(linear.DENSE, linear.Dense(), x, w, *bias)


def matmul(b: Builder, x: Node) -> Node:
    """matmul, often with the add of a bias, or of something else."""
    inner = x.typed.shape[-1] if x.typed.rank else "none"
    if not isinstance(inner, int):
        raise Refused
    y = b.op(linear.MATMUL, linear.MatMul(), x, weight(b, inner, b.int(1, 6)))
    return (
        y
        if b.flag(3)
        else b.op(elementwise.ADD, elementwise.Add(), y, b.pick(b.param(y.typed.shape[-1], init="small", like="b"), constant(b, y)))
    )
