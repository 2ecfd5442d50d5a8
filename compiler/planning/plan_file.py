"""The plan as a JSON file that people edit and `--apply` reads again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...ir.errors import InvalidInput, UsageError
from ...ir.files import need_plain, write_file
from ...ir.suggest import did_you_mean, not_there
from ...passes.bottlenecks.forms import FORMS, Split, Splittable, forms_of
from ...passes.pipelines import LEVELS
from ..files.calibration import MOST_IMAGES, Inputs

__all__ = ["PlanFile", "check_splits", "read_plan", "write_plan"]

LEAST_DEVIATION = 1e-6  # as --std has it: pixels are divided by it
PICTURES = ("imagenet", "resize", "preprocess", "mean", "std")  # fields of Inputs
KEYS = ("network", "level", "budget", "calibration", "images", "seed", *PICTURES, "layers", "rejected", "certificate")


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MOST_IMAGES


def _is_level(value: Any) -> bool:
    return type(value) is int and value in range(len(LEVELS))


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 1 << 63


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_record(value: Any) -> bool:
    return isinstance(value, dict)


def _are_levels(value: Any, least: float = 0) -> bool:
    return isinstance(value, list) and all(type(each) in (int, float) and least <= each <= 1 for each in cast("list[Any]", value))


def _are_deviations(value: Any) -> bool:
    return _are_levels(value, LEAST_DEVIATION)


def _are_files(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(file, str) for file in cast("list[Any]", value))


@dataclass(frozen=True, slots=True)
class _Entry:
    """What an entry that is read must be, in code and in words, and what stands for one that is not there."""

    fits: Callable[[Any], bool]
    expected: str
    default: Any


ENTRIES = {  # those that are read; the others are for people
    "level": _Entry(_is_level, f"a level, 0 to {len(LEVELS) - 1}", 2),
    "images": _Entry(_is_count, f"a number from 1 to {MOST_IMAGES:,}", 32),
    "imagenet": _Entry(_is_flag, "true or false", False),
    "resize": _Entry(_is_flag, "true or false", False),
    "preprocess": _Entry(lambda value: value in (None, "imagenet", "none"), '"imagenet", "none" or null', None),
    "mean": _Entry(_are_levels, "a list of numbers from 0 to 1", []),
    "std": _Entry(_are_deviations, f"a list of numbers from {LEAST_DEVIATION:g} to 1", []),
    "seed": _Entry(_is_seed, "a number from 0 to 2**63", 0),
    "calibration": _Entry(_are_files, "a list of files", []),
    "layers": _Entry(_is_record, "an entry a layer", {}),
}


@dataclass(frozen=True)
class PlanFile:
    """What `--apply` needs: the splits, and the inputs that their values were fitted on."""

    level: int
    inputs: Inputs
    splits: Mapping[str, Split]
    network: str = ""


def write_plan(path: Path, plan: PlanFile, network: str, budget: str, rejected: Sequence[str], certificate: Mapping[str, Any]) -> None:
    """A layer a line, whole or not at all.

    Raises: UsageError where the path cannot be written.
    """
    head = {"network": network, "level": plan.level, "budget": budget, "calibration": plan.inputs.files, "images": plan.inputs.images}
    head |= {"seed": plan.inputs.seed, **{name: getattr(plan.inputs, name) for name in PICTURES}}
    parts = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    layers = [f"    {json.dumps(name)}: {json.dumps({'form': split.form, 'ranks': split.ranks})}" for name, split in plan.splits.items()]
    parts.append('  "layers": {\n' + ",\n".join(layers) + "\n  }")
    parts += [f"  {json.dumps(key)}: {_indented(value)}" for key, value in (("rejected", rejected), ("certificate", certificate))]
    write_file(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2).replace("\n", "\n  ")


def read_plan(path: Path) -> PlanFile:
    """Raises: UsageError for a file that is not there; InvalidInput, naming the entry, for one that is no plan."""
    plan = _parsed(path)
    for key in plan:
        if key not in KEYS:
            raise InvalidInput(f"'{path}': a plan has no entry '{key}'; it has {', '.join(KEYS)}")
    entries = {key: plan.get(key, entry.default) for key, entry in ENTRIES.items()}
    for key, entry in ENTRIES.items():
        if not entry.fits(entries[key]):
            raise InvalidInput(f"'{path}': '{key}' is {entries[key]!r}, expected {entry.expected}")
    pictures: dict[str, Any] = {name: tuple(entries[name]) if name in ("mean", "std") else entries[name] for name in PICTURES}
    inputs = Inputs(tuple(entries["calibration"]), entries["images"], entries["seed"], **pictures)
    return PlanFile(
        entries["level"],
        inputs,
        {name: _split(path, name, split) for name, split in entries["layers"].items()},
        str(plan.get("network", "")),
    )


def _parsed(path: Path) -> dict[str, Any]:
    need_plain(path)
    try:
        found: Any = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(not_there(path)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"'{path}' cannot be read as a plan: {error}") from error
    if not isinstance(found, dict) or "layers" not in found:
        raise InvalidInput(f"'{path}' is not a plan: it has no \"layers\"")
    return cast("dict[str, Any]", found)


def _split(path: Path, name: str, entry: Any) -> Split:
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    form, ranks = fields.get("form"), fields.get("ranks")
    if set(fields) != {"form", "ranks"} or form not in FORMS or not isinstance(ranks, list):
        raise InvalidInput(f"'{path}': layer '{name}' is {entry!r}, expected a form ({', '.join(FORMS)}) and its ranks")
    numbers = cast("list[Any]", ranks)
    if len(numbers) != len(FORMS[form]) or any(type(r) is not int or r < 1 for r in numbers):
        raise InvalidInput(f"'{path}': layer '{name}' has ranks {numbers}, expected a positive number for: {', '.join(FORMS[form])}")
    return Split(form, tuple(numbers))


def check_splits(plan: PlanFile, layers: Sequence[Splittable], path: Path, network: str) -> None:
    """Raises: InvalidInput for a layer that the network does not have, a form that it cannot take or a rank too large."""
    known = {layer.name: layer for layer in layers}
    whose = f"; it is a plan of @{plan.network}" if plan.network not in ("", network) else ""
    for name, split in plan.splits.items():
        if name not in known:
            raise InvalidInput(f"'{path}': @{network} has no layer '{name}' to split{whose or did_you_mean(name, known)}")
        layer = known[name]
        if split.form not in forms_of(layer):
            raise InvalidInput(f"'{path}': layer '{name}' cannot be '{split.form}'; its forms are {', '.join(forms_of(layer))}{whose}")
        for what, rank in zip(FORMS[split.form], split.ranks, strict=True):
            most = layer.c_in if what == "input" else layer.rank
            if rank > most:
                raise InvalidInput(
                    f"'{path}': layer '{name}' has {what if what == 'rank' else f'{what} rank'} {rank}, and at most {most} exist{whose}"
                )
