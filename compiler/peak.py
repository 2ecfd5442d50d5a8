"""What a compiled network takes in memory, measured: in a process of its own, since the compiler's has held much else."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .artifact import Artifact
from .engines.tvm import TVM
from .inputs import random_inputs

__all__ = ["Peak", "measured_peak"]

STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Peak:
    """Units: bytes resident: `run` what the first run for one image allocates, that is intermediates, kernels' workspace and results;
    `process` the most of the whole process, with Python, TVM and the packed weights.
    """

    run: int
    process: int


def measured_peak(artifact: Artifact, threads: int | None) -> Peak | None:
    """A run of an artifact's library for a CPU; None where the system does not tell, or the process fails."""
    what = json.dumps({"path": str(artifact.path), "manifest": dict(artifact.manifest), "threads": threads})
    done = subprocess.run([sys.executable, "-m", f"{__package__}.peak"], input=what, capture_output=True, text=True, check=False)
    return Peak(**json.loads(done.stdout)) if not done.returncode else None


def main() -> None:
    what = json.load(sys.stdin)
    artifact = Artifact(Path(what["path"]), what["manifest"])
    run = TVM.open(artifact, what["threads"])
    inputs = random_inputs(artifact.structure())
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # or the run would take what loading has left over, and seem to need nothing
    before = _resident("RssAnon")
    results = run(inputs)
    print(json.dumps({"run": _resident("RssAnon") - before, "process": _resident("VmHWM")}))
    del results


def _resident(name: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
