"""Other engines to measure convc against, each with its own optimizations on. None of them needs to be installed."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...ir.errors import BackendMissing, UnsupportedOp
from ...ir.graph import Graph, Node
from ...ir.op import OpDef
from ...ir.ops.activation import CLIP, DROPOUT, LEAKY_RELU, RELU, SIGMOID, SOFTMAX, TANH
from ...ir.ops.activation_variants import HARD_SIGMOID, HARD_SWISH
from ...ir.ops.conv import CONVS
from ...ir.ops.elementwise import ADD, IDENTITY, MUL, SUB
from ...ir.ops.linear import DENSE
from ...ir.ops.norm import BATCH_NORM, LOCAL_RESPONSE_NORM
from ...ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL
from ...ir.ops.resize import RESIZE, is_plain
from ...ir.ops.shape import CONCAT, FLATTEN, PAD, RESHAPE, SLICE
from ...ir.ops.window import Borders, PerAxis
from ...ir.types import Array
from ...ir.version import release
from .engine import Engine, Run, Start, capture_by, one_by_one, opened_by
from .onnxruntime import ONNXRUNTIME

__all__ = ["PEERS", "installed_peers", "torch_module"]


def _start_openvino(graph: Graph, threads: int | None) -> Run:
    """Raises: BackendMissing where openvino is not installed."""
    openvino = _package("openvino")
    from ...backends.onnx.write.export import to_model

    core: Any = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    settings |= {"INFERENCE_NUM_THREADS": str(threads)} if threads else {}
    compiled: Any = core.compile_model(core.read_model(to_model(graph).SerializeToString()), "CPU", settings)
    requests = threading.local()  # of which each does one run at a time

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        results: Any = requests.own.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {node.name: results[i] for i, node in enumerate(graph.outputs)}

    return run


def _start_torch(graph: Graph, threads: int | None) -> Run:
    """torch.compile with weights frozen, on a module whose calls are our ops. Sizes must be numbers.

    Raises: BackendMissing where torch is not installed; as `torch_module`.
    """
    torch = _package("torch")
    if threads:
        torch.set_num_threads(threads)
    compiled: Any = torch.compile(torch_module(torch, graph).eval(), options={"freezing": True})

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.no_grad():
            results: Any = compiled(*(torch.from_numpy(inputs[node.name]) for node in graph.inputs))
        return {node.name: result.numpy() for node, result in zip(graph.outputs, results, strict=True)}

    return run


def torch_module(torch: Any, graph: Graph) -> Any:
    """A module of torch's that computes a graph, weights as buffers; it takes and returns tensors in the graph's order.

    Raises: UnsupportedOp for a node without a row here.
    """
    root, calls = torch.nn.Module(), torch.fx.Graph()
    tracer = torch.fx.proxy.GraphAppendingTracer(calls)
    values: dict[Node, Any] = {node: torch.fx.Proxy(calls.placeholder(f"input{i}"), tracer) for i, node in enumerate(graph.inputs)}
    for i, node in enumerate(graph.params):
        assert node.weights is not None
        root.register_buffer(f"param{i}", torch.from_numpy(np.array(node.weights.drawn())))
        values[node] = torch.fx.Proxy(calls.get_attr(f"param{i}"), tracer)
    for node in graph.ops:
        if node.kind not in WORDS:
            raise UnsupportedOp(f"{node.where} has no row for torch in compiler/engines/peers.py")
        values[node] = WORDS[node.kind](torch, node, [values[operand] for operand in node.inputs])
    calls.output(tuple(values[node].node for node in graph.outputs))
    return torch.fx.GraphModule(root, calls)


# --- torch's words for our ops: (torch, node, operands) -> value ------------------------------------------------------


def _padding(torch: Any, x: Any, pads: Borders, fill: float = 0.0, most: PerAxis = ()) -> tuple[Any, PerAxis]:
    """What a window takes as padding itself: the same before and after, `most` at most; else a padded copy."""
    axes = len(pads) // 2
    before, after = pads[:axes], pads[axes:]
    if before == after and all(pad <= limit for pad, limit in zip(before, most or before, strict=True)):
        return x, before
    ends = [pads[axis + side] for axis in reversed(range(axes)) for side in (0, axes)]
    return torch.nn.functional.pad(x, ends, value=fill), (0,) * axes


def _conv(torch: Any, node: Node, operands: Sequence[Any]) -> Any:
    op, (x, w, *bias) = node.op, operands
    x, padding = _padding(torch, x, op.pads)
    conv = getattr(torch.nn.functional, node.kind.name)
    return conv(x, w, bias[0] if bias else None, op.strides, padding, op.dilations, op.groups)


def _max_pool(torch: Any, node: Node, operands: Sequence[Any]) -> Any:
    op, (x,) = node.op, operands
    x, padding = _padding(torch, x, op.pads, -np.inf, tuple(size // 2 for size in op.kernel))
    _need(node, not op.ceil_mode or any(padding) or not any(op.pads), "ceil_mode beside uneven pads")
    pool = getattr(torch.nn.functional, f"max_pool{len(op.kernel)}d")
    return pool(x, op.kernel, op.strides, padding, op.dilations, op.ceil_mode)


def _avg_pool(torch: Any, node: Node, operands: Sequence[Any]) -> Any:
    op, (x,) = node.op, operands
    x, padding = _padding(torch, x, op.pads, 0.0, tuple(size // 2 for size in op.kernel))
    _need(node, max(op.dilations) == 1 and (any(padding) or not any(op.pads)), "dilations or uneven pads of an average")
    pool = getattr(torch.nn.functional, f"avg_pool{len(op.kernel)}d")
    return pool(x, op.kernel, op.strides, padding, op.ceil_mode, op.count_include_pad)


def _batch_norm(torch: Any, node: Node, operands: Sequence[Any]) -> Any:
    x, scale, shift, mean, var = operands
    return torch.nn.functional.batch_norm(x, mean, var, scale, shift, False, 0.0, node.op.epsilon)


def _slice(torch: Any, node: Node, operands: Sequence[Any]) -> Any:
    op, (x,) = node.op, operands
    steps = op.steps or (1,) * len(op.axes)
    _need(node, min(steps) > 0, "steps backwards")
    places = [slice(None)] * node.typed.rank
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, steps, strict=True):
        places[axis] = slice(start, end, step)
    return x[tuple(places)]


def _pad(torch: Any, node: Node, operands: Sequence[Any]) -> Any:
    pads, rank = node.op.pads, node.typed.rank
    _need(node, node.op.mode == "constant", f"pads of mode {node.op.mode}")
    return torch.nn.functional.pad(
        operands[0], [pads[axis + side] for axis in reversed(range(rank)) for side in (0, rank)], value=node.op.value
    )


def _resize(torch: Any, node: Node, operands: Sequence[Any]) -> Any:
    """Nearest where every scale is a whole number, so that no rounding decides; linear in the two forms that torch has."""
    op, sizes = node.op, node.typed.concrete()[2:]
    _need(node, is_plain(op), "filters, policies and crops of a resize")
    have = node.inputs[0].typed.concrete()[2:]
    is_whole = all(size % old == 0 for size, old in zip(sizes, have, strict=True))
    if op.mode == "nearest" and is_whole and op.coordinates in ("half_pixel", "asymmetric"):
        _need(node, op.coordinates == "half_pixel" or op.rounding == "floor", f"{op.coordinates} with {op.rounding}")
        return torch.nn.functional.interpolate(operands[0], sizes, mode="nearest")
    _need(node, op.mode == "bilinear" and op.coordinates in ("half_pixel", "align_corners"), f"{op.mode} with {op.coordinates}")
    mode = ("linear", "bilinear", "trilinear")[len(sizes) - 1]
    return torch.nn.functional.interpolate(operands[0], sizes, mode=mode, align_corners=op.coordinates == "align_corners")


def _need(node: Node, holds: bool, what: str) -> None:
    if not holds:
        raise UnsupportedOp(f"{node.where}: compiler/engines/peers.py does not know {what} in torch's words")


WORDS: dict[OpDef[Any], Callable[[Any, Node, Sequence[Any]], Any]] = {
    **dict.fromkeys(CONVS, _conv),
    DENSE: lambda torch, node, xs: torch.nn.functional.linear(*xs),
    MAX_POOL: _max_pool,
    AVG_POOL: _avg_pool,
    GLOBAL_AVG_POOL: lambda torch, node, xs: xs[0].mean(tuple(range(2, node.typed.rank)), keepdim=True),
    GLOBAL_MAX_POOL: lambda torch, node, xs: xs[0].amax(tuple(range(2, node.typed.rank)), keepdim=True),
    BATCH_NORM: _batch_norm,
    LOCAL_RESPONSE_NORM: lambda torch, node, xs: torch.nn.functional.local_response_norm(
        xs[0], node.op.size, node.op.alpha, node.op.beta, node.op.bias
    ),
    RELU: lambda torch, node, xs: torch.relu(xs[0]),
    CLIP: lambda torch, node, xs: torch.clamp(xs[0], node.op.min, node.op.max),
    LEAKY_RELU: lambda torch, node, xs: torch.nn.functional.leaky_relu(xs[0], node.op.alpha),
    SIGMOID: lambda torch, node, xs: torch.sigmoid(xs[0]),
    TANH: lambda torch, node, xs: torch.tanh(xs[0]),
    HARD_SIGMOID: lambda torch, node, xs: torch.clamp(xs[0] * node.op.alpha + node.op.beta, 0.0, 1.0),
    HARD_SWISH: lambda torch, node, xs: torch.nn.functional.hardswish(xs[0]),
    SOFTMAX: lambda torch, node, xs: torch.softmax(xs[0], node.op.axis),
    ADD: lambda torch, node, xs: xs[0] + xs[1],
    SUB: lambda torch, node, xs: xs[0] - xs[1],
    MUL: lambda torch, node, xs: xs[0] * xs[1],
    CONCAT: lambda torch, node, xs: torch.cat(xs, node.op.axis),
    SLICE: _slice,
    PAD: _pad,
    RESIZE: _resize,
    FLATTEN: lambda torch, node, xs: xs[0].reshape(node.typed.concrete()),
    RESHAPE: lambda torch, node, xs: xs[0].reshape(node.typed.concrete()),
    DROPOUT: lambda torch, node, xs: xs[0],
    IDENTITY: lambda torch, node, xs: xs[0],
}


def _peer(name: str, about: str, start: Start) -> Engine:
    """By the name of its package. What it computes at once, nobody has asked; passes decide as for a file."""
    return Engine(
        name=name,
        about=about,
        start=start,
        open=opened_by(start),
        capture=capture_by(start),
        kernels=one_by_one,
        prices=ONNXRUNTIME.prices,
        word=lambda: f"{name} {release(name)}",
    )


PEERS = {
    peer.name: peer
    for peer in (
        _peer("openvino", "OpenVINO on the exported ONNX model", _start_openvino),
        _peer("torch", "torch.compile on the same calls", _start_torch),
    )
}


def installed_peers() -> list[str]:
    return [name for name in PEERS if importlib.util.find_spec(name) is not None]


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise BackendMissing(f"{name} cannot be imported ({error}); pip install {name}") from error
