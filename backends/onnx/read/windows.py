"""Rows with a window: convolutions and pools. One spatial axis is read as two, the first of size 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.dims import Dim
from ....ir.errors import InvalidModel
from ....ir.graph import Node
from ....ir.ops import OPS
from ....ir.ops.window import Pads, dilated
from .call import Call, Row

__all__ = ["ROWS"]


def spatial(c: Call, x: Node) -> int:
    """The number of spatial axes, one or two."""
    axes = x.typed.rank - 2
    if axes not in (1, 2):
        raise c.refuse(f"its input is {x.type}; convc computes windows over one or two axes")
    return axes


def numbers(c: Call, name: str, axes: int, default: int) -> tuple[int, ...]:
    """A list attribute with a value for each spatial axis; in front of a single axis stands the default."""
    values: list[int] = c.attribute(name, [default] * axes)
    if len(values) != axes:
        raise c.refuse(f"attribute '{name}' is {values}, expected {axes} values")
    return (default, *values) if axes == 1 else tuple(values)


def explicit_pads(c: Call, axes: int) -> Pads:
    pads: list[int] = c.attribute("pads", [0] * (2 * axes))
    if len(pads) != 2 * axes:
        raise c.refuse(f"attribute 'pads' is {pads}, expected {2 * axes} values")
    return (0, pads[0], 0, pads[1]) if axes == 1 else (pads[0], pads[1], pads[2], pads[3])


def lifted(c: Call, x: Node, suffix: str = "rows") -> Node:
    """[N,C,L] as [N,C,1,L]."""
    return c.named("reshape", x, shape=(*x.typed.shape[:2], 1, *x.typed.shape[2:]), suffix=suffix) if x.typed.rank == 3 else x


def lowered(c: Call, kind: str, op: Any, axes: int, *operands: Node) -> Node:
    """The op on two axes, and back to as many as there were."""
    if axes == 2:
        return c.make(kind, op, *operands)
    y = c.make(kind, op, *operands, suffix=kind)
    return c.named("reshape", y, shape=(*y.typed.shape[:2], y.typed.shape[3]))


def window_pads(c: Call, x: Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], axes: int) -> Pads:
    """Pads as written, or as `auto_pad` asks: SAME gives ceil(size / stride) windows."""
    auto = c.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return explicit_pads(c, axes)
    if auto == "VALID":
        return 0, 0, 0, 0
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise c.refuse(f"auto_pad '{auto}' is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    before, after = [0, 0], [0, 0]
    for axis in (0, 1):
        total = _same(c, x.typed.shape[2 + axis], dilated(kernel[axis], dilations[axis]), strides[axis])
        small = total // 2
        before[axis], after[axis] = (small, total - small) if auto == "SAME_UPPER" else (total - small, small)
    return before[0], before[1], after[0], after[1]


def _same(c: Call, size: Dim, extent: int, stride: int) -> int:
    total = ((size + (stride - 1)) // stride - 1) * stride + extent - size
    if isinstance(total, int):
        return max(total, 0)
    raise c.refuse(
        f"auto_pad with stride {stride} depends on the named size {size}; give it a value, or a multiple such as {stride}*H, with --input"
    )


def _kernel(c: Call, w: Node, axes: int) -> tuple[int, ...]:
    """The weight's own kernel, which an attribute may only repeat."""
    kernel = w.typed.concrete()[2:]
    if len(kernel) != axes:
        raise c.refuse(f"its weight is {w.type}, expected {axes + 2} axes")
    written = c.attribute("kernel_shape", list(kernel))
    if tuple(written) != kernel:
        raise c.refuse(f"kernel_shape is {written}, but the weight is {w.type}")
    return (1, *kernel) if axes == 1 else kernel


def conv(c: Call) -> Node:
    x, w, b = c.x(0), c.x(1), c.maybe(2)
    axes = spatial(c, x)
    kernel = _kernel(c, w, axes)
    strides, dilations = numbers(c, "strides", axes, 1), numbers(c, "dilations", axes, 1)
    x = lifted(c, x)
    pads = window_pads(c, x, kernel, strides, dilations, axes)
    op = _record("conv2d", strides=strides, pads=pads, dilations=dilations, groups=c.attribute("group", 1))
    return lowered(c, "conv2d", op, axes, x, lifted(c, w, "kernel"), *([] if b is None else [b]))


def conv_transpose(c: Call) -> Node:
    """`output_shape` asks for a size, from which the pads follow. ONNX ConvTranspose-11."""
    x, w, b = c.x(0), c.x(1), c.maybe(2)
    axes = spatial(c, x)
    kernel = _kernel(c, w, axes)
    strides, dilations = numbers(c, "strides", axes, 1), numbers(c, "dilations", axes, 1)
    extra = list(numbers(c, "output_padding", axes, 0))
    x = lifted(c, x)
    auto, wanted = c.attribute("auto_pad", "NOTSET"), c.attribute("output_shape", list[int]())
    if wanted and len(wanted) not in (axes, axes + 2):
        raise InvalidModel(f"{c.where}: output_shape is {wanted}; one size for each of {axes} axes was expected")
    if wanted or auto.startswith("SAME"):
        pads = _transposed_pads(c, x, kernel, strides, dilations, extra, _wanted_sizes(x, wanted, strides, axes))
    else:
        pads = (0, 0, 0, 0) if auto == "VALID" else explicit_pads(c, axes)
    op = _record(
        "conv_transpose2d", strides=strides, pads=pads, dilations=dilations, groups=c.attribute("group", 1), output_padding=tuple(extra)
    )
    return lowered(c, "conv_transpose2d", op, axes, x, lifted(c, w, "kernel"), *([] if b is None else [b]))


def _wanted_sizes(x: Node, wanted: list[int], strides: Sequence[int], axes: int) -> list[Dim]:
    if wanted:
        sizes: list[Dim] = list(wanted[-axes:])  # some exporters write the batch and the channels too
        return [1, *sizes] if axes == 1 else sizes
    return [size * stride for size, stride in zip(x.typed.shape[2:], strides, strict=True)]


def _transposed_pads(
    c: Call, x: Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], extra: list[int], sizes: list[Dim]
) -> Pads:
    """Pads that give `sizes`; where even none crop too much, `extra` (output_padding) grows."""
    before, after = [0, 0], [0, 0]
    for axis in (0, 1):
        size = x.typed.shape[2 + axis]
        total = (size - 1) * strides[axis] + extra[axis] + dilated(kernel[axis], dilations[axis]) - sizes[axis]
        if not isinstance(total, int):
            raise c.refuse(f"its pads depend on the named size {size}; give it a value with --input")
        if total < 0:
            extra[axis], total = extra[axis] - total, 0
        small = total // 2
        upper = c.attribute("auto_pad", "NOTSET") == "SAME_UPPER"
        before[axis], after[axis] = (small, total - small) if upper else (total - small, small)
    return before[0], before[1], after[0], after[1]


def pool(kind: str) -> Row:
    def row(c: Call) -> Node:
        if any(c.results[1:]):
            raise c.refuse("the positions of the greatest values are asked for too; only the values can be computed")
        x, dtype = c.x(), c.x().typed.dtype
        axes = spatial(c, x)
        if kind == "max_pool" and dtype in ("i8", "u8"):  # a byte is the same number in float32
            pooled = row(c.on([c.named("cast", x, to="f32", suffix="wide")], "pooled"))
            return c.named("cast", pooled, to=dtype)
        kernel = numbers(c, "kernel_shape", axes, 1)
        strides, dilations = numbers(c, "strides", axes, 1), numbers(c, "dilations", axes, 1)
        x = lifted(c, x)
        attributes: dict[str, Any] = {
            "kernel": kernel,
            "strides": strides,
            "dilations": dilations,
            "ceil_mode": bool(c.attribute("ceil_mode", 0)),
        }
        attributes["pads"] = window_pads(c, x, kernel, strides, dilations, axes)
        if kind == "avg_pool":
            attributes["count_include_pad"] = bool(c.attribute("count_include_pad", 0))
        return lowered(c, kind, _record(kind, **attributes), axes, x)

    return row


def global_pool(kind: str, reduction: str) -> Row:
    """Over all axes after the channels; other than two of them are a reduction."""

    def row(c: Call) -> Node:
        x = c.x()
        if x.typed.rank == 4:
            return c.named(kind, x)
        return c.named(reduction, x, axes=tuple(range(2, x.typed.rank)), keepdims=True)

    return row


def _record(kind: str, **attributes: Any) -> Any:
    return OPS[kind].Attrs(**attributes)


ROWS: dict[str, Row] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": pool("max_pool"),
    "AveragePool": pool("avg_pool"),
    "GlobalAveragePool": global_pool("global_avg_pool", "reduce_mean"),
    "GlobalMaxPool": global_pool("global_max_pool", "reduce_max"),
}
