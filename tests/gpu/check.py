"""On a machine with a GPU, what was prepared is run, held to float64 and timed: `python -m convc.tests.gpu.check FOLDER`, or `make gpu-check`.

It writes tests/bench/RESULTS-cuda.md as it goes, within 8 minutes, and needs neither a network nor a compiler. Without a GPU the file says so.
A kernel that fails, or never ends, costs its own step and no other (supervised.py). With --emulate the emulator stands in, whose times mean
nothing: so the script itself is tried.

Exit codes: 0 fine, 1 something differs, fails, or was not held to float64 for want of time or of a case, 3 what was prepared is for another
GPU or not there, 5 no GPU, 130 interrupted.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convc.backends.tvm.cuda.batches import at_batch
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.gpus.architectures import USUAL, architecture
from convc.backends.tvm.gpus.driver import Gpu, gpu
from convc.backends.tvm.gpus.streams import all_done
from convc.backends.tvm.library.fixed import FixedLibrary
from convc.backends.tvm.library.gpu_times import kernel_times, run_times
from convc.backends.tvm.library.on_gpu import check_code
from convc.compiler.checking.fixed_batches import held_batches
from convc.compiler.engines.tvm import loaded
from convc.ir.errors import ArtifactError, BackendMissing, ConvcError
from convc.tests.gpu.machine import clocks, described
from convc.tests.gpu.peaks import FULL, TINY, Scale, bandwidth, ordinary_peak, peak
from convc.tests.gpu.prepare import planned
from convc.tests.gpu.results import Results, Timed, no_gpu
from convc.tests.gpu.rooflines import kernel_shares
from convc.tests.gpu.stored import Case, cases
from convc.tests.gpu.supervised import Step, Work, supervised
from convc.tests.gpu.torch_times import WAYS, torch_time, why_no_torch

__all__ = ["main"]

RESULTS = Path(__file__).parent.parent / "bench" / "RESULTS-cuda.md"
TURNS = 3  # a graph is captured in the second run, and the third only replays it
SECONDS = 450.0  # of eight minutes; what is begun is ended
HELD, TIMED = 0.5, 0.75  # of that time, after which no other result is held, and no run of ours timed
AT_MOST = {"held": 60.0, "timed": 90.0, "torch": 150.0}  # seconds of one step, which is ended then
EMULATED = "**A GPU was emulated, on the CPU: the results below are right or wrong, and no time among them means anything.**"
BESIDE = "fp16"  # the precision in which torch is timed beside


@dataclass(frozen=True)
class _Check:
    """Steps of a kind begin until its time, on the clock that all processes have."""

    folder: Path
    scale: Scale
    until: dict[str, float]

    @staticmethod
    def within(folder: Path, scale: Scale, seconds: float) -> _Check:
        now = time.monotonic()
        return _Check(folder, scale, {"held": now + HELD * seconds, "timed": now + TIMED * seconds, "torch": now + seconds})

    def steps(self) -> list[Step[Results]]:
        """What torch takes minutes for is last."""
        prepared = cases(self.folder)
        timed = [(case, batch) for case in prepared if case.is_timed for batch in case.batches]
        peaks = {"memory does": self._bandwidth, "tensor cores do": self._peak, "ordinary units do": self._ordinary}
        found = [self._step("timed", f"what {what} at most", do) for what, do in peaks.items()]
        found += [self._step("held", _name(case), functools.partial(self._hold, case)) for case in prepared]
        found += [self._step("timed", f"{_name(case)}, batch {batch}", functools.partial(self._time, case, batch)) for case, batch in timed]
        beside = [(case, batch, way) for case, batch in timed if case.precision == BESIDE for way in WAYS]
        name = "torch {2}, {0.network} {0.precision}, batch {1}"
        return found + [self._step("torch", name.format(*each), functools.partial(self._beside, *each)) for each in beside]

    def _step(self, kind: str, name: str, do: Callable[[Results], None]) -> Step[Results]:
        def run(results: Results) -> None:
            if time.monotonic() <= self.until[kind]:
                begun = time.monotonic()
                try:
                    do(results)
                finally:
                    results.seconds[kind] = results.seconds.get(kind, 0.0) + time.monotonic() - begun
                return
            results.left_out.append(f"{name}: no time left")
            if kind == "held":
                results.failed.append(f"{name}: not held to float64, for no time was left")

        return Step(name, AT_MOST[kind], run)

    def _bandwidth(self, results: Results) -> None:
        results.bandwidth = bandwidth(self.scale)

    def _peak(self, results: Results) -> None:
        results.instruction, results.macs = peak(self.folder, self.scale)

    def _ordinary(self, results: Results) -> None:
        results.ordinary = ordinary_peak(self.folder, self.scale)

    def _hold(self, case: Case, results: Results) -> None:
        """A case against its float64 outputs: each batch that it was compiled for, until it is run as a graph."""
        inputs, oracle = case.values()
        library, graph = case.artifact.library(), case.artifact.structure()
        batches = tuple(sorted(library.fixed.memory)) if library.fixed else ()
        held = held_batches(_name(case), graph, loaded(library, None), inputs, oracle, batches, TURNS)
        lines = [line for each in held for line in each.lines]
        bad = [str(line) for line in lines if not line.agrees]
        results.failed.extend(bad)
        if not lines:
            results.failed.append(f"{_name(case)}: nothing was compared")
        elif not bad:
            results.agreed.append(_name(case))
        print(f"{_name(case)}: {bad[0] if bad else f'{len(lines)} lines agree'}", file=sys.stderr)

    def _time(self, case: Case, batch: int, results: Results) -> None:
        library = _loaded(case)
        arch = architecture(library.architecture) if library.architecture else USUAL
        ours = run_times(library.fixed, batch, self.scale.runs, self.scale.warm)
        timed = Timed(case.network, case.precision, batch, ours, {}, [])
        results.timed.append(timed)  # whatever becomes of its kernels
        times = kernel_times(library.fixed, batch, self.scale.runs)
        plan = gpu_plan(at_batch(case.artifact.structure(), batch), arch=arch)
        timed.kernels.extend(kernel_shares(plan, times, results.macs, results.bandwidth, results.ordinary))

    def _beside(self, case: Case, batch: int, way: str, results: Results) -> None:
        """torch on the network as it was given."""
        from convc.models import ZOO

        if without := why_no_torch():
            results.left_out += [line for line in [f"torch: {without}"] if line not in results.left_out]
            return
        timed = next(
            (each for each in results.timed if (each.network, each.precision, each.batch) == (case.network, case.precision, batch)), None
        )
        if timed is None:
            return
        try:
            timed.others[way] = torch_time(ZOO[case.network].network(), case.precision, batch, way, self.scale)
        except Exception as error:  # torch raises many kinds, and ours are measured all the same
            results.left_out.append(f"torch {way}, {_name(case)}, batch {batch}: {(str(error).splitlines() or [type(error).__name__])[0]}")


@dataclass(frozen=True)
class _Loaded:
    fixed: FixedLibrary
    architecture: str


@functools.lru_cache(maxsize=1)
def _loaded(case: Case) -> _Loaded:
    stored = case.artifact.library()
    return _Loaded(FixedLibrary.load(stored), stored.code.architecture if stored.code else "")


def _name(case: Case) -> str:
    return f"{case.network} {case.precision}{' in full' if case.is_timed else ''}"


def _steps(check: _Check, emulate: bool) -> list[Step[Results]]:
    if emulate:
        emulated()
    return check.steps()


def _failed(results: Results, step: str, why: str) -> None:
    results.failed.append(f"{step}: {why}")
    print(results.failed[-1], file=sys.stderr)


def _answers() -> bool:
    """Whether the device does."""
    try:
        all_done()
    except ConvcError:
        return False
    return True


def _written(output: Path, text: str) -> None:
    """The file as a whole or as it was; where it cannot be written, what was found is told all the same."""
    whole = output.with_name(f"{output.name}.new")
    try:
        whole.write_text(text, encoding="utf-8")
        os.replace(whole, output)
    except OSError as error:
        whole.unlink(missing_ok=True)
        print(f"{text}\n{output} cannot be written: {error.strerror}; it would read as above", file=sys.stderr)


def _for_another(prepared: list[Case], found: Gpu) -> str:
    """Why the GPU does not run what was prepared, if so."""
    try:
        for case in prepared[:1]:
            check_code(case.artifact.library().code, found, case.folder)
    except ArtifactError as error:
        return f"{str(error).partition(';')[0]}; make gpu-prepare ARCH=... for it"
    return ""


def main(words: list[str] | None = None) -> int:
    """Returns: the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what prepare left")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--emulate", action="store_true")
    asked = parser.parse_args(words)
    check = _Check.within(asked.folder, TINY if asked.emulate else FULL, asked.seconds)
    if not asked.folder.is_dir():
        print(f"{asked.folder} is not there; make gpu-prepare makes it, where nvcc is, and it is copied here", file=sys.stderr)
        return 3
    prepared = cases(asked.folder)
    if not asked.emulate:
        try:
            found = gpu()
        except BackendMissing as error:
            why, folder = str(error).partition(";")[0], asked.folder
            _written(asked.output, no_gpu(why, prepared, planned(folder), folder))
            print(f"{why}; --emulate tries the script itself; {asked.output} says so", file=sys.stderr)
            return 5
        if why := _for_another(prepared, found):
            print(why, file=sys.stderr)
            return 3
    return _run(check, asked.output, Results([EMULATED, *described(False)] if asked.emulate else described(True)), asked.emulate)


def _run(check: _Check, output: Path, results: Results, emulate: bool) -> int:
    if not cases(check.folder):
        results.failed.append(f"{check.folder} holds no case; run prepare first")
    code = 0
    try:
        for found in supervised(Work(_steps, (check, emulate), _failed, _answers), results):
            results = found
            _written(output, results.text())
    except KeyboardInterrupt:
        results.left_out.append("interrupted: whatever is not above")
        code = 130
    if not emulate:
        results.machine = [*results.machine, *clocks()]
    _written(output, results.text())
    print(f"wrote {output}", file=sys.stderr)
    return code or (1 if results.failed else 0)


if __name__ == "__main__":
    sys.exit(main())
