"""Networks as people export them from PyTorch: torchvision's, built without weights, and small ones of the kinds that it has not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional

__all__ = ["NETWORKS", "Exported"]

CLASSIFIERS = (
    *("alexnet", "vgg11", "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "squeezenet1_1", "densenet121"),
    *("googlenet", "inception_v3", "shufflenet_v2_x0_5", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "efficientnet_b0"),
    *("regnet_y_400mf", "regnet_x_400mf", "convnext_tiny", "efficientnet_v2_s"),
)
SEGMENTERS = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")


@dataclass(frozen=True)
class Exported:
    """A network and the shape of an image for it. `free` are the axes that an export may leave open besides the batch: none where the
    network counts its patches once and for all.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    free: tuple[int, ...] = (2, 3)


def classifier(name: str) -> Exported:
    options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    return Exported(
        lambda: getattr(torchvision.models, name)(weights=None, **options), (1, 3, 96, 96) if name != "inception_v3" else (1, 3, 128, 128)
    )


def segmenter(name: str) -> Exported:
    def make() -> nn.Module:
        return Only("out", getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None))

    return Exported(make, (1, 3, 64, 96))


class Only(nn.Module):
    """One of the results that a network returns by name."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.name, self.network = name, network

    def forward(self, image: Any) -> Any:
        return self.network(image)[self.name]


class Pyramid(nn.Module):
    """A detector's backbone: all levels of it."""

    def __init__(self) -> None:
        super().__init__()
        backbone = torchvision.models.detection.backbone_utils.resnet_fpn_backbone
        self.network = backbone(backbone_name="resnet18", weights=None, trainable_layers=5)

    def forward(self, image: Any) -> Any:
        return tuple(self.network(image).values())


def block(c_in: int, c_out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU())


class Detector(nn.Module):
    """As YOLO v5 ends: two scales, boxes decoded on a grid, all of them in one list."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.values = classes + 5
        self.fine = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 32, 2))
        self.coarse = nn.Sequential(block(32, 64, 2), nn.MaxPool2d(5, 1, 2))
        self.merged = block(96, 32)
        self.heads = nn.ModuleList(nn.Conv2d(c, 3 * self.values, 1) for c in (32, 64))
        self.register_buffer("anchors", torch.tensor([[[10.0, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]]]))

    def forward(self, image: Any) -> Any:
        fine = self.fine(image)
        coarse = self.coarse(fine)
        fine = self.merged(torch.cat([fine, functional.interpolate(coarse, scale_factor=2.0)], 1))
        return torch.cat([self.boxes(head(x), i) for i, (head, x) in enumerate(zip(self.heads, (fine, coarse), strict=True))], 1)

    def boxes(self, x: Any, level: int) -> Any:
        n, _, rows, cols = x.shape
        x = x.view(n, 3, self.values, rows, cols).permute(0, 1, 3, 4, 2).sigmoid()
        down, right = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
        grid = torch.stack((right, down), 2).view(1, 1, rows, cols, 2).float()
        xy = (x[..., :2] * 2 + grid - 0.5) * (8 << level)
        wh = (x[..., 2:4] * 2) ** 2 * self.anchors[level].view(1, 3, 1, 1, 2)
        return torch.cat((xy, wh, x[..., 4:]), -1).view(n, -1, self.values)


class Reader(nn.Module):
    """A CRNN: columns of a convolved line of text, read both ways by an LSTM (Shi et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = nn.Sequential(block(1, 16), nn.MaxPool2d(2), block(16, 32), nn.MaxPool2d(2), nn.Conv2d(32, 32, (8, 1)), nn.ReLU())
        self.read = nn.LSTM(32, 24, bidirectional=True)
        self.letters = nn.Linear(48, 37)

    def forward(self, image: Any) -> Any:
        sequence = self.columns(image).squeeze(2).permute(2, 0, 1)
        return functional.log_softmax(self.letters(self.read(sequence)[0]), 2)


class WaveNet(nn.Module):
    """Gated dilated convolutions with skips, over a sequence (van den Oord et al. 2016)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 2, dilation=1 << i) for i in range(5))
        self.skips = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(5))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(width, 32, 1), nn.ReLU(), nn.Conv1d(32, 64, 1))

    def forward(self, sound: Any) -> Any:
        x, total = self.first(sound), 0
        for i, (gate, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            signal, door = gate(functional.pad(x, (1 << i, 0))).chunk(2, 1)
            out = skip(torch.tanh(signal) * torch.sigmoid(door))
            x, total = x + out, total + out
        return self.last(total)


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(64, 16, 2, 4, 64, 128, num_classes=10)


def swin() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 32, [2, 2], [2, 4], [4, 4], num_classes=10)


NETWORKS: dict[str, Exported] = {
    **{name: classifier(name) for name in CLASSIFIERS},
    **{name: segmenter(name) for name in SEGMENTERS},
    "resnet18_fpn": Exported(Pyramid, (1, 3, 64, 96)),
    "vit": Exported(vit, (1, 3, 64, 64), ()),
    "swin": Exported(swin, (1, 3, 64, 64), ()),
    "yolo": Exported(Detector, (1, 3, 64, 96)),
    "crnn": Exported(Reader, (1, 1, 32, 80), (3,)),
    "wavenet": Exported(WaveNet, (1, 1, 160), (2,)),
    "r3d_18": Exported(lambda: torchvision.models.video.r3d_18(weights=None), (1, 3, 8, 48, 48), (2, 3, 4)),
}
