"""On a machine with a GPU, what was prepared is run, held to float64 and timed: `python -m convc.tests.gpu.check FOLDER`, or `make gpu-check`.

It writes tests/bench/RESULTS-cuda.md as it goes, within 8 minutes, and needs neither a network nor a compiler. Without a GPU the file says so.
With --emulate the emulator stands in, whose times mean nothing: so the script itself is tried.

Exit codes: 0 fine, 1 something differs, fails, or was not held to float64 for want of time or of a case, 5 no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from convc.backends.tvm.cuda.batches import at_batch
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.gpus.architectures import USUAL, Architecture, architecture
from convc.backends.tvm.gpus.driver import gpu
from convc.backends.tvm.library.fixed import FixedLibrary
from convc.backends.tvm.library.gpu_times import kernel_times, run_times
from convc.compiler.checking.fixed_batches import held_batches
from convc.compiler.engines.tvm import loaded
from convc.ir.errors import BackendMissing
from convc.tests.gpu.machine import described
from convc.tests.gpu.peaks import FULL, TINY, Scale, bandwidth, ordinary_peak, peak
from convc.tests.gpu.prepare import planned
from convc.tests.gpu.results import Results, Timed, no_gpu
from convc.tests.gpu.rooflines import kernel_shares
from convc.tests.gpu.stored import Case, cases
from convc.tests.gpu.torch_times import torch_times, why_no_torch

__all__ = ["main"]

RESULTS = Path(__file__).parent.parent / "bench" / "RESULTS-cuda.md"
TURNS = 3  # a graph is captured in the second run, and the third only replays it
SECONDS = 450.0  # of eight minutes; what is begun is ended
EMULATED = "**A GPU was emulated, on the CPU: the results below are right or wrong, and no time among them means anything.**"
BESIDE = "fp16"  # the precision in which torch is timed beside


@dataclass
class _Check:
    """`until` is the time after which nothing is begun."""

    folder: Path
    output: Path
    scale: Scale
    until: float
    results: Results

    def run(self) -> int:
        """Returns: the exit code."""
        with self._noted("what memory, tensor cores and ordinary units do at most"):
            self.results.bandwidth = bandwidth(self.scale)
            self.results.instruction, self.results.macs = peak(self.folder, self.scale)
            self.results.ordinary = ordinary_peak(self.folder, self.scale)
        self._write()
        prepared = cases(self.folder)
        if not prepared:
            self.results.failed.append(f"{self.folder} holds no case; run prepare first")
        for case in prepared:
            name = f"{case.network} {case.precision}"
            if self._is_late(f"{name}, results"):
                self.results.failed.append(f"{name}: not held to float64, for no time was left")
                continue
            with self._noted(name):
                self._hold(case, name)
        self._write()
        without_torch = why_no_torch()
        if without_torch:
            self.results.left_out.append(f"torch: {without_torch}")
        for case in (case for case in prepared if case.is_timed):
            with self._noted(f"{case.network} {case.precision}, times"):
                self._time(case, not without_torch and case.precision == BESIDE)
        return 1 if self.results.failed else 0

    @contextlib.contextmanager
    def _noted(self, what: str) -> Generator[None]:
        """What fails in the block, in whatever way, is written down, and the next thing tried: time on a GPU is short."""
        try:
            yield
        except Exception as error:
            said = str(error).splitlines() or [""]
            self.results.failed.append(f"{what}: {type(error).__name__}: {said[0]}")

    def _hold(self, case: Case, name: str) -> None:
        """A case against its float64 outputs: each batch that it was compiled for, until it is run as a graph."""
        inputs, oracle = case.values()
        library, graph = case.artifact.library(), case.artifact.structure()
        batches = tuple(sorted(library.fixed.memory)) if library.fixed else ()
        held = held_batches(name, graph, loaded(library, None), inputs, oracle, batches, TURNS)
        lines = [line for each in held for line in each.lines]
        bad = [str(line) for line in lines if not line.agrees]
        self.results.failed.extend(bad)
        if not lines:
            self.results.failed.append(f"{name}: nothing was compared")
        elif not bad:
            self.results.agreed.append(name)
        print(f"{name}: {bad[0] if bad else f'{len(lines)} lines agree'}", file=sys.stderr)

    def _time(self, case: Case, with_torch: bool) -> None:
        stored = case.artifact.library()
        library, arch = FixedLibrary.load(stored), architecture(stored.code.architecture) if stored.code else USUAL
        for batch in library.batches:
            what = f"{case.network} {case.precision}, batch {batch}"
            if self._is_late(what):
                continue
            with self._noted(what):
                self._time_batch(case, library, arch, batch)
                if with_torch:
                    self._beside(case, batch, what)

    def _time_batch(self, case: Case, library: FixedLibrary, arch: Architecture, batch: int) -> None:
        ours = run_times(library, batch, self.scale.runs)
        times = kernel_times(library, batch, self.scale.runs)
        plan = gpu_plan(at_batch(case.artifact.structure(), batch), arch=arch)
        shares = kernel_shares(plan, times, self.results.macs, self.results.bandwidth, self.results.ordinary)
        self.results.timed.append(Timed(case.network, case.precision, batch, ours, {}, shares))
        self._write()

    def _beside(self, case: Case, batch: int, what: str) -> None:
        """torch on the network as it was given. It compiles for a minute, so each time is written at once."""
        from convc.models import ZOO

        try:
            others = torch_times(ZOO[case.network].network(), case.precision, batch, self.scale.runs, self.until)
        except Exception as error:  # torch raises many kinds, and ours are measured all the same
            self.results.left_out.append(f"torch, {what}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return
        self.results.timed[-1].others.update(others)
        self._write()

    def _is_late(self, what: str) -> bool:
        late = time.monotonic() > self.until
        if late:
            self.results.left_out.append(f"{what}: no time left")
        return late

    def _write(self) -> None:
        self.output.write_text(self.results.text(), encoding="utf-8")


def main(words: list[str] | None = None) -> int:
    """Returns: the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what prepare left")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--emulate", action="store_true")
    asked = parser.parse_args(words)
    until = time.monotonic() + asked.seconds
    if asked.emulate:
        emulated()
    else:
        try:
            gpu()
        except BackendMissing as error:
            why, folder = str(error).partition(";")[0], asked.folder
            asked.output.write_text(no_gpu(why, cases(folder), planned(folder), folder), encoding="utf-8")
            print(f"{error}; {asked.output} says so", file=sys.stderr)
            return 5
    machine = [EMULATED] if asked.emulate else []
    check = _Check(asked.folder, asked.output, TINY if asked.emulate else FULL, until, Results([*machine, *described()]))
    code = check.run()
    check._write()
    print(f"wrote {asked.output}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
