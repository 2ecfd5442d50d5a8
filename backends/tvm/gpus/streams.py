"""CUDA's runtime, called without TVM: a stream with its copies, and what was enqueued on it captured into a graph."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import threading
from collections.abc import Generator
from dataclasses import dataclass

from ....ir.errors import BackendMissing, KernelFault
from .driver import RUNTIME, runtime_places

__all__ = ["Event", "Recording", "Stream", "all_done", "current_device", "library", "memory_here"]

APART = 1  # cudaStreamNonBlocking: the default stream, where other libraries work, does not wait for it, nor it for that
OF_THREAD = 1  # cudaStreamCaptureModeThreadLocal: what other threads allocate meanwhile does not end the capture
EXTERNAL = 1  # cudaEventRecordExternal: of a graph, for others to look at
NO_TIME = 2  # cudaEventDisableTiming
ANY_WAY = 4  # cudaMemcpyDefault: by where the addresses lie
_CAPTURING = threading.Lock()  # one thread at a time: what CUDA allows beside a capture differs from release to release


@functools.cache
def library() -> ctypes.CDLL:
    """The one that the process has loaded, be it an emulated one.

    Raises: BackendMissing where there is none.
    """
    for place in runtime_places():
        with contextlib.suppress(OSError):
            found = ctypes.CDLL(place)
            found.cudaGetErrorString.restype = ctypes.c_char_p
            return found
    raise BackendMissing(f'CUDA\'s runtime ({RUNTIME}) is not installed; install it with: pip install "convc[cuda]"')


def _checked(what: str, error: int) -> None:
    """Raises: KernelFault with CUDA's words."""
    if error:
        library().cudaGetLastError()  # or the next call would fail with it
        said = library().cudaGetErrorString(error)
        raise KernelFault(f"CUDA {what}: {said.decode(errors='replace')}")


@contextlib.contextmanager
def current_device(number: int) -> Generator[None]:
    """In the block what CUDA makes and launches is this device's, whichever the thread's other libraries have chosen; then theirs again,
    which TVM would leave changed.

    Raises: KernelFault where there is no such device.
    """
    before = ctypes.c_int()
    _checked("does not tell the current device", library().cudaGetDevice(ctypes.byref(before)))
    _checked(f"has no device {number}", library().cudaSetDevice(number))
    try:
        yield
    finally:
        library().cudaSetDevice(before)


def all_done() -> None:
    """Wait until the device has nothing left to do, for whomever.

    Raises: KernelFault where some of it failed.
    """
    _checked("did not finish", library().cudaDeviceSynchronize())


def memory_here() -> tuple[int, int]:
    """Bytes of the device's memory that are free, and all.

    Raises: KernelFault where the device does not answer.
    """
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _checked("does not tell how much memory is free", library().cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)))
    return free.value, total.value


class Stream:
    """A queue of the device's work. For one thread at a time."""

    def __init__(self) -> None:
        """Raises: BackendMissing without CUDA's runtime; KernelFault where the device refuses."""
        made = ctypes.c_void_p()
        _checked("makes no stream", library().cudaStreamCreateWithFlags(ctypes.byref(made), APART))
        self.handle = made

    def __del__(self) -> None:
        if (handle := getattr(self, "handle", None)) is not None:
            library().cudaStreamDestroy(handle)

    def copy(self, to: int, origin: int, nbytes: int) -> None:
        """Enqueued: to and from addresses of either memory. The host's is to be pinned, or the copy is not done in the background."""
        if nbytes:
            places = (ctypes.c_void_p(to), ctypes.c_void_p(origin), ctypes.c_size_t(nbytes))
            _checked("does not copy", library().cudaMemcpyAsync(*places, ANY_WAY, self.handle))

    def follow(self, other: int) -> None:
        """What is enqueued from now on is done after all that is on another stream, by CUDA's handle of it; 0 is the default one."""
        moment = ctypes.c_void_p()
        _checked("makes no event", library().cudaEventCreateWithFlags(ctypes.byref(moment), NO_TIME))
        try:
            _checked("records no event", library().cudaEventRecord(moment, ctypes.c_void_p(other)))
            _checked("does not wait for an event", library().cudaStreamWaitEvent(self.handle, moment, 0))
        finally:
            library().cudaEventDestroy(moment)  # once it has happened

    @property
    def is_captured(self) -> bool:
        """Also by whoever captures a stream that this one was made to wait for."""
        status = ctypes.c_int()
        _checked("does not tell what a stream does", library().cudaStreamIsCapturing(self.handle, ctypes.byref(status)))
        return status.value != 0

    def wait(self) -> None:
        """Until all that is enqueued is done.

        Raises: KernelFault where some of it failed.
        """
        _checked("did not finish", library().cudaStreamSynchronize(self.handle))

    @contextlib.contextmanager
    def recorded(self) -> Generator[Recording]:
        """What the block enqueues is not done, but kept. It may do nothing that waits for the device, nor allocate or free.

        Raises: KernelFault for a block that does.
        """
        with _CAPTURING, _no_collector():
            yield from self._recorded()

    def _recorded(self) -> Generator[Recording]:
        recording = Recording()
        _checked("cannot capture", library().cudaStreamBeginCapture(self.handle, OF_THREAD))
        graph = ctypes.c_void_p()
        try:
            yield recording
        except BaseException:
            library().cudaStreamEndCapture(self.handle, ctypes.byref(graph))  # the block's own error says why
            library().cudaGetLastError()
            if graph.value is not None:
                library().cudaGraphDestroy(graph)
            raise
        _checked("ended a capture", library().cudaStreamEndCapture(self.handle, ctypes.byref(graph)))
        try:
            executable = ctypes.c_void_p()
            _checked("cannot make a graph", library().cudaGraphInstantiate(ctypes.byref(executable), graph, ctypes.c_ulonglong(0)))
            recording.executable = executable
        finally:
            library().cudaGraphDestroy(graph)

    def replay(self, recording: Recording) -> None:
        """Enqueued as a whole."""
        _checked("launches no graph", library().cudaGraphLaunch(recording.executable, self.handle))


@contextlib.contextmanager
def _no_collector() -> Generator[None]:
    """Python's collector would free here what lies on the device and is part of a cycle somewhere, which ends a capture or the process."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass
class Recording:
    """A CUDA graph, once it is made."""

    executable: ctypes.c_void_p | None = None

    def __del__(self) -> None:
        if self.executable is not None:
            library().cudaGraphExecDestroy(self.executable)


class Event:
    """A moment on a stream, by the device's own clock."""

    def __init__(self) -> None:
        self.handle = ctypes.c_void_p()
        _checked("makes no event", library().cudaEventCreate(ctypes.byref(self.handle)))

    def __del__(self) -> None:
        library().cudaEventDestroy(self.handle)

    def record(self, stream: Stream) -> None:
        """Where the stream is recorded, it happens with each replay."""
        flag = EXTERNAL if stream.is_captured else 0
        _checked("records no event", library().cudaEventRecordWithFlags(self.handle, stream.handle, flag))

    def since(self, other: Event) -> float:
        """Milliseconds between two events that are recorded; waits for both.

        Raises: KernelFault where what was between them failed.
        """
        milliseconds = ctypes.c_float()
        for event in (other, self):
            _checked("did not finish", library().cudaEventSynchronize(event.handle))
        _checked("does not tell the time", library().cudaEventElapsedTime(ctypes.byref(milliseconds), other.handle, self.handle))
        return milliseconds.value
