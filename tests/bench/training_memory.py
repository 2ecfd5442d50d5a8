"""Peak memory of a step of training beside PyTorch's: `python tests/bench/training_memory.py [NETWORK:BATCH ...]`, with torch and torchvision.

A process of its own for each engine, which loads its libraries and does nothing before the steps: the peak is what the system counts at most
(VmHWM), above what there was with the libraries loaded. So weights, state, images, results and what the libraries keep for themselves are in
it on both sides. convc runs the artifact of the step, as a user on the device does; PyTorch is eager, images as they are or channels last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from convc.tests.bench.loading import peak
from convc.tests.bench.training import CASES, RATE, Case, data, step_of_torch

BAR = 1.1  # convc's peak over the lesser of PyTorch's
STEPS = 5
OURS = {"convc": {}, "convc in place": {"in_place": True}}
THEIRS = ("eager nchw", "eager channels_last")


def write_step(case: Case, folder: Path, *, in_place: bool = False) -> None:
    import convc as cc
    from convc.compiler.compiling.compile import compile_network
    from convc.ir.binding import specialize
    from convc.ir.donation import following, in_order

    net = getattr(cc.models, case.network)()
    step = specialize(cc.training_step(net, optimizer=cc.sgd(momentum=0.9, weight_decay=5e-4)), {"N": case.batch})
    compile_network(in_order(step, following(step)) if in_place else step, folder, level=0, check=False, in_place=in_place)


def steps_of_convc(case: Case, folder: Path, threads: int) -> None:
    import convc as cc
    from convc.ir.donation import aligned
    from convc.ir.types import DTYPES

    module = cc.Module.open(folder, threads=threads)
    inputs = {node.name: node.typed for node in module.graph.inputs}
    images, labels = data(case, inputs["image"].concrete()[1:])
    carried = {
        name: aligned(np.full(t.concrete(), 0.01, DTYPES[t.dtype])) for name, t in inputs.items() if f"{name}.next" in module.graph.by_name
    }
    for _ in range(STEPS):
        results = module(**carried, image=images, label=labels, learning_rate=np.array(RATE, np.float32))
        carried = {name: results[f"{name}.next"] for name in carried}


def serve(case: Case, engine: str, folder: str, threads: int) -> dict[str, float]:
    """MiB before the steps, and at most."""
    if engine in OURS:
        from convc.backends.tvm import host

        host.tvm()
        before = peak()
        steps_of_convc(case, Path(folder), threads)
    else:
        import torch
        import torchvision  # noqa: F401  networks come from it

        torch.nn.functional.conv2d(torch.ones(1, 16, 8, 8), torch.ones(16, 16, 3, 3)).sum()  # oneDNN is loaded with its first work
        before = peak()
        step = step_of_torch(case, engine, threads)
        for _ in range(STEPS):
            step()
    return {"before": before, "peak": peak()}


def measured(name: str, engine: str, folder: str, threads: int) -> float:
    """MiB above the libraries."""
    words = [sys.executable, __file__, "--serve", name, engine, folder, str(threads)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["peak"] - found["before"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=["resnet18", "resnet20"], help="of tests/bench/training.py")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    missed = 0
    for name in given.cases:
        case, found = CASES[name], dict[str, float]()
        for engine in (*OURS, *THEIRS):
            with tempfile.TemporaryDirectory() as place:
                if engine in OURS:
                    write_step(case, Path(place) / "step", **OURS[engine])
                found[engine] = measured(name, engine, f"{place}/step", given.threads)
        ratio = found["convc"] / min(found[engine] for engine in THEIRS)
        missed += ratio > BAR
        shown = ", ".join(f"{engine} {mib:.0f}" for engine, mib in found.items())
        print(
            f"{'met   ' if ratio <= BAR else 'MISSED'} {ratio:5.2f} (bar {BAR}) {name:10} batch {case.batch:3}, {given.threads} threads, MiB: {shown}",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        name, engine, folder, threads = sys.argv[2:]
        print(json.dumps(serve(CASES[name], engine, folder, int(threads))))
        sys.exit(0)
    sys.exit(main())
