"""LeNet-5. LeCun, Bottou, Bengio & Haffner 1998, Gradient-Based Learning Applied to Document Recognition, sec. II-B."""

from __future__ import annotations

from ..compiler.dsl.layers import avg_pool, conv, dense, softmax, tanh
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value

__all__ = ["lenet5"]

XAVIER = "xavier"


@network(image="N,1,32,32")
def lenet5(image: Value, classes: int = 10) -> Value:
    """LeNet-5 with plain average pools, every map of C3 connected, and a softmax for the radial basis units.

    Weights are drawn as tanh wants them: Glorot & Bengio 2010, eq. 12.
    """
    x = avg_pool(tanh(conv(image, 6, 5, init=XAVIER, name="c1")), 2)
    x = avg_pool(tanh(conv(x, 16, 5, init=XAVIER, name="c3")), 2)
    x = tanh(dense(x, 120, init=XAVIER, name="c5"))
    x = tanh(dense(x, 84, init=XAVIER, name="f6"))
    return softmax(dense(x, classes, init=XAVIER, name="output"))
