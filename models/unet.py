"""U-Nets: a feature extractor, and a decoder that grows its result back over skip connections.

Source: Ronneberger, Fischer & Brox 2015, U-Net, fig. 1; with a classifier's layers as encoder: Iglovikov & Shvets 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import add

from ..compiler.dsl import layers
from ..compiler.dsl.layers import batch_norm, concat, conv, conv_bn_relu, conv_transpose, relu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope
from ..ir.errors import ShapeError, UsageError
from . import resnet, vgg

__all__ = ["SKIPS", "UPSAMPLING", "unet", "unet_resnet18", "unet_resnet34", "unet_vgg11", "unet_vgg16"]


def _bilinear(x: Value, width: int) -> Value:
    """1x1 where the paper has 2x2, which has no centre."""
    return conv_bn_relu(layers.upsample(x), width, 1)


def _transposed(x: Value, width: int) -> Value:
    return relu(batch_norm(conv_transpose(x, width, 2, stride=2, bias=False)))


UPSAMPLING: dict[str, Callable[[Value, int], Value]] = {"bilinear": _bilinear, "transposed": _transposed}
SKIPS: dict[str, Callable[[Value, Value], Value]] = {"concat": concat, "sum": add}


def unet(image: Value, stages: Callable[[Value], list[Value]], stride: int, classes: int, upsample: str, skip: str) -> Value:
    """A U-Net on any encoder whose `stages` halve the image up to `stride`; class probabilities for each pixel.

    Shapes: image[N,C,H,W] -> [N,classes,H,W].
    Raises: ShapeError where `stride` does not divide H and W; UsageError for an unknown word.
    """
    for option, word, known in (("upsample", upsample, UPSAMPLING), ("skip", skip, SKIPS)):
        if word not in known:
            raise UsageError(f"unknown {option} '{word}'; known are {', '.join(known)}")
    _check_divides(stride, image)
    grow, join = UPSAMPLING[upsample], SKIPS[skip]
    *skips, x = stages(image)
    for level in range(stride.bit_length() - 2, -1, -1):  # stride 2**level is reached
        side = skips.pop() if skips else None
        with scope(f"up{level}"):
            x = grow(x, side.channels if side is not None else x.channels // 2)
            x = conv_bn_relu(join(side, x) if side is not None else x, x.channels, 3, pad="same")
            x = conv_bn_relu(x, x.channels, 3, pad="same")
    return softmax(conv(x, classes, 1, name="classes"))


def _check_divides(stride: int, image: Value) -> None:
    for axis, size in (("rows", image.shape[2]), ("columns", image.shape[3])):
        if size // stride * stride != size:
            raise ShapeError(f"{image.node.where} is {image.node.type}: {size} {axis} do not divide by {stride}, this U-Net's stride")


@network(image="N,3,224,224")
def unet_vgg11(image: Value, classes: int = 21, upsample: str = "bilinear", skip: str = "concat") -> Value:
    """U-Net on VGG-11; stride 16."""
    return unet(image, lambda x: vgg.stages(x, "A"), 16, classes, upsample, skip)


@network(image="N,3,224,224")
def unet_vgg16(image: Value, classes: int = 21, upsample: str = "bilinear", skip: str = "concat") -> Value:
    """U-Net on VGG-16; stride 16."""
    return unet(image, lambda x: vgg.stages(x, "D"), 16, classes, upsample, skip)


@network(image="N,3,224,224")
def unet_resnet18(image: Value, classes: int = 21, upsample: str = "bilinear", skip: str = "concat") -> Value:
    """U-Net on ResNet-18; stride 32."""
    return unet(image, lambda x: resnet.stages(x, resnet.basic, 18), 32, classes, upsample, skip)


@network(image="N,3,224,224")
def unet_resnet34(image: Value, classes: int = 21, upsample: str = "bilinear", skip: str = "concat") -> Value:
    """U-Net on ResNet-34; stride 32."""
    return unet(image, lambda x: resnet.stages(x, resnet.basic, 34), 32, classes, upsample, skip)
