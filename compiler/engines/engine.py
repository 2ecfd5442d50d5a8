"""What convc knows of a way to run networks here: one record an engine, and what such records are made of.

An engine is a file with its record, and a line in `table`. Nobody asks for its name to decide anything; what differs is a field here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ir.graph import Graph, Node
from ...ir.ops.leaf import PARAM
from ...ir.types import Array
from ...passes.analysis.prices import Prices

if TYPE_CHECKING:
    from ..files.artifact import Artifact

__all__ = [
    "Capture",
    "Engine",
    "FixedRuns",
    "Kernel",
    "KernelTime",
    "Open",
    "Profile",
    "Run",
    "StandIn",
    "Start",
    "StartOver",
    "Watched",
    "capture_by",
    "chunks",
    "one_by_one",
    "opened_by",
]

Run = Callable[[Mapping[str, Array]], dict[str, Array]]  # from inputs to outputs, by name
Start = Callable[[Graph, int | None], Run]  # a network in memory; so many threads
StartOver = Callable[[Graph, int | None, Mapping[str, str]], Run]  # and outputs that may be written over an input, by name
Open = Callable[["Artifact", int | None], Run]
Profile = Callable[[Mapping[str, Array], int], "list[KernelTime]"]  # of so many runs
# Yields (name, value) for the wanted nodes of a graph without named sizes, in the graph's order.
Capture = Callable[[Graph, Sequence[Node], Mapping[str, Array], int | None], Iterator[tuple[str, Array]]]

HELD_BYTES = 256 << 20  # of values fetched at once; for the next ones the network is run again


@dataclass(frozen=True)
class Kernel:
    """What is computed at once: `covers` are the nodes in order, of which only the last one's value is ever stored.

    `tile` says that a product at their head is computed with fewer products: results of a Winograd tile along an axis, 1 for quarters
    (product_errors.py has both), 0 for any other.
    """

    covers: tuple[Node, ...]
    tile: int = 0

    @property
    def result(self) -> Node:
        return self.covers[-1]

    @property
    def operands(self) -> set[Node]:
        """What it reads from outside, parameters excepted."""
        return {operand for node in self.covers for operand in node.inputs if operand.kind is not PARAM and operand not in self.covers}


@dataclass(frozen=True, slots=True)
class KernelTime:
    """A kernel timed, by the names of what it computes. Units: median `microseconds` a run, `least` those of the fastest one; `macs`
    multiply-adds, as a direct convolution has them; `products` those of float32 that it does itself, or that registers take as long for;
    `bytes` of operands, weights and result. One that `moves` computes nothing: it brings the named value, if that is known, into another
    layout.
    """

    kernel: str
    nodes: tuple[str, ...]
    microseconds: float
    macs: int
    products: int
    bytes: int
    moves: bool = False
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Watched:
    """A network that was started to be looked at as it runs. `profile` times its kernels; `arena` is what its intermediates take, in bytes,
    where the engine plans that.
    """

    run: Run
    profile: Profile
    arena: int | None = None


@dataclass(frozen=True, slots=True)
class StandIn:
    """What runs where an engine's device is not here, and in words what that means. `is_emulated` where it executes the same kernels."""

    engine: Engine
    means: str
    is_emulated: bool = False


@dataclass(frozen=True, slots=True)
class FixedRuns:
    """Of an artifact whose library is made for some batches: those that a check runs, 0 where none has a name, those that would take it too
    long, and how many runs of each it takes to see all ways in which it runs.
    """

    batches: tuple[int, ...]
    left_out: tuple[int, ...]
    turns: int


def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Engine:
    """`start` readies a network that is in memory, `open` one that was compiled; they raise BackendMissing where the engine is not here.

    `capture` sees intermediate values, and `kernels` are what it computes at once: at least what it does, so that an error is looked for
    where it may be. `prices` are those by which passes decide for it. `word` tells `doctor` of it, and raises BackendMissing or
    PackageNotFoundError. `has_one_code` where several images are computed as one is, `runs_opaque` where nodes that convc has no op for are
    computed. `start_wide` computes in float64; `start_profiled` can also time its kernels, and knows its arena;
    `of_artifact` is the engine with the kernels of a compiled library, and `fixed` says how that runs if it is made for some batches;
    `plain` is the engine with its own rewrites of a network off, where it has such. One that
    `holds_wide` computes 16 bits in float32, and rounds what it shows, but not what it reads. With `takes_tensors` a run also takes what
    lies on its device. `start_over` and `open_over` give runs that write outputs over inputs, where it was compiled so; all others leave
    inputs as they are. `why_not_here` says why it cannot run here, if so, and `stand_in` what does instead where it is asked for by name.
    One that `compiles` keeps kernels in the cache, where there is one.
    """

    name: str
    about: str
    start: Start
    open: Open
    capture: Capture
    kernels: Callable[[Graph], list[Kernel]]
    prices: Prices
    word: Callable[[], str]
    has_one_code: bool = False
    runs_opaque: bool = False
    start_wide: Start | None = None
    start_profiled: Callable[[Graph, int | None], Watched] | None = None
    of_artifact: Callable[[Artifact], Engine] | None = None
    fixed: FixedRuns | None = None
    plain: Engine | None = None
    holds_wide: bool = False
    takes_tensors: bool = False
    start_over: StartOver | None = None
    open_over: Open | None = None
    why_not_here: Callable[[], str] = _nothing
    stand_in: StandIn | None = None
    compiles: bool = False

    def stores(self, graph: Graph) -> dict[Node, Kernel]:
        """The kernels by the node whose value they store, in the graph's order."""
        kernels = {kernel.result: kernel for kernel in self.kernels(graph)}
        return {node: kernels[node] for node in graph.nodes if node in kernels}

    def tiles(self, graph: Graph) -> dict[str, int]:
        """Of the layers that it computes with fewer products, by name: their rounding noise is their own."""
        return {kernel.covers[0].name: kernel.tile for kernel in self.kernels(graph) if kernel.tile}

    def within(self, artifact: Artifact | None) -> Engine:
        """As it runs an artifact; itself where there is none, or where it makes its kernels anew."""
        return self.of_artifact(artifact) if artifact is not None and self.of_artifact is not None else self


def opened_by(start: Start) -> Open:
    """For an engine that compiles an artifact's network when it loads it."""
    return lambda artifact, threads: start(artifact.graph(), threads)


def capture_by(start: Start) -> Capture:
    """For an engine that computes every output: values are made outputs, a few at a time."""

    def capture(graph: Graph, wanted: Sequence[Node], inputs: Mapping[str, Array], threads: int | None) -> Iterator[tuple[str, Array]]:
        for chunk in chunks(wanted):
            exposed = Graph(graph.name, graph.inputs, tuple(dict.fromkeys([*chunk, *graph.outputs])), graph.nodes)
            values = start(exposed, threads)(inputs)
            yield from ((node.name, values.pop(node.name)) for node in chunk)

    return capture


def one_by_one(graph: Graph) -> list[Kernel]:
    """For an engine that stores every value."""
    return [Kernel((node,)) for node in graph.ops]


def chunks(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Consecutive nodes whose values fit HELD_BYTES, or one that does not."""
    chunk: list[Node] = []
    held = 0
    for node in nodes:
        size = node.typed.nbytes
        size = size if isinstance(size, int) else 0
        if chunk and held + size > HELD_BYTES:
            yield chunk
            chunk, held = [], 0
        chunk.append(node)
        held += size
    if chunk:
        yield chunk
