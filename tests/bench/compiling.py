"""How long it takes to compile resnet50, from nothing and from the cache of kernels: `make bench`. For loading see loading.py.

Wall seconds, the median of several runs, each in a process and (from nothing) a cache of its own; processor seconds beside them, since on a
busy machine wall time says little.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

RUNS = 3
NETWORK = "resnet50"
BUILD = """
import sys, time
import convc as cc
from convc.backends.tvm.library.build import build_cpu
from convc.backends.tvm.host import tvm
net = cc.optimize(getattr(cc.models, sys.argv[1])())[0]
tvm()
start = time.perf_counter()
built = build_cpu(net, sys.argv[2] + '/model.so')
took = time.perf_counter() - start
"""
LOAD = """
import sys, time
import convc as cc
net = getattr(cc.models, sys.argv[1])()
cc.compile  # imported
start = time.perf_counter()
module = cc.compile(net)
took = time.perf_counter() - start
"""
COMMAND = """
import subprocess, sys, time
start = time.perf_counter()
subprocess.run([sys.executable, '-m', 'convc', 'compile', *sys.argv[1:]], check=True, stderr=subprocess.DEVNULL)
took = time.perf_counter() - start
"""
REPORT = """
import json, os
spent = os.times()
print(json.dumps([took, spent.user + spent.system + spent.children_user + spent.children_system]))
"""


def process(code: str, *words: str, cache: str) -> tuple[float, float]:
    """Seconds that `code` took by its own account, and of processors for the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT, *words], check=True, capture_output=True, text=True, env=os.environ | {"CONVC_CACHE": cache}
    )
    took, spent = json.loads(done.stdout.splitlines()[-1])
    return took, spent


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        net, kept = f"{folder}/net", f"{folder}/kernels"
        command, unchecked = (COMMAND, NETWORK, "-o", net), (COMMAND, NETWORK, "-o", net, "--no-check")
        rows = [
            ("build, nothing in the cache", [process(BUILD, NETWORK, folder, cache=f"{folder}/{i}") for i in range(RUNS)], 25),
            ("convc compile, nothing in the cache", [process(*command, cache=f"{folder}/c{i}") for i in range(RUNS)], 25),
            ("build, all in the cache", [process(BUILD, NETWORK, folder, cache=kept) for _ in range(1 + RUNS)][1:], 3),
            ("cc.compile of what it has compiled before", [process(LOAD, NETWORK, cache=kept) for _ in range(1 + RUNS)][1:], 0.3),
            ("convc compile, all in the cache", [process(*command, cache=kept) for _ in range(RUNS)], None),  # mostly the check
            ("convc compile --no-check, likewise", [process(*unchecked, cache=kept) for _ in range(RUNS)], None),
        ]
    print(f"{NETWORK} on {platform.processor() or platform.machine()}, {os.cpu_count()} processors, median of {RUNS}")
    missed = 0
    for what, runs, bar in rows:
        wall, spent = (statistics.median(column) for column in zip(*runs, strict=True))
        met = bar is None or wall <= bar
        missed += not met
        shown = f"(bar {bar})" if bar else ""
        print(f"{'met   ' if met else 'MISSED'}  {what:42} {wall:6.2f} s {shown:9} {spent:6.2f} s of processors in the whole process")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
