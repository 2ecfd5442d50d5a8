"""What to say where a layer is called with an argument of another library's name."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..ir.errors import InvalidModel
from . import layers, layers_structure

__all__ = ["unknown_argument"]

# PyTorch's and Keras's words that do not look like ours
THEIRS = {
    "out_channels": "c_out",
    "filters": "c_out",
    "units": "features",
    "dim": "axis",
    "eps": "epsilon",
    "p": "ratio",
    "keepdim": "keepdims",
}
UNKNOWN = re.compile(r"(\w+)\(\) got an unexpected keyword argument '(\w+)'")


def unknown_argument(error: TypeError) -> InvalidModel | None:
    """The refusal, with the user's line and the nearest argument; None for an error of any other kind."""
    found = UNKNOWN.match(str(error))
    layer = _layer(found[1]) if found else None
    if found is None or layer is None or not (frames := traceback.extract_tb(error.__traceback__)):
        return None
    names = list(inspect.signature(layer).parameters)
    theirs = THEIRS.get(found[2], "")
    near = [theirs] if theirs in names else get_close_matches(found[2], names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(names)}"
    return InvalidModel(f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: {found[1]} has no argument '{found[2]}'; {hint}")


def _layer(name: str) -> Callable[..., Any] | None:
    home = next((module for module in (layers, layers_structure) if name in module.__all__), None)
    return getattr(home, name) if home else None
