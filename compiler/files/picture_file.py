"""A picture's file that gives nothing more once its decoding has taken too long: small files can ask for hours.

A progressive JPEG may go over all pixels in each of a thousand scans, a PNG may have millions of chunks, a PPM a comment without end: no
limit on bytes or pixels ends those, and Pillow has none on time. It reads as it decodes, in pieces of at most 64 KiB.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

__all__ = ["LONGEST", "PictureFile"]

LONGEST = 30.0  # seconds of a processor; the largest pictures that are read take about five


class PictureFile(io.BufferedReader):
    """The file at `path`, to be read in one thread. Raises: OSError where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._begin = time.thread_time()

    def __repr__(self) -> str:
        """The path in quotes, as Pillow names a file that it opened itself."""
        return repr(str(self.name))

    def read(self, size: int | None = -1, /) -> bytes:
        """Raises: ValueError once the thread has computed for longer than LONGEST since the file was opened."""
        if time.thread_time() - self._begin > LONGEST:
            raise ValueError(f"it is not decoded after {LONGEST:g} s of a processor")
        return super().read(size)
