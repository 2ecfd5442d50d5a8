"""AlphaGo's policy network. Silver et al. 2016, Mastering the game of Go, Methods, "Neural network architecture"."""

from __future__ import annotations

from ..compiler.dsl.layers import conv, conv_relu, flatten, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value

__all__ = ["alphago"]


@network(board="N,48,19,19")
def alphago(board: Value, filters: int = 192) -> Value:
    """The policy network: 48 feature planes in, the probability of a move at each point out.

    The paper's last bias differs from point to point. Shapes: board[N,48,H,W] -> [N,H*W].
    """
    x = conv_relu(board, filters, 5, pad=2)
    for _ in range(2, 13):
        x = conv_relu(x, filters, 3, pad=1)
    points = flatten(conv(x, 1, 1, bias=False))
    bias = points.param(f"{points.trace.named('points')}.b", (1, points.channels), "small")
    return softmax(points + bias)
