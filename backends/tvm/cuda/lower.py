"""Plans for a GPU as a TVM module: of each a Relax function that calls kernels of ours, and stock rows in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....ir.graph import Node
from ....ir.types import DTYPES
from ..cpu.laid import Argument
from ..cpu.work import batch_of
from ..host import tvm
from ..stock.lower import check_sums, emit_stock
from ..stock.relax_emitter import RelaxEmitter, dtype_name
from .kernels import borders
from .kernels.layout import padded
from .plan import ENTER, LEAVE, GpuPlan
from .work import GpuWork, image_of

__all__ = ["lower_for_gpu"]


def lower_for_gpu(plans: Mapping[str, GpuPlan]) -> Any:
    """An IRModule with a function for each plan, by name: `f(inputs..., arguments...)` returns the outputs as a tuple; the plan's
    `arguments` says which.

    Raises: UnsupportedOp naming a node that TVM cannot express.
    """
    builder, kernels, module = tvm().relax.BlockBuilder(), dict[Any, Any](), None
    for name, plan in plans.items():
        check_sums(plan.graph)
        module = _GpuLowering(RelaxEmitter.of(tvm(), plan.graph, on_gpu=True, builder=builder), plan, kernels).run(name)
    return module


class _GpuLowering:
    """Values by node, in either layout, made as the plan says."""

    def __init__(self, emitter: RelaxEmitter, plan: GpuPlan, kernels: dict[Any, Any]) -> None:
        self.emitter = emitter
        self.graph = plan.graph
        self.plan = plan
        self.plain: dict[Node, Any] = {}
        self.padded: dict[Node, Any] = {}
        self.arguments: dict[Argument, Any] = {}
        self.kernels = kernels  # of all functions, by what they are

    def run(self, name: str) -> Any:
        relax = self.emitter.tvm.relax
        inputs = [relax.Var(node.name, self.emitter.type(node.typed)) for node in self.graph.inputs]
        arguments = [self._argument(argument) for argument in self.plan.arguments]
        self.plain = dict(zip(self.graph.inputs, inputs, strict=True))
        self.plain |= dict(zip(self.plan.as_they_are, arguments, strict=False))
        self.arguments = dict(zip(self.plan.arguments, arguments, strict=True))
        return self.emitter.main(inputs, arguments, self._results, name)

    def _argument(self, argument: Argument) -> Any:
        relax = self.emitter.tvm.relax
        return relax.Var(argument.name, relax.TensorType(self._shape(*argument.shape), DTYPES[argument.dtype].name))

    def _results(self) -> list[Any]:
        for call in self.plan.calls:
            node = call.node
            if call.work is not None:
                self._call(call.work)
            elif call.kernel in (ENTER, LEAVE):
                dtype = dtype_name(node.typed)
                sizes = (batch_of(node), *image_of(node), dtype, dtype)
                kind, source, target = (
                    (borders.enter, self.plain, self.padded) if call.kernel == ENTER else (borders.leave, self.padded, self.plain)
                )
                target[node] = self._kernel(kind.name, kind(*sizes), [source[node]], node, call.kernel == ENTER)
            else:
                self.plain[node] = emit_stock(self.emitter, node, [self.plain[operand] for operand in node.inputs])
        return [self.plain[node] for node in self.graph.outputs]

    def _call(self, work: GpuWork) -> None:
        values = [(self.padded if in_padded else self.plain)[node] for node, in_padded in work.reads]
        operands, others = values[: len(work.operands)], values[len(work.operands) :]
        arguments = [self.arguments[argument] for argument in work.arguments]
        kernel, node = work.kernel, work.result
        made = self.padded if work.is_laid else self.plain
        if kernel.finish is None:
            made[node] = self._kernel(kernel.name, kernel.build(), [*operands, *arguments, *others], node, work.is_laid)
            return
        weights, *rest = arguments
        parts = self._kernel(kernel.name, kernel.build(), [*operands, weights], node, True, kernel.splits)
        made[node] = self._kernel(kernel.finish.name, kernel.finish.build(), [parts, *rest, *others], node, work.is_laid)

    def _kernel(self, name: str, function: Any, operands: list[Any], node: Node, in_padded: bool, splits: int = 0) -> Any:
        """A call of a function, which is added once. `splits` are parts of sums. What lies plainly is shown to it as an image."""
        relax = self.emitter.tvm.relax
        if function not in self.kernels:
            called = "".join(letter if letter.isalnum() else "_" for letter in name)
            self.kernels[function] = self.emitter.builder.add_func(function.without_attr("global_symbol"), f"{called}{len(self.kernels)}")
        shown = [self._shown(value, param) for value, param in zip(operands, function.params, strict=False)]
        channels, rows, cols = image_of(node)
        batch = node.typed.shape[0]
        image = (rows, cols, padded(channels)) if in_padded else (channels, rows, cols)
        shape = self._shape(*([splits] if splits else []), batch, *image)
        type_ = relax.TensorType(shape, "float32" if splits else dtype_name(node.typed))
        made = self.emitter.builder.emit(relax.call_tir(self.kernels[function], shown, type_), node.name)
        if in_padded or node.typed.rank == 4:
            return made
        return self.emitter.builder.emit(self.emitter.ops.reshape(made, self.emitter.shape(node.typed)), node.name)

    def _shown(self, value: Any, param: Any) -> Any:
        """A value of the kernel's rank: scores and sequences lie as images do."""
        wanted = list(param.ty.shape)
        if value.ty.ndim == len(wanted):
            return value
        batch, *_ = value.ty.shape.values
        return self.emitter.builder.emit(self.emitter.ops.reshape(value, [batch, *wanted[1:]]))

    def _shape(self, *extents: Any) -> list[Any]:
        return [self.emitter.dim(extent) for extent in extents]
