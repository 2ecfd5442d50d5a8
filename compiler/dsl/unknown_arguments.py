"""What to say where a layer is called with an argument of another library's name."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable
from typing import Any

from ...ir.errors import InvalidModel
from ...ir.suggest import did_you_mean
from . import layers
from .user_line import file_line

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
ELSEWHERE = {"activation": "an activation is a layer of its own, as in relu(conv(...))"}  # what no argument is for
UNKNOWN = re.compile(r"(\w+)\(\) got an unexpected keyword argument '(\w+)'")
NUMPYS = "operand 'Value' does not support ufuncs"  # by NumPy, of np.maximum(x, 0)


def unknown_argument(error: TypeError) -> InvalidModel | None:
    """The refusal, with the user's line and the nearest argument, or of a function of NumPy; None for an error of any other kind."""
    found, frames = UNKNOWN.match(str(error)), list(traceback.walk_tb(error.__traceback__))
    if frames and NUMPYS in str(error):
        where = file_line(frames[-1][0].f_code, frames[-1][1])
        return InvalidModel(
            f"{where}: NumPy's functions take no value of a network; convc has its own, such as cc.relu(x) and cc.clip(x, 0, 6)"
        )
    if found is None or not frames:
        return None
    (function, argument), (frame, line) = found.groups(), frames[-1]  # the call failed, so the last frame is the caller's
    layer: Callable[..., Any] | None = getattr(layers, function) if function in layers.__all__ else None
    if layer is None or frame.f_globals.get(function, layer) is not layer:
        return None  # a function of the user's, maybe with the name of a layer
    names = list(inspect.signature(layer).parameters)
    if argument in names:
        return None  # so too, from elsewhere
    theirs = THEIRS.get(argument, "")
    there = f"; {ELSEWHERE[argument]}" if argument in ELSEWHERE else ""
    hint = there or did_you_mean(theirs if theirs in names else argument, names, f"it has {', '.join(names)}")
    where = ", ".join([file_line(frame.f_code, line), *getattr(error, "__notes__", ())[:1]])
    return InvalidModel(f"{where}: {function} has no argument '{argument}'{hint}")
