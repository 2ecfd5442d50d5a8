"""Float32 among 16 bits: what is computed so for its sums or its digits, as norms and averages are, stays in the layout all the same.

    cast to f32, batch norm, relu, avg pool, cast to f16    as   one kernel from f16 to f32, and one from f32 to f16

A kernel computes in float32 inside, so a cast before it, and one after it, is how it reads and stores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.activation import LOG_SOFTMAX, SOFTMAX
from ....ir.ops.elementwise import CAST
from ....ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM
from ....ir.ops.norm import BATCH_NORM, LOCAL_RESPONSE_NORM
from ....ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL
from ....ir.ops.resize import RESIZE
from ....ir.ops.shape import FLATTEN, TRANSPOSE
from ....ir.types import DTYPES, HALVES
from ..cpu.work import Followers, batch_of, only_reader
from .casts import widened
from .kernels.epilogue import GPU_STEPS
from .kernels.layout import Stored
from .kernels.pointwise import gpu_pointwise
from .move_rules import one_pixel, softmax_of
from .norm_rules import channel_norm, group_norm_of
from .rules import average_of, batch_norm_of, global_pool_of, greatest_of, resize_of, response_norm_of
from .work import Around, GpuWork, element_of, following, gpu_step_of, image_of

__all__ = ["in_float32", "is_read_narrow"]

Maker = Callable[[Around, Node, Followers], GpuWork | None]  # of the value it reads, and of what it covers with the steps after it


def is_read_narrow(around: Around, node: Node) -> bool:
    """Whether nobody needs a value that was widened: what reads it computes in float32 of the value before."""
    readers = around.graph.readers[node]
    return widened(node) is not None and node not in around.graph.outputs and all(in_float32(around, reader) for reader in readers)


def in_float32(around: Around, node: Node) -> GpuWork | None:
    """The kernel that computes in float32 of a value in the layout, of 16 bits or of float32 that another such kernel left. It takes in the
    cast to 16 bits that follows.
    """
    maker, x = WIDE.get(node.kind), _laid(around, node)
    if node.kind is TRANSPOSE and x is not None and node.typed.dtype == "f32":
        return channel_norm(around, node, x)
    if maker is None or x is None or node.typed.dtype != "f32" or not around.may_stay(node):
        return None
    chain, steps, others = _following(around, node, x) if node.kind in STEPPED else ((node,), (), ())
    after = only_reader(around.graph, chain[-1])
    if after is not None and after.kind is CAST and after.typed.dtype in HALVES and around.may_pad(after):
        more = _following(around, after, x) if node.kind in STEPPED and not steps else ((after,), (), ())
        chain, steps, others = (*chain, *more[0]), (*steps, *more[1]), (*others, *more[2])
    work = maker(around, x, (chain, steps, others))
    if work is None or not work.is_laid or chain[-1].typed.dtype == x.typed.dtype:
        return work
    return replace(work, kernel=work.kernel.storing(Stored(DTYPES[chain[-1].typed.dtype].name)))


def _following(around: Around, node: Node, x: Node) -> Followers:
    """As `following`: what steps read is of the type of `x`, or there are none."""
    found = following(around, node)
    return found if all(other.typed.dtype == x.typed.dtype for other in found[2]) else ((node,), (), ())


def _laid(around: Around, node: Node) -> Node | None:
    """What lies in the layout and is read by a node, as it is or as what its operand was widened from."""
    x, *_ = node.inputs or (None,)
    if x is None or "f32" in around.types:
        return None  # where float32 lies so by itself
    return next((each for each in (widened(x), x) if each in around.padded), None)


def _steps(around: Around, x: Node, covered: Followers) -> GpuWork | None:
    """An operation on each element, and those after it: where float32 goes in or 16 bits come out, not where it leaves the layout next."""
    (node, *chain), steps, others = covered
    if x.typed.dtype in HALVES and covered[0][-1].typed.dtype not in HALVES:
        return None
    first = gpu_step_of(around, node, node.inputs[0])
    if first is None or (first.reads and x is not node.inputs[0]):
        return None
    kernel = gpu_pointwise.of(batch_of(x), image_of(x), element_of(x).dtype, (first, *steps))
    return GpuWork((node, *chain), kernel, (x,), others=(*node.inputs[1:], *others))


def _pixel(around: Around, x: Node, covered: Followers) -> GpuWork | None:
    (node, *rest), *_ = covered
    return None if rest or x.type != node.inputs[0].type else one_pixel(x, node)


STEPPED = frozenset({BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, AVG_POOL, MAX_POOL, *GPU_STEPS})
WIDE: dict[OpDef[Any], Maker] = {
    AVG_POOL: lambda around, x, covered: average_of(x, covered),
    MAX_POOL: lambda around, x, covered: greatest_of(x, covered),
    GLOBAL_AVG_POOL: lambda around, x, covered: global_pool_of(x, covered[0]),
    GLOBAL_MAX_POOL: lambda around, x, covered: global_pool_of(x, covered[0]),
    LOCAL_RESPONSE_NORM: lambda around, x, covered: response_norm_of(x, covered[0]),
    BATCH_NORM: lambda around, x, covered: batch_norm_of(x, covered),
    **dict.fromkeys((GROUP_NORM, INSTANCE_NORM, LAYER_NORM), lambda around, x, covered: group_norm_of(x, covered)),
    RESIZE: lambda around, x, covered: resize_of(x, covered[0]),
    SOFTMAX: lambda around, x, covered: softmax_of(around, x, covered[0]),
    LOG_SOFTMAX: lambda around, x, covered: softmax_of(around, x, covered[0]),
    FLATTEN: _pixel,
    **dict.fromkeys(GPU_STEPS, _steps),
}
