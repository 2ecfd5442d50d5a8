"""A run on disk: all that going on needs, so that a run resumed comes to the same bits as one that never stopped."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...ir.errors import InvalidInput, UsageError
from ...ir.files import write_file
from ...ir.types import Array

__all__ = ["Epoch", "RunState", "read_checkpoint", "write_checkpoint"]

VERSION = 2  # 1 said nothing of the network and of what it learns from
BEST = "best/"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to. Units: `seconds` of wall time; accuracies are shares, None where the loss knows none."""

    epoch: int
    loss: float
    accuracy: float | None
    validation_loss: float
    validation_accuracy: float | None
    learning_rate: float
    seconds: float

    @property
    def worth(self) -> float:
        """By which the best epoch is chosen: its accuracy, or where there is none the smaller loss."""
        return -self.validation_loss if self.validation_accuracy is None else self.validation_accuracy


@dataclass(frozen=True)
class RunState:
    """`values` are the step's weights and state after `steps` steps, `done` of them in this epoch, whose sums so far are `loss` and
    `accuracy`. `settings` are what must be the same to go on. `best` are the weights of the best epoch."""

    values: Mapping[str, Array]
    best: Mapping[str, Array]
    steps: int
    done: int
    loss: float
    accuracy: float
    settings: Mapping[str, Any]
    epochs: tuple[Epoch, ...] = field(default=())


def write_checkpoint(path: Path, checkpoint: RunState) -> None:
    """Whole or not at all. Raises: UsageError where it cannot be written: the one before stays."""
    arrays = {name: np.asarray(value, order="C") for name, value in checkpoint.values.items()}
    arrays |= {f"{BEST}{name}": np.asarray(value, order="C") for name, value in checkpoint.best.items()}
    said = {"version": VERSION, "steps": checkpoint.steps, "done": checkpoint.done}
    said |= {"loss": checkpoint.loss.hex(), "accuracy": checkpoint.accuracy.hex()}
    said |= {"settings": dict(checkpoint.settings), "epochs": [asdict(each) for each in checkpoint.epochs]}
    write_file(path, _safetensors().save(arrays, {"convc": json.dumps(said)}))


def read_checkpoint(path: Path) -> RunState:
    """Raises: UsageError for a file that is not there; InvalidInput for one that is no checkpoint."""
    from ..files.entering import KEY, safetensors_metadata
    from ..files.weights import load_arrays

    if not path.is_file():
        raise UsageError(f"there is no checkpoint '{path}'; leave out --resume to begin")
    try:
        said = json.loads(safetensors_metadata(path)[KEY])
        if said["version"] != VERSION:
            raise InvalidInput(f"'{path}' is a checkpoint of version {said['version']}, and this convc writes {VERSION}")
        arrays = load_arrays(path)  # once it is known to be ours
        best = {name.removeprefix(BEST): value for name, value in arrays.items() if name.startswith(BEST)}
        values = {name: value for name, value in arrays.items() if not name.startswith(BEST)}
        epochs = tuple(map(_epoch, said["epochs"]))
        sums = _sum(said, "loss"), _sum(said, "accuracy")
        return RunState(values, best, int(said["steps"]), int(said["done"]), *sums, _settings(said["settings"]), epochs)
    except KeyError as error:
        raise InvalidInput(f"'{path}' is no checkpoint of convc: it lacks {error}") from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"'{path}' is no checkpoint of convc: {error}") from error


def _epoch(said: dict[str, Any]) -> Epoch:
    """Raises: TypeError, ValueError for one of other fields, or whose fields are no numbers."""
    made = Epoch(**said)
    for name, value in said.items():
        if not (isinstance(value, int | float) and math.isfinite(value)) and not (value is None and name.endswith("accuracy")):
            raise ValueError(f"{name} of an epoch is {value!r}")
    return made


def _sum(said: dict[str, Any], name: str) -> float:
    """Of the steps so far."""
    found = float.fromhex(said[name])
    if not math.isfinite(found):
        raise ValueError(f"its {name} is {found}")
    return found


def _settings(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise ValueError("its settings have no names")
    settings = cast("dict[str, Any]", said)
    if not isinstance(settings.get("classes", []), list):
        raise ValueError("its classes are no list")
    return settings


def _safetensors() -> Any:
    return importlib.import_module("safetensors.numpy")
