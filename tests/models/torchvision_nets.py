"""The networks of torchvision: names and shapes of their state dicts, and scores of one image, kept as data.

`python -m convc.tests.models.torchvision_nets [NETWORK ...]` writes the data anew where torch and torchvision are installed, or that of some.
Weights are drawn by name, so that the same network can be filled on both sides without a file between them.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from convc.ir.types import Array, TensorType
from convc.ir.weights import Recipe
from convc.tests.support.places import DATA

FILE = DATA / "torchvision.json.gz"
SCORES = 8  # of 1000 classes, kept for each network

# Torchvision's name: ours, and the rows of its image.
NETWORKS: dict[str, tuple[str, int]] = {
    "alexnet": ("alexnet_owt", 224),
    "vgg11": ("vgg11", 224),
    "vgg13": ("vgg13", 224),
    "vgg16": ("vgg16", 224),
    "vgg19": ("vgg19", 224),
    "vgg11_bn": ("vgg11_bn", 224),
    "vgg13_bn": ("vgg13_bn", 224),
    "vgg16_bn": ("vgg16_bn", 224),
    "vgg19_bn": ("vgg19_bn", 224),
    "googlenet": ("googlenet_bn", 224),
    "inception_v3": ("inception_v3", 299),
    "squeezenet1_0": ("squeezenet1_0", 224),
    "squeezenet1_1": ("squeezenet1_1", 224),
    "mobilenet_v2": ("mobilenet_v2", 224),
    "densenet121": ("densenet121", 224),
    "mobilenet_v3_large": ("mobilenet_v3_large", 224),
    "mobilenet_v3_small": ("mobilenet_v3_small", 224),
    "shufflenet_v2_x1_0": ("shufflenet_v2", 224),
    "regnet_x_800mf": ("regnet_x_800mf", 224),
    "regnet_y_400mf": ("regnet_y_400mf", 224),
    "efficientnet_b0": ("efficientnet_b0", 224),
    "efficientnet_v2_s": ("efficientnet_v2_s", 384),
    "convnext_tiny": ("convnext_tiny", 224),
    "convnext_small": ("convnext_small", 224),
    "convnext_base": ("convnext_base", 224),
    "convnext_large": ("convnext_large", 224),
    "vit_b_16": ("vit_b_16", 224),
    "vit_b_32": ("vit_b_32", 224),
    "vit_l_16": ("vit_l_16", 224),
    "resnet18": ("resnet18", 224),
    "resnet34": ("resnet34", 224),
    "resnet50": ("resnet50_v1_5", 224),
    "resnet101": ("resnet101_v1_5", 224),
    "resnet152": ("resnet152_v1_5", 224),
}


def kept() -> dict[str, dict[str, Any]]:
    """By torchvision's name: `names`, the shape of each entry of the state dict, and `scores`, in float64."""
    return json.loads(gzip.decompress(FILE.read_bytes()))


def draw(shapes: Mapping[str, list[int]]) -> dict[str, Array]:
    """A state dict filled by name."""
    return {name: _drawn(name, tuple(shape)) for name, shape in shapes.items()}


def _drawn(name: str, shape: tuple[int, ...]) -> Array:
    if not shape:
        return np.zeros((), np.int64)  # num_batches_tracked
    last = name.rpartition(".")[2]
    init = "around_one" if last == "running_var" else "small" if last in ("bias", "running_mean") else "auto"
    return Recipe(init, name).make(TensorType("f32", shape))


def image(size: int) -> Array:
    return np.random.Generator(np.random.SFC64(0)).random((1, 3, size, size), dtype=np.float32)


def build(name: str) -> Any:
    """Torchvision's network, its state drawn by name, ready to be asked."""
    import torch
    from torchvision import models

    heads: dict[str, bool] = {"init_weights": False, "aux_logits": True} if name in ("googlenet", "inception_v3") else {}
    net = models.get_model(name, weights=None, **heads)
    state = draw({key: list(value.shape) for key, value in net.state_dict().items()})
    net.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return net.eval()


def scores(net: Any, size: int) -> list[float]:
    """The first scores, computed in float64."""
    import torch

    with torch.no_grad():
        return net.double()(torch.from_numpy(image(size)).double())[0, :SCORES].tolist()


def write(anew: Collection[str]) -> None:
    found = kept()
    for name in anew:
        net = build(name)
        names = {key: list(value.shape) for key, value in net.state_dict().items()}
        found[name] = {"names": names, "scores": scores(net, NETWORKS[name][1])}
        print(name, len(names), found[name]["scores"][:2])
    found = {name: found[name] for name in NETWORKS}
    FILE.write_bytes(gzip.compress(json.dumps(found, separators=(",", ":")).encode(), 9, mtime=0))


if __name__ == "__main__":
    write(sys.argv[1:] or NETWORKS)
