"""A network that was compiled and checked before, kept whole: to compile it again is to load it, for which TVM's compiler is not imported.

It is found by all that went into it: the graph as it was given and its weights' values, the options, convc's own sources, TVM, what packs
weights, the processor and what tuning found for it. Two entries of the cache are one network: its code, which is put last and so says that
the rest is there, and its weights as kernels read them, which are mapped. Either is used only if it is whole, and ours (store/cache.py).
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...backends.tvm.host import physical_cores, tvm_libraries
from ...backends.tvm.processor import cpu_text
from ...backends.tvm.store.cache import Cache, usable_cache
from ...backends.tvm.store.tuned_forms import find_database
from ...ir.errors import ArtifactError, InvalidModel
from ...ir.files import scratch_folder
from ...ir.graph import Graph
from ...ir.printer import print_graph
from ...ir.sources import hash_of
from ...ir.version import installed
from ...ir.weights import Weights
from ..engines.engine import Run

if TYPE_CHECKING:
    from ...backends.tvm.library.built import Library
    from ...backends.tvm.library.packed import Packed

__all__ = ["KeptNetwork", "kept_for"]

FORMAT = "convc network 1"  # to be raised when what is kept changes
PACKAGES = ("apache-tvm", "apache-tvm-ffi", "numpy", "ml-dtypes")
ROOT = Path(__file__).parents[2]
SOURCES = ("ir", "passes", "backends", "compiler")
TOLD = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU implementer", "CPU variant", "CPU part")
MOST = 2  # a network takes at most this part of the cache, or it would throw out all others


@dataclass(frozen=True, slots=True)
class KeptNetwork:
    """Where one network lies, or will: `key` are 32 digits, and `key_now` what they would be by now, as what it is made of may change
    while it is compiled.
    """

    cache: Cache
    key: str
    key_now: Callable[[], str | None]

    def found(self, graph: Graph, threads: int | None) -> Run | None:
        """The run of what was kept, which computes the optimized `graph`; None if nothing was, or what is there will not do."""
        entry = self.cache.get(f"network_{self.key}")
        if entry is None:
            return None
        from ...backends.tvm.library.packed import Packed

        head, _, code = entry.partition(b"\n")
        try:
            told: dict[str, Any] = json.loads(head)
            packed, whole = Packed.of(told["packed"]), int(told["whole"])
        except (ValueError, KeyError, TypeError, InvalidModel):  # by somebody who can make digests
            return None
        with scratch_folder() as folder:
            places = [folder / "model.so", folder / "model.one.so"]
            for place, piece in zip(places, (code[:whole], code[whole:]), strict=True):
                place.write_bytes(piece)
            library = self._library(graph, places[0], places[1] if len(code) > whole else None, packed)
            try:
                return _loaded(library, threads) if library else None
            except ArtifactError:  # whole, and no library
                return None

    def built(self, graph: Graph, threads: int | None, check: Callable[[Run], None]) -> Run:
        """Compiled, with its weights in the cache if there is room for them; kept if `check` raises nothing, and else gone from there."""
        from ...backends.tvm.library.build import build_cpu
        from ...backends.tvm.library.packed import packed_pieces, packing

        with scratch_folder() as folder:
            built = build_cpu(graph, folder / "model.so")
            packed, library = packing(built.plan, built.needs), built.library
            if packed.size > self.cache.most // MOST:
                check(run := _loaded(library, threads))
                return run
            is_kept = False
            try:
                self.cache.put(f"packed_{self.key}", packed_pieces(built.plan, packed))
                kept = self._library(graph, library.path, library.single, packed)
                check(run := _loaded(kept or library, threads))
                if kept is not None and self.key_now() == self.key:
                    codes = [path.read_bytes() for path in (library.path, library.single) if path is not None]
                    head = json.dumps({"packed": packed.record(), "whole": len(codes[0])}).encode() + b"\n"
                    self.cache.put(f"network_{self.key}", [head, *codes])
                    is_kept = True
            finally:
                if not is_kept:
                    self.cache.drop(f"packed_{self.key}")
            self.cache.trim()
            return run

    def _library(self, graph: Graph, path: Path, single: Path | None, packed: Packed) -> Library | None:
        from ...backends.tvm.library.built import Library
        from ...backends.tvm.library.packed import arrays_of, as_arguments

        pages = self.cache.mapped(f"packed_{self.key}")
        if pages is None:
            return None
        try:
            return Library(path, graph, as_arguments(packed, arrays_of(pages, packed, self.cache.folder)), single=single)
        except ArtifactError:
            return None


def _loaded(library: Library, threads: int | None) -> Run:
    from ...backends.tvm.library.run import LoadedLibrary

    return LoadedLibrary.load(library, threads=threads).run


def kept_for(graph: Graph, *options: object) -> KeptNetwork | None:
    """Where a network lies that is compiled with such options; None where there is no cache, or nobody knows which processor this is, or
    which sources compile it.
    """
    cache, _ = usable_cache()
    key_now = functools.partial(_key, graph, options)
    key = key_now() if cache is not None else None
    return None if cache is None or key is None else KeptNetwork(cache, key, key_now)


def _key(graph: Graph, options: Sequence[object]) -> str | None:
    here, ours = processor(), hash_of(ROOT, SOURCES)
    if not here or ours is None:
        return None
    digest = hashlib.sha256()
    for text in (FORMAT, print_graph(graph), *map(repr, options), ours, here, _releases(), _tuned()):
        digest.update(f"{len(text)} {text}\n".encode())
    for node in graph.params:
        assert node.weights is not None
        _add(digest, node.weights)
    return digest.hexdigest()[:32]


def _add(digest: Any, weights: Weights) -> None:
    """What says which values they are: how they are drawn, or else the values."""
    if not weights.is_given:
        digest.update(repr(weights.recipe).encode())
        return
    array = weights.drawn()
    digest.update(f"{weights.type}\n".encode())
    digest.update(array.reshape(-1).view("u1").data)


def processor() -> str:
    """What the system tells of the first one, but for what changes from moment to moment; empty where it tells nothing."""
    lines = [line.partition(":") for line in cpu_text().split("\n\n")[0].splitlines()]
    told = [f"{name.strip()}: {value.strip()}" for name, _, value in lines if name.strip() in TOLD]
    return "\n".join([*told, f"{platform.machine()}, {physical_cores()} cores"]) if told else ""


def _releases() -> str:
    """Of packages, and of TVM's libraries when they were written: who builds TVM himself does not change its number."""
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in tvm_libraries() if path.is_file()]
    return json.dumps([installed(PACKAGES), states])


def _tuned() -> str:
    database = find_database(None)
    return hashlib.sha256(database.read_bytes()).hexdigest() if database is not None and database.is_file() else ""
