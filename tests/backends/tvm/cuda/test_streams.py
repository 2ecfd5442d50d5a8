"""Streams of other libraries beside ours, on the emulated GPU, which does what is enqueued as late as it may: who waits for whom."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.gpus.architectures import architecture
from convc.backends.tvm.gpus.pinned import Pinned
from convc.backends.tvm.gpus.streams import Event, Stream, library, memory_here
from convc.backends.tvm.host import tvm
from convc.backends.tvm.library.built import Library
from convc.backends.tvm.library.fixed import FixedLibrary, Lane
from convc.backends.tvm.library.run import LoadedLibrary
from convc.ir.errors import ConvcError, InvalidInput
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph

NET = "graph @net(%x: f32[N,4]) { %y = neg(%x) return %y }"
WITH_WGMMA = architecture("sm_90a")  # by which even a small network has kernels of more than 48 KiB
LARGE = """graph @large(%x: f16[N,128,4,4]) {
    %w = param : f16[128,128,1,1]
    %y = conv2d(%x, %w)
    return %y
}"""


@functools.cache
def _built(text: str, folder: Path) -> Library:
    return build_cuda(typed_graph(text), folder / str(len(text)), batches=(2,), check=False).library


def _loaded(text: str, folder: Path) -> FixedLibrary:
    emulated()
    return FixedLibrary.load(_built(text, folder))


class Foreign:
    """A tensor of a library that computes on a stream of its own, and follows DLPack unless it is not `careful`."""

    def __init__(self, *, careful: bool = True) -> None:
        self.stream, self.careful = Stream(), careful
        self.tensor, self.given = tvm().runtime.empty((2, 4), "float32", tvm().cuda(0)), Pinned((2, 4), np.dtype(np.float32))

    def compute(self, value: float) -> Foreign:
        """Enqueued: all elements become this."""
        self.stream.wait()
        self.given.array[...] = value
        self.stream.copy(self.tensor.data_ptr(), self.given.address, self.given.array.nbytes)
        return self

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, *, stream: int) -> Any:
        if self.careful:
            moment = Event()
            assert library().cudaEventRecord(moment.handle, self.stream.handle) == 0
            assert library().cudaStreamWaitEvent(ctypes.c_void_p(stream), moment.handle, 0) == 0
        return self.tensor.__dlpack__()


def _read(stream: Stream, tensor: Any) -> Array:
    """Where what is enqueued on a stream will put the values of a tensor."""
    there = Pinned((2, 4), np.dtype(np.float32))
    stream.copy(there.address, tensor.data_ptr(), there.array.nbytes)
    return np.asarray(types.SimpleNamespace(__array_interface__=there.array.__array_interface__, kept=there))


def fed(folder: Path, careful: bool) -> list[float]:
    """Results of four runs, by launches, by a capture and by replays, on what another stream computes for each."""
    loaded, x = _loaded(NET, folder), Foreign(careful=careful)
    return [float(loaded.run({"x": x.compute(value)})["y"].numpy()[0, 0]) for value in (1.0, 2.0, 3.0, 4.0)]


def test_a_run_comes_after_what_another_stream_computes(apart: Callable[..., Any], folder: Path) -> None:
    """And the emulator shows who does not wait: of the first values nobody has seen anything yet."""
    assert apart(fed, folder, True) == [-1.0, -2.0, -3.0, -4.0]
    assert not np.isfinite(apart(fed, folder, False)[0])


def of_tvm(folder: Path) -> list[float]:
    """On a tensor of TVM's own, which its default stream is still writing."""
    loaded, tensor = _loaded(NET, folder), tvm().runtime.empty((2, 4), "float32", tvm().cuda(0))
    given, found = Pinned((2, 4), np.dtype(np.float32)), list[float]()
    for value in (1.0, 2.0, 3.0):
        given.array[...] = value
        assert library().cudaMemcpyAsync(*map(ctypes.c_void_p, (tensor.data_ptr(), given.address)), ctypes.c_size_t(32), 4, None) == 0
        found.append(float(loaded.run({"x": tensor})["y"].numpy()[0, 0]))
    return found


def test_a_run_comes_after_what_tvm_computes(apart: Callable[..., Any], folder: Path) -> None:
    assert apart(of_tvm, folder) == [-1.0, -2.0, -3.0]


def read(folder: Path) -> list[list[float]]:
    """What another stream, which nobody waits for, reads of results before the next run writes there: that of its own tensor, or of an array."""
    loaded, x, found, kept = _loaded(NET, folder), Foreign(), list[list[float]](), list[Array]()
    for following in (x, np.full((2, 4), 9, np.float32)):
        first = loaded.run({"x": x.compute(1.0)})["y"]
        kept.append(_read(x.stream, first))  # to free one would wait for all
        loaded.run({"x": following if isinstance(following, np.ndarray) else following.compute(5.0)})
        x.stream.wait()
        found.append([float(kept[-1][0, 0]), float(first.numpy()[0, 0])])
    return found


def test_a_run_comes_after_what_reads_the_results_before(apart: Callable[..., Any], folder: Path) -> None:
    assert apart(read, folder) == [[-1.0, -5.0], [-1.0, -9.0]]


def values(folder: Path) -> list[float]:
    """Results of two runs as a library has them whose arrays nobody may write to again."""
    sys.modules["jax"], sys.modules["jax.dlpack"] = types.ModuleType("jax"), types.ModuleType("jax.dlpack")
    sys.modules["jax.dlpack"].__dict__["from_dlpack"] = lambda tensor: tensor
    try:
        x = type("Array", (Foreign,), {"__module__": "jaxlib.made_up"})()
        loaded = _loaded(NET, folder)
        return [float(each.numpy()[0, 0]) for each in [loaded.run({"x": x.compute(value)})["y"] for value in (1.0, 2.0, 3.0)]]
    finally:
        del sys.modules["jax"], sys.modules["jax.dlpack"]


def test_results_that_are_values_stay(apart: Callable[..., Any], folder: Path) -> None:
    assert apart(values, folder) == [-1.0, -2.0, -3.0]


def elsewhere(folder: Path) -> list[int]:
    """The current device of a thread that chose the second one, before and after it loads and runs; and results."""
    runtime, now, found = library(), ctypes.c_int(), list[int]()
    assert runtime.cudaSetDevice(1) == 0
    try:
        loaded = FixedLibrary.load(_built(NET, folder))
        for inputs in (np.ones((2, 4), np.float32), np.ones((1, 4), np.float32)):
            found.append(int(loaded.run({"x": inputs})["y"][0, 0]))
            runtime.cudaGetDevice(ctypes.byref(now))
            found.append(now.value)
    finally:
        runtime.cudaSetDevice(0)
    return found


def test_the_current_device_is_left_as_it_was(apart: Callable[..., Any], folder: Path) -> None:
    assert apart(elsewhere, folder) == [-1, 1, -1, 1]


def left(folder: Path) -> list[int]:
    """Bytes of the device that a thread which has ended still has, and one after it."""
    loaded, kept = _loaded(NET, folder), list[int]()
    before = memory_here()[0]
    for _ in range(2):
        thread = threading.Thread(target=loaded.run, args=({"x": np.ones((2, 4), np.float32)},))
        thread.start()
        thread.join()
        kept.append(before - memory_here()[0])
    return kept


def test_a_thread_that_ends_keeps_no_memory(apart: Callable[..., Any], folder: Path) -> None:
    """In no pool either: what lies there is not free to whoever asks how much is."""
    assert apart(left, folder) == [0, 0]


def together(folder: Path, batches: tuple[int, ...] | None) -> list[str]:
    """What threads meet that run a kernel of more than 48 KiB of shared memory for the first time, all at once."""
    emulated()
    library, said = build_cuda(typed_graph(LARGE), folder, WITH_WGMMA, batches=batches, check=False).library, list[str]()
    loaded = FixedLibrary.load(library) if batches else LoadedLibrary.load(library)
    start, x = threading.Barrier(3), np.ones((2, 128, 4, 4), np.float16)

    def work() -> None:
        start.wait()
        try:
            loaded.run({"x": x})
        except Exception as error:
            said.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


@pytest.mark.parametrize("batches", [(2,), None], ids=["fixed", "any"])
def test_a_kernel_is_first_launched_by_one_thread(apart: Callable[..., Any], batches: tuple[int, ...] | None, tmp_path: Path) -> None:
    """TVM's runtime knows it before it has asked for the shared memory that it takes."""
    assert apart(together, tmp_path, batches) == []


def at_once(folder: Path) -> list[str]:
    """What a capture ends with in which kernels are loaded, and the next run gives."""
    loaded = _loaded(NET, folder)
    place = Lane(loaded).place(loaded, 2)
    with pytest.raises(ConvcError) as raised, place.stream.recorded():
        place.call(list(place.inputs.values()))
    return [str(raised.value), str(loaded.run({"x": np.ones((2, 4), np.float32)})["y"][0, 0])]


def test_kernels_are_loaded_before_a_stream_is_captured(apart: Callable[..., Any], folder: Path) -> None:
    """The first run, which loads them, is no graph: a driver does not load modules meanwhile. After a capture that failed all is as before."""
    said, result = apart(at_once, folder)
    assert "not allowed while a stream is captured" in said
    assert result == "-1.0"


def captured(folder: Path) -> list[str]:
    """What is said to who captures its stream, and runs a network on what is computed there; and that the next run is fine."""
    loaded, x = _loaded(NET, folder), Foreign()
    with pytest.raises(InvalidInput) as raised, x.stream.recorded():
        loaded.run({"x": x})
    return [str(raised.value), str(loaded.run({"x": x.compute(2.0)})["y"].numpy()[0, 0])]


def test_a_stream_that_is_being_captured_is_refused(apart: Callable[..., Any], folder: Path) -> None:
    assert apart(captured, folder) == [
        "input 'x' comes from a stream that is being captured, and a run is a graph of its own; run it outside of the capture",
        "-2.0",
    ]
