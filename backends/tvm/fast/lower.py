"""A plan as a TVM module: one Relax function that calls the kernels, and stock rows in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....ir.errors import ConvcError
from ....ir.graph import Graph, Node
from ....ir.types import DTYPES
from ..emitter import Emitter
from ..host import tvm
from ..lower import emit_stock
from . import moves
from .kernel import LANES, blocks
from .plan import Plan, plan
from .work import Argument, Work, batch_of, extents, is_blocked

__all__ = ["lower_fast"]


def lower_fast(graph: Graph, winograd: str = "auto", tuned: Mapping[str, Any] | None = None) -> Any:
    """An IRModule whose `main(inputs..., arguments...)` returns the outputs as a tuple; the plan's `arguments` says which.

    Raises: UnsupportedOp naming a node that TVM cannot express.
    """
    host = tvm()
    return _Lowering(Emitter.of(host, graph), plan(graph, winograd, tuned)).run()


class _Lowering:
    """Values by node, in either layout; one is made from the other when somebody asks."""

    def __init__(self, emitter: Emitter, work: Plan) -> None:
        self.emitter = emitter
        self.graph = work.graph
        self.plan = work
        self.plain: dict[Node, Any] = {}
        self.blocked: dict[Node, Any] = {}
        self.kernels: dict[Any, Any] = {}

    def run(self) -> Any:
        relax, builder = self.emitter.tvm.relax, self.emitter.builder
        inputs = [relax.Var(node.name, self.emitter.type(node.typed)) for node in self.graph.inputs]
        arguments = [self._argument(argument) for argument in self.plan.arguments]
        self.plain = dict(zip(self.graph.inputs, inputs, strict=True))
        self.arguments = {argument.name: var for argument, var in zip(self.plan.arguments, arguments, strict=True)}
        self.plain |= {node: self.arguments[node.name] for node in self.graph.params if node.name in self.arguments}
        failed: ConvcError | None = None
        with builder.function("main", [*inputs, *arguments], attrs={"num_input": len(inputs)}):
            with builder.dataflow():
                results: list[Any] = []
                try:
                    results = self._results()
                except ConvcError as error:  # raised below: a builder left by an exception complains on stderr
                    failed = error
                out = builder.emit_output(relax.Tuple(results))
            builder.emit_func_output(out)
        if failed is not None:
            raise failed
        return builder.finalize()

    def _results(self) -> list[Any]:
        for node in self.graph.ops:
            if node in self.plan.works:
                self._call(self.plan.works[node])
            elif node not in self.plan.covered and self.graph.uses[node]:
                self.plain[node] = emit_stock(self.emitter, node, [self._in_plain(operand) for operand in node.inputs])
        return [self._in_plain(node) for node in self.graph.outputs]

    def _argument(self, argument: Argument) -> Any:
        relax, tirx = self.emitter.tvm.relax, self.emitter.tirx
        shape = [tirx.IntImm("int64", extent) for extent in argument.shape]
        return relax.Var(argument.name, relax.TensorType(shape, DTYPES[argument.dtype].name))

    def _call(self, work: Work) -> None:
        operands = [self._in_plain(node) if node in work.plain else self._in_blocks(node) for node in work.operands]
        arguments = [self.arguments[argument.name] for argument in work.arguments]
        in_blocks = is_blocked(work.result)
        others = [self._in_blocks(node) if in_blocks else self._in_plain(node) for node in work.others]
        values = self.blocked if in_blocks else self.plain
        values[work.result] = self._kernel(work.build(), [*operands, *arguments, *others], work.result, in_blocks)

    def _kernel(self, function: Any, operands: list[Any], node: Node, in_blocks: bool) -> Any:
        """A call of a scheduled function; the same function is added once."""
        if function not in self.kernels:
            self.kernels[function] = self.emitter.builder.add_func(function.without_attr("global_symbol"), f"kernel{len(self.kernels)}")
        relax = self.emitter.tvm.relax
        return self.emitter.builder.emit(relax.call_tir(self.kernels[function], operands, self._type(node, in_blocks)), node.name)

    def _type(self, node: Node, in_blocks: bool) -> Any:
        if not in_blocks:
            return self.emitter.type(node.typed)
        n, c, h, w = node.typed.shape
        shape = [self.emitter.dim(dim) for dim in (n, blocks(int(str(c))), h, w, LANES)]
        return self.emitter.tvm.relax.TensorType(shape, "float32")

    def _in_plain(self, node: Node) -> Any:
        if node not in self.plain:
            self.plain[node] = self._kernel(moves.unpack(batch_of(node), *extents(node)), [self.blocked[node]], node, in_blocks=False)
        return self.plain[node]

    def _in_blocks(self, node: Node) -> Any:
        if node not in self.blocked:
            self.blocked[node] = self._kernel(moves.pack(batch_of(node), *extents(node)), [self.plain[node]], node, in_blocks=True)
        return self.blocked[node]
