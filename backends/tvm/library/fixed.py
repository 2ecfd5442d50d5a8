"""A library for fixed batches on a GPU: memory that is made once, a stream of its own for each thread, and runs launched as a whole."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.apart import joining_node, the_batch
from ....ir.binding import InputSizes, empty_outputs, is_on_device
from ....ir.errors import BackendMissing, InvalidInput, InvalidModel
from ....ir.graph import Node
from ....ir.holding import shown
from ....ir.memory import in_units
from ....ir.types import DTYPES, Array
from ..gpus.pinned import Pinned
from ..gpus.streams import Recording, Stream, all_done, current_device, memory_here
from ..host import reason, tvm, tvm_ffi
from ..stock.relax_emitter import dtype_name
from .built import Library, function_of
from .on_device import Tensors, tensors_of
from .on_gpu import gpu_device, machine_code
from .owned import memory_of
from .packed import ALIGNMENT
from .run import code_of, in_bytes, weight_of

__all__ = ["BatchPlace", "FixedLibrary", "Lane", "need_memory", "parts"]

GRAPHS = 4  # captured for a batch, one for each memory that inputs came in; what comes elsewhere is copied


def parts(images: int, batches: Sequence[int], whole: str = "") -> list[tuple[int, int]]:
    """How so many images are run: in turn (images, batch), the batch being the least that holds them. More than the greatest batch has
    are run in several; `whole` says why images may not be run among others, if so.

    Raises: InvalidInput for images that make no batch whole, where they must.
    """
    if whole and images not in batches:
        known = ", ".join(map(str, batches))
        way = f"{whole}; " + (f"compile with --batches {images}" if images else "give one or more")
        raise InvalidInput(f"{images} images are none of the batches {known} that this was compiled for, and {way}")
    most = max(batches)
    full, rest = divmod(images, most)
    return [(most, most)] * full + ([(rest, min(batch for batch in batches if batch >= rest))] if rest else [])


class FixedLibrary:
    """A library that is ready to run; safe from many threads, each of which has memory of its own on the device.

    Inputs may lie on the device: what exports DLPack there is used where it lies, and results are tensors there, valid until the thread's
    next run of that batch.
    """

    def __init__(self, of: Library, code: Any, device: Any, weights: list[Any]) -> None:
        assert of.fixed is not None
        self.graph, self.fixed = of.graph, of.fixed
        self.path = shown(of.path)
        self.batch_name = the_batch(of.graph)
        self.batches = sorted(of.fixed.memory)
        self.device, self.code, self.weights = device, code, weights
        self._local = threading.local()
        self._sizes = InputSizes(of.graph)
        # For runs that look kernels up: TVM lets another thread launch one before it has asked for the shared memory that it takes.
        self.first = threading.Lock()

    @staticmethod
    def load(library: Library, weights: Mapping[str, Array] | None = None) -> FixedLibrary:
        """Raises: as `LoadedLibrary.load`; BackendMissing where the weights do not fit into the device's memory."""
        host = tvm()
        device = gpu_device(host, library)
        with current_device(device.index):
            return FixedLibrary._loaded(host, device, library, weights)

    @staticmethod
    def _loaded(host: Any, device: Any, library: Library, weights: Mapping[str, Array] | None) -> FixedLibrary:
        nbytes = sum(math.prod(each.shape) * DTYPES[each.dtype].itemsize for each in library.arguments)
        need_memory(f"the weights of {shown(library.path)} need", "", nbytes)
        with machine_code(host, library):
            code = code_of(library.path)
        values = functools.partial(weight_of, weights=weights)
        arrays = (np.asarray(each.make(values), order="C") for each in library.arguments)
        return FixedLibrary(library, code, device, [host.runtime.tensor(array, device) for array in arrays])

    @functools.cached_property
    def whole(self) -> str:
        """Why images may not be run among others; empty where they may."""
        node = joining_node(self.graph, self.batch_name) if self.batch_name else None
        return f"images may depend on each other at {node.where}" if node else ""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name: the caller's own arrays, or for inputs on the device tensors there.

        Raises: InvalidInput for inputs that do not fit, or lie elsewhere; BackendMissing where the device has too little memory for the
        batch; KernelFault or InvalidModel for a run that fails.
        """
        with current_device(self.device.index):
            return (self._run_there if any(map(is_on_device, inputs.values())) else self._run_here)(inputs)

    def _run_here(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        sizes = self._sizes.of(inputs)
        if any(0 in array.shape for array in inputs.values()) and (nothing := empty_outputs(self.graph, sizes)) is not None:
            return nothing
        if self.batch_name is None:
            return self._lane.place(self, 0).run(inputs, 0)
        found: list[dict[str, Array]] = []
        at = 0
        for images, batch in parts(sizes[self.batch_name], self.batches, self.whole):
            cut = {name: self._cut(name, array, at, images) for name, array in inputs.items()}
            found.append(self._lane.place(self, batch).run(cut, images))
            at += images
        return found[0] if len(found) == 1 else {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    def _cut(self, name: str, array: Array, at: int, images: int) -> Array:
        return array[at : at + images] if self.batch_name in self.graph.by_name[name].typed.symbols else array

    def _run_there(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        lane = self._lane
        given = tensors_of(inputs, self.device, lane.stream)
        sizes = self._sizes.of(given.described)
        if self.batch_name is None:
            return lane.place(self, 0).run_there(given, 0)
        images = sizes[self.batch_name]
        if not 0 < images <= self.batches[-1]:
            raise InvalidInput(f"{images} images on the device; give 1 to {self.batches[-1]} at once, the greatest batch here")
        ((_, batch),) = parts(images, self.batches, self.whole)
        return lane.place(self, batch).run_there(given, images)

    @property
    def _lane(self) -> Lane:
        """The calling thread's."""
        lane: Lane | None = getattr(self._local, "lane", None)
        if lane is None:
            lane = self._local.lane = Lane(self)
        return lane


class Lane:
    """What a thread has for itself: TVM's virtual machines and CUDA's streams are each for one at a time.

    It knows no library, nor do its places know it: without a cycle everything on the device is freed as the thread ends, by that thread,
    and not by Python's collector in whichever thread that runs, which may be capturing.
    """

    def __init__(self, library: FixedLibrary) -> None:
        self.stream = Stream()
        # What is made once needs no pool, which would keep it, counted as taken, when the thread has ended.
        self.machine = tvm().relax.VirtualMachine(library.code, library.device, "naive")
        self.places: dict[int, BatchPlace] = {}

    def place(self, library: FixedLibrary, batch: int) -> BatchPlace:
        """For the library that this was made for.

        Raises: BackendMissing where the device has too little memory left for the batch.
        """
        if batch not in self.places:
            self.places[batch] = BatchPlace(library, self.machine, self.stream, batch)
        return self.places[batch]


@dataclass(frozen=True, slots=True)
class _Graph:
    """A captured run, and the tensors that it leaves."""

    recording: Recording
    results: Sequence[Any]


class BatchPlace:
    """Where a thread runs a batch: the same memory each time, on the device and pinned on the host."""

    def __init__(self, library: FixedLibrary, machine: Any, stream: Stream, batch: int) -> None:
        host = tvm()
        self.stream, self.batch, self.path, self.first = stream, batch, library.path, library.first
        self.graph, self.device = library.graph, library.device
        self.batch_name, self.has_graphs = library.batch_name, library.fixed.cuda_graph
        sizes = {self.batch_name: batch} if self.batch_name else {}
        types = {node.name: node.typed.in_bytes.with_sizes(sizes) for node in self.graph.inputs}
        nbytes = {name: int(type_.nbytes) for name, type_ in types.items() if isinstance(type_.nbytes, int)}
        need_memory(f"{library.path} needs", f" for {_images(batch)}", library.fixed.memory[batch] + sum(nbytes.values()))
        name, bound = function_of(batch), f"bound_{batch}"
        self.inputs = {name: host.runtime.empty(type_.concrete(), dtype_name(type_), self.device) for name, type_ in types.items()}
        self.pinned = {name: Pinned(type_.concrete(), DTYPES[type_.dtype]) for name, type_ in types.items()}
        for each, tensor in self.inputs.items():  # what no image is written to is zero
            stream.copy(tensor.data_ptr(), self.pinned[each].address, nbytes[each])
        try:
            machine.save_function(name, bound, *library.weights, *machine[memory_of(name)]())
        except Exception as error:
            raise InvalidModel(f"graph @{self.graph.name} cannot be run by TVM: {reason(error)}") from error
        stream.follow(tvm_ffi().get_raw_stream(self.device))  # where TVM copies weights and constants, perhaps still
        self.function = machine[bound]
        self.graphs: dict[tuple[int, ...], _Graph] = {}
        self.ran: set[tuple[int, ...]] = set()  # memory of inputs in which a run was seen
        self.out: list[Pinned] = []
        self.reader = ""  # the package that has tensors in the memory of results

    def run(self, inputs: Mapping[str, Array], images: int) -> dict[str, Array]:
        """Results of so many images, all in the host's memory; of the whole where the batch has no name."""
        self._read_by("")
        stream = self.stream
        for node in self.graph.inputs:
            pinned, array = self.pinned[node.name], in_bytes(node, inputs[node.name])
            np.copyto(pinned.array[: len(array)] if array.ndim else pinned.array, array)
            stream.copy(self.inputs[node.name].data_ptr(), pinned.address, array.nbytes)
        results = self.launch([self.inputs[node.name] for node in self.graph.inputs])
        if not self.out:
            self.out = [Pinned(tuple(map(int, each.shape)), DTYPES[node.typed.in_bytes.dtype]) for each, node in self._of(results)]
        for (tensor, _), pinned in zip(self._of(results), self.out, strict=True):
            stream.copy(pinned.address, tensor.data_ptr(), pinned.array.nbytes)
        stream.wait()
        pairs = zip(self._of(results), self.out, strict=True)
        values = {node.name: pinned.array.astype(DTYPES[node.typed.dtype]) for (_, node), pinned in pairs}
        return {name: value[:images] for name, value in values.items()} if self._is_part(images) else values

    def run_there(self, given: Tensors, images: int) -> dict[str, Any]:
        """Results of so many images, all on the device: no byte passes through the host."""
        self._read_by("" if given.are_values else given.package)
        tensors = [given.inputs[node.name] for node in self.graph.inputs]
        if not self._is_usable(tensors, images):
            tensors = [self._copied(node, tensor) for node, tensor in zip(self.graph.inputs, tensors, strict=True)]
        found = {node.name: self._first(tensor, images) for tensor, node in self._of(self.launch(tensors))}
        if given.are_values:
            found = {name: self._apart(tensor) for name, tensor in found.items()}
        self.stream.wait()
        return {name: given.given_back(tensor) for name, tensor in found.items()}

    def _read_by(self, package: str) -> None:
        """As it hands inputs over, a package makes the stream wait for what it still reads of earlier results; nobody does for another."""
        if self.reader not in ("", package):
            all_done()
        self.reader = package

    def launch(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Enqueue a run in the memory of these inputs; the tensors that it leaves. The first one loads kernels, which no capture allows."""
        at = tuple(tensor.data_ptr() for tensor in tensors)
        if at not in self.ran:
            self.ran.add(at)
            with self.first:
                return self.call(tensors)
        if not self.has_graphs:
            return self.call(tensors)
        if at not in self.graphs:
            with self.stream.recorded() as recording:
                results = self.call(tensors)
            self.graphs[at] = _Graph(recording, results)
        self.stream.replay(self.graphs[at].recording)
        return self.graphs[at].results

    def call(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Enqueue each kernel by itself."""
        try:
            with tvm_ffi().use_raw_stream(self.device, self.stream.handle.value):
                return self.function(*tensors)
        except Exception as error:
            raise InvalidModel(f"graph @{self.graph.name} fails in TVM: {reason(error)}") from error

    def _of(self, results: Sequence[Any]) -> list[tuple[Any, Node]]:
        return [(results[i], node) for i, node in enumerate(self.graph.outputs)]

    def _is_usable(self, tensors: Sequence[Any], images: int) -> bool:
        """Whether a run can be in the memory of these: a whole batch, aligned, and seen before or among the first that are."""
        at = tuple(tensor.data_ptr() for tensor in tensors)
        return images == self.batch and not any(place % ALIGNMENT for place in at) and (at in self.ran or len(self.ran) < GRAPHS)

    def _copied(self, node: Node, tensor: Any) -> Any:
        own = self.inputs[node.name]
        nbytes = math.prod(map(int, tensor.shape)) * DTYPES[node.typed.in_bytes.dtype].itemsize
        self.stream.copy(own.data_ptr(), tensor.data_ptr(), nbytes)
        return own

    def _apart(self, tensor: Any) -> Any:
        copy = tvm().runtime.empty(tuple(map(int, tensor.shape)), str(tensor.dtype), self.device)
        self.stream.copy(copy.data_ptr(), tensor.data_ptr(), math.prod(map(int, tensor.shape)) * tensor.dtype.itemsize)
        return copy

    def _first(self, tensor: Any, images: int) -> Any:
        return tensor._create_view((images, *tensor.shape[1:]), str(tensor.dtype)) if self._is_part(images) else tensor

    def _is_part(self, images: int) -> bool:
        """Whether results are cut off: of a whole batch some may have no images, or others than it."""
        return images < self.batch


def need_memory(what: str, use: str, nbytes: int) -> None:
    """Raises: BackendMissing where the device has less that is free, with both numbers."""
    free, total = memory_here()
    if nbytes > free:
        needed, left, most = map(in_units, (nbytes, free, total))
        numbers = f"{needed} of the GPU's memory{use}, of which {left} of {most} are free"
        raise BackendMissing(f"{what} {numbers}; end what else uses the GPU, or compile for smaller --batches")


def _images(batch: int) -> str:
    return f"a batch of {batch}" if batch else "a run"
