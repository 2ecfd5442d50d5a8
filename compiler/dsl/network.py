"""`@network`: a function from values to values becomes something that makes graphs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ...ir.channels_last import looks_last
from ...ir.errors import InvalidModel, ShapeError, UsageError
from ...ir.graph import Graph
from ...ir.types import TensorType
from .input_types import has_windows, input_type, other_rank
from .pattern import pattern_layers
from .trace import Trace, Value
from .unknown_arguments import unknown_argument
from .user_line import file_line, naming_line

__all__ = ["Network", "network"]


@dataclass(frozen=True, repr=False)
class Network:
    """A network definition. Calling it builds a graph; inside another network it is a layer.

    `build` is the function; `inputs` holds the types of its arguments by name; a keyword of that name replaces one:
    `resnet50(image="N,3,256,256", classes=10)`.
    """

    name: str
    build: Callable[..., Any]
    inputs: Mapping[str, TensorType]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.build) or "").split("\n", 1)[0]

    def __repr__(self) -> str:
        """`<network tiny(image="N,3,64,64", classes=10): what its docstring begins with>`: how to call it."""
        shapes = [f'{name}="{",".join(map(str, type_.shape))}"' for name, type_ in self.inputs.items()]
        parameters = inspect.signature(self.build).parameters.items()
        options = [str(each.replace(annotation=each.empty)) for name, each in parameters if name not in self.inputs]
        return f"<network {self.name}({', '.join([*shapes, *options])}){f': {self.summary}' if self.summary else ''}>"

    def __call__(self, *values: Value, strict_windows: bool = False, **options: Any) -> Any:
        """A Graph; or, called with values of a network under construction, what the function returns there."""
        if values:
            return self.build(*values, **options)
        return self.graph(strict_windows=strict_windows, **options)

    def graph(self, *, strict_windows: bool = False, **options: Any) -> Graph:
        """Trace the function with its `options`, among them shapes of inputs; `strict_windows` refuses windows that do not
        tile their input.

        Raises: UsageError for an option it does not have, and for windows over an input of another number of axes than it was written
        for; ShapeError, naming the line, where layers do not fit; InvalidModel when it returns something other than values, or calls a
        layer with an argument that it does not have.
        """
        types = {name: input_type(name, options.pop(name, type_)) for name, type_ in self.inputs.items()}
        self._check_options(options)
        refusal = other_rank(types, self.inputs)
        try:
            graph = self._traced(types, options, strict_windows=strict_windows)
        except ShapeError as error:
            last = next((f"input '{name}' is {type_}" for name, type_ in types.items() if looks_last(type_)), "")
            if refusal is None and not last:
                raise
            raise refusal or ShapeError(f"{error}; {last}, and channels come first here, as in N,3,224,224") from error
        if refusal is not None and has_windows(graph):
            raise refusal
        return graph

    def _traced(self, types: Mapping[str, TensorType], options: Mapping[str, Any], *, strict_windows: bool) -> Graph:
        trace = Trace(self.name, strict_windows)
        arguments = {name: trace.input(name, type_) for name, type_ in types.items()}
        try:
            returned = self.build(**arguments, **options)
        except TypeError as error:
            if (refusal := unknown_argument(error)) is not None:
                raise refusal from error
            raise
        return trace.graph(self._outputs(returned, trace))

    def _check_options(self, options: Mapping[str, Any]) -> None:
        parameters = inspect.signature(self.build).parameters
        have = [name for name in parameters if name not in self.inputs]
        for name in options:
            if name not in have and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                raise UsageError(f"{self.name} has no option '{name}'; it has {', '.join([*self.inputs, *have])}")

    def _outputs(self, returned: Any, trace: Trace) -> list[Value]:
        code = getattr(inspect.unwrap(self.build), "__code__", None)
        where = f"{file_line(code, code.co_firstlineno)}: " if code else ""
        names, outputs = _results(returned)
        if returned is None or not outputs:
            raise InvalidModel(f"{where}network '{self.name}' returns nothing; end it with `return` and its last value")
        for output in outputs:
            if not isinstance(output, Value):
                raise InvalidModel(f"{where}network '{self.name}' returns a {type(output).__name__}, expected a value made by a layer")
            if output.trace is not trace:
                raise InvalidModel(f"{where}network '{self.name}' returns a value of another network")
        for name in names:
            if not isinstance(name, str) or not name:
                raise InvalidModel(f"{where}network '{self.name}' names an output {name!r}, expected a text such as 'boxes'")
        try:
            return [trace.output(name, output) for name, output in zip(names, outputs, strict=True)] if names else outputs
        except InvalidModel as error:
            raise InvalidModel(f"{where}network '{self.name}': {error}") from error


def _results(returned: Any) -> tuple[list[Any], list[Any]]:
    """Names, if a dict has them, and what is returned under them."""
    if isinstance(returned, dict):
        named = cast("dict[Any, Any]", returned)
        return list(named), list(named.values())
    return [], list(cast("list[Any]", returned)) if isinstance(returned, tuple | list) else [returned]


def network(pattern: Any = "", /, **inputs: Any) -> Any:
    """Decorate a function whose arguments are the inputs: `@network(image="N,3,224,224")`.

    With a text first, the network it describes in the course's pattern language:
    `network("[(CONV-RELU)*2-POOL]*3-(FC-RELU)*1-SOFTMAX", image="N,3,32,32", classes=10)`.
    """
    if callable(pattern):
        raise UsageError(f"@network needs the inputs of '{pattern.__name__}': write @network(image=\"N,3,224,224\")")
    if pattern:
        return _pattern(pattern, **inputs)
    types = {name: _declared(name, text) for name, text in inputs.items()}

    def wrap(build: Callable[..., Any]) -> Network:
        missing = [name for name in types if name not in inspect.signature(build).parameters]
        if missing:
            raise InvalidModel(f"network '{build.__name__}' has no argument '{missing[0]}', which @network names as an input")
        return Network(build.__name__, build, types)

    return wrap


def _pattern(text: str, *, image: Any = "N,3,32,32", name: str = "pattern", **options: Any) -> Network:
    return Network(name, pattern_layers(text, **options), {"image": input_type("image", image)})


def _declared(name: str, given: Any) -> TensorType:
    """Raises: UsageError with the line of the decorator, and how it is written."""
    try:
        return input_type(name, given)
    except UsageError as error:
        how = "" if "write" in str(error) else f'; an input is written as in @network({name}="N,3,224,224")'
        raise UsageError(naming_line(f"{error}{how}")) from None
