"""convc look gradient"""

from __future__ import annotations

from ...look.backward import GRADIENT
from .back import back_command

__all__ = ["command"]

command = back_command("gradient", GRADIENT, "Draw gradient times input of a class or a unit of MODEL over PHOTO (Simonyan et al. 2014).")
