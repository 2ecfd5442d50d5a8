"""convc look guided"""

from __future__ import annotations

from ...look.backward import GUIDED
from .back import back_command

__all__ = ["command"]

command = back_command("guided", GUIDED, "Take a unit of MODEL back to PHOTO by guided backpropagation (Springenberg et al. 2015).")
