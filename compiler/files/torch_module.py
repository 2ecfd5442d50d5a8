"""A PyTorch module as a graph, by torch.export and the ONNX program that PyTorch makes of it in memory; weights are the module's own."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
import textwrap
import warnings
from collections.abc import Generator, Mapping, Sequence, Set
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from ...ir.errors import BackendMissing, UnsupportedOp, UsageError
from ...ir.graph import Graph, Node
from ...ir.ops.leaf import Param
from ...ir.types import DTYPES, Array

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["array_of", "from_torch", "graph_of_program", "torch"]

LARGE = 1 << 10  # bytes; smaller constants may be sizes, which the reader looks at
TRACE = "pkg.torch.onnx.stack_trace"  # where PyTorch notes the lines that an operator comes from
LINE = re.compile(r'File "([^"]+)", line (\d+)')
CULPRIT = re.compile(r"node %(\w+) ")
BY_DATA = "GuardOnDataDependentSymNode"
INSTALL = 'pip install "convc[torch]"'
WAY_OUT = "; give it to torch.compile(module, backend='convc'), which compiles what lies around it"


def from_torch(module: Any, example_inputs: Sequence[Any], dynamic_shapes: Any = None, *, kwargs: Mapping[str, Any] | None = None) -> Graph:
    """The network that `module` is for inputs like `example_inputs` and, by name, `kwargs`, given as to torch.export.export; an axis that
    is free in `dynamic_shapes` may have a name there, as `{"x": {0: "N"}}`.

    Parameters stay the module's memory: what changes them before the graph is compiled changes it, too.

    Raises: BackendMissing without PyTorch; UsageError for a module in training mode; UnsupportedOp, with the user's line, for what
    torch.export cannot follow or ONNX cannot say, and for a module that writes to its buffers or its inputs.
    """
    there = torch()
    if not isinstance(module, there.nn.Module):
        raise UsageError(f"from_torch: module is a {type(module).__name__}, expected a torch.nn.Module")
    if getattr(module, "training", False):
        raise UsageError(f"{type(module).__name__} is in training mode, in which norms and dropout look at the batch; call module.eval()")
    args = (example_inputs,) if isinstance(example_inputs, there.Tensor) else tuple(example_inputs)
    name = type(module).__name__
    _need_arguments(module, dynamic_shapes)
    try:
        with _nothing_beside_an_error(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for those who write exporters
            free = _free(dynamic_shapes, there.export.Dim.DYNAMIC)
            # or an example of one image would not do for a free batch: sizes of 0 and 1 are taken for constants
            with there.fx.experimental._config.patch(backed_size_oblivious=True):
                program = there.export.export(module, args, dict(kwargs or {}), dynamic_shapes=free, strict=False)
    except Exception as error:  # many kinds, and most without a name of their own
        raise UnsupportedOp(f"{name}{_user_line(error, there)} cannot be exported by PyTorch: {_first_line(error)}{WAY_OUT}") from error
    return graph_of_program(program, name, dynamic_shapes, WAY_OUT)


def graph_of_program(program: Any, name: str, dynamic_shapes: Any = None, way_out: str = "") -> Graph:
    """The graph of a torch.export.ExportedProgram; `dynamic_shapes` name its free axes, and a refusal ends with the `way_out`.

    Raises: as `from_torch`.
    """
    there = torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # left as it is: what PyTorch's own rewrites of an ONNX program fold would be copies, and passes of ours do the same
            onnx = there.onnx.export(program, dynamo=True, optimize=False, verbose=False, dynamic_shapes=dynamic_shapes)
    except Exception as error:
        raise UnsupportedOp(f"{name}{_culprit(program, error)} cannot be said in ONNX by PyTorch: {_root(error)}{way_out}") from error
    signature = onnx.exported_program.graph_signature
    if written := [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]:
        raise UnsupportedOp(f"{name} writes to {', '.join(written)}, and a network only computes{way_out}")
    proto, weights = _apart(onnx.model, there)
    return _marked(_read(proto, weights, name), set(signature.parameters))


@functools.cache
def torch() -> Any:
    """The package. Raises: BackendMissing where it, or what its exporter is made of, cannot be imported."""
    try:
        importlib.import_module("onnxscript")
        return importlib.import_module("torch")
    except ImportError as error:
        raise BackendMissing(
            f"torch and onnxscript are both needed, and cannot be imported here ({error}); the extra has them: {INSTALL}"
        ) from error


def array_of(tensor: Any) -> Array:
    """A tensor's memory as an array: no copy, but of what has gaps in its bits, such as a conjugate.

    Raises: UnsupportedOp for what does not lie on the host, or is of an element type that NumPy and convc have not.
    """
    tensor = tensor.detach()
    if tensor.device.type != "cpu":
        raise UnsupportedOp(f"a tensor lies on {tensor.device}, and networks in memory run on the host; move module and inputs there")
    there = torch()
    try:
        if tensor.dtype is there.bfloat16:
            return tensor.view(there.uint16).numpy().view(DTYPES["bf16"])
        array: Array = tensor.resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError) as error:  # sparse, quantized, 8-bit floats
        raise UnsupportedOp(f"a tensor is {tensor.dtype}, {tensor.layout}, which convc does not compute with") from error
    return array


def _read(proto: ModelProto, weights: Mapping[str, Array], name: str) -> Graph:
    from ...backends.onnx.file.reading import model_in_memory
    from ...backends.onnx.read.importer import read_from

    return replace(read_from(model_in_memory(proto, name), constants=weights).graph, name=name)


def _marked(graph: Graph, parameters: Set[str]) -> Graph:
    """The graph, knowing which of its values are the module's parameters: buffers and the numbers of its formulas are none to train."""

    def marked(node: Node, operands: tuple[Node, ...]) -> Node:
        if node.weights is None or not node.weights.is_given or not node.typed.is_float:
            return node.reading(operands)
        if node.name not in parameters:
            return node.like(op=Param("constant"))
        return node if node.typed.rank else node.like(op=Param("trained"))

    return graph.rebuild(marked)


def _apart(model: Any, there: Any) -> tuple[ModelProto, dict[str, Array]]:
    """An ONNX program without its large constants, and those, in the memory where they lie."""
    serde = importlib.import_module("onnx_ir").serde
    weights: dict[str, Array] = {}
    for name, value in list(model.graph.initializers.items()):
        raw = getattr(value.const_value, "raw", None)
        if isinstance(raw, there.Tensor) and value.const_value.nbytes > LARGE:
            weights[name] = array_of(raw)
            del model.graph.initializers[name]
            model.graph.inputs.append(value)
    for node in model.graph:
        if line := _user_place(node.metadata_props.get(TRACE, ""), there):
            node.name = f"{node.name} at {line}"
    return cast("ModelProto", serde.serialize_model(model)), weights


def _need_arguments(module: Any, spec: Any) -> None:
    """Raises: UsageError for free axes of an argument that the module has not, with those that it has."""
    parameters = inspect.signature(module.forward).parameters
    if not isinstance(spec, Mapping) or any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    if wrong := next((key for key in cast("Mapping[Any, Any]", spec) if key not in parameters), None):
        raise UsageError(f"dynamic_shapes has '{wrong}', and {type(module).__name__}.forward takes {', '.join(parameters)}")


def _free(spec: Any, free: Any) -> Any:
    """Dynamic shapes as torch.export wants them, which knows no names."""
    if isinstance(spec, str):
        return free
    if isinstance(spec, Mapping):
        return {key: _free(each, free) for key, each in cast("Mapping[Any, Any]", spec).items()}
    if isinstance(spec, list | tuple):
        made = [_free(each, free) for each in cast("Sequence[Any]", spec)]
        return made if isinstance(spec, list) else tuple(made)
    return spec


# --- errors ---


@contextmanager
def _nothing_beside_an_error() -> Generator[None]:
    """PyTorch writes a page on standard error, its half of a graph, before it raises; the error says what of that is of use."""
    with redirect_stderr(StringIO()) as page:
        yield
    sys.stderr.write(page.getvalue())


def _user_line(error: BaseException, there: Any) -> str:
    """The line of the user's own code that was being followed: the innermost one outside of PyTorch, and not where we were called."""
    home, found = _home(there), ""
    trace: TracebackType | None = error.__traceback__
    inside = False
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        inside = inside or file.startswith(home)
        if inside and not file.startswith((home, "<")):
            found = f" ({Path(file).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


def _user_place(text: str, there: Any) -> str:
    home = _home(there)
    lines = [(file, number) for file, number in LINE.findall(text) if not file.startswith((home, "torch/"))]
    return f"{Path(lines[-1][0]).name}:{lines[-1][1]}" if lines else ""


def _culprit(program: Any, error: BaseException) -> str:
    """The user's line for the node that an error of the exporter names."""
    found = next((match[1] for each in _causes(error) if (match := CULPRIT.search(str(each)))), "")
    nodes: Sequence[Any] = list(program.graph.nodes) if found else []
    node = next((node for node in nodes if found in node.name), None)  # it names one of what a node was taken apart to
    place = _user_place(str(node.meta.get("stack_trace", "")), torch()) if node is not None else ""
    return f" ({place})" if place else ""


def _home(there: Any) -> str:
    return str(Path(there.__file__).parent)


def _causes(error: BaseException) -> list[BaseException]:
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    return causes


def _root(error: BaseException) -> str:
    return _first_line(_causes(error)[-1])


def _first_line(error: BaseException) -> str:
    if type(error).__name__ == BY_DATA:
        return "which way it goes depends on values that it computes"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first, *rest = lines or [type(error).__name__]
    said = (f"{first} {rest[0]}" if first.endswith(":") and rest else first).rstrip(".")
    return textwrap.shorten(said, 300, placeholder=" ...")
