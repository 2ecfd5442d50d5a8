"""The singular values of a layer, of its weights or of what it computes on real inputs, and the factors they lead to.

Weights alone: the truncated SVD of W [K, D*taps] and, for the input channels, of its unfolding along D (De Lathauwer et al.
2000, HOSVD). With data, both are whitened by second moments of the layer's input, so that the error that is least is that of
the outputs: for output channels this is exactly the principal components of W x (Zhang et al. 2015, Accelerating Very Deep
Networks, sec. 3.1); for input channels the moments of a patch are modelled as taps (x) channels, a Kronecker product, which a few
images suffice to estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir.types import Array
from .forms import Factors, Split, Splittable

__all__ = ["LayerWeights", "Moments", "Spectrum", "factors_of", "spectrum"]

TINY = 1e-10  # of the mean variance: below it there is only rounding


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """W as [K, D, taps], and `reduced` [d, D*taps] with `range` [K, d] times it equal to W: d is at most D*taps."""

    values: Array
    bias: Array
    reduced: Array
    range: Array | None

    @staticmethod
    def of(layer: Splittable) -> LayerWeights:
        w, *b = (operand.weights.array() for operand in layer.node.inputs[1:] if operand.weights is not None)
        flat = w.reshape(layer.c_out, -1)
        values, bias = w.reshape(layer.c_out, layer.c_in, layer.taps), b[0] if b else np.zeros(layer.c_out)
        if flat.shape[0] <= flat.shape[1]:
            return LayerWeights(values, bias, flat, None)
        range_, reduced = np.linalg.qr(flat.astype(np.float64))
        return LayerWeights(values, bias, reduced, range_)

    def spread(self, basis: Array) -> Array:
        """Columns over the reduced outputs as columns over all K."""
        return basis if self.range is None else self.range @ basis


@dataclass(eq=False)
class Moments:
    """Sums over sampled patches x [D, taps] of a layer's input, and over its reduced outputs z = reduced x."""

    count: int
    x: Array  # [D*taps]
    xx: float
    z: Array  # [d]
    zz: Array  # [d, d]
    channels: Array  # [D, D], summed over taps; empty for a layer of one tap
    taps: Array  # [taps, taps], summed over channels

    @staticmethod
    def none(layer: Splittable, weights: LayerWeights) -> Moments:
        d, channels = len(weights.reduced), 0 if layer.has_one_tap else layer.c_in
        width = layer.c_in * layer.taps
        return Moments(
            0, np.zeros(width), 0.0, np.zeros(d), np.zeros((d, d)), np.zeros((channels, channels)), np.zeros((layer.taps, layer.taps))
        )

    def add(self, patches: Array, weights: LayerWeights) -> None:
        """Patches [n, D, taps] in float32; the products are too, their sums are not."""
        n, channels, taps = patches.shape
        flat = patches.reshape(n, -1)
        z = flat @ weights.reduced.astype(flat.dtype, copy=False).T
        self.count += n
        self.x += flat.sum(axis=0, dtype=np.float64)
        self.xx += float(np.vdot(flat, flat))
        self.z += z.sum(axis=0, dtype=np.float64)
        self.zz += z.T @ z
        if taps > 1:
            pixels = np.ascontiguousarray(patches.transpose(0, 2, 1)).reshape(-1, channels)
            self.channels += pixels.T @ pixels
            windows = patches.reshape(-1, taps)
            self.taps += windows.T @ windows

    def plus(self, other: Moments) -> Moments:
        return Moments(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What each rank loses, as a share of the variance of the layer's outputs, and the bases that lose it.

    `lost_outputs[r]` with r output components, `lost_inputs[r]` with r input ones; `basis` [K, d] and `read` [D, D], `write` [D, D]
    hold the components, greatest first. `mean` [D, taps] is the mean patch.
    """

    basis: Array
    lost_outputs: Array
    read: Array
    write: Array
    lost_inputs: Array
    mean: Array

    def lost(self, split: Split) -> float:
        """Of `both`, an upper bound: the output projection is orthogonal, so the two errors at most add up."""
        match split.form:
            case "reduce":
                return float(self.lost_inputs[split.ranks[0]])
            case "both":
                return float(self.lost_inputs[split.ranks[0]] + self.lost_outputs[split.ranks[1]])
            case _:
                return float(self.lost_outputs[split.ranks[0]])


def spectrum(layer: Splittable, weights: LayerWeights, folds: tuple[Moments, Moments] | None) -> Spectrum:
    """The spectrum over both folds; its losses are those of the second under the bases of the first, so that they hold on new inputs.

    Without folds, of the weights alone.
    """
    if folds is None:
        white = _white(layer, weights)
        return _spectrum(layer, weights, white, white, white)
    fit, test = folds
    return _spectrum(layer, weights, *(_centred(layer, weights, moments) for moments in (fit.plus(test), fit, test)))


def factors_of(weights: LayerWeights, found: Spectrum, split: Split, kernel: tuple[int, ...], is_dense: bool) -> Factors:
    """The values of a split. The bias takes up what the lost components are on average."""
    w = weights.values.astype(np.float64)
    core = w
    if split.form in ("reduce", "both"):
        read, write = found.read[: split.ranks[0]], found.write[:, : split.ranks[0]]
        core = np.einsum("kdt,dr->krt", w, write, optimize=True)
        near = np.einsum("krt,rd->kdt", core, read, optimize=True)
    else:
        read, near = None, w
    if split.form != "reduce":
        basis = found.basis[:, : split.ranks[-1]]
        core = np.tensordot(basis.T, core, 1)
        near = np.tensordot(basis, np.tensordot(basis.T, near, 1), 1)
    else:
        basis = None
    bias = weights.bias + np.tensordot(w - near, found.mean, 2)
    core = core[:, :, 0] if is_dense else core.reshape(*core.shape[:2], *kernel)
    ones = () if is_dense else (1,) * len(kernel)
    outer = [None if m is None else m.reshape(*m.shape, *ones) for m in (read, basis)]
    return Factors(split, tuple(value for value in (outer[0], core, outer[1]) if value is not None), bias)


@dataclass(frozen=True, eq=False)
class _Centred:
    """Covariances: of reduced outputs `z`, of input `channels`, of `taps` (mean 1 on the diagonal); shrunk ones beside them."""

    mean_x: Array
    mean_z: Array
    z: Array
    z_shrunk: Array
    channels: Array
    channels_shrunk: Array
    taps: Array


def _white(layer: Splittable, weights: LayerWeights) -> _Centred:
    reduced = weights.reduced.astype(np.float64)
    z, eye = reduced @ reduced.T, np.eye(0 if layer.has_one_tap else layer.c_in)
    return _Centred(np.zeros(layer.c_in * layer.taps), np.zeros(len(z)), z, z, eye, eye, np.eye(layer.taps))


def _centred(layer: Splittable, weights: LayerWeights, m: Moments) -> _Centred:
    """Means taken off. Few samples of many channels say little of any one: those move towards white inputs."""
    mean_x, mean_z = m.x / m.count, m.z / m.count
    z = m.zz / m.count - np.outer(mean_z, mean_z)
    variance = max(m.xx / m.count - float(mean_x @ mean_x), 0.0) / len(mean_x)
    share = len(z) / (len(z) + m.count)
    z_shrunk = (1 - share) * z + share * variance * _gram(weights.reduced)
    by_channel = mean_x.reshape(layer.c_in, layer.taps)
    channels = channels_shrunk = np.zeros((0, 0))
    taps = np.ones((1, 1))
    if not layer.has_one_tap:
        channels = m.channels / (m.count * layer.taps) - by_channel @ by_channel.T / layer.taps
        share = layer.c_in / (layer.c_in + m.count)
        channels_shrunk = (1 - share) * channels + share * variance * np.eye(layer.c_in)
        taps = m.taps / m.count - by_channel.T @ by_channel
        taps = taps * (layer.taps / max(float(np.trace(taps)), TINY))
    return _Centred(mean_x, mean_z, z, z_shrunk, channels, channels_shrunk, taps)


def _spectrum(layer: Splittable, weights: LayerWeights, whole: _Centred, fit: _Centred, test: _Centred) -> Spectrum:
    read = write = np.zeros((0, 0))
    inputs = np.zeros(1)
    if not layer.has_one_tap:
        w = weights.values.astype(np.float64)
        inputs = _lost_inputs(w, fit, test)
        read, write, _ = _input_bases(w, whole)
    mean = whole.mean_x.reshape(layer.c_in, layer.taps)
    return Spectrum(weights.spread(_eigen(whole.z_shrunk)[1]), _lost_outputs(fit, test), read, write, inputs, mean)


def _lost_outputs(fit: _Centred, test: _Centred) -> Array:
    """Of the variance of `test`, what the first r components of `fit` leave, for r = 0, 1, ..."""
    shift = test.mean_z - fit.mean_z
    basis = _eigen(fit.z_shrunk)[1]
    kept = np.einsum("ij,ij->j", basis, (test.z + np.outer(shift, shift)) @ basis)
    total = float(np.trace(test.z))
    left = total + float(shift @ shift) - np.concatenate([[0.0], np.cumsum(kept)])
    return np.maximum(left, 0.0) / total if total > 0 else np.zeros(len(left))


def _lost_inputs(w: Array, fit: _Centred, test: _Centred) -> Array:
    """The same for input components. In their coordinates the weights' moments are diagonal, so losses add up."""
    read, _, weight = _input_bases(w, fit)
    kept = weight * np.einsum("ij,ij->i", read @ test.channels, read)
    total = float(np.sum(_tap_gram(w, test.taps) * test.channels))
    tail = np.concatenate([np.cumsum(kept[::-1])[::-1], [0.0]])
    return np.maximum(tail, 0.0) / total if total > 0 else np.zeros(len(tail))


def _input_bases(w: Array, moments: _Centred) -> tuple[Array, Array, Array]:
    """read [D, D] and write [D, D], of which the first r rows and columns lose least, and the weights' moment along each.

    With channels = L L^T and M the weights' moments, L^T M L = R diag R^T; read is R^T L^-1, write is L R.
    """
    channels = moments.channels_shrunk
    size = float(np.trace(channels)) / len(channels)
    root = np.linalg.cholesky(channels + TINY * size * np.eye(len(channels))) if size > 0 else np.eye(len(channels))
    weight, turn = _eigen(root.T @ _tap_gram(w, moments.taps) @ root)
    return np.linalg.solve(root.T, turn).T, root @ turn, np.maximum(weight, 0.0)


def _tap_gram(w: Array, taps: Array) -> Array:
    """Sum over taps f, g of taps[f, g] W_f^T W_g: [D, D]."""
    return np.tensordot(w @ taps, w, axes=([0, 2], [0, 2]))


def _gram(reduced: Array) -> Array:
    return (reduced @ reduced.T).astype(np.float64)


def _eigen(symmetric: Array) -> tuple[Array, Array]:
    """Eigenvalues and vectors (columns), greatest first; large ones in float32, which is half the time."""
    narrow = symmetric.astype(np.float32) if len(symmetric) > 1024 else symmetric
    values, vectors = np.linalg.eigh(narrow)
    return values[::-1].astype(np.float64), vectors[:, ::-1].astype(np.float64)
