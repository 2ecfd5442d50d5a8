"""How long a run takes on a GPU, and each of its kernels: by events on the stream, in a graph, where no host is in between."""

from __future__ import annotations

import itertools
import time

from ..gpus.streams import Event
from .fixed import BatchPlace, FixedLibrary, Lane

__all__ = ["kernel_times", "run_times"]

ITSELF = "vm."  # what the virtual machine does without a kernel
WARM = 3  # runs that are not counted: the first loads kernels, the second captures


def run_times(loaded: FixedLibrary, batch: int, runs: int, warm: float = 0.0) -> list[float]:
    """Milliseconds of each run, inputs and results on the device, after `warm` seconds of others: clocks rise with work.

    Raises: as `FixedLibrary.run`.
    """
    lane = Lane(loaded)
    place = lane.place(loaded, batch)
    begun = time.monotonic()
    for number in itertools.count():
        if number >= WARM and time.monotonic() - begun >= warm:
            break
        _launch(place)
        if number % 8 == 7:
            lane.stream.wait()
    events = [Event() for _ in range(runs + 1)]
    events[0].record(lane.stream)
    for event in events[1:]:
        _launch(place)
        event.record(lane.stream)
    lane.stream.wait()
    return [after.since(before) for before, after in itertools.pairwise(events)]


def kernel_times(loaded: FixedLibrary, batch: int, runs: int) -> list[tuple[str, list[float]]]:
    """The kernels of a run in order: the function that launches it, and milliseconds for each run."""
    lane = Lane(loaded)
    stream = lane.stream  # what watches knows the stream alone: the machine, which knows it, would keep the lane for ever
    place = lane.place(loaded, batch)
    tensors = list(place.inputs.values())
    place.call(tensors)
    names: list[str] = []
    events: list[Event] = []

    def watch(function: object, name: str, before: bool, result: object, *arguments: object) -> int:
        if not name.startswith(ITSELF) and not before:
            names.append(name)
            events.append(Event())
            events[-1].record(stream)
        return 0

    lane.machine.set_instrument(watch)
    with stream.recorded() as recording:
        events.append(Event())
        events[0].record(stream)
        place.call(tensors)
    taken: list[list[float]] = [[] for _ in names]
    for _ in range(runs):
        stream.replay(recording)
        stream.wait()
        for times, before, after in zip(taken, events, events[1:], strict=False):
            times.append(after.since(before))
    return list(zip(names, taken, strict=True))


def _launch(place: BatchPlace) -> None:
    place.launch(list(place.inputs.values()))
