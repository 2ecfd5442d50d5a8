"""Batches of pictures, augmented on processes beside the step. Each is a function of its place in the run alone, however many processes
make them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.errors import ConvcError
from ...ir.files import temporary_folder
from ...ir.types import Array
from .augment import augmented
from .pictures import Pictures

__all__ = ["Batches", "Labelled", "split"]

SPLIT, ORDER, CHANGE = 1, 2, 3  # what is drawn: numbers for one purpose are none of those for another
Labelled = tuple[Array, Array]  # images [n,C,H,W], normalized, and labels


@dataclass(frozen=True, eq=False)
class Batches:
    """How batches are made of pictures: `mean` and `deviation` of each channel are taken out once a picture is changed.

    `place` is a file that holds the pixels, for processes to map instead of a copy each.
    """

    pictures: Pictures
    mean: Array
    deviation: Array
    augmentations: tuple[str, ...] = ()
    seed: int = 0
    place: Path | None = None

    @contextmanager
    def lent(self, workers: int) -> Generator[Batches]:
        """With the pixels in a file for as many processes, if there are some, and as long as this lasts. Where the system has no room for
        it, each process gets a copy in each epoch."""
        with ExitStack() as stack:
            place = None
            if workers:
                with suppress(OSError):
                    path = stack.enter_context(temporary_folder()) / "pixels.npy"
                    np.save(path, self.pictures.pixels)
                    place = path
            yield replace(self, place=place)

    @property
    def handed(self) -> Batches:
        """What a process is given."""
        return self if self.place is None else replace(self, pictures=replace(self.pictures, pixels=self.pictures.pixels[:0].copy()))

    @property
    def taken(self) -> Batches:
        """What a process makes of it."""
        if self.place is None:
            return self
        return replace(self, pictures=replace(self.pictures, pixels=np.load(self.place, mmap_mode="r")))

    def of(self, indices: Array, epoch: int | None = None) -> Labelled:
        """These pictures; changed as it falls in that epoch, where one is given."""
        made = [self._one(int(index), epoch) for index in indices]
        images = (np.stack(made) - self.mean) / self.deviation
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32), self.pictures.labels[indices]

    def _one(self, index: int, epoch: int | None) -> Array:
        picture = self.pictures.pixel(index)
        if epoch is None or not self.augmentations:
            return picture
        return augmented(picture, self.augmentations, np.random.default_rng([CHANGE, self.seed, epoch, index]))

    def order(self, indices: Array, epoch: int, batch: int) -> list[Array]:
        """The epoch's batches, all of one size: what is left over falls to another epoch."""
        mixed = np.random.default_rng([ORDER, self.seed, epoch]).permutation(indices)
        batch = min(batch, len(mixed))
        return [mixed[start : start + batch] for start in range(0, len(mixed) - batch + 1, batch)]

    @contextmanager
    def made(self, orders: Sequence[Array], epoch: int, workers: int) -> Generator[Generator[Labelled]]:
        """The batches one after another, made by as many processes; by none, where they are wanted."""
        if not workers:
            yield (self.of(indices, epoch) for indices in orders)
            return
        with _processes(self, orders, epoch, min(workers, len(orders))) as results:
            yield _in_turn(results, len(orders))


def split(labels: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Places to learn from and to validate on, of each class the same share, as near as whole numbers come; of each at least one, and of
    every class one to learn from.

    Raises: ConvcError for fewer than two pictures.
    """
    if len(labels) < 2:
        raise ConvcError(f"{len(labels)} picture is too few: some to learn from and some to validate on are needed")
    mixed = np.random.default_rng([SPLIT, seed]).permutation(len(labels))
    classes = [mixed[labels[mixed] == label] for label in np.unique(labels)]
    held = [places[: min(round(len(places) * share), len(places) - 1)] for places in classes]
    if not any(map(len, held)):  # of the largest class, which may be of one picture
        largest = max(range(len(classes)), key=lambda place: len(classes[place]))
        held[largest] = classes[largest][:1]
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out


@contextmanager
def _processes(batches: Batches, orders: Sequence[Array], epoch: int, workers: int) -> Generator[list[Any]]:
    """Process i makes batches i, i + workers and so on, each into a pipe of its own, one ahead of what is read.

    It alone holds the pipe's other end, so that the pipe ends with it, even in the middle of a batch.
    """
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(workers)]
    handed = batches.handed
    started = [
        context.Process(target=_make, args=(handed, list(orders[i::workers]), epoch, pipes[i][1]), daemon=True) for i in range(workers)
    ]
    try:
        for process, (_, into) in zip(started, pipes, strict=True):
            with _held_back(signal.SIGINT):
                process.start()
            into.close()
        yield [results for results, _ in pipes]
    finally:
        for process in started:
            if process.pid is not None:
                process.terminate()
                process.join()
        for pipe in pipes:
            for end in pipe:
                end.close()


@contextmanager
def _held_back(number: signal.Signals) -> Generator[None]:
    """For a process that starts meanwhile it stays so for good. A terminal sends Ctrl-C to all of them; the one that reads decides when
    it is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _make(batches: Batches, orders: list[Array], epoch: int, into: Any) -> None:
    """In a process of its own."""
    batches = batches.taken
    for indices in orders:
        into.send(batches.of(indices, epoch))


def _in_turn(made: list[Any], count: int) -> Generator[Labelled]:
    for place in range(count):
        try:
            batch = made[place % len(made)].recv()
        except (EOFError, OSError) as error:
            raise ConvcError("a process that makes batches has ended before its time; try --workers 0") from error
        yield batch
