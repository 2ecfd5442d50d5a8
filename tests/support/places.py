"""Where tests find what is no code."""

from __future__ import annotations

from pathlib import Path

import convc

DATA = Path(convc.__file__).parent / "tests" / "data"
PHOTO = DATA / "cat.jpg"  # of 451 by 300 pixels
TORCH = DATA / "torch"  # files that PyTorch has written
