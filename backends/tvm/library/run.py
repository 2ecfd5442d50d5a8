"""The runtime: a built library with its weights, callable from any thread."""

from __future__ import annotations

import functools
import mmap
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....ir.binding import batch_names, empty_outputs, match_inputs, specialize
from ....ir.dims import evaluate
from ....ir.donation import check_given_up
from ....ir.errors import ArtifactError, InvalidInput, InvalidModel, UsageError
from ....ir.files import scratch_folder
from ....ir.graph import Node
from ....ir.holding import shown
from ....ir.memory import need_bytes, ran_out
from ....ir.types import DTYPES, Array, TensorType
from ..cpu.laid import Argument
from ..gpus.streams import current_device
from ..host import forbids_code, home_process, physical_cores, reason, runtime, thread_count, tvm, use_threads
from ..stock.lower import SUMS, check_sums
from ..stock.relax_emitter import told_sizes
from .built import Library
from .machine import VirtualMachine
from .on_gpu import gpu_device, machine_code
from .same_memory import Result, carrier, is_shareable, memory_for, seen, shared, shown_to_tvm

__all__ = ["DEVICES", "LoadedLibrary", "code_of", "in_bytes", "weight_of"]

DEVICES = ("cpu", "cuda")
SMALL = 1 << 14  # bytes that are copied in less time than it takes to find out whether their memory can be shared
FITTING = 8  # kinds of inputs that a thread remembers
FORKED = "start processes by spawn, or load it with threads=1"


@dataclass(frozen=True, slots=True)
class _Copy:
    array: Array
    tensor: Any  # shows the array's memory


class LoadedLibrary:
    """A library that is ready to run. Made by `LoadedLibrary.load`.

    TVM's virtual machine is not thread-safe, so every thread that calls `run` gets one of its own;
    they share the code and the weights. For a small network Python takes longer than the kernels, so what a run needs is looked up once.
    """

    def __init__(self, of: Library, library: Any, single: Any, device: Any, weights: list[Any], threads: int) -> None:
        self.graph = of.graph
        self.calls = of.calls
        self.in_place = of.in_place
        self.threads = threads
        self._library = library
        self._single = single  # for one image, or None
        self._device = device
        self._weights = weights
        self._weights_at = frozenset(tensor.data_ptr() for tensor in weights)
        self._told_sizes = told_sizes(of.graph)
        self._local = threading.local()
        self._first, self._has_run = threading.Lock(), False
        self._home = home_process()
        self._is_here = _is_host(device)
        self._thread_count = runtime().get_global_func("runtime.NumThreads")
        self._inputs = [(node.name, DTYPES[node.typed.in_bytes.dtype]) for node in of.graph.inputs]
        self._outputs = [(node.name, DTYPES[node.typed.dtype], node.typed.is_stored) for node in of.graph.outputs]

    @staticmethod
    def load(
        library: Library,
        weights: Mapping[str, Array] | None = None,
        threads: int | None = None,
    ) -> LoadedLibrary:
        """`library`, as it was built or as a manifest tells of it.

        `weights` are the parameters' values by name; of these, arrays that are 64-byte aligned are shared and must not change. By default
        they are the graph's own, as they are now: who gave these arrays may write to them later. `threads` bounds the workers (default: a
        core each); the number in use is `LoadedLibrary.threads`.

        Raises: BackendMissing without TVM or the device; ArtifactError for a file that is no library; UsageError
        without a folder for temporary files that code may run from; InvalidInput for weights that do not fit.
        """
        sizes = (TensorType(each.dtype, each.shape).nbytes for each in library.arguments)
        need_bytes(
            f"@{library.graph.name} with its weights", sum(size for size in sizes if isinstance(size, int)), "choose a smaller network"
        )
        runtime(physical_cores() if threads is None else threads)  # said each time: another module may have lowered it
        place, whole = _device_and_code(library)
        for_one = code_of(library.single) if library.single else None
        given = functools.partial(weight_of, weights=weights)
        tensors = [_tensor(_apart(each) if weights is None else each.make(given), place) for each in library.arguments]
        return LoadedLibrary(library, whole, for_one, place, tensors, thread_count())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, the caller's own. Safe to call from many threads at once; inputs that are 64-byte aligned are not copied. Those
        that the library writes over are: the caller keeps them.

        Raises: InvalidInput for arrays that do not fit; UsageError for several threads in a process forked from one with TVM; UnsupportedOp
        for empty ones over which something would be summed.
        """
        if not self._is_here:
            return self._run_there(inputs)
        if not self.in_place:
            return self._run(inputs, {})
        match_inputs(self.graph, inputs)
        return self._run({**inputs, **{name: np.array(inputs[name]) for name in self.in_place.values()}}, self.in_place)

    def _run_there(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """On a GPU. The first run is alone: TVM lets another thread launch a kernel before it has asked for the shared memory it takes."""
        with current_device(self._device.index), nullcontext() if self._has_run else self._first:
            found = self._run(inputs, {})
        self._has_run |= all(array.size for array in found.values())
        return found

    def run_over(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """As `run`, but outputs that lie in an input are that array, whose values are gone.

        Raises: as `run`; InvalidInput for such an array that cannot be written to, or whose memory another input shares.
        """
        match_inputs(self.graph, inputs)
        check_given_up(inputs, self.in_place.values())
        return self._run(inputs, self.in_place)

    def _run(self, inputs: Mapping[str, Array], in_place: Mapping[str, str]) -> dict[str, Array]:
        """`in_place` are the library's."""
        if self.threads > 1 and os.getpid() != self._home:
            raise UsageError(f"this process was forked from one that uses TVM, whose {self.threads} threads it lacks; {FORKED}")
        function = self._fitting(inputs)
        if function is None:
            return empty_outputs(self.graph, match_inputs(self.graph, inputs)) or {}
        if self._thread_count() != self.threads:  # the pool belongs to the calling thread, and another module may have set it
            use_threads(self.threads)
        given = [self._given(name, np.asarray(inputs[name]).astype(dtype, copy=False)) for name, dtype in self._inputs]
        try:
            owned = self._owned(function(*given), given, in_place)  # of a device: what its kernels met is told as results are fetched
        except Exception as error:
            raise (ran_out(error) or InvalidModel(f"graph @{self.graph.name} fails in TVM: {reason(error)}")) from error
        for output, name in in_place.items():  # what came unaligned was computed on in a copy
            if not np.may_share_memory(owned[output], inputs[name]):
                np.copyto(inputs[name], owned[output])
        return owned | {output: inputs[name] for output, name in in_place.items()} if in_place else owned

    def watched(self, watch: Callable[..., int]) -> Callable[[Mapping[str, Array]], None]:
        """Runs in a machine of their own that calls watch(function, name, is_before, result, *arguments) before and after each call."""
        machine = VirtualMachine(self._library, self._device)
        machine.watch(watch)
        main = machine["main"]

        def run(inputs: Mapping[str, Array]) -> None:
            if thread_count() != self.threads:
                use_threads(self.threads)
            told = [self._shape(match_inputs(self.graph, inputs))] if self._told_sizes else []
            main(*(_tensor(in_bytes(node, inputs[node.name]), self._device) for node in self.graph.inputs), *told, *self._weights)

        return run

    def _fitting(self, inputs: Mapping[str, Array]) -> Callable[..., Any] | None:
        """The function for inputs of such shapes and types, None where all outputs are empty. A thread remembers which fit.

        Raises: InvalidInput for arrays that do not fit.
        """
        try:
            key = tuple([(name, array.shape, array.dtype) for name, array in inputs.items()])
        except AttributeError:  # something is no array, and the next line says what
            match_inputs(self.graph, inputs)
            raise
        known: dict[Any, Callable[..., Any] | None] | None = getattr(self._local, "fitting", None)
        if known is None:
            known = self._local.fitting = {}
        if key not in known:
            sizes = match_inputs(self.graph, inputs)
            while len(known) >= FITTING:
                del known[next(iter(known))]
            known[key] = None if self._is_nothing(inputs, sizes) else self._told(self._function(set(sizes.values()) == {1}), sizes)
        return known[key]

    def _told(self, function: Callable[..., Any], sizes: Mapping[str, int]) -> Callable[..., Any]:
        """The function with the numbers of sizes that no input shows after its inputs."""
        if not self._told_sizes:
            return function
        told = self._shape(sizes)
        return lambda *given: function(*given, told)

    def _shape(self, sizes: Mapping[str, int]) -> Any:
        return runtime().Shape([evaluate(dim, sizes) for dim in self._told_sizes])

    def _is_nothing(self, inputs: Mapping[str, Array], sizes: Mapping[str, int]) -> bool:
        """Whether nothing needs to be computed, as for an empty batch.

        Raises: UnsupportedOp where something is computed of what is empty, an input or what is cut from one, and TVM cannot.
        """
        has_empty = any(0 in array.shape for array in inputs.values())
        if has_empty and empty_outputs(self.graph, sizes) is not None:
            return True
        if sizes and (has_empty or set(sizes) - batch_names(self.graph)):
            check_sums(specialize(self.graph, sizes), SUMS)
        return False

    def _function(self, is_single: bool) -> Callable[..., Any]:
        """The calling thread's entry point, which knows the weights: for a single image its own, where there is one."""
        library = self._library if self._single is None or not is_single else self._single
        machines: dict[Any, Any] | None = getattr(self._local, "machines", None)
        if machines is None:
            machines = self._local.machines = {}
        if library not in machines:
            try:
                machines[library] = VirtualMachine(library, self._device).bound("main", self._weights)
            except Exception as error:
                raise InvalidModel(f"graph @{self.graph.name} cannot be run by TVM: {reason(error)}") from error
        return machines[library]

    def _given(self, name: str, array: Array) -> Any:
        """An input as a tensor: small or unaligned, it is copied to where the thread's last one was, if that was of its size. An empty one
        has no place.
        """
        if not self._is_here or not array.size:
            return _tensor(array, self._device)
        if array.nbytes > SMALL and is_shareable(array):
            return shown_to_tvm(array)
        copies: dict[str, _Copy] | None = getattr(self._local, "copies", None)
        if copies is None:
            copies = self._local.copies = {}
        copy = copies.get(name)
        if copy is None or copy.array.shape != array.shape:
            memory = memory_for(array)
            copy = copies[name] = _Copy(memory, shared(memory))
        np.copyto(copy.array, array)
        return copy.tensor

    def _owned(self, results: Sequence[Any], given: Sequence[Any], in_place: Mapping[str, str]) -> dict[str, Array]:
        """Results that nobody else writes to: in TVM's memory, or copied from it where they are small, an argument or another result.

        None begins inside another: what a function returns has storage of its own, and is an argument only as a whole.
        """
        if not self._is_here:
            return {name: results[i].numpy().astype(dtype, copy=False) for i, (name, dtype, _) in enumerate(self._outputs)}
        owned: dict[str, Array] = {}
        taken: set[int] = set()
        for i, (name, dtype, is_stored) in enumerate(self._outputs):
            tensor = results[i]  # one by one in half the time that the iterator takes
            array = seen(tensor, dtype)
            if is_stored or name in in_place:
                owned[name] = array
                continue
            if array.nbytes > SMALL:
                taken = taken or {other.data_ptr() for other in given}
                place = tensor.data_ptr()
                if place not in taken and place not in self._weights_at:
                    taken.add(place)
                    own = np.asarray(Result(tensor, carrier(dtype)))
                    owned[name] = own if own.dtype == dtype else own.view(dtype)
                    continue
            owned[name] = array.copy()
        return owned


def _device_and_code(library: Library) -> tuple[Any, Any]:
    """Where it runs, and what is loaded of it; for the host TVM's runtime will do."""
    if library.device not in DEVICES:
        raise UsageError(f"unknown device '{library.device}'; known are {', '.join(DEVICES)}")
    if library.device == "cpu":
        return runtime().device("cpu"), code_of(library.path)
    host = tvm()
    place = gpu_device(host, library)
    with machine_code(host, library):
        return place, code_of(library.path)


def _is_host(device: Any) -> bool:
    return device.dlpack_device_type() == runtime().device("cpu").dlpack_device_type()


def code_of(path: Path) -> Any:
    """A library's, loaded from a copy with a name of its own: for a path that it knows, the linker returns what it found there first."""
    try:
        code = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{shown(path)} cannot be read: {error.strerror}") from error
    with scratch_folder() as folder:
        copy = folder / "model.so"
        copy.write_bytes(code)
        try:
            return runtime().load_module(str(copy))
        except Exception as error:
            if forbids_code(folder):
                where = folder.parent
                raise UsageError(
                    f"{shown(path)} is loaded from a copy in '{where}', which is mounted noexec; set TMPDIR elsewhere"
                ) from error
            raise ArtifactError(f"{shown(path)} is not a library TVM can load: {reason(error)}") from error


def weight_of(node: Node, weights: Mapping[str, Array] | None) -> Array:
    """A parameter's value among those given, or as it is drawn.

    Raises: InvalidInput where it is not there or of another type.
    """
    if weights is None:
        assert node.weights is not None
        return node.weights.drawn()
    if node.name not in weights:
        raise InvalidInput(f"the weights hold no value for parameter '{node.name}' ({node.type})")
    array = weights[node.name]
    if TensorType.of(array) != node.type:
        raise InvalidInput(f"the weight '{node.name}' is {TensorType.of(array)}, expected {node.type}")
    return array


def _apart(argument: Argument) -> Array:
    """Of the graph's own weights, and in no memory that somebody else writes to."""
    seen: list[Array] = []

    def value(node: Node) -> Array:
        seen.append(weight_of(node, None))
        return seen[-1]

    array = argument.make(value)
    is_theirs = any(_can_be_written(each) and np.may_share_memory(array, each) for each in seen)
    return array.copy() if is_theirs else array


def _can_be_written(array: Any) -> bool:
    """Whether it, or what it is a view of, is writable; what is no array, as of another library, is taken to be."""
    while (flags := getattr(array, "flags", None)) is not None:
        if flags.writeable:
            return True
        array = array.base
    return array is not None and not isinstance(array, bytes | mmap.mmap)


def _tensor(array: Array, device: Any) -> Any:
    """A TVM tensor, sharing memory with the array where the device and its alignment allow."""
    array = np.asarray(array, order="C")
    if not _is_host(device):
        return tvm().runtime.tensor(array, device)
    if array.size and not is_shareable(array):
        memory = memory_for(array)
        np.copyto(memory, array)
        array = memory
    return shown_to_tvm(array)


def in_bytes(node: Node, array: Array) -> Array:
    """As the library takes it: what has less than 8 bits, in bytes."""
    return np.asarray(array).astype(DTYPES[node.typed.in_bytes.dtype], copy=False)
