"""Rows that look at many values for one: normalizations, reductions, the greatest."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.graph import Node
from .call import Call, Row
from .pointwise import cast_to, number
from .shapes import axes_operand, axis_of

__all__ = ["ROWS"]


# --- normalizations --------------------------------------------------------------------------------------------------


def batch_norm(c: Call) -> Node | Sequence[Node | None]:
    """The inference form, or from opset 14 on that of training; before, more than one result meant it."""
    is_training = bool(c.attribute("training_mode", 0)) and c.opset >= 14
    if any(c.results[1:]) and not is_training:
        raise c.refuse("more results than one (training mode before opset 14); export the network in inference mode")
    if not c.attribute("spatial", 1):
        raise c.refuse("spatial=0, statistics for every position; only per channel can be compiled")
    epsilon = c.attribute("epsilon", 1e-5)
    return _of_the_batch(c, epsilon) if is_training else c.named("batch_norm", *(c.x(i) for i in range(5)), epsilon=epsilon)


def _of_the_batch(c: Call, epsilon: float) -> Sequence[Node | None]:
    """Mean and variance of the batch, and the means of those of many batches: `momentum` of the old one, the rest of the new one."""
    x, momentum = c.x(0), c.attribute("momentum", 0.9)
    if x.typed.rank < 2 or any(c.x(i).typed != c.x(1).typed for i in range(2, 5)) or c.x(1).typed.dtype != x.typed.dtype:
        raise c.refuse(f"its operands are {', '.join(str(c.x(i).type) for i in range(5))}; in training mode all must have one element type")
    axes, column = (0, *range(2, x.typed.rank)), (x.typed.shape[1], *(1,) * (x.typed.rank - 2))
    gain, shift = (c.named("reshape", c.x(i), shape=column, suffix=what) for i, what in ((1, "gain"), (2, "shift")))
    mean = c.named("reduce_mean", x, axes=axes, suffix="mean")
    centred = c.named("sub", x, mean, suffix="centred")
    variance = c.named("reduce_mean", c.named("mul", centred, centred, suffix="square"), axes=axes, suffix="variance")
    deviation = c.named("sqrt", c.named("add", variance, number(c, x, epsilon, "epsilon"), suffix="safe"), suffix="deviation")
    scaled = c.named("mul", c.named("div", centred, deviation, suffix="normed"), gain, suffix="scaled")
    found: list[Node | None] = [c.named("add", scaled, shift)]
    for i, (old, new, what) in enumerate(((c.x(3), mean, "means"), (c.x(4), variance, "variances")), 1):
        if not c.results[i:] or not c.results[i]:
            found.append(None)
            continue
        kept = c.named("mul", old, number(c, x, momentum, f"{what}_kept"), suffix=f"{what}_old")
        part = c.named("reshape", new, shape=x.typed.shape[1:2], suffix=f"{what}_flat")
        part = c.named("mul", part, number(c, x, 1 - momentum, f"{what}_rest"), suffix=f"{what}_new")
        found.append(c.named("add", kept, part, result=i))
    return found[: len(c.results)]


def local_response_norm(c: Call) -> Node:
    numbers = {"alpha": c.attribute("alpha", 1e-4), "beta": c.attribute("beta", 0.75), "bias": c.attribute("bias", 1.0)}
    return c.named("local_response_norm", c.x(), size=c.attribute("size", 0), **numbers)


def instance_norm(c: Call) -> Node:
    return c.named("instance_norm", c.x(0), c.x(1), c.x(2), epsilon=c.attribute("epsilon", 1e-5))


def layer_norm(c: Call) -> Sequence[Node | None]:
    """The mean, and one over the deviation, are results too where somebody reads them."""
    x, scale, bias = c.x(0), c.x(1), c.maybe(2)
    axis, epsilon = axis_of(c, c.attribute("axis", -1), x.typed.rank), c.attribute("epsilon", 1e-5)
    y = c.named("layer_norm", x, scale, *([] if bias is None else [bias]), axis=axis, epsilon=epsilon)
    if not any(c.results[1:]):
        return [y]
    axes = tuple(range(axis, x.typed.rank))
    _, mean_name, deviation_name = (*c.results, "", "")[:3]
    mean = c.named("reduce_mean", x, axes=axes, suffix="" if mean_name else "mean", result=1 if mean_name else 0)
    if not deviation_name:
        return [y, mean]
    centred = c.named("sub", x, mean, suffix="centred")
    variance = c.named("reduce_mean", c.named("mul", centred, centred, suffix="square"), axes=axes, suffix="variance")
    safe = c.named("add", variance, number(c, x, epsilon, "epsilon"), suffix="safe")
    inverse = c.named("div", number(c, x, 1, "one"), c.named("sqrt", safe, suffix="deviation"), result=2)
    return [y, mean if mean_name else None, inverse]


def group_norm(c: Call) -> Node:
    """Gain and shift are per channel; in opset 18 to 20 they were per group."""
    x, scale, bias = c.x(0), c.x(1), c.x(2)
    if x.typed.rank < 2:
        raise c.refuse(f"its operand is {x.typed}, which has no axis of channels")
    groups, channels = c.attribute("num_groups", 0), x.typed.shape[1]
    if not isinstance(channels, int) or groups < 1 or channels % groups:
        raise c.refuse(f"{channels} channels do not divide into {groups} groups")
    if c.opset < 21 and channels != groups:
        scale, bias = (_per_channel(c, value, groups, channels, what) for value, what in ((scale, "scale"), (bias, "bias")))
    return c.named("group_norm", x, scale, bias, groups=groups, epsilon=c.attribute("epsilon", 1e-5))


def _per_channel(c: Call, value: Node, groups: int, channels: int, what: str) -> Node:
    column = c.named("reshape", value, shape=(groups, 1), suffix=f"{what}_column")
    spread = c.named("expand", column, shape=(groups, channels // groups), suffix=f"{what}_spread")
    return c.named("reshape", spread, shape=(channels,), suffix=what)


# --- reductions ------------------------------------------------------------------------------------------------------


def reduced(c: Call, name: str, x: Node, since: int, suffix: str = "") -> Node:
    """Axes became an operand with some opset; none mean all, or with `noop_with_empty_axes` nothing."""
    axes = axes_operand(c, since) or []
    if x.typed.dtype == "bool":  # any and all, as the greatest and least of bytes: of none the least is not 0
        found = reduced(c, name, cast_to(c, x, "u8", "numbers"), since, "extreme")
        return c.named("cast", found, to="bool", suffix=suffix)
    if not axes and c.attribute("noop_with_empty_axes", 0):
        return c.named("identity", x, suffix=suffix)
    return c.named(name, x, axes=tuple(axes), keepdims=bool(c.attribute("keepdims", 1)), suffix=suffix)


def reduction(name: str, since: int = 18) -> Row:
    return lambda c: reduced(c, name, c.x(), since)


def length(name: str, along: str) -> Row:
    """`along` is what is left where nothing is reduced: a function of each element."""

    def row(c: Call) -> Node:
        x = c.x()
        if not axes_operand(c, 18) and c.attribute("noop_with_empty_axes", 0):
            c.attribute("keepdims", 1)
            return c.named("mul", x, x) if along == "mul" else c.named(along, x)
        return reduced(c, name, x, 18)

    return row


def lp_normalization(c: Call) -> Node:
    return c.named("lp_normalization", c.x(), axis=axis_of(c, c.attribute("axis", -1), c.x().typed.rank), p=c.attribute("p", 2))


def mean_variance_norm(c: Call) -> Node:
    return c.named("mean_variance_norm", c.x(), axes=tuple(c.attribute("axes", [0, 2, 3])))


def arg(name: str) -> Row:
    def row(c: Call) -> Node:
        last = bool(c.attribute("select_last_index", 0))
        axis = axis_of(c, c.attribute("axis", 0), c.x().typed.rank)
        return c.named(name, c.x(), axis=axis, keepdims=bool(c.attribute("keepdims", 1)), select_last_index=last)

    return row


def top_k(c: Call) -> Sequence[Node | None]:
    """Two results, two nodes."""
    x = c.x()
    k = c.attribute("k", 0) if c.opset < 10 else int(c.scalar(1, "k"))
    axis, largest = axis_of(c, c.attribute("axis", -1), x.typed.rank), bool(c.attribute("largest", 1))
    kinds = ("top_k_values", "top_k_indices")
    return [
        c.named(kind, x, k=k, axis=axis, largest=largest, result=i) if c.results[i] else None
        for i, kind in enumerate(kinds[: len(c.results)])
    ]


ROWS: dict[str, Row] = {
    "BatchNormalization": batch_norm,
    "LRN": local_response_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "ReduceMean": reduction("reduce_mean"),
    "ReduceMax": reduction("reduce_max"),
    "ReduceMin": reduction("reduce_min"),
    "ReduceProd": reduction("reduce_prod"),
    "ReduceSum": reduction("reduce_sum", since=13),
    "ReduceL1": length("reduce_l1", "abs"),
    "ReduceL2": length("reduce_l2", "abs"),
    "ReduceSumSquare": length("reduce_sum_square", "mul"),
    "ReduceLogSum": length("reduce_log_sum", "log"),
    "ReduceLogSumExp": length("reduce_log_sum_exp", "identity"),
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_norm,
    "ArgMax": arg("arg_max"),
    "ArgMin": arg("arg_min"),
    "TopK": top_k,
}
