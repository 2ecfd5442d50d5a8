"""TVM's virtual machine, by its runtime alone: the package `tvm` has the same, and takes most of a second to import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..host import runtime

__all__ = ["VirtualMachine"]

POOLED = 2  # an allocator that keeps what was given back
CPU = 1  # DLPack's number


class VirtualMachine:
    """Runs the functions of a library on a device. For one thread at a time."""

    def __init__(self, library: Any, device: Any) -> None:
        self._module = library["vm_load_executable"]()
        host = [] if device.dlpack_device_type() == CPU else [runtime().device("cpu")]  # which computes shapes
        places = [(each.dlpack_device_type(), each.index, POOLED) for each in (device, *host)]
        self._module["vm_initialization"](*(number for place in places for number in place))

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._module[name]

    def bound(self, name: str, last: Sequence[Any]) -> Callable[..., Any]:
        """A function of the library with its last arguments given."""
        self._module["save_function"](name, "bound", 1, *last)
        return self._module["bound"]

    def watch(self, watch: Callable[..., int]) -> None:
        """Have `watch(function, name, is_before, result, *arguments)` called before and after each call."""
        self._module["set_instrument"](watch)
