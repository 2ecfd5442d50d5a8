"""What the compiler makes of the zoo, as hashes: run it before and after a change that shall change nothing.

    python tests/bench/fingerprints.py > before.json
    python tests/bench/fingerprints.py --against before.json

Of every network, at full size, optimized at -O2 as `convc compile` does it: the text that `inspect` prints, without its times; the ONNX
file's bytes; every kernel, as TIR, for a named batch and for one image, on a processor of each kind; and TVM's module for CUDA. Of a small
form also the digits of the compiled library, whose kernels are made anew; they are those of this machine. What differs is named, exit code 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import convc as cc
from convc.backends.onnx.write.export import to_model
from convc.backends.tvm.cpu.lower import lower_plan
from convc.backends.tvm.cpu.plan import plan, single_image
from convc.backends.tvm.processor import AVX2, AVX512, SSE, ZEN, Processor
from convc.backends.tvm.stock.lower import lower
from convc.compiler.engines.tvm import TVM
from convc.ir.graph import Graph
from convc.models import ZOO

DOZEN = (
    *("lenet5", "alexnet", "vgg16", "googlenet", "resnet18", "resnet50", "resnet50_v1_5", "mobilenet_v2"),
    *("densenet121", "inception_v3", "unet_resnet18", "squeezenet1_1", "alphago", "filters"),
)
PROCESSORS = {"avx512": AVX512, "zen": ZEN, "avx2": AVX2, "sse": SSE}
TIMES = re.compile(r"\d+\.\d ms(?=  MACs|$)", re.MULTILINE)  # that a pass took
LINES = re.compile(r"(?<=\.py):\d+")  # which move with every edit of a model's file


def fingerprints(name: str) -> Iterator[tuple[str, str]]:
    """(what, hash) of one network."""
    net = getattr(cc.models, name)()
    better, trace = cc.optimize(net, 2, prices=TVM.prices)
    yield "rewrites", _hash("\n".join(f"{stage.name}: {rewrite}" for stage in trace for rewrite in stage.rewrites))
    yield "graph", _hash(LINES.sub("", cc.print_graph(better, origins=True)))
    yield "inspect", _hash(TIMES.sub("", _said("-v", "inspect", name, "-O3", "--diff")))
    yield "summary", _hash(_said("summary", name))
    yield "onnx", _hash(to_model(better).SerializeToString(deterministic=True))
    one = single_image(plan(better))
    for network in (better, one.graph) if one else (better,):
        yield from ((f"tir {word} {network.inputs[0].type}", _tir(network, processor)) for word, processor in PROCESSORS.items())
    yield "cuda", _hash(lower(better).script())
    yield "digits", _digits(getattr(cc.models, name)(**ZOO[name].small))


def _said(*words: str) -> str:
    """What a command prints, to both its streams."""
    return subprocess.run([sys.executable, "-m", "convc", *words], check=True, text=True, stdout=-1, stderr=subprocess.STDOUT).stdout


def _tir(graph: Graph, processor: Processor) -> str:
    return _hash(lower_plan(plan(graph, processor=processor)).script())


def _digits(net: Graph) -> str:
    module, draw = cc.compile(net, threads=1), np.random.default_rng(0)
    shapes = {node.name: [dim if isinstance(dim, int) else 2 for dim in node.typed.shape] for node in net.inputs}
    made: Any = module(**{name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})
    return _hash(b"".join(np.asarray(each, order="C").tobytes() for each in (made.values() if isinstance(made, dict) else [made])))


def _hash(made: str | bytes) -> str:
    return hashlib.sha256(made.encode() if isinstance(made, str) else made).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("networks", nargs="*", default=DOZEN)
    parser.add_argument("--against", type=Path)
    asked = parser.parse_args()
    found = {name: dict(fingerprints(name)) for name in asked.networks}
    if asked.against is None:
        print(json.dumps(found, indent=1))
        return
    before = json.loads(asked.against.read_text())
    differ = [f"{name}: {what} differs" for name in found for what, value in found[name].items() if before[name].get(what) != value]
    print("\n".join(differ) or f"{sum(map(len, found.values()))} fingerprints of {len(found)} networks are the same")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
