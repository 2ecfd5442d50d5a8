"""What a compiled network takes in memory, measured: in a process of its own, since the compiler's has held much else."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .artifact import Artifact
from .engines import ENGINES
from .inputs import random_inputs

__all__ = ["Peak", "measured_peak"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK_OF_MEMORY = "5"  # what Linux forgets when this is written to clear_refs: the highest resident size


@dataclass(frozen=True, slots=True)
class Peak:
    """Units: bytes resident; `ready` with the weights packed, `run` the most that the first run for one image needs besides:
    intermediates, kernels' workspace, results.
    """

    ready: int
    run: int


def measured_peak(artifact: Artifact, threads: int | None) -> Peak | None:
    """A run of an artifact's library for a CPU; None where the system does not tell, or the process fails."""
    words = [str(artifact.path), json.dumps(dict(artifact.manifest)), json.dumps(threads)]
    done = subprocess.run([sys.executable, "-m", f"{__package__}.peak", *words], capture_output=True, text=True, check=False)
    return Peak(**json.loads(done.stdout)) if not done.returncode else None


def main() -> None:
    folder, manifest, threads = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    artifact = Artifact(Path(folder), manifest)
    run = ENGINES["tvm"].open(artifact, threads)
    inputs = random_inputs(artifact.graph())
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # or the run would take what loading has left over, and seem to need nothing
    CLEAR.write_text(PEAK_OF_MEMORY)
    ready = _resident("VmRSS")
    run(inputs)
    print(json.dumps({"ready": ready, "run": _resident("VmHWM") - ready}))


def _resident(name: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
