"""The figures this project promises, measured: `make bench`. Medians of several runs; whole processes where it says so."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5
TWO_THREADS = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}


def whole_process(*words: str) -> tuple[float, float]:
    """Median wall seconds and greatest peak MiB of `convc words` as a process."""
    seconds, peaks = [], []
    probe = (
        "import resource,subprocess,sys,time\n"
        "t=time.perf_counter()\n"
        "subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)\n"
        "print(time.perf_counter()-t,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024)"
    )
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", probe, sys.executable, "-m", "convc", *words], capture_output=True, text=True, check=True
        )
        wall, peak = map(float, done.stdout.split())
        seconds.append(wall)
        peaks.append(peak)
    return statistics.median(seconds), max(peaks)


def interpreter(name: str) -> tuple[float, float]:
    """Median seconds of one float32 run of the reference with 2 threads, and the process's peak MiB."""
    code = (
        "import resource,statistics,time\nimport convc as cc\n"
        "from convc.backends import reference\nfrom convc.compiler.files.inputs import random_inputs\n"
        f"net=cc.models.{name}(); x=random_inputs(net); reference.run(net,x); s=[]\n"
        f"for _ in range({RUNS}):\n    t=time.perf_counter(); reference.run(net,x); s.append(time.perf_counter()-t)\n"
        "print(statistics.median(s),resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=TWO_THREADS)
    wall, peak = map(float, done.stdout.split())
    return wall, peak


def deepest() -> tuple[float, float, float]:
    """Median seconds from the words of resnet152 to its -O2 graph; MiB of its weights, and of the whole trace with all of its weights."""
    code = (
        "import gc,statistics,time,tracemalloc\nimport convc as cc\n"
        "s=[]\n"
        f"for _ in range({RUNS}):\n    t=time.perf_counter(); cc.optimize(cc.models.resnet152(),2); s.append(time.perf_counter()-t)\n"
        "gc.collect(); tracemalloc.start()\n"
        "net=cc.models.resnet152(); one=sum(p.weights.array().nbytes for p in net.params); better,trace=cc.optimize(net,2)\n"
        "for stage in trace:\n    [p.weights.array() for p in stage.graph.params]\n"
        "gc.collect(); print(statistics.median(s),one/2**20,tracemalloc.get_traced_memory()[0]/2**20)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, weights, trace = map(float, done.stdout.split())
    return seconds, weights, trace


def checking(engine: str, what: str) -> tuple[float, float]:
    """Seconds of checking resnet50 on an engine, and the process's peak MiB: `noise` end to end, `nodes` value by value. TVM's compiling counts."""
    code = (
        "import resource,time\nimport convc as cc\n"
        "from convc.compiler.engines.table import ENGINES\nfrom convc.compiler.files.inputs import random_inputs\n"
        "from convc.compiler.checking.node_bounds import check_nodes\n"
        "from convc.compiler.checking.oracle import Oracle, compare\n"
        "net,_=cc.optimize(cc.models.resnet50(),2); x=random_inputs(net); [p.weights.array() for p in net.params]\n"
        "t=time.perf_counter()\n"
        + (
            f"lines=compare('{engine}',Oracle.of(net,x,tiles=ENGINES['{engine}'].tiles(net)),ENGINES['{engine}'].start(net,2)(x))\n"
            if what == "noise"
            else f"lines=[check_nodes(net,ENGINES['{engine}'],x,2)]\n"
        )
        + "assert all(line.agrees for line in lines), lines\n"
        "print(time.perf_counter()-t,resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=TWO_THREADS)
    wall, peak = map(float, done.stdout.split())
    return wall, peak


def checking_passes() -> float:
    """Seconds that --verify-each adds to the passes of resnet50 at -O2, the float64 oracle included."""
    code = (
        "import time\nimport convc as cc\nfrom convc.compiler.checking.pass_check import PassCheck\n"
        "from convc.compiler.engines.onnxruntime import ONNXRUNTIME\nfrom convc.passes.pipelines import LEVELS\nfrom convc.passes.manager import run_passes\n"
        "net=cc.models.resnet50(); [p.weights.array() for p in net.params]\n"
        "t=time.perf_counter(); run_passes(net,LEVELS[2],ONNXRUNTIME.prices); u=time.perf_counter()\n"
        "_,trace=run_passes(net,LEVELS[2],ONNXRUNTIME.prices,check=PassCheck(net)); v=time.perf_counter()\n"
        "assert not any(stage.problem for stage in trace)\nprint((v-u)-(u-t))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=TWO_THREADS)
    return float(done.stdout)


def main() -> int:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rows.append(("convc summary vgg16, whole process", *whole_process("summary", "vgg16"), 1.5, 250))
        rows.append(
            ("convc export resnet50, whole process", *whole_process("export", "resnet50", "-o", str(Path(folder) / "r.onnx")), 3.0, None)
        )
    rows.append(("reference resnet18, float32, 2 threads", *interpreter("resnet18"), 0.5, None))
    rows.append(("reference vgg16, float32, 2 threads", *interpreter("vgg16"), 2.5, 1536))
    seconds, weights, trace = deepest()
    rows.append(("resnet152, from the DSL to -O2, its trace", seconds, trace, 1.5, round(2 * weights)))
    for engine in ("reference", "onnx", "tvm"):
        rows.append((f"resnet50 in {engine}, end to end", *checking(engine, "noise"), 15, 2048))
        rows.append((f"resnet50 in {engine}, node by node", *checking(engine, "nodes"), 15, 2048))
    rows.append(("resnet50, what --verify-each adds", checking_passes(), None, 3.0, None))
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, median of {RUNS}"
    )
    missed = 0
    for what, seconds, peak, bar_seconds, bar_peak in rows:
        met = seconds <= bar_seconds and (bar_peak is None or (peak or 0.0) <= bar_peak)
        missed += not met
        memory = (f"{peak:6.0f} MiB" if peak else "") + (f" (bar {bar_peak})" if bar_peak else "")
        print(f"{'met   ' if met else 'MISSED'}  {what:42} {seconds:6.3f} s (bar {bar_seconds})  {memory}")
    print(f"peak of this script itself: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 1 if missed else 0


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"{time.perf_counter() - started:.0f} s in all")
    sys.exit(code)
