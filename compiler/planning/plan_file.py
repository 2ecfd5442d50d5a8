"""The plan as a JSON file that people edit and `--apply` reads again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...ir.errors import InvalidInput, UsageError
from ...ir.files import write_file
from ...ir.suggest import did_you_mean
from ...passes.bottlenecks.forms import FORMS, Split, Splittable, forms_of
from ..files.calibration import Inputs

__all__ = ["PlanFile", "check_splits", "read_plan", "write_plan"]

KEYS = ("network", "level", "budget", "calibration", "images", "imagenet", "seed", "layers", "rejected", "certificate")


@dataclass(frozen=True)
class PlanFile:
    """What `--apply` needs: the splits, and the inputs that their values were fitted on."""

    level: int
    inputs: Inputs
    splits: Mapping[str, Split]


def write_plan(path: Path, plan: PlanFile, network: str, budget: str, rejected: Sequence[str], certificate: Mapping[str, Any]) -> None:
    """A layer a line, whole or not at all.

    Raises: UsageError where the path cannot be written.
    """
    head = {"network": network, "level": plan.level, "budget": budget, "calibration": plan.inputs.files, "images": plan.inputs.images}
    head |= {"imagenet": plan.inputs.imagenet, "seed": plan.inputs.seed}
    parts = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    layers = [f"    {json.dumps(name)}: {json.dumps({'form': split.form, 'ranks': split.ranks})}" for name, split in plan.splits.items()]
    parts.append('  "layers": {\n' + ",\n".join(layers) + "\n  }")
    parts += [f"  {json.dumps(key)}: {_indented(value)}" for key, value in (("rejected", rejected), ("certificate", certificate))]
    write_file(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2).replace("\n", "\n  ")


def read_plan(path: Path) -> PlanFile:
    """Raises: UsageError for a file that is not there; InvalidInput, naming the entry, for one that is no plan."""
    try:
        found: Any = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"there is no file '{path}'") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"'{path}' cannot be read as a plan: {error}") from error
    if not isinstance(found, dict) or "layers" not in found:
        raise InvalidInput(f"'{path}' is not a plan: it has no \"layers\"")
    plan = cast("dict[str, Any]", found)
    for key in plan:
        if key not in KEYS:
            raise InvalidInput(f"'{path}': a plan has no entry '{key}'; it has {', '.join(KEYS)}")
    types = {"level": int, "images": int, "imagenet": bool, "seed": int}
    defaults = {"level": 2, "images": 32, "imagenet": False, "seed": 0}
    for key, type_ in types.items():
        if type(plan.get(key, defaults[key])) is not type_:
            raise InvalidInput(f"'{path}': '{key}' is {plan[key]!r}, expected {'true or false' if type_ is bool else 'a whole number'}")
    files: Any = plan.get("calibration", [])
    if not isinstance(files, list) or not all(isinstance(file, str) for file in cast("list[Any]", files)):
        raise InvalidInput(f"'{path}': 'calibration' is {files!r}, expected a list of files")
    names = cast("list[str]", files)
    layers: Any = plan["layers"]
    if not isinstance(layers, dict):
        raise InvalidInput(f"'{path}': 'layers' is {layers!r}, expected an entry a layer")
    splits = {name: _split(path, name, entry) for name, entry in cast("dict[str, Any]", layers).items()}
    numbers = {key: plan.get(key, default) for key, default in defaults.items()}
    return PlanFile(numbers["level"], Inputs(tuple(names), numbers["images"], numbers["imagenet"], numbers["seed"]), splits)


def _split(path: Path, name: str, entry: Any) -> Split:
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    form, ranks = fields.get("form"), fields.get("ranks")
    if set(fields) != {"form", "ranks"} or form not in FORMS or not isinstance(ranks, list):
        raise InvalidInput(f"'{path}': layer '{name}' is {entry!r}, expected a form ({', '.join(FORMS)}) and its ranks")
    numbers = cast("list[Any]", ranks)
    if len(numbers) != len(FORMS[form]) or any(type(r) is not int or r < 1 for r in numbers):
        raise InvalidInput(f"'{path}': layer '{name}' has ranks {numbers}, expected a positive number for: {', '.join(FORMS[form])}")
    return Split(form, tuple(numbers))


def check_splits(splits: Mapping[str, Split], layers: Sequence[Splittable], path: Path) -> None:
    """Raises: InvalidInput for a layer that the network does not have, a form that it cannot take or a rank too large."""
    known = {layer.name: layer for layer in layers}
    for name, split in splits.items():
        if name not in known:
            raise InvalidInput(f"'{path}': the network has no layer '{name}' to split{did_you_mean(name, known)}")
        layer = known[name]
        if split.form not in forms_of(layer):
            raise InvalidInput(f"'{path}': layer '{name}' cannot be '{split.form}'; its forms are {', '.join(forms_of(layer))}")
        for what, rank in zip(FORMS[split.form], split.ranks, strict=True):
            most = layer.c_in if what == "input" else layer.rank
            if rank > most:
                raise InvalidInput(f"'{path}': layer '{name}' has {what} rank {rank}, and at most {most} exist")
