"""The model zoo: networks in the words of their papers, one family a file.

`models.resnet50()` builds a graph; `models.resnet50(image="N,3,256,256", classes=10)` another one.
"""

from __future__ import annotations

from typing import NoReturn

from ..compiler.dsl.zoo_entry import ZooEntry
from ..ir.suggest import did_you_mean
from . import pytorch_names as pytorch
from .alexnet import alexnet, alexnet_nopad, alexnet_owt
from .alphago import alphago
from .cifar_resnet import resnet20, resnet32, resnet44, resnet56, resnet110
from .convnext import BASE as NEXT_BASE
from .convnext import LARGE as NEXT_LARGE
from .convnext import SMALL as NEXT_SMALL
from .convnext import TINY as NEXT_TINY
from .convnext import convnext_base, convnext_large, convnext_small, convnext_tiny
from .densenet import densenet121
from .efficientnet import B0, V2_S, efficientnet_b0, efficientnet_v2_s
from .filters import filters
from .googlenet import googlenet, googlenet_bn, googlenet_naive
from .inception import inception_v3
from .lenet import lenet5
from .mlp import fully_connected, local, mlp, shared
from .mobilenet import mobilenet_v2
from .mobilenet_v3 import LARGE as MOBILE_LARGE
from .mobilenet_v3 import SMALL as MOBILE_SMALL
from .mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from .patterns import pattern_lenet, pattern_net
from .regnet import X_800MF, Y_400MF, regnet_x_800mf, regnet_y_400mf
from .resnet import (
    plain18,
    plain34,
    resnet18,
    resnet34,
    resnet50,
    resnet50_v1_5,
    resnet101,
    resnet101_v1_5,
    resnet152,
    resnet152_v1_5,
)
from .shufflenet import shufflenet_v2
from .squeezenet import FIRES, FIRES_1_1, squeezenet1_0, squeezenet1_1
from .unet import unet_resnet18, unet_resnet34, unet_vgg11, unet_vgg16
from .vgg import vgg11, vgg11_bn, vgg11_lrn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg16c, vgg19, vgg19_bn
from .vit import BASE_LAYERS, LARGE_LAYERS, vit_b_16, vit_b_32, vit_l_16
from .yolo import yolo_v8n
from .zfnet import zfnet, zfnet512

KRIZHEVSKY = "Krizhevsky et al. 2012"
LECUN = "LeCun et al. 1998"
ZEILER = "Zeiler & Fergus 2013"
SIMONYAN = "Simonyan & Zisserman 2014"
SZEGEDY = "Szegedy et al. 2014"
HE = "He et al. 2015"
GOYAL = "Goyal et al. 2017"
SIMON = "Simon et al. 2016"
RONNEBERGER = "Ronneberger et al. 2015"
SILVER = "Silver et al. 2016"
HUANG = "Huang et al. 2017"
IANDOLA = "Iandola et al. 2016"
SANDLER = "Sandler et al. 2018"
HOWARD = "Howard et al. 2019"
MA = "Ma et al. 2018"
RADOSAVOVIC = "Radosavovic et al. 2020"
TAN = "Tan & Le 2019"
TAN_2021 = "Tan & Le 2021"
SZEGEDY_2015 = "Szegedy et al. 2015"
IOFFE = "Ioffe & Szegedy 2015"
KRIZHEVSKY_2014 = "Krizhevsky 2014"
LIU = "Liu et al. 2022"
DOSOVITSKIY = "Dosovitskiy et al. 2020"
JOCHER = "Jocher et al. 2023"
COURSE = "course material"

TINY_VGG = {"image": "N,3,32,32", "hidden": 64}
TINY_RESNET = {"image": "N,3,64,64"}
TINY_CONVNEXT = {"image": "N,3,32,32", "width": 8}
TINY_VIT = {"image": "N,3,64,64", "width": 64, "layers": 2}
TINY_IMAGE = {"image": "N,3,32,32"}

ZOO: dict[str, ZooEntry] = {
    "filters": ZooEntry(filters, "Gonzalez & Woods, ch. 3", {"image": "N,3,24,31"}),
    "fully_connected": ZooEntry(fully_connected, COURSE, {}),
    "local": ZooEntry(local, COURSE, {}),
    "shared": ZooEntry(shared, COURSE, {}),
    "mlp": ZooEntry(mlp, LECUN, {}),
    "lenet5": ZooEntry(lenet5, LECUN, {}),
    "alexnet": ZooEntry(alexnet, KRIZHEVSKY, {"image": "N,3,67,67", "hidden": 64}, pytorch.DIFFERS["alexnet"]),
    "alexnet_nopad": ZooEntry(alexnet_nopad, KRIZHEVSKY, {"image": "N,3,195,195", "hidden": 64}),
    "alexnet_owt": ZooEntry(alexnet_owt, KRIZHEVSKY_2014, {"image": "N,3,63,63", "hidden": 64}, pytorch.ALEXNET),
    "zfnet": ZooEntry(zfnet, ZEILER, {"image": "N,3,64,64", "hidden": 64}),
    "zfnet512": ZooEntry(zfnet512, ZEILER, {"image": "N,3,64,64", "hidden": 64}),
    "vgg11": ZooEntry(vgg11, SIMONYAN, TINY_VGG, pytorch.vgg("A")),
    "vgg11_lrn": ZooEntry(vgg11_lrn, SIMONYAN, TINY_VGG, pytorch.DIFFERS["vgg11_lrn"]),
    "vgg13": ZooEntry(vgg13, SIMONYAN, TINY_VGG, pytorch.vgg("B")),
    "vgg16c": ZooEntry(vgg16c, SIMONYAN, TINY_VGG),
    "vgg16": ZooEntry(vgg16, SIMONYAN, TINY_VGG, pytorch.vgg("D")),
    "vgg19": ZooEntry(vgg19, SIMONYAN, TINY_VGG, pytorch.vgg("E")),
    "vgg11_bn": ZooEntry(vgg11_bn, SIMON, TINY_VGG, pytorch.vgg("A", norm=True)),
    "vgg13_bn": ZooEntry(vgg13_bn, SIMON, TINY_VGG, pytorch.vgg("B", norm=True)),
    "vgg16_bn": ZooEntry(vgg16_bn, SIMON, TINY_VGG, pytorch.vgg("D", norm=True)),
    "vgg19_bn": ZooEntry(vgg19_bn, SIMON, TINY_VGG, pytorch.vgg("E", norm=True)),
    "googlenet": ZooEntry(googlenet, SZEGEDY, {"image": "N,3,64,64"}, pytorch.DIFFERS["googlenet"]),
    "googlenet_naive": ZooEntry(googlenet_naive, SZEGEDY, {"image": "N,3,64,64", "stages": 1}),
    "googlenet_bn": ZooEntry(googlenet_bn, IOFFE, {"image": "N,3,64,64"}, pytorch.GOOGLENET),
    "inception_v3": ZooEntry(inception_v3, SZEGEDY_2015, {"image": "N,3,75,75"}, pytorch.INCEPTION_V3),
    "squeezenet1_0": ZooEntry(squeezenet1_0, IANDOLA, {"image": "N,3,64,64"}, pytorch.squeezenet(FIRES)),
    "squeezenet1_1": ZooEntry(squeezenet1_1, IANDOLA, {"image": "N,3,64,64"}, pytorch.squeezenet(FIRES_1_1)),
    "mobilenet_v2": ZooEntry(mobilenet_v2, SANDLER, {"image": "N,3,64,64"}, pytorch.MOBILENET_V2),
    "mobilenet_v3_large": ZooEntry(mobilenet_v3_large, HOWARD, TINY_IMAGE, pytorch.mobilenet_v3(MOBILE_LARGE)),
    "mobilenet_v3_small": ZooEntry(mobilenet_v3_small, HOWARD, TINY_IMAGE, pytorch.mobilenet_v3(MOBILE_SMALL)),
    "shufflenet_v2": ZooEntry(shufflenet_v2, MA, TINY_IMAGE, pytorch.SHUFFLENET_V2),
    "regnet_x_800mf": ZooEntry(regnet_x_800mf, RADOSAVOVIC, TINY_IMAGE, pytorch.regnet(X_800MF)),
    "regnet_y_400mf": ZooEntry(regnet_y_400mf, RADOSAVOVIC, TINY_IMAGE, pytorch.regnet(Y_400MF)),
    "efficientnet_b0": ZooEntry(efficientnet_b0, TAN, TINY_IMAGE, pytorch.efficientnet(B0)),
    "efficientnet_v2_s": ZooEntry(efficientnet_v2_s, TAN_2021, TINY_IMAGE, pytorch.efficientnet(V2_S)),
    "convnext_tiny": ZooEntry(convnext_tiny, LIU, TINY_CONVNEXT, pytorch.convnext(NEXT_TINY.depths)),
    "convnext_small": ZooEntry(convnext_small, LIU, TINY_CONVNEXT, pytorch.convnext(NEXT_SMALL.depths)),
    "convnext_base": ZooEntry(convnext_base, LIU, TINY_CONVNEXT, pytorch.convnext(NEXT_BASE.depths)),
    "convnext_large": ZooEntry(convnext_large, LIU, TINY_CONVNEXT, pytorch.convnext(NEXT_LARGE.depths)),
    "vit_b_16": ZooEntry(vit_b_16, DOSOVITSKIY, TINY_VIT, pytorch.vit(BASE_LAYERS)),
    "vit_b_32": ZooEntry(vit_b_32, DOSOVITSKIY, TINY_VIT, pytorch.vit(BASE_LAYERS)),
    "vit_l_16": ZooEntry(vit_l_16, DOSOVITSKIY, TINY_VIT, pytorch.vit(LARGE_LAYERS)),
    "densenet121": ZooEntry(densenet121, HUANG, {"image": "N,3,64,64"}, pytorch.DENSENET121),
    "resnet18": ZooEntry(resnet18, HE, TINY_RESNET, pytorch.resnet(18)),
    "resnet34": ZooEntry(resnet34, HE, TINY_RESNET, pytorch.resnet(34)),
    "resnet50": ZooEntry(resnet50, HE, TINY_RESNET, pytorch.DIFFERS["resnet50"]),
    "resnet101": ZooEntry(resnet101, HE, TINY_RESNET, pytorch.DIFFERS["resnet101"]),
    "resnet152": ZooEntry(resnet152, HE, TINY_RESNET, pytorch.DIFFERS["resnet152"]),
    "resnet50_v1_5": ZooEntry(resnet50_v1_5, GOYAL, TINY_RESNET, pytorch.resnet(50)),
    "resnet101_v1_5": ZooEntry(resnet101_v1_5, GOYAL, TINY_RESNET, pytorch.resnet(101)),
    "resnet152_v1_5": ZooEntry(resnet152_v1_5, GOYAL, TINY_RESNET, pytorch.resnet(152)),
    "plain18": ZooEntry(plain18, HE, TINY_RESNET),
    "plain34": ZooEntry(plain34, HE, TINY_RESNET),
    "resnet20": ZooEntry(resnet20, HE, {}),
    "resnet32": ZooEntry(resnet32, HE, {}),
    "resnet44": ZooEntry(resnet44, HE, {}),
    "resnet56": ZooEntry(resnet56, HE, {}),
    "resnet110": ZooEntry(resnet110, HE, {}),
    "unet_vgg11": ZooEntry(unet_vgg11, RONNEBERGER, {"image": "N,3,32,32"}),
    "unet_vgg16": ZooEntry(unet_vgg16, RONNEBERGER, {"image": "N,3,32,32"}),
    "unet_resnet18": ZooEntry(unet_resnet18, RONNEBERGER, TINY_RESNET),
    "unet_resnet34": ZooEntry(unet_resnet34, RONNEBERGER, TINY_RESNET),
    "yolo_v8n": ZooEntry(yolo_v8n, JOCHER, {"image": "N,3,64,64"}),
    "alphago": ZooEntry(alphago, SILVER, {"board": "N,48,9,9", "filters": 32}),
    "pattern_net": ZooEntry(pattern_net, COURSE, {}),
    "pattern_lenet": ZooEntry(pattern_lenet, COURSE, {}),
}


def __getattr__(name: str) -> NoReturn:
    """Raises: AttributeError, with the nearest names, for a network that is not here."""
    hint = "" if name.startswith("_") else did_you_mean(name, ZOO, "see `convc models`", widely=True)
    raise AttributeError(f"there is no network '{name}' in convc.models{hint}")
