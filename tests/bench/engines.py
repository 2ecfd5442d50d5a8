"""convc against its peers on whole networks: `python tests/bench/engines.py [NETWORK|FILE.onnx ...] [--all]` writes RESULTS.md beside this
file.

A cell is a network at a batch and a number of threads: one `convc bench`, in which engines take turns. Peers get convc's export at -O0 and
at -O2, with all their own optimizations on, and the faster counts. Cells are kept as they are measured, in build/bench/engines.jsonl, and
none is measured twice: what was interrupted, or stopped by --minutes, goes on where it was. --fresh forgets them.

A FILE.onnx, such as what PyTorch exports of a network that the zoo has not, is a network too, and another one once its bytes are others. One
that has no name for its batch is refused in cells of another.

A cell takes 20 to 60 seconds on two cores, most of it to compile: the networks with bars some 40 minutes, --all about two hours.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

from convc.backends.tvm.host import host_cpu
from convc.compiler.bench.roofs import bandwidth
from convc.models import ZOO

HERE = Path(__file__).parent
CELLS = HERE.parent.parent / "build" / "bench" / "engines.jsonl"
CLASSIC = ("vgg16", "resnet18", "resnet50_v1_5", "googlenet")
BROUGHT = (  # what people bring
    *("regnet_y_400mf", "regnet_x_800mf", "shufflenet_v2", "efficientnet_b0", "efficientnet_v2_s", "mobilenet_v3_large"),
    *("mobilenet_v3_small", "convnext_tiny", "vit_b_16", "yolo_v8n"),
)
NETWORKS = (*CLASSIC, *BROUGHT)
BARS = {"vgg16": 2.5, "resnet18": 1.7, "resnet50_v1_5": 1.2, "googlenet": 1.3}  # of the fastest peer's time over convc's; 1.0 for others
MEAN = 1.25  # geometric, over BROUGHT and files, of one image on two threads or more
ONE_THREAD = 0.9  # of the bar
PEERS = {"onnx": "onnxruntime", "openvino": "OpenVINO", "torch": "torch.compile"}
Cell = dict[str, Any]


def bar(network: str, batch: int, threads: int) -> float:
    return (BARS.get(network, 1.0) if batch == 1 else 1.0) * (ONE_THREAD if threads == 1 else 1.0)


def named(network: str) -> str:
    """A file by its name and its bytes, so that what was measured of others is not taken for it."""
    path = Path(network)
    return network if network in ZOO else f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def brought(cells: list[Cell]) -> list[Cell]:
    """Those whose geometric mean has a bar."""
    ours = [cell for cell in cells if cell["network"] in BROUGHT or cell["network"] not in ZOO]
    return [cell for cell in ours if "times" in cell and cell["batch"] == 1 and cell["threads"] > 1]


def mean_ratio(cells: list[Cell]) -> float:
    return math.exp(sum(math.log(ratio(cell)) for cell in cells) / len(cells))


def engines(with_torch: bool) -> list[str]:
    """Torch compiles a network for a minute, so it must be asked for."""
    peers = ["onnx", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    return ["tvm", *(f"{peer}@{level}" for peer in peers for level in (0, 2)), *(["torch"] if with_torch else [])]


def measured(network: str, batch: int, threads: int, backends: list[str], runs: int) -> Cell:
    """A cell, or the word of the refusal where an engine cannot run the network."""
    words = [network, "-b", ",".join(backends), "--batch", str(batch), "--threads", str(threads), "--runs", str(runs), "--json"]
    done = subprocess.run([sys.executable, "-m", "convc", "bench", *words], capture_output=True, text=True)
    cell: Cell = {"network": named(network), "batch": batch, "threads": threads}
    if done.returncode:
        return cell | {"error": done.stderr.strip().splitlines()[-1]}
    report = json.loads(done.stdout)
    times = {engine["engine"]: engine["p50_ms"] for engine in report["engines"]}
    share = report["engines"][0]["peak_share"]
    return cell | {
        "times": times,
        "peak": report["peak_gflops"],
        "share": share,
        "versions": report["versions"],
        "processor": report["processor"],
    }


def caches() -> str:
    """Of the first processor, as Linux tells them."""
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        found += [f"L{level} {size[:-1]} {size[-1]}iB"] if kind != "Instruction" else []
    return ", ".join(found)


def ratio(cell: Cell) -> float:
    return min(ms for name, ms in cell["times"].items() if name != "tvm") / cell["times"]["tvm"]


def row(cell: Cell, peers: list[str]) -> str:
    if "error" in cell:
        return f"| {cell['network']} | {cell['error']} |" + " |" * (len(peers) + 3)
    best = {peer: min((ms for name, ms in cell["times"].items() if name.split("@")[0] == peer), default=None) for peer in peers}
    times = [cell["times"]["tvm"], *best.values()]
    shown = ["-" if ms is None else f"{ms:.2f}" if ms >= 0.1 else f"{ms:.4f}" for ms in times]
    least = bar(cell["network"], cell["batch"], cell["threads"])
    verdict = f"{ratio(cell):.2f}" + ("" if ratio(cell) >= least else " *")
    return f"| {cell['network']} | {' | '.join(shown)} | {verdict} | {least:.2g} | {cell['share']:.0%} |"


def report(cells: list[Cell], bandwidths: dict[str, float]) -> str:
    """RESULTS.md."""
    good = [cell for cell in cells if "times" in cell]
    versions = {name: number for cell in good for name, number in cell["versions"].items()}
    peaks = {threads: max(cell["peak"] for cell in good if cell["threads"] == threads) for threads in sorted({c["threads"] for c in good})}
    peers = [peer for peer in PEERS if any(name.split("@")[0] == peer for cell in good for name in cell["times"])]
    lines = [
        "# convc against its peers",
        "",
        f"{good[0]['processor'] if good else platform.machine()}, {os.cpu_count()} processors ({host_cpu()} to LLVM), {caches()}. Measured here: "
        + ", ".join(f"{peak:.0f} GFLOP/s of independent multiply-adds on {threads} threads" for threads, peak in peaks.items())
        + "; "
        + ", ".join(f"{speed:.0f} GB/s read from memory on {threads}" for threads, speed in sorted(bandwidths.items()))
        + f". Python {platform.python_version()}; {', '.join(f'{name} {number}' for name, number in sorted(versions.items()))}.",
        "",
        "Float32, milliseconds: medians of interleaved turns, each engine in a process of its own. A peer's time is the better of convc's export",
        "at -O0 and at -O2. Ratio: the fastest peer's time over convc's; * where it misses the bar. Of peak: convc's share of the multiply-adds",
        "above, counted as direct convolutions do, so that Winograd may exceed 100%. Written by `python tests/bench/engines.py`.",
    ]
    if these := brought(cells):
        lines += [
            "",
            f"Networks that people bring, {len(these)} of one image on several threads: {mean_ratio(these):.2f} in the geometric mean of their ratios"
            + ("." if mean_ratio(these) >= MEAN else f", which misses {MEAN:g}."),
        ]
    for threads, batch in sorted({(cell["threads"], cell["batch"]) for cell in cells}, key=lambda key: (key[1], -key[0])):
        head = ["network", "convc", *(PEERS[peer] for peer in peers), "ratio", "bar", "of peak"]
        lines += ["", f"## Batch {batch}, {threads} threads", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        lines += [row(cell, peers) for cell in cells if (cell["threads"], cell["batch"]) == (threads, batch)]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="of the zoo, or files; those with bars if none is given")
    parser.add_argument("--all", action="store_true", help="the whole zoo")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--runs", type=int, default=10, help="turns of each engine")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after so many; the next call goes on")
    parser.add_argument("--torch", action="store_true", help="torch.compile too, which takes a minute a cell")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    if absent := [network for network in given.networks if network not in ZOO and not Path(network).is_file()]:
        parser.error(f"{absent[0]} is no network of the zoo, and no file")
    CELLS.parent.mkdir(parents=True, exist_ok=True)
    if given.fresh:
        CELLS.unlink(missing_ok=True)
    kept: list[Cell] = [json.loads(line) for line in CELLS.read_text().splitlines()] if CELLS.exists() else []
    have = {(cell["network"], cell["batch"], cell["threads"]) for cell in kept if "network" in cell}
    wanted = list(product(given.batch, given.threads, dict.fromkeys([*NETWORKS, *ZOO] if given.all else given.networks)))
    left = [(network, batch, threads) for batch, threads, network in wanted if (named(network), batch, threads) not in have]
    start = time.monotonic()

    def keep(cell: Cell) -> None:
        kept.append(cell)
        with CELLS.open("a") as file:
            file.write(json.dumps(cell) + "\n")

    def write() -> None:
        speeds = {str(cell["of"]): cell["bandwidth"] for cell in kept if "bandwidth" in cell}
        given.output.write_text(report([cell for cell in kept if "network" in cell], speeds))

    for threads in set(given.threads) - {cell["of"] for cell in kept if "bandwidth" in cell}:
        keep({"of": threads, "bandwidth": bandwidth(threads)})
    for done, (network, batch, threads) in enumerate(left):
        spent = (time.monotonic() - start) / 60
        if spent >= given.minutes:
            print(f"stopped after {spent:.0f} minutes, {len(left) - done} cells left; the same command goes on")
            break
        keep(measured(network, batch, threads, engines(given.torch), given.runs))
        spent = (time.monotonic() - start) / 60
        print(
            f"batch {batch}, {threads} threads {row(kept[-1], list(PEERS))}  {spent / (done + 1) * (len(left) - done - 1):.0f} minutes left",
            flush=True,
        )
        write()
    write()
    good = [cell for cell in kept if "times" in cell]
    missed = any(ratio(cell) < bar(cell["network"], cell["batch"], cell["threads"]) for cell in good)
    return 1 if missed or (brought(good) and mean_ratio(brought(good)) < MEAN) else 0


if __name__ == "__main__":
    sys.exit(main())
