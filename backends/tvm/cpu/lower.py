"""A plan as a TVM module: one Relax function that calls the kernels, and stock rows in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....ir.graph import Node
from ....ir.types import DTYPES, TensorType
from ..attributes import IN_PLACE, OVER, VIEW_OF
from ..host import tvm
from ..stock.lower import emit_stock
from ..stock.relax_emitter import RelaxEmitter
from .kernels import moves
from .kernels.layout import LANES, blocks
from .laid import Argument
from .plan import PACK, UNPACK, KernelPlan
from .plan_variables import PlanVariables
from .work import Arranged, Work, batch_of, extents

__all__ = ["lower_plan"]


def lower_plan(plan: KernelPlan) -> Any:
    """An IRModule whose `main(inputs..., arguments...)` returns the outputs as a tuple; the plan's `arguments` says which.

    Raises: UnsupportedOp naming a node that TVM cannot express.
    """
    host = tvm()
    return _Lowering(RelaxEmitter.of(host, plan.graph), plan).run()


class _Lowering:
    """Values by node, in either layout, made as the plan says."""

    def __init__(self, emitter: RelaxEmitter, plan: KernelPlan) -> None:
        self.emitter = emitter
        self.graph = plan.graph
        self.plan = plan
        self.given = PlanVariables.of(emitter, plan)
        self.plain = dict(self.given.plain)
        self.blocked: dict[Node, Any] = {}
        self.arranged: dict[Argument, Any] = {}
        self.kernels: dict[Any, Any] = {}

    def run(self) -> Any:
        return self.emitter.main(self.given.inputs, self.given.arguments, self._results)

    def _results(self) -> list[Any]:
        for call in self.plan.calls:
            if call.work is not None:
                self._call(call.work, call.node in self.plan.views)
            elif isinstance(call.argument, Arranged):
                self._arrange(call.argument)
            elif call.kernel == PACK:
                self._move(moves.pack, self.plain, self.blocked, call.node)
            elif call.kernel == UNPACK:
                self._move(moves.unpack, self.blocked, self.plain, call.node)
            else:
                self.plain[call.node] = emit_stock(self.emitter, call.node, [self.plain[operand] for operand in call.node.inputs])
        return [self.plain[node] for node in self.graph.outputs]

    def _call(self, work: Work, is_view: bool) -> None:
        values = [(self.blocked if in_blocks else self.plain)[node] for node, in_blocks in work.reads]
        operands, others = values[: len(work.operands)], values[len(work.operands) :]
        arguments = [(self.arranged if isinstance(argument, Arranged) else self.given.by_argument)[argument] for argument in work.arguments]
        made = self.blocked if work.is_laid else self.plain
        attributes: dict[str, Any] = {IN_PLACE: 0 if work.kernel.twice else len(others)}  # it may write over the last of what it reads
        attributes |= {OVER: work.kernel.over} if work.kernel.over else {}
        if is_view:
            _, rows, cols = extents(work.result)
            batch = batch_of(work.result)
            block = (1 if batch is None else batch) * rows * cols * LANES * 4  # bytes; where the batch has a name, of one image
            attributes[VIEW_OF] = [start * block for start in work.starts]
        made[work.result] = self._kernel(work.kernel.build(), [*operands, *arguments, *others], work.result, work.is_laid, attributes)

    def _arrange(self, argument: Arranged) -> None:
        """What a kernel reads of a computed parameter, from here on in place of its places."""
        shape = [self.emitter.dim(extent) for extent in argument.shape]
        type_ = self.emitter.tvm.relax.TensorType(shape, "float32")
        function = self._added(argument.kernel.build(), {IN_PLACE: 0})
        given = [self.plain[argument.node], *([self.given.by_argument[argument]] if argument.is_given else [])]
        self.arranged[argument] = self.emitter.builder.emit(self.emitter.tvm.relax.call_tir(function, given, type_), argument.name)

    def _move(self, move: Any, source: dict[Node, Any], target: dict[Node, Any], node: Node) -> None:
        function, in_blocks = move(batch_of(node), *extents(node), DTYPES[node.typed.dtype].name), target is self.blocked
        target[node] = self._kernel(function, [source[node]], node, in_blocks, {IN_PLACE: 0})

    def _kernel(self, function: Any, operands: list[Any], node: Node, in_blocks: bool, attributes: Mapping[str, Any]) -> Any:
        """A call of a scheduled function; the same function is added once, and once more for calls that are views.

        A sequence that lies as it is given is shown to it as an image of one row, and what it makes as a sequence again.
        """
        added = self._added(function, attributes)
        *given, made = (len(param.ty.shape) for param in function.params)
        shown = [self._as_image(value) if rank == 4 and value.ty.ndim == 3 else value for value, rank in zip(operands, given, strict=True)]
        is_line = not in_blocks and node.typed.rank == 3 and made == 4
        type_ = TensorType(node.typed.dtype, (*node.typed.shape[:2], 1, node.typed.shape[2])) if is_line else node.typed
        called = self.emitter.tvm.relax.call_tir(added, shown, self._type(node, in_blocks, type_))
        result = self.emitter.builder.emit(called, node.name)
        return self.emitter.builder.emit(self.emitter.ops.reshape(result, self.emitter.shape(node.typed)), node.name) if is_line else result

    def _added(self, function: Any, attributes: Mapping[str, Any]) -> Any:
        key = function, VIEW_OF in attributes
        if key not in self.kernels:
            made = function.without_attr("global_symbol").with_attrs(attributes)
            self.kernels[key] = self.emitter.builder.add_func(made, f"kernel{len(self.kernels)}")
        return self.kernels[key]

    def _as_image(self, value: Any) -> Any:
        n, c, length = value.ty.shape.values
        return self.emitter.builder.emit(self.emitter.ops.reshape(value, [n, c, self.emitter.dim(1), length]))

    def _type(self, node: Node, in_blocks: bool, plain: TensorType) -> Any:
        if not in_blocks:
            return self.emitter.type(plain)
        channels, rows, cols = extents(node)
        shape = [self.emitter.dim(dim) for dim in (blocks(channels), node.typed.shape[0], rows, cols, LANES)]
        return self.emitter.tvm.relax.TensorType(shape, "float32")
