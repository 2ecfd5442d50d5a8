"""convc look deconvnet"""

from __future__ import annotations

from ...look.backward import DECONVNET
from .back import back_command

__all__ = ["command"]

command = back_command(
    "deconvnet",
    DECONVNET,
    "Take what excites a unit of MODEL back to PHOTO by transposed filters and remembered switches (Zeiler & Fergus 2014).",
)
