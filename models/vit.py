"""Vision Transformer. Dosovitskiy et al. 2020, An Image is Worth 16x16 Words, sec. 3.1, table 1."""

from __future__ import annotations

from ..compiler.dsl.layers import (
    class_token,
    conv,
    dense,
    gelu,
    layer_norm,
    linear,
    position_embedding,
    self_attention,
    softmax,
    tokens,
)
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["BASE_LAYERS", "LARGE_LAYERS", "vit_b_16", "vit_b_32", "vit_l_16"]

BASE_LAYERS, LARGE_LAYERS = 12, 24  # table 1
DEPTH = 64  # features of a head: table 1 has 12 heads of 768 and 16 of 1024
EPSILON = 1e-6


def encoder_block(x: Value, width: int) -> Value:
    """Attention and two products of each token, a norm before each and a residual around it. Fig. 1, eq. 2 and 3."""
    x = x + self_attention(layer_norm(x, 2, epsilon=EPSILON, name="norm1"), width // DEPTH, name="attention")
    y = gelu(linear(layer_norm(x, 2, epsilon=EPSILON, name="norm2"), 4 * width, name="expand"))
    return x + linear(y, width, name="project")


def _vit(image: Value, patch: int, width: int, layers: int, classes: int) -> Value:
    x = tokens(conv(image, width, patch, patch, name="patches"))
    x = position_embedding(class_token(x, name="class_token"), name="positions")
    for index in range(1, layers + 1):
        with scope(f"block{index}"):
            x = encoder_block(x, width)
    return softmax(dense(layer_norm(x, 2, epsilon=EPSILON, name="norm")[:, 0], classes))  # eq. 4


@network(image="N,3,224,224")
def vit_b_16(image: Value, classes: int = 1000, width: int = 768, layers: int = BASE_LAYERS) -> Value:
    """ViT-B/16."""
    return _vit(image, 16, width, layers, classes)


@network(image="N,3,224,224")
def vit_b_32(image: Value, classes: int = 1000, width: int = 768, layers: int = BASE_LAYERS) -> Value:
    """ViT-B/32."""
    return _vit(image, 32, width, layers, classes)


@network(image="N,3,224,224")
def vit_l_16(image: Value, classes: int = 1000, width: int = 1024, layers: int = LARGE_LAYERS) -> Value:
    """ViT-L/16."""
    return _vit(image, 16, width, layers, classes)
