"""Make the files of this folder: what PyTorch's two exporters leave behind, in nets of 4 to 32 channels with random weights.

    python tests/data/torch/make.py [NAME ...]          wants torch, onnx, onnxscript, onnxruntime

`NET_tsN.onnx` is from the TorchScript exporter at opset N, `NET_dynamoN.onnx` from the torch.export one. Beside each lies a .npz with
its inputs and what torch answered, float32 unless said, under the names of the graph's inputs and outputs. Where a dimension is free there
is a second run of other sizes, under the same names followed by `.2`. Of the quantized files, `logits` is what onnxruntime answered with
its own rewrites off (another order of sums may move a value by one quantum), and `logits.float` what torch said of the unquantized net.
Every file is run in onnxruntime before it is kept.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nets
import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).parent
LIMIT = 200_000  # bytes of one file
AGREE = 1e-5  # of the largest value of an output


@dataclass(frozen=True)
class Case:
    """One file: a net, an exporter ("ts" or "dynamo") with its opset, the free dimensions, and the input's sizes."""

    net: type[nn.Module]
    exporter: str
    opset: int
    free: tuple[str, ...] = ("batch",)  # names of the leading dimensions that are free; "" leaves one fixed
    size: tuple[int, ...] = (2, 3, 16, 16)
    again: tuple[int, ...] = (3, 3, 16, 16)  # sizes of the second run; () for none
    outputs: tuple[str, ...] = ("logits",)
    more: dict[str, object] = field(default_factory=dict)
    after: Callable[[Path], None] | None = None


SPATIAL = {"free": ("batch", "", "height", "width"), "size": (1, 3, 21, 18), "again": (2, 3, 17, 27)}
EVAL_WITH_BN = {"training": torch.onnx.TrainingMode.PRESERVE}  # leaves BatchNormalization unfolded
MASK_OUTPUTS = {"outputs": ("logits", "best", "top")}


def quantize(path, per_channel, form="QDQ"):
    """Quantized by onnxruntime, calibrated on eight random images: pairs around each node (QDQ), or QLinearConv and its like (QOperator)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):
        images = iter(np.random.default_rng(5).standard_normal((8, 2, 3, 16, 16), dtype=np.float32))

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"image": image}

    quantize_static(
        path, path, Images(), quant_format=QuantFormat[form], per_channel=per_channel,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip


CASES = {
    "view_ts7": Case(nets.ViewHead, "ts", 7),
    "view_ts11_bn": Case(nets.ViewHead, "ts", 11, more=EVAL_WITH_BN),
    "view_dynamo18": Case(nets.ViewHead, "dynamo", 18),
    "unet_ts13": Case(nets.UNet, "ts", 13, **SPATIAL),
    "unet_dynamo20": Case(nets.UNet, "dynamo", 20, **SPATIAL),
    "resize_ts9": Case(nets.OldResizing, "ts", 9, more={"keep_initializers_as_inputs": True}),
    "resize_ts11": Case(nets.Resizing, "ts", 11, **SPATIAL),
    "resize_dynamo20": Case(nets.Resizing, "dynamo", 20, **SPATIAL),
    "norms_ts13": Case(nets.Norms, "ts", 13),
    "norms_dynamo21": Case(nets.Norms, "dynamo", 21),
    "mobile_ts11": Case(nets.Mobile, "ts", 11),
    "mobile_dynamo20_raw": Case(nets.Mobile, "dynamo", 20, more={"optimize": False}),
    "shuffle_ts13": Case(nets.Shuffles, "ts", 13),
    "shuffle_dynamo20": Case(nets.Shuffles, "dynamo", 20, **SPATIAL | {"size": (1, 3, 16, 20), "again": (2, 3, 12, 8)}),
    "pads_ts11": Case(nets.Pads, "ts", 11),
    "pads_dynamo20": Case(nets.Pads, "dynamo", 20),
    "activations_ts17": Case(nets.Activations, "ts", 17),
    "activations_dynamo22": Case(nets.Activations, "dynamo", 22),
    "masks_ts17": Case(nets.Masks, "ts", 17, **MASK_OUTPUTS),
    "masks_dynamo20": Case(nets.Masks, "dynamo", 20, **MASK_OUTPUTS),
    "pools_ts12_bn": Case(nets.Pools, "ts", 12, free=(), size=(2, 3, 20, 20), again=(), more=EVAL_WITH_BN),
    "pools_dynamo20": Case(nets.Pools, "dynamo", 20, size=(2, 3, 20, 20), again=(3, 3, 20, 20)),
    "pools_uneven_dynamo20": Case(nets.Pools, "dynamo", 20, size=(2, 3, 18, 18), again=(3, 3, 18, 18)),
    "anchors_ts16": Case(nets.Anchors, "ts", 16, **SPATIAL),
    "anchors_dynamo20": Case(nets.Anchors, "dynamo", 20, **SPATIAL),
    "transformer_ts14": Case(nets.Transformer, "ts", 14),
    "transformer_dynamo23": Case(nets.Transformer, "dynamo", 23),
    "choice_dynamo20": Case(nets.Choice, "dynamo", 20),
    "external_dynamo20": Case(nets.ViewHead, "dynamo", 20, more={"external_data": True}),
    "qdq_tensor_ts13": Case(nets.ViewHead, "ts", 13, after=lambda path: quantize(path, False)),
    "qlinear_ts13": Case(nets.ViewHead, "ts", 13, after=lambda path: quantize(path, False, "QOperator")),
    "qdq_channel_ts17": Case(nets.Mobile, "ts", 17, after=lambda path: quantize(path, True)),
}


def build(case):
    """The net in eval mode, its batch norms with statistics as after training."""
    torch.manual_seed(7)
    net = case.net().eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                (
                    part.running_mean.normal_(0, 0.2),
                    part.running_var.uniform_(0.5, 1.5),
                    part.weight.uniform_(0.6, 1.4),
                    part.bias.normal_(0, 0.2),
                )
    return net


def export(case, net, image, path):
    free = {axis: name for axis, name in enumerate(case.free) if name}
    names = {"input_names": ["image"], "output_names": list(case.outputs), "opset_version": case.opset}
    if case.exporter == "ts":
        outward = {label: {0: "batch"} if free else {} for label in case.outputs}
        outward |= {"logits": free} if len(free) > 1 else {}
        torch.onnx.export(net, (image,), path, dynamo=False, dynamic_axes={"image": free, **outward}, **names, **case.more)
    else:
        dims = {axis: torch.export.Dim.DYNAMIC if name != "batch" else torch.export.Dim(name) for axis, name in free.items()}
        more = {"external_data": False} | case.more
        torch.onnx.export(net, (image,), path, dynamo=True, dynamic_shapes=(dims,), verbose=False, **names, **more)


def without_folders(path):
    """The exporters write whole paths of the source lines into node metadata; only the file's own name is kept."""
    model = onnx.load(path, load_external_data=False)

    def clean(graph):
        for node in graph.node:
            for entry in node.metadata_props:
                entry.value = re.sub(r'File "[^"]*/', 'File "', entry.value)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    clean(attribute.g)

    clean(model.graph)
    onnx.save(model, path)


def answers(path, image):
    """What onnxruntime says, its own rewrites off, so that the file is judged and not them."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image.numpy()})


def make(name, case):
    """Write one file and its .npz; refuse one that is too large or that onnxruntime reads otherwise than torch meant it."""
    path = HERE / f"{name}.onnx"
    net, seed = build(case), torch.Generator().manual_seed(11)
    export(case, net, torch.randn(case.size, generator=seed), path)
    without_folders(path)
    if case.after:
        case.after(path)
    arrays, worst = {}, 0.0
    for run, size in (("", case.size), (".2", case.again)):
        if not size:
            continue
        image = torch.randn(size, generator=seed)
        with torch.no_grad():
            outputs = net(image)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        arrays[f"image{run}"] = image.numpy()
        for label, meant, got in zip(case.outputs, outputs, answers(path, image), strict=True):
            gap = float(np.abs(got - meant.numpy()).max() / max(np.abs(meant.numpy()).max(), 1e-6))
            worst = max(worst, gap)
            arrays[f"{label}{run}"] = got if case.after else meant.numpy()
            if case.after:
                arrays[f"{label}.float{run}"] = meant.numpy()
    np.savez(path.with_suffix(".npz"), **arrays)
    bound = 0.2 if case.after else AGREE
    size = path.stat().st_size
    model = onnx.load(path, load_external_data=False)
    print(f"{name:22} {size:7} bytes {len(model.graph.node):4} nodes  gap {worst:.1e}", sorted({node.op_type for node in model.graph.node}))
    if worst > bound or size > LIMIT:
        raise SystemExit(f"{name}: gap {worst:.1e} of at most {bound:.0e}, {size} bytes of at most {LIMIT}.")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the exporters warn about each other
    for wanted in sys.argv[1:] or CASES:
        make(wanted, CASES[wanted])
