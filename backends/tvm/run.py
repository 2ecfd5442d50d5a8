"""The runtime: a built library with its weights, callable from any thread."""

from __future__ import annotations

import functools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.binding import match_inputs
from ...ir.errors import ArtifactError, BackendMissing, InvalidInput, InvalidModel, UsageError
from ...ir.graph import Graph, Node
from ...ir.types import DTYPES, Array, TensorType
from .fast.plan import beside, plan, single_image
from .fast.work import Winograd
from .host import cuda_compiler, physical_cores, thread_count, tvm, use_threads
from .lower import reason
from .packed import ALIGNMENT

__all__ = ["DEVICES", "Module"]

DEVICES = ("cpu", "cuda")


class Module:
    """A library that is ready to run. Made by `Module.load`.

    TVM's virtual machine is not thread-safe, so every thread that calls `run` gets one of its own;
    they share the code and the weights.
    """

    def __init__(self, graph: Graph, library: Any, single: Any, device: Any, weights: list[Any], threads: int, winograd: Winograd) -> None:
        self.graph = graph
        self.winograd = winograd
        self.threads = threads
        self._library = library
        self._single = single  # for one image, or None
        self._device = device
        self._weights = weights
        self._local = threading.local()

    @staticmethod
    def load(
        path: str | Path,
        graph: Graph,
        weights: Mapping[str, Array] | None = None,
        *,
        device: str = "cpu",
        threads: int | None = None,
        winograd: Winograd = "auto",
        packed: Sequence[Array] | None = None,
    ) -> Module:
        """The library at `path`, built from `graph` with `winograd`, by whose plan the weights are packed.

        `weights` are the parameters' values by name (default: the graph's own); arrays that are 64-byte
        aligned are shared and must not change. `packed` are all arguments besides the inputs as the library takes
        them; then no parameter needs a value. `threads` bounds the workers (default: a core each); the
        number in use is `Module.threads`.

        Raises: BackendMissing without TVM or the device; ArtifactError for a file that is no library;
        InvalidInput for weights that do not fit.
        """
        host = tvm(physical_cores() if threads is None else threads)  # said each time: another module may have lowered it
        place = _device(host, device)
        library = _library(host, Path(path))
        has_single = device == "cpu" and beside(Path(path)).is_file() and single_image(graph) is not None
        single = _library(host, beside(Path(path))) if has_single else None
        arguments = _arguments(graph, weights, device, winograd) if packed is None else packed
        tensors = [_tensor(host, array, place) for array in arguments]
        return Module(graph, library, single, place, tensors, thread_count(), winograd)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, the caller's own. Safe to call from many threads at once; inputs that are 64-byte aligned are not copied.

        Raises: InvalidInput for arrays that do not fit.
        """
        sizes = match_inputs(self.graph, inputs)
        host = tvm()
        if thread_count() != self.threads:  # the pool belongs to the calling thread, and another module may have set it
            use_threads(self.threads)
        given = [_tensor(host, inputs[node.name], self._device) for node in self.graph.inputs]
        try:
            results = self._function(sizes)(*given, *self._weights)
        except Exception as error:
            raise InvalidModel(f"graph @{self.graph.name} fails in TVM: {reason(error)}") from error
        return _owned(self.graph.outputs, results, [*given, *self._weights])

    def watched(self, watch: Callable[..., int]) -> Callable[[Mapping[str, Array]], None]:
        """Runs in a machine of their own that calls watch(function, name, is_before, result, *arguments) before and after each call."""
        host = tvm()
        machine = host.relax.VirtualMachine(self._library, self._device)
        machine.set_instrument(watch)
        main = machine["main"]

        def run(inputs: Mapping[str, Array]) -> None:
            if thread_count() != self.threads:
                use_threads(self.threads)
            main(*(_tensor(host, inputs[node.name], self._device) for node in self.graph.inputs), *self._weights)

        return run

    def _function(self, sizes: Mapping[str, int]) -> Any:
        """The calling thread's entry point: for a single image its own, where there is one."""
        if not hasattr(self._local, "vm"):
            self._local.vm = tvm().relax.VirtualMachine(self._library, self._device)
            self._local.main = self._local.vm["main"]
            self._local.one = self._local.main
            if self._single is not None:
                self._local.one_vm = tvm().relax.VirtualMachine(self._single, self._device)
                self._local.one = self._local.one_vm["main"]
        return self._local.one if set(sizes.values()) == {1} else self._local.main


def _device(host: Any, name: str) -> Any:
    if name not in DEVICES:
        raise UsageError(f"unknown device '{name}'; known are {', '.join(DEVICES)}")
    if name == "cpu":
        return host.cpu()
    if not host.cuda(0).exist:
        raise BackendMissing("no CUDA device is here; run with device cpu, or on a machine with an NVIDIA GPU and its driver")
    if cuda_compiler() is None:
        raise BackendMissing("a CUDA library is compiled when loaded; install nvcc, or: pip install cuda-bindings")
    return host.cuda(0)


def _library(host: Any, path: Path) -> Any:
    """Loaded from a copy with a name of its own: for a path that it knows, the linker returns what it found there the first time."""
    try:
        with tempfile.TemporaryDirectory(prefix="convc-") as folder:
            return host.runtime.load_module(shutil.copyfile(path, f"{folder}/model.so"))
    except Exception as error:
        raise ArtifactError(f"{path} is not a library TVM can load: {reason(error)}") from error


def _arguments(graph: Graph, weights: Mapping[str, Array] | None, device: str, winograd: Winograd) -> Iterator[Array]:
    """What the library takes besides the inputs: for a CPU, weights packed by the plan that it was built by."""
    values = functools.partial(_weight, weights=weights)
    if device == "cpu":
        yield from (argument.make(values) for argument in plan(graph, winograd).arguments)
    else:
        yield from map(values, graph.params)


def _weight(node: Node, weights: Mapping[str, Array] | None) -> Array:
    if weights is None:
        assert node.weights is not None
        return node.weights.drawn()
    if node.name not in weights:
        raise InvalidInput(f"the weights hold no value for parameter '{node.name}' ({node.type})")
    array = weights[node.name]
    if TensorType.of(array) != node.type:
        raise InvalidInput(f"the weight '{node.name}' is {TensorType.of(array)}, expected {node.type}")
    return array


def _tensor(host: Any, array: Array, device: Any) -> Any:
    """A TVM tensor, sharing memory with the array where the device and its alignment allow."""
    array = np.asarray(array, order="C")
    if device.dlpack_device_type() == host.cpu().dlpack_device_type() and array.ctypes.data % ALIGNMENT == 0 and array.size:
        return host.runtime.from_dlpack(np.asarray(_Writable(array)))
    return host.runtime.tensor(array, device)


def _owned(nodes: Sequence[Node], results: Sequence[Any], given: Sequence[Any]) -> dict[str, Array]:
    """Results in TVM's memory, which nobody else writes to; a result that is an argument, or another result, is copied."""
    taken = {tensor.data_ptr() for tensor in given}
    owned: dict[str, Array] = {}
    for i, node in enumerate(nodes):
        tensor = results[i]
        shared = tensor.device.dlpack_device_type() == tvm().cpu().dlpack_device_type() and tensor.data_ptr() not in taken
        owned[node.name] = np.asarray(_Result(tensor, DTYPES[node.typed.dtype])) if shared else tensor.numpy()
        taken.add(tensor.data_ptr())
    return owned


class _Result:
    """Memory of a tensor as NumPy takes it: writable, and kept alive as long as an array looks at it."""

    def __init__(self, tensor: Any, dtype: np.dtype[Any]) -> None:
        self.tensor = tensor
        shape = tuple(int(extent) for extent in tensor.shape)
        self.__array_interface__ = {"version": 3, "data": (tensor.data_ptr(), False), "shape": shape, "typestr": dtype.str}


class _Writable:
    """A read-only array passed off as writable: DLPack before 1.0 knows no other, and TVM never writes to arguments."""

    def __init__(self, array: Array) -> None:
        self.array = array  # keeps the memory alive
        interface = dict(array.__array_interface__)
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
