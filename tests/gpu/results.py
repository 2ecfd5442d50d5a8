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
TIMES = (
    "Medians of runs by CUDA events, one between each two, after 0.3 s of others; inputs and results on the device, and the same ones each time:",
    "of few images the weights may lie in the L2 cache, for torch as for convc. A run of ours is the replay of a graph. torch: 16 bits, channels",
    "last, inference_mode, cudnn.benchmark; eager launches kernel by kernel, torch.compile is mode reduce-overhead, by graphs too, which copies",
    "inputs to where they lie.",
)
INSTEAD = (
    "## What was run in a GPU's place",
    "",
    "The source of every kernel is executed on the CPU, by an emulator under TVM's own CUDA runtime: results, races, bounds, launches, memory,",
    "graphs. This script is tried on it too: `python -m convc.tests.gpu.check FOLDER --emulate`, tests/gpu/test_gpu_check.py. Machine code is",
    "read, where nvcc is, for registers, spills and instructions of tensor cores, and never run. What is shown so and by which test, and what",
    'the emulator does not model, stand in docs/cuda_kernels.md ("What is shown without a GPU", "What is not modelled").',
    "",
    "## What only a GPU can tell",
    "",
    "- Every time: of batches against torch.compile, of each kernel against its roofline, what graphs spare.",
    "- What caches, occupancy, coalescing, and bank conflicts of anything but ldmatrix make of it.",
    "- That what ptxas makes computes what the source says; what order of memory, copies and wgmma do beyond what is emulated.",
    "- That NVIDIA's driver loads the cubins, and takes tensors of PyTorch and CuPy; onnxruntime's CUDA provider.",
)


@dataclass(frozen=True)
class Timed:
    """A network at a batch. Units: milliseconds a run, by events; `roofline` is the least that its kernels together could take."""

    network: str
    precision: str
    batch: int
    ours: Sequence[float]
    others: dict[str, Sequence[float]]
    kernels: list[KernelShare]

    @property
    def median(self) -> float:
        return statistics.median(self.ours)

    @property
    def roofline(self) -> float:
        return sum(kernel.least for kernel in self.kernels)


@dataclass
class Results:
    """What `check` finds, as it comes. Units: bytes and multiply-adds a second, `macs` by `instruction`, `ordinary` in float32 without tensor cores; `left_out` says what there was no time for, and why not torch; `seconds` what each kind of step took."""

    machine: Sequence[str]
    bandwidth: float = 0.0
    macs: float = 0.0
    agreed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    instruction: str = "mma.sync"
    seconds: dict[str, float] = field(default_factory=dict)
    ordinary: float = 0.0

    def text(self) -> str:
        return (
            "\n".join(
                [TITLE, "", *(f"- {line}" for line in self.machine), "", *self._peaks(), *self._checked(), *self._times(), *self._worst()]
            )
            + "\n"
        )

    def _peaks(self) -> list[str]:
        rates = f"{self.bandwidth / 1e12:.2f} TB/s copied, read and written; {2 * self.macs / 1e12:.0f} TFLOP/s of {self.instruction}, float16 in, float32 out."
        spent = ", ".join(f"{kind} {seconds:.0f}" for kind, seconds in self.seconds.items())
        first = f"Measured here: {rates} {2 * self.ordinary / 1e12:.0f} TFLOP/s of float32 by ordinary units."
        return [first, *(["", f"Seconds: {spent}."] if spent else []), ""]

    def _checked(self) -> list[str]:
        lines = ["## Results", "", f"{len(self.agreed)} networks agree with float64; {len(self.failed)} things differ or failed.", ""]
        lines += [f"- {line}" for line in self.failed]
        if self.left_out:
            lines += ["Left out:", "", *(f"- {line}" for line in self.left_out)]
        return [*lines, ""]

    def _times(self) -> list[str]:
        if not self.timed:
            return []
        head = ["## Times", "", *TIMES, ""]
        columns = "| network | precision | batch | ms | images/s | of the roofline | torch eager | torch.compile |"
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
    share = f"{timed.roofline / timed.median:.0%}" if timed.median and timed.roofline else "-"
    speed = f"{1e3 * timed.batch / timed.median:,.0f}" if timed.median else "-"
    return f"| {timed.network} | {timed.precision} | {timed.batch} | {timed.median:.3f} | {speed} | {share} | {' | '.join(others)} |"


def _kernel_row(kernel: KernelShare) -> str:
    least = (f"{1e3 * kernel.least:.1f}", f"{kernel.share:.0%}") if kernel.nodes else ("-", "-")
    return f"| {1e3 * kernel.milliseconds:.1f} | {' | '.join(least)} | {kernel.kernel} | {kernel.nodes} |"


def no_gpu(why: str, prepared: Iterable[Case], planned: Iterable[Case], folder: Path) -> str:
    """The same file where there is no GPU. `planned` are all cases that `make gpu-prepare` makes."""
    ready = {(case.network, case.precision, case.is_timed) for case in prepared}
    checked, timed = ([case for case in planned if case.is_timed is is_timed] for is_timed in (False, True))

    def among(cases: Sequence[Case]) -> str:
        there = sum((case.network, case.precision, case.is_timed) in ready for case in cases)
        return f"{there} of {len(cases)} lay there as this was written"

    networks, kinds = (_each(case.network for case in checked), _each(case.precision for case in checked))
    lines = [
        TITLE,
        "",
        f"**No GPU was there: {why}. Nothing was measured: no time, and no result, of these kernels on a GPU is known.**",
        "",
        "## What is prepared",
        "",
        f"`make gpu-prepare`, where nvcc is, makes in `{folder}` what is wanted on a machine with a GPU, and leaves what is there:",
        "",
        f"- {len(networks)} networks, small, in {_and(kinds)}, with inputs and float64 outputs; {among(checked)}",
        f"- to time, in full: {_and(_each(case.network for case in timed))}, in {_and(_each(case.precision for case in timed))}, for batches of "
        f"{_and(_each(str(batch) for case in timed for batch in case.batches))}; {among(timed)}",
        "- kernels that find the peaks of tensor cores and of ordinary units, and wheels",
        "",
        "`make gpu-check` there, with the repository and that folder, needs neither a network nor a compiler. In eight minutes it writes this file anew.",
        "",
        *INSTEAD,
    ]
    return "\n".join(lines) + "\n"


def _each(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _and(words: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
