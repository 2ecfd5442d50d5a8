"""Inception v3. Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2015, Rethinking the Inception Architecture, table 1.

The paper's table leaves widths open; these are of the form that is passed around (its authors' release, and torchvision's
after it), without the auxiliary classifier. Modules and branches carry the release's names.
"""

from __future__ import annotations

from ..compiler.dsl.layers import avg_pool, batch_norm, concat, conv, dense, dropout, global_avg_pool, max_pool, relu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope
from .googlenet import renormalize

__all__ = ["factorized", "factorized_n", "inception_v3", "reduction", "reduction_n", "unit", "widened"]


def unit(x: Value, width: int, rows: int, cols: int, name: str, stride: int = 1, pad: str = "same") -> Value:
    """Convolution, batch norm and ReLU under one name; a stride takes no padding."""
    with scope(name):
        x = conv(x, width, (rows, cols), stride, "valid" if stride > 1 else pad, bias=False)
        return relu(batch_norm(x, epsilon=1e-3))


def factorized(x: Value, pooled: int) -> Value:
    """The 5x5 beside two 3x3 that stand for one. Fig. 5."""
    one = unit(x, 64, 1, 1, "branch1x1")
    five = unit(unit(x, 48, 1, 1, "branch5x5_1"), 64, 5, 5, "branch5x5_2")
    three = unit(unit(x, 64, 1, 1, "branch3x3dbl_1"), 96, 3, 3, "branch3x3dbl_2")
    return concat(one, five, unit(three, 96, 3, 3, "branch3x3dbl_3"), _pooled(x, pooled))


def reduction(x: Value) -> Value:
    """From 35x35 to 17x17: strided branches beside a pool. Fig. 10."""
    three = unit(x, 384, 3, 3, "branch3x3", stride=2)
    double = unit(unit(x, 64, 1, 1, "branch3x3dbl_1"), 96, 3, 3, "branch3x3dbl_2")
    return concat(three, unit(double, 96, 3, 3, "branch3x3dbl_3", stride=2), max_pool(x, 3, stride=2))


def factorized_n(x: Value, width: int) -> Value:
    """7x7 as 1x7 and 7x1, once and twice. Fig. 6 with n=7."""
    one = unit(x, 192, 1, 1, "branch1x1")
    seven = unit(unit(x, width, 1, 1, "branch7x7_1"), width, 1, 7, "branch7x7_2")
    seven = unit(seven, 192, 7, 1, "branch7x7_3")
    double = unit(unit(x, width, 1, 1, "branch7x7dbl_1"), width, 7, 1, "branch7x7dbl_2")
    double = unit(unit(double, width, 1, 7, "branch7x7dbl_3"), width, 7, 1, "branch7x7dbl_4")
    return concat(one, seven, unit(double, 192, 1, 7, "branch7x7dbl_5"), _pooled(x, 192))


def reduction_n(x: Value) -> Value:
    """From 17x17 to 8x8. Fig. 10, with the 7x7 factorized."""
    three = unit(unit(x, 192, 1, 1, "branch3x3_1"), 320, 3, 3, "branch3x3_2", stride=2)
    seven = unit(unit(x, 192, 1, 1, "branch7x7x3_1"), 192, 1, 7, "branch7x7x3_2")
    seven = unit(unit(seven, 192, 7, 1, "branch7x7x3_3"), 192, 3, 3, "branch7x7x3_4", stride=2)
    return concat(three, seven, max_pool(x, 3, stride=2))


def widened(x: Value) -> Value:
    """1x3 and 3x1 side by side, for the coarsest grid. Fig. 7."""
    one = unit(x, 320, 1, 1, "branch1x1")
    three = unit(x, 384, 1, 1, "branch3x3_1")
    three = concat(unit(three, 384, 1, 3, "branch3x3_2a"), unit(three, 384, 3, 1, "branch3x3_2b"))
    double = unit(unit(x, 448, 1, 1, "branch3x3dbl_1"), 384, 3, 3, "branch3x3dbl_2")
    double = concat(unit(double, 384, 1, 3, "branch3x3dbl_3a"), unit(double, 384, 3, 1, "branch3x3dbl_3b"))
    return concat(one, three, double, _pooled(x, 192))


@network(image="N,3,299,299")
def inception_v3(image: Value, classes: int = 1000, transform_input: bool = False) -> Value:
    """Inception v3; `transform_input` takes images normalized as torchvision's other networks want them."""
    x = renormalize(image) if transform_input else image
    x = unit(x, 32, 3, 3, "conv2d_1a_3x3", stride=2)
    x = unit(x, 32, 3, 3, "conv2d_2a_3x3", pad="valid")
    x = max_pool(unit(x, 64, 3, 3, "conv2d_2b_3x3"), 3, stride=2)
    x = unit(x, 80, 1, 1, "conv2d_3b_1x1")
    x = max_pool(unit(x, 192, 3, 3, "conv2d_4a_3x3", pad="valid"), 3, stride=2)
    for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
        with scope(f"mixed_{name}"):
            x = factorized(x, pooled)
    with scope("mixed_6a"):
        x = reduction(x)
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        with scope(f"mixed_{name}"):
            x = factorized_n(x, width)
    with scope("mixed_7a"):
        x = reduction_n(x)
    for name in ("7b", "7c"):
        with scope(f"mixed_{name}"):
            x = widened(x)
    return softmax(dense(dropout(global_avg_pool(x), 0.5), classes))


def _pooled(x: Value, width: int) -> Value:
    """A mean of 3x3 that counts the padding, then a 1x1."""
    return unit(avg_pool(x, 3, stride=1, pad=1, count_include_pad=True), width, 1, 1, "branch_pool")
