"""What bad days befall: commands that write, in small, and how what they wrote is seen to be whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from convc.backends.tvm.store.tuned_forms import FILE, read_found
from convc.compiler.files.artifact import Artifact

__all__ = ["COMMANDS", "RUN", "Command", "complaints", "write_networks"]

NET = """graph @net(%x: f32[1,3,6,6]) {
  %w = param : f32[8,3,3,3]
  %c = conv2d(%x, %w)
  %y = relu(%c)
  return %y
}
"""
CLASSES = """graph @classes(%image: f32[N,3,6,6]) {
  %w = param : f32[4,3,3,3]
  %c = conv2d(%image, %w)
  %r = relu(%c)
  %p = global_avg_pool(%r)
  %f = flatten(%p)
  %v = param : f32[2,4]
  %y = dense(%f, %v)
  return %y
}
"""
RUN = ("run", "art", "-o", "out.npz")


def write_networks(folder: Path) -> None:
    """Two networks, and a few pictures of two classes."""
    from PIL import Image

    (folder / "net.cir").write_text(NET)
    (folder / "classes.cir").write_text(CLASSES)
    for name, level in (("dark", 0), ("light", 200)):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((6, 6, 3), level + 10 * number, np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")


def _artifact(path: Path) -> str:
    artifact = Artifact.at(path)
    if artifact is None:
        return "the artifact is gone"
    artifact.check().structure()
    return ""


def _onnx(path: Path) -> str:
    from convc.backends.onnx.read.importer import read_graph

    read_graph(path)
    return ""


def _tuned(path: Path) -> str:
    return read_found(path)[1]


def _weights(path: Path) -> str:
    from convc.compiler.files.weights import load_arrays

    load_arrays(path)
    return ""


def _checkpoint(path: Path) -> str:
    from convc.compiler.training.checkpoint import read_checkpoint

    read_checkpoint(path)
    return ""


def _lines(path: Path) -> str:
    for line in path.read_text().splitlines():
        json.loads(line)
    return ""


def _picture(path: Path) -> str:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
    return ""


def _ends(mark: str) -> Callable[[Path], str]:
    return lambda path: "" if path.read_text().rstrip().endswith(mark) else f"{path.name} does not end with {mark}"


@dataclass(frozen=True)
class Command:
    """`words`, and for each file that they write what is wrong with one, by looking: "" or an exception for nothing and something."""

    words: Sequence[str]
    files: Mapping[str, Callable[[Path], str]] = field(default_factory=dict[str, Callable[[Path], str]])


TRAIN = ("train", "classes.cir", "--data", "pictures", "-o", "w.safetensors", "-b", "reference", "--epochs", "2", "--batch", "2")
COMMANDS = {
    "compile": Command(("compile", "net.cir", "-o", "art", "--threads", "1"), {"art": _artifact}),
    "export": Command(("export", "net.cir", "-o", "net.onnx"), {"net.onnx": _onnx}),
    "tune": Command(("tune", "net.cir", "--trials", "2", "--database", "."), {FILE: _tuned}),
    "train": Command(
        TRAIN, {"w.safetensors": _weights, "w.checkpoint.safetensors": _checkpoint, "w.jsonl": _lines, "w.svg": _ends("</svg>")}
    ),
    "look": Command(("look", "gradcam", "classes.cir", "pictures/dark/0.png", "-b", "reference", "-o", "look.png"), {"look.png": _picture}),
    "report": Command(("inspect", "net.cir", "--html", "report.html"), {"report.html": _ends("</html>")}),
    "draw": Command(("draw", "net.cir", "-o", "figure.svg"), {"figure.svg": _ends("</svg>")}),
    "verify": Command(("verify", "net.cir", "-b", "onnx", "--html", "verified.html"), {"verified.html": _ends("</html>")}),
}


def complaints(folder: Path, commands: Sequence[Command]) -> str:
    """What is wrong with the first of their files that is not whole; empty if all are."""
    for command in commands:
        for name, wrong_with in command.files.items():
            try:
                if wrong := wrong_with(folder / name):
                    return wrong
            except Exception as error:
                return f"{name}: {type(error).__name__}: {error}"
    return ""
