"""Property tests draw the same examples on every run; `make fuzz` is where new ones are looked for."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
