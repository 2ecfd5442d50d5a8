"""Norms: by statistics that are stored, by a value's own, or by its neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim
from ...ir.errors import ShapeError
from ...ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM, GroupNorm, InstanceNorm, LayerNorm
from ...ir.ops.norm import BATCH_NORM, LOCAL_RESPONSE_NORM, BatchNorm, LocalResponseNorm
from .trace import Value
from .user_line import naming_line

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm"]


def batch_norm(x: Value, epsilon: float = 1e-5, gain: str = "around_one", name: str = "") -> Value:
    """Normalization of each channel by stored statistics; `gain` is how random scales are drawn. Shapes: as x. Ioffe & Szegedy 2015.

    `epsilon` is added to the variance; `name` is the layer's, else the next of its kind.
    """
    layer = x.trace.layer_name("bn", name)
    inits = {"scale": gain, "shift": "small", "mean": "small", "var": "around_one"}
    stats = [x.param(f"{layer}.{stat}", (x.channels,), init) for stat, init in inits.items()]
    return x.trace.emit(BATCH_NORM, BatchNorm(epsilon), (x, *stats), layer)


def instance_norm(x: Value, epsilon: float = 1e-5, name: str = "") -> Value:
    """Normalization of each channel of each image by its own mean and variance. Shapes: as x. Ulyanov et al. 2016.

    `epsilon` and `name` are those of `batch_norm`.
    """
    layer = x.trace.layer_name("in", name)
    return x.trace.emit(INSTANCE_NORM, InstanceNorm(epsilon), (x, *_scale_and_bias(x, layer, (x.channels,))), layer)


def group_norm(x: Value, groups: int = 32, epsilon: float = 1e-5, name: str = "") -> Value:
    """Normalization of `groups` equal ranges of channels; 32 is the paper's. Shapes: as x. Wu & He 2018.

    `epsilon` and `name` are those of `batch_norm`.
    """
    layer = x.trace.layer_name("gn", name)
    return x.trace.emit(GROUP_NORM, GroupNorm(groups, epsilon), (x, *_scale_and_bias(x, layer, (x.channels,))), layer)


def layer_norm(x: Value, axis: int = -1, epsilon: float = 1e-5, bias: bool = True, name: str = "") -> Value:
    """Normalization over the axes from `axis` on. Shapes: as x. Ba et al. 2016.

    `bias` says whether it has one beside its scale; `epsilon` and `name` are those of `batch_norm`.

    Raises: ShapeError, with the user's line, for an axis that x does not have or whose size is only a name.
    """
    if not -x.rank <= axis < x.rank:
        raise ShapeError(naming_line(f"axis {axis} is outside the {x.rank} axes of {x.node.where}"))
    layer = x.trace.layer_name("ln", name)
    scale, *shift = _scale_and_bias(x, layer, x.shape[axis:], bias=bias)
    return x.trace.emit(LAYER_NORM, LayerNorm(axis, epsilon), (x, scale, *shift), layer)


def local_response_norm(x: Value, size: int = 5, alpha: float = 5e-4, beta: float = 0.75, bias: float = 2.0) -> Value:
    """x / (bias + alpha / size * s) ** beta, where s sums the squares of `size` neighbouring channels. Shapes: as x.

    The defaults are AlexNet's: its alpha of 1e-4 is not divided by the size. Krizhevsky 2012, sec. 3.3.
    """
    return x.trace.emit(LOCAL_RESPONSE_NORM, LocalResponseNorm(size, alpha, beta, bias), (x,))


def _scale_and_bias(x: Value, layer: str, shape: Sequence[Dim], *, bias: bool = True) -> list[Value]:
    sizes = tuple(size for size in shape if isinstance(size, int))
    if len(sizes) != len(shape):
        raise ShapeError(naming_line(f"{x.node.where} is {x.node.type}; the normalized axes need sizes in numbers"))
    scale = x.param(f"{layer}.scale", sizes, "around_one")
    return [scale, x.param(f"{layer}.bias", sizes, "small")] if bias else [scale]
