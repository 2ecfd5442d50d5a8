"""Ways to run a network here: the reference, onnxruntime, TVM. One table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..backends import reference
from ..ir.errors import ArtifactError, InvalidModel, UsageError
from ..ir.files import scratch_folder
from ..ir.graph import Graph
from ..ir.types import Array
from ..passes.prices import ONNXRUNTIME, TVM, Prices
from .artifact import PACKED, Artifact
from .winograd import fast_tiles

if TYPE_CHECKING:
    from ..backends.tvm.run import LoadedLibrary

__all__ = ["ENGINES", "Engine", "built_module", "engines_named", "prices_for"]

Run = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True, slots=True)
class Engine:
    """`start(graph, threads)` readies a network that is in memory, `open(artifact, threads)` one that was compiled.

    Both return a function from inputs to outputs by name, and raise BackendMissing where the engine is not installed.
    """

    name: str
    start: Callable[[Graph, int | None], Run]
    open: Callable[[Artifact, int | None], Run]
    about: str


def _start_reference(graph: Graph, threads: int | None) -> Run:
    return lambda inputs: reference.run(graph, inputs)


def _open_reference(artifact: Artifact, threads: int | None) -> Run:
    return _start_reference(artifact.graph(), threads)


def _start_onnx(graph: Graph, threads: int | None) -> Run:
    from ..backends.onnx.export import to_model
    from ..backends.onnx.session import Session

    return Session(graph, to_model(graph).SerializeToString(), threads).run


def _open_onnx(artifact: Artifact, threads: int | None) -> Run:
    from ..backends.onnx.session import Session

    return Session(artifact.graph(), artifact.onnx, threads, cuda=artifact.target == "cuda").run


def _start_tvm(graph: Graph, threads: int | None) -> Run:
    return built_module(graph, threads).run


def built_module(graph: Graph, threads: int | None) -> LoadedLibrary:
    """Compiled by TVM for this machine's processor, and loaded; nothing of it stays on disk.

    Raises: as `build_cpu` and `LoadedLibrary.load`.
    """
    from ..backends.tvm.build import BuildOptions, build_cpu
    from ..backends.tvm.run import LoadedLibrary

    with scratch_folder() as folder:
        built = build_cpu(graph, folder / "model.so", BuildOptions(fast_tiles(graph)))
        return LoadedLibrary.load(built.library, threads=threads)  # the file may go once it is mapped


def _open_tvm(artifact: Artifact, threads: int | None) -> Run:
    from ..backends.tvm.host import instruction_sets
    from ..backends.tvm.library.built import Library, beside, of_parameters
    from ..backends.tvm.packed import Packed, mapped_arguments
    from ..backends.tvm.run import LoadedLibrary

    library, record = artifact.library, artifact.manifest["target"]
    if library is None:
        raise ArtifactError(f"'{artifact.path}' holds no compiled library; compile the network again")
    if artifact.target == "cpu" and (lacking := sorted(set(record["needs"]) - set(instruction_sets()))):
        raise ArtifactError(
            f"'{artifact.path}' was compiled for a processor with {', '.join(lacking)}; compile the network again on this one"
        )
    if artifact.target != "cpu":
        return LoadedLibrary.load(of_parameters(library, artifact.graph(), artifact.target), threads=threads).run
    one = beside(library).name
    single = artifact.file(one) if one in artifact.manifest["files"] else None
    try:
        packed = Packed.of(record["packed"])
    except InvalidModel as error:
        raise ArtifactError(f"'{artifact.path}': the manifest does not say where weights lie; compile the network again") from error
    arguments = mapped_arguments(artifact.file(PACKED), packed)
    return LoadedLibrary.load(Library(library, artifact.structure(), arguments, single=single), threads=threads).run


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("reference", _start_reference, _open_reference, "NumPy, float32: what every op means"),
        Engine("onnx", _start_onnx, _open_onnx, "onnxruntime on the exported ONNX model"),
        Engine("tvm", _start_tvm, _open_tvm, "compiled by Apache TVM"),
    )
}


def prices_for(engine: str) -> Prices:
    """By which passes decide about a network that this engine runs: those of TVM's kernels, or of onnxruntime, as for a file."""
    return TVM if engine == "tvm" else ONNXRUNTIME


def engines_named(names: str) -> list[Engine]:
    """Engines from a comma-separated list.

    Raises: UsageError, with the nearest name, for one that does not exist.
    """
    chosen: list[Engine] = []
    for name in map(str.strip, names.split(",")):
        if name not in ENGINES:
            near = get_close_matches(name, ENGINES, n=1)
            raise UsageError(f"unknown backend '{name}'; " + (f"did you mean '{near[0]}'?" if near else f"known are {', '.join(ENGINES)}"))
        chosen.append(ENGINES[name])
    return chosen
