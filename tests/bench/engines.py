"""convc against its peers on whole networks: `python tests/bench/engines.py [NETWORK ...]` writes RESULTS.md beside this file.

Every measurement is a process of its own, since threads of one engine that wait by spinning slow the next one down; the engines take
turns, round by round, and the median of the rounds' medians counts. Peers get convc's export at -O0 and at -O2, with all their own
optimizations on, and the faster counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NETWORKS = ("vgg16", "resnet18", "resnet50_v1_5", "googlenet")
BARS = {"vgg16": 2.5, "resnet18": 1.7, "resnet50_v1_5": 1.2, "googlenet": 1.3}  # of the fastest peer's time over convc's; 1.0 for others
ENGINES = (("tvm", 2), ("onnx", 0), ("onnx", 2), ("openvino", 0), ("openvino", 2))
ROUNDS = 3


def once(network: str, engine: str, level: int, threads: int, batch: int) -> tuple[float, dict[str, str]] | None:
    """Median milliseconds of a process, and its versions; None where the engine is not here or cannot run the network."""
    words = ["bench", network, "--backends", engine, "-O", str(level), "--threads", str(threads), "--batch", str(batch), "--json"]
    done = subprocess.run([sys.executable, "-m", "convc", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    report = json.loads(done.stdout)
    return report["engines"][0]["median"], report["versions"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    rows, versions, missed = [], {}, 0
    for network in given.networks:
        taken: dict[tuple[str, int], list[float]] = {}
        for _ in range(ROUNDS):
            for engine, level in ENGINES:
                if (found := once(network, engine, level, given.threads, given.batch)) is not None:
                    taken.setdefault((engine, level), []).append(found[0])
                    versions |= found[1]
        medians = {key: statistics.median(values) for key, values in taken.items()}
        ours = medians[("tvm", 2)]
        peers = {name: min(ms for (engine, _), ms in medians.items() if engine == name) for name in {e for e, _ in medians} - {"tvm"}}
        ratio, bar = min(peers.values()) / ours, BARS.get(network, 1.0)
        missed += ratio < bar
        cells = [f"{peers[name]:.2f}" if name in peers else "-" for name in ("onnx", "openvino")]
        rows.append(f"| {network} | {ours:.2f} | {' | '.join(cells)} | {ratio:.2f} | {bar} |")
        print(rows[-1], flush=True)
    head = [
        "# convc against its peers",
        "",
        f"Float32, batch {given.batch}, {given.threads} threads, {platform.machine()} with {os.cpu_count()} processors, Python "
        f"{platform.python_version()}; {', '.join(f'{name} {number}' for name, number in sorted(versions.items()))}. Milliseconds: the",
        f"median of {ROUNDS} rounds of a process each; the peers' time is the better of -O0 and -O2. Ratio: the fastest peer's over convc's.",
        "Written by `python tests/bench/engines.py`.",
        "",
        "| network | convc | onnxruntime | OpenVINO | ratio | bar |",
        "|---|---|---|---|---|---|",
    ]
    given.output.write_text("\n".join([*head, *rows, ""]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
