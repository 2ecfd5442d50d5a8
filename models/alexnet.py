"""AlexNet. Krizhevsky, Sutskever & Hinton 2012, ImageNet Classification with Deep Convolutional Neural Networks."""

from __future__ import annotations

from ..compiler.dsl.layers import conv, dense, dropout, local_response_norm, max_pool, relu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value

__all__ = ["alexnet", "alexnet_nopad", "alexnet_owt", "classifier"]


@network(image="N,3,227,227")
def alexnet(image: Value, classes: int = 1000, hidden: int = 4096, groups: int = 1) -> Value:
    """AlexNet; groups=2 is the paper's pair of columns, one a GPU. Sec. 3.5."""
    return classifier(features(image, "same", groups), classes, hidden)


@network(image="N,3,227,227")
def alexnet_nopad(image: Value, classes: int = 1000, hidden: int = 4096, groups: int = 1) -> Value:
    """AlexNet without padding: 55, 27, 23, 11, 9, 7, 5, 2, which shrinks fc6 to a ninth."""
    return classifier(features(image, "valid", groups), classes, hidden)


@network(image="N,3,224,224")
def alexnet_owt(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """AlexNet of the common checkpoints: one column, narrower, no normalization. Krizhevsky 2014, One Weird Trick."""
    x = max_pool(relu(conv(image, 64, 11, stride=4, pad=2, name="conv1")), 3, stride=2)
    x = max_pool(relu(conv(x, 192, 5, pad="same", name="conv2")), 3, stride=2)
    for layer, width in ((3, 384), (4, 256), (5, 256)):
        x = relu(conv(x, width, 3, pad="same", name=f"conv{layer}"))
    return classifier(max_pool(x, 3, stride=2), classes, hidden)


def features(image: Value, pad: str, groups: int) -> Value:
    """The five convolutions. Normalization after the pool, as the course's table has it; the paper's is before it."""
    x = relu(conv(image, 96, 11, stride=4, name="conv1"))
    x = local_response_norm(max_pool(x, 3, stride=2))
    x = relu(conv(x, 256, 5, pad=pad, groups=groups, name="conv2"))
    x = local_response_norm(max_pool(x, 3, stride=2))
    x = relu(conv(x, 384, 3, pad=pad, name="conv3"))
    x = relu(conv(x, 384, 3, pad=pad, groups=groups, name="conv4"))
    x = relu(conv(x, 256, 3, pad=pad, groups=groups, name="conv5"))
    return max_pool(x, 3, stride=2)


def classifier(x: Value, classes: int, hidden: int) -> Value:
    """Three fully connected layers, the first two dropped out by half: AlexNet's, ZFNet's and VGG's. Sec. 4.2."""
    x = dropout(relu(dense(x, hidden, name="fc6")), 0.5)
    x = dropout(relu(dense(x, hidden, name="fc7")), 0.5)
    return softmax(dense(x, classes, name="fc8"))
