"""The reference kernels against identities that they were not written from."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from convc.backends import reference
from convc.ir.dims import evaluate, symbol
from convc.ir.errors import InvalidModel, ShapeError
from convc.ir.ops import conv as conv_module
from convc.ir.ops.conv import CONVS, Conv2d, conv, infer_conv
from convc.ir.ops.conv_transpose import CONV_TRANSPOSES, conv_transpose, infer_conv_transpose
from convc.ir.ops.pool import AvgPool, MaxPool, avg_pool, infer_pool, max_pool
from convc.ir.ops.window import unread, window_count
from convc.ir.types import TensorType
from convc.tests.support.graphs import typed_graph

SMALL = st.integers(1, 3)


@st.composite
def conv_cases(draw, kinds=CONVS):
    """Attributes, an input and filters, over one axis, two or three."""
    axes = draw(st.integers(1, 3))
    groups, per_group, out_per_group = draw(SMALL), draw(SMALL), draw(SMALL)
    kernel, strides, dilations = (draw(st.tuples(*[SMALL] * axes)) for _ in range(3))
    pads = draw(st.tuples(*[st.integers(0, 2)] * (2 * axes)))
    least = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [draw(st.integers(max(1, e - pads[i] - pads[i + axes]), e + (5 if axes < 3 else 2))) for i, e in enumerate(least)]
    draws = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = draws.standard_normal((draw(st.integers(1, 2)), groups * per_group, *size))
    if kinds is CONVS:
        w = draws.standard_normal((groups * out_per_group, per_group, *kernel))
    else:
        w = draws.standard_normal((groups * per_group, out_per_group, *kernel))
    return kinds[axes - 1].Attrs(strides, pads, dilations, groups), x, w


def as_matrix(op, shape, w):
    """A convolution of one input as a sparse matrix: row = output element, column = input element (Dumoulin & Visin 2016, sec. 4.1)."""
    sizes, (c_out, per_group, *kernel), axes = shape[1:], w.shape, len(shape) - 1
    out = [window_count(sizes[i], op.dilations[i] * (kernel[i] - 1) + 1, op.strides[i], op.pads[i], op.pads[i + axes]) for i in range(axes)]
    entries = []
    for o, c in product(range(c_out), range(per_group)):
        channel = o // (c_out // op.groups) * per_group + c
        for at, tap in product(product(*map(range, out)), product(*map(range, kernel))):
            read = tuple(at[i] * op.strides[i] + tap[i] * op.dilations[i] - op.pads[i] for i in range(axes))
            if all(0 <= place < size for place, size in zip(read, sizes, strict=True)):
                result, source = np.ravel_multi_index((o, *at), (c_out, *out)), np.ravel_multi_index((channel, *read), shape)
                entries.append((result, source, w[(o, c, *tap)]))
    at_row, at_col, values = zip(*entries, strict=True) if entries else ((), (), ())
    matrix = sparse.coo_array((values, (at_row, at_col)), shape=(c_out * int(np.prod(out)), int(np.prod(shape))))
    return matrix.tocsr(), (c_out, *out)


@given(conv_cases())
@settings(deadline=None, max_examples=60)
def test_convolution_is_a_sparse_matrix(case):
    op, x, w = case
    matrix, shape = as_matrix(op, x.shape[1:], w)
    expected = np.stack([(matrix @ image.ravel()).reshape(shape) for image in x])
    got = conv(op, x, w)
    assert infer_conv(op, TensorType.of(x), TensorType.of(w)).shape == got.shape
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@given(conv_cases(CONV_TRANSPOSES), st.tuples(*[st.integers(0, 2)] * 3))
@settings(deadline=None, max_examples=60)
def test_transposed_convolution_is_the_transposed_matrix(case, extra):
    """<conv(y), x> = <y, conv^T(x)>: the adjoint, for every stride, pad, dilation, group and output padding."""
    op, x, w = case
    op = replace(op, output_padding=extra[: len(op.strides)])
    try:
        result = infer_conv_transpose(op, TensorType.of(x), TensorType.of(w))
    except ShapeError:
        return  # everything cropped away, or an output padding that no forward size explains
    got = conv_transpose(op, x, w)
    assert result.shape == got.shape
    forward = CONVS[len(op.strides) - 1].Attrs(op.strides, op.pads, op.dilations, op.groups)
    y = np.random.default_rng(0).standard_normal(got.shape)
    back = conv(forward, y, w)[tuple(map(slice, x.shape))]
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(back, x), np.vdot(y, got), rtol=1e-9, atol=1e-9)


@given(st.integers(0, 2**32), st.tuples(SMALL, SMALL), st.tuples(st.integers(4, 9), st.integers(4, 9)))
@settings(deadline=None)
def test_convolution_theorem(seed, kernel, size):
    """A full convolution is a product of spectra: conv2d with the kernel flipped and every overlap padded in."""
    draws = np.random.default_rng(seed)
    x, w = draws.standard_normal((1, 1, *size)), draws.standard_normal((1, 1, *kernel))
    rows, cols = kernel[0] - 1, kernel[1] - 1
    got = conv(Conv2d(pads=(rows, cols, rows, cols)), x, w[:, :, ::-1, ::-1])
    full = (size[0] + rows, size[1] + cols)
    expected = np.fft.irfft2(np.fft.rfft2(x[0, 0], full) * np.fft.rfft2(w[0, 0], full), full)
    np.testing.assert_allclose(got[0, 0], expected, atol=1e-12)


def test_blocks_of_rows_give_the_same_result(monkeypatch):
    draws = np.random.default_rng(0)
    x, w = draws.standard_normal((2, 4, 17, 13)), draws.standard_normal((6, 2, 3, 3))
    op = Conv2d((2, 1), (1, 0, 1, 1), (1, 2), 2)
    whole = conv(op, x, w)
    monkeypatch.setattr(conv_module, "BLOCK_BYTES", 1)
    np.testing.assert_allclose(conv(op, x, w), whole, rtol=1e-13)


@st.composite
def pool_cases(draw):
    axes = draw(st.integers(1, 3))
    kernel, strides, dilations = (draw(st.tuples(*[SMALL] * axes)) for _ in range(3))
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = tuple(draw(st.integers(0, extent[i % axes] - 1)) for i in range(2 * axes))
    size = [draw(st.integers(e, e + (6 if axes < 3 else 2))) for e in extent]
    x = np.random.default_rng(draw(st.integers(0, 2**32))).standard_normal((1, 2, *size))
    return x, kernel, strides, pads, dilations, draw(st.booleans())


def _windows(x, kernel, strides, pads, dilations, shape):
    """(output position, the input values in its window, positions inside the padded input) by the definition."""
    axes, sizes = len(kernel), x.shape[2:]

    def lies(place, before, after):
        return all(-b <= p < size + a for p, size, b, a in zip(place, sizes, before, after, strict=True))

    for at in product(*map(range, shape[2:])):
        taps = product(*map(range, kernel))
        read = [tuple(at[i] * strides[i] + tap[i] * dilations[i] - pads[i] for i in range(axes)) for tap in taps]
        inside = [place for place in read if lies(place, (0,) * axes, (0,) * axes)]
        padded = [place for place in read if lies(place, pads[:axes], pads[axes:])]
        yield at, np.array([x[(slice(None), slice(None), *place)] for place in inside]), len(padded)


@given(pool_cases())
@settings(deadline=None, max_examples=80)
def test_pools_follow_their_definition(case):
    x, kernel, strides, pads, dilations, ceil = case
    op = MaxPool(kernel, strides, pads, dilations, ceil)
    shape = infer_pool(op, TensorType.of(x)).shape
    got = {
        "max": max_pool(op, x),
        "mean": avg_pool(AvgPool(kernel, strides, pads, dilations, ceil, False), x),
        "padded": avg_pool(AvgPool(kernel, strides, pads, dilations, ceil, True), x),
    }
    assert {value.shape for value in got.values()} == {shape}
    for at, inside, padded in _windows(x, kernel, strides, pads, dilations, shape):
        if len(inside) == 0:  # a dilated window may straddle the input without touching it
            continue
        here = (slice(None), slice(None), *at)
        np.testing.assert_allclose(got["max"][here], inside.max(axis=0))
        np.testing.assert_allclose(got["mean"][here], inside.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(got["padded"][here], inside.sum(axis=0) / padded, atol=1e-12)


@pytest.mark.parametrize(("stride", "count"), [(1, 5), (2, 3), (3, 2)])
def test_the_course_s_window_arithmetic(stride, count):
    assert window_count(7, 3, stride, 0, 0) == count


def test_what_a_stride_leaves_unread():
    assert unread(7, 3, 3, 0, 0) == (1, 1)
    assert unread(224, 7, 2, 3, 3) == (1, 0)  # ResNet's first layer leaves over one column of padding, none of the image
    assert unread(7, 3, 2, 0, 0) == (0, 0)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "ceil", "count"), [(6, 3, 2, 0, True, 3), (5, 2, 2, 1, True, 3), (112, 3, 2, 0, True, 56)]
)
def test_ceil_mode_drops_a_window_that_starts_in_the_padding(size, kernel, stride, pad, ceil, count):
    assert window_count(size, kernel, stride, pad, pad, ceil=ceil) == count


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), st.integers(0, 3), st.integers(1, 20), st.booleans())
def test_windows_over_a_named_size_are_counted_as_over_its_number(kernel, stride, before, after, size, ceil):
    assume(kernel <= size + before + after)
    assume(after <= kernel)
    named = window_count(symbol("H"), kernel, stride, before, after, ceil=ceil)
    assert evaluate(named, {"H": size}) == window_count(size, kernel, stride, before, after, ceil=ceil)


@pytest.mark.parametrize("text", ["conv2d(%x, %w) {strides=[1000000000,1], ", "max_pool(%x) {kernel=[2,1], dilations=[1000000000,1], "])
def test_a_border_without_end_is_refused_before_it_is_made(text):
    net = f"graph @g(%x: f32[1,1,4,4]) {{ %w = param : f32[1,1,1,1] %y = {text}pads=[1000000000,0,0,0]}} return %y }}"
    with pytest.raises(InvalidModel, match=r"%y = .*pads \[1000000000, 0, 0, 0\] make 4,000,000,016 elements of 16, too many to hold"):
        reference.run(typed_graph(net), {"x": np.ones((1, 1, 4, 4), np.float32)})
