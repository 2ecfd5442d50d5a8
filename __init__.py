"""convc: the CNN compiler that shows its work. `import convc as cc`.

    net = cc.models.resnet50()
    better, trace = cc.optimize(net, level=2)
    cc.verify(net, better)
    cc.export_onnx(better, "resnet50.onnx")
    module = cc.compile(better, target="cpu")
    y = module(image)

A network is written with layers, which are here too: `from convc import conv, network, relu`. Names are imported
when they are first used, so that `import convc` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import models
    from .compiler.compile import compile_network, export_onnx
    from .compiler.layers import (
        avg_pool as avg_pool,
    )
    from .compiler.layers import (
        batch_norm as batch_norm,
    )
    from .compiler.layers import (
        cast as cast,
    )
    from .compiler.layers import (
        clip as clip,
    )
    from .compiler.layers import (
        concat as concat,
    )
    from .compiler.layers import (
        constant as constant,
    )
    from .compiler.layers import (
        conv as conv,
    )
    from .compiler.layers import (
        conv_bn as conv_bn,
    )
    from .compiler.layers import (
        conv_bn_relu as conv_bn_relu,
    )
    from .compiler.layers import (
        conv_relu as conv_relu,
    )
    from .compiler.layers import (
        conv_transpose as conv_transpose,
    )
    from .compiler.layers import (
        conv_with as conv_with,
    )
    from .compiler.layers import (
        dense as dense,
    )
    from .compiler.layers import (
        dropout as dropout,
    )
    from .compiler.layers import (
        flatten as flatten,
    )
    from .compiler.layers import (
        global_avg_pool as global_avg_pool,
    )
    from .compiler.layers import (
        global_max_pool as global_max_pool,
    )
    from .compiler.layers import (
        identity as identity,
    )
    from .compiler.layers import (
        leaky_relu as leaky_relu,
    )
    from .compiler.layers import (
        local_response_norm as local_response_norm,
    )
    from .compiler.layers import (
        log_softmax as log_softmax,
    )
    from .compiler.layers import (
        matmul as matmul,
    )
    from .compiler.layers import (
        max_pool as max_pool,
    )
    from .compiler.layers import (
        pad as pad,
    )
    from .compiler.layers import (
        reduce_mean as reduce_mean,
    )
    from .compiler.layers import (
        relu as relu,
    )
    from .compiler.layers import (
        reshape as reshape,
    )
    from .compiler.layers import (
        sigmoid as sigmoid,
    )
    from .compiler.layers import (
        slice_axis as slice_axis,
    )
    from .compiler.layers import (
        softmax as softmax,
    )
    from .compiler.layers import (
        tanh as tanh,
    )
    from .compiler.layers import (
        transpose as transpose,
    )
    from .compiler.layers import (
        upsample as upsample,
    )
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
    """Find a public name where it lives; what is not listed above may be a layer."""
    if name == "models":
        return importlib.import_module(".models", __name__)
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name], __name__), name)
    layers = importlib.import_module(".compiler.layers", __name__)
    if name not in layers.__all__:
        raise AttributeError(f"module 'convc' has no attribute '{name}'")
    return getattr(layers, name)
