"""Plans for a GPU as a TVM module: of each a Relax function that calls kernels of ours, and stock rows in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....ir.graph import Node
from ....ir.progress import each
from ..cpu.kernels.kernel import Kind
from ..cpu.plan_variables import PlanVariables
from ..cpu.work import batch_of
from ..host import tvm
from ..stock.lower import check_sums, emit_stock
from ..stock.relax_emitter import RelaxEmitter, dtype_name
from .kernels import borders
from .kernels.kernel import VIEW, GpuKernel
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
    for name, plan in each("writing the kernels of each batch", plans.items()):
        check_sums(plan.graph)
        module = _GpuLowering(RelaxEmitter.of(tvm(), plan.graph, on_gpu=True, builder=builder), plan, kernels).run(name)
    return module


class _GpuLowering:
    """Values by node, in either layout, made as the plan says."""

    def __init__(self, emitter: RelaxEmitter, plan: GpuPlan, kernels: dict[Any, Any]) -> None:
        self.emitter = emitter
        self.graph = plan.graph
        self.plan = plan
        self.given = PlanVariables.of(emitter, plan)
        self.plain = dict(self.given.plain)
        self.padded: dict[Node, Any] = {}
        self.kernels = kernels  # of all functions, by what they are

    def run(self, name: str) -> Any:
        return self.emitter.main(self.given.inputs, self.given.arguments, self._results, name)

    def _results(self) -> list[Any]:
        for call in self.plan.calls:
            node = call.node
            if call.work is not None and call.kernel == VIEW:
                for operand in call.work.operands:  # or, without any, it lies where they were written
                    self.padded[node] = self.padded[operand]
            elif call.work is not None:
                self._call(call.work)
            elif call.kernel == ENTER:
                self.padded[node] = self._move(borders.enter, self.plain, node)
            elif call.kernel == LEAVE:
                self.plain[node] = self._as_given(self._move(borders.leave, self.padded, node), node)
            else:
                self.plain[node] = emit_stock(self.emitter, node, [self.plain[operand] for operand in node.inputs])
        return [self.plain[node] for node in self.graph.outputs]

    def _call(self, work: GpuWork) -> None:
        values = [(self.padded if in_padded else self.plain)[node] for node, in_padded in work.reads]
        operands, others = values[: len(work.operands)], values[len(work.operands) :]
        arguments = [self.given.by_argument[argument] for argument in work.arguments]
        kernel, node = work.kernel, work.within or work.result
        made = self.padded if work.is_laid else self.plain
        if kernel.finish is not None:
            weights, *arguments = arguments
            operands = [self._kernel(kernel, [*operands, weights], self._type(work.result, True, kernel.splits), work.result)]
            kernel = kernel.finish
        there = made.get(node) if work.within else None
        called = self._kernel(kernel, [*operands, *arguments, *others], self._type(node, work.is_laid), work.result, there)
        made[node] = called if work.is_laid else self._as_given(called, node)

    def _move(self, kind: Kind[..., GpuKernel], source: dict[Node, Any], node: Node) -> Any:
        dtype = dtype_name(node.typed)
        kernel = kind.of(batch_of(node), *image_of(node), dtype, dtype)
        return self._kernel(kernel, [source[node]], self._type(node, kind is borders.enter), node)

    def _kernel(self, kernel: GpuKernel, operands: list[Any], type_: Any, node: Node, there: Any = None) -> Any:
        """A call of a function, which is added once. It writes into what is `there`, if anything is."""
        relax, function = self.emitter.tvm.relax, kernel.written()
        if function not in self.kernels:
            called = "".join(letter if letter.isalnum() else "_" for letter in kernel.name)
            self.kernels[function] = self.emitter.builder.add_func(function.without_attr("global_symbol"), f"{called}{len(self.kernels)}")
        shown = [self._shown(value, param) for value, param in zip(operands, function.params, strict=False)]
        if there is None:
            call = relax.call_tir(self.kernels[function], shown, type_)
        else:
            call = relax.call_tir_inplace(self.kernels[function], [*shown, there], [len(shown)], type_)
        return self.emitter.builder.emit(call, node.name)

    def _type(self, node: Node, in_padded: bool, splits: int = 0) -> Any:
        """Of a value as a kernel leaves it, an image always, or of the parts of its sums."""
        channels, rows, cols = image_of(node)
        image = (rows, cols, padded(channels)) if in_padded else (channels, rows, cols)
        shape = self._shape(*([splits] if splits else []), node.typed.shape[0], *image)
        return self.emitter.tvm.relax.TensorType(shape, "float32" if splits else dtype_name(node.typed))

    def _as_given(self, value: Any, node: Node) -> Any:
        if node.typed.rank == 4:
            return value
        return self.emitter.builder.emit(self.emitter.ops.reshape(value, self.emitter.shape(node.typed)), node.name)

    def _shown(self, value: Any, param: Any) -> Any:
        """A value of the kernel's rank: scores and sequences lie as images do."""
        wanted = list(param.ty.shape)
        if value.ty.ndim == len(wanted):
            return value
        batch, *_ = value.ty.shape.values
        return self.emitter.builder.emit(self.emitter.ops.reshape(value, [batch, *wanted[1:]]))

    def _shape(self, *extents: Any) -> list[Any]:
        return [self.emitter.dim(extent) for extent in extents]
