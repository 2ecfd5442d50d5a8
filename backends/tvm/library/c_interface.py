"""C sources of an artifact: convc.h, convc.c and the headers it reads are one text, model.h and example.c are written for a network."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....ir.binding import batch_names
from ....ir.dims import Dim
from ....ir.errors import BackendMissing
from ....ir.graph import Graph, Node
from ....ir.types import TensorType
from ..host import INSTALL
from .packed import Packed

__all__ = ["C_FILES", "CLibrary", "c_files", "c_flags", "why_no_c"]

SOURCES = Path(__file__).parent / "c"
C_FILES = ("convc.h", "convc.c", "processor.h", "digest.h", "tvm_calls.h", "model.h", "example.c")


@dataclass(frozen=True, slots=True)
class CLibrary:
    """A library by its files: `file`, `single` for one image if there is one, and the `weights` that it reads, which lie as `packed` says.
    `needs` are the instruction sets that it uses; among several it is that for the `processor`.
    """

    processor: str
    file: str
    single: str | None
    weights: str
    needs: Sequence[str]
    packed: Packed


def c_flags() -> list[str]:
    """What a C compiler needs to build convc.c here. A library tells what it can do by being loaded, so none may be left out as unused.

    Raises: BackendMissing without TVM.
    """
    tvm, ffi = _home("tvm"), _home("tvm_ffi")
    places = [f"-L{ffi}/lib", f"-L{tvm}/lib", f"-Wl,-rpath,{ffi}/lib", f"-Wl,-rpath,{tvm}/lib"]
    return ["-pthread", "-isystem", f"{ffi}/include", *places, "-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi"]


def _home(package: str) -> str:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise BackendMissing(f"the package {package} is not here; install it with: {INSTALL}")
    return found.submodule_search_locations[0]


def why_no_c(graph: Graph) -> str | None:
    """Why a C program cannot call the network: it gives a batch and no other size."""
    others = sorted(set(graph.symbols) - batch_names(graph))
    if others or len(graph.symbols) > 1:
        return f"a C program gives one batch, and the sizes of @{graph.name} are {', '.join(graph.symbols)}; fix others with --input"
    uneven = next((node for node in (*graph.inputs, *graph.outputs) if None in map(_axis, node.typed.shape)), None)
    return f"a C program does not know how large %{uneven.name} ({uneven.type}) is" if uneven else None


def c_files(graph: Graph, libraries: Sequence[CLibrary], in_place: Mapping[str, str]) -> dict[str, str]:
    """The text of C_FILES. Of `libraries` the first is loaded that a processor has the instructions for; `in_place` names outputs that are
    written over an input, and that input.
    """
    name = f"model_{re.sub(r'[^A-Za-z0-9_]', '_', graph.name)}"
    texts = {file: (SOURCES / file).read_text(encoding="utf-8") for file in C_FILES if file != "model.h"}
    texts["example.c"] = texts["example.c"].replace("model_NETWORK", name)
    return texts | {"model.h": _header(name, graph, libraries, in_place)}


def _header(name: str, graph: Graph, libraries: Sequence[CLibrary], in_place: Mapping[str, str]) -> str:
    inputs, outputs = ([node.name for node in nodes] for nodes in (graph.inputs, graph.outputs))
    under = {output: inputs.index(given) for output, given in in_place.items()}
    over = {given: outputs.index(output) for output, given in in_place.items()}
    guard = f"CONVC_{name.upper()}_H"
    fields = [_quoted(graph.name), f"{name}_library", f"{name}_input", f"{name}_output"]
    counts = [len(libraries), len(graph.inputs), len(graph.outputs)]
    return "\n".join(
        [
            "/* Written by convc: what the C runtime knows of one network. */",
            f"#ifndef {guard}",
            f"#define {guard}",
            "",
            '#include "convc.h"',
            "",
            *_values(f"{name}_input", graph.inputs, over),
            *_values(f"{name}_output", graph.outputs, under),
            *_libraries(name, libraries),
            f"static const convc_network {name} = {{{', '.join([*fields, *map(str, counts)])}}};",
            "",
            "#endif",
            "",
        ]
    )


def _libraries(name: str, libraries: Sequence[CLibrary]) -> Iterator[str]:
    """What each needs, the weights of each file once, then the libraries."""
    tables: dict[str, str] = {}
    rows: list[str] = []
    for number, each in enumerate(libraries):
        end = f"_{number}" if number else ""
        yield f"static const char *const {name}_needs{end}[] = {{{', '.join([*map(_quoted, each.needs), 'NULL'])}}};"
        if each.weights not in tables:
            tables[each.weights] = f"{name}_weight{end}"
            weights = (f"    {{{_type(of)}, {of.rank}, {{{_row(of.concrete())}}}, {offset}}}" for _, of, offset in each.packed.entries)
            yield f"static const convc_weight {name}_weight{end}[] = {{"
            yield ",\n".join(weights) or "    {CONVC_F32, 0, {0}, 0}"
            yield "};"
        files = [_quoted(each.processor), _quoted(each.file), _quoted(each.single) if each.single else "NULL", _quoted(each.weights)]
        counts = [str(len(each.packed.entries)), str(each.packed.size)]
        rows.append(f"    {{{', '.join([*files, _quoted(each.packed.layout), f'{name}_needs{end}', tables[each.weights], *counts])}}},")
    yield from (f"static const convc_library {name}_library[] = {{", *rows, "};")


def _values(name: str, nodes: Sequence[Node], in_place: Mapping[str, int]) -> list[str]:
    rows = [f"    {_value(node, in_place.get(node.name, -1))}," for node in nodes] or ['    {"", CONVC_F32, 0, {0}, {0}, -1},']
    return [f"static const convc_value {name}[] = {{", *rows, "};"]


def _value(node: Node, in_place: int) -> str:
    axes = [axis for axis in map(_axis, node.typed.shape) if axis is not None]
    each, plus = _row([axis[0] for axis in axes]), _row([axis[1] for axis in axes])
    return f"{{{_quoted(node.name)}, {_type(node.typed)}, {node.typed.rank}, {{{each}}}, {{{plus}}}, {in_place}}}"


def _axis(dim: Dim) -> tuple[int, int] | None:
    """(a, b) of a*N + b, the only sizes that model.h can say."""
    if isinstance(dim, int):
        return 0, dim
    each = plus = 0
    for monomial, factor in dim.terms:
        if not monomial:
            plus = factor
        elif len(monomial) == 1 and isinstance(monomial[0], str):
            each = factor
        else:
            return None
    return each, plus


def _type(type_: TensorType) -> str:
    return f"CONVC_{type_.in_bytes.dtype.upper()}"


def _row(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "0"


def _quoted(text: str) -> str:
    """A C string of any text: what is not plain ASCII in octal, question marks too, of which C makes trigraphs."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'
