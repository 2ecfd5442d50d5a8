"""Kernels of our own for GPUs as source and launch, to be executed by the emulator or compiled by nvcc, without Relax around them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convc.backends.tvm.cuda.emulator.kernels import Kernels, Launch
from convc.backends.tvm.cuda.emulator.machine import USUAL, Order
from convc.backends.tvm.cuda.target import cuda_target
from convc.backends.tvm.gpus.architectures import USUAL as USUAL_GPU
from convc.backends.tvm.gpus.architectures import Architecture
from convc.backends.tvm.host import tvm, tvm_ffi
from convc.ir.types import Array

SIZES = ("blockIdx.x", "blockIdx.y", "blockIdx.z", "threadIdx.x", "threadIdx.y", "threadIdx.z")


@dataclass(frozen=True)
class Emitted:
    """One kernel; `order` are its arguments' names."""

    source: str
    launch: Launch
    order: tuple[str, ...]

    def run(self, arrays: Mapping[str, Array], order: Order = USUAL, source: str | None = None) -> dict[str, Array]:
        """The arrays by the names of the arguments, as they are afterwards."""
        made = Kernels(source or self.source).run(self.launch, [arrays[name] for name in self.order], order)
        return dict(zip(self.order, made, strict=True))


def emitted(function: Any, name: str = "main", arch: Architecture = USUAL_GPU) -> Emitted:
    host = tvm()
    target = cuda_target(arch)
    passes, _, finish = host.tirx.get_tir_pipeline("tirx")
    build = importlib.import_module("tvm.tirx.build")
    module = passes(host.tirx.transform.BindTarget(target)(host.IRModule({name: function.with_attr("global_symbol", name)})))
    on_host, on_device = build.split_host_device_mods(module)
    (device,) = on_device.values()
    source = str(build.codegen_build(finish()(device), target).inspect_source())
    launches: list[Any] = []

    def note(call: Any) -> None:
        if getattr(call.op, "name", "") == "tirx.call_ffi_kernel":
            launches.append(call)

    for made in on_host.functions.values():
        tvm_ffi().structural_walk(made.body, (host.ir.Call, note))
    (call,) = launches
    given = dict(zip(call.attrs.launch_params, call.args[-len(call.attrs.launch_params) :], strict=True))
    sizes = [int(given.get(name, 1)) for name in SIZES]
    kernel = str(call.args[0].value)
    parameters = re.search(rf"\b{kernel}\(([^)]*)\) \{{", source)
    assert parameters is not None
    order = tuple(re.sub(r"_ptr$", "", parameter.split()[-1]) for parameter in parameters[1].split(","))
    shared = int(given.get("tirx.use_dyn_shared_memory", 0))
    return Emitted(source, Launch(kernel, (sizes[0], sizes[1], sizes[2]), (sizes[3], sizes[4], sizes[5]), shared), order)
