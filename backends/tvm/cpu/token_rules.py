"""The rules for values that lie plainly, features last, as those of tokens do: products with weights, norms and chains of elements."""

from __future__ import annotations

import math
from dataclasses import replace

from ....ir.graph import Graph, Node
from ....ir.ops.check import need_axis
from ....ir.ops.elementwise import ADD
from ....ir.ops.group import LAYER_NORM
from ....ir.ops.shape import RESHAPES
from .attention_rules import scores_of_attention
from .convolution_rules import bias_of
from .kernels import layer_norm as norms
from .kernels import rows
from .kernels.computed_rows import computed_product
from .kernels.dense import dense_weights
from .kernels.elements import elements
from .kernels.epilogue import EpilogueStep
from .kernels.layout import LANES, Packing
from .kernels.strassen.kernel import quartered_rows
from .kernels.strassen.quarters import QUARTERED, quarter_weights
from .laid import Argument
from .plain import shown
from .quartered import quarters_of
from .work import Followers, Surroundings, Work, can_pack, chain_after, only_reader, packed, step_of

__all__ = ["layer_norm", "plain_elements", "product", "rows_of_dense"]

FEW_ROWS = 4  # from which a tile of rows pays
MOST = 8  # values and steps that follow a kernel within it, as in `work`


# --- products --------------------------------------------------------------------------------------------------------


def product(around: Surroundings, node: Node) -> Work | None:
    """Rows times known weights, or the attention whose scores these are."""
    x, w = node.inputs
    if w.weights is None and w.typed.rank == 2:
        return _computed(around, node, x, w, [], is_turned=False)
    if w.weights is None:
        return scores_of_attention(around, node) or _matrices(around, node) if x.weights is None else None
    if w.typed.rank != 2 or x.weights is not None:
        return None
    return _rows(around, node, x, w, [], is_turned=False)


def _matrices(around: Surroundings, node: Node) -> Work | None:
    """Of two computed values with as many matrices each."""
    a, b = node.inputs
    numbers = [dim for dim in (*a.typed.shape[-2:], *b.typed.shape[-2:]) if isinstance(dim, int)]
    if a.typed.shape[:-2] != b.typed.shape[:-2] or len(numbers) < 4 or shown(a, b, node) is None:
        return None
    covers, steps, others = _after(around, node, in_rows=True)
    shapes = shown(a, *others, covers[-1])
    assert shapes is not None
    size = rows.RowProduct(shapes[0], shapes[-1], steps, tuple(shapes[1:-1]), around.processor)
    kernel = rows.matrix_product.of(size, size.rows // numbers[0])
    return Work(covers, kernel, (a, b), (), others, frozenset([a, b, covers[-1]]))


def rows_of_dense(around: Surroundings, node: Node) -> Work | None:
    """A dense layer of so many rows that some share what is read of the weights."""
    x, w, *bias = node.inputs
    count = x.typed.shape[0]
    if w.weights is None:
        return _computed(around, node, x, w, bias, is_turned=True)
    if not isinstance(count, int) or count < FEW_ROWS or not all(map(can_pack, (w, *bias))):
        return None
    return _rows(around, node, x, w, bias, is_turned=True)


def _computed(around: Surroundings, node: Node, x: Node, w: Node, bias: list[Node], *, is_turned: bool) -> Work | None:
    """Rows times weights that a run computes, which lie as they are: the kernel packs them where it needs them."""
    sizes = [dim for dim in (x.typed.shape[-1], *w.typed.shape) if isinstance(dim, int) and dim]
    if x.weights is not None or w.typed.dtype != "f32" or len(sizes) < 3 or not all(map(can_pack, bias)) or shown(x, node) is None:
        return None
    covers, steps, others = _after(around, node, in_rows=True)
    shapes = shown(x, *others, covers[-1])
    assert shapes is not None
    size = rows.RowProduct(shapes[0], shapes[-1], steps, tuple(shapes[1:-1]), around.processor)
    kernel = computed_product.of(size, is_turned=is_turned, has_bias=bool(bias))
    arguments = (bias_of(node, size.c_out, bias),) if bias else ()
    return Work(covers, kernel, (x, w), arguments, others, frozenset([x, w, covers[-1]]))


def _rows(around: Surroundings, node: Node, x: Node, w: Node, bias: list[Node], *, is_turned: bool) -> Work | None:
    c_out = node.typed.shape[-1]
    if not isinstance(c_out, int) or shown(x, node) is None:
        return None
    head, covers = node, [node]
    if not bias and (found := _bias_after(around.graph, node)) is not None:
        head, bias = found
        covers.append(head)
    more, steps, others = _after(around, head, in_rows=True)
    covers = [*covers, *more[1:]]
    shapes = shown(x, *others, covers[-1])
    assert shapes is not None
    if around.tiles.get(node.name) == QUARTERED and (quarters := quarters_of(node, steps, around.processor)) is not None:
        kernel = replace(quartered_rows.of(quarters, shapes[0], shapes[-1], tuple(shapes[1:-1])), tile=QUARTERED, twice=quarters.repeats)
        packing = quarter_weights(quarters)
        if is_turned:
            packing = Packing(packing.shape, lambda w, pack=packing.pack: pack(w.T))
        arguments = (packed(f"{node.name}.packed", packing, w), bias_of(node, c_out, bias))
        return Work(tuple(covers), kernel, (x,), arguments, others, frozenset([x, covers[-1]]))
    size = rows.RowProduct(shapes[0], shapes[-1], steps, tuple(shapes[1:-1]), around.processor)
    packing = dense_weights(size.c_in, c_out) if is_turned else rows.row_weights(size.c_in, c_out)
    arguments = (packed(f"{node.name}.packed", packing, w), bias_of(node, c_out, bias))
    return Work(tuple(covers), rows.row_product.of(size), (x,), arguments, others, frozenset([x, covers[-1]]))


def _bias_after(graph: Graph, node: Node) -> tuple[Node, list[Node]] | None:
    """The sum with a constant a result, which alone reads a product."""
    reader = only_reader(graph, node)
    if reader is None or reader.kind is not ADD or reader.typed != node.typed:
        return None
    other = reader.inputs[1] if reader.inputs[0] is node else reader.inputs[0]
    if other.weights is None or other.typed.numel != node.typed.shape[-1] or other.typed.shape[-1:] != node.typed.shape[-1:]:
        return None
    return reader, [other]


def _after(around: Surroundings, node: Node, *, in_rows: bool = False) -> Followers:
    """What follows element by element, through reshapes, which leave memory as it is, as long as some step comes behind. `in_rows` as long
    as rows are as long, too: a product's kernel takes its results from the last axis of what it leaves.
    """
    chain, steps, others = [node], list[EpilogueStep](), list[Node]()
    while True:
        more, new, read = chain_after(around.graph, around.covered, chain[-1], _step, MOST)
        if len(others) + len(read) > MOST or len(steps) + len(new) > 2 * MOST:
            break
        chain, steps, others = [*chain, *more[1:]], [*steps, *new], [*others, *read]
        names: list[Node] = []
        while (reader := only_reader(around.graph, [*chain, *names][-1])) is not None and reader.kind in RESHAPES:
            names.append(reader)
        if reader is None or not names or reader in around.covered or _step(reader, names[-1]) is None:
            break
        if shown(node, names[-1]) is None or (in_rows and names[-1].typed.shape[-1:] != node.typed.shape[-1:]):
            break
        chain += names
    return tuple(chain), tuple(steps), tuple(others)


def _step(reader: Node, value: Node) -> EpilogueStep | None:
    return step_of(reader, value)


# --- norms and elements ----------------------------------------------------------------------------------------------


def layer_norm(around: Surroundings, node: Node) -> Work | None:
    x, scale, *bias = node.inputs
    shapes = shown(x)
    axis = need_axis(LAYER_NORM.of(node).axis, x.typed.rank)
    inner = [dim for dim in x.typed.shape[axis:] if isinstance(dim, int)]
    if shapes is None or axis + len(inner) < x.typed.rank or len(inner) != 1 or 0 in inner:
        return None
    kernel = norms.layer_norm.of(shapes[0], math.prod(inner), LAYER_NORM.of(node).epsilon, bool(bias))
    return Work((node,), kernel, (x, scale, *bias), plain=frozenset([x, scale, *bias, node]))


def plain_elements(around: Surroundings, node: Node) -> Work | None:
    """A chain of element-wise ops on values that no kernel left in blocks; its first step may read a constant again and again."""
    if any(operand in around.in_blocks for operand in node.inputs):
        return None
    x, *rest = sorted(node.inputs, key=lambda operand: operand.weights is not None)
    if x.weights is not None or x.type != node.type:
        return None
    first, period = step_of(node, x), 0
    if first is None:
        if len(rest) != 1 or node.typed.dtype != "f32" or not (period := _period(rest[0], node)):
            return None
        first = EpilogueStep(node.kind, node.op, 1, node.inputs[0] is not x)
    covers, steps, others = _after(around, node)
    read = [*(rest if first.reads and not period else ()), *others]
    shapes = shown(x, *read, covers[-1])
    if shapes is None:
        return None
    arguments = ()
    if period:
        arguments = (Argument(f"{node.name}.packed", (period,), "f32", lambda values: values(rest[0]).ravel()),)
    kernel = elements.of(tuple(shapes), (first, *steps), period)
    kernel = replace(kernel, over=1 if period else 1 + len(rest))  # each element is read for its own place alone
    return Work(covers, kernel, (x, *(rest if not period else ())), arguments, others, frozenset([x, *rest, covers[-1]]))


def _period(constant: Node, node: Node) -> int:
    """Elements after which a constant comes again, all along the value: one or whole vectors; 0 where it does not come so."""
    if constant.weights is None:
        return 0
    shape, count = constant.typed.concrete(), math.prod(constant.typed.concrete())
    inner = shape[next((axis for axis, extent in enumerate(shape) if extent != 1), len(shape)) :]
    is_suffix = inner == node.typed.shape[node.typed.rank - len(inner) :]
    return count if is_suffix and (count == 1 or count % LANES == 0) else 0
