"""Libraries for fixed batches on the emulated GPU: what a run launches, allocates, frees and waits for, and what does not fit."""

from __future__ import annotations

import ctypes
import functools
import gc
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cuda.batches import fixed_batches, how_it_runs
from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.gpus.streams import Stream, library
from convc.backends.tvm.host import tvm
from convc.backends.tvm.library.built import Library
from convc.backends.tvm.library.fixed import FixedLibrary, Lane, parts
from convc.backends.tvm.library.gpu_times import kernel_times, run_times
from convc.compiler.compiling.module import Module
from convc.ir.errors import BackendMissing, InvalidInput, KernelFault, UsageError
from convc.ir.graph import Graph
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph

COUNTED = ("launches", "graph_launches", "captured", "allocations", "synchronizations")
# Two kernels, of which one reads the input and writes a result; an input that is a result; a result under another shape.
NET = """graph @net(%x: f32[N,2,4,4]) {
    %w = param : f32[2,2,1,1]
    %a = conv2d(%x, %w)
    %t = tanh(%a)
    %b = conv2d(%t, %w)
    %f = flatten(%b)
    return %f, %x
}"""
MORE = "graph @more(%x: f32[N,4]) { %w = param : f32[3,4] %y = concat(%x, %x) {axis=0} return %y, %w }"
JOINED = "graph @joined(%x: f32[N,4]) { %y = softmax(%x) {axis=0} return %y }"


@functools.cache
def _built(text: str, folder: Path) -> Library:
    return build_cuda(typed_graph(text), folder / str(len(text)), batches=(1, 4), check=False).library


def _loaded(text: str, folder: Path, cuda_graph: bool = True) -> tuple[Graph, FixedLibrary]:
    library = _built(text, folder)
    assert library.fixed is not None
    return library.graph, FixedLibrary.load(replace(library, fixed=replace(library.fixed, cuda_graph=cuda_graph)))


def held(folder: Path, cuda_graph: bool, images: list[int]) -> list[dict[str, int]]:
    """What each run counts, its results held to the reference."""
    machine = emulated()
    graph, loaded = _loaded(NET, folder, cuda_graph)
    counted: list[dict[str, int]] = []
    for seed, count in enumerate(images):
        inputs = normal_inputs(graph, seed, N=count)
        machine.counters()
        hold_to_reference(graph, loaded.run(inputs), inputs)
        found = machine.counters()
        counted.append({name: found[name] for name in COUNTED})
    return counted


def test_a_run_is_one_launch_and_allocates_nothing(apart: Callable[..., Any], folder: Path) -> None:
    """The second run in a place captures, and those after it only launch the graph."""
    first, second, *others = apart(held, folder, True, [1, 1, 1, 1])
    assert first["graph_launches"] == 0
    assert first["allocations"] > 0
    assert second == {"launches": 2, "graph_launches": 1, "captured": 2, "allocations": 0, "synchronizations": 1}
    assert others == [{"launches": 2, "graph_launches": 1, "captured": 0, "allocations": 0, "synchronizations": 1}] * 2


def test_without_graphs_kernels_are_launched_and_nothing_waits_between_them(apart: Callable[..., Any], folder: Path) -> None:
    *_, last = apart(held, folder, False, [1, 1, 1])
    assert last == {"launches": 2, "graph_launches": 0, "captured": 0, "allocations": 0, "synchronizations": 1}


def test_images_are_run_among_others_or_in_several_batches(apart: Callable[..., Any], folder: Path) -> None:
    """Of 3 and of 9, whose last one runs alone; what is left in memory of the images before reaches nobody."""
    counted = apart(held, folder, True, [3, 4, 2, 9, 9])
    assert [each["graph_launches"] for each in counted] == [0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("images", "found"), [(1, [(1, 1)]), (2, [(2, 8)]), (8, [(8, 8)]), (17, [(8, 8), (8, 8), (1, 1)]), (19, [(8, 8), (8, 8), (3, 8)])]
)
def test_the_least_batch_that_holds_them(images: int, found: list[tuple[int, int]]) -> None:
    assert parts(images, (1, 8)) == found


def test_no_images_are_no_batch_to_compile_for() -> None:
    with pytest.raises(InvalidInput, match=r"^0 images are none of the batches 1, 8 that .* at %y; give one or more$"):
        parts(0, (1, 8), "images may depend on each other at %y")


def joined(folder: Path) -> list[str]:
    emulated()
    graph, loaded = _loaded(JOINED, folder)
    inputs = normal_inputs(graph, N=4)
    hold_to_reference(graph, loaded.run(inputs), inputs)
    with pytest.raises(InvalidInput) as raised:
        loaded.run(normal_inputs(graph, N=3))
    return [str(raised.value), str(raised.value.exit_code)]


def test_images_that_depend_on_each_other_are_not_run_among_others(apart: Callable[..., Any], folder: Path) -> None:
    said, code = apart(joined, folder)
    assert said.startswith(
        "3 images are none of the batches 1, 4 that this was compiled for, and images may depend on each other at %y = softmax"
    )
    assert said.endswith("; compile with --batches 3")
    assert code == "3"
    assert "for batches of 1, 4, no other: images may depend on each other at %y" in how_it_runs(typed_graph(JOINED), (1, 4), True)


def more(folder: Path) -> int:
    """Results of a network that has others than one for each image: from the host, and on the device."""
    emulated()
    graph, loaded = _loaded(MORE, folder)
    inputs = normal_inputs(graph, N=1)
    hold_to_reference(graph, loaded.run(inputs), inputs)
    there = loaded.run({"x": tvm().runtime.tensor(inputs["x"], tvm().cuda(0))})
    hold_to_reference(graph, {name: value.numpy() for name, value in there.items()}, inputs)
    return len(there)


def test_of_a_whole_batch_nothing_is_cut_off(apart: Callable[..., Any], folder: Path) -> None:
    """Twice as many images come out as went in, and weights, which have none."""
    assert apart(more, folder) == 2


def crowded(folder: Path) -> list[str]:
    """The device has room for the weights and not for a batch of 4; then not for the weights either."""
    machine = emulated()
    graph, loaded = _loaded(NET, folder)
    said: list[str] = []
    for free, run in ((1000, lambda: loaded.run(normal_inputs(graph, N=4))), (10, lambda: _loaded(NET, folder))):
        machine.leave_free(free)
        with pytest.raises(BackendMissing) as raised:
            run()
        said += [str(raised.value), str(raised.value.exit_code)]
    machine.leave_free(1 << 30)
    hold_to_reference(graph, loaded.run(inputs := normal_inputs(graph, N=4)), inputs)
    return said


def test_too_little_memory_is_said_before_the_run(apart: Callable[..., Any], folder: Path) -> None:
    batch, code, weights, _ = apart(crowded, folder)
    assert code == "5"
    assert re.search(
        r"model.so needs \d+ KiB of the GPU's memory for a batch of 4, of which 1000 bytes of 80\.0 GiB are free; end what else", batch
    )
    assert "the weights of " in weights


def threaded(folder: Path) -> list[int]:
    """Threads that load, run and capture at once, each many times; how many results of each are wrong."""
    emulated()
    graph, loaded = _loaded(NET, folder)
    inputs = normal_inputs(graph, N=4)
    wanted = loaded.run(inputs)
    wrong = [0] * 4
    start = threading.Barrier(len(wrong))

    def work(which: int) -> None:
        start.wait()
        for _ in range(5):
            got = loaded.run(inputs)
            wrong[which] += any(not np.array_equal(got[name], wanted[name]) for name in wanted)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(len(wrong))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def test_threads_capture_at_once(apart: Callable[..., Any], folder: Path) -> None:
    assert apart(threaded, folder) == [0, 0, 0, 0]


def captured(mode: int) -> list[str]:
    """What this thread is told that captures, while another one allocates; and then when it waits for its own stream."""
    machine = emulated()
    stream, said = Stream(), list[str]()
    begin = library().cudaStreamBeginCapture

    def allocate() -> None:
        machine.library.emu_leave_free(1 << 20)
        said.append(str(library().cudaMalloc(ctypes.byref(ctypes.c_void_p()), ctypes.c_size_t(16))))

    assert begin(stream.handle, mode) == 0
    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()
    said.append(str(library().cudaStreamEndCapture(stream.handle, ctypes.byref(ctypes.c_void_p()))))
    with pytest.raises(KernelFault) as raised, stream.recorded():
        stream.wait()
    return [*said, str(raised.value)]


@pytest.mark.parametrize(("mode", "allocation", "end"), [(0, "900", "901"), (1, "0", "0")], ids=["global", "of a thread"])
def test_what_ends_a_capture(apart: Callable[..., Any], mode: int, allocation: str, end: str) -> None:
    """Ours are of a thread, so that it needs not know what others do."""
    assert apart(captured, mode) == [allocation, end, "CUDA did not finish: not allowed while a stream is captured"]


def freed(folder: Path) -> list[int]:
    """Lanes that are left without the collector: of a thread that ended, of kernels that were timed, of a library that was dropped."""
    emulated()
    gc.collect()
    gc.disable()
    before = _lanes()
    graph, loaded = _loaded(NET, folder)

    def work(library: FixedLibrary) -> None:
        for _ in range(3):
            library.run(normal_inputs(graph, N=1))

    thread = threading.Thread(target=work, args=(loaded,))
    thread.start()
    thread.join()
    left = [_lanes() - before]
    kernel_times(loaded, 1, 1)
    left.append(_lanes() - before)
    work(loaded)
    del loaded
    left.append(_lanes() - before)
    gc.enable()
    return left


def _lanes() -> int:
    return sum(isinstance(each, Lane) for each in gc.get_objects())


def test_who_owns_what_lies_on_the_device_frees_it(apart: Callable[..., Any], folder: Path) -> None:
    """The collector would do it in any thread, one that captures too, and CUDA ends the process then."""
    assert apart(freed, folder) == [0, 0, 0]


class Cyclic:
    """Garbage that only the collector finds."""

    def __init__(self, said: list[str]) -> None:
        self.itself, self.said = self, said

    def __del__(self) -> None:
        self.said.append("collected")


def collected() -> tuple[list[str], list[str], list[bool]]:
    """What is collected while a stream is captured, and after; whether the collector is on after a capture, and after one that failed."""
    emulated()
    said, on = list[str](), list[bool]()
    with Stream().recorded():
        Cyclic(said)
        kept = [[number] for number in range(100_000)]  # the collector looks each 700 lists
        during = said.copy()
    on.append(gc.isenabled())
    kept += [[number] for number in range(100_000)]
    with pytest.raises(ValueError, match=r"^200000$"), Stream().recorded():
        raise ValueError(len(kept))
    return during, said, [*on, gc.isenabled()]


def test_nothing_is_collected_while_a_stream_is_captured(apart: Callable[..., Any]) -> None:
    assert apart(collected) == ([], ["collected"], [True, True])


class Foreign:
    """A tensor of another package, as far as DLPack asks."""

    def __init__(self, tensor: Any, device: tuple[int, int] | None = None) -> None:
        self.tensor, self.device, self.streams = tensor, device or tensor.__dlpack_device__(), list[Any]()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: Any = None) -> Any:
        self.streams.append(stream)
        return self.tensor.__dlpack__()


class Pinned:
    """An array of another package in pinned memory of the host, as far as is asked."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return (3, 0)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.array


def there(folder: Path) -> tuple[list[dict[str, int]], int, list[str]]:
    """Runs on tensors of the device, which others made; from how many memories; what is said of tensors that do not fit."""
    machine, host = emulated(), tvm()
    graph, loaded = _loaded(NET, folder)
    module = Module(graph, loaded.run, takes_tensors=True)
    counted: list[dict[str, int]] = []
    places: set[int] = set()
    for seed, images in enumerate((4, 4, 4, 3)):
        arrays = normal_inputs(graph, 0 if images == 4 else seed, N=images)
        tensor = tensor if seed in (1, 2) else host.runtime.tensor(arrays["x"], host.cuda(0))  # noqa: F821
        foreign = Foreign(tensor)
        machine.counters()
        results = module(foreign)
        found = machine.counters()
        counted.append({name: found[name] for name in (*COUNTED, "transfers")})
        assert foreign.streams != [None]
        places.add(results["f"].data_ptr())
        hold_to_reference(graph, {name: value.numpy() for name, value in results.items()}, arrays)
    said: list[str] = []
    x = host.runtime.tensor(normal_inputs(graph, N=4)["x"], host.cuda(0))
    half = host.runtime.empty((4, 2, 4, 4), "float16", host.cuda(0))
    for wrong in (Foreign(x, (2, 1)), Foreign(half), Foreign(x, (10, 0)), host.runtime.empty((9, 2, 4, 4), "float32", host.cuda(0))):
        with pytest.raises(InvalidInput) as raised:
            module(wrong)
        said.append(str(raised.value))
    with pytest.raises(InvalidInput) as raised:
        Module(graph, lambda inputs: inputs)(x)
    arrays = normal_inputs(graph, N=4)
    hold_to_reference(graph, module(Pinned(arrays["x"])), arrays)
    return counted, len(places), [*said, str(raised.value)]


def test_tensors_are_used_where_they_lie(apart: Callable[..., Any], folder: Path) -> None:
    counted, places, said = apart(there, folder)
    first, second, third, part = counted
    assert [each["transfers"] for each in (second, third)] == [0, 0]
    assert [each["allocations"] for each in (second, third)] == [0, 0]
    assert (second["captured"], third["graph_launches"], third["synchronizations"]) == (2, 1, 1)
    assert part["transfers"] == 1  # three images of four are copied to where four lie
    assert first["graph_launches"] == 0
    assert places == 1
    assert said == [
        "input 'x' lies on cuda:1, and the network is on cuda:0; give all inputs there, or none",
        "input 'x' is float16, expected f32; convert it with .astype('float32')",
        "input 'x' lies on a device of DLPack's kind 10, and the network is on cuda:0; give all inputs there, or none",
        "9 images on the device; give 1 to 4 at once, the greatest batch here",
        "input 'x' lies on another device, and this network runs on the host; give an array",
    ]


def timed(folder: Path) -> tuple[list[float], list[str], list[int], list[dict[str, int]]]:
    """Of runs and of kernels: milliseconds, functions, how many times each; and what the runs after them count."""
    machine = emulated()
    graph, loaded = _loaded(NET, folder)
    whole, kernels = run_times(loaded, 4, 5), kernel_times(loaded, 4, 3)
    machine.counters()
    hold_to_reference(graph, loaded.run(inputs := normal_inputs(graph, N=4)), inputs)
    return whole, [name for name, _ in kernels], [len(times) for _, times in kernels], [machine.counters()]


def test_runs_and_kernels_are_timed_by_events(apart: Callable[..., Any], folder: Path) -> None:
    """In memory of their own: a run that follows finds its own as it was."""
    whole, names, counts, (after,) = apart(timed, folder)
    assert len(whole) == 5
    assert min(whole) > 0
    assert len(names) == 2
    assert names[0] != names[1]
    assert counts == [3, 3]
    assert (after["launches"], after["captured"]) == (2, 0)


def test_which_batches() -> None:
    net = typed_graph(NET)
    assert fixed_batches(net) == (1, 8, 32, 256)
    assert fixed_batches(net, (8, 1)) == (1, 8)
    with pytest.raises(UsageError, match=r"^--batches 8,1,8: 8 is given twice; give it once$"):
        fixed_batches(net, (8, 1, 8))
    assert fixed_batches(typed_graph("graph @g(%x: f32[2,4]) { %y = relu(%x) return %y }")) == (0,)
    named = typed_graph("graph @g(%x: f32[N,4,H]) { %y = relu(%x) return %y }")
    assert fixed_batches(named) is None
    assert how_it_runs(named, None, True).endswith("for it takes any sizes: the named sizes are H, N, and those of a batch are N")
    with pytest.raises(UsageError, match=r"^--batches is for a network whose batch is its only named size; the named sizes are H, N"):
        fixed_batches(named, (1,))
    with pytest.raises(UsageError, match=r"^--batches 0: each is from 1 to 1,048,576 images$"):
        fixed_batches(net, (0,))
    with pytest.raises(UsageError, match=r"^--batches 1,1048577: each is from 1 to"):
        fixed_batches(net, (1, 1 << 20 | 1))
    assert [how_it_runs(net, (1, 8), cuda_graph) for cuda_graph in (True, False)] == [
        "a run is one launch, of a CUDA graph; for batches of 1, 8, others among them",
        "a run launches each kernel by itself (--no-cuda-graph); for batches of 1, 8, others among them",
    ]
