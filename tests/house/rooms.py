"""The house as data: which floors there are, which rooms they have, and what of it a file's imports break."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What stands on what: the files below a folder may import those below these, and their own.
FLOORS: dict[str, tuple[str, ...]] = {
    "ir": (),
    "passes": ("ir",),
    "backends": ("ir",),
    "compiler/dsl": ("ir",),
    "compiler": ("ir", "passes", "backends", "compiler/dsl"),
    "models": ("ir", "compiler/dsl"),
}
REST = "all other files"
# The rooms of a folder, bottom up: a room imports those before it and no other. A room is a folder, or a file, of that name.
ROOMS: dict[str, tuple[str, ...]] = {
    "passes": ("analysis", "rewriting", "bottlenecks", "precision", REST, "catalog", "manager", "pipelines"),
    "compiler": (
        "dsl",
        "targets",
        "files",
        "engines",
        "checking",
        "report",
        "bench",
        "planning",
        "compiling",
        "training",
        "look",
        "commands",
    ),
    "backends/onnx": ("file", "ort_values", "session", "fusion", "kernel_times", "stand_in", "read", "write"),
    "backends/tvm": ("processor", "gpus", "host", "attributes", "stock", "cpu", "store", "library", "cuda", "tuning"),
}
LIMITS = {"compiler": (12, 30), "backends/tvm": (10, 25)}  # rooms, and pairs of rooms of which one imports the other


@dataclass(frozen=True, slots=True)
class Import:
    """One name that a file imports: `target` is a file of the package, or the outermost package of another; `is_lazy` within a function."""

    target: str
    is_ours: bool
    is_lazy: bool


def sources(root: Path) -> list[Path]:
    return sorted(path for floor in FLOORS for path in (root / floor).rglob("*.py") if "/" not in floor)


@functools.cache
def imports(root: Path, path: Path) -> tuple[Import, ...]:
    """Of a file, paths from the root of the package; what is imported for types alone too, as lazy."""
    return tuple(_imports(root, path, _parsed(path), False))


def _imports(root: Path, path: Path, tree: ast.AST, lazy: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name.partition(".")[0], False, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield Import((node.module or "").partition(".")[0], False, lazy)
        elif isinstance(node, ast.ImportFrom):
            home = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            yield from (Import(_file(root, home, alias.name), True, lazy) for alias in node.names)
        elif not isinstance(node, ast.expr):  # which imports nothing
            yield from _imports(root, path, node, lazy or _is_lazy(node))


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def types_of(path: Path) -> Iterator[str]:
    """The names of a file's classes, and of types that it names: `Run = Callable[..., Array]`."""
    for node in _parsed(path).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Subscript, ast.BinOp)):
            yield from (each.id for each in node.targets if isinstance(each, ast.Name) and re.match("[A-Z].*[a-z]", each.id))


def broken(path: str, targets: set[str]) -> list[str]:
    """What a file at `path` breaks by lying there and importing files of the package, in sentences; all paths from the package's root."""
    if not (own := floor_of(path)):
        return [f"{path} lies on no floor; there are {', '.join(FLOORS)}"]
    wrong = [f"{path} stands on {own}, which may not import {each}" for each in sorted(targets) if not _may(own, floor_of(each))]
    for folder, rooms in ROOMS.items():
        room = listed_room(path, folder)
        if room is None:
            continue
        if room not in rooms:
            wrong.append(f"{path} lies in no room of {folder}/; there are {', '.join(rooms)}")
            continue
        above = {each for each in targets if (other := listed_room(each, folder)) in rooms and rooms.index(other) > rooms.index(room)}
        wrong += [f"{path} imports {each}, which is above it in {folder}/" for each in sorted(above)]
    return wrong


def listed_room(path: str, folder: str) -> str | None:
    """The room of a folder as ROOMS lists it: for a file that it does not name, REST where that is a room. A folder it must name."""
    room, rooms = room_of(path, folder), ROOMS[folder]
    is_rest = room is not None and room not in rooms and REST in rooms and path == f"{folder}/{room}.py"
    return REST if is_rest else room


def room_of(path: str, folder: str) -> str | None:
    """The room of a folder in which a file lies; None for one elsewhere, and for the folder's own __init__.py."""
    first, *_ = path.removeprefix(f"{folder}/").split("/")
    return None if not path.startswith(f"{folder}/") or first == "__init__.py" else first.removesuffix(".py")


def arrows(house: dict[str, set[str]], folder: str) -> set[tuple[str, str]]:
    """Which room of a folder imports which."""
    ties = ((room_of(path, folder), room_of(target, folder)) for path, targets in house.items() for target in targets)
    return {(own, other) for own, other in ties if own is not None and other is not None and own != other}


def floor_of(path: str) -> str:
    """The floor that a file stands on: the innermost folder that is one; "" for none."""
    return max((floor for floor in FLOORS if path.startswith(f"{floor}/")), key=len, default="")


def _may(own: str, other: str) -> bool:
    return own == other or other in FLOORS[own]


def _is_lazy(node: ast.AST) -> bool:
    is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    return is_for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _file(root: Path, home: Path, name: str) -> str:
    """The file that `from home import name` reads."""
    found = (home / f"{name}.py", home / name / "__init__.py", home.with_suffix(".py"), home / "__init__.py")
    return next(file for file in found if file.is_file()).relative_to(root).as_posix()
