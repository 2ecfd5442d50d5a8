"""convc: the CNN compiler that shows its work. `import convc as cc`.

    net = cc.models.resnet50()
    better, trace = cc.optimize(net, level=2)
    cc.verify(net, better)
    cc.export_onnx(better, "resnet50.onnx")
    module = cc.compile(better, target="cpu")
    y = module(image)

Names are imported when they are first used, so that `import convc` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import models
    from .compiler.compile import compile_network, export_onnx
    from .compiler.module import Module, compile
    from .compiler.network import Network, network
    from .compiler.pipelines import optimize
    from .compiler.trace import Value, scope
    from .compiler.verify import verify
    from .ir.errors import ConvcError, Mismatch
    from .ir.graph import Graph
    from .ir.parser import parse_graph
    from .ir.printer import print_graph

__all__ = [
    "ConvcError",
    "Graph",
    "Mismatch",
    "Module",
    "Network",
    "Value",
    "compile",
    "compile_network",
    "export_onnx",
    "models",
    "network",
    "optimize",
    "parse_graph",
    "print_graph",
    "scope",
    "verify",
]

_HOME = {
    "ConvcError": ".ir.errors",
    "Graph": ".ir.graph",
    "Mismatch": ".ir.errors",
    "Module": ".compiler.module",
    "Network": ".compiler.network",
    "Value": ".compiler.trace",
    "compile": ".compiler.module",
    "compile_network": ".compiler.compile",
    "export_onnx": ".compiler.compile",
    "network": ".compiler.network",
    "optimize": ".compiler.pipelines",
    "parse_graph": ".ir.parser",
    "print_graph": ".ir.printer",
    "scope": ".compiler.trace",
    "verify": ".compiler.verify",
}


def __getattr__(name: str) -> Any:
    """Find a public name where it lives; layers are in `convc.compiler.layers`."""
    if name in ("models", "layers"):
        return importlib.import_module(".models" if name == "models" else ".compiler.layers", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'convc' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name], __name__), name)
