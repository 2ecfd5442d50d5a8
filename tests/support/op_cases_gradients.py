"""Variants of the ops that only a training has."""

from __future__ import annotations

__all__ = ["GRADIENT_OPS"]

# fmt: off
GRADIENT_OPS = {
    "conv_weight_gradients": """(%x: f32[N,4,9,10], %z: f32[N,12,9,8], %s: f32[N,4,11], %v: f32[N,2,4,5,6], %p: f32[N,6,7,8], %u: f32[N,5,5,10], %d: f32[N,6,5,7], %q: f32[N,8,5,4], %c: f32[N,8,9,5], %t: f32[N,5,5,5], %w: f32[N,10,9,8], %l: f32[N,6,5], %m: f32[N,4,3,4,3]) {
        %plain = conv2d_weight_gradient(%x, %p) {kernel=[3,3]}
        %uneven = conv2d_weight_gradient(%x, %u) {kernel=[3,2], strides=[2,1], pads=[0,1,2,0]}
        %dilated = conv2d_weight_gradient(%x, %d) {kernel=[3,3], pads=[2,1,0,0], dilations=[3,2], strides=[1,1]}
        %grouped = conv2d_weight_gradient(%x, %q) {kernel=[3,2], strides=[2,3], pads=[1,0,1,1], groups=2}
        %depthwise = conv2d_weight_gradient(%x, %c) {kernel=[3,3], pads=[1,1,1,1], groups=4, strides=[1,2]}
        %pointwise = conv2d_weight_gradient(%x, %t) {kernel=[1,1], strides=[2,2]}
        %wide = conv2d_weight_gradient(%z, %w) {kernel=[3,3], pads=[1,1,1,1]}
        %line = conv1d_weight_gradient(%s, %l) {kernel=[3], strides=[2]}
        %volume = conv3d_weight_gradient(%v, %m) {kernel=[2,2,2], strides=[1,1,2]}
        return %plain, %uneven, %dilated, %grouped, %depthwise, %pointwise, %wide, %line, %volume""",
    "max_pool_gradient": """(%x: f32[N,3,9,10], %p: f32[N,3,8,8], %u: f32[N,3,5,5], %d: f32[N,3,8,5], %e: f32[N,3,4,5], %o: f32[N,3,3,4], %s: f32[N,2,11], %l: f32[N,2,6], %v: f32[N,2,4,5,6], %m: f32[N,2,2,5,3], %i: i32[N,3,9,10]) {
        %few = cast(%i) {to=f32}
        %none = param {init=full, value=0.0} : f32[]
        %flat = minimum(%few, %none)
        %plain = max_pool_gradient(%x, %p) {kernel=[2,3]}
        %padded = max_pool_gradient(%x, %u) {kernel=[3,3], strides=[2,2], pads=[1,0,1,2]}
        %dilated = max_pool_gradient(%x, %d) {kernel=[2,3], strides=[1,2], dilations=[3,2], pads=[1,1,1,2]}
        %ceil = max_pool_gradient(%x, %e) {kernel=[3,3], strides=[2,2], ceil_mode=true}
        %dropped = max_pool_gradient(%x, %o) {kernel=[2,2], strides=[3,3], pads=[0,1,1,1], ceil_mode=true}
        %ties = max_pool_gradient(%flat, %p) {kernel=[2,3]}
        %sequence = max_pool_gradient(%s, %l) {kernel=[3], strides=[2], pads=[1,2]}
        %volume = max_pool_gradient(%v, %m) {kernel=[2,2,3], strides=[2,1,2], pads=[0,1,1,0,0,0]}
        return %plain, %padded, %dilated, %ceil, %dropped, %ties, %sequence, %volume""",
}
# fmt: on
