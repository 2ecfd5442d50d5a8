"""What a caller of the public functions gave in place of a graph, most often a @network that was not called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ...ir.errors import UsageError
from ...ir.graph import Graph
from .network import Network

__all__ = ["taking_graphs"]


def taking_graphs(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which refuses what is no Graph where its signature says `Graph`.

    Raises: UsageError, when called, naming the argument and the call that makes a graph.
    """
    names = list(inspect.signature(function).parameters)
    graphs = [name for name, parameter in inspect.signature(function).parameters.items() if parameter.annotation == "Graph"]

    @functools.wraps(function)
    def checked(*args: Any, **named: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | named
        for name in graphs:
            if name in given and not isinstance(given[name], Graph):
                raise UsageError(_complaint(function.__name__, name, given[name]))
        return function(*args, **named)

    return checked


def _complaint(function: str, name: str, value: Any) -> str:
    if isinstance(value, Network):
        return f"{value.name} is a network function; call it to build the graph: {value.name}()"
    shown = "None" if value is None else f"a {type(value).__name__}"
    return f"{function}: {name} is {shown}, expected a graph, as cc.models.resnet18() and cc.read_onnx(path) return"
