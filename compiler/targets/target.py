"""What convc knows of a kind of machine to compile for: one record a target, and what a build for it leaves in an artifact.

A target is a file with both, and a line in `table`. Nobody asks for its name to decide anything; what differs is a field here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...ir.errors import ArtifactError, InvalidModel
from ...ir.graph import Graph
from ...passes.analysis.prices import Prices
from .options import FP32, CompileOptions
from .prices import cpu_prices

if TYPE_CHECKING:
    from ...backends.tvm.library.built import Library
    from ...backends.tvm.library.packed import Packed
    from ...backends.tvm.processor import Processor

__all__ = ["LIBRARY", "PACKED", "Build", "Built", "Held", "Peak", "Say", "Several", "Target", "packing_of"]

LIBRARY = "model.so"
PACKED = "weights.packed"

Say = Callable[[str], None]  # hears one line a step


@dataclass(frozen=True, slots=True)
class Peak:
    """Units: bytes resident: `run` what the first run for one image allocates, that is intermediates, kernels' workspace and results;
    `process` the most of the whole process, with Python, TVM and the packed weights.
    """

    run: int
    process: int


class Held(Protocol):
    """What a target asks of the artifact that it lies in: which files it has, and where one lies, its hash checked; and where one lies that
    its reader has `linked` there, of which nobody knows a hash, None where that was not done.
    """

    @property
    def path(self) -> Path: ...

    @property
    def files(self) -> Mapping[str, object]: ...

    def file(self, name: str) -> Path: ...

    def linked(self, name: str) -> Path | None: ...

    def structure(self) -> Graph: ...

    def graph(self) -> Graph: ...


class Built(Protocol):
    """What was built for a target, as the manifest of its artifact keeps it.

    `library` is a file's name, `tvm` TVM's description of the machine, `device` where it runs; `tiles` are those of the layers that it
    computes with fewer products, by name (`Kernel.tile`). `precision` is the one that was asked for;
    `in_place` names outputs that are written over an input, and that input.
    """

    @property
    def kind(self) -> str: ...

    @property
    def library(self) -> str: ...

    @property
    def tvm(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def tiles(self) -> Mapping[str, int]: ...

    @property
    def precision(self) -> str: ...

    @property
    def in_place(self) -> Mapping[str, str]: ...

    def record(self) -> dict[str, Any]:
        """As JSON; the target's `of` takes it back."""
        ...

    def opened(self, held: Held) -> Library:
        """The library, to be loaded. Raises: ArtifactError where this machine, or what lies there, will not do."""
        ...

    def measured(self, measure: Callable[[], Peak | None]) -> Built:
        """With what a run takes in memory, where that is this process's memory."""
        ...

    def report(self, unit: str) -> list[str]:
        """Lines for people, memory being that of one `unit`."""
        ...


Build = Callable[[Graph, Path, Mapping[str, int], CompileOptions, Say], Built]


def _nothing(library: Library) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Several:
    """How an artifact gets libraries for several processors: `options` takes those of a call apart, the best first, `joined` makes one of
    what was built by each in a folder, and `libraries` takes that apart again.
    """

    options: Callable[[CompileOptions], Sequence[CompileOptions]]
    joined: Callable[[Graph, Path, Sequence[Any], Say], Built]
    libraries: Callable[[Any], Sequence[Built]]


@dataclass(frozen=True, slots=True)
class Target:
    """`build` compiles a graph into a folder, with Winograd's tiles for the convolutions that are named; these are chosen for `processor`,
    without which there are none, and which options can name another of. `of` takes what `Built.record` gave, out of a file that anybody may
    have edited, and raises WrongField. `is_here` says whether this machine can run what is built. `word` tells `doctor` of it, where no
    engine does all of that; `in_memory` is set where what is built can be run without an artifact, `has_batches` where it is made for some
    of them. `models` are kinds of the machine, one of which may follow the name and a colon. `precisions` are those that its kernels are
    made for, and `prices` those by which passes decide for it in one of them; it `writes_over` inputs where its library can do so, and
    `several` libraries may lie in one artifact. `why_not` says of what was built why this machine does not run it, if so, and the backend
    `emulated_by` executes that all the same.
    """

    name: str
    build: Build
    of: Callable[[Mapping[str, Any]], Built]
    is_here: Callable[[CompileOptions], bool]
    processor: Callable[[CompileOptions], Processor] | None = None
    word: Callable[[], str] | None = None
    in_memory: bool = False
    models: Sequence[str] = ()
    precisions: Sequence[str] = (FP32,)
    has_batches: bool = False
    writes_over: bool = False
    prices: Callable[[str], Prices] = cpu_prices
    several: Several | None = None
    why_not: Callable[[Library], str] = _nothing
    emulated_by: str = ""

    def each(self, options: CompileOptions) -> Sequence[CompileOptions]:
        """The options for each library, mostly one. Raises: UsageError for processors that do not exist."""
        return self.several.options(options) if self.several is not None else (options,)

    def joined(self, graph: Graph, folder: Path, built: Sequence[Built], say: Say) -> Built:
        """What was built by the options of `each`, as a whole."""
        return self.several.joined(graph, folder, built, say) if self.several is not None and len(built) > 1 else built[0]

    def libraries(self, built: Built) -> Sequence[Built]:
        """That whole, library by library."""
        return self.several.libraries(built) if self.several is not None else (built,)


def packing_of(record: Mapping[str, Any], held: Held) -> Packed:
    """Where the weights of an artifact lie.

    Raises: ArtifactError where its manifest does not say.
    """
    from ...backends.tvm.library.packed import Packed

    try:
        return Packed.of(record)
    except InvalidModel as error:
        raise ArtifactError(f"'{held.path}': the manifest does not say where weights lie; compile the network again") from error
