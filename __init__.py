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

import functools
import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .ir.version import __version__ as __version__

if TYPE_CHECKING:
    from . import models as models
    from .compiler.bench.profile import profile as profile
    from .compiler.checking.verify import verify as verify
    from .compiler.compiling.compile import compile_network as compile_network
    from .compiler.compiling.module import Module as Module
    from .compiler.compiling.module import compile as compile
    from .compiler.dsl.layers import *  # noqa: F403
    from .compiler.dsl.network import Network as Network
    from .compiler.dsl.network import network as network
    from .compiler.dsl.trace import Value as Value
    from .compiler.dsl.trace import scope as scope
    from .compiler.engines.optimize import optimize as optimize
    from .compiler.files.onnx_file import export_onnx as export_onnx
    from .compiler.files.onnx_file import read_onnx as read_onnx
    from .compiler.files.torch_module import from_torch as from_torch
    from .compiler.look.ascent import ascent_step as ascent_step
    from .compiler.look.backward import deconvnet as deconvnet
    from .compiler.look.backward import guided_backpropagation as guided_backpropagation
    from .compiler.look.backward import input_gradient as input_gradient
    from .compiler.look.cam import grad_cam as grad_cam
    from .compiler.planning.plan import plan as plan
    from .compiler.report.figure.svg import draw as draw
    from .compiler.report.network_summary import summary as summary
    from .compiler.training.optimizers import adam as adam
    from .compiler.training.optimizers import sgd as sgd
    from .compiler.training.step import training_step as training_step
    from .compiler.training.trainer import Trainer as Trainer
    from .ir.errors import ConvcError as ConvcError
    from .ir.errors import Mismatch as Mismatch
    from .ir.graph import Graph as Graph
    from .ir.parser import parse_graph as parse_graph
    from .ir.printer import print_graph as print_graph

_HOME = {
    "ConvcError": ".ir.errors",
    "Graph": ".ir.graph",
    "Mismatch": ".ir.errors",
    "Module": ".compiler.compiling.module",
    "Network": ".compiler.dsl.network",
    "Trainer": ".compiler.training.trainer",
    "Value": ".compiler.dsl.trace",
    "ascent_step": ".compiler.look.ascent",
    "adam": ".compiler.training.optimizers",
    "compile": ".compiler.compiling.module",
    "compile_network": ".compiler.compiling.compile",
    "deconvnet": ".compiler.look.backward",
    "export_onnx": ".compiler.files.onnx_file",
    "draw": ".compiler.report.figure.svg",
    "grad_cam": ".compiler.look.cam",
    "guided_backpropagation": ".compiler.look.backward",
    "input_gradient": ".compiler.look.backward",
    "from_torch": ".compiler.files.torch_module",
    "read_onnx": ".compiler.files.onnx_file",
    "network": ".compiler.dsl.network",
    "optimize": ".compiler.engines.optimize",
    "parse_graph": ".ir.parser",
    "plan": ".compiler.planning.plan",
    "profile": ".compiler.bench.profile",
    "print_graph": ".ir.printer",
    "scope": ".compiler.dsl.trace",
    "summary": ".compiler.report.network_summary",
    "sgd": ".compiler.training.optimizers",
    "training_step": ".compiler.training.step",
    "verify": ".compiler.checking.verify",
}
_TAKE_GRAPHS = (
    *("ascent_step", "compile", "compile_network", "deconvnet", "draw", "export_onnx", "grad_cam", "guided_backpropagation"),
    *("input_gradient", "optimize", "plan", "print_graph", "profile", "summary", "verify"),
)


def __getattr__(name: str) -> Any:
    """Find a public name where it lives; `__all__` too, since the layers' modules alone know their names."""
    if name == "__all__":
        return sorted([*_HOME, *_layers().__all__, "models"])
    if name == "models":
        return importlib.import_module(".models", __name__)
    if name in _TAKE_GRAPHS:
        return _checked(name)
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name], __name__), name)
    if not name.startswith("_") and name in _layers().__all__:
        return getattr(_layers(), name)
    raise AttributeError(f"module 'convc' has no attribute '{name}'{_near(name)}")


def _near(name: str) -> str:
    """What was meant; nothing for names that Python itself asks for."""
    from .ir.suggest import did_you_mean

    return "" if name.startswith("_") else did_you_mean(name, __getattr__("__all__"))


def _layers() -> ModuleType:
    return importlib.import_module(".compiler.dsl.layers", __name__)


@functools.cache
def _checked(name: str) -> Any:
    """A function that asks for its graphs in words, which inside the package are typed, and says in a notebook how far it is."""
    from .compiler.dsl.graph_arguments import taking_graphs
    from .compiler.report.progress_display import watched_in_notebooks

    return watched_in_notebooks(taking_graphs(getattr(importlib.import_module(_HOME[name], __name__), name)))


def __dir__() -> list[str]:
    return sorted([*__getattr__("__all__"), *(name for name in globals() if name.startswith("__"))])
