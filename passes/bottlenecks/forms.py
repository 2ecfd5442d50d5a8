"""Low-rank forms of a layer: two or three thinner products in place of one. Approximations, so no pipeline runs them.

A conv D -> K with an FxF kernel becomes `reduce` (1x1 D -> r, FxF r -> K), `expand` (FxF D -> r, 1x1 r -> K) or `both`
(1x1 D -> r1, FxF r1 -> r2, 1x1 r2 -> K: Tucker-2, Kim et al. 2015, the bottleneck of residual nets); a 1x1 conv or a dense
layer becomes two `factors`. Which form and which ranks is not decided here (compiler/planning/), nor with which values (spectrum.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...ir.dims import evaluate
from ...ir.graph import Graph, Node, Origin, fresh_name, given_param
from ...ir.op import OpDef
from ...ir.ops.conv import CONVS, conv_of
from ...ir.ops.linear import DENSE
from ...ir.types import DTYPES, Array, TensorType
from ...ir.verifier import infer_type
from ...ir.weights import Weights
from ..rewriting.ledger import Ledger

__all__ = ["FORMS", "Factors", "Price", "Split", "Splittable", "forms_of", "insert", "pieces", "price", "splittable_layers"]

# The ranks that each form has, in the order of its products.
FORMS = {"factors": ("rank",), "reduce": ("input",), "expand": ("output",), "both": ("input", "output")}


@dataclass(frozen=True, slots=True)
class Splittable:
    """A conv without groups, or a dense layer, with constant weights. Units: positions per image, of input and output."""

    node: Node
    c_in: int
    c_out: int
    kernel: tuple[int, ...]
    in_positions: int
    out_positions: int

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def rank(self) -> int:
        """The greatest that the weights can have, as a matrix from patches to outputs."""
        return min(self.c_out, self.c_in * self.taps)

    @property
    def has_one_tap(self) -> bool:
        return self.taps == 1


@dataclass(frozen=True, slots=True)
class Split:
    """A form, one of FORMS, and its ranks."""

    form: str
    ranks: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.form} {'x'.join(map(str, self.ranks))}"


@dataclass(frozen=True, slots=True)
class Factors:
    """The values of a split: a weight for each of its products, and the bias of the last."""

    split: Split
    weights: tuple[Array, ...]
    bias: Array


@dataclass(frozen=True, slots=True)
class Price:
    """What one image costs in a layer or its split: multiply-adds, parameters, bytes read and written."""

    macs: int
    params: int
    nbytes: int


def splittable_layers(graph: Graph, sizes: Mapping[str, int]) -> list[Splittable]:
    """Every layer that has low-rank forms, in the graph's order, with these named sizes."""
    found: list[Splittable] = []
    for node in graph.ops:
        if node.kind not in (*CONVS, DENSE) or any(operand.weights is None for operand in node.inputs[1:]):
            continue
        if not node.typed.is_float or (node.kind in CONVS and conv_of(node).groups != 1):
            continue
        c_out, c_in, *kernel = node.inputs[1].typed.concrete()
        before, after = (math.prod(_numbers(x.typed, sizes)[2:]) for x in (node.inputs[0], node))
        found.append(Splittable(node, c_in, c_out, tuple(kernel) or (1, 1), before, after))
    return found


def forms_of(layer: Splittable) -> tuple[str, ...]:
    return ("factors",) if layer.has_one_tap else ("reduce", "expand", "both")


def pieces(layer: Splittable, split: Split | None) -> list[tuple[int, int, int, int]]:
    """(c_in, c_out, taps, positions of the result) of each product; None is the layer as it is."""
    d, k, taps, out = layer.c_in, layer.c_out, layer.taps, layer.out_positions
    match split:
        case None:
            return [(d, k, taps, out)]
        case Split("reduce", (r,)):
            return [(d, r, 1, layer.in_positions), (r, k, taps, out)]
        case Split("both", (r, s)):
            return [(d, r, 1, layer.in_positions), (r, s, taps, out), (s, k, 1, out)]
        case _:
            (r,) = split.ranks
            return [(d, r, taps, out), (r, k, 1, out)]


def price(layer: Splittable, split: Split | None) -> Price:
    """The price of a split, biases included; nothing is built."""
    made = pieces(layer, split)
    macs = sum(c_in * c_out * taps * positions for c_in, c_out, taps, positions in made)
    has_bias = split is not None or len(layer.node.inputs) > 2
    params = sum(c_in * c_out * taps for c_in, c_out, taps, _ in made) + (layer.c_out if has_bias else 0)
    results = [c_out * positions for _, c_out, _, positions in made]
    moved = layer.c_in * layer.in_positions + 2 * sum(results[:-1]) + results[-1] + params
    return Price(macs, params, moved * DTYPES[layer.node.typed.dtype].itemsize)


def insert(graph: Graph, factors: Mapping[str, Factors], ledger: Ledger) -> Graph:
    """The graph with each layer that `factors` names in its split form. The last product keeps the layer's name.

    Before: %c = conv2d(%x, %w, %b) {pads=[1,1,1,1]}
    After:  %c.1 = conv2d(%x, %c.w1); %c.2 = conv2d(%c.1, %c.w2) {pads=[1,1,1,1]}; %c = conv2d(%c.2, %c.w3, %c.b)
    """
    taken = {node.name for node in graph.nodes}

    def visit(node: Node, operands: tuple[Node, ...]) -> Node:
        node = node.reading(operands)
        if node.name not in factors or not ledger.is_open:
            return node
        made = _products(node, factors[node.name], taken)
        ledger.record(f"low-rank-{factors[node.name].split.form}", node.name, (node.name,), tuple(n.name for n in made))
        return made[-1]

    return graph.rebuild(visit)


def _products(node: Node, factors: Factors, taken: set[str]) -> list[Node]:
    """The layer's products, first to last."""
    origin = replace(node.origin, made_from=node.origin.made_from or (node.name,))
    made: list[Node] = []
    x, last = node.inputs[0], len(factors.weights) - 1
    for number, weight in enumerate(factors.weights):
        inputs = (x, _param(node, f"w{number + 1}", weight, origin, taken))
        inputs = (*inputs, _param(node, "b", factors.bias, origin, taken)) if number == last else inputs
        name = node.name if number == last else fresh_name(f"{node.name}.{number + 1}", taken)
        product = Node(name, *_kind(node, factors.split, number), inputs, None, origin)
        x = product.like(type=infer_type(product))
        made.append(x)
    return made


def _kind(node: Node, split: Split, number: int) -> tuple[OpDef[Any], object]:
    """Strides, pads and dilations stay with the product that has the kernel."""
    has_kernel = number == (1 if split.form in ("reduce", "both") else 0)
    return node.kind, node.op if has_kernel or node.kind is DENSE else type(node.op)()


def _param(node: Node, suffix: str, values: Array, origin: Origin, taken: set[str]) -> Node:
    name = fresh_name(f"{node.name}.{suffix}", taken)
    stored = values.astype(DTYPES[node.typed.dtype], order="C")
    return given_param(name, Weights.of(stored, name), origin)


def _numbers(type_: TensorType, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return TensorType(type_.dtype, tuple(evaluate(dim, sizes) for dim in type_.shape)).concrete()
