"""DenseNet. Huang, Liu, van der Maaten & Weinberger 2017, Densely Connected Convolutional Networks, table 1."""

from __future__ import annotations

from ..compiler.dsl.layers import avg_pool, batch_norm, concat, conv, conv_bn_relu, dense, global_avg_pool, max_pool, relu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["BLOCKS", "dense_layer", "densenet121", "transition"]

# Table 1: layers in dense blocks 1 to 4.
BLOCKS = {121: (6, 12, 24, 16)}


def dense_layer(x: Value, growth: int) -> Value:
    """A 1x1 down to four times the growth, then a 3x3; what they make joins what they read. Sec. 3, DenseNet-B."""
    y = conv(relu(batch_norm(x)), 4 * growth, 1, bias=False)
    y = conv(relu(batch_norm(y)), growth, 3, pad=1, bias=False)
    return concat(x, y)


def transition(x: Value) -> Value:
    """Half the channels, half the rows and columns. Sec. 3, compression of 0.5 (DenseNet-C)."""
    return avg_pool(conv(relu(batch_norm(x)), x.channels // 2, 1, bias=False), 2)


@network(image="N,3,224,224")
def densenet121(image: Value, classes: int = 1000, growth: int = 32) -> Value:
    """DenseNet-121 (BC): every layer of a block reads all those before it."""
    x = max_pool(conv_bn_relu(image, 2 * growth, 7, stride=2, pad=3), 3, stride=2, pad=1)
    for block, layers in enumerate(BLOCKS[121], start=1):
        if block > 1:
            with scope(f"transition{block - 1}"):
                x = transition(x)
        for layer in range(1, layers + 1):
            with scope(f"block{block}_{layer}"):
                x = dense_layer(x, growth)
    return softmax(dense(global_avg_pool(relu(batch_norm(x))), classes))
