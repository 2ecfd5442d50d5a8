"""What streams of the emulated device wait for, and what captures take: CUDA's rules, of which our own code breaks none."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.gpus.pinned import Pinned
from convc.backends.tvm.gpus.streams import Event, Stream, library
from convc.tests.support.apart import Apart

RELAXED = 2  # the mode of a capture that forbids nothing to its thread


def _numbers(value: int) -> Pinned:
    made = Pinned((1,), np.dtype(np.int32))
    made.array[...] = value
    return made


def _copied(stream: Stream, value: int, to: Pinned) -> Pinned:
    """Enqueued; what is to be kept until it is done."""
    given = _numbers(value)
    stream.copy(to.address, given.address, 4)
    return given


def _wait_for(stream: Stream, event: Event) -> int:
    return library().cudaStreamWaitEvent(stream.handle, event.handle, 0)


def _begin(stream: Stream, mode: int = RELAXED) -> int:
    return library().cudaStreamBeginCapture(stream.handle, mode)


def _end(stream: Stream) -> int:
    return library().cudaStreamEndCapture(stream.handle, ctypes.byref(ctypes.c_void_p()))


def _record(event: Event, stream: Stream) -> int:
    return library().cudaEventRecord(event.handle, stream.handle)


def until_a_moment() -> list[int]:
    """What two copies of a stream have done when another one that waits for the moment between them is done; and in the end."""
    stream, other, between, to = Stream(), Stream(), Event(), [_numbers(0), _numbers(0)]
    kept = [_copied(stream, 1, to[0])]
    _record(between, stream)
    kept.append(_copied(stream, 1, to[1]))
    _wait_for(other, between)
    other.wait()
    found = [int(each.array[0]) for each in to]
    stream.wait()
    return [*found, *(int(each.array[0]) for each in to)]


def what_is_not_pinned() -> list[int]:
    """Of memory that the system may move: read before the call returns, and written before it does."""
    stream, there, given, found = Stream(), _numbers(0), np.array([1], np.int32), np.array([0], np.int32)
    stream.copy(there.address, given.ctypes.data, 4)
    given[...] = 9
    stream.copy(found.ctypes.data, there.address, 4)
    return [int(found[0])]


def before_it_happened() -> list[int]:
    """What is said of the time between two moments of a stream that nobody waits for, and of one that was waited for."""
    stream, events, to = Stream(), (Event(), Event()), _numbers(0)
    _record(events[0], stream)
    kept = _copied(stream, 1, to)
    _record(events[1], stream)
    between = [library().cudaEventElapsedTime(ctypes.byref(ctypes.c_float()), events[0].handle, events[1].handle)]
    stream.wait()
    between.append(library().cudaEventElapsedTime(ctypes.byref(ctypes.c_float()), events[0].handle, events[1].handle))
    return between if kept else []


def destroyed() -> list[int]:
    """What a stream has done that is no more."""
    stream, to = Stream(), _numbers(0)
    kept = _copied(stream, 1, to)
    del stream
    return [int(to.array[0])] if kept else []


def unjoined() -> list[int]:
    stream, other, moment = Stream(), Stream(), Event()
    return [_begin(stream), _record(moment, stream), _wait_for(other, moment), _end(stream)]


def twice() -> list[int]:
    stream = Stream()
    return [_begin(stream), _begin(stream), _end(stream), _end(stream)]


def from_outside() -> list[int]:
    """A captured stream that waits for what nobody captures, and for what another capture has."""
    stream, other, moment = Stream(), Stream(), Event()
    _record(moment, other)
    said = [_begin(stream), _wait_for(stream, moment)]
    _end(stream)
    said += [_begin(stream), _begin(other), _record(moment, other), _wait_for(stream, moment)]
    _end(stream), _end(other)
    return said


def once_broken() -> list[int]:
    """What a capture is told whose stream somebody waits for, and the next one."""
    stream, to, given = Stream(), _numbers(0), _numbers(1)
    places = (ctypes.c_void_p(to.address), ctypes.c_void_p(given.address), ctypes.c_size_t(4), 4, stream.handle)
    said = [_begin(stream), library().cudaStreamSynchronize(stream.handle), library().cudaMemcpyAsync(*places), _end(stream)]
    return [*said, _begin(stream), library().cudaMemcpyAsync(*places), _end(stream), int(to.array[0])]


def of_a_capture() -> list[int]:
    """A host that waits for a moment which is no moment yet."""
    stream, moment = Stream(), Event()
    said = [_begin(stream), _record(moment, stream), library().cudaEventSynchronize(moment.handle)]
    _end(stream)
    return said


RULES: dict[Callable[[], list[int]], list[int]] = {
    until_a_moment: [1, 0, 1, 1],
    what_is_not_pinned: [1],
    before_it_happened: [600, 0],
    destroyed: [1],
    unjoined: [0, 0, 0, 904],
    twice: [0, 900, 0, 1],
    from_outside: [0, 905, 0, 0, 0, 905],
    once_broken: [0, 900, 901, 901, 0, 0, 0, 0],
    of_a_capture: [0, 0, 907],
}


def found(rule: Callable[[], list[int]]) -> list[int]:
    emulated()
    return rule()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_streams_and_captures_do_as_cuda_says(apart: Apart, rule: Callable[[], list[int]]) -> None:
    """By what is done, and by CUDA's numbers of errors."""
    assert apart(found, rule) == RULES[rule]
