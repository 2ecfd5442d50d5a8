"""Rows of sums named by letters, of what is read between the pixels, by the taps of a convolution too, and of boxes."""

from __future__ import annotations

from typing import Any

from ....ir.errors import UnsupportedOp
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import boxes, deform, einsum, sample
from .onnx_emitter import OnnxEmitter, OnnxRow, simple

__all__ = ["SAMPLED"]


def _grid_sample(node: Node, to: OnnxEmitter) -> None:
    """Modes have other names, and volumes a place, from opset 20 on."""
    op = sample.GRID_SAMPLE.of(node)
    if to.opset < 20 and node.typed.rank != 4:
        raise UnsupportedOp(f"{node.where}: a grid of three axes needs ONNX opset 20, not {to.opset}")
    mode = op.mode if to.opset >= 20 or op.mode == "nearest" else f"bi{op.mode}"
    to.node("GridSample", node, mode=mode, padding_mode=op.padding, align_corners=int(op.align_corners))


def _roi_align(node: Node, to: OnnxEmitter) -> None:
    """Before opset 16 pixels count from their corners."""
    op = sample.ROI_ALIGN.of(node)
    said: dict[str, Any] = {"output_height": op.size[0], "output_width": op.size[1], "sampling_ratio": op.ratio}
    said |= {"spatial_scale": op.scale, "mode": op.mode}
    if to.opset >= 16:
        said["coordinate_transformation_mode"] = "half_pixel" if op.half_pixel else "output_half_pixel"
    elif op.half_pixel:
        raise UnsupportedOp(f"{node.where}: half_pixel needs ONNX opset 16, not {to.opset}")
    to.node("RoiAlign", node, **said)


def _deform_conv(node: Node, to: OnnxEmitter) -> None:
    """An operand that is left out has an empty name."""
    op = deform.DEFORM_CONV2D.of(node)
    given = deform.given_operands(op, node.inputs[3:])
    names = [operand.name for operand in node.inputs[:3]] + [given[name].name if name in given else "" for name in deform.OPTIONAL]
    while not names[-1]:
        names.pop()
    window: dict[str, Any] = {"kernel_shape": node.inputs[1].typed.concrete()[2:], "strides": op.strides, "pads": op.pads}
    to.node("DeformConv", node, names, dilations=op.dilations, group=op.groups, offset_group=op.offset_groups, **window)


def _non_max_suppression(node: Node, to: OnnxEmitter) -> None:
    op = boxes.NON_MAX_SUPPRESSION.of(node)
    given = dict(zip(op.given, node.inputs[2:], strict=True))
    names = [operand.name for operand in node.inputs[:2]] + [given[name].name if name in given else "" for name in boxes.OPTIONAL]
    while not names[-1]:
        names.pop()
    to.node("NonMaxSuppression", node, names, center_point_box=int(op.center))


SAMPLED: dict[OpDef[Any], OnnxRow] = {
    einsum.EINSUM: simple("Einsum", lambda op: {"equation": op.equation}),
    deform.DEFORM_CONV2D: _deform_conv,
    sample.GRID_SAMPLE: _grid_sample,
    sample.ROI_ALIGN: _roi_align,
    boxes.NON_MAX_SUPPRESSION: _non_max_suppression,
}
