"""Rows that work element by element, softmax, and products of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.types import DTYPES
from ..file.tensors import ELEMENTS
from .call import Call, Row

__all__ = ["ROWS", "cast_to", "element_type", "matrix_product", "number", "simple"]


def simple(name: str, **defaults: Any) -> Row:
    """The IR op of that name on the same operands; attributes have these names and defaults in both."""

    def row(c: Call) -> Node:
        attributes = {key: c.attribute(key, value) for key, value in defaults.items()}
        return c.named(name, *(c.x(i) for i in range(len(c.operands))), **attributes)

    return row


def chain(name: str) -> Row:
    """Any number of operands, two at a time from the left."""

    def row(c: Call) -> Node:
        value = c.x(0)
        for i in range(1, len(c.operands)):
            value = c.named(name, value, c.x(i), suffix="" if i == len(c.operands) - 1 else f"part{i}")
        return value if len(c.operands) > 1 else c.named("identity", value)

    return row


def number(c: Call, like: Node, value: float, suffix: str) -> Node:
    """A scalar of the operand's element type."""
    return c.constant(np.array(value, DTYPES[like.typed.dtype]), suffix)


def cast_to(c: Call, x: Node, dtype: str, suffix: str = "") -> Node:
    return x if x.typed.dtype == dtype and suffix else c.named("cast", x, to=dtype, suffix=suffix)


def clip(c: Call) -> Node:
    """Bounds are attributes before opset 11, operands after. Those of integers, or that data decides, are greatest and least."""
    x = c.x()
    if c.opset < 11:
        return c.named("clip", x, min=c.attribute("min", -math.inf), max=c.attribute("max", math.inf))
    bounds = [(name, c.maybe(i)) for i, name in ((1, "maximum"), (2, "minimum"))]
    present = [(name, bound) for name, bound in bounds if bound is not None]
    if x.typed.is_float and all(c.known.of(bound) is not None for _, bound in present):
        low = float(c.scalar(1, "least value")) if bounds[0][1] is not None else -math.inf
        high = float(c.scalar(2, "greatest value")) if bounds[1][1] is not None else math.inf
        if low <= high:
            return c.named("clip", x, min=low, max=high)
    for i, (name, bound) in enumerate(present):
        x = c.named(name, x, bound, suffix="" if i == len(present) - 1 else "low")
    return x if present else c.named("identity", x)


def modulo(c: Call) -> Node:
    return c.named("mod", c.x(0), c.x(1), fmod=bool(c.attribute("fmod", 0)))


def power(c: Call) -> Node:
    """The exponent may be of another element type; squares are products, and the half power a root. Whole numbers go through float64."""
    x, exponent = c.x(0), c.x(1)
    value = c.known.of(exponent)
    if x.typed.is_float and value is not None and value.size == 1 and exponent.typed.rank <= x.typed.rank:
        if value.reshape(-1)[0] == 2:
            return c.named("mul", x, x)
        if value.reshape(-1)[0] == 0.5:
            return c.named("sqrt", x)
    if x.typed.is_float:
        return c.named("pow", x, cast_to(c, exponent, x.typed.dtype, "exponent"))
    wide = c.named("pow", cast_to(c, x, "f64", "base"), cast_to(c, exponent, "f64", "exponent"), suffix="wide")
    return c.named("cast", wide, to=x.typed.dtype)


def softmax(name: str) -> Row:
    """Before opset 13 all axes from `axis` on are one."""

    def row(c: Call) -> Node:
        x, axis = c.x(), c.attribute("axis", 1 if c.opset < 13 else -1)
        axis = axis + x.typed.rank if axis < 0 else axis
        if c.opset >= 13 or axis == x.typed.rank - 1:
            return c.named(name, x, axis=axis)
        flat = c.named("flatten", x, axis=axis, suffix="flat")
        return c.named("reshape", c.named(name, flat, axis=1, suffix="soft"), shape=x.typed.shape)

    return row


def dropout(c: Call) -> Sequence[Node | None]:
    """The identity, unless the file asks for training; a mask that is read is true everywhere."""
    training = c.maybe(2) is not None and bool(c.scalar(2, "training_mode"))
    ratio = float(c.scalar(1, "ratio")) if c.maybe(1) is not None else c.attribute("ratio", 0.5)
    if training and ratio:
        raise c.refuse("it drops values at random (training_mode); export the network in inference mode")
    y = c.named("dropout", c.x(), ratio=ratio) if 0 <= ratio < 1 else c.named("identity", c.x())
    if not any(c.results[1:]):
        return [y]
    return [y, c.named("expand", c.constant(np.array(True), "kept"), shape=c.x().typed.shape, result=1)]


def cast(c: Call) -> Node:
    return c.named("cast", c.x(), to=element_type(c, c.attribute("to", 0)))


def element_type(c: Call, code: int) -> str:
    """The name of an element type by its number in TensorProto.DataType.

    Raises: UnsupportedOp for one that the IR does not have.
    """
    element = ELEMENTS.get(code)
    if element is None or not element.ours:
        raise c.refuse(f"its result is of an element type that convc does not have (number {code})")
    return element.ours


def cast_like(c: Call) -> Node:
    return c.named("cast", c.x(0), to=c.x(1).typed.dtype)


def mean(c: Call) -> Node:
    total = c.x(0)
    for i in range(1, len(c.operands)):
        total = c.named("add", total, c.x(i), suffix=f"part{i}")
    return c.named("div", total, number(c, total, len(c.operands), "count"))


def reciprocal(c: Call) -> Node:
    return c.named("div", number(c, c.x(), 1, "one"), c.x())


def silu(c: Call) -> Node:
    """x * sigmoid(alpha * x): Swish-24."""
    x, alpha = c.x(), c.attribute("alpha", 1.0)
    scaled = x if alpha == 1 else c.named("mul", x, number(c, x, alpha, "alpha"), suffix="scaled")
    return c.named("mul", x, c.named("sigmoid", scaled, suffix="gate"))


def thresholded(c: Call) -> Node:
    """x where it is over alpha, else 0."""
    x = c.x()
    over = c.named("greater", x, number(c, x, c.attribute("alpha", 1.0), "alpha"), suffix="over")
    return c.named("where", over, x, number(c, x, 0, "zero"))


def sign(c: Call) -> Node:
    """1 over zero, -1 under it; a float that is neither is 0 or NaN, and its size is that too."""
    x = c.x()
    zero = number(c, x, 0, "zero")
    over, under = (c.named(kind, x, zero, suffix=kind) for kind in ("greater", "less"))
    if not x.typed.is_float:
        return c.named("sub", *(cast_to(c, each, x.typed.dtype, f"is_{each.kind.name}") for each in (over, under)))
    rest = c.named("where", under, number(c, x, -1, "minus_one"), c.named("abs", x, suffix="abs"), suffix="rest")
    return c.named("where", over, number(c, x, 1, "one"), rest)


def softsign(c: Call) -> Node:
    """x / (1 + |x|)."""
    x = c.x()
    size = c.named("add", c.named("abs", x, suffix="abs"), number(c, x, 1, "one"), suffix="size")
    return c.named("div", x, size)


def celu(c: Call) -> Node:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)), which is alpha * elu(x / alpha)."""
    x, alpha = c.x(), c.attribute("alpha", 1.0)
    if alpha == 1:
        return c.named("elu", x, alpha=1.0)
    k = number(c, x, alpha, "alpha")
    return c.named("mul", c.named("elu", c.named("div", x, k, suffix="scaled"), alpha=1.0, suffix="elu"), k)


def xor(c: Call) -> Node:
    """On booleans, different."""
    return c.named("logical_not", c.named("equal", c.x(0), c.x(1), suffix="equal"))


def gemm(c: Call) -> Node:
    """alpha * A' B' + beta * C. With constant B this is `dense`, whose weight is [O,I]."""
    a, b, bias = c.x(0), c.x(1), c.maybe(2)
    alpha, beta = c.attribute("alpha", 1.0), c.attribute("beta", 1.0)
    if a.typed.rank != 2 or b.typed.rank != 2:
        raise c.refuse(f"its operands are {a.type} and {b.type}, expected 2 axes each")
    a = c.named("transpose", a, perm=(1, 0), suffix="a") if c.attribute("transA", 0) else a
    if not c.attribute("transB", 0):
        b = c.named("transpose", b, perm=(1, 0), suffix="w")
    c_out = b.typed.shape[0]
    bias = None if beta == 0 else bias
    if bias is not None and bias.typed.shape == (1, c_out):
        bias = c.named("reshape", bias, shape=(c_out,), suffix="bias")
    plain_bias = bias is not None and bias.typed.shape == (c_out,) and beta == 1
    if alpha == 1 and (bias is None or plain_bias):
        return c.named("dense", a, b, *([] if bias is None else [bias]))
    y = c.named("dense", a, b, suffix="product" if bias is not None or alpha != 1 else "")
    if alpha != 1:
        y = c.named("mul", y, number(c, y, alpha, "alpha"), suffix="scaled" if bias is not None else "")
    if bias is None:
        return y
    if beta != 1:
        bias = c.named("mul", bias, number(c, y, beta, "beta"), suffix="bias_scaled")
    return c.named("add", y, bias)


def matmul(c: Call) -> Node:
    return matrix_product(c, lambda a, b, suffix: c.named("matmul", a, b, suffix=suffix))


def matrix_product(c: Call, product: Callable[[Node, Node, str], Node]) -> Node:
    """A vector is a row on the left, a column on the right, and its axis goes again."""
    a, b = c.x(0), c.x(1)
    if a.typed.rank >= 2 and b.typed.rank >= 2:
        return product(a, b, "")
    left, right = a.typed.rank == 1, b.typed.rank == 1
    a = c.named("reshape", a, shape=(1, *a.typed.shape), suffix="row") if left else a
    b = c.named("reshape", b, shape=(*b.typed.shape, 1), suffix="column") if right else b
    y = product(a, b, "product")
    shape = y.typed.shape
    kept = (*shape[:-2], *(() if left else shape[-2:-1]), *(() if right else shape[-1:]))
    return c.named("reshape", y, shape=kept)


ROWS: dict[str, Row] = {
    "Relu": simple("relu"),
    "Sigmoid": simple("sigmoid"),
    "Tanh": simple("tanh"),
    "Identity": simple("identity"),
    "Exp": simple("exp"),
    "Log": simple("log"),
    "Sqrt": simple("sqrt"),
    "Erf": simple("erf"),
    "Abs": simple("abs"),
    "Neg": simple("neg"),
    "Floor": simple("floor"),
    "Ceil": simple("ceil"),
    "Round": simple("round"),
    "Softplus": simple("softplus"),
    "Sin": simple("sin"),
    "Cos": simple("cos"),
    "Tan": simple("tan"),
    "Asin": simple("asin"),
    "Acos": simple("acos"),
    "Atan": simple("atan"),
    "Sinh": simple("sinh"),
    "Cosh": simple("cosh"),
    "Asinh": simple("asinh"),
    "Acosh": simple("acosh"),
    "Atanh": simple("atanh"),
    "Not": simple("logical_not"),
    "Mish": simple("mish"),
    "HardSwish": simple("hard_swish"),
    "PRelu": simple("prelu"),
    "Add": simple("add"),
    "Sub": simple("sub"),
    "Mul": simple("mul"),
    "Div": simple("div"),
    "Equal": simple("equal"),
    "Greater": simple("greater"),
    "Less": simple("less"),
    "GreaterOrEqual": simple("greater_or_equal"),
    "LessOrEqual": simple("less_or_equal"),
    "And": simple("logical_and"),
    "Or": simple("logical_or"),
    "Where": simple("where"),
    "LeakyRelu": simple("leaky_relu", alpha=0.01),
    "Elu": simple("elu", alpha=1.0),
    "Selu": simple("selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "HardSigmoid": simple("hard_sigmoid", alpha=0.2, beta=0.5),
    "Gelu": simple("gelu", approximate="none"),
    "Shrink": simple("shrink", bias=0.0, lambd=0.5),
    "Celu": celu,
    "ThresholdedRelu": thresholded,
    "Softsign": softsign,
    "Sign": sign,
    "Swish": silu,
    "Clip": clip,
    "Mod": modulo,
    "Pow": power,
    "Reciprocal": reciprocal,
    "Xor": xor,
    "Sum": chain("add"),
    "Max": chain("maximum"),
    "Min": chain("minimum"),
    "Mean": mean,
    "Softmax": softmax("softmax"),
    "LogSoftmax": softmax("log_softmax"),
    "Hardmax": softmax("hardmax"),
    "Dropout": dropout,
    "Cast": cast,
    "CastLike": cast_like,
    "Gemm": gemm,
    "MatMul": matmul,
}
