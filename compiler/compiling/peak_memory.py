"""What a compiled network takes in memory, measured: in a process of its own, since the compiler's has held much else."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from ..engines.tvm import TVM
from ..files.artifact import Artifact
from ..files.inputs import random_inputs
from ..targets.table import built_of
from ..targets.target import Peak

__all__ = ["measured_peak"]

STATUS = Path("/proc/self/status")


def measured_peak(artifact: Artifact, threads: int | None) -> Peak | None:
    """A run of a draft's library for a CPU; None where the system does not tell, or the process fails."""
    what = json.dumps({"path": str(artifact.path), "target": artifact.target.record(), "threads": threads})
    done = subprocess.run([sys.executable, "-m", f"{__package__}.peak_memory"], input=what, capture_output=True, text=True, check=False)
    return Peak(**json.loads(done.stdout)) if not done.returncode else None


def main() -> None:
    what = json.load(sys.stdin)
    artifact = Artifact.draft(Path(what["path"]), built_of(what["target"]))
    run = TVM.open(artifact, what["threads"])
    inputs = random_inputs(artifact.structure())
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # or the run would take what loading has left over, and seem to need nothing
    before = _resident("RssAnon")
    results = run(inputs)
    print(json.dumps(asdict(Peak(_resident("RssAnon") - before, _resident("VmHWM")))))
    del results


def _resident(name: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
