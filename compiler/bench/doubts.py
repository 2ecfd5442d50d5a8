"""Why times of a bench are not to be trusted, a sentence each; none on a quiet machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from ...ir.limits import CLOCKS, MOST_SAVED, MachineLimits
from .layer_times import UNSTEADY, LayerTime, faster_than_memory
from .measure import Measured

__all__ = ["MUCH", "doubts_of", "is_in_doubt", "memory_notes"]

SLOWED = 1.3  # times the best turn: on a quiet machine the middle one is within 1.05
GOT = 0.8  # of the processors that multiply-adds asked for: threads wake and end
MUCH = 0.02  # of a run: kernels that take less are within what clocks tell


def doubts_of(measured: Measured) -> list[str]:
    return [*measured.load.doubts, *_of_machine(measured), *_of_networks(measured), *_of_kernels(measured)]


def is_in_doubt(share: float | None, measured: Measured) -> bool:
    """Whether this share of the peak is more than there is: beyond all that algorithms save, or beyond the peak of a machine that was busy
    or that the products of some kernel exceed.
    """
    if share is None or share <= CLOCKS:
        return False
    layers = [layer for layers in measured.profiles.values() for layer in layers]
    far = measured.limits is not None and _beyond(layers, measured.limits)
    return bool(share > CLOCKS * MOST_SAVED or far or measured.load.doubts or any(_of_machine(measured)))


def _of_machine(measured: Measured) -> Iterator[str]:
    if measured.slowed is not None and measured.slowed > SLOWED:
        yield f"the machine is busy: the same multiply-adds took {measured.slowed:.1f} times as long in a middling turn as in the best"
    elif measured.got is not None and measured.got < GOT:
        yield f"the machine is busy: multiply-adds got {measured.got:.0%} of the processor time that they asked for"


def _of_networks(measured: Measured) -> Iterator[str]:
    for name, count in measured.discarded.items():
        yield f"{count} turn{'' if count == 1 else 's'} of {name} seemed faster than this machine can be, and were measured again"
    for timing in measured.timings:
        if timing.peak_share is not None and timing.peak_share > CLOCKS * MOST_SAVED:
            yield f"{timing.engine} at {timing.peak_share:.0%} of the peak is more than any algorithm here saves: the peak is wrong"


def _of_kernels(measured: Measured) -> Iterator[str]:
    layers = [layer for layers in measured.profiles.values() for layer in layers]
    if measured.limits is not None and (far := _beyond(layers, measured.limits)):
        most = max(far, key=lambda layer: layer.products_rate)
        share = most.products_rate / measured.limits.flops
        if share <= CLOCKS:
            what = f"{most.kernel} of {', '.join(most.nodes)}"
            yield f"{what} moves bytes faster than memory seems to: the machine was busier when that was measured"
        else:
            yield (
                f"{most.kernel} of {', '.join(most.nodes)} seems to have {share:.0%} of the peak, which cannot be: the machine was busier "
                "when its peak was measured, so how near kernels are to it is not said"
            )
    if unsteady := [layer for layer in layers if layer.is_unsteady and layer.share > MUCH]:
        most = max(unsteady, key=lambda layer: layer.share)
        yield (
            f"{len(unsteady)} kernel{'' if len(unsteady) == 1 else 's'} took more than {UNSTEADY} times as long in a round's middle run "
            f"as in the fastest of all, such as {most.kernel} of {', '.join(most.nodes)}, {most.spread:.1f} times"
        )


def memory_notes(measured: Measured) -> list[str]:
    """Why no kernel is held to the peak of memory, where it is not. No doubt of any time: caches are there to be faster."""
    if measured.limits is None or measured.peak_gbytes is None:
        return []
    most = faster_than_memory(chain(*measured.profiles.values()), measured.limits)
    if most is None:
        return []
    return [
        f"{most.kernel} of {', '.join(most.nodes)} had {most.gbytes:.1f} GB/s, more than reads of memory ({measured.peak_gbytes:.1f}): "
        "from caches, or others had the memory when that was measured; so how near kernels are to memory is not said"
    ]


def _beyond(layers: Sequence[LayerTime], limits: MachineLimits) -> list[LayerTime]:
    return [layer for layer in layers if layer.is_beyond(limits)]
