"""Random networks: typed, verified, and small enough to run in a millisecond.

One builder makes them all. It is given a function that draws whole numbers, so a plain seed
(`random_network`) and Hypothesis (`networks`) share it; the lowest number is always the simplest
choice, which is what makes Hypothesis shrink well. A network is a series of motifs: single layers,
the patterns that passes look for, and their near misses. What a motif makes is put back if an op
refuses it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from graphs import normal_inputs
from hypothesis import strategies as st

from convc.ir.dims import evaluate
from convc.ir.errors import InvalidModel
from convc.ir.graph import Graph, Node, fresh_name
from convc.ir.op import OpDef
from convc.ir.ops import (
    activation,
    compare,
    conv,
    elementwise,
    gate,
    group,
    leaf,
    linear,
    norm,
    pool,
    quantize,
    rearrange,
    reduce,
    resize,
    select,
    shape,
    unary,
)
from convc.ir.types import Array, TensorType, parse_shape
from convc.ir.verifier import verify_graph
from convc.ir.weights import Recipe, Weights

__all__ = ["MOTIFS", "SIZES", "networks", "random_inputs_of", "random_network"]

SIZES = {"N": 2, "H": 7, "W": 6}  # what named sizes are when a network runs
MOST_ELEMENTS = 1200  # of one value
MOST_CHANNELS = 12
MOST_PRODUCTS = 2  # of two activations: squares of squares overflow
Integer = Callable[[int, int], int]  # a whole number between two, both included; the lower is the simpler


class Refused(Exception):
    """This motif does not fit here."""


class Builder:
    """A network under construction; `values` are what later layers may read."""

    def __init__(self, integer: Integer, start: Graph | None = None) -> None:
        self.integer = integer
        self.nodes: list[Node] = []
        self.names: set[str] = set()
        self.values: list[Node] = []
        self.numbers: dict[Node, TensorType] = {}  # every type with numbers for its named sizes
        self.products = 0
        self.dtype = "f32"
        if start is None:
            self.dtype = self.pick("f32", "f32", "f32", "f32", "f32", "f32", "f64", "f16")
            self.odd_names = self.flag(12)
            batch = self.pick("N", "N", 1, 2)
            rows, cols = ("H", "W") if self.flag(8) else (self.int(4, 8), self.int(3, 8))
            self.input("x", "N" if batch == "N" else batch, self.int(1, 6), rows, cols)
        else:
            self.adopt(start)

    def adopt(self, graph: Graph) -> None:
        """Go on from a graph."""
        self.odd_names = False
        self.numbers = {node: node.typed.with_sizes(SIZES) for node in graph.nodes}
        self.nodes, self.names = list(graph.nodes), {node.name for node in graph.nodes}
        self.values = [node for node in graph.nodes if node.weights is None and node.typed.is_float]
        self.dtype = self.values[-1].typed.dtype if self.values else "f32"
        self.products = sum(node.kind is elementwise.MUL for node in graph.nodes)

    # Choices: the first is the simplest.

    def int(self, low: int, high: int) -> int:
        return low if low == high else self.integer(low, high)

    def pick(self, *options):
        return options[self.int(0, len(options) - 1)]

    def flag(self, one_in: int = 2) -> bool:
        return self.int(0, one_in - 1) == one_in - 1

    def pair(self, low: int, high: int) -> tuple[int, int]:
        first = self.int(low, high)
        return (first, self.int(low, high)) if self.flag() else (first, first)

    def pads(self, low: int = 0, high: int = 2) -> tuple[int, int, int, int]:
        if not self.flag():
            return (self.int(low, high),) * 4
        return tuple(self.int(low, high) for _ in range(4))

    # Nodes

    def name(self, wanted: str) -> str:
        if self.odd_names:
            wanted = f'{wanted} "é\\'
        return fresh_name(f"{wanted}{len(self.nodes)}", self.names)

    def input(self, wanted: str, *dims: int | str, dtype: str = "") -> Node:
        type_ = TensorType(dtype or self.dtype, parse_shape(",".join(map(str, dims))))
        return self.keep(Node(self.name(wanted), leaf.INPUT, leaf.Input(), (), type_), type_.with_sizes(SIZES), value=not dtype)

    def input_like(self, x: Node, dtype: str = "") -> Node:
        return self.input("in", *x.typed.shape, dtype=dtype)

    def param(self, *dims: int, init: str = "auto", value: float = 0.0, like: str = "w", key: str = "", dtype: str = "") -> Node:
        type_ = TensorType(dtype or self.dtype, dims)
        name = self.name(like)
        op = leaf.Param(init, key, 0, value)
        return self.keep(Node(name, leaf.PARAM, op, (), type_, weights=Weights(type_, Recipe(init, key or name, 0, value))), type_)

    def twin(self, param: Node) -> Node:
        """Another parameter of the same values."""
        op = param.op
        return self.param(*param.typed.shape, init=op.init, value=op.value, key=op.key or param.name, dtype=param.typed.dtype)

    def op(self, kind: OpDef, op, *operands: Node) -> Node:
        """Raises: Refused when the op's type rule says no, or the result is large."""
        try:
            type_ = kind.infer(op, *(operand.typed for operand in operands))
            fixed = replace(op, shape=tuple(evaluate(d, SIZES) for d in op.shape)) if kind in (shape.RESHAPE, rearrange.EXPAND) else op
            numbers = kind.infer(fixed, *(self.numbers[operand] for operand in operands))
        except InvalidModel as error:
            raise Refused from error
        if min(numbers.shape, default=1) < 1 or numbers.numel > MOST_ELEMENTS or type_.with_sizes(SIZES) != numbers:
            raise Refused
        if len(numbers.shape) > 1 and numbers.shape[1] > MOST_CHANNELS * (9 if len(numbers.shape) == 2 else 1):
            raise Refused
        return self.keep(Node(self.name(kind.name.split("_")[0]), kind, op, operands, type_), numbers, value=True)

    def keep(self, node: Node, numbers: TensorType, *, value: bool = False) -> Node:
        self.nodes.append(node)
        self.numbers[node] = numbers
        if value:
            self.values.append(node)
        return node

    def hide(self, node: Node) -> None:
        """Nothing drawn later reads this value; it may still be an output."""
        self.values.remove(node)

    def attempt(self, motif: Callable[[Builder, Node], Node], x: Node) -> None:
        """Add a motif, or put everything back."""
        nodes, values, products = len(self.nodes), len(self.values), self.products
        try:
            motif(self, x)
        except Refused:
            for node in self.nodes[nodes:]:
                self.names.discard(node.name)
            del self.nodes[nodes:], self.values[values:]
            self.products = products

    def channels(self, x: Node) -> int:
        if x.typed.rank < 2 or not isinstance(x.typed.shape[1], int):
            raise Refused
        return x.typed.shape[1]

    def fellow(self, x: Node) -> Node:
        """Another value of the same type, if there is one."""
        return self.pick(x, *(value for value in reversed(self.values) if value.type == x.type))

    def graph(self) -> Graph:
        """Outputs are what nobody reads, some of it left dead, now and then something in between."""
        read = {operand for node in self.nodes for operand in node.inputs}
        ends = [node for node in self.nodes if node.weights is None and node not in read and node.inputs]
        outputs = [node for node in ends[:-1] if not self.flag(4)] + (ends[-1:] or self.values[-1:])
        if self.flag(4):
            outputs.append(self.pick(*reversed(self.values)))
        if not self.flag(32):
            outputs = list(dict.fromkeys(outputs))
        inputs = [node for node in self.nodes if node.kind is leaf.INPUT]
        graph = Graph("net", tuple(inputs), tuple(outputs), (*inputs, *(n for n in self.nodes if n.kind is not leaf.INPUT)))
        verify_graph(graph)
        return graph


# Single layers. All take the builder and the value to read, and return the value made.


def conv2d(b: Builder, x: Node, *, w: Node | None = None, c_out: int = 0, kernel=None, strides=None, pads=None, groups: int = 0) -> Node:
    c_in = b.channels(x)
    if w is None:
        groups = groups or b.pick(*(g for g in (1, 1, 2, 3, c_in) if c_in % g == 0))
        c_out = c_out or groups * b.int(1, 3)
        w = b.param(c_out, c_in // groups, *(kernel or b.pair(1, 3)), init=b.pick("he", "he", "he", "small", "ones"))
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
    w = b.param(c_out or b.channels(x), b.channels(x), *kernel)
    bias = (b.param(w.typed.shape[0], init="small", like="b"),) if b.flag() else ()
    pads = tuple(k // 2 for k in kernel * 2)
    y = b.op(conv.CONV2D, conv.Conv2d(pads=pads), x, w, *bias)
    return act_or_not(b, y)


def conv_transpose(b: Builder, x: Node) -> Node:
    c_in = b.channels(x)
    groups = b.pick(*(g for g in (1, 1, 2, c_in) if c_in % g == 0))
    per_group, kernel = b.int(1, 3), b.pair(1, 3)
    w = b.param(c_in, per_group, *kernel)
    bias = (b.param(per_group * groups, init="small", like="b"),) if b.flag() else ()
    op = conv.ConvTranspose2d(b.pair(1, 2), b.pads(0, 1), b.pick((1, 1), (1, 1), (2, 1)), groups, b.pick((0, 0), (0, 0), (1, 0), (1, 1)))
    return b.op(conv.CONV_TRANSPOSE2D, op, x, w, *bias)


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
        (gate.ELU, gate.Elu(b.pick(1.0, 0.5, -0.5))),
        (gate.SELU, gate.Selu()),
        (gate.HARD_SIGMOID, gate.HardSigmoid(b.pick(0.25, -0.25))),
        (gate.HARD_SWISH, gate.HardSwish()),
        (gate.GELU, gate.Gelu(b.pick("none", "tanh"))),
        (gate.MISH, gate.Mish()),
        (unary.SOFTPLUS, unary.Softplus()),
        (unary.ERF, unary.Erf()),
        (unary.ABS, unary.Abs()),
        (unary.NEG, unary.Neg()),
    )
    return b.op(kind, op, x)


def max_pool(b: Builder, x: Node, pads=None) -> Node:
    return b.op(pool.MAX_POOL, pool.MaxPool(*windows(b, x, pads), b.flag(3)), x)


def avg_pool(b: Builder, x: Node, pads=None) -> Node:
    return b.op(pool.AVG_POOL, pool.AvgPool(*windows(b, x, pads), b.flag(3), b.flag()), x)


def windows(b: Builder, x: Node, pads=None) -> tuple:
    """Kernel, strides, pads, dilations of a pool. Taps so far apart that they straddle the input would read padding only: -inf, 0/0."""
    kernel, strides, dilations = b.pick((2, 2), b.pair(1, 3)), b.pair(1, 3), b.pick((1, 1), (1, 1), (1, 1), (2, 1))
    pads = b.pads(0, min(1, min(kernel) - 1)) if pads is None else pads
    if any(isinstance(size, int) and size < dilation for size, dilation in zip(b.numbers[x].shape[2:], dilations, strict=False)):
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
    return b.op(resize.RESIZE, resize.Resize(scales, mode, to, rounding), x)


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
    return b.param(*b.pick(*shapes), init=init, value=value, like="k")


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
    if rank == 4:
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


def softmax(b: Builder, x: Node) -> Node:
    axis = b.pick(1, -1, 0)
    kind, op = b.pick((activation.SOFTMAX, activation.Softmax(axis)), (activation.LOG_SOFTMAX, activation.LogSoftmax(axis)))
    return b.op(kind, op, x)


def dense(b: Builder, x: Node) -> Node:
    w = b.param(b.int(1, 6), b.channels(x))
    bias = (b.param(w.typed.shape[0], init="small", like="b"),) if b.flag() else ()
    return b.op(linear.DENSE, linear.Dense(), x, w, *bias)


def matmul(b: Builder, x: Node) -> Node:
    """matmul, often with the add of a bias, or of something else."""
    inner = x.typed.shape[-1] if x.typed.rank else "none"
    if not isinstance(inner, int):
        raise Refused
    y = b.op(linear.MATMUL, linear.MatMul(), x, b.param(inner, b.int(1, 6)))
    return (
        y
        if b.flag(3)
        else b.op(elementwise.ADD, elementwise.Add(), y, b.pick(b.param(y.typed.shape[-1], init="small", like="b"), constant(b, y)))
    )


# Patterns of several layers, and their near misses.


def conv_bn_act(b: Builder, x: Node) -> Node:
    product = b.pick(conv2d, conv2d, pointwise, depthwise, conv_transpose)(b, x)
    y = batch_norm(b, product)
    if b.flag(6):
        act(b, product)  # another reader of the raw result
    return y if b.flag(3) else act(b, y)


def before_conv(b: Builder, x: Node) -> Node:
    """What a conv or pool could take in from the layer before: norm, scale, shift, pad, activation."""
    y = b.pick(batch_norm, scale_or_shift, pad, act)(b, x)
    return b.pick(window, conv2d, pointwise, same_conv)(b, y)


def after_conv(b: Builder, x: Node) -> Node:
    """What a conv could take in from the layer after: norms, scales, shifts, slices, strides."""
    y = b.pick(conv2d, same_conv, pointwise, depthwise, conv_transpose)(b, x)
    for _ in range(b.int(1, 3)):
        y = b.pick(scale_or_shift, batch_norm, cut)(b, y)
    return y


def padded_window(b: Builder, x: Node) -> Node:
    y = act(b, x) if b.flag(3) else x
    y = pad(b, y, spatial=not b.flag(6), most=b.pick(1, 1, 2))
    if b.flag(4):
        y = pad(b, y)
    if b.flag(3):
        return b.pick(conv2d, pointwise, depthwise)(b, y)
    kernel = b.pick((3, 3), (3, 3), (2, 3), (2, 2))
    geometry = (
        kernel,
        b.pick((1, 1), (2, 2), (2, 3)),
        b.pick((0, 0, 0, 0), (0, 0, 0, 0), (1, 0, 0, 1)),
        b.pick((1, 1), (1, 1), (1, 1), (2, 1)),
    )
    if b.flag():
        return b.op(pool.MAX_POOL, pool.MaxPool(*geometry, b.flag(3)), y)
    return b.op(pool.AVG_POOL, pool.AvgPool(*geometry, b.flag(3), b.flag()), y)


def lowest_padded_pool(b: Builder, x: Node) -> Node:
    """Padding of -inf under a max pool whose windows all reach the input; infinity goes nowhere else."""
    ends, kernel = [b.int(0, 1) for _ in range(4)], b.pair(2, 3)
    padded = b.op(shape.PAD, shape.Pad((0, 0, *ends[:2], 0, 0, *ends[2:]), -math.inf), x)
    b.hide(padded)
    if b.flag(5):
        y = b.op(*b.pick((activation.RELU, activation.Relu()), (activation.SIGMOID, activation.Sigmoid())), padded)
    else:
        own = b.pick((0, 0, 0, 0), (1, 0, 0, 1)) if max(ends) + 1 < min(kernel) else (0, 0, 0, 0)
        y = b.op(pool.MAX_POOL, pool.MaxPool(kernel, b.pair(1, 2), own, ceil_mode=b.flag(4) and not any(ends)), padded)
    return y


def whole_pool(b: Builder, x: Node) -> Node:
    """A pool whose window is the whole image, or nearly, or more."""
    rows, cols = x.typed.shape[2:]
    if not isinstance(rows, int) or not isinstance(cols, int):
        raise Refused
    top, left, bottom, right = pads = b.pick((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1))
    kernel, dilations = (rows + b.pick(0, top, top + bottom), cols + b.pick(0, left, left + right)), (1, 1)
    if b.flag(5) and rows > 2:
        kernel, dilations = ((rows + 1) // 2, kernel[1]), (2, 1)
    geometry = kernel, b.pick((1, 1), (2, 2)), pads, dilations
    if b.flag():
        return b.op(pool.MAX_POOL, pool.MaxPool(*geometry), x)
    return b.op(pool.AVG_POOL, pool.AvgPool(*geometry, b.flag(4), b.flag()), x)


def mean(b: Builder, x: Node) -> Node:
    return b.op(reduce.REDUCE_MEAN, reduce.ReduceMean(b.pick((x.typed.rank - 1,), (2, 3), (-1, -2), (1,), (1, 2), ()), b.flag()), x)


def arithmetic_twice(b: Builder, x: Node) -> Node:
    """Two constants in a row, of like or unlike shapes; now and then of whole numbers, which truncate."""
    if b.flag(4):
        y = b.input_like(x, "i32")
        if b.flag(3) and x.typed.rank == 4:
            w = b.param(2, b.channels(x), *b.pair(1, 2), init="ones", dtype="i32")
            y = b.op(conv.CONV2D, conv.Conv2d(), y, w)
            b.hide(y)
        kinds = b.pick((elementwise.ADD, elementwise.SUB), (elementwise.DIV, elementwise.MUL))
        for _ in range(2):
            kind = b.pick(*kinds)
            y = b.op(kind, kind.Attrs(), y, b.param(init="full", value=b.pick(3.0, 2.0), like="k", dtype="i32"))
            b.hide(y)
        y = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), y)
        return b.op(elementwise.MUL, elementwise.Mul(), y, b.param(init="full", value=0.0625, like="k", dtype=x.typed.dtype))
    first = scale_or_shift(b, x)
    second = scale_or_shift(b, first)
    return b.op(elementwise.ADD, elementwise.Add(), first, second) if b.flag(5) and first.type == second.type else second


def pool_of_conv(b: Builder, x: Node) -> Node:
    """A conv, 1x1 or not quite, before an average or after a resize."""
    if b.flag(3):
        x = resample(b, x)
    kernel, strides = b.pick((1, 1), (1, 1), (1, 1), (2, 1), (3, 3)), b.pick((1, 1), (1, 1), (1, 1), (2, 2))
    y = conv2d(b, x, kernel=kernel, strides=strides, pads=b.pick((0,) * 4, (0,) * 4, (1,) * 4), groups=1, c_out=b.int(1, 5))
    if b.flag(5):
        act(b, y)  # another reader
    return b.pick(avg_pool, global_pool, resample, max_pool)(b, y)


def strided_readers(b: Builder, x: Node) -> Node:
    """A window, work at each place, and only strided 1x1 convs that read it: all with one stride, or nearly."""
    y = b.pick(same_conv, conv2d, max_pool, avg_pool)(b, x)
    for _ in range(b.int(0, 3)):
        how = b.int(0, 3)
        if how == 0:
            y = b.pick(act, batch_norm)(b, y)
        elif how == 1:
            y = scale_or_shift(b, y)
        elif how == 2:
            y = b.op(elementwise.ADD, elementwise.Add(), y, b.pick(b.fellow(y), same_conv(b, x, b.channels(y))))
        else:
            if y.typed.rank != 4:
                raise Refused
            c, rows, cols = y.typed.shape[1:]
            dims = b.pick((1, 1, 1, cols), (1, 1, rows, 1), (1, c, 1, 1), (c, rows, cols))
            if not all(isinstance(size, int) for size in dims):
                raise Refused
            y = b.op(*b.pick((elementwise.MUL, elementwise.Mul()), (elementwise.ADD, elementwise.Add())), y, b.param(*dims, like="k"))
    stride, ends = b.pick((2, 2), (2, 1), (3, 2)), []
    for _ in range(b.int(1, 2)):
        kernel, own = b.pick((1, 1), (1, 1), (1, 1), (1, 1), (2, 1)), b.pick(stride, stride, stride, (4, 2), (1, 1))
        ends.append(conv2d(b, y, kernel=kernel, strides=own, pads=b.pick((0,) * 4, (0,) * 4, (1, 0, 0, 0)), groups=1, c_out=3))
    return b.op(elementwise.ADD, elementwise.Add(), *ends) if len(ends) == 2 and ends[0].type == ends[1].type else ends[-1]


def two_convs(b: Builder, x: Node) -> Node:
    """With nothing, or little, in between: composed, or a stride moved from one to the other."""
    y = b.pick(conv2d, pointwise, depthwise, same_conv)(b, x)
    if b.flag(3):
        y = b.pick(act, cut, nothing, batch_norm)(b, y)
    return b.pick(pointwise, conv2d, depthwise, cut, max_pool)(b, y)


def activations(b: Builder, x: Node) -> Node:
    y = b.pick(act, max_pool, softmax)(b, x)
    return b.pick(act, max_pool, scale_or_shift, global_pool)(b, y)


def residual(b: Builder, x: Node) -> Node:
    y = same_conv(b, x)
    if b.flag():
        y = act(b, b.pick(batch_norm, act, scale_or_shift)(b, y))
    if b.flag():
        y = same_conv(b, y, b.channels(x))
    shortcut = b.pick(x, x, b.fellow(y))
    operands = (shortcut, y) if b.flag() else (y, shortcut)
    y = b.op(
        *b.pick((elementwise.ADD, elementwise.Add()), (elementwise.ADD, elementwise.Add()), (elementwise.SUB, elementwise.Sub())), *operands
    )
    return act(b, y) if b.flag() else y


def add_convs(b: Builder, x: Node) -> Node:
    """A sum of two convs of the same input, or of two inputs."""
    c_out, other = b.int(1, 4), b.pick(x, b.fellow(x))
    return b.op(elementwise.ADD, elementwise.Add(), same_conv(b, x, c_out), same_conv(b, other, c_out))


def branches(b: Builder, x: Node) -> Node:
    """Parallel layers on one value, concatenated; convs of one kind, or different ones, or a branch in a branch."""
    alike = b.flag()
    parts = []
    for _ in range(b.int(2, 3)):
        if alike:
            kernel, groups = b.pick((1, 1), (1, 1), (3, 3)), b.pick(1, 1, 2) if b.channels(x) % 2 == 0 else 1
            parts.append(conv2d(b, x, kernel=kernel, strides=(1, 1), pads=(kernel[0] // 2,) * 4, groups=groups, c_out=b.pick(2, 4)))
        else:
            parts.append(b.pick(same_conv, act, nothing, lrn, batch_norm, lambda b, x: x)(b, x))
        if b.flag(4):
            parts[-1] = act(b, parts[-1])
    y = b.op(shape.CONCAT, shape.Concat(b.pick(1, 1, 1, -3)), *parts)
    if b.flag(3):
        y = b.op(shape.CONCAT, shape.Concat(1), *b.pick((y, x), (x, y), (y, y)))
    return y if b.flag() else b.pick(act, batch_norm, conv2d, pointwise, scale_or_shift, cut)(b, y)


TWISTS = ("", "", "", "swapped", "front", "gap", "tail", "overlap", "step", "source", "axis", "two axes", "work", "whole", "thrice")


def slices_joined(b: Builder, x: Node) -> Node:
    """Cut in two and put together again: whole and in order, or with one thing about it different."""
    axis = b.pick(1, 1, 2, 3) if x.typed.rank == 4 else 1
    size = x.typed.shape[axis] if axis < x.typed.rank else 0
    if not isinstance(size, int) or size < 2:
        raise Refused
    at, twist = b.int(1, size - 1), b.pick(*TWISTS)
    at = size // 2 if twist == "axis" else at  # halves may be joined along another axis
    first, second = (int(twist == "front"), at), (at, b.pick(2**31, size))
    second = {"gap": (at + 1, size), "tail": (at, size - 1), "overlap": (at - 1, size)}.get(twist, second)
    other = b.pick(b.fellow(x), act(b, x)) if twist == "source" else x
    steps = (2,) if twist == "step" else b.pick((), (1,))
    if twist == "two axes" and axis != 3 and x.typed.rank == 4:
        parts = [b.op(shape.SLICE, shape.Slice((axis, 3), (start, 0), (end, 2)), x) for start, end in (first, second)]
    else:
        parts = [b.op(shape.SLICE, shape.Slice((axis,), first[:1], first[1:]), x)]
        parts.append(b.op(shape.SLICE, shape.Slice((axis,), second[:1], second[1:], steps), other))
    if twist == "swapped":
        parts.reverse()
    elif twist == "thrice":
        parts.append(parts[0])
    elif twist == "work":
        parts[0] = act(b, parts[0])
    elif twist == "whole":
        parts[1] = act(b, x)
    along = b.int(1, x.typed.rank - 1) if twist == "axis" else axis
    y = b.op(shape.CONCAT, shape.Concat(b.pick(along, along - x.typed.rank)), *parts)
    return act(b, y) if b.flag() else y


def joined_then_cut(b: Builder, x: Node) -> Node:
    """A slice that takes one operand of a concat, part of one, or parts of two."""
    other = b.pick(x, b.fellow(x), act(b, x))
    c = b.channels(x)
    y = b.op(shape.CONCAT, shape.Concat(1), x, other)
    start = b.pick(0, c, 1, c - 1)
    return b.op(shape.SLICE, shape.Slice((1,), (start,), (b.pick(start + c, c, 2 * c, start + 1),)), y)


def shared_weights(b: Builder, x: Node) -> Node:
    """Two convs with one weight: on two values, or one after the other; only one of them has a norm."""
    c = b.channels(x)
    w = b.param(c, c, *b.pick((1, 1), (3, 3)))
    first = conv2d(b, x, w=w, strides=(1, 1), pads=(1, 1, 1, 1))
    if b.flag():
        first = batch_norm(b, first)
    second = conv2d(b, b.pick(x, first, b.fellow(x)), w=w, strides=(1, 1), pads=(1, 1, 1, 1))
    if first.type == second.type and b.flag():
        return b.op(elementwise.ADD, elementwise.Add(), first, second)
    return second


def shared_stats(b: Builder, x: Node) -> Node:
    """Two norms with the same parameters."""
    c = b.channels(x)
    stats = [
        b.param(c, init=init, like=like)
        for init, like in (("around_one", "scale"), ("small", "shift"), ("small", "mean"), ("around_one", "var"))
    ]
    first = batch_norm(b, same_conv(b, x, c), stats)
    return batch_norm(b, b.pick(first, x, same_conv(b, first, c)), stats)


def twice(b: Builder, x: Node) -> Node:
    """A layer literally duplicated, its parameters too, or one thing about it different."""
    first = b.pick(act, same_conv, batch_norm, max_pool, scale_or_shift, nothing)(b, x)
    operands = tuple(b.twin(n) if n.weights is not None and b.flag() else n for n in first.inputs)
    second = b.op(first.kind, first.op, *operands)
    if b.flag(3):
        second = act(b, second)
    if second.type != first.type:
        return second
    return b.op(
        *b.pick((elementwise.ADD, elementwise.Add()), (shape.CONCAT, shape.Concat(1)), (elementwise.SUB, elementwise.Sub())), first, second
    )


def computed_weights(b: Builder, x: Node) -> Node:
    """Parameters that are computed from parameters: scaled, added, reshaped, cut."""
    c = b.channels(x)
    w = b.param(b.int(1, 4), c, *b.pair(1, 3))
    dims = w.typed.shape
    how = b.int(0, 3)
    if how == 0:
        w = b.op(elementwise.MUL, elementwise.Mul(), w, b.param(dims[0], 1, 1, 1, init="around_one", like="k"))
    elif how == 1:
        flat = b.op(shape.RESHAPE, shape.Reshape((-1,)), w)
        b.hide(flat)
        w = b.op(shape.RESHAPE, shape.Reshape(dims), flat)
    elif how == 2:
        w = b.op(shape.TRANSPOSE, shape.Transpose((0, 1, 3, 2)), w)
    else:
        w = b.op(elementwise.ADD, elementwise.Add(), w, b.twin(w))
    b.hide(w)
    y = conv2d(b, x, w=w, groups=1)
    return batch_norm(b, y) if b.flag() else y


def turned(b: Builder, x: Node) -> Node:
    """To channels last and back, with work in between that may or may not allow dropping both."""
    rank = x.typed.rank
    there = (0, *range(2, rank), 1) if rank > 2 else tuple(reversed(range(rank)))
    back = tuple(there.index(axis) for axis in range(rank))
    y = b.op(shape.TRANSPOSE, shape.Transpose(there), x)
    for _ in range(b.int(0, 2)):
        y = b.pick(act, scale_or_shift, nothing, lambda b, x: pad(b, x, spatial=False), softmax)(b, y)
    return b.op(shape.TRANSPOSE, shape.Transpose(b.pick(back, back, back, there) if y.typed.rank == rank else there), y)


def reshaped(b: Builder, x: Node) -> Node:
    """A channel shuffle, or a chain of reshapes with work in between."""
    if x.typed.rank != 4:
        return b.op(shape.FLATTEN, shape.Flatten(b.pick(1, 0, x.typed.rank)), x)
    n, c, rows, cols = x.typed.shape
    if not isinstance(c, int):
        raise Refused
    if c % 2 == 0 and b.flag():
        y = b.op(shape.RESHAPE, shape.Reshape((n, 2, c // 2, rows, cols)), x)
        y = b.op(shape.TRANSPOSE, shape.Transpose((0, 2, 1, 3, 4)), y)
        return b.op(shape.RESHAPE, shape.Reshape((n, c, rows, cols)), y)
    y = b.op(shape.FLATTEN, shape.Flatten(b.pick(1, 2, 3)), x)
    if b.flag(3):
        y = b.pick(act, scale_or_shift)(b, y)
    return b.op(shape.RESHAPE, shape.Reshape((n, *b.pick((c, rows, cols), (c, cols, rows), (-1,)))), y)


def squeeze_and_excite(b: Builder, x: Node) -> Node:
    """x times a value per channel that x decides. Hu et al. 2018."""
    b.products += 1
    if b.products > MOST_PRODUCTS:
        raise Refused
    y = pointwise(b, b.op(pool.GLOBAL_AVG_POOL, pool.GlobalAvgPool(), x)) if b.flag() else x
    gate = b.op(activation.SIGMOID, activation.Sigmoid(), same_conv(b, y, b.channels(x)))
    return b.op(elementwise.MUL, elementwise.Mul(), *b.pick((x, gate), (gate, x)))


def product(b: Builder, x: Node) -> Node:
    """Arithmetic of two activations; a divisor is kept away from 0."""
    b.products += 1
    if b.products > MOST_PRODUCTS:
        raise Refused
    other = b.fellow(x)
    if b.flag():
        gate = b.op(activation.SIGMOID, activation.Sigmoid(), other)
        half = b.param(init="full", value=0.5, like="k")
        return b.op(elementwise.DIV, elementwise.Div(), x, b.op(elementwise.ADD, elementwise.Add(), gate, half))
    return b.op(elementwise.MUL, elementwise.Mul(), x, other)


def classifier(b: Builder, x: Node) -> Node:
    """The tail of a network: down to rows of features, dense layers, probabilities."""
    if b.flag():
        x = b.op(pool.GLOBAL_AVG_POOL, pool.GlobalAvgPool(), x)
    y = b.op(*b.pick((shape.FLATTEN, shape.Flatten(b.pick(1, 1, 1, 0, 2))), (shape.RESHAPE, shape.Reshape((x.typed.shape[0], -1)))), x)
    if b.flag(3):
        y = act(b, y)
    y = b.pick(dense, matmul)(b, y)
    if b.flag():
        y = b.pick(act, batch_norm, scale_or_shift, nothing)(b, y)
    if b.flag():
        y = dense(b, y)
    return softmax(b, y) if b.flag() else y


def cast_there_and_back(b: Builder, x: Node) -> Node:
    y = b.op(elementwise.CAST, elementwise.Cast("f64"), x)
    return b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), b.pick(y, act(b, y)) if x.typed.dtype != "f64" else y)


def second_input(b: Builder, x: Node) -> Node:
    """Another argument of the network, floating or whole numbers."""
    if b.flag(3):
        whole = b.op(elementwise.ADD, elementwise.Add(), b.input_like(x, "i32"), b.param(init="full", value=3.0, like="k", dtype="i32"))
        other = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), whole)
        b.hide(whole)
        scale = b.param(init="full", value=0.0625, like="k", dtype=x.typed.dtype)  # of -100 to 100
        other = b.op(elementwise.MUL, elementwise.Mul(), other, scale)
    else:
        other = b.input_like(x)
    return b.op(*b.pick((elementwise.ADD, elementwise.Add()), (shape.CONCAT, shape.Concat(1))), x, other)


def cut_of_cut(b: Builder, x: Node) -> Node:
    first = b.pick(cut, pad)(b, x)
    return b.pick(cut, pad)(b, first)


def curve(b: Builder, x: Node) -> Node:
    """Functions that overflow or have no value somewhere, kept where they are tame: between 0.5 and 1.5."""
    share = b.op(activation.SIGMOID, activation.Sigmoid(), x)
    y = b.op(elementwise.ADD, elementwise.Add(), share, b.param(init="full", value=0.5, like="k"))
    if b.flag(3):
        other = b.pick(b.param(init="full", value=b.pick(2.0, -0.5), like="k"), share)
        return b.op(elementwise.POW, elementwise.Pow(), y, other)
    return b.op(*b.pick((unary.EXP, unary.Exp()), (unary.LOG, unary.Log()), (unary.SQRT, unary.Sqrt())), y)


def greatest(b: Builder, x: Node) -> Node:
    kind = b.pick(elementwise.MAXIMUM, elementwise.MINIMUM)
    other = b.pick(b.fellow(x), constant(b, x), act(b, x))
    return b.op(kind, kind.Attrs(), *b.pick((x, other), (other, x)))


def learned_slope(b: Builder, x: Node) -> Node:
    return b.op(gate.PRELU, gate.Prelu(), x, constant(b, x))


def choice(b: Builder, x: Node) -> Node:
    """One of two values, as whole numbers decide: at floats that are all but equal, engines would differ."""
    whole = b.input_like(x, "i32")
    limit = b.param(init="full", value=b.pick(3.0, -20.0), like="k", dtype="i32")
    kind = b.pick(*compare.COMPARISONS)
    truth = b.op(kind, kind.Attrs(), whole, limit)
    b.hide(truth)
    if b.flag(3):
        kind = b.pick(compare.LOGICAL_AND, compare.LOGICAL_OR)
        other = b.op(compare.GREATER, compare.Greater(), limit, whole)
        truth = b.op(kind, kind.Attrs(), truth, other)
        b.hide(other), b.hide(truth)
    if b.flag(3):
        truth = b.op(unary.LOGICAL_NOT, unary.LogicalNot(), truth)
        b.hide(truth)
    return b.op(compare.WHERE, compare.Where(), truth, *b.pick((x, b.fellow(x)), (x, constant(b, x)), (act(b, x), x)))


def stairs(b: Builder, x: Node) -> Node:
    """Whole numbers of halves, which every engine has exactly."""
    halves = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), b.input_like(x, "i32"))
    halves = b.op(elementwise.MUL, elementwise.Mul(), halves, b.param(init="full", value=0.5, like="k", dtype=x.typed.dtype))
    y = b.op(*b.pick((unary.FLOOR, unary.Floor()), (unary.CEIL, unary.Ceil()), (unary.ROUND, unary.Round())), halves)
    y = b.op(elementwise.MUL, elementwise.Mul(), y, b.param(init="full", value=0.0625, like="k", dtype=x.typed.dtype))
    return b.op(elementwise.ADD, elementwise.Add(), x, y)


def own_statistics(b: Builder, x: Node) -> Node:
    """A norm by the value's own mean and variance, and what may follow it."""
    if b.flag(3):
        if not isinstance(x.typed.shape[-1] if x.typed.rank else "none", int):
            raise Refused
        parameters = [b.param(x.typed.shape[-1], init=init, like="k") for init in ("around_one", "small")]
        y = b.op(group.LAYER_NORM, group.LayerNorm(-1, b.pick(1e-2, 0.1)), x, *parameters[: b.int(1, 2)])
    else:
        c = b.channels(x)
        groups = b.pick(*(g for g in (1, 2, 3, c) if c % g == 0))
        kind, op = b.pick((group.INSTANCE_NORM, group.InstanceNorm(1e-2)), (group.GROUP_NORM, group.GroupNorm(groups, 0.1)))
        y = b.op(kind, op, x, b.param(c, init="around_one", like="scale"), b.param(c, init="small", like="shift"))
    return act_or_not(b, y)


def rearranged(b: Builder, x: Node) -> Node:
    """Pixels to channels and back, or not quite back."""
    there = b.pick(
        (rearrange.SPACE_TO_DEPTH, rearrange.SpaceToDepth(2)), (rearrange.DEPTH_TO_SPACE, rearrange.DepthToSpace(2, b.pick("DCR", "CRD")))
    )
    if b.flag(3):
        x = b.op(rearrange.TILE, rearrange.Tile((1, b.pick(1, 4, 2), 2, 2)), x)
    elif there[0] is rearrange.DEPTH_TO_SPACE:
        x = conv2d(b, x, kernel=(1, 1), strides=(1, 1), pads=(0, 0, 0, 0), c_out=4, groups=1)
    y = act_or_not(b, b.op(*there, x))
    if there[0] is rearrange.SPACE_TO_DEPTH and b.flag():
        y = b.op(rearrange.DEPTH_TO_SPACE, rearrange.DepthToSpace(2, b.pick("DCR", "DCR", "CRD")), y)
    return y


def spread(b: Builder, x: Node) -> Node:
    """One value for an axis, or two, and back to the shape it had."""
    axes = b.pick((x.typed.rank - 1,), (-1, -2), (1,))
    if b.flag(4):
        share = b.op(activation.SIGMOID, activation.Sigmoid(), x)
        tame = b.op(elementwise.ADD, elementwise.Add(), share, b.param(init="full", value=0.5, like="k"))
        y = b.op(reduce.REDUCE_PROD, reduce.ReduceProd(axes), tame)
    else:
        kind = b.pick(reduce.REDUCE_SUM, reduce.REDUCE_MAX, reduce.REDUCE_MIN)
        y = b.op(kind, kind.Attrs(axes, b.pick(True, True, False)), x)
    if y.typed.rank != x.typed.rank or b.flag(4):
        return y
    return b.op(elementwise.SUB, elementwise.Sub(), x, b.op(rearrange.EXPAND, rearrange.Expand(x.typed.shape), y))


def picked(b: Builder, x: Node) -> Node:
    """Parts of an axis by constant indices, or its greatest values."""
    if not x.typed.rank:
        raise Refused
    axis = b.int(0, x.typed.rank - 1)
    if b.flag():
        k = b.int(1, 3)
        return b.op(select.TOP_K_VALUES, select.TopKValues(k, axis, b.flag()), x)
    indices = b.param(*b.pick((2,), (), (1, 2)), init="full", value=b.pick(0.0, -1.0), like="i", dtype=b.pick("i64", "i32"))
    return b.op(select.GATHER, select.Gather(b.pick(axis, axis - x.typed.rank)), x, indices)


def placed(b: Builder, x: Node) -> Node:
    """Where the greatest of whole numbers lies: of floats that are all but equal, engines would choose differently."""
    axis = b.int(0, x.typed.rank - 1) if x.typed.rank else 0
    kind = b.pick(reduce.ARG_MAX, reduce.ARG_MIN, select.TOP_K_INDICES)
    op = select.TopKIndices(1, axis, b.flag()) if kind is select.TOP_K_INDICES else kind.Attrs(axis, True, b.flag())
    places = b.op(kind, op, b.input_like(x, b.pick("i32", "i64")))
    b.hide(places)
    y = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), places)
    y = b.op(elementwise.MUL, elementwise.Mul(), y, b.param(init="full", value=0.125, like="k", dtype=x.typed.dtype))
    return b.op(elementwise.ADD, elementwise.Add(), x, y)


def quantized(b: Builder, x: Node) -> Node:
    """Halves, which every engine has exactly, to bytes and back."""
    dtype = x.typed.dtype
    halves = b.op(elementwise.CAST, elementwise.Cast(dtype), b.input_like(x, "i32"))
    scale = b.param(init="full", value=b.pick(2.0, 0.5), like="s", dtype=dtype)
    zero = b.param(init="full", value=b.pick(0.0, 7.0), like="z", dtype=b.pick("i8", "u8"))
    steps = b.op(quantize.QUANTIZE_LINEAR, quantize.QuantizeLinear(), halves, scale, zero)
    b.hide(steps)
    back = b.param(init="full", value=0.0625, like="s", dtype=dtype)
    return b.op(elementwise.ADD, elementwise.Add(), x, b.op(quantize.DEQUANTIZE_LINEAR, quantize.DequantizeLinear(), steps, back, zero))


# fmt: off
ANY = (
    act, scale_or_shift, nothing, cut, softmax, product, twice, turned, slices_joined, cast_there_and_back, second_input, cut_of_cut, reshaped,
    arithmetic_twice, mean, matmul, curve, greatest, learned_slope, choice, stairs, spread, picked,
    placed, quantized, own_statistics,
)
IMAGES = (
    conv2d, conv_bn_act, same_conv, pointwise, depthwise, batch_norm, max_pool, avg_pool, residual, branches, before_conv, after_conv,
    padded_window, lowest_padded_pool, two_convs, activations, add_convs, joined_then_cut, shared_weights, shared_stats, computed_weights,
    conv_transpose, global_pool, lrn, pad, resample, squeeze_and_excite, classifier, whole_pool, pool_of_conv, strided_readers, padded_window,
    strided_readers, classifier, own_statistics, rearranged,
)
# fmt: on
ROWS = (dense, matmul, batch_norm, classifier)
MOTIFS = (*IMAGES, *ANY, *ROWS)


def build(integer: Integer, steps: int = 8, start: Graph | None = None) -> Graph:
    """A network of 1 to `steps` motifs on top of `start`, or of an input."""
    b = Builder(integer, start)
    for _ in range(b.int(1, steps)):
        x = b.pick(b.values[-1], b.values[-1], b.values[-1], b.pick(*reversed(b.values)))
        if x.typed.dtype != b.dtype:
            continue
        rank = x.typed.rank
        b.attempt(b.pick(*{4: (*IMAGES, *ANY), 2: (*ROWS, *ANY)}.get(rank, ANY)), x)
    return b.graph()


def random_network(seed: int, steps: int = 8, start: Graph | None = None) -> Graph:
    """The network of this seed: the same on every machine."""
    return build(random.Random(seed).randint, steps, start)


@st.composite
def networks(draw: st.DrawFn, steps: int = 8) -> Graph:
    return build(lambda low, high: draw(_between(low, high)), steps)


@cache
def _between(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def random_inputs_of(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Normal values, with numbers for the named sizes."""
    return normal_inputs(graph, seed, **{name: SIZES[name] for name in graph.symbols})
