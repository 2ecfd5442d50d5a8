"""Design advice: where a network's large kernels read many channels, and what the published 1x1 reductions save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.graph import Graph, Node
from ...ir.ops.conv import CONV2D
from ...ir.ops.norm import BATCH_NORM
from ...ir.ops.pool import MAX_POOL
from ...ir.ops.shape import CONCAT
from ...passes.bottlenecks.forms import Splittable, splittable_layers

__all__ = ["Advice", "InceptionModule", "advise"]

# GoogLeNet's modules (Szegedy et al. 2014, table 1): filters of the 1x1, 3x3 and 5x5 branches; the reductions before the 3x3
# and the 5x5, and the projection after the pool.
PUBLISHED = {
    (64, 128, 32): (96, 16, 32),
    (128, 192, 96): (128, 32, 64),
    (192, 208, 48): (96, 16, 64),
    (160, 224, 64): (112, 24, 64),
    (128, 256, 64): (128, 24, 64),
    (112, 288, 64): (144, 32, 64),
    (256, 320, 128): (160, 32, 128),
    (384, 384, 128): (192, 48, 128),
}
RATIO = {3: 1 / 2, 5: 1 / 4}  # of a conv's filters: about what those modules reduce to
RESIDUAL = 1 / 4  # of the channels: a residual bottleneck (He et al. 2015, sec. 4.1) narrows the 3x3 on both sides
FEWEST = 96  # channels below which a large kernel is cheap
LEAST = 0.9  # of the naive cost: what saves less is no advice


@dataclass(frozen=True, slots=True)
class InceptionModule:
    """One module, naive (large kernels on its whole input) and reduced (behind 1x1 reductions). Units: multiply-adds an image.

    `here` is "naive" or "reduced": which of the two the network has.
    """

    name: str
    naive: int
    reduced: int
    here: str


@dataclass(frozen=True, slots=True)
class Advice:
    """A conv outside any module, as it is and behind (and before) 1x1 convs of `width` channels. Units: multiply-adds an image."""

    name: str
    form: str
    width: str
    macs: int
    reduced: int


def advise(graph: Graph, sizes: Mapping[str, int]) -> tuple[list[InceptionModule], list[Advice]]:
    """Modules, and single convs that a bottleneck would make cheaper, in the graph's order."""
    layers = {layer.node: layer for layer in splittable_layers(graph, sizes) if layer.node.kind is CONV2D}
    modules: list[InceptionModule] = []
    inside: set[Node] = set()
    for concat in (node for node in graph.ops if node.kind is CONCAT):
        found = _module(concat, layers)
        if found is not None:
            modules.append(found[0])
            inside |= found[1]
    alone = [_alone(layer, layers) for node, layer in layers.items() if node not in inside]
    return modules, [advice for advice in alone if advice is not None]


@dataclass(frozen=True, slots=True)
class _Branch:
    """What leads from a module's input to its concat: convs, last first, and whether a pool stands before them."""

    convs: tuple[Node, ...]
    pooled: bool


def _module(concat: Node, layers: Mapping[Node, Splittable]) -> tuple[InceptionModule, set[Node]] | None:
    """An Inception module: branches from one value, one of them a single 1x1, one or more with a larger kernel."""
    branches = _branches(concat, layers)
    if branches is None:
        return None
    source, found = branches
    kernels = {layers[b.convs[0]].kernel[0]: layers[b.convs[0]] for b in found if b.convs and not b.pooled}
    if 1 not in kernels or 3 not in kernels:
        return None
    convs = {node for branch in found for node in branch.convs}
    depth, here = source.typed.shape[1], sum(_macs(layers[node]) for node in convs)
    assert isinstance(depth, int)  # convolutions read it
    large = {k: layer for k, layer in kernels.items() if k > 1}
    positions = kernels[1].out_positions
    if any(len(branch.convs) > 1 for branch in found):
        naive = positions * sum(depth * k * k * layer.c_out for k, layer in kernels.items())
        return InceptionModule(_scope(concat, kernels[1].node), naive, here, "reduced"), convs
    widths = (kernels[1].c_out, kernels[3].c_out, kernels[5].c_out if 5 in kernels else 0)
    reduce3, reduce5, project = PUBLISHED.get(widths, (0, 0, 64))
    reduced = positions * depth * kernels[1].c_out
    for k, layer in large.items():
        r = {3: reduce3, 5: reduce5}.get(k, 0) or _width(RATIO.get(k, RATIO[5]) * layer.c_out)
        reduced += positions * r * (depth + k * k * layer.c_out)
    if any(branch.pooled and not branch.convs for branch in found):  # passed on whole, it makes every later module deeper
        reduced += positions * depth * project
    return InceptionModule(_scope(concat, kernels[1].node), here, reduced, "naive"), convs


def _branches(concat: Node, layers: Mapping[Node, Splittable]) -> tuple[Node, list[_Branch]] | None:
    """The value that every operand of the concat comes from, by convs, pools of stride 1 and pointwise ops."""
    paths: list[list[Node]] = []
    for operand in concat.inputs:
        path = [operand]
        while (path[-1] in layers or _is_function(path[-1]) or _is_pool(path[-1])) and path[-1].inputs:
            path.append(path[-1].inputs[0])
        paths.append(path)
    shared = set(paths[0]).intersection(*paths[1:]) if len(paths) > 2 else set[Node]()
    source = next((node for node in paths[0] if node in shared), None)
    if source is None:
        return None
    branches: list[_Branch] = []
    for path in paths:
        own = path[: path.index(source)]
        branches.append(_Branch(tuple(node for node in own if node in layers), any(map(_is_pool, own))))
    return source, branches


def _is_function(node: Node) -> bool:
    """Whether it computes on the elements of one value alone, as an activation or a batch norm."""
    return node.kind.facts.activation or node.kind is BATCH_NORM


def _is_pool(node: Node) -> bool:
    return node.kind is MAX_POOL and max(node.op.strides) == 1


def _scope(concat: Node, first: Node) -> str:
    return concat.origin.scope or first.origin.scope or concat.name


def _alone(layer: Splittable, layers: Mapping[Node, Splittable]) -> Advice | None:
    """Advice for a conv of many channels that no 1x1 conv stands before."""
    k = layer.kernel[0]
    if layer.has_one_tap or layer.c_in < FEWEST:
        return None
    source = layer.node.inputs[0]
    while _is_function(source):
        source = source.inputs[0]
    if source in layers and layers[source].has_one_tap:
        return None  # it has its bottleneck
    macs, out = _macs(layer), layer.out_positions
    if layer.c_in == layer.c_out:
        r = _width(RESIDUAL * layer.c_in)
        reduced = r * layer.c_in * layer.in_positions + r * r * layer.taps * out + r * layer.c_out * out
        form, width = "1x1 before and after", f"{r}, {r}"
    else:
        r = _width(min(RATIO.get(k, RATIO[5]) * layer.c_out, RATIO[3] * layer.c_in))
        reduced = r * layer.c_in * layer.in_positions + r * layer.taps * layer.c_out * out
        form, width = "1x1 before", f"{r}"
    return Advice(layer.name, form, width, macs, reduced) if reduced < LEAST * macs else None


def _macs(layer: Splittable) -> int:
    return layer.c_in * layer.c_out * layer.taps * layer.out_positions


def _width(wanted: float) -> int:
    """A whole number of vectors."""
    return max(8, round(wanted / 8) * 8)
