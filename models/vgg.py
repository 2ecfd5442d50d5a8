"""VGG. Simonyan & Zisserman 2014, Very Deep Convolutional Networks for Large-Scale Image Recognition, table 1."""

from __future__ import annotations

from ..compiler.dsl.layers import batch_norm, conv, local_response_norm, max_pool, relu
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value
from .alexnet import classifier

__all__ = [
    "COLUMNS",
    "stages",
    "vgg11",
    "vgg11_bn",
    "vgg11_lrn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg16c",
    "vgg19",
    "vgg19_bn",
]

# Table 1: kernel and width of each layer, a 2x2 max pool after each stage.
COLUMNS = {
    "A": "3-64     | 3-128       | 3-256 3-256             | 3-512 3-512             | 3-512 3-512",
    "A-LRN": "3-64 LRN | 3-128       | 3-256 3-256             | 3-512 3-512             | 3-512 3-512",
    "B": "3-64 3-64 | 3-128 3-128 | 3-256 3-256             | 3-512 3-512             | 3-512 3-512",
    "C": "3-64 3-64 | 3-128 3-128 | 3-256 3-256 1-256       | 3-512 3-512 1-512       | 3-512 3-512 1-512",
    "D": "3-64 3-64 | 3-128 3-128 | 3-256 3-256 3-256       | 3-512 3-512 3-512       | 3-512 3-512 3-512",
    "E": "3-64 3-64 | 3-128 3-128 | 3-256 3-256 3-256 3-256 | 3-512 3-512 3-512 3-512 | 3-512 3-512 3-512 3-512",
}


def stages(image: Value, column: str, norm: bool = False) -> list[Value]:
    """The last result of each stage, before its pool: strides 1, 2, 4, 8, 16. `norm` puts batch norm after each conv."""
    ends: list[Value] = []
    x = image
    for stage, words in enumerate(COLUMNS[column].split("|"), start=1):
        if ends:
            x = max_pool(x, 2)
        for layer, word in enumerate(words.split(), start=1):
            x = local_response_norm(x) if word == "LRN" else _conv(x, word, f"{stage}_{layer}", norm)
        ends.append(x)
    return ends


def _conv(x: Value, word: str, number: str, norm: bool) -> Value:
    kernel, width = word.split("-")
    x = conv(x, int(width), int(kernel), pad="same", bias=not norm, name=f"conv{number}")
    return relu(batch_norm(x, name=f"bn{number}") if norm else x)


def _vgg(image: Value, column: str, classes: int, hidden: int, norm: bool = False) -> Value:
    return classifier(max_pool(stages(image, column, norm)[-1], 2), classes, hidden)


@network(image="N,3,224,224")
def vgg11(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-11. Column A."""
    return _vgg(image, "A", classes, hidden)


@network(image="N,3,224,224")
def vgg11_lrn(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-11 with local response normalization. Column A-LRN."""
    return _vgg(image, "A-LRN", classes, hidden)


@network(image="N,3,224,224")
def vgg13(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-13. Column B."""
    return _vgg(image, "B", classes, hidden)


@network(image="N,3,224,224")
def vgg16c(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-16 whose third layers are 1x1. Column C."""
    return _vgg(image, "C", classes, hidden)


@network(image="N,3,224,224")
def vgg16(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-16. Column D."""
    return _vgg(image, "D", classes, hidden)


@network(image="N,3,224,224")
def vgg19(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-19. Column E."""
    return _vgg(image, "E", classes, hidden)


@network(image="N,3,224,224")
def vgg11_bn(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-11 with batch norm for the convolutions' biases. Simon et al. 2016."""
    return _vgg(image, "A", classes, hidden, norm=True)


@network(image="N,3,224,224")
def vgg13_bn(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-13 with batch norm for the convolutions' biases. Simon et al. 2016."""
    return _vgg(image, "B", classes, hidden, norm=True)


@network(image="N,3,224,224")
def vgg16_bn(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-16 with batch norm for the convolutions' biases. Simon et al. 2016."""
    return _vgg(image, "D", classes, hidden, norm=True)


@network(image="N,3,224,224")
def vgg19_bn(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """VGG-19 with batch norm for the convolutions' biases. Simon et al. 2016."""
    return _vgg(image, "E", classes, hidden, norm=True)
