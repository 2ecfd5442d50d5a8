"""One arena for all intermediates of a function. TVM plans several storages, each of which holds one value at a time.

A tensor may be written over an operand that dies there, where its kernel says that it reads an element of that operand only for the
element of the result at the same place. A kernel that would only put its operands end to end, or take a piece of one, is left out, where
its operands can lie in its result or its result in the operand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ....ir.placement.arrange import arrange
from ....ir.placement.greedy import Span, arena_of, highest_load
from ....ir.placement.views import Views
from ..attributes import IN_PLACE, VIEW_OF
from ..host import tvm

__all__ = ["ALLOC_STORAGE", "Arena", "one_arena"]

ALIGNMENT = 64  # bytes; what kernels for CPUs count on
ALLOC_STORAGE, ALLOC_TENSOR = "relax.memory.alloc_storage", "relax.memory.alloc_tensor"


@dataclass(frozen=True, slots=True)
class Arena:
    """What a function's intermediates take. Units: bytes, for one image where the batch has a name.

    `lower_bound` is the load of the fullest step; `unshared` what `values` of them would take apart; `in_place` lie in an operand's place.
    `views` are not among the values: concatenations and slices that show what others wrote.
    """

    size: int
    lower_bound: int
    unshared: int
    values: int
    in_place: int
    views: int


def one_arena(note: Callable[[Arena], None], alignment: int = ALIGNMENT) -> Any:
    """The pass, to follow StaticPlanBlockMemory: an arena for each function of a network; `note` hears what was planned. Unit of
    `alignment`: bytes.

    Storages stay as they are where their sizes are neither all numbers nor all multiples of one named size.
    """
    host = tvm()

    @host.transform.module_pass(opt_level=0, name="OneArena")
    def run(module: Any, context: Any) -> Any:
        functions = dict(module.functions_items())
        called = set[Any]()
        for var, function in functions.items():
            if not isinstance(function, host.relax.Function):
                continue
            whole, arena = _in_one_arena(module, function, alignment)
            if arena is not None:
                note(arena)
            functions[var] = whole
            called |= {binding.value.op for block in whole.body.blocks for binding in block.bindings if _is_any_call(binding.value)}
        kept = {var: function for var, function in functions.items() if VIEW_OF not in (function.attrs or {}) or var in called}
        return host.IRModule(kept, attrs=module.attrs)

    return run


def _in_one_arena(module: Any, function: Any, alignment: int) -> tuple[Any, Arena | None]:
    """The function, and what its arena holds, None where it is as it was."""
    relax, blocks = tvm().relax, function.body.blocks
    rewriting = _Rewriting(module, blocks[0].bindings, alignment) if len(blocks) == 1 else None
    if rewriting is None or not rewriting.is_possible:
        return function, None
    bindings, arena = rewriting.run()
    body = relax.SeqExpr([relax.BindingBlock(bindings)], function.body.body)
    return relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs), arena


@dataclass
class _Buffer:
    """Memory of one or more tensors, each in the other's place or beside it: bytes of a unit, and the steps in which it is in use."""

    nbytes: int
    first: int
    last: int


class _Rewriting:
    """Straight-line code. A variable shows the buffers of planned tensors: its own, or those of whatever it was made from."""

    def __init__(self, module: Any, bindings: Any, alignment: int) -> None:
        self.module = module
        self.bindings = list(bindings)
        self.buffers: dict[Any, _Buffer] = {}  # by a tensor's variable
        self.nbytes: dict[Any, int] = {}  # of a tensor
        self.places: dict[Any, int] = {}  # of a tensor, in its buffer
        self.shown: dict[Any, set[Any]] = {}
        self.left_out = set[int]()  # steps that are not needed
        self.units: set[Any] = set()  # what sizes are multiples of: a named size, or 1
        for step, binding in enumerate(self.bindings):
            if _is_call(binding.value, ALLOC_TENSOR):
                nbytes, unit = _size(binding.value, alignment)
                self.units.add(unit)
                self.buffers[binding.var] = _Buffer(nbytes, step, step)
                self.nbytes[binding.var], self.places[binding.var] = nbytes, 0
                self.shown[binding.var] = {binding.var}
                continue
            used = self._used(binding.value)
            self.shown[binding.var] = set() if self._function(binding.value) else used  # a kernel's result is an argument
            for tensor in used:
                self.buffers[tensor].last = step

    @property
    def is_possible(self) -> bool:
        return len(self.units) == 1 and None not in self.units

    def run(self) -> tuple[list[Any], Arena]:
        """The bindings with one storage, and what it holds."""
        views = self._show()
        written = [nbytes for tensor, nbytes in self.nbytes.items() if tensor not in views]
        in_place = self._share()
        buffers = list({id(buffer): buffer for buffer in self.buffers.values()}.values())
        spans = [Span(buffer.nbytes, buffer.first, buffer.last) for buffer in buffers]
        bound = highest_load(spans)
        found, _ = arrange(spans, bound)
        size = arena_of(spans, found)
        offsets = {id(buffer): offset for buffer, offset in zip(buffers, found, strict=True)}
        return self._rewritten(size, offsets), Arena(size, bound, sum(written), len(written), in_place, len(views))

    def _show(self) -> set[Any]:
        """Results that are views: no kernel is called for them, and they have one buffer with their operands."""
        laid = Views(self.nbytes)
        for step, binding in enumerate(self.bindings):
            function = self._function(binding.value)
            if function is None or VIEW_OF not in function.attrs:
                continue
            *operands, result = binding.value.args
            tensors = [tensor for tensor in map(self._tensor, operands) if tensor is not None]
            starts = map(int, function.attrs[VIEW_OF])
            if result in self.buffers and len(tensors) == len(operands) and laid.add(result, zip(tensors, starts, strict=True)):
                self.left_out.add(step)
        for places in laid.stretches():
            parts = [self.buffers[tensor] for tensor in places]
            end = max(at + self.nbytes[tensor] for tensor, at in places.items())
            whole = _Buffer(end, min(part.first for part in parts), max(part.last for part in parts))
            self.buffers |= dict.fromkeys(places, whole)
            self.places |= places
        return laid.views

    def _share(self) -> int:
        """Results that lie in the place of an operand of their kernel."""
        count = 0
        for step, binding in enumerate(self.bindings):
            function = self._function(binding.value)
            allowed = int(function.attrs.get(IN_PLACE, 0)) if function else 0
            if not allowed:
                continue
            *operands, result = binding.value.args
            if result not in self.buffers:
                continue
            new = self.buffers[result]
            for operand in operands[len(operands) - allowed :]:
                tensor = self._tensor(operand)
                old = self.buffers.get(tensor)
                readers = sum(self._memory(other) & self._memory(operand) != set() for other in operands)
                if old is None or old.last != step or readers != 1:
                    continue
                if old.nbytes == self.nbytes[tensor] == self.nbytes[result] == new.nbytes:  # both alone, or all that there is in a stretch
                    old.last = new.last
                    self.buffers |= {other: old for other, buffer in self.buffers.items() if buffer is new}
                    count += 1
                    break
        return count

    def _rewritten(self, size: int, offsets: Mapping[int, int]) -> list[Any]:
        relax = tvm().relax
        builder, op = relax.BlockBuilder(), relax.op.memory
        (unit,) = self.units
        arena: Any = None
        made: list[Any] = []

        def bind(var: Any, value: Any) -> None:
            made.append(relax.VarBinding(var, builder.normalize(value)))

        for binding in (binding for step, binding in enumerate(self.bindings) if step not in self.left_out):
            value = binding.value
            if _is_call(value, ALLOC_STORAGE) and arena is None:
                arena = binding.var
                bind(arena, op.alloc_storage(relax.ShapeExpr([_times(size, unit)]), *value.args[1:]))
            elif _is_call(value, ALLOC_TENSOR):
                whole = relax.Var(f"{binding.var.name}_there", binding.var.ty)
                offset = _times(offsets[id(self.buffers[binding.var])] + self.places[binding.var], unit)
                bind(whole, op.alloc_tensor(arena, offset, *value.args[2:]))
                bind(binding.var, op.ensure_zero_offset(whole))  # moves the pointer: kernels take no offsets
            elif not _is_call(value, ALLOC_STORAGE):
                made.append(binding)
        return made

    def _function(self, value: Any) -> Any:
        """The kernel that a call calls, else None."""
        called = getattr(value, "op", None)
        is_ours = isinstance(called, tvm().ir.GlobalVar)
        return self.module[called] if is_ours and isinstance(self.module[called], tvm().tirx.PrimFunc) else None

    def _used(self, value: Any) -> set[Any]:
        return set[Any]().union(*(self.shown.get(var, set()) for var in tvm().relax.analysis.all_vars(value)))

    def _tensor(self, var: Any) -> Any:
        """The planned tensor that a variable shows, None where it is none or several."""
        shown = self.shown.get(var, set())
        return next(iter(shown)) if len(shown) == 1 else None

    def _memory(self, var: Any) -> set[int]:
        """The buffers that a variable shows, by identity."""
        return {id(self.buffers[tensor]) for tensor in self.shown.get(var, set())}


def _size(call: Any, alignment: int) -> tuple[int, Any]:
    """Bytes of an allocation for a unit of 1, rounded up, and the unit: 1, a named size, or None where it is neither."""
    tirx = tvm().tirx
    extents = list(call.args[2].values)
    names = [extent for extent in extents if not isinstance(extent, tirx.IntImm)]
    if len(names) > 1 or not all(isinstance(name, tirx.Var) for name in names):
        return 0, None
    numbers = (int(extent) for extent in extents if isinstance(extent, tirx.IntImm))
    nbytes = math.prod(numbers) * tvm().DataType(str(call.args[3].value)).itemsize
    return -(-nbytes // alignment) * alignment, names[0] if names else 1


def _times(number: int, unit: Any) -> Any:
    size = tvm().tirx.IntImm("int64", number)
    return size if isinstance(unit, int) else size * unit


def _is_any_call(value: Any) -> bool:
    return isinstance(value, tvm().relax.Call)


def _is_call(value: Any, name: str) -> bool:
    return getattr(getattr(value, "op", None), "name", None) == name
