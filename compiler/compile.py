"""From a network to an artifact: optimize, export, build, check, write."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..ir.errors import Mismatch, UsageError
from ..ir.files import replace_directory
from ..ir.graph import Graph
from ..ir.printer import print_graph
from ..ir.types import Array
from ..ir.version import __version__
from ..passes.manager import Stage, run_passes
from .artifact import CIR, MANIFEST, ONNX, PACKED, REPORT, WEIGHTS, Artifact, foreign_files, manifest_of
from .checking.oracle import Agreement, Oracle
from .engines.engine import Engine
from .engines.optimize import optimize
from .engines.reference import REFERENCE
from .engines.table import ENGINES
from .engines.tvm import TVM
from .inputs import random_inputs
from .pairs import compare_batches
from .passcheck import PassCheck, refuse_failures
from .peak import measured_peak
from .pipelines import LEVELS
from .report.text import compile_report
from .weights import check_numbers, weights_bytes
from .winograd import Choice, Oracles, choose

__all__ = ["TARGETS", "compile_network", "export_onnx", "read_onnx"]

TARGETS = ("cpu", "cuda")
LIBRARY = "model.so"


def export_onnx(graph: Graph, path: str | Path, opset: int | None = None) -> None:
    """Write `graph` as an ONNX file, whole or not at all; weights over 2 GB go into `<path>.data` beside it.

    Raises: UsageError for an opset or a path that will not do; UnsupportedOp for a node that ONNX cannot say.
    """
    from ..backends.onnx.export import to_shell
    from ..backends.onnx.saving import save_model

    check_numbers(graph)
    model, values = to_shell(graph, opset)
    save_model(model, Path(path), values=values)


def read_onnx(path: str | Path, **shapes: str) -> Graph:
    """The graph of an ONNX file, which is not trusted. `shapes` pin or free dimensions of inputs: `image="1,3,224,224"`.

    Raises: UnsupportedOp naming every operator that cannot be read; InvalidModel for a file that breaks the rules.
    """
    from ..backends.onnx.importer import read_graph

    return read_graph(Path(path), shapes=shapes).graph


def compile_network(
    graph: Graph,
    path: str | Path,
    target: str = "cpu",
    level: int = 2,
    *,
    opset: int | None = None,
    threads: int | None = None,
    winograd: str = "auto",
    jobs: int | None = None,
    cached: bool = True,
    database: str | None = None,
    check: bool = True,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Artifact:
    """Compile into the artifact directory `path` and check every engine that runs here against float64.

    `winograd` is off, f2, f4 or auto; `jobs` kernels are compiled at a time and, unless not `cached`, kept for other networks; `database`
    is the directory with what `convc tune` found (default: the cache; off: none); `say` hears
    one line per step.

    Raises: UsageError for an unknown target; Mismatch, nothing written, if an engine's results differ.
    """
    from ..backends.onnx.export import to_model

    if target not in TARGETS:
        raise UsageError(f"unknown target '{target}'; known are {', '.join(TARGETS)}")
    path = Path(path)
    check_numbers(graph)
    with replace_directory(path, foreign_files) as folder:
        better, trace = _optimized(graph, level, check, seed)
        rewrites = sum(len(stage.rewrites) for stage in trace)
        say(f"optimized at -O{level}: {rewrites} rewrite{'' if rewrites == 1 else 's'}")
        (folder / CIR).write_text(print_graph(better, origins=True), encoding="utf-8")
        (folder / WEIGHTS).write_bytes(weights_bytes(better))
        (folder / ONNX).write_bytes(to_model(better, opset).SerializeToString())  # an artifact has one file for it
        say(f"exported {ONNX}")
        inputs = random_inputs(graph, seed)
        oracle = Oracle.by_tiles(graph, better, inputs, seed) if check else None
        choice = _choose(better, winograd, target, oracle)
        built = _build(better, folder, target, choice.tiles, say, jobs=jobs, cached=cached, database=database)
        if target == "cpu":
            built["packed"] = _pack(better, folder, built, say)
        draft = Artifact(folder, {"target": built, "files": {file.name: {} for file in folder.iterdir()}})
        if check and target == "cpu" and (peak := measured_peak(draft, threads)):
            built["measured"] = asdict(peak)
        agreements = _check(better, draft, oracle, inputs, threads, say) if oracle else []
        (folder / REPORT).write_text(compile_report(graph, better, trace, built, choice, agreements), encoding="utf-8")
        (folder / MANIFEST).write_bytes(manifest_of(folder, better, built, _versions()))
    return Artifact.open(path)


def _optimized(graph: Graph, level: int, check: bool, seed: int) -> tuple[Graph, list[Stage]]:
    """The passes, each checked in float64 at batch 1.

    Raises: Mismatch naming the first pass that was rolled back, its reproducer written to the working directory.
    """
    if not check:
        return optimize(graph, level, prices=TVM.prices)
    pass_check = PassCheck(optimize(graph, 0)[0], seed=seed)
    better, trace = run_passes(graph, LEVELS[level], TVM.prices, check=pass_check)
    refuse_failures(graph, trace, pass_check)
    return better, trace


def _choose(graph: Graph, winograd: str, target: str, oracle: Oracles | None) -> Choice:
    from ..backends.tvm.host import host_processor

    return choose(graph, winograd, oracle, host_processor()) if target == "cpu" else choose(graph, "off", oracle)


def _build(graph: Graph, folder: Path, target: str, tiles: Mapping[str, int], say: Callable[[str], None], **cpu: Any) -> dict[str, Any]:
    """What TVM built, as the manifest records it."""
    from ..backends.tvm.build import BuildOptions, build_cpu
    from ..backends.tvm.cuda.build import build_cuda

    if target == "cpu":
        built = build_cpu(graph, folder / LIBRARY, BuildOptions(tiles, **cpu))
        say(f"built {LIBRARY} in {built.seconds:.1f} s, {built.found} of {built.kernels} kernels from the cache")
        if built.no_cache:
            say(f"kernels are not kept: {built.no_cache}")
        if built.complaint:
            say(built.complaint)
        if built.tuned:
            say(f"{len(built.tuned)} kernels as convc tune found them fastest")
        kind = {"kind": "cpu", "library": LIBRARY, "tvm": built.target, "tiles": dict(tiles), "needs": list(built.needs)}
        kind |= {"tuned": dict(built.tuned), "arena": asdict(built.arena) if built.arena else None}
        return {**kind, "machine": platform.machine(), "seconds": round(built.seconds, 2)}
    cuda = build_cuda(graph, folder)
    say(f"built {cuda.library.path.name} in {cuda.seconds:.1f} s")
    kind = {"kind": "cuda", "library": cuda.library.path.name, "source": cuda.source.name, "tvm": cuda.target}
    return {**kind, "machine": platform.machine(), "check": cuda.check, "seconds": round(cuda.seconds, 2)}


def _pack(graph: Graph, folder: Path, built: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """Write the weights as the library takes them, and what a C program needs; where they lie, as the manifest records it."""
    from ..backends.tvm.c_interface import c_files, why_no_c
    from ..backends.tvm.cpu.plan import plan
    from ..backends.tvm.library.built import beside
    from ..backends.tvm.packed import write_packed

    packed = write_packed(plan(graph, built["tiles"]), folder / PACKED, built["needs"])
    if complaint := why_no_c(graph):
        say(f"no C files: {complaint}")
        return packed.record()
    for name, text in c_files(graph, packed, built["needs"], beside(folder / LIBRARY).is_file()).items():
        (folder / name).write_text(text, encoding="utf-8")
    return packed.record()


def _check(
    better: Graph,
    draft: Artifact,
    oracle: Callable[[Mapping[str, int]], Oracle],
    inputs: Mapping[str, Array],
    threads: int | None,
    say: Callable[[str], None],
) -> list[Agreement]:
    """Every engine that can run the artifact, which computes `better`, against the float64 oracle of the network as it was given.

    Raises: Mismatch naming the engine and output that differ.
    """
    agreements: list[Agreement] = []
    for engine in _runnable(draft):
        tiles = engine.tiles(better)
        lines = compare_batches(better, engine, engine.open(draft, threads), inputs, oracle(tiles), tiles)
        agreements += lines
        for line in lines:
            say(str(line))
            if not line.agrees:
                raise Mismatch(f"{line}; nothing was written")
    return agreements


def _runnable(draft: Artifact) -> list[Engine]:
    """As they run the draft. A CUDA library runs only where there is a GPU; its ONNX file runs on the CPU all the same."""
    if draft.target == "cuda":
        from ..backends.tvm.host import tvm

        if not tvm().cuda(0).exist:
            return [REFERENCE]
    return [engine.within(draft) for engine in ENGINES.values()]


def _versions() -> dict[str, str]:
    """The releases that made the artifact; a package that is not installed is left out."""
    found = {"convc": __version__, "python": platform.python_version()}
    for package in ("numpy", "onnx", "onnxruntime-gpu", "onnxruntime", "apache-tvm", "apache-tvm-ffi"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
