"""How kernels of a module for CUDA are scheduled: each by the first of dlight's rules whose schedule can be lowered, and lowered once."""

from __future__ import annotations

import importlib
from typing import Any

from ....ir.progress import each
from ..host import raise_interruption, tvm, tvm_ffi
from ..library.compile_kernels import calling_by_name, is_kernel
from .kernels.writer import OWN
from .repairs import c_names, exact_constants, sums_of_one

__all__ = ["GpuKernels"]

SCHEDULED = "tirx.is_scheduled"  # dlight's word
ON_DEVICE = "_kernel"  # how TVM ends the name of what runs on the device
GEMV_ROWS = 16  # of threads, that dlight gives a block of a product with a vector


class GpuKernels:
    """Those of one module: `scheduled` in the middle of TVM's passes, and `linked` at their end.

    Some rules match sums that they do not fit, and that shows only when the schedule is made, or when it is lowered to statements. So a
    rule is believed when that was done, and what came of it is kept.
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self.lowered: dict[str, Any] = {}  # host and device functions by the kernel's name
        self.written: dict[str, Any] = {}  # kernels of our own by name

    def scheduled(self) -> Any:
        """The pass after which kernels say what each thread does."""
        host = tvm()

        @host.transform.module_pass(opt_level=0, name="Scheduled")
        def run(module: Any, context: Any) -> Any:
            for var, function in each("scheduling kernels", list(module.functions_items())):
                if not isinstance(function, host.tirx.PrimFunc):
                    continue
                if OWN in function.attrs:
                    self.written[var.name_hint] = function
                    module[var] = _stand_in(function)
                elif SCHEDULED not in function.attrs:
                    module[var] = self._scheduled(var.name_hint, sums_of_one(function))
            return module

        return run

    def _scheduled(self, name: str, function: Any) -> Any:
        *others, last = _rules(function)
        for rule in others:
            try:
                schedule = rule.apply(function, self.target, False)
                if schedule is not None:
                    return self._kept(name, schedule.mod["main"])
            except Exception as error:  # TVM raises many kinds
                raise_interruption(error)
        schedule = last.apply(function, self.target, False)
        return self._kept(name, function if schedule is None else schedule.mod["main"])  # some are written as threads from the start

    def _kept(self, name: str, function: Any) -> Any:
        self.lowered[name] = self._lowered(name, function)
        return function.with_attr(SCHEDULED, True)

    def _lowered(self, name: str, function: Any) -> Any:
        host = tvm()
        written = OWN in function.attrs
        passes, *_ = host.tirx.get_tir_pipeline("tirx") if written else host.tirx.get_default_tir_pipeline(self.target)
        module = host.IRModule.from_expr(function.with_attr("global_symbol", name))
        return passes(host.tirx.transform.BindTarget(self.target)(module))

    def linked(self, module: Any) -> Any:
        """The executable of a module that TVM's passes have been through. Kernels that TVM scheduled itself, and those
        that are written for threads, are lowered only here.
        """
        host = tvm()
        build = importlib.import_module("tvm.tirx.build")
        names = {var: var.name_hint for var, function in module.functions.items() if is_kernel(function)}
        lowered = [
            self.lowered.get(name) or self._lowered(name, self.written.get(name, module[name]))
            for name in each("lowering kernels", names.values())
        ]
        functions = {var: function for part in lowered for var, function in part.functions_items()}
        _, finish_host, finish_device = host.tirx.get_default_tir_pipeline(self.target)
        on_host, on_device = build.split_host_device_mods(host.IRModule(functions))
        code = {target: self._printable(finish_device()(part)) for target, part in on_device.items()}
        library = build.tir_to_runtime(finish_host()(on_host), code, self.target.host)
        rest = calling_by_name(module, names).with_attr("external_mods", [library])
        return host.compile(rest, target=self.target, relax_pipeline=None)

    def _printable(self, module: Any) -> Any:
        """Device functions as the printer of CUDA gets them right. In our own no name is a network's."""
        exact = {var: exact_constants(function) for var, function in module.functions_items()}
        named = {var: function if self._is_ours(var.name_hint) else c_names(function) for var, function in exact.items()}
        return tvm().IRModule(named, attrs=module.attrs)

    def _is_ours(self, device_function: str) -> bool:
        return device_function.removesuffix(ON_DEVICE) in self.written


def _stand_in(function: Any) -> Any:
    """For a kernel that is written for threads: TVM's passes after scheduling look for copies, by the blocks that S-TIR has."""
    host = tvm()
    nothing = host.s_tir.SBlock([], [], [], "root", host.tirx.Evaluate(0))
    return function.with_body(host.s_tir.SBlockRealize([], True, nothing))


def _rules(function: Any) -> list[Any]:
    """dlight's, in TVM's order. All but the last are for sums, and take long to see that there is none. Matmul reads its operands into
    shared memory whether their elements are there or not, so not what a convolution that pads as it sums reads around the image. Nor what
    has masks: it takes several elements at once, and of truth values, which have one byte each, TVM's printer then takes two. GEMV loses
    which sum is whose where results lie along several axes, as those of a grouped convolution for two images do, and stores beyond the last
    where these do not fill its rows of threads.
    """
    gpu = importlib.import_module("tvm.s_tir.dlight").gpu
    sums = _sums(function)
    if not sums:
        return [gpu.Fallback()]
    matmul = [] if any(map(_reads_guarded, sums)) or _has_masks(function) else [gpu.Matmul()]
    gemv = [gpu.GEMV()] if all(map(_is_vector, sums)) else []
    return [*matmul, *gemv, gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback()]


def _sums(function: Any) -> list[Any]:
    """The blocks that sum something."""
    found = list[Any]()

    def note(block: Any) -> None:
        if block.init is not None:
            found.append(block)

    tvm_ffi().structural_walk(function.body, (tvm().s_tir.SBlock, note))
    return found


def _is_vector(block: Any) -> bool:
    """Whether its results lie along one axis at most, and fill whole rows of GEMV's threads; of a named extent it takes one a block."""
    host = tvm()
    spatial = [axis.dom.extent for axis in block.iter_vars if axis.iter_type == host.tirx.IterVar.DataPar]
    numbers = [int(extent) for extent in spatial if isinstance(extent, host.tirx.IntImm)]
    several, named = [number for number in numbers if number != 1], len(spatial) - len(numbers)
    return len(several) + named <= 1 and all(number % GEMV_ROWS == 0 for number in several)


def _has_masks(function: Any) -> bool:
    """Whether it reads or leaves truth values."""
    return any(str(param.ty.dtype) == "bool" for param in function.params if hasattr(param.ty, "dtype"))


def _reads_guarded(block: Any) -> bool:
    """Whether it reads elements under a condition."""
    host, walk = tvm(), tvm_ffi().structural_walk
    found = list[Any]()

    def note(call: Any) -> None:
        if getattr(call.op, "name", None) == "prim.if_then_else":
            walk(call, (host.ir.TensorLoad, found.append))

    walk(block.body, (host.ir.Call, note))
    return bool(found)
