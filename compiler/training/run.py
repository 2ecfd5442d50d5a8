"""A run of training: epochs over pictures, validation after each, and files that say at any time where it stands."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.errors import InvalidInput
from ...ir.files import write_file
from ...ir.types import Array
from .batches import Batches, Labelled, split
from .checkpoint import Epoch, RunState, read_checkpoint, write_checkpoint
from .curve_svg import curve_svg
from .pictures import Pictures
from .schedules import SCHEDULES, Moment
from .trainer import Score, Trainer

__all__ = ["Plan", "RunFiles", "TrainingRun", "files_of"]

MEASURED = 512  # pictures whose mean and deviation stand for all


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, by how much at a time, and from what. `validation` is the share of the pictures that is held out."""

    epochs: int = 10
    batch: int = 16
    learning_rate: float = 0.03
    schedule: str = "cosine"
    validation: float = 0.2
    augmentations: tuple[str, ...] = ()
    workers: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a run writes beside its weights."""

    weights: Path
    checkpoint: Path
    lines: Path
    curve: Path


def files_of(weights: Path) -> RunFiles:
    return RunFiles(weights, weights.with_suffix(".checkpoint.safetensors"), weights.with_suffix(".jsonl"), weights.with_suffix(".svg"))


class TrainingRun:
    """`trainer` learns `pictures` by `plan`. `identity` is what else must be the same to go on, such as the network's options."""

    def __init__(self, trainer: Trainer, pictures: Pictures, plan: Plan, identity: dict[str, Any] | None = None) -> None:
        self.trainer, self.plan = trainer, plan
        self.training, self.held = split(len(pictures), plan.validation, plan.seed)
        some = self.training[np.linspace(0, len(self.training) - 1, min(MEASURED, len(self.training))).astype(int)]
        self.batches = Batches(pictures, *pictures.moments(some), plan.augmentations, plan.seed)
        self.per_epoch = len(self.batches.order(self.training, 0, plan.batch))
        self.settings = _settings(trainer, pictures, plan, identity or {})
        self.epochs: list[Epoch] = []
        self.best: dict[str, Array] = {}
        self.done, self.loss, self.accuracy = 0, 0.0, 0.0

    def go(self, files: RunFiles, said: Callable[[Epoch], None], stepped: Callable[[int, Score], None] = lambda step, score: None) -> None:
        """To the end, or to an interruption: what there is is on disk then.

        Raises: Diverged for a loss that is no number, after the last good weights are written; UsageError where files cannot be.
        """
        try:
            for epoch in range(len(self.epochs), self.plan.epochs):
                self.epochs.append(self._epoch(epoch, stepped))
                if self.epochs[-1] is max(self.epochs, key=lambda each: each.worth):
                    self.best = self.trainer.weights()
                    _write_weights(files.weights, self.best)
                self.done, self.loss, self.accuracy = 0, 0.0, 0.0
                self._report(files)
                said(self.epochs[-1])
        except BaseException:
            write_checkpoint(files.checkpoint, self.checkpoint())
            raise

    def checkpoint(self) -> RunState:
        return RunState(
            self.trainer.values, self.best, self.trainer.steps, self.done, self.loss, self.accuracy, self.settings, tuple(self.epochs)
        )

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint was written.

        Raises: InvalidInput where the network, the data or what decides the steps is another.
        """
        found = read_checkpoint(path)
        if missing := [name for name in found.settings.get("classes", ()) if name not in self.settings["classes"]]:
            raise InvalidInput(f"'{path}' was begun with the class '{missing[0]}', which the data has no more; put its pictures back")
        self.trainer.restore(found.values, found.steps)
        if other := next((name for name, value in self.settings.items() if found.settings.get(name) != value), None):
            what = f"{other} was {found.settings.get(other)}, and is {self.settings[other]}"
            raise InvalidInput(f"'{path}' cannot go on to the same bits: {what}; give what it had, or begin without --resume")
        self.epochs, self.best = list(found.epochs), dict(found.best)
        self.done, self.loss, self.accuracy = found.done, found.loss, found.accuracy

    def _epoch(self, epoch: int, stepped: Callable[[int, Score], None]) -> Epoch:
        begun = time.perf_counter()
        orders = self.batches.order(self.training, epoch, self.plan.batch)[self.done :]
        with self.batches.made(orders, epoch, self.plan.workers) as made:
            for images, labels in made:
                score = self.trainer.step(images, labels, self._rate(epoch, self.done))
                self.loss, self.accuracy, self.done = self.loss + score.loss, self.accuracy + (score.accuracy or 0.0), self.done + 1
                stepped(self.trainer.steps, score)
        held = self.trainer_score(self.held)
        accuracy = None if held.accuracy is None else self.accuracy / self.done
        seconds = round(time.perf_counter() - begun, 3)
        return Epoch(epoch + 1, self.loss / self.done, accuracy, held.loss, held.accuracy, self._rate(epoch, self.done - 1), seconds)

    def trainer_score(self, indices: Array) -> Score:
        """Of pictures as they are."""
        scores = [(len(labels), self.trainer.evaluate(images, labels)) for images, labels in self._plain(indices)]
        shares = [count * score.accuracy for count, score in scores if score.accuracy is not None]
        loss = math.fsum(count * score.loss for count, score in scores) / len(indices)
        return Score(loss, math.fsum(shares) / len(indices) if shares else None)

    def _plain(self, indices: Array) -> Iterable[Labelled]:
        return (self.batches.of(indices[start : start + 256]) for start in range(0, len(indices), 256))

    def _rate(self, epoch: int, step: int) -> float:
        """Of that step of the epoch, counted from 0."""
        done = (epoch * self.per_epoch + step) / (self.plan.epochs * self.per_epoch)
        return self.plan.learning_rate * SCHEDULES[self.plan.schedule](Moment(done, [each.validation_loss for each in self.epochs]))

    def _report(self, files: RunFiles) -> None:
        write_checkpoint(files.checkpoint, self.checkpoint())
        write_file(files.lines, "".join(json.dumps(asdict(each)) + "\n" for each in self.epochs).encode())
        write_file(files.curve, curve_svg(f"{self.trainer.graph.name}: loss and accuracy", self.epochs).encode())


def _settings(trainer: Trainer, pictures: Pictures, plan: Plan, identity: dict[str, Any]) -> dict[str, Any]:
    """What decides the bits of every step. Processes and threads do not; nor does the number of epochs, but by the schedule."""
    own = asdict(plan) | {"augmentations": list(plan.augmentations), "classes": list(pictures.classes), "pictures": len(pictures)}
    own |= {"loss": trainer.loss, "engine": trainer.engine} | identity
    return {name: value for name, value in own.items() if name != "workers"}


def _write_weights(path: Path, arrays: dict[str, Array]) -> None:
    import importlib

    from ..files.weights import npz_bytes

    made = npz_bytes(arrays) if path.suffix == ".npz" else importlib.import_module("safetensors.numpy").save(arrays)
    write_file(path, made)
