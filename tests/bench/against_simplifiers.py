"""convc optimize beside onnxsim and OnnxSlim: nodes of what each makes of a file, and whether it still gives the same outputs.

    python tests/bench/against_simplifiers.py FILE.onnx... [--python PYTHON]

Constants are no nodes here, whether a tool keeps them as initializers or as Constant nodes. Outputs are compared with those of the
file itself in onnxruntime, its own optimizations off; by how much they differ stands after the nodes where it is over a millionth of
the largest value. The two tools are not among what convc needs: `pip install onnxsim onnxslim` into an environment of their own, and
name its interpreter. Ends with 1 where convc leaves more nodes than the better of the two, or other outputs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

SECONDS = 300
CLOSE = 1e-6  # of the largest value
ALLOWED = 1e-4  # rounding in another order, which folded weights bring
TOOLS = {
    "convc": (sys.executable, "-m", "convc", "-q", "optimize"),
    "onnxsim": ("PYTHON", "-m", "onnxsim"),
    "OnnxSlim": ("PYTHON", "-m", "onnxslim"),
}


@dataclass(frozen=True)
class Made:
    """What a tool made of a file: `nodes` None for nothing, and why. `error` is the greatest difference, of the largest value."""

    nodes: int | None
    error: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        if self.nodes is None:
            return f"- ({self.why})"
        return f"{self.nodes}" + (f" ({self.why})" if self.why else f" (off by {self.error:.0e})" if self.error > CLOSE else "")


def nodes_of(path: Path) -> int:
    graphs, count = [onnx.load(path, load_external_data=False).graph], 0
    while graphs:
        for node in graphs.pop().node:
            count += node.op_type != "Constant"
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return count


def outputs_of(path: Path, feed: dict[str, Any]) -> list[Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feed)


def feed_of(path: Path) -> dict[str, Any]:
    from convc.backends.onnx.read.importer import read_graph
    from convc.compiler.files.inputs import random_inputs

    return random_inputs(read_graph(path).graph, 0)


def difference(got: list[Any], wanted: list[Any]) -> float:
    worst = 0.0
    for a, b in zip(got, wanted, strict=True):
        if isinstance(b, list):
            worst = max(worst, difference(a, b))
        elif a.shape != b.shape or a.dtype != b.dtype:
            return float("inf")
        elif b.size and b.dtype.kind in "fiub":
            a, b = np.nan_to_num(a.astype(np.float64)), np.nan_to_num(b.astype(np.float64))
            worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)))
    return worst


def made_by(tool: str, python: str, path: Path, folder: Path, wanted: list[Any] | None, feed: dict[str, Any]) -> Made:
    out = folder / f"{tool}.onnx"
    command = [python if word == "PYTHON" else word for word in TOOLS[tool]]
    try:
        done = subprocess.run([*command, str(path), str(out)], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return Made(None, why=f"over {SECONDS} s")
    if not out.exists():
        return Made(None, why=f"ends with {done.returncode}")
    if wanted is None:
        return Made(nodes_of(out), why="the file does not run")
    try:
        return Made(nodes_of(out), difference(outputs_of(out, feed), wanted))
    except Exception as error:  # whatever onnxruntime has against it
        return Made(nodes_of(out), float("inf"), f"does not run: {str(error).splitlines()[0][:60]}")


def row(path: Path, python: str) -> tuple[list[str], bool]:
    """The cells of a file's line, and whether convc does as well as the better of the others."""
    feed: dict[str, Any] = {}
    try:
        feed = feed_of(path)
        wanted = outputs_of(path, feed)
    except Exception:  # it has no kernel for it, or convc has no inputs
        wanted = None
    with tempfile.TemporaryDirectory() as folder:
        made = {tool: made_by(tool, python, path, Path(folder), wanted, feed) for tool in TOOLS}
    own = made["convc"]
    sound = [each.nodes for tool, each in made.items() if tool != "convc" and each.nodes is not None and each.error <= ALLOWED]
    is_good = own.nodes is not None and own.error <= ALLOWED and own.nodes <= min(sound, default=own.nodes)
    return [path.name, str(nodes_of(path)), *map(str, made.values()), "" if is_good else "behind"], is_good


def main() -> int:
    parser = argparse.ArgumentParser(description="convc optimize beside onnxsim and OnnxSlim")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has onnxsim and onnxslim")
    asked = parser.parse_args()
    if subprocess.run([asked.python, "-c", "import onnxsim, onnxslim"], capture_output=True).returncode:
        print(f"{asked.python} has not both of them: pip install onnxsim onnxslim, and name its interpreter with --python", file=sys.stderr)
        return 2
    print("| file | in | convc | onnxsim | OnnxSlim | |\n|---|---|---|---|---|---|")
    behind = 0
    for path in asked.files:
        cells, is_good = row(path, asked.python)
        behind += not is_good
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n{len(asked.files)} files, {behind} behind")
    return bool(behind)


if __name__ == "__main__":
    sys.exit(main())
