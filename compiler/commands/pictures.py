"""How photographs that a command reads are normalized: as --weights say, where they do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...ir.errors import UsageError
from ...ir.graph import Graph
from ..files.entering import Entering, entering_of
from ..files.images import is_image
from ..files.model import Request
from .console import Console

__all__ = ["entering_from", "warn_of_lost"]


def entering_from(console: Console, request: Request, graph: Graph, files: Iterable[str], *, imagenet: bool = False) -> Entering | None:
    """What the weights of `request` say, said aloud where there is a photograph among the `files`.

    Raises: UsageError where --imagenet, of the call or of a plan, says otherwise; as `entering_of`.
    """
    entering = entering_of(request.weights, graph)
    if entering is not None and any(is_image(Path(file)) for file in files):
        if imagenet:
            raise UsageError(f"'{request.weights}' says how pictures are normalized, and not as --imagenet has it; leave that out")
        console.say(f"{request.weights}: {entering.line}")
    return entering


def warn_of_lost(console: Console, entering: Entering | None, output: Path) -> None:
    """Where weights are written into a file that has no place for it."""
    if entering is not None and output.suffix == ".npz":
        console.say(f"warning: '{output}' has no place for how {entering.line}; a .safetensors file keeps it")
