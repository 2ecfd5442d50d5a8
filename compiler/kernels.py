"""What an engine computes at once: the nodes that one kernel covers, of which only the last one's value is ever stored.

NumPy computes node by node. onnxruntime may append activations and sums to a product; which it does is its own affair, so
the most that it may do is assumed. TVM runs the kernels of our own plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..backends.tvm.fast.plan import plan
from ..backends.tvm.fast.work import Winograd
from ..ir.graph import Graph, Node
from ..ir.ops.activation import CLIP, LEAKY_RELU, RELU
from ..ir.ops.conv import CONV2D, CONV_TRANSPOSE2D
from ..ir.ops.elementwise import ADD
from ..ir.ops.leaf import PARAM
from ..ir.ops.linear import DENSE

__all__ = ["Kernel", "kernels_of", "tiles_of"]

PRODUCTS = (CONV2D, CONV_TRANSPOSE2D, DENSE)
EPILOGUES = (RELU, CLIP, LEAKY_RELU, ADD)  # what onnxruntime may append to a product


@dataclass(frozen=True)
class Kernel:
    """`covers` are the nodes in order, the one whose value is stored last.

    `tile` is that of a convolution at their head which is computed by Winograd's form: results of a tile along an axis, 0 for any other.
    """

    covers: tuple[Node, ...]
    tile: int = 0

    @property
    def result(self) -> Node:
        return self.covers[-1]

    @property
    def operands(self) -> set[Node]:
        """What it reads from outside, parameters excepted."""
        return {operand for node in self.covers for operand in node.inputs if operand.kind is not PARAM and operand not in self.covers}


def _alone(graph: Graph, winograd: Winograd) -> list[Kernel]:
    return [Kernel((node,)) for node in graph.ops]


def _products(graph: Graph, winograd: Winograd) -> list[Kernel]:
    """A product takes its only reader in while that is an epilogue."""
    outputs, readers = set(graph.outputs), graph.readers
    kernels: list[Kernel] = []
    covered: set[Node] = set()
    for node in graph.ops:
        if node in covered:
            continue
        group = [node]
        while node.kind in PRODUCTS and group[-1] not in outputs and len(readers[group[-1]]) == 1:
            (reader,) = readers[group[-1]]
            others = [operand for operand in reader.inputs if operand is not group[-1]]
            # what the reader also reads must be there before the group, or the group could not run at once
            if reader.kind not in EPILOGUES or any(other in covered or not _is_before(graph, other, node) for other in others):
                break
            group.append(reader)
        covered.update(group)
        kernels.append(Kernel(tuple(group)))
    return kernels


def _is_before(graph: Graph, operand: Node, node: Node) -> bool:
    return graph.positions[operand] < graph.positions[node]


def _planned(graph: Graph, winograd: Winograd) -> list[Kernel]:
    made = plan(graph, winograd)
    fast = [Kernel(work.covers, work.tile) for work in made.works.values()]
    return fast + [Kernel((node,)) for node in graph.ops if graph.uses[node] and node not in made.covered]


KERNELS: dict[str, Callable[[Graph, Winograd], list[Kernel]]] = {"reference": _alone, "onnx": _products, "tvm": _planned}


def kernels_of(engine: str, graph: Graph, winograd: Winograd = "auto") -> dict[Node, Kernel]:
    """The kernels by the node whose value they store, in the graph's order. `winograd` is what TVM's library was built with."""
    kernels = {kernel.result: kernel for kernel in KERNELS[engine](graph, winograd)}
    return {node: kernels[node] for node in graph.nodes if node in kernels}


def tiles_of(engine: str, graph: Graph, winograd: Winograd = "auto") -> dict[str, int]:
    """The tiles of convolutions that the engine computes by Winograd's form, by name: their rounding noise is their own."""
    return {kernel.covers[0].name: kernel.tile for kernel in KERNELS[engine](graph, winograd) if kernel.tile}
