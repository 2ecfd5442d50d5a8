"""All that `check` needs on a machine with a GPU and no network: `python -m convc.tests.gpu.prepare FOLDER [NETWORK ...]`.

Every network in its small form, in float32 and float16, against float64; some in full, compiled for the batches that are timed; and the
kernels that find the peaks. It takes hours for all on two cores; what is there already is left, so it may be interrupted. No GPU is needed, a CUDA
compiler is: without one kernels would be compiled on the other machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from convc.backends.tvm.gpus.architectures import USUAL, architecture
from convc.ir.errors import ConvcError
from convc.models import ZOO
from convc.tests.gpu.peaks import write_peak_kernels
from convc.tests.gpu.stored import FP32, Case, make

__all__ = ["main", "planned"]

TIMED = ("resnet50_v1_5", "resnet18", "vgg16", "mobilenet_v2")
BATCHES = (1, 32, 256)
TIMED_IN = ("fp16", "bf16")
CHECKED = (2,)  # images: a second one sees what one alone does not


def main(words: list[str] | None = None) -> int:
    """Returns: the exit code, 1 where a network could not be compiled."""
    from convc.tests.support.tiers import small  # where pytest is: check, which reads what is planned, runs without

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: all of the zoo")
    parser.add_argument("--target", default="cuda:sm_90", help="cuda:sm_90a: by wgmma, on an H100 or H200 alone; default: %(default)s")
    parser.add_argument("--timed", default=",".join(TIMED), help="networks to time, in full; none: ''")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)), help="images of the runs that are timed")
    asked = parser.parse_args(words)
    batches = tuple(map(int, asked.batches.split(",")))
    timed = [name for name in asked.timed.split(",") if name]
    write_peak_kernels(asked.folder, architecture(asked.target.partition(":")[2] or USUAL.name))
    failed = 0
    for case in planned(asked.folder, asked.networks or ZOO, timed, batches):
        name, begin = f"{case.network} {case.precision}", time.perf_counter()
        graph = ZOO[case.network].network() if case.is_timed else small(case.network)
        try:
            make(case, graph, asked.target)
        except ConvcError as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
            continue
        print(f"{name}{' to time' if case.is_timed else ''}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    return 1 if failed else 0


def planned(folder: Path, networks: Iterable[str] = ZOO, timed: Iterable[str] = TIMED, batches: tuple[int, ...] = BATCHES) -> list[Case]:
    """The cases of a folder, the checked ones first."""
    checked = [Case.of(name, precision, CHECKED, folder) for name in networks for precision in (FP32, "fp16")]
    return checked + [Case.of(name, precision, batches, folder, is_timed=True) for name in timed for precision in TIMED_IN]


if __name__ == "__main__":
    sys.exit(main())
