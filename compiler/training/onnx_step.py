"""A step as a plain ONNX file, which says in its metadata what its inputs are and how they go on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ...ir.graph import Graph
from ..files.entering import Entering
from .step import NEXT, OWN

__all__ = ["README", "export_training", "training_metadata"]

README = """Feed every output NAME.next to the input NAME of the next run. Weights begin with values of yours, such as those that `convc
export MODEL -o w.safetensors` writes; velocities and other state of the optimizer begin at 0. `label` holds classes counted from 0; one
that is no class adds no loss, and nothing says so, so look before you feed it. `learning_rate` is one number, and `seed`, where there is
one, another whole number at each step. The evaluation takes the same weights and gives loss and accuracy. Any runtime of ONNX runs both;
nothing here needs onnxruntime-training. Where a step keeps averages, the evaluation takes NAME.average for NAME."""


def export_training(graph: Graph, path: Path, opset: int | None = None, entering: Entering | None = None) -> None:
    """`entering` goes along as `convc.mean`, `convc.deviation` and `convc.classes`. Raises: as `export_onnx`."""
    from ...backends.onnx.file.saving import save_model
    from ...backends.onnx.write.export import to_shell

    model, values = to_shell(graph, opset, training_metadata(graph) | ({} if entering is None else _of_pictures(entering)))
    save_model(model, path, values=values)


def _of_pictures(entering: Entering) -> dict[str, str]:
    return {f"convc.{name}": json.dumps(value) for name, value in asdict(entering).items()}


def training_metadata(graph: Graph) -> dict[str, str]:
    """What a reader of the file in C++ or JavaScript must know, lists as JSON."""
    following = {node.name for node in graph.outputs}
    carried = [node.name for node in graph.inputs if f"{node.name}{NEXT}" in following]
    names = [node.name for node in graph.inputs]
    first = max((place for place, name in enumerate(names) if name in OWN), default=-1) + 1  # they stand behind what every step is fed
    return {"convc.readme": README, "convc.carried": json.dumps(carried), "convc.weights_and_state": json.dumps(names[first:])}
