"""Random networks: typed, verified, and small enough to run in a millisecond.

One builder makes them all. It is given a function that draws whole numbers, so a plain seed
(`random_network`) and Hypothesis (`networks`) share it; the lowest number is always the simplest
choice, which is what makes Hypothesis shrink well. A network is a series of motifs: single layers,
the patterns that passes look for, and their near misses. What a motif makes is put back if an op
refuses it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache

from hypothesis import strategies as st

from convc.ir.graph import Graph, Node
from convc.ir.types import Array
from convc.tests.fuzz.layer_patterns import (
    activations,
    add_convs,
    after_conv,
    before_conv,
    branches,
    classifier,
    computed_weights,
    conv_bn_act,
    lowest_padded_pool,
    narrow_groups,
    padded_window,
    pool_of_conv,
    residual,
    shared_stats,
    shared_weights,
    shuffled,
    siblings,
    squeeze,
    squeeze_and_excite,
    strided_readers,
    twice,
    two_convs,
    whole_groups,
    whole_pool,
)
from convc.tests.fuzz.network_builder import SIZES, Builder, Integer
from convc.tests.fuzz.place_patterns import angle, jump, length, moments, named, ones, remainder, running, triangle
from convc.tests.fuzz.single_layers import (
    act,
    avg_pool,
    batch_norm,
    centred,
    conv2d,
    conv_transpose,
    cut,
    dense,
    depthwise,
    global_pool,
    lp_pool,
    lrn,
    matmul,
    max_pool,
    nothing,
    pad,
    pointwise,
    resample,
    same_conv,
    scale_or_shift,
    softmax,
    unpooled,
    upsampled,
)
from convc.tests.fuzz.size_patterns import computed_in_a_row, sequence, thinned_twice
from convc.tests.fuzz.token_patterns import heads, layers_of_pixels, mixed_channels, tokens, windows
from convc.tests.fuzz.training_layers import given_back, moved_weight
from convc.tests.fuzz.value_patterns import (
    arithmetic_twice,
    cast_there_and_back,
    choice,
    curve,
    cut_of_cut,
    dynamic_layer,
    greatest,
    joined_then_cut,
    learned_slope,
    mean,
    own_statistics,
    picked,
    placed,
    product,
    quantized,
    quantized_layer,
    rearranged,
    reshaped,
    second_input,
    slices_joined,
    spread,
    stairs,
    stored_weight,
    turned,
)
from convc.tests.fuzz.whole_layers import attended, deformed, lettered, looked_up, recurrent_layer
from convc.tests.support.graphs import normal_inputs

__all__ = ["MIXERS", "MOTIFS", "RARE", "SIZES", "alone", "networks", "random_inputs_of", "random_network"]


# fmt: off
ANY = (
    act, scale_or_shift, nothing, cut, softmax, product, twice, turned, slices_joined, cast_there_and_back, second_input, cut_of_cut, reshaped,
    arithmetic_twice, mean, matmul, curve, greatest, learned_slope, choice, stairs, spread, picked,
    placed, quantized, own_statistics,
)
IMAGES = (
    conv2d, conv_bn_act, same_conv, pointwise, depthwise, batch_norm, max_pool, avg_pool, residual, branches, before_conv, after_conv,
    padded_window, lowest_padded_pool, two_convs, activations, add_convs, joined_then_cut, shared_weights, shared_stats, computed_weights,
    conv_transpose, global_pool, lrn, pad, resample, squeeze_and_excite, classifier, whole_pool, pool_of_conv, strided_readers, padded_window,
    strided_readers, classifier, own_statistics, rearranged, siblings, squeeze, two_convs, shuffled, layers_of_pixels, heads, windows,
    thinned_twice, computed_in_a_row, sequence, rearranged, upsampled, upsampled,
    tokens, narrow_groups,
)
SPACES = (  # over one axis, or three
    conv2d, conv_bn_act, same_conv, pointwise, depthwise, batch_norm, max_pool, avg_pool, residual, branches, before_conv, after_conv,
    padded_window, lowest_padded_pool, two_convs, activations, add_convs, joined_then_cut, shared_weights, shared_stats, computed_weights,
    conv_transpose, global_pool, lrn, pad, resample, squeeze_and_excite, classifier, pool_of_conv, strided_readers, own_statistics,
    siblings, squeeze, two_convs, upsampled, layers_of_pixels, heads, tokens, mixed_channels, narrow_groups,
)
# fmt: on
ROWS = (dense, matmul, batch_norm, classifier)
RARE = (
    quantized_layer,
    stored_weight,
    angle,
    remainder,
    jump,
    named,
    ones,
    triangle,
    running,
    length,
    moments,
    lettered,
    recurrent_layer,
    looked_up,
    attended,
    dynamic_layer,
    unpooled,
    deformed,
    lp_pool,
    centred,
    moved_weight,
    given_back,
)  # no pass looks for these
MIXERS = (
    tokens,
    heads,
    layers_of_pixels,
    mixed_channels,
    windows,
    own_statistics,
    own_statistics,
    narrow_groups,
    narrow_groups,
    shuffled,
    attended,
)
MOTIFS = (*IMAGES, *ANY, *ROWS, *RARE)


def build(integer: Integer, steps: int = 8, start: Graph | None = None, *, mixing: bool = False) -> Graph:
    """A network of 1 to `steps` motifs on top of `start`, or of an input; one that is `mixing` has them after some of MIXERS, of float32,
    and may have groups of whole blocks of channels beside all that."""
    b = Builder(integer, start, "f32" if mixing else "")
    for _ in range(20 if mixing else 0):  # what does not fit is not there
        grow(b, 1 if len(b.values) == 1 else 0, MIXERS)
    for _ in range(b.int(1, steps)):
        grow(b, 1)
        grow(b, b.int(0, 1) if mixing else 0, MIXERS)
    for _ in range(b.pick(0, 0, 0, 3)):
        grow(b, 1, RARE)
        grow(b, b.int(0, 1))
    if mixing and b.flag():  # last, so that what comes before is as it was
        b.attempt(whole_groups, b.values[0])
        grow(b, b.int(0, 2))
    return b.graph()


def grow(b: Builder, steps: int, motifs: tuple[Callable[[Builder, Node], Node], ...] = ()) -> None:
    """So many motifs more: of `motifs`, or of all that fit what they read."""
    for _ in range(steps):
        x = b.pick(b.values[-1], b.values[-1], b.values[-1], b.pick(*reversed(b.values)))
        if x.typed.dtype == b.dtype:
            b.attempt(
                b.pick(*(motifs or {5: (*SPACES, *ANY), 4: (*IMAGES, *ANY), 3: (*SPACES, *ANY), 2: (*ROWS, *ANY)}.get(x.typed.rank, ANY))),
                x,
            )


def alone(motif: Callable[[Builder, Node], Node], seed: int) -> Graph:
    """A network of one motif, or of none where it does not fit."""
    b = Builder(random.Random(seed).randint)
    b.attempt(motif, b.values[-1])
    return b.graph()


def random_network(seed: int, steps: int = 8, start: Graph | None = None, *, mixing: bool = False) -> Graph:
    """The network of this seed: the same on every machine."""
    return build(random.Random(seed).randint, steps, start, mixing=mixing)


@st.composite
def networks(draw: st.DrawFn, steps: int = 8) -> Graph:
    return build(lambda low, high: draw(_between(low, high)), steps)


@cache
def _between(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def random_inputs_of(graph: Graph, seed: int = 0, sizes: Mapping[str, int] = SIZES) -> dict[str, Array]:
    """Normal values, with numbers for the named sizes."""
    return normal_inputs(graph, seed, **{name: sizes[name] for name in graph.symbols})
