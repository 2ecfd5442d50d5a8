"""From a unit, or a class, back to the picture: three ways, each a graph that can be printed, checked, exported and run.

    cc.deconvnet(net, "conv4_1", 12)             Zeiler & Fergus 2014, sec. 2.1
    cc.guided_backpropagation(net, "conv4_1", 12)  Springenberg et al. 2015, sec. 3.4
    cc.input_gradient(net, "fc", 281)            Simonyan et al. 2014, sec. 3; with `times_input` Shrikumar et al. 2016

All are the reverse walk of `ir/gradient.py`. They differ in what goes back through a rectifier: the gradient passes where its input was
positive, a deconvnet rectifies what comes back whatever the input was, and guided backpropagation does both. Of a network without
rectifiers, and whose pools are averages, all three are the exact adjoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.errors import UsageError
from ...ir.gradient import NodeMaker, Rules, pulled_back
from ...ir.graph import Graph, Node, fresh_name
from ...ir.legible import legible
from ...ir.op import OpDef
from ...ir.ops.activation import CLIP, LEAKY_RELU, RELU, Clip
from ...ir.ops.activation_variants import ELU, GELU, HARD_SWISH, MISH, PRELU, SELU
from ...ir.ops.conv import product_of
from ...ir.ops.elementwise import IDENTITY, Identity
from ...ir.ops.pool import MAX_POOL, MaxPool
from ...ir.ops.window import dilated
from ...ir.terms import GradientRule, NoGradient, Term, where
from .units import UnitPlace, image_of, layer_named, need_place, need_unit

__all__ = [
    "DECONVNET",
    "GRADIENT",
    "GUIDED",
    "WAYS",
    "Way",
    "came_back",
    "deconvnet",
    "ending",
    "guided_backpropagation",
    "input_gradient",
    "looking_back",
]

RECTIFIERS = (RELU, LEAKY_RELU, PRELU, ELU, SELU, GELU, HARD_SWISH, MISH)


@dataclass(frozen=True, slots=True)
class Way:
    """How one looks back: what its result is called, rules of its own, and whether a unit's own value is what goes back, or 1."""

    name: str
    rules: Mapping[OpDef[Any], GradientRule]
    sends_value: bool
    source: str


def _rectified(op: Any, g: Term, y: Term, *operands: Term) -> Term:
    """What comes back is rectified as what went forth was, wherever that was positive. Zeiler & Fergus 2014, sec. 2.1."""
    return g.op("relu")


def _guided(kind: OpDef[Any]) -> GradientRule:
    """The op's own gradient, of which only what is positive goes on."""
    rules = kind.gradient
    assert isinstance(rules, tuple)
    own = rules[0]
    assert own is not None

    def rule(op: Any, g: Term, y: Term, *operands: Term) -> Term | NoGradient | None:
        back = own(op, g, y, *operands)
        return back.op("relu") if isinstance(back, Term) else back

    return rule


def _if_rectifier(rule: GradientRule) -> GradientRule:
    """For a clip, which is a rectifier only where it begins at 0, as ReLU6 does."""
    assert isinstance(CLIP.gradient, tuple)
    own = CLIP.gradient[0]
    assert own is not None

    def chosen(op: Clip, g: Term, y: Term, x: Term) -> Term | NoGradient | None:
        return (rule if op.min == 0 else own)(op, g, y, x)

    return chosen


def _unpooled(op: MaxPool, g: Term, y: Term, x: Term) -> Term:
    """Back to where each greatest value was: the switches that the pass forth left. Where windows overlap, what several send to one
    place is added up, which keeps the adjoint exact.
    """
    window = {"kernel": op.kernel, "strides": op.strides, "pads": op.pads}
    reaches = zip(op.kernel, op.dilations, op.strides, strict=True)
    if any(dilated(taps, dilation) > stride for taps, dilation, stride in reaches):
        return x.op("max_pool_gradient", g, **window, dilations=op.dilations, ceil_mode=op.ceil_mode)
    switches = x.op("max_pool_indices", **window, dilations=op.dilations, ceil_mode=op.ceil_mode)
    return g.op("max_unpool", switches, **window, sizes=x.shape[2:])


GRADIENT = Way("gradient", {}, sends_value=False, source="Simonyan et al. 2014, sec. 3")
DECONVNET = Way(
    "deconvnet",
    {**dict.fromkeys(RECTIFIERS, _rectified), CLIP: _if_rectifier(_rectified), MAX_POOL: _unpooled},
    sends_value=True,
    source="Zeiler & Fergus 2014, sec. 2.1",
)
GUIDED = Way(
    "guided",
    {**{kind: _guided(kind) for kind in RECTIFIERS}, CLIP: _if_rectifier(_guided(CLIP))},
    sends_value=False,
    source="Springenberg et al. 2015, sec. 3.4",
)
WAYS = {way.name: way for way in (GRADIENT, DECONVNET, GUIDED)}


def deconvnet(graph: Graph, layer: str, unit: int, at: UnitPlace | None = None) -> Graph:
    """A unit's activation taken back to the picture by transposed filters, rectified, unpooled by the switches of the pass forth.

    `graph` takes one picture; `unit` is a channel of its value `layer`, from 0.

    It gives `unit`, the activation [N,1,H,W], and `<image>.deconvnet`, of the picture's shape. Without `at` (row, column) each picture's
    strongest place goes back, the first of equals, and all others are set to zero.

    Source: Zeiler & Fergus 2014, sec. 2.1. Raises: UsageError for a layer, unit or place that does not exist; UnsupportedOp for an op on
    the way that nothing goes back through.
    """
    return looking_back(graph, DECONVNET, layer, unit, at)


def guided_backpropagation(graph: Graph, layer: str, unit: int, at: UnitPlace | None = None) -> Graph:
    """As `deconvnet`, by gradients that pass a rectifier only where both they and what went forth are positive: `<image>.guided`.

    `graph`, `layer`, `unit` and `at` are those of `deconvnet`.

    Source: Springenberg et al. 2015, sec. 3.4. Raises: as `deconvnet`.
    """
    return looking_back(graph, GUIDED, layer, unit, at)


def input_gradient(graph: Graph, layer: str, unit: int, at: UnitPlace | None = None, *, times_input: bool = False) -> Graph:
    """The gradient of a unit, or of a class, by the picture, `<image>.gradient`; `times_input` multiplies it by the picture's values.

    `graph`, `layer`, `unit` and `at` are those of `deconvnet`; a class is a unit of the scores.

    Source: Simonyan et al. 2014, sec. 3; Shrikumar et al. 2016. Raises: as `deconvnet`.
    """
    return looking_back(graph, GRADIENT, layer, unit, at, times_input=times_input)


def looking_back(graph: Graph, way: Way, layer: str, unit: int, at: UnitPlace | None = None, *, times_input: bool = False) -> Graph:
    """`graph` as far as the unit, and back to the picture."""
    image, node = image_of(graph), layer_named(graph, layer)
    need_unit(node, unit)
    if at is not None:
        need_place(node, at)
    maker = NodeMaker([*(each.name for each in graph.nodes), "unit", f"{image.name}.{way.name}"])
    maker.way = way.name
    maker.at = node
    chosen = maker.term(node).cut(1, unit, unit + 1)
    for axis, place in enumerate(at or (), 2):
        chosen = chosen.cut(axis, place, place + 1)
    seed = _seed(chosen, way)
    before = Graph.of(graph.name, graph.inputs, [chosen.value, seed.value], [*graph.nodes, *maker.made])
    back = came_back(before, chosen.value, seed, image, maker, way.rules)
    maker.at = image
    seen = back * maker.term(image) if times_input else back
    return ending(
        f"{graph.name}_{way.name}",
        graph.inputs,
        {"unit": chosen.value, f"{image.name}.{way.name}": seen.value},
        [*before.nodes, *maker.made],
    )


def came_back(graph: Graph, value: Node, seed: Term, image: Node, maker: NodeMaker, rules: Rules) -> Term:
    """What comes back to the picture. Raises: UsageError where nothing does."""
    found = pulled_back(graph, value, seed, [image], maker, rules, "look at a layer that stands before it").of
    if image not in found:
        raise UsageError(f"%{legible(value.name)} does not change with the picture, or only in steps; name another layer")
    return maker.term(found[image])


def _seed(chosen: Term, way: Way) -> Term:
    """What goes back: of each picture's strongest place, the first of equals, the value, or 1, and nothing elsewhere.

    Equals are the rule after pools whose windows overlap: one pixel is the greatest of several.
    """
    spatial = tuple(range(2, chosen.rank))
    if all(chosen.shape[axis] == 1 for axis in spatial):
        return chosen if way.sends_value else chosen.full(chosen.shape, 1)
    places = product_of(1, chosen.shape[2:])
    peak = chosen.reshape(*chosen.shape[:2], places).op("arg_max", axis=2, keepdims=True)
    is_peak = peak.equals(peak.number(0.0).op("range", 1.0, count=places)).reshape(*chosen.shape)
    return where(is_peak, chosen, 0) if way.sends_value else is_peak.cast(chosen.type.dtype)


def ending(name: str, inputs: Sequence[Node], results: Mapping[str, Node], order: list[Node]) -> Graph:
    """Under these names, also what is a value of the network itself or two results at once."""
    taken = {node.name for node in order}
    ends = [Node(fresh_name(said, taken), IDENTITY, Identity(), (node,), node.type, node.origin) for said, node in results.items()]
    return Graph.of(name, inputs, ends, [*order, *ends])
