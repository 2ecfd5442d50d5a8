"""Loading an artifact and its peak memory, from Python and from C: `python tests/bench/loading.py [NETWORK...]`.

Bars: at most 0.5 s; at most 1.5 times the weights as stored, plus the arena: by weights.safetensors, and by weights.packed, in which Winograd's
are up to four times as large. A process of its own for each figure. TVM's import is not part of loading: it is printed beside.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from convc import models
from convc.backends.tvm import host
from convc.backends.tvm.library.c_interface import c_flags
from convc.compiler.compiling.compile import compile_network
from convc.compiler.engines.table import ENGINES
from convc.compiler.files.artifact import Artifact
from convc.compiler.files.inputs import random_inputs
from convc.compiler.targets.target import PACKED
from convc.passes.analysis.memory import plan_memory

NETWORKS = ("resnet50", "vgg16")
MIB = 1 << 20


def peak() -> float:
    """Units: MiB. Not `ru_maxrss`, which a process has from the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def one(folder: Path) -> dict[str, float]:
    """In this process, which did nothing else."""
    host.tvm()
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    artifact = Artifact.open(folder)
    run = ENGINES["tvm"].open(artifact, None)
    figures = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "before": before}
    inputs = random_inputs(artifact.structure())
    for _ in range(3):
        run(inputs)
    return {**figures, "peak": peak()}


def from_c(folder: Path) -> tuple[float, float]:
    """Seconds of a whole process that loads, runs once and ends, and its peak in MiB."""
    subprocess.run(["cc", "-O2", "example.c", "convc.c", *c_flags(), "-o", "../example"], cwd=folder, check=True)
    inputs = random_inputs(Artifact.open(folder).structure())
    given = []
    for i, array in enumerate(inputs.values()):
        given.append(str(folder.parent / f"in{i}"))
        np.ascontiguousarray(array).tofile(given[-1])
    outputs = [str(folder.parent / f"out{i}") for i in range(len(Artifact.open(folder).structure().outputs))]
    words = ["../example", ".", str(host.physical_cores()), "1", *given, *outputs]
    script = (
        "import resource, subprocess, sys, time\nt = time.perf_counter()\nsubprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=folder, check=True, capture_output=True, text=True)
    seconds, most = map(float, done.stdout.split())
    return seconds, most


def row(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "net"
        artifact = compile_network(models.ZOO[name].network(), folder, check=False)
        done = subprocess.run([sys.executable, __file__, "--one", str(folder)], check=True, capture_output=True, text=True)
        figures = json.loads(done.stdout)
        seconds, most = from_c(folder)
        arena = plan_memory(artifact.structure()).arena / MIB
        weights = (folder / "weights.safetensors").stat().st_size / MIB
        packed = (folder / PACKED).stat().st_size / MIB
        sizes = [weights, packed, arena, 1.5 * weights + arena, 1.5 * packed + arena]
        loading = f"{figures['seconds']:8.2f}{figures['cpu']:8.2f}{figures['before']:8.0f}{figures['peak']:8.0f}"
        print(f"{name:14}{''.join(f'{size:8.0f}' for size in sizes)} {loading} {seconds:8.2f}{most:8.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(Path(sys.argv[2]))))
    else:
        sizes, loading = ("weights", "packed", "arena", "bar", "or"), ("load", "cpu", "import", "peak")
        print(f"{'MiB, seconds':14}{''.join(map('{:>8}'.format, sizes))} {''.join(map('{:>8}'.format, loading))} {'C':>8}{'peak':>8}")
        for name in sys.argv[1:] or NETWORKS:
            row(name)
