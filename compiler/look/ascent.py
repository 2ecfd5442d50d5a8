"""What a unit or a class would like to see: gradient ascent on the picture itself. Simonyan et al. 2014, sec. 2.

One step is a graph: the picture, the rate and how much to blur in; the unit's value and the next picture out. Against the noise that
networks answer to stand the L2 decay of that paper and the blur of Yosinski et al. 2015, sec. 3.1, which fades as the climb goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...ir.gradient import NodeMaker
from ...ir.graph import Graph, Node
from ...ir.ops.leaf import INPUT, Input
from ...ir.progress import each
from ...ir.types import Array, TensorType
from .backward import GRADIENT, came_back, ending
from .units import image_of, layer_named, need_unit

__all__ = ["Climb", "ascent_step", "climb"]

DECAY = 0.01  # of the picture a step, where the rate is 1
BINOMIAL = (1 / 4, 1 / 2, 1 / 4)  # a blur of three pixels
LEAST = 1e-12  # of a mean square: a gradient of nothing moves nothing


def ascent_step(graph: Graph, layer: str, unit: int, decay: float = DECAY) -> Graph:
    """One step up: next = blurred(image + rate * (gradient / its root mean square - decay * image)), for each picture of a batch. `graph`
    takes one picture; `unit` is a channel of its value `layer`, from 0.

    Inputs: the picture, `rate` and `blur`, one number each, of which the last is the share of the blurred picture. It gives
    `unit`, the mean of the unit's map [N,1], and `<image>.next`.

    Source: Simonyan et al. 2014, sec. 2; Yosinski et al. 2015, sec. 3.1. Raises: UsageError as `input_gradient`.
    """
    image, node = image_of(graph), layer_named(graph, layer)
    need_unit(node, unit)
    names = {each.name for each in graph.nodes}
    maker = NodeMaker([*names, "unit", "rate", "blur", f"{image.name}.next"])
    maker.way = "ascent"
    maker.at = node
    number = TensorType(image.typed.dtype, ())
    rate, blur = (Node(name if name not in names else f"{name}_1", INPUT, Input(), (), number) for name in ("rate", "blur"))
    value = maker.term(node).cut(1, unit, unit + 1)
    spatial = tuple(range(2, value.rank))
    value = value.mean(*spatial) if spatial else value
    seed = value.full(value.shape, 1)
    before = Graph.of(graph.name, graph.inputs, [value.value, seed.value], [*graph.nodes, *maker.made])
    slope = came_back(before, value.value, seed, image, maker, GRADIENT.rules)
    maker.at = image
    x = maker.term(image)
    size = (slope * slope).mean(1, 2, 3, keepdims=True) + LEAST
    moved = x + maker.term(rate) * (slope / size.op("sqrt") - x * decay)
    channels = x.shape[1]
    assert isinstance(channels, int)
    kernel = np.tile(np.outer(BINOMIAL, BINOMIAL), (channels, 1, 1, 1))
    blurred = moved.op("pad", pads=(0, 0, 1, 1, 0, 0, 1, 1), mode="edge").op(
        "conv2d", moved.table((channels, 1, 3, 3), lambda: kernel), groups=channels
    )
    following = moved + maker.term(blur) * (blurred - moved)
    order = [*before.nodes, rate, blur, *maker.made]
    return ending(f"{graph.name}_ascent", (image, rate, blur), {"unit": value.value, f"{image.name}.next": following.value}, order)


@dataclass(frozen=True, eq=False)
class Climb:
    """Where it led: the picture [1,C,H,W], and the unit's value before each step and at the end."""

    picture: Array
    values: tuple[float, ...]


def climb(
    step: Callable[[dict[str, Array]], dict[str, Array]],
    graph: Graph,
    start: Array,
    low: Array,
    high: Array,
    steps: int,
    rate: float,
) -> Climb:
    """`steps` steps of an `ascent_step` graph from `start`, kept between the darkest and the brightest pixel, [C,1,1] each."""
    image, rate_name, blur_name = (node.name for node in graph.inputs)
    unit, following = (node.name for node in graph.outputs)
    dtype = start.dtype
    values: list[float] = []
    picture = start
    for at in each("climbing", range(steps + 1)):
        share = max(0.0, 1 - at / max(1, steps * 3 // 4))  # of blur: none in the last quarter
        got = step({image: picture, rate_name: np.array(rate, dtype), blur_name: np.array(share, dtype)})
        values.append(float(got[unit].ravel()[0]))
        if at < steps:
            picture = np.clip(got[following], low, high).astype(dtype)
    return Climb(picture, tuple(values))
