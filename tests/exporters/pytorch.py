"""What PyTorch's two exporters make of networks, read, optimized and verified: `make exporters`, or some of it by name.

`static` files have every size, `batch` ones a name for the batch, `free` ones names for rows and columns too. Ends with 1 where one fails;
what PyTorch itself cannot export is listed, and is no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from convc.tests.exporters.networks import NETWORKS, Exported

SIZES = ("static", "batch", "free")
EXPORTERS = ("dynamo", "script")
AXES = "ABCHW"


def export(network: Exported, sizes: str, exporter: str, path: Path) -> None:
    torch.manual_seed(0)
    module, axes = network.make().eval(), () if sizes == "static" else (0,) if sizes == "batch" else (0, *network.free)
    shape = tuple(max(size, 2) if axis == 0 and axes else size for axis, size in enumerate(network.shape))
    image = torch.rand(shape)
    names = {axis: f"{AXES[axis]}{axis}" for axis in axes}
    given: dict[str, Any] = {}
    if exporter == "dynamo":
        given["verbose"] = False  # it says each of its steps
    if exporter == "dynamo" and names:
        given["dynamic_shapes"] = (dict.fromkeys(names, torch.export.Dim.DYNAMIC),)
    elif names:
        given["dynamic_axes"] = {"image": names}
    torch.onnx.export(module, (image,), path, input_names=["image"], dynamo=exporter == "dynamo", **given)


def convc(*words: str | Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "convc", *map(str, words)], capture_output=True, text=True, timeout=900)
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def outcome(network: Exported, sizes: str, exporter: str, folder: Path) -> tuple[bool, str]:
    path, better = folder / "net.onnx", folder / "better.onnx"
    try:
        with contextlib.redirect_stdout(None):  # of what it cannot export PyTorch prints the whole graph
            export(network, sizes, exporter, path)
    except Exception as error:
        return True, f"PyTorch does not export it: {type(error).__name__}"
    for words in (("optimize", path, better), ("verify", better)):
        code, said = convc(*words)
        if code:
            return False, f"{words[0]} ends with {code}: {said}"
    return True, "read, optimized, verified"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--sizes", choices=SIZES, action="append")
    parser.add_argument("--exporter", choices=EXPORTERS, action="append")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    failed = 0
    for name in given.networks or NETWORKS:
        for sizes in given.sizes or SIZES:
            for exporter in given.exporter or EXPORTERS:
                with tempfile.TemporaryDirectory() as folder:
                    is_fine, said = outcome(NETWORKS[name], sizes, exporter, Path(folder))
                failed += not is_fine
                print(f"{'ok  ' if is_fine else 'FAIL'} {name:28} {sizes:7} {exporter:7} {said}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
