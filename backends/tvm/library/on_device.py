"""Tensors of other libraries that lie on the GPU, taken as they lie, and results given back as such: by DLPack, which all of them speak."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.binding import OF_HOST
from ....ir.errors import InvalidInput
from ....ir.types import DTYPES, Array
from ..gpus.streams import Stream
from ..host import tvm, tvm_ffi

__all__ = ["Tensors", "tensors_of"]

CPU, CUDA = 1, 2  # kDLCPU, kDLCUDA
# Packages whose tensors know results of others by a function of this module. JAX's are values: nobody may write to one again.
FROM_DLPACK = {"torch": "torch", "cupy": "cupy", "jax": "jax.dlpack", "jaxlib": "jax.dlpack"}
VALUES = frozenset({"jax", "jaxlib"})


@dataclass(frozen=True, slots=True)
class Tensors:
    """Inputs as TVM's tensors in the memory that they came in. `described` are arrays of their shapes and types, without memory;
    `package` is where they came from.
    """

    inputs: Mapping[str, Any]
    described: Mapping[str, Array]
    package: str

    @property
    def are_values(self) -> bool:
        """Whether a result must have memory of its own, which no later run writes to."""
        return self.package in VALUES

    def given_back(self, tensor: Any) -> Any:
        """A result as a tensor of the package that the inputs came from; TVM's own where that takes no others'."""
        module = FROM_DLPACK.get(self.package)
        return importlib.import_module(module).from_dlpack(tensor) if module else tensor


class _Ready:
    """A tensor whose owner makes `stream` wait for what it still computes of it."""

    def __init__(self, tensor: Any, stream: Stream) -> None:
        self.tensor, self.stream = tensor, stream

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        return self.tensor.__dlpack__(stream=self.stream.handle.value)


def tensors_of(given: Mapping[str, Any], device: Any, stream: Stream) -> Tensors:
    """Raises: InvalidInput for a tensor on another device than `device`, or with gaps between its elements, or for a stream of its owner
    that is being captured.
    """
    inputs: dict[str, Any] = {}
    described: dict[str, Array] = {}
    for name, value in given.items():
        kind, number = map(int, value.__dlpack_device__()) if hasattr(value, "__dlpack_device__") else (CPU, 0)
        if (kind, number) != (CUDA, device.index):
            where = "the host" if kind in OF_HOST else f"cuda:{number}" if kind == CUDA else f"a device of DLPack's kind {kind}"
            raise InvalidInput(f"input '{name}' lies on {where}, and the network is on cuda:{device.index}; give all inputs there, or none")
        tensor = _taken(name, value, device, stream)
        if stream.is_captured:
            raise InvalidInput(
                f"input '{name}' comes from a stream that is being captured, and a run is a graph of its own; run it outside of the capture"
            )
        inputs[name] = tensor
        described[name] = np.broadcast_to(np.empty((), _dtype(str(tensor.dtype))), tuple(map(int, tensor.shape)))
    package = type(next(iter(given.values()))).__module__.partition(".")[0]
    return Tensors(inputs, described, package)


def _taken(name: str, value: Any, device: Any, stream: Stream) -> Any:
    if isinstance(value, tvm().runtime.Tensor):  # which asks for no stream: what computes it is on TVM's
        stream.follow(tvm_ffi().get_raw_stream(device))
        return value
    try:
        return tvm_ffi().from_dlpack(_Ready(value, stream), require_contiguous=True)
    except (ValueError, BufferError, RuntimeError) as error:  # gaps, or what its owner does not export, such as what has a gradient
        way_out = "; give x.contiguous()" if isinstance(error, ValueError) else ""
        raise InvalidInput(f"input '{name}' cannot be taken where it lies: {str(error).splitlines()[0]}{way_out}") from error


def _dtype(name: str) -> np.dtype[Any]:
    own = next((dtype for dtype in DTYPES.values() if dtype.name == name), None)
    return own if own is not None else np.dtype(name)
