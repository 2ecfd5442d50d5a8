"""`cc.profile(graph)`: where the time of a run goes, kernel by kernel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ...ir.binding import batch_names, need_elements
from ...ir.errors import UsageError
from ...ir.files import temporary_folder
from ...ir.graph import Graph
from ...ir.load import LoadWatch
from ...ir.plot import AFTER, BEFORE, Plot, named_places, panels
from ...ir.shown import html_lines, html_table, text_table
from ...ir.usual_sizes import usual_sizes
from ..engines.table import engine_named, measurable
from .doubts import doubts_of, memory_notes
from .layer_times import ROUGH_MEANS, LayerTime
from .measure import Measured, batch_of, profiles_of, write_network
from .process import Worker
from .roofs import TURNS, Roofs
from .worker import Assignment

__all__ = ["NetworkProfile", "profile"]

HEADINGS = ("us", "share", "GF/s", "GB/s", "of limit", "kernel", "nodes")


@dataclass(frozen=True, repr=False)
class NetworkProfile:
    """The kernels that an engine ran for a network, in order, as `convc bench --profile` has them. `doubts` say why times are not to be
    trusted, if so.
    """

    network: str
    engine: str
    layers: Sequence[LayerTime]
    doubts: Sequence[str] = ()

    @property
    def microseconds(self) -> float:
        """Of all kernels, a run."""
        return sum(layer.microseconds for layer in self.layers)

    @property
    def headline(self) -> str:
        """What it comes to, in a line."""
        return f"@{self.network} in {self.engine}: {self.microseconds:,.0f} us in {len(self.layers)} kernels"

    def rows(self) -> list[tuple[str, ...]]:
        """A line for each kernel, as they are shown."""
        return [
            (
                *(layer.time_text, f"{layer.share:.1%}", f"{layer.gflops:.0f}" if layer.macs else "-", f"{layer.gbytes:.1f}"),
                *(layer.limit_text, layer.kernel, " ".join(layer.nodes)),
            )
            for layer in self.layers
        ]

    @property
    def lines(self) -> list[str]:
        """What is said of its digits: why they are in doubt first."""
        return [*self.doubts, *([ROUGH_MEANS] if any(layer.is_unsteady for layer in self.layers) else [])]

    def __repr__(self) -> str:
        return "\n".join([self.headline, *self.lines, text_table(self.rows(), HEADINGS)])

    def _repr_html_(self) -> str:
        return html_table(self.rows(), HEADINGS, self.headline) + html_lines(self.lines)

    def plot(self) -> Plot:
        """Time of each kernel in order, those on the longest path apart, and how many operations a second it does.

        Raises: BackendMissing where matplotlib is not here.
        """
        plot, (times, speeds) = panels(self.headline, (2.6, 1.8))
        places = range(len(self.layers))
        colours = [AFTER if layer.on_longest_path else BEFORE for layer in self.layers]
        times.bar(places, [layer.microseconds for layer in self.layers], color=colours)
        times.set(ylabel="microseconds a run", xticks=[])
        if BEFORE in colours:
            times.text(1, 1, "grey: not on the longest path", transform=times.transAxes, ha="right", va="bottom", fontsize=8)
        speeds.bar(places, [layer.gflops for layer in self.layers], color=colours)
        speeds.set(ylabel="GFLOP a second")
        for axes in (times, speeds):
            axes.margins(x=0.01)
        named_places(speeds.xaxis, [layer.nodes[-1] if layer.nodes else layer.kernel for layer in self.layers])
        return plot


def profile(graph: Graph, engine: str = "tvm", batch: int | None = None, threads: int | None = None, level: int = 2) -> NetworkProfile:
    """Time the kernels of a network, in a process of its own.

    graph: the network; named sizes but the batch are usual ones.
    engine: tvm or onnx.
    batch: images a run; default: the network's own, or 1.
    threads: default: one a physical core.
    level: of the optimization before.

    Raises: UsageError for an engine whose kernels cannot be timed, and a batch that the network does not take; BackendMissing for one
    that is not here; UnsupportedOp where it cannot run the network.
    """
    from ...backends.tvm.host import physical_cores

    known = measurable()
    if engine_named(engine, known).start_profiled is None:
        able = " or ".join(name for name, each in known.items() if each.start_profiled)
        raise UsageError(f"kernels of {engine} cannot be timed; those of {able} can")
    need_elements(graph, "time")
    sizes = usual_sizes(graph, dict.fromkeys(batch_names(graph), batch_of(graph, batch)))
    threads = threads or physical_cores()
    watch = LoadWatch()
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        write_network(graph, folder)
        worker = stack.enter_context(Worker(Assignment(engine, level, threads, sizes, str(folder))))
        worker.wait()
        worker.turn()
        roofs = Roofs(stack, threads, memory=True)
        for _ in range(TURNS):
            roofs.turn()
        found = profiles_of({engine: worker}, roofs)
        measured = Measured([], roofs.limits, found, watch.load(), roofs.slowed, roofs.got)
        return NetworkProfile(graph.name, engine, found[engine], [*doubts_of(measured), *memory_notes(measured)])
