"""The lines of `convc bench --profile`: what each kernel takes, does and moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ...ir.graph import Graph
from ...ir.limits import CLOCKS, MachineLimits
from ...passes.analysis.structure import longest_path
from ..engines.engine import KernelTime

__all__ = ["ROUGH", "ROUGH_MEANS", "UNSTEADY", "LayerTime", "faster_than_memory", "layer_times", "slowest", "steadiest"]

UNSTEADY = 1.5  # times as long in a round's middle run as in the fastest of all: others' work may fall into every round
ROUGH = "~"
OWN_CACHE = 1 << 20  # bytes: about what a core keeps to itself, so that a kernel of less does not wait for memory
ROUGH_MEANS = f"{ROUGH}: in the slower of its two rounds it took more than {UNSTEADY} times as long as in its fastest run"


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One kernel. Units: `microseconds` a run; `share` of all kernels' time; `gflops` 10^9 floating-point operations a second, two a
    multiply-add of a direct convolution; `gbytes` 10^9 bytes a second of operands, weights and result, each moved once, workspace left out.
    Of the paths from an input to an output, the longest by time passes through the kernels `on_longest_path`. One that `moves` computes
    nothing, and names the value that it brings into another layout, or none where that is not known. The fastest of all its runs took
    `least_microseconds`, 0 where that is not known, and the middle one of its slower round `spread` times as long. `products` are the
    multiply-adds that it does itself, of float32 or such as take as long. It has the share `of_limit` of what the machine does at most of
    its `limit`, those "products" or "memory", the one that it is nearer to; None where neither is known.
    """

    kernel: str
    nodes: list[str]
    microseconds: float
    share: float
    macs: int
    products: int
    gflops: float
    bytes: int
    gbytes: float
    on_longest_path: bool
    moves: bool = False
    spread: float = 1.0
    of_limit: float | None = None
    limit: str | None = None
    least_microseconds: float = 0.0

    @property
    def is_unsteady(self) -> bool:
        """Whether its runs differ so much that its time is a rough one."""
        return self.spread > UNSTEADY

    @property
    def time_text(self) -> str:
        """Microseconds for a table, marked where they are rough."""
        return f"{ROUGH if self.is_unsteady else ''}{self.microseconds:.1f}"

    @property
    def limit_text(self) -> str:
        """How near it is to the limit that it is nearer to, for a table."""
        rough = ROUGH if self.is_unsteady else ""
        return "-" if self.of_limit is None else f"{rough}{self.of_limit:.0%} {self.limit}"

    @property
    def products_rate(self) -> float:
        """Floating-point operations a second of its own products, two each."""
        return 2e6 * self.products / self.microseconds if self.microseconds else 0.0

    def held_to(self, limits: MachineLimits) -> LayerTime:
        """Beside the limits. Who moves little, or more than memory can give, has its bytes from caches: memory is no limit of it."""
        products = self.products_rate / limits.flops
        memory = 1e9 * self.gbytes / limits.bandwidth if limits.bandwidth and self.bytes > OWN_CACHE else 0.0
        share, limit = max((products, "products"), (memory if memory <= CLOCKS else 0.0, "memory"))
        return replace(self, of_limit=share, limit=limit) if share else self

    def is_beyond(self, limits: MachineLimits) -> bool:
        """Whether no machine with these limits does it in this time. Of what computes no product some bytes may not be needed."""
        return self.products > 0 and self.microseconds < 1e6 * limits.least(2 * self.products, self.bytes)


def steadiest(rounds: Sequence[Sequence[LayerTime]]) -> list[LayerTime]:
    """Of rounds of the same kernels the fastest one, with the fastest run of each kernel, and by what its times differ."""
    fastest = min(rounds, key=lambda layers: sum(layer.microseconds for layer in layers))
    return [_among(layer, [each[place] for each in rounds]) for place, layer in enumerate(fastest)]


def _among(layer: LayerTime, rounds: Sequence[LayerTime]) -> LayerTime:
    least = min(map(_least, rounds))
    spread = max(each.microseconds for each in rounds) / least if least > 0 else 1.0
    return replace(layer, least_microseconds=least, spread=spread)


def _least(layer: LayerTime) -> float:
    return layer.least_microseconds or layer.microseconds


def slowest(layers: Sequence[LayerTime]) -> tuple[LayerTime, float] | None:
    """By the fastest run of each, into which others' work fell the least, and its share of those; None where there are no kernels."""
    whole = sum(map(_least, layers))
    most = max(layers, key=_least, default=None)
    return (most, _least(most) / whole if whole else 0.0) if most is not None else None


def faster_than_memory(layers: Iterable[LayerTime], limits: MachineLimits) -> LayerTime | None:
    """The kernel that has its bytes the fastest, where that is faster than memory was seen to be: they came from caches, or memory was
    measured while others had it. Nobody knows which, so no share of it means anything. Of what computes no product some bytes may not be
    needed.
    """
    most = max((layer for layer in layers if layer.products and layer.bytes > OWN_CACHE), key=lambda layer: layer.gbytes, default=None)
    return most if most is not None and limits.bandwidth and 1e9 * most.gbytes > CLOCKS * limits.bandwidth else None


def layer_times(graph: Graph, times: Sequence[KernelTime]) -> list[LayerTime]:
    """The kernels of a network without named sizes, in order."""
    total = sum(time.microseconds for time in times)
    longest = _longest_path(graph, times)
    layers: list[LayerTime] = []
    for time in times:
        gflops, gbytes = (amount / time.microseconds / 1e3 if time.microseconds else 0.0 for amount in (2 * time.macs, time.bytes))
        share = time.microseconds / total if total else 0.0
        worth = (time.macs, time.products, gflops, time.bytes, gbytes)
        on_it = bool(time.nodes) and time.nodes[-1] in longest
        layers.append(
            LayerTime(time.kernel, list(time.nodes), time.microseconds, share, *worth, on_it, time.moves, least_microseconds=time.least)
        )
    return layers


def _longest_path(graph: Graph, times: Sequence[KernelTime]) -> set[str]:
    """The names of its nodes. A kernel's time is at the value that it leaves; what goes before that in it is passed for nothing."""
    taken: defaultdict[str, float] = defaultdict(float)
    for time in times:
        if time.nodes:
            taken[time.nodes[-1]] += time.microseconds
    return {node.name for node in longest_path(graph, {node: taken[node.name] for node in graph.nodes})}
