"""A run of training: epochs over pictures, validation after each, and files that say at any time where it stands."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.errors import InvalidInput, UsageError
from ...ir.files import unwritable, write_file
from ...ir.progress import each, told
from ...ir.types import Array
from ..files.checkpoint_names import Checkpoint, in_pytorch
from ..files.entering import Entering
from ..files.weights import CHECKPOINT, WEIGHT_FILES
from .batches import Batches, Labelled, split
from .checkpoint import Epoch, RunState, read_checkpoint, write_checkpoint
from .curve_svg import curve_svg
from .pictures import Pictures
from .schedules import SCHEDULES, Moment
from .trainer import Diverged, Score, Trainer

__all__ = ["ENDLESS", "Plan", "RunFiles", "TrainingRun", "files_of"]

CONTENTS = {
    "network": "the network is another, by its layers, the training's options or the weights that stay as they are",
    "contents": "the pictures are others, or in another order",
}
ENDLESS = ("constant", "plateau")  # schedules that do not look to the end
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

    def __post_init__(self) -> None:
        """Raises: UsageError for a rate or a share that is none."""
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(f"the learning rate is {self.learning_rate}, expected a finite number above 0")
        if not 0 < self.validation < 1:
            raise UsageError(f"the share to validate on is {self.validation}, expected between 0 and 1")


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a run writes beside its weights."""

    weights: Path
    checkpoint: Path
    lines: Path
    curve: Path

    @property
    def all(self) -> tuple[Path, ...]:
        return tuple(getattr(self, each.name) for each in fields(self))

    def probe(self) -> None:
        """Before hours of work: raises UsageError where one of them cannot be written."""
        for path in self.all:
            if path.is_dir():
                raise UsageError(f"cannot write '{path}': it is a folder")
            try:
                with tempfile.TemporaryFile(dir=path.resolve().parent):
                    pass
            except OSError as error:
                raise unwritable(path, error) from error


def files_of(weights: Path) -> RunFiles:
    return RunFiles(weights, weights.with_suffix(CHECKPOINT), weights.with_suffix(".jsonl"), weights.with_suffix(".svg"))


class TrainingRun:
    """`trainer` learns `pictures` by `plan`. `identity` is what else must be the same to go on, such as the network's options;
    `names` what PyTorch calls the weights that are written. Raises: InvalidInput for batches too small for a norm over them.

    `state` is where the run stands. A step, or an epoch with its validation, enters it by one assignment, so that an interruption at any
    moment finds the whole of it or nothing, and what is lost is done again to the same bits.
    """

    def __init__(
        self, trainer: Trainer, pictures: Pictures, plan: Plan, identity: dict[str, Any] | None = None, names: Checkpoint | None = None
    ) -> None:
        self.trainer, self.plan, self.names = trainer, plan, names
        self.training, self.held = split(pictures.labels, plan.validation, plan.seed)
        some = self.training[np.linspace(0, len(self.training) - 1, min(MEASURED, len(self.training))).astype(int)]
        self.batches = Batches(pictures, *pictures.moments(some), plan.augmentations, plan.seed)
        self.per_epoch = len(self.batches.order(self.training, 0, plan.batch))
        trainer.check_norms(min(plan.batch, len(self.training)))
        self.settings = _settings(trainer, pictures, plan, identity or {})
        self.state = RunState(trainer.values, {}, trainer.steps, 0, 0.0, 0.0, self.settings)
        self.resumed = False
        self.on_disk: Path | None = None  # the checkpoint of this run
        self.kept = False  # whether an interruption has written where it stands

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        return self.state.epochs

    @property
    def best(self) -> Mapping[str, Array]:
        """The weights of the best epoch; none before the first."""
        return self.state.best

    def go(self, files: RunFiles, said: Callable[[Epoch], None], stepped: Callable[[int, Score], None] = lambda step, score: None) -> None:
        """To the end, or to an interruption: what there is is on disk then.

        Where a step in place fails, the weights that it wrote over are learned again from those on disk, to the same bits.

        Raises: Diverged for a loss that is no number, after the last good weights are written; UsageError where files cannot be.
        """
        files.probe()
        self.trainer.restore(self.state.values, self.state.steps)
        try:
            if self.epochs:
                self._report(files)  # a run that goes on may have been stopped between a file and the next
            with self.batches.lent(self.plan.workers) as batches:
                try:
                    self._learn(files, batches, said, stepped)
                except Diverged:
                    if not self.trainer.torn:
                        raise
                    self._go_back()
                    self._learn(files, batches, said, stepped)
        except BaseException:
            if self._is_kept(files):
                write_checkpoint(files.checkpoint, self.state)
                self.kept = True
            raise

    def _learn(self, files: RunFiles, batches: Batches, said: Callable[[Epoch], None], stepped: Callable[[int, Score], None]) -> None:
        for epoch in each("epochs", range(len(self.epochs), self.plan.epochs)):
            made = self._epoch(epoch, batches, stepped)
            best = self.trainer.weights() if all(made.worth > each.worth for each in self.epochs) else self.best
            self.state = replace(self.state, best=best, done=0, loss=0.0, accuracy=0.0, epochs=(*self.epochs, made))
            self._report(files)
            said(made)

    def _go_back(self) -> None:
        """To where the run last was on disk, or to its beginning; from there on a step leaves the weights that it is given."""
        begun = RunState(self.trainer.start(), {}, 0, 0, 0.0, 0.0, self.settings)
        self.state = begun if self.on_disk is None else replace(read_checkpoint(self.on_disk), settings=self.settings)
        self.trainer.restore(self.state.values, self.state.steps)
        self.trainer.careful = True

    def _is_kept(self, files: RunFiles) -> bool:
        """Whether an interruption now writes the checkpoint. That of an earlier run stays until an epoch of this one is over; and that of
        the last epoch, where a step in place has left no weights."""
        return not self.trainer.torn and (self.resumed or bool(self.epochs) or not files.checkpoint.exists())

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint was written.

        Raises: InvalidInput where the network, the data or what decides the steps is another.
        """
        found = read_checkpoint(path)
        if missing := [name for name in found.settings.get("classes", ()) if name not in self.settings["classes"]]:
            raise InvalidInput(f"'{path}' was begun with the class '{missing[0]}', which the data has no more; put its pictures back")
        other = next((name for name, value in self.settings.items() if found.settings.get(name) != value), None)
        if other in (None, "network"):  # of which values say more
            self._restore(path, found)
        if other is not None:
            was, now = ("none" if value is None else value for value in (found.settings.get(other), self.settings[other]))
            what = CONTENTS.get(other, f"{other} was {was}, and is {now}")
            raise InvalidInput(f"'{path}' cannot go on to the same bits: {what}; give what it had, {_anew(path, other)}")
        _check_place(path, found, self.per_epoch)
        self.state, self.resumed, self.on_disk = replace(found, settings=self.settings), True, path

    def _restore(self, path: Path, found: RunState) -> None:
        """Raises: InvalidInput, naming the file, for values of another network."""
        try:
            self.trainer.restore(found.values, found.steps)
        except InvalidInput as error:
            raise InvalidInput(f"'{path}' cannot go on: {error}") from error

    def _epoch(self, epoch: int, batches: Batches, stepped: Callable[[int, Score], None]) -> Epoch:
        begun = time.perf_counter()
        orders = batches.order(self.training, epoch, self.plan.batch)[self.state.done :]
        with batches.made(orders, epoch, self.plan.workers) as made:
            for images, labels in told(f"steps of epoch {epoch + 1}", len(orders), made):
                score = self.trainer.step(images, labels, self._rate(epoch, self.state.done))
                self.state = self._after(score)
                stepped(self.state.steps, score)
        held, state = self.trainer_score(self.held), self.state
        if not math.isfinite(held.loss):
            raise Diverged(f"epoch {epoch + 1}: the loss of what is held out is {held.loss}; try a smaller learning rate")
        accuracy = None if held.accuracy is None else state.accuracy / state.done
        seconds = round(time.perf_counter() - begun, 3)
        return Epoch(epoch + 1, state.loss / state.done, accuracy, held.loss, held.accuracy, self._rate(epoch, state.done - 1), seconds)

    def _after(self, score: Score) -> RunState:
        """Where the run stands once the trainer has made a step."""
        was, trainer = self.state, self.trainer
        sums = {"loss": was.loss + score.loss, "accuracy": was.accuracy + (score.accuracy or 0.0)}
        return replace(was, values=trainer.values, steps=trainer.steps, done=was.done + 1, **sums)

    def trainer_score(self, indices: Array) -> Score:
        """Of pictures as they are."""
        batches = told("what is held out", -(-len(indices) // 256), self._plain(indices))
        scores = [(len(labels), self.trainer.evaluate(images, labels)) for images, labels in batches]
        shares = [count * score.accuracy for count, score in scores if score.accuracy is not None]
        loss = math.fsum(count * score.loss for count, score in scores) / len(indices)
        return Score(loss, math.fsum(shares) / len(indices) if shares else None)

    def _plain(self, indices: Array) -> Iterable[Labelled]:
        return (self.batches.of(indices[start : start + 256]) for start in range(0, len(indices), 256))

    def _rate(self, epoch: int, step: int) -> float:
        """Of that step of the epoch, counted from 0."""
        done = (epoch * self.per_epoch + step) / (self.plan.epochs * self.per_epoch)
        return self.plan.learning_rate * SCHEDULES[self.plan.schedule](Moment(done, [each.validation_loss for each in self.epochs]))

    @property
    def entering(self) -> Entering:
        """For whoever runs the weights."""
        mean, deviation = (tuple(map(float, each.ravel())) for each in (self.batches.mean, self.batches.deviation))
        return Entering(mean, deviation, tuple(self.settings["classes"]))

    def _report(self, files: RunFiles) -> None:
        best = self.best if self.names is None else in_pytorch(self.trainer.graph, self.best, self.names)
        _write_weights(files.weights, best, self.entering.metadata)
        write_checkpoint(files.checkpoint, self.state)
        self.on_disk = files.checkpoint
        write_file(files.lines, "".join(json.dumps(asdict(each)) + "\n" for each in self.epochs).encode())
        write_file(files.curve, curve_svg(f"{self.trainer.graph.name}: loss and accuracy", self.epochs).encode())


def _settings(trainer: Trainer, pictures: Pictures, plan: Plan, identity: dict[str, Any]) -> dict[str, Any]:
    """What decides the bits of every step. Processes and threads do not; nor does the number of epochs, but by the schedule."""
    without = ("workers", "epochs") if plan.schedule in ENDLESS else ("workers",)
    own = asdict(plan) | {"augmentations": list(plan.augmentations), "classes": list(pictures.classes), "pictures": len(pictures)}
    own |= {"loss": trainer.loss, "engine": trainer.engine} | identity
    own |= {"network": trainer.fingerprint(), "contents": _contents(pictures), "epochs": own.pop("epochs")}
    return {name: value for name, value in own.items() if name not in without}


def _contents(pictures: Pictures) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(pictures.pixels).data, digest_size=16)
    digest.update(np.ascontiguousarray(pictures.labels).data)
    return digest.hexdigest()


def _anew(path: Path, other: str) -> str:
    """What there is instead of going on, for people: what was learned fits the network yet, where it is not the network that differs."""
    beside = (path.with_name(path.name.removesuffix(CHECKPOINT) + suffix) for suffix in WEIGHT_FILES)
    weights = next((each for each in beside if each.exists()), None)
    if other == "network" or weights is None:
        return "or begin without --resume"
    return f"or begin anew from what it learned: --weights '{weights}' without --resume"


def _check_place(path: Path, found: RunState, per_epoch: int) -> None:
    """Raises: InvalidInput for a number of steps that no run has."""
    if not 0 <= found.done <= per_epoch or found.steps != len(found.epochs) * per_epoch + found.done or (found.epochs and not found.best):
        what = f"{found.steps} steps, {len(found.epochs)} epochs and {found.done} steps of the next, of {per_epoch} each"
        raise InvalidInput(f"'{path}' says {what}, which is no place in a run; begin without --resume")


def _write_weights(path: Path, arrays: Mapping[str, Array], said: dict[str, str]) -> None:
    """What is `said` of them goes along in a .safetensors file; an .npz has no place for it."""
    import importlib

    from ..files.weights import npz_bytes

    made = npz_bytes(arrays) if path.suffix == ".npz" else importlib.import_module("safetensors.numpy").save(arrays, said)
    write_file(path, made)
