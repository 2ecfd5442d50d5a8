"""Rows with a window, over one to three axes of space: convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.dims import Dim
from ....ir.errors import InvalidModel
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.conv import CONVS
from ....ir.ops.conv_transpose import CONV_TRANSPOSES
from ....ir.ops.conv_weight_gradient import CONV_WEIGHT_GRADIENTS
from ....ir.ops.deform import DEFORM_CONV2D, OPTIONAL, DeformConv2d
from ....ir.ops.shape import TRANSPOSE, Transpose
from ....ir.ops.window import MOST_AXES, Borders, PerAxis, dilated, window_count
from .call import Call, Row

__all__ = ["ROWS", "convolution"]


def spatial(c: Call, x: Node) -> int:
    """The number of axes of space, one to three."""
    axes = x.typed.rank - 2
    if not 1 <= axes <= MOST_AXES:
        raise c.refuse(f"its input is {x.type}; convc computes windows over one to three axes")
    return axes


def numbers(c: Call, name: str, axes: int, default: int) -> PerAxis:
    """A list attribute with a value for each axis of space."""
    values: list[int] = c.attribute(name, [default] * axes)
    if len(values) != axes:
        raise c.refuse(f"attribute '{name}' is {values}, expected {axes} values")
    return tuple(values)


def explicit_pads(c: Call, axes: int) -> Borders:
    pads: list[int] = c.attribute("pads", [0] * (2 * axes))
    if len(pads) != 2 * axes:
        raise c.refuse(f"attribute 'pads' is {pads}, expected {2 * axes} values")
    return tuple(pads)


def window_pads(c: Call, x: Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], axes: int) -> Borders:
    """Pads as written, or as `auto_pad` asks: SAME gives ceil(size / stride) windows."""
    auto = c.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return explicit_pads(c, axes)
    if auto == "VALID":
        return (0, 0) * axes
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise c.refuse(f"auto_pad '{auto}' is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    before, after = [0] * axes, [0] * axes
    for axis in range(axes):
        total = _same(c, x.typed.shape[2 + axis], dilated(kernel[axis], dilations[axis]), strides[axis])
        small = total // 2
        before[axis], after[axis] = (small, total - small) if auto == "SAME_UPPER" else (total - small, small)
    return (*before, *after)


def _same(c: Call, size: Dim, extent: int, stride: int) -> int:
    total = ((size + (stride - 1)) // stride - 1) * stride + extent - size
    if isinstance(total, int):
        return max(total, 0)
    raise c.refuse(
        f"auto_pad with stride {stride} depends on the named size {size}; give it a value, or a multiple such as {stride}*H, with --input"
    )


def _kernel(c: Call, w: Node, axes: int) -> PerAxis:
    """The weight's own kernel, which an attribute may only repeat."""
    kernel = tuple(size for size in w.typed.shape[2:] if isinstance(size, int))
    if len(kernel) != w.typed.rank - 2:
        raise c.refuse(f"its weight is {w.type}, and a kernel needs numbers; give the named sizes values with --input")
    if len(kernel) != axes:
        raise c.refuse(f"its weight is {w.type}, expected {axes + 2} axes")
    written = c.attribute("kernel_shape", list(kernel))
    if tuple(written) != kernel:
        raise c.refuse(f"kernel_shape is {written}, but the weight is {w.type}")
    return kernel


def convolution(c: Call, x: Node, w: Node, kinds: Sequence[OpDef[Any]]) -> tuple[OpDef[Any], Any]:
    """That of `kinds`, by the number of axes from one on, that convolves x with w, and its attributes."""
    axes = spatial(c, x)
    kernel = _kernel(c, w, axes)
    strides, dilations = numbers(c, "strides", axes, 1), numbers(c, "dilations", axes, 1)
    pads = window_pads(c, x, kernel, strides, dilations, axes)
    kind = kinds[axes - 1]
    return kind, kind.Attrs(strides=strides, pads=pads, dilations=dilations, groups=c.attribute("group", 1))


def conv(c: Call) -> Node:
    x, w, b = c.x(0), c.x(1), c.maybe(2)
    kind, op = convolution(c, x, w, CONVS)
    if w.typed.rank > 1 and not isinstance(w.typed.shape[1], int) and op.groups == 1 and b is None:
        return _over_images(c, op, x, w)
    return c.make(kind, op, x, w, *([] if b is None else [b]))


def _over_images(c: Call, op: Any, x: Node, w: Node) -> Node:
    """A convolution whose sums go over as many channels as there are images: with axes exchanged it is a gradient of weights.

    Files of training steps have it, convc's own among them; its stride is the dilation of the window that learns.
    """
    axes = len(op.strides)
    steps = zip(x.typed.shape[2:], w.typed.shape[2:], op.strides, op.dilations, op.pads[:axes], op.pads[axes:], strict=True)
    kernel = [window_count(size, dilated(k, dilation), stride, b, a) for size, k, stride, dilation, b, a in steps]
    if not all(isinstance(size, int) for size in kernel):
        raise c.refuse(f"its input is {x.type} and its weight {w.type}; as a gradient of weights it needs sizes in numbers")
    kind = CONV_WEIGHT_GRADIENTS[axes - 1]
    learns = kind.Attrs(kernel=tuple(kernel), strides=op.dilations, pads=op.pads, dilations=op.strides)
    found = c.make(kind, learns, _exchanged(c, x, "x"), _exchanged(c, w, "g"), suffix="exchanged")
    return c.make(TRANSPOSE, Transpose(_turned(axes)), found)


def _exchanged(c: Call, x: Node, suffix: str) -> Node:
    """With channels for images; what was exchanged already is as it was."""
    turned = _turned(x.typed.rank - 2)
    return x.inputs[0] if x.kind is TRANSPOSE and x.op.perm == turned else c.make(TRANSPOSE, Transpose(turned), x, suffix=suffix)


def _turned(axes: int) -> tuple[int, ...]:
    return (1, 0, *range(2, axes + 2))


def deform_conv(c: Call) -> Node:
    """Offsets stand before the bias here."""
    x, w, offset = c.x(0), c.x(1), c.x(2)
    if spatial(c, x) != 2:
        raise c.refuse(f"its input is {x.type}; convc moves the taps of images alone")
    plain = convolution(c, x, w, CONVS)[1]
    more = {name: node for name, node in zip(OPTIONAL, (c.maybe(3), c.maybe(4)), strict=True) if node is not None}
    op = DeformConv2d(plain.strides, plain.pads, plain.dilations, plain.groups, c.attribute("offset_group", 1), tuple(more))
    return c.make(DEFORM_CONV2D, op, x, w, offset, *more.values())


def conv_transpose(c: Call) -> Node:
    """`output_shape` asks for a size, from which the pads follow. ONNX ConvTranspose-11."""
    x, w, b = c.x(0), c.x(1), c.maybe(2)
    axes = spatial(c, x)
    kernel = _kernel(c, w, axes)
    strides, dilations = numbers(c, "strides", axes, 1), numbers(c, "dilations", axes, 1)
    extra = list(numbers(c, "output_padding", axes, 0))
    auto, wanted = c.attribute("auto_pad", "NOTSET"), c.attribute("output_shape", list[int]())
    if wanted and len(wanted) not in (axes, axes + 2):
        raise InvalidModel(f"{c.where}: output_shape is {wanted}; one size for each of {axes} axes was expected")
    if wanted or auto.startswith("SAME"):
        pads = _transposed_pads(c, x, kernel, strides, dilations, extra, _wanted_sizes(x, wanted, strides, axes))
    else:
        pads = (0, 0) * axes if auto == "VALID" else explicit_pads(c, axes)
    kind = CONV_TRANSPOSES[axes - 1]
    op = kind.Attrs(strides=strides, pads=pads, dilations=dilations, groups=c.attribute("group", 1), output_padding=tuple(extra))
    return c.make(kind.name, op, x, w, *([] if b is None else [b]))


def _wanted_sizes(x: Node, wanted: list[int], strides: Sequence[int], axes: int) -> list[Dim]:
    if wanted:
        return list(wanted[-axes:])  # some exporters write the batch and the channels too
    return [size * stride for size, stride in zip(x.typed.shape[2:], strides, strict=True)]


def _transposed_pads(
    c: Call, x: Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], extra: list[int], sizes: list[Dim]
) -> Borders:
    """Pads that give `sizes`; where even none crop too much, `extra` (output_padding) grows."""
    before, after = [0] * len(sizes), [0] * len(sizes)
    for axis in range(len(sizes)):
        size = x.typed.shape[2 + axis]
        total = (size - 1) * strides[axis] + extra[axis] + dilated(kernel[axis], dilations[axis]) - sizes[axis]
        if not isinstance(total, int):
            raise c.refuse(f"its pads depend on the named size {size}; give it a value with --input")
        if total < 0:
            extra[axis], total = extra[axis] - total, 0
        small = total // 2
        upper = c.attribute("auto_pad", "NOTSET") == "SAME_UPPER"
        before[axis], after[axis] = (small, total - small) if upper else (total - small, small)
    return (*before, *after)


def pool_window(c: Call, x: Node) -> dict[str, Any]:
    """The attributes that all pools have."""
    axes = spatial(c, x)
    kernel = numbers(c, "kernel_shape", axes, 1)
    strides, dilations = numbers(c, "strides", axes, 1), numbers(c, "dilations", axes, 1)
    pads = window_pads(c, x, kernel, strides, dilations, axes)
    return {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads, "ceil_mode": bool(c.attribute("ceil_mode", 0))}


def avg_pool(c: Call) -> Node:
    return c.named("avg_pool", c.x(), **pool_window(c, c.x()), count_include_pad=bool(c.attribute("count_include_pad", 0)))


def lp_pool(c: Call) -> Node:
    return c.named("lp_pool", c.x(), **pool_window(c, c.x()), p=c.attribute("p", 2))


def max_pool(c: Call) -> Sequence[Node | None]:
    """Values and their places are two nodes."""
    x, dtype = c.x(), c.x().typed.dtype
    window, column_major = pool_window(c, x), bool(c.attribute("storage_order", 0))
    is_byte = dtype in ("i8", "u8")  # the same number in float32
    x = c.on([x], "wide").named("cast", x, to="f32") if is_byte else x
    values: Node | None = None
    if c.results[0] and is_byte:
        values = c.named("cast", c.named("max_pool", x, **window, suffix="pooled"), to=dtype)
    elif c.results[0]:
        values = c.named("max_pool", x, **window)
    if not any(c.results[1:]):
        return [values]
    return [values, c.named("max_pool_indices", x, **window, column_major=column_major, result=1)]


def max_unpool(c: Call) -> Node:
    """A shape that is given speaks of the images and the channels too."""
    x, indices = c.x(0), c.x(1)
    axes = spatial(c, x)
    kernel, strides, pads = numbers(c, "kernel_shape", axes, 1), numbers(c, "strides", axes, 1), explicit_pads(c, axes)
    shape = [] if c.maybe(2) is None else c.dims(2, "output shape")
    if shape and (len(shape) != axes + 2 or tuple(shape[:2]) != x.typed.shape[:2]):
        raise c.refuse(f"its output shape is {list(map(str, shape))} for an input of {x.type}; images and channels stay what they are")
    return c.named("max_unpool", x, indices, kernel=kernel, strides=strides, pads=pads, sizes=tuple(shape[2:]))


def global_pool(kind: str) -> Row:
    """Over all axes after the channels."""

    def row(c: Call) -> Node:
        return c.named(kind, c.x())

    return row


ROWS: dict[str, Row] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
    "AveragePool": avg_pool,
    "LpPool": lp_pool,
    "GlobalAveragePool": global_pool("global_avg_pool"),
    "GlobalMaxPool": global_pool("global_max_pool"),
}
