"""Networks of plain neurons, and the three ways to wire 7 inputs to 3 hidden units."""

from __future__ import annotations

from ..compiler.dsl.layers import concat, conv, dense, flatten, relu, slice_axis, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value

__all__ = ["fully_connected", "local", "mlp", "shared"]

WINDOW, STRIDE = 3, 2


@network(image="N,1,28,28")
def mlp(image: Value, classes: int = 10, hidden: tuple[int, ...] = (300, 100)) -> Value:
    """Two hidden layers, 784-300-100-10. LeCun et al. 1998, sec. III-C."""
    x = image
    for width in hidden:
        x = relu(dense(x, width))
    return softmax(dense(x, classes))


@network(x="N,1,1,7")
def fully_connected(x: Value, hidden: int = 3) -> Value:
    """Every hidden unit reads every input: 7*3 = 21 weights."""
    return dense(x, hidden, bias=False)


@network(x="N,1,1,7")
def local(x: Value, hidden: int = 3) -> Value:
    """Each hidden unit reads its own window of 3 with its own weights: 3*3 = 9. A grouped conv, a window a group."""
    windows = concat(*(slice_axis(x, 3, start, start + WINDOW) for start in range(0, hidden * STRIDE, STRIDE)))
    return flatten(conv(windows, hidden, (1, WINDOW), groups=hidden, bias=False))


@network(x="N,1,1,7")
def shared(x: Value) -> Value:
    """Every window is read with the same weights, which is convolution: 3."""
    return flatten(conv(x, 1, (1, WINDOW), (1, STRIDE), bias=False))
