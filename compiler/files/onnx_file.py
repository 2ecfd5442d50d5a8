"""Networks as ONNX files, for users: whole files out, untrusted ones in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...ir.errors import UsageError
from ...ir.graph import Graph
from .weights import check_numbers

if TYPE_CHECKING:
    from ...backends.onnx.read.importer import Imported

__all__ = ["export_onnx", "read_onnx"]


def export_onnx(graph: Graph, path: str | Path, opset: int | None = None, source: Imported | None = None, *, resized: bool = False) -> None:
    """Write `graph` as an ONNX file, whole or not at all; weights over 2 GiB go into `<path>.data` beside it.

    What the file that it is from says, its `source`, is said again; `resized` tells that its inputs have other sizes by now.

    Raises: UsageError for an opset or a path that will not do; UnsupportedOp for a node that ONNX cannot say.
    """
    from ...backends.onnx.file.saving import save_model
    from ...backends.onnx.write.export import to_shell
    from ...backends.onnx.write.retain import retain

    path = Path(path)
    if path.suffix != ".onnx" and (path.is_file() or path.is_dir() or not path.exists()):  # a pipe or a device has no suffix
        raise UsageError(f"'{path}' does not end in .onnx, by which an ONNX file is known when it is read")
    check_numbers(graph)
    model, values = to_shell(graph, opset)
    if source is not None:
        retain(model, source, graph, as_declared=not resized)
    save_model(model, path, values=values)


def read_onnx(path: str | Path, *, strict: bool = False, **shapes: str) -> Graph:
    """The graph of the ONNX file at `path`, which is not trusted. `shapes` pin or free dimensions of inputs: `image="1,3,224,224"`.

    Operators that convc does not have are opaque nodes in it.

    Raises: UnsupportedOp, if `strict`, naming every operator that cannot be read; InvalidModel for a file that breaks the rules.
    """
    from ...backends.onnx.read.importer import read_graph

    return read_graph(Path(path), shapes=shapes, strict=strict).graph
