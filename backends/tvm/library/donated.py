"""Results that lie where an input lay, which its caller gave up: no memory is made for them, and nothing is copied afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..attributes import IN_PLACE, OVER
from ..host import tvm
from .owned import ALLOC_RESULT

__all__ = ["donated_memory"]

MAIN = "main"


def donated_memory(donated: Mapping[int, int], note: Callable[[tuple[int, ...]], None]) -> Any:
    """The pass, to follow StaticPlanBlockMemory: of `main`, each result by its place is written to the argument at the place that `donated`
    gives, if all that reads the argument runs before, or is the kernel that writes the result and reads an element of the argument only for
    the element in its place. `note` hears which results do; others keep memory of their own.
    """
    host = tvm()

    @host.transform.module_pass(opt_level=0, name="DonatedMemory")
    def run(module: Any, context: Any) -> Any:
        functions = dict(module.functions_items())
        var = next((var for var in functions if var.name_hint == MAIN), None)
        if var is None or not donated or len(functions[var].body.blocks) != 1:
            return module
        using = _Using(module, functions[var])
        places = {result: given for result, given in donated.items() if using.allows(result, given)}
        note(tuple(places))
        functions[var] = using.rewritten(places)
        return host.IRModule(functions, attrs=module.attrs)

    return run


class _Using:
    """Straight-line code: which arguments and results a variable shows, and when each is read or written."""

    def __init__(self, module: Any, function: Any) -> None:
        self.module, self.function = module, function
        self.bindings = list(function.body.blocks[0].bindings)
        self.roots: dict[Any, frozenset[Any]] = {param: frozenset([param]) for param in function.params}
        self.made: dict[Any, int] = {}  # where memory of a result is made
        self.steps: dict[Any, list[int]] = {}  # in which a root is used
        self.returned = function.body.body
        self.fields: list[Any] = []
        for step, binding in enumerate(self.bindings):
            value = binding.value
            if getattr(getattr(value, "op", None), "name", None) == ALLOC_RESULT:
                self.made[binding.var], self.roots[binding.var] = step, frozenset([binding.var])
                continue
            shown = self._shown(value)
            self.roots[binding.var] = frozenset() if self._kernel(value) is not None else shown
            if binding.var.same_as(self.returned) and isinstance(value, tvm().relax.Tuple):
                self.fields = list(value.fields)
                continue
            if not isinstance(value, tvm().relax.Var):  # another name for the same memory is no use of it
                for root in shown:
                    self.steps.setdefault(root, []).append(step)

    def allows(self, result: int, given: int) -> bool:
        """Whether the result is written when the argument has been read for the last time."""
        shown = [self.roots.get(field, frozenset()) for field in self.fields]
        param = self.function.params[given]
        if result >= len(shown) or len(shown[result]) != 1 or sum(shown[result] <= other or param in other for other in shown) != 1:
            return False
        (root,) = shown[result]
        uses = self.steps.get(root, [])
        if root not in self.made or not uses or str(root.ty) != str(param.ty):
            return False
        written, read = uses[0], max(self.steps.get(param, [-1]))
        return read < written or (read == written and self._is_over(self.bindings[written].value, param))

    def _is_over(self, value: Any, param: Any) -> bool:
        """Whether the kernel may write its result over this operand."""
        kernel = self._kernel(value)
        if kernel is None:
            return False
        *operands, _ = value.args
        first, last = int(kernel.attrs.get(OVER, 0)), int(kernel.attrs.get(IN_PLACE, 0))
        places = {place for place, operand in enumerate(operands) if param in self.roots.get(operand, frozenset())}
        return places <= {*range(first), *range(len(operands) - last, len(operands))}

    def rewritten(self, places: Mapping[int, int]) -> Any:
        """The function whose results at these places are arguments."""
        relax = tvm().relax
        instead: dict[int, Any] = {}
        for result, given in places.items():
            (root,) = self.roots[self.fields[result]]
            instead[self.made[root]] = relax.VarBinding(root, self.function.params[given])
        bindings = [instead.get(step, binding) for step, binding in enumerate(self.bindings)]
        body = relax.SeqExpr([relax.BindingBlock(bindings)], self.returned)
        old = self.function
        return relax.Function(old.params, body, old.ret_ty, old.is_pure, old.attrs)

    def _kernel(self, value: Any) -> Any:
        """The kernel that a call calls, else None."""
        called = getattr(value, "op", None)
        if not isinstance(called, tvm().ir.GlobalVar):
            return None
        return self.module[called] if isinstance(self.module[called], tvm().tirx.PrimFunc) else None

    def _shown(self, value: Any) -> frozenset[Any]:
        return frozenset[Any]().union(*(self.roots.get(var, frozenset()) for var in tvm().relax.analysis.all_vars(value)))
