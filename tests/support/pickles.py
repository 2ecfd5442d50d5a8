"""What a malicious weights file would do, were it unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Payload:
    """What a malicious file asks a reader that unpickles to do: make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))
