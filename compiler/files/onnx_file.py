"""Networks as ONNX files, for users: whole files out, untrusted ones in."""

from __future__ import annotations

from pathlib import Path

from ...ir.graph import Graph
from .weights import check_numbers

__all__ = ["export_onnx", "read_onnx"]


def export_onnx(graph: Graph, path: str | Path, opset: int | None = None) -> None:
    """Write `graph` as an ONNX file, whole or not at all; weights over 2 GB go into `<path>.data` beside it.

    Raises: UsageError for an opset or a path that will not do; UnsupportedOp for a node that ONNX cannot say.
    """
    from ...backends.onnx.file.saving import save_model
    from ...backends.onnx.write.export import to_shell

    check_numbers(graph)
    model, values = to_shell(graph, opset)
    save_model(model, Path(path), values=values)


def read_onnx(path: str | Path, *, strict: bool = False, **shapes: str) -> Graph:
    """The graph of an ONNX file, which is not trusted. `shapes` pin or free dimensions of inputs: `image="1,3,224,224"`.

    Operators that convc does not have are opaque nodes in it.

    Raises: UnsupportedOp, if `strict`, naming every operator that cannot be read; InvalidModel for a file that breaks the rules.
    """
    from ...backends.onnx.read.importer import read_graph

    return read_graph(Path(path), shapes=shapes, strict=strict).graph
