"""A module to a library on disk, and the node to blame where TVM fails."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ....ir.errors import BackendMissing, ConvcError, UnsupportedOp, UsageError
from ....ir.files import folder_beside, scratch_folder, unwritable
from ....ir.graph import Graph, Node
from ....ir.memory import ran_out
from ....ir.ops.leaf import INPUT, Input
from ..host import raise_interruption, reason, tvm
from ..stock.lower import lower
from .compile_kernels import ROOM

__all__ = ["LOWERING", "archive", "by_hand", "compile_or_blame", "cross_linker", "export", "write_whole"]

T = TypeVar("T")
NOTHING_IN_C = ";"
BARE = ("-nostdlib", "-lgcc")  # libgcc: conversions of 16-bit floats for processors without them
LOWERING = threading.Lock()  # TVM's builder of functions is one for all threads


def compile_or_blame(graph: Graph, lowered: Callable[[], Any], compiled: Callable[[Any], T]) -> T:
    """What `compiled` makes of the module of a graph, which `lowered` gives.

    Raises: UnsupportedOp naming the node that TVM cannot compile, by its stock row, or the graph where every node alone compiles.
    """
    try:
        with LOWERING:
            module = lowered()
        return compiled(module)
    except (ConvcError, OSError):  # such as a full disk, which is no op's fault
        raise
    except Exception as error:  # TVM raises many kinds, and none names an op
        raise_interruption(error)
        culprit = _culprit(graph, compiled)
        where = culprit.where if culprit else f"graph @{graph.name}"
        raise (ran_out(error) or UnsupportedOp(f"{where} cannot be compiled by TVM: {reason(error)}")) from error


def _culprit(graph: Graph, compiled: Callable[[Any], Any]) -> Node | None:
    """The first node that does not compile on its own either. Nodes alike are tried once."""
    tried: set[Any] = set()
    for node in graph.ops:
        key = (node.kind, node.op, tuple(operand.typed for operand in node.inputs))
        if key in tried:
            continue
        tried.add(key)
        operands = tuple(Node(f"operand{i}", INPUT, Input(), (), operand.type) for i, operand in enumerate(node.inputs))
        try:
            with LOWERING:
                module = lower(Graph.of(node.name, operands, (node.reading(operands),)))
            compiled(module)
        except (UsageError, OSError):
            raise
        except Exception:
            return node
    return None


def export(executable: Any, path: Path, target: Any = None, triple: str = "") -> None:
    """Link an executable into a library; one without modules of LLVM's, as all its kernels are object files, for `target`. Without a linker
    for another machine, which `triple` names, it is an archive of object files, for the name `archive` of the path (`by_hand` links it).

    Raises: BackendMissing without a linker or where it fails; UsageError where the file cannot be written.
    """
    driver = cross_linker(triple) if triple else _driver()
    if driver is None and not triple:
        raise BackendMissing("no C compiler to link the library with; install gcc or clang, or set CC")
    pack = None if target is None else functools.partial(_packed, target)

    def link(temporary: Path) -> None:
        with scratch_folder(ROOM) as folder:
            try:
                share = functools.partial(_share, driver) if driver else _archive
                executable.export_library(str(temporary), fcompile=share, fpack_imports=pack, workspace_dir=str(folder))
            except (RuntimeError, OSError) as error:  # the compiler's own words, or why it cannot be started or has no room for its files
                raise BackendMissing(f"the library {path} cannot be linked: {textwrap.shorten(str(error), 300)}") from error

    write_whole(path if driver else archive(path), link)


def _packed(target: Any, executable: Any, is_system_library: bool, prefix: str, folder: str) -> str:
    """The program as an object file. Without a module of LLVM's TVM would write it in C, and one of nothing takes LLVM five times this."""
    path = os.path.join(folder, f"{prefix}devc.o")
    pack = tvm().get_global_func("runtime.ModulePackImportsToLLVM")
    pack(executable, is_system_library, str(target), prefix).write_to_file(path)
    return path


def _share(driver: str, path: str, files: list[str], options: list[str] | None = None) -> None:
    """The object files as one library, in 6 ms where GCC left alone takes 36.

    Where no kernel is new, TVM adds a program in C of one semicolon, for which a compiler and an assembler are started. And GCC looks for
    libraries of which kernels need nothing: what they call of C's is in every process that can load them.
    """
    needed = [file for file in files if not (file.endswith(".c") and Path(file).read_text() == NOTHING_IN_C)]
    bare = BARE if Path(driver).name.endswith("gcc") else ()
    tvm().support.cc.create_shared(path, [*needed, *bare], options, cc=driver)


def _archive(path: str, files: list[str], options: list[str] | None = None) -> None:
    """The object files in one, as ar has them, without an index: it is linked as a whole."""
    with open(path, "wb") as archived:
        archived.write(b"!<arch>\n")
        for index, file in enumerate(file for file in files if file.endswith(".o")):
            code = Path(file).read_bytes()
            archived.write(f"{f'{index}.o/':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(code):<10}`\n".encode())
            archived.write(code + b"\n" * (len(code) % 2))


def archive(path: Path) -> Path:
    """Where object files lie that would be the library at `path`."""
    return path.with_suffix(".a")


def by_hand(path: Path, triple: str) -> str:
    """The command that makes a library of the archive that stands in for it, on a machine that has what it takes."""
    if "linux" in triple:
        whole = f"-Wl,--whole-archive {archive(path).name} -Wl,--no-whole-archive"
        return f"{_gnu(triple)}-gcc -shared -o {path.name} {whole} {' '.join(BARE)}"
    return f"clang -arch arm64 -dynamiclib -undefined dynamic_lookup -o {path.name} -Wl,-force_load,{archive(path).name}"


def cross_linker(triple: str) -> str | None:
    """The compiler that links for another machine: GCC as Debian and others name it, or CC where it is for that architecture."""
    named = [shutil.which(f"{name}-gcc") for name in (triple, _gnu(triple))] if "linux" in triple else []
    chosen = shutil.which(os.environ.get("CC", ""))
    if chosen and _architecture_of(chosen) == triple.partition("-")[0]:
        return chosen
    return next(filter(None, named), None)


def _architecture_of(driver: str) -> str:
    """As GCC and clang say it, which they do alike."""
    return subprocess.run([driver, "-dumpmachine"], capture_output=True, text=True, check=False).stdout.partition("-")[0]


def _gnu(triple: str) -> str:
    """As names of programs have it: without the vendor."""
    parts = triple.split("-")
    return "-".join([parts[0], *parts[2:]] if len(parts) > 3 else parts)


def _driver() -> str | None:
    """The compiler that links: where TVM would take g++, that of C, which starts in half the time and looks for no library of C++."""
    found: str | None = tvm().support.cc.get_cc()
    is_chosen = os.environ.get("CXX") or os.environ.get("CC")
    return shutil.which("gcc") or found if found and not is_chosen and Path(found).name == "g++" else found


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """A file appears complete or not at all.

    Raises: UsageError where it cannot be written.
    """
    try:
        with folder_beside(path) as folder:
            temporary = folder / path.name  # keeps the suffix, by which TVM chooses the format
            write(temporary)
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
