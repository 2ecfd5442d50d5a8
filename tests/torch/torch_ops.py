"""What PyTorch calls our ops: a function (op, *tensors) for each that it has with the same gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from convc.ir.graph import Graph

__all__ = ["TORCH", "evaluate"]

Tensor = torch.Tensor


def evaluate(graph: Graph, inputs: Mapping[str, Tensor]) -> Tensor | None:
    """The one output; None where an op is not in the table, or not in this form."""
    values: dict[Any, Tensor] = {}
    for node in graph.nodes:
        if node.name in inputs:
            values[node] = inputs[node.name]
        elif node.weights is not None:
            values[node] = torch.tensor(node.weights.wide())
        else:
            made = TORCH[node.kind.name](node.op, *(values[x] for x in node.inputs)) if node.kind.name in TORCH else None
            if made is None:
                return None
            values[node] = made
    return values[graph.outputs[0]]


def _spatial(pads: tuple[int, ...]) -> list[int]:
    """ONNX's pads as F.pad has them: the last axis first."""
    axes = len(pads) // 2
    return [pad for axis in reversed(range(axes)) for pad in (pads[axis], pads[axis + axes])]


def conv(op: Any, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    function = (F.conv1d, F.conv2d, F.conv3d)[x.ndim - 3]
    return function(F.pad(x, _spatial(op.pads)), w, b, op.strides, 0, op.dilations, op.groups)


def conv_transpose(op: Any, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor | None:
    axes = x.ndim - 2
    if any(extra >= max(s, d) for extra, s, d in zip(op.output_padding, op.strides, op.dilations, strict=True)):
        return None
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    whole = function(x, w, b, op.strides, 0, op.output_padding, op.groups, op.dilations)
    for axis in range(axes):
        size = whole.shape[2 + axis]
        whole = whole.narrow(2 + axis, op.pads[axis], size - op.pads[axis] - op.pads[axis + axes])
    return whole


def max_pool(op: Any, x: Tensor) -> Tensor | None:
    if op.ceil_mode:
        return None
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.ndim - 3]
    return function(F.pad(x, _spatial(op.pads), value=-math.inf), op.kernel, op.strides, 0, op.dilations)


def avg_pool(op: Any, x: Tensor) -> Tensor | None:
    axes = x.ndim - 2
    if (
        op.ceil_mode
        or max(op.dilations) > 1
        or op.pads[:axes] != op.pads[axes:]
        or any(p > k // 2 for p, k in zip(op.pads, op.kernel, strict=False))
    ):
        return None
    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    return function(x, op.kernel, op.strides, op.pads[:axes], count_include_pad=op.count_include_pad)


def batch_norm(op: Any, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    scale, shift, mean, var = (each.reshape(-1, *(1,) * (x.ndim - 2)) for each in (scale, shift, mean, var))
    return (x - mean) / torch.sqrt(var + op.epsilon) * scale + shift


def local_response_norm(op: Any, x: Tensor) -> Tensor | None:
    return F.local_response_norm(x, op.size, op.alpha, op.beta, op.bias) if op.size % 2 else None


def slice_(op: Any, x: Tensor) -> Tensor:
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, op.steps or (1,) * len(op.axes), strict=True):
        size = x.shape[axis]
        taken = range(size)[slice(start, None if step < 0 and end <= -(2**31) else end, step)]
        x = x.index_select(axis, torch.tensor(list(taken), dtype=torch.int64))
    return x


def pad(op: Any, x: Tensor) -> Tensor | None:
    return F.pad(x, _spatial(op.pads), value=op.value) if op.mode == "constant" else None


def resize(op: Any, x: Tensor) -> Tensor | None:
    """In two forms that PyTorch has too."""
    if op.antialias or op.exclude_outside or op.roi or op.policy != "stretch" or op.sizes or x.ndim != 4:
        return None
    if op.mode == "nearest" and op.coordinates == "asymmetric" and op.rounding == "floor":
        return F.interpolate(x, scale_factor=op.scales, mode="nearest")
    if op.mode == "bilinear" and op.coordinates == "half_pixel":
        return F.interpolate(x, scale_factor=op.scales, mode="bilinear", align_corners=False)
    return None


def _axes(op: Any, x: Tensor) -> tuple[int, ...]:
    return op.axes or tuple(range(x.ndim))


def _reduced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda op, x: function(x, _axes(op, x), op.keepdims)


def layer_norm(op: Any, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.layer_norm(x, x.shape[op.axis % x.ndim :], scale, bias, op.epsilon)


def depth_to_space(op: Any, x: Tensor) -> Tensor | None:
    return F.pixel_shuffle(x, op.block) if op.mode == "CRD" else None


def _one(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda op, x: function(x)


def _two(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda op, a, b: function(a, b)


def top_k(op: Any, x: Tensor) -> Tensor:
    return torch.topk(x, op.k, op.axis, op.largest).values


NAMED = ("relu", "sigmoid", "tanh", "exp", "log", "sqrt", "erf", "abs", "neg", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh")
NAMED += ("asinh", "acosh", "atanh")
TORCH: dict[str, Callable[..., Tensor | None]] = {
    **{name: _one(getattr(torch, name)) for name in NAMED},
    **{name: _two(getattr(torch, name)) for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "matmul")},
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), conv_transpose),
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "global_avg_pool": lambda op, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "global_max_pool": lambda op, x: (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[x.ndim - 3](x, 1),
    "batch_norm": batch_norm,
    "local_response_norm": local_response_norm,
    "instance_norm": lambda op, x, scale, bias: F.instance_norm(x, None, None, scale, bias, True, 0.0, op.epsilon),
    "group_norm": lambda op, x, scale, bias: F.group_norm(x, op.groups, scale, bias, op.epsilon),
    "layer_norm": layer_norm,
    "dense": lambda op, x, w, b=None: F.linear(x, w, b),
    "leaky_relu": lambda op, x: F.leaky_relu(x, op.alpha),
    "clip": lambda op, x: x.clamp(op.min, op.max),
    "softmax": lambda op, x: x.softmax(op.axis),
    "log_softmax": lambda op, x: x.log_softmax(op.axis),
    "elu": lambda op, x: F.elu(x, op.alpha),
    "hard_swish": lambda op, x: F.hardswish(x),
    "gelu": lambda op, x: F.gelu(x, approximate=op.approximate),
    "mish": lambda op, x: F.mish(x),
    "softplus": lambda op, x: F.softplus(x, threshold=1e4),
    "where": lambda op, c, a, b: torch.where(c, a, b),
    "greater": _two(torch.gt),
    "less": _two(torch.lt),
    "concat": lambda op, *xs: torch.cat(xs, op.axis),
    "slice": slice_,
    "pad": pad,
    "flatten": lambda op, x: x.reshape(math.prod(x.shape[: op.axis % (x.ndim + 1)] if op.axis >= 0 else x.shape[: op.axis]), -1),
    "reshape": lambda op, x: x.reshape([size if isinstance(size, int) else -1 for size in op.shape]),
    "transpose": lambda op, x: x.permute(op.perm),
    "tile": lambda op, x: x.repeat(op.repeats),
    "depth_to_space": depth_to_space,
    "cum_sum": lambda op, x: None if op.exclusive or op.reverse else x.cumsum(op.axis),
    "gather": lambda op, x, at: torch.stack([x.select(op.axis, int(i)) for i in at.ravel()], op.axis) if at.ndim == 1 else None,
    "gather_elements": lambda op, x, at: x.gather(op.axis, torch.where(at < 0, at + x.shape[op.axis], at).long()),
    "top_k_values": top_k,
    "reduce_sum": _reduced(torch.sum),
    "reduce_mean": _reduced(torch.mean),
    "reduce_max": _reduced(torch.amax),
    "reduce_min": _reduced(torch.amin),
    "reduce_l2": lambda op, x: torch.linalg.vector_norm(x, 2, _axes(op, x), op.keepdims),
    "reduce_l1": lambda op, x: torch.linalg.vector_norm(x, 1, _axes(op, x), op.keepdims),
    "reduce_log_sum_exp": _reduced(torch.logsumexp),
    "einsum": lambda op, *xs: torch.einsum(op.equation, *xs),
    "identity": lambda op, x: x.clone(),
    "dropout": lambda op, x: x.clone(),
    "resize": resize,
}
