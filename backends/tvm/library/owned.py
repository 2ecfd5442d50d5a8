"""Memory that belongs to whoever runs a function: it is made once, by a function of its own, and given with each call.

A run then allocates nothing, and every value lies where it lay in the run before: what a CUDA graph, which holds addresses, needs.
"""

from __future__ import annotations

import math
from typing import Any

from ..host import tvm
from .arena import ALLOC_STORAGE

__all__ = ["MEMORY_OF", "BytesOfFunctions", "memory_of", "owned_memory"]

BytesOfFunctions = dict[str, int]  # bytes that a function's memory takes, by its name
ALLOC_RESULT = "relax.builtin.alloc_tensor"
MEMORY_OF = "memory_of_"


def memory_of(name: str) -> str:
    """The function that makes the memory for the function of that name."""
    return f"{MEMORY_OF}{name}"


def owned_memory(planned: BytesOfFunctions) -> Any:
    """The pass, to follow StaticPlanBlockMemory, for functions whose sizes are all numbers: `f(arguments...)` that allocates becomes
    `f(arguments..., memory...)`, and `memory_of_f()` returns that memory: intermediates and, as tensors of their own, results.
    """
    host = tvm()
    relax = host.relax

    @host.transform.module_pass(opt_level=0, name="OwnedMemory")
    def run(module: Any, context: Any) -> Any:
        functions = dict(module.functions_items())
        for var, function in list(functions.items()):
            if not isinstance(function, relax.Function):
                continue
            taken, rest = _parted(function)
            body = relax.SeqExpr([relax.BindingBlock(rest)], function.body.body)
            params = [*function.params, *(binding.var for binding in taken)]
            functions[var] = relax.Function(params, body, function.ret_ty, function.is_pure, function.attrs)
            functions[host.ir.GlobalVar(memory_of(var.name_hint))] = _making(memory_of(var.name_hint), taken)
            planned[var.name_hint] = sum(_nbytes(binding.value) for binding in taken)
        return host.IRModule(functions, attrs=module.attrs)

    return run


def _parted(function: Any) -> tuple[list[Any], list[Any]]:
    """What allocates, and the other bindings."""
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    taken = [binding for binding in bindings if _allocates(binding)]
    return taken, [binding for binding in bindings if not _allocates(binding)]


def _making(name: str, taken: list[Any]) -> Any:
    """A function that makes the memory anew and returns it as a tuple."""
    relax = tvm().relax
    builder = relax.BlockBuilder()
    made = [relax.Var(binding.var.name, binding.var.ty) for binding in taken]
    bindings = [relax.VarBinding(var, binding.value) for var, binding in zip(made, taken, strict=True)]
    whole = builder.normalize(relax.Tuple(made))
    out = relax.Var("memory", whole.ty)
    body = relax.SeqExpr([relax.BindingBlock([*bindings, relax.VarBinding(out, whole)])], out)
    return relax.Function([], body, whole.ty, False).with_attr({"global_symbol": name, "relax.force_pure": True})


def _allocates(binding: Any) -> bool:
    return getattr(getattr(binding.value, "op", None), "name", None) in (ALLOC_STORAGE, ALLOC_RESULT)


def _nbytes(call: Any) -> int:
    """A storage's extent is bytes, of a type that has one."""
    extents = math.prod(int(extent) for extent in call.args[0].values)
    if call.op.name == ALLOC_STORAGE:
        return extents
    return extents * int(tvm().DataType(str(call.args[1].value)).itemsize)
