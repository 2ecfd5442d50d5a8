"""What no tensor expression says: values written where others name them, and loops whose steps need the step before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ....ir.graph import Node
from .relax_emitter import RelaxEmitter, dtype_name

__all__ = ["Statements", "written"]


class Statements:
    """What writes a kernel's statements, in the order of its loops; on one thread, as none is a network's bulk."""

    def __init__(self, emitter: RelaxEmitter) -> None:
        self.tirx = emitter.tirx
        self.to: Any = emitter.tvm.script.ir_builder.tirx

    def once(self, *, on_gpu: bool) -> Any:
        """A loop around all statements, as an expression's kernel is one statement; on a GPU its only thread."""
        ends = self.tirx.IntImm("int64", 0), self.tirx.IntImm("int64", 1)
        return self.to.thread_binding(*ends, thread="threadIdx.x") if on_gpu else self.to.serial(*ends)

    @contextmanager
    def each(self, shape: Sequence[Any]) -> Generator[tuple[Any, ...]]:
        """One body for every place of a shape, the last axis fastest."""
        with ExitStack() as stack:
            yield tuple(stack.enter_context(self.to.serial(self.tirx.IntImm("int64", 0), extent)) for extent in shape)

    def store(self, buffer: Any, value: Any, at: Sequence[Any]) -> None:
        self.to.buffer_store(buffer, value, list(at))


def written(emitter: RelaxEmitter, node: Node, body: Callable[..., None], *operands: Any) -> Any:
    """A kernel from statements: `body(statements, result, *buffers)` writes them."""

    def kernel(*tensors: Any, shape: Any) -> Any:
        def statements(ins: Any, outs: Any) -> Any:
            write = Statements(emitter)
            with emitter.tvm.script.ir_builder.IRBuilder() as builder:
                with write.once(on_gpu=emitter.on_gpu):
                    body(write, outs[0], *ins)
                return builder.get()

        dtype = dtype_name(node.typed)
        return emitter.te.extern([shape], list(tensors), statements, dtype=dtype, name=node.kind.name)

    return emitter.compute(node, kernel, *operands)
