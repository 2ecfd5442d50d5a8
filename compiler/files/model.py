"""MODEL on the command line: a zoo name, `net.py:tiny`, `file.onnx`, `file.cir`, or an artifact directory."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from ...ir.binding import specialize
from ...ir.channels_last import channels_last
from ...ir.dims import Dim
from ...ir.errors import ConvcError, Ended, InvalidModel, ShapeError, UsageError
from ...ir.files import need_plain
from ...ir.graph import Graph, Node
from ...ir.ops.leaf import INPUT
from ...ir.solving import solve
from ...ir.suggest import did_you_mean, not_there
from ...ir.types import Array, TensorType, parse_type
from ...ir.verifier import KnownTypes
from ...ir.window_leftovers import leftovers
from ..dsl.input_types import read_type
from ..dsl.network import Network
from ..dsl.zoo_entry import Checkpoint, ZooEntry

if TYPE_CHECKING:
    from ...backends.onnx.read.importer import Imported
    from .artifact import Artifact

__all__ = ["PATTERN", "Request", "artifact_of", "load", "load_with_source", "pairs", "read_text"]

PATTERN = "a pattern in quotes, as in -i 'photos/*.jpg'"
PLACE = re.compile(r"^\S+:\d+(, in \S+)?: ")  # a line of the file that has the network, before a complaint

CONVC = __name__.partition(".")[0]
NOT_HERE = re.compile(rf"cannot import name '(\w+)' from '{CONVC}' ")
CALL = re.compile(r"([^()]+)\(([^()]*)\)")  # senet(classes=3)


@dataclass(frozen=True)
class Request:
    """A model and how it was asked for: `inputs` holds `name:shape` texts, `options` keyword values.

    `strict` refuses operators of a file that convc does not have.
    """

    model: str
    inputs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    weights: Path | None = None
    strict_windows: bool = False
    strict: bool = False


def load(
    request: Request, zoo: Mapping[str, ZooEntry], say: Callable[[str], None] = lambda line: None, artifact: Artifact | None = None
) -> Graph:
    """The graph that was asked for, typed where its source allows; `say` hears what a reader of its file or weights should know.
    `artifact` is what `artifact_of` opened, if it did: who reads more of it than the graph must not open it twice.

    Raises: UsageError for a model that does not exist, with the nearest names; InvalidModel for one that is wrong.
    """
    if artifact is not None:
        return _finished(_retyped(artifact.graph(), _shapes(request)), request, zoo, say)
    return load_with_source(request, zoo, say)[0]


def artifact_of(request: Request) -> Artifact | None:
    """The artifact that the model is, if it is one.

    Raises: UsageError where it shall have other weights.
    """
    from .artifact import Artifact

    artifact = Artifact.at(Path(request.model))
    if artifact and request.weights:
        raise UsageError(f"'{request.model}' carries its own weights; compile the network again with --weights")
    return artifact


def load_with_source(
    request: Request, zoo: Mapping[str, ZooEntry], say: Callable[[str], None] = lambda line: None
) -> tuple[Graph, Imported | None]:
    """`load`, and for an ONNX file what it says beside its operators."""
    imported = _imported(request, say)
    return _finished(_load(request, zoo) if imported is None else imported.graph, request, zoo, say), imported


def _finished(graph: Graph, request: Request, zoo: Mapping[str, ZooEntry], say: Callable[[str], None]) -> Graph:
    if request.strict_windows and (found := leftovers(graph)):
        raise InvalidModel(f"{found[0]} (strict windows)")
    if all(node.type is not None for node in graph.inputs) and (told := channels_last(graph)):
        say(f"note: {told}")
    if request.weights is None:
        return graph
    return _with_weights(graph, request.weights, request.model, zoo, say)


def _with_weights(graph: Graph, path: Path, model: str, zoo: Mapping[str, ZooEntry], say: Callable[[str], None]) -> Graph:
    """The graph with the values of a weights file, by its own names or, for a network of the zoo, by PyTorch's. An .npz that does not fit
    by its headers is not unpacked.
    """
    from .checkpoint_names import Translation, is_foreign, refuse_foreign, same_modules, translate
    from .weights import bind_weights, load_arrays, need_fit, need_weights, room_for

    tables = {name: entry.checkpoint for name, entry in zoo.items() if isinstance(entry.checkpoint, Checkpoint)}

    def known(arrays: Mapping[str, Array]) -> tuple[Translation, str]:
        """The arrays by the graph's names, and a hint for where they do not fit."""
        if model not in zoo or not is_foreign(graph, arrays):
            return Translation(arrays, {}, ()), ""
        names = zoo[model].checkpoint
        if not isinstance(names, Checkpoint):
            raise refuse_foreign(model, names, tables, str(path))
        like = [name for name in same_modules(arrays, tables) if name != model]
        return translate(graph, arrays, names), f"its names are those of {' or '.join(like)}" if like else ""

    def choose(unread: Mapping[str, Array]) -> Collection[str]:
        found, hint = known(unread)
        need_fit(graph, found.arrays, str(path), found.theirs, hint)
        return unread.keys()

    need_weights(path)
    found, hint = known(load_arrays(path, choose, room_for(graph)))
    loaded = bind_weights(graph, found.arrays, str(path), found.theirs, hint, say)
    if found.theirs:
        say(f"read {path} by PyTorch's names; {found.remark}")
    return loaded


def _imported(request: Request, say: Callable[[str], None]) -> Imported | None:
    """The file, if MODEL is an ONNX file."""
    path = Path(request.model)
    if path.suffix != ".onnx" or request.options:
        return None
    from ...backends.onnx.read.importer import read_graph

    imported = read_graph(path, shapes=_shapes(request), strict=request.strict)
    if imported.note:
        say(imported.note)
    return imported


def _load(request: Request, zoo: Mapping[str, ZooEntry]) -> Graph:
    model, shapes = request.model, _shapes(request)
    if (called := CALL.fullmatch(model)) and (called[1] in zoo or ".py:" in called[1]):
        settings = " ".join(f"--set {each.strip()}" for each in called[2].split(",") if each.strip())
        raise UsageError(f"'{model}': on the command line a network is not called; write {called[1]} {settings}".rstrip())
    if model in zoo:
        with _user_code(f"{model} with these options"):
            return _trace(zoo[model].network, request, shapes)
    path = Path(model)
    file, _, function = model.rpartition(":")
    if file.endswith(".py"):
        path = Path(file)
        with _user_code(path.name, path):
            return _trace(_from_python(path, function), request, shapes)
    if request.options and path.exists():
        raise UsageError(f"'{model}' is not a network definition; --set works with zoo names and Python files")
    if path.suffix == ".cir":
        from ...ir.parser import parse_graph

        return _retyped(parse_graph(read_text(path), path.name), shapes)
    from .artifact import Artifact
    from .images import is_image

    if (artifact := Artifact.at(path)) is not None:
        return _retyped(artifact.graph(), shapes)
    if path.suffix == ".py" and path.is_file():
        raise UsageError(f"'{model}' does not say which network of the file; add the function's name, as {model}:NAME")
    if path.exists() and (path.suffix in (".npy", ".npz") or is_image(path)):
        weights = ", and weights by --weights" if path.suffix == ".npz" else ""
        raise UsageError(f"'{model}' is no network; inputs are given by -i, each file by one of its own or all as {PATTERN}{weights}")
    if path.exists():
        raise UsageError(f"'{model}' is neither an .onnx or .cir file, a net.py:function, nor an artifact directory")
    if "/" in model or path.suffix:
        raise UsageError(not_there(model, "file or directory"))
    raise UsageError(f"unknown model '{model}'" + did_you_mean(model, zoo, "see `convc models`", widely=True))


def _trace(network: Network, request: Request, shapes: Mapping[str, str]) -> Graph:
    for name in shapes:
        if name not in network.inputs:
            raise UsageError(f"{network.name} has no input '{name}'; it has {', '.join(network.inputs)}")
    options = {name: _literal(value) for name, value in pairs("--set", request.options, "=").items()}
    try:
        return network.graph(strict_windows=request.strict_windows, **shapes, **options)
    except ShapeError as error:  # of a layer that was given the option's value
        found = next(((name, value) for name, value in options.items() if f" is {value!r}, expected" in str(error)), None)
        if found is None:
            raise
        raise UsageError(f"--set {found[0]}={found[1]} does not suit {network.name}: {PLACE.sub('', str(error))}") from error


class _AsItStands(importlib.machinery.SourceFileLoader):
    """Compiles the file itself. Python's cache of it goes by size and whole seconds, and takes what is edited at once for what it was."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _from_python(path: Path, function: str) -> Network:
    """Run the user's file and take the network out of it."""
    if not path.is_file():
        raise UsageError(not_there(path))
    loader = _AsItStands(f"convc_user_{path.stem}", str(path))
    spec = importlib.machinery.ModuleSpec(loader.name, loader, origin=str(path))
    spec.has_location = True  # for __file__
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # where dataclasses look for the names in annotations
    sys.path.insert(0, str(path.parent.resolve()))  # so that the file may import its neighbours
    try:
        loader.exec_module(module)
    finally:
        sys.path.pop(0)
    networks = {name: value for name, value in vars(module).items() if isinstance(value, Network)}
    if function in networks:
        return networks[function]
    if callable(getattr(module, function, None)):
        raise UsageError(f"'{function}' in {path} is not a network; decorate it with @network(image=\"N,3,224,224\")")
    raise UsageError(f"{path} has no network '{function}'; it has {', '.join(networks) or 'none'}")


@contextmanager
def _user_code(name: str, path: Path | None = None) -> Generator[None]:
    """What goes wrong in somebody's Python is one sentence, with the last line of it in the file that was asked for.

    That is surely theirs. What it imports may be any package, of which `user_line` knows only those that call layers.
    """
    try:
        yield
    except (ConvcError, Ended):
        raise
    except (Exception, SystemExit) as error:
        own = (str(path), str(path.resolve())) if path else ()
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
        where = f"{name}:{lines[-1]}" if lines else name
        near = did_you_mean(unknown[1], dir(sys.modules[CONVC])) if (unknown := NOT_HERE.match(str(error))) else ""
        raise InvalidModel(f"{where}: {type(error).__name__}: {error}{near}") from error


def _retyped(graph: Graph, shapes: Mapping[str, str]) -> Graph:
    """The graph with other input types, everything after them inferred anew."""
    known = {node.name for node in graph.inputs}
    for name in shapes:
        if name not in known:
            raise UsageError(f"@{graph.name} has no input '{name}'; it has {', '.join(sorted(known))}")

    types, inferred = {name: parse_type(text) for name, text in shapes.items()}, KnownTypes()

    def typed(node: Node, operands: tuple[Node, ...]) -> Node:
        if node.kind is INPUT:
            return node.like(type=types[node.name]) if node.name in types else node
        node = node.reading(operands)
        return node.like(type=inferred.type_of(node)) if operands and (shapes or node.type is None) else node

    return specialize(graph, _renamed(graph, types)).rebuild(typed)


def _renamed(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, Dim]:
    """What stands for the graph's named sizes, which attributes hold too, once its inputs are of other types."""
    given = ((node.typed.shape, types[node.name].shape) for node in graph.inputs if node.name in types)
    return solve([pair for old, new in given for pair in zip(old, new, strict=False)])


def read_text(path: Path) -> str:
    """Raises: UsageError for a file that is not there; InvalidModel for one that is not text."""
    need_plain(path)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(not_there(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"'{path}' cannot be read: {error}") from error


def _shapes(request: Request) -> dict[str, str]:
    """What --input says, by name.

    Raises: UsageError for what is no shape.
    """
    shapes = pairs("--input", request.inputs, ":")
    for name, text in shapes.items():
        read_type(name, text)
    return shapes


def pairs(option: str, texts: Iterable[str], mark: str) -> dict[str, str]:
    """By name. Names may hold a colon, as TensorFlow's do, and shapes never; values may hold an equals sign.

    Raises: UsageError for a text that is no pair, or a name that is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, found, value = text.rpartition(":") if mark == ":" else text.partition(mark)
        if not found or not name or not value:
            example = f", with the input's name, such as image:{text}" if mark == ":" and not found else ""
            raise UsageError(f"{option} {text}: write it as name{mark}value{example}")
        if name in pairs:
            raise UsageError(f"{option} {name} is given twice; give it once")
        pairs[name] = value
    return pairs


def _literal(text: str) -> Any:
    """A number or true/false where the text is one, else the text."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
