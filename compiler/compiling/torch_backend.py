"""`torch.compile(model, backend="convc")`: each graph that Dynamo finds, compiled when it is first called; PyTorch does what convc cannot.

Parameters are bound as constants. Dynamo gives them with each call, so that one that was written to, or replaced, is seen by its version,
its address or itself, and the graph is built anew. What is written through `.data` or another library's view changes none of these.
One graph serves all modules that Dynamo finds alike, such as the blocks of a network, each compiled by itself: it is built for each.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter, itemgetter
from typing import Any

from ...backends.tvm.host import most_threads
from ...ir.errors import ConvcError, UnsupportedOp, UsageError
from ...ir.graph import Graph
from ...ir.types import DTYPES, Array
from ..engines.engine import Run
from ..files.torch_module import array_of, graph_of_program, torch
from .module import started

__all__ = ["Options", "convc"]

REBUILDS = 3  # for one module whose weights change; each takes seconds, and who goes on writing to them is training
MODULES = 64  # for which a graph is built
WORDS = 16  # about one graph, each another
VERSION = attrgetter("_version")


@dataclass(frozen=True, slots=True)
class Options:
    """As `torch.compile(model, backend="convc", options={"level": 3})` gives them; `threads` are PyTorch's by default. `check` holds each
    graph to float64 once.
    """

    level: int = 2
    threads: int | None = None
    check: bool = True

    @staticmethod
    def of(given: Mapping[str, Any]) -> Options:
        known = [field.name for field in fields(Options)]
        if unknown := sorted(set(given) - set(known)):
            raise UsageError(f"backend convc has no option '{unknown[0]}'; it has {', '.join(known)}")
        return Options(**given)


def convc(graph: Any, example_inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None, mode: str | None = None) -> Any:
    """What Dynamo calls with a torch.fx.GraphModule, and calls in its place; modes are for another backend.

    Raises: UsageError for an option that there is not.
    """
    return _Subgraph(graph, Options.of(options or {})).run


@dataclass(frozen=True, slots=True)
class _Held:
    """Weights as they were when a graph was built of them. Their memory is kept: no other tensor comes to lie at their addresses."""

    memory: Sequence[Any]
    themselves: Sequence[int]
    versions: Sequence[int]
    addresses: Sequence[int]

    @staticmethod
    def of(tensors: Sequence[Any]) -> _Held:
        """Raises: UnsupportedOp for what was made in inference mode, where PyTorch counts no versions."""
        if any(tensor.is_inference() for tensor in tensors):
            raise UnsupportedOp("weights were made in inference mode, where nobody notes that they change; make the module outside of it")
        memory = [tensor.detach() for tensor in tensors]
        return _Held(memory, list(map(id, tensors)), list(map(VERSION, tensors)), _addresses(tensors))

    def are(self, tensors: Sequence[Any]) -> bool:
        """In every run, and a network has hundreds, which that left in no cache: so by what loops in C, and looks into no tensor twice."""
        if list(map(id, tensors)) != self.themselves:
            return False
        return list(map(VERSION, tensors)) == self.versions and _addresses(tensors) == self.addresses


@dataclass(frozen=True, slots=True)
class _Built:
    """A graph ready to run: `names` of its inputs, which stand at `places` among the arguments, and of its `outputs`."""

    run: Run
    names: Sequence[str]
    places: Sequence[int]
    outputs: Sequence[str]
    held: _Held


@dataclass(slots=True)
class _Module:
    """What a graph is for the weights of one module: `built`, None where convc cannot, after so many `builds`. `alive` forgets it where one
    of its weights is gone, as another tensor may then be what that was.
    """

    built: _Built | None = None
    builds: int = 0
    alive: Sequence[Any] = ()


class _Subgraph:
    """One graph of Dynamo's. `why_not` says why PyTorch runs it itself, once that is known."""

    def __init__(self, module: Any, options: Options) -> None:
        self.module = module
        self.options = options
        self.why_not = ""
        self._modules: dict[tuple[int, ...], _Module] = {}  # by the weights themselves
        self._last: _Built | None = None  # that was run, as it mostly is again
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._torch = torch()
        self._grad = self._torch.is_grad_enabled
        nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
        self._static = [i for i, node in enumerate(nodes) if _is_static(node, self._torch)]
        self._own = [*module.parameters(), *module.buffers()]  # what older releases leave inside
        self._weights = _picker(self._static, self._own)

    def run(self, *args: Any) -> Any:
        """The graph's results, a tuple of tensors that own their memory."""
        if self.why_not or (self._grad() and self._needs_gradient(args)):
            return self.module(*args)
        weights, built = self._weights(args), self._last
        if built is None or not built.held.are(weights):
            built = self._last = self._found(args, weights)
            if built is None:
                return self.module(*args)
        results = self._computed(built, args)
        return self.module(*args) if results is None else tuple([self._tensor(results[name]) for name in built.outputs])

    def _computed(self, built: _Built, args: Sequence[Any]) -> Mapping[str, Array] | None:
        """By name; None where convc cannot for these: it was built for sizes with names, and not every number will do for one."""
        try:
            return built.run({name: array_of(args[place]) for name, place in zip(built.names, built.places, strict=True)})
        except ConvcError as error:
            self._say(str(error))
            return None

    def _needs_gradient(self, args: Sequence[Any]) -> bool:
        if not any(getattr(each, "requires_grad", False) for each in (*args, *self._own)):
            return False
        self._give_up("gradients are wanted of it, and convc computes none; call it under torch.inference_mode() or torch.no_grad()")
        return True

    def _found(self, args: Sequence[Any], weights: Sequence[Any]) -> _Built | None:
        module = self._modules.get(tuple(map(id, weights)))
        if module is not None and module.built is not None and module.built.held.are(weights):
            return module.built
        return self._renewed(args, weights)

    def _renewed(self, args: Sequence[Any], weights: Sequence[Any]) -> _Built | None:
        """Built, or built anew because weights changed; None where convc cannot, or has done so too often."""
        with self._lock:
            key = tuple(map(id, weights))
            module = self._modules.get(key) or self._succeeding(key, weights)
            if module.built is not None and module.built.held.are(weights):  # another thread was first
                return module.built
            if module.builds > REBUILDS:
                self._give_up(
                    f"its weights changed {module.builds} times, and each time it is compiled anew; compile a module that is trained"
                )
            if len(self._modules) > MODULES:
                self._give_up(f"it serves more than {MODULES} modules, for each of which it is compiled")
            if self.why_not:
                return None
            module.built, module.builds = None, module.builds + 1
            try:
                module.built = self._build(args, weights)
            except ConvcError as error:
                self._give_up(str(error))
            return module.built

    def _succeeding(self, key: tuple[int, ...], weights: Sequence[Any]) -> _Module:
        """A module that was not seen yet, or one that was, some of whose weights are others now."""
        own = set(key)
        before = [known for known in list(self._modules) if not own.isdisjoint(known)]
        module = self._modules[key] = _Module(builds=max((self._modules.pop(known, _Module()).builds for known in before), default=0))
        module.alive = [weakref.ref(tensor, lambda _: self._forget(key)) for tensor in weights]
        return module

    def _forget(self, key: tuple[int, ...]) -> None:
        gone = self._modules.pop(key, None)
        if gone is not None and gone.built is self._last:
            self._last = None

    def _build(self, args: Sequence[Any], weights: Sequence[Any]) -> _Built:
        """Raises: ConvcError for whatever convc cannot do."""
        held = _Held.of(weights)
        bound = _bound(self.module, args, self._static, self._torch)
        graph = graph_of_program(_exported(bound, args, self._torch), "its_program")
        threads = self.options.threads or min(self._torch.get_num_threads(), most_threads())
        better, run = started(graph, self.options.level, threads, check=self.options.check)
        return _Built(run, [node.name for node in better.inputs], bound.places, _outputs(better, bound), held)

    def _tensor(self, array: Array) -> Any:
        if array.dtype == DTYPES["bf16"]:
            return self._torch.from_numpy(array.view("u2")).view(self._torch.bfloat16)
        return self._torch.from_numpy(array)

    def _give_up(self, why: str) -> None:
        self.why_not = why
        self._say(why)

    def _say(self, why: str) -> None:
        """Once for each graph, and each size that it does not work with."""
        if why in self._said or len(self._said) >= WORDS:
            return
        self._said.add(why)
        warnings.warn(
            f"PyTorch runs a graph of {len(self.module.graph.nodes)} nodes itself, not convc: {why}", RuntimeWarning, stacklevel=4
        )


def _picker(places: Sequence[int], own: Sequence[Any]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """The weights among a graph's arguments, and its own."""
    if len(places) > 1 and not own:
        return itemgetter(*places)
    return lambda args: (*(args[place] for place in places), *own)


def _addresses(tensors: Sequence[Any]) -> list[int]:
    return list(map(torch().Tensor.data_ptr, tensors))


def _is_static(node: Any, there: Any) -> bool:
    """Whether Dynamo gives a parameter or buffer of a module there, and not what the caller gives."""
    noted: Mapping[str, Any] = node.meta.get("tensor_dict") or {}
    return "_dynamo_static_input_type" in noted or isinstance(node.meta.get("example_value"), there.nn.Parameter)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A graph whose weights are its own: the tensors that are left as inputs stand at `places`, and `free` are the axes of each."""

    module: Any
    places: Sequence[int]
    free: Sequence[Mapping[int, Any]]
    results: int


def _bound(module: Any, args: Sequence[Any], static: Sequence[int], there: Any) -> _Bound:
    """Raises: UnsupportedOp for a graph that takes or gives what is no tensor, or that gives what it was given."""
    old = [node for node in module.graph.nodes if node.op == "placeholder"]
    _check_results(module, there)
    root = there.nn.Module()
    for name, value in (*module.named_parameters(), *module.named_buffers(), *module.named_children()):
        if "." not in name:
            setattr(root, name, value) if isinstance(value, there.nn.Module) else root.register_buffer(name, value, persistent=False)
    graph, made = there.fx.Graph(), dict[Any, Any]()
    places = [i for i, arg in enumerate(args) if i not in static and isinstance(arg, there.Tensor)]
    for i in places:
        made[old[i]] = graph.node_copy(old[i], made.__getitem__)
    for i in static:
        root.register_buffer(old[i].name, args[i].detach(), persistent=False)
        made[old[i]] = graph.get_attr(old[i].name)
    for node in (node for node in old if node not in made):
        made[node] = _size(node, [old[i] for i in places], made, graph, there)
    for node in module.graph.nodes:
        if node not in made:
            made[node] = graph.node_copy(node, made.__getitem__)
    free = [dict.fromkeys(_free_axes(old[i], there), there.export.Dim.DYNAMIC) for i in places]
    return _Bound(there.fx.GraphModule(root, graph), places, free, len(_results(module)))


def _size(node: Any, tensors: Sequence[Any], made: Mapping[Any, Any], graph: Any, there: Any) -> Any:
    """A named size that is an argument, as what a tensor's axis says."""
    wanted = node.meta.get("example_value")
    for tensor in tensors:
        for axis in _free_axes(tensor, there):
            if isinstance(wanted, there.SymInt) and str(tensor.meta["example_value"].shape[axis]) == str(wanted):
                return graph.call_function(there.ops.aten.sym_size.int, (made[tensor], axis))
    raise UnsupportedOp(f"its argument {node.name} is a number that no tensor's shape shows")


def _free_axes(node: Any, there: Any) -> list[int]:
    seen = node.meta.get("example_value")
    return [] if seen is None else [axis for axis, size in enumerate(seen.shape) if isinstance(size, there.SymInt)]


def _results(module: Any) -> Sequence[Any]:
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    return output.args[0] if isinstance(output.args[0], list | tuple) else [output.args[0]]


def _check_results(module: Any, there: Any) -> None:
    """Raises: UnsupportedOp. What lies in an argument's memory, or in another result's, has to lie there afterwards, too."""
    memory: dict[int, str] = {}
    for node in (node for node in module.graph.nodes if node.op == "placeholder"):
        if isinstance(seen := node.meta.get("example_value"), there.Tensor):
            memory[seen.untyped_storage()._cdata] = f"its argument {node.name}"
    for node in _results(module):
        seen: Any = getattr(node, "meta", {}).get("example_value")
        if not isinstance(seen, there.Tensor):
            raise UnsupportedOp(f"its result {node} is no tensor")
        place = seen.untyped_storage()._cdata
        if place in memory:
            raise UnsupportedOp(f"its result {node} is a view of {memory[place]}")
        memory[place] = f"its result {node}"


def _exported(bound: _Bound, args: Sequence[Any], there: Any) -> Any:
    """Raises: UnsupportedOp."""
    tensors = tuple(args[place].detach() for place in bound.places)
    try:
        with warnings.catch_warnings(), there.no_grad():
            warnings.simplefilter("ignore")
            return there.export.export(bound.module.eval(), tensors, dynamic_shapes=tuple(bound.free), strict=False)
    except Exception as error:
        raise UnsupportedOp(f"torch.export does not follow it: {str(error).strip().splitlines()[0][:300]}") from error


def _outputs(graph: Graph, bound: _Bound) -> list[str]:
    names = [node.name for node in graph.outputs]
    if len(names) != bound.results or len(graph.inputs) != len(bound.places):
        raise UnsupportedOp(
            f"its program has {len(graph.inputs)} inputs and {len(names)} results, and {len(bound.places)} and {bound.results} are due"
        )
    return names
