"""RESULTS-cuda.md: what was measured, or that nothing was and what lies ready."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convc.tests.gpu.rooflines import KernelShare
from convc.tests.gpu.stored import Case

__all__ = ["Results", "Timed", "no_gpu"]

WORST = 10
TITLE = "# convc on a GPU\n\nWritten by `make gpu-check` (tests/gpu/check.py)."


@dataclass(frozen=True)
class Timed:
    """A network at a batch. Units: milliseconds a run, by events; `roofline` is the least that its kernels together could take."""

    network: str
    precision: str
    batch: int
    ours: Sequence[float]
    others: dict[str, Sequence[float]]
    kernels: Sequence[KernelShare]

    @property
    def median(self) -> float:
        return statistics.median(self.ours)

    @property
    def roofline(self) -> float:
        return sum(kernel.least for kernel in self.kernels)


@dataclass
class Results:
    """What `check` finds, as it comes. Units: bytes and multiply-adds a second, these by `instruction`; `left_out` says what there was no time for, and why not torch."""

    machine: Sequence[str]
    bandwidth: float = 0.0
    macs: float = 0.0
    agreed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    instruction: str = "mma.sync"

    def text(self) -> str:
        return (
            "\n".join(
                [TITLE, "", *(f"- {line}" for line in self.machine), "", *self._peaks(), *self._checked(), *self._times(), *self._worst()]
            )
            + "\n"
        )

    def _peaks(self) -> list[str]:
        rates = f"{self.bandwidth / 1e12:.2f} TB/s copied, read and written; {2 * self.macs / 1e12:.0f} TFLOP/s of {self.instruction}, float16 in, float32 out."
        return [f"Measured here: {rates}", ""]

    def _checked(self) -> list[str]:
        lines = ["## Results", "", f"{len(self.agreed)} networks agree with float64; {len(self.failed)} things differ or failed.", ""]
        lines += [f"- {line}" for line in self.failed]
        if self.left_out:
            lines += ["Left out:", "", *(f"- {line}" for line in self.left_out)]
        return [*lines, ""]

    def _times(self) -> list[str]:
        if not self.timed:
            return []
        head = ["## Times", "", "Medians of runs by CUDA events, inputs and results on the device, each run the replay of a graph.", ""]
        columns = "| network | precision | batch | ms | images/s | of the roofline | torch eager, channels last | torch.compile |"
        return [*head, columns, "|---|---|---|---|---|---|---|---|", *map(_row, self.timed), ""]

    def _worst(self) -> list[str]:
        lines: list[str] = []
        for timed in self.timed:
            worst = sorted(timed.kernels, key=lambda kernel: kernel.milliseconds - kernel.least, reverse=True)[:WORST]
            lines += [f"## {timed.network}, {timed.precision}, batch {timed.batch}: the {len(worst)} kernels that lose most", ""]
            lines += ["| us | least | of the roofline | kernel | nodes |", "|---|---|---|---|---|"]
            lines += [_kernel_row(kernel) for kernel in worst] + [""]
        return lines


def _row(timed: Timed) -> str:
    others = [f"{statistics.median(timed.others[name]):.3f}" if name in timed.others else "-" for name in ("eager", "compile")]
    share = f"{timed.roofline / timed.median:.0%}" if timed.median else "-"
    speed = f"{1e3 * timed.batch / timed.median:,.0f}" if timed.median else "-"
    return f"| {timed.network} | {timed.precision} | {timed.batch} | {timed.median:.3f} | {speed} | {share} | {' | '.join(others)} |"


def _kernel_row(kernel: KernelShare) -> str:
    least = (f"{1e3 * kernel.least:.1f}", f"{kernel.share:.0%}") if kernel.nodes else ("-", "-")
    return f"| {1e3 * kernel.milliseconds:.1f} | {' | '.join(least)} | {kernel.kernel} | {kernel.nodes} |"


def no_gpu(why: str, prepared: Iterable[Case], folder: Path) -> str:
    """The same file where there is no GPU."""
    found = list(prepared)
    checked, timed = ([case for case in found if case.is_timed is is_timed] for is_timed in (False, True))
    lines = [TITLE, "", f"**No GPU was there: {why}. Nothing below was measured.**", ""]
    if not found:
        return "\n".join([*lines, "Nothing is prepared either: `make gpu-prepare`."]) + "\n"
    lines += [f"Prepared in `{folder}`, to be run by `make gpu-check` on a machine with a GPU and no network:", ""]
    lines += [f"- {len({case.network for case in checked})} networks, {len(checked)} artifacts with inputs and float64 outputs"]
    lines += [f"- to time: {case.network} in {case.precision}, batches {', '.join(map(str, case.batches))}" for case in timed]
    tried = "The script itself is tried on the emulator, by tests/gpu/test_gpu_check.py."
    shown = "What is shown of the kernels where there is no GPU, and by what, docs/cuda.md says."
    return "\n".join([*lines, "- a kernel that finds the peak of tensor cores", "", tried, shown]) + "\n"
