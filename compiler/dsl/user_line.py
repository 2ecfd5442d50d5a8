"""The user's own line, which every node carries and every error names."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import CodeType, FrameType

__all__ = ["at_place", "file_line", "naming_line", "scope", "scope_name", "user_line"]

CONVC = __name__.partition(".")[0]
ZOO = f"{CONVC}.models"  # its networks are read as a user's own are
COMMAND_LINE = f"{CONVC}.__main__"
# packages that call a user's function, or stand between it and a layer
STANDARD = sys.stdlib_module_names - {"_pyrepl"}  # whose module is the prompt's: what is typed there is the user's
OTHERS = (
    "IPython",
    "_pytest",
    "click",
    "hypothesis",
    "ipykernel",
    "joblib",
    "numpy",
    "pluggy",
    "pytest",
    "toolz",
    "torch",
    "tqdm",
    "typer",
    "xdist",
)

_PLACE: ContextVar[str] = ContextVar("place", default="")
_SCOPE: ContextVar[str] = ContextVar("scope", default="")


@contextmanager
def scope(name: str) -> Generator[None]:
    """Names of layers made inside begin with `name.`, and errors say it; scopes nest: `with scope("conv2.0"):`."""
    outer = _SCOPE.get()
    token = _SCOPE.set(f"{outer}.{name}" if outer else name)
    try:
        yield
    except TypeError as error:  # such as an argument that a layer does not have; whoever tells it is outside of all scopes
        if not getattr(error, "__notes__", None):
            error.add_note(f"in {_SCOPE.get()}")
        raise
    finally:
        _SCOPE.reset(token)


def scope_name() -> str:
    """`conv2.0`, the names of the scopes around; empty outside of any."""
    return _SCOPE.get()


@contextmanager
def at_place(place: str) -> Generator[None]:
    """Layers made inside come from `place`, not from a line of Python."""
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def user_line() -> str:
    """`file.py:31`, the innermost line that is the user's own, or the place that stands for it; empty where the command line alone asks."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and not _PLACE.get():
        module = _module(frame)
        if module == COMMAND_LINE:
            break
        if _is_users(module):
            return file_line(frame.f_code, frame.f_lineno)
        frame = frame.f_back
    return _PLACE.get()


def naming_line(complaint: str) -> str:
    """The complaint after the user's line and scope, `file.py:31, in block3: ...`; alone where there are none."""
    where = ", ".join(filter(None, [user_line(), f"in {scope_name()}" if scope_name() else ""]))
    return f"{where}: {complaint}" if where else complaint


def file_line(code: CodeType, line: int) -> str:
    """`file.py:31`; `<stdin>:1` at a prompt."""
    return f"{Path(code.co_filename).name}:{line}"


def _module(frame: FrameType) -> str:
    """The name that a frame's module is imported by, also where `python -m` runs it."""
    spec = frame.f_globals.get("__spec__")
    return spec.name if spec else frame.f_globals.get("__name__", "")


def _is_users(module: str) -> bool:
    """By the package that it belongs to: files may lie anywhere."""
    package = module.partition(".")[0]
    if package == CONVC:
        return f"{module}.".startswith(f"{ZOO}.")
    return package not in STANDARD and package not in OTHERS
