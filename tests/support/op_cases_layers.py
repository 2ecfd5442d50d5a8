"""Variants of whole layers: recurrent ones, sums named by letters, and what is read between the pixels."""

from __future__ import annotations

__all__ = ["LAYERS"]

# fmt: off
LAYERS = {
    "einsum": """(%a: f32[N,4,5], %b: f32[N,5,3], %s: f32[N,6,6], %i: i32[N,4,5]) {
        %w = param : f32[3,5,2]
        %k = param : f32[1,4,5]
        %product = einsum(%a, %b) {equation="bij,bjk->bik"}
        %turned = einsum(%a) {equation="bij->jib"}
        %sum = einsum(%a) {equation="bij->b"}
        %diagonal = einsum(%s) {equation="bii->bi"}
        %trace = einsum(%s) {equation="...ii->..."}
        %outer = einsum(%a, %b) {equation="bij,bkl->bil"}
        %three = einsum(%a, %b, %w) {equation="bij,bjk,kjm->bim"}
        %implied = einsum(%a, %b) {equation="bij,bjk"}
        %spread = einsum(%a, %k) {equation="...ij, ...ij -> ...j"}
        %whole = einsum(%i, %i) {equation="bij,bij->bi"}
        return %product, %turned, %sum, %diagonal, %trace, %outer, %three, %implied, %spread, %whole""",
    "rnn": """(%x: f32[5,N,4], %h: f32[2,N,3]) {
        %w = param : f32[1,3,4]
        %r = param : f32[1,3,3]
        %b = param {init=small} : f32[1,6]
        %w2 = param : f32[2,3,4]
        %r2 = param : f32[2,3,3]
        %plain = rnn(%x, %w, %r) {hidden=3}
        %bias = rnn(%x, %w, %r, %b) {hidden=3, direction=reverse, activations=[Relu], given=[bias]}
        %both = rnn(%x, %w2, %r2, %h) {hidden=3, direction=bidirectional, clip=0.75, given=[start]}
        %last = rnn(%x, %w2, %r2, %h) {hidden=3, direction=bidirectional, clip=0.75, given=[start], result=1}
        return %plain, %bias, %both, %last""",
    "gru": """(%x: f32[5,N,4], %h: f32[1,N,3]) {
        %w = param : f32[1,9,4]
        %r = param : f32[1,9,3]
        %b = param {init=small} : f32[1,18]
        %w2 = param : f32[2,9,4]
        %r2 = param : f32[2,9,3]
        %b2 = param {init=small} : f32[2,18]
        %plain = gru(%x, %w, %r) {hidden=3}
        %torch = gru(%x, %w, %r, %b, %h) {hidden=3, linear_before_reset=true, given=[bias,start]}
        %reset = gru(%x, %w, %r, %b, %h) {hidden=3, direction=reverse, given=[bias,start]}
        %both = gru(%x, %w2, %r2, %b2) {hidden=3, direction=bidirectional, given=[bias]}
        %last = gru(%x, %w2, %r2, %b2) {hidden=3, direction=bidirectional, given=[bias], result=1}
        return %plain, %torch, %reset, %both, %last""",
    "lstm": """(%x: f32[5,N,4], %h: f32[1,N,3], %c: f32[1,N,3]) {
        %w = param : f32[1,12,4]
        %r = param : f32[1,12,3]
        %b = param {init=small} : f32[1,24]
        %p = param {init=small} : f32[1,9]
        %w2 = param : f32[2,12,4]
        %r2 = param : f32[2,12,3]
        %b2 = param {init=small} : f32[2,24]
        %plain = lstm(%x, %w, %r) {hidden=3}
        %torch = lstm(%x, %w, %r, %b, %h, %c) {hidden=3, given=[bias,start,cell]}
        %state = lstm(%x, %w, %r, %b, %h, %c) {hidden=3, given=[bias,start,cell], result=1}
        %cell = lstm(%x, %w, %r, %b, %h, %c) {hidden=3, given=[bias,start,cell], result=2}
        %peep = lstm(%x, %w, %r, %b, %p) {hidden=3, direction=reverse, given=[bias,peepholes]}
        %both = lstm(%x, %w2, %r2, %b2) {hidden=3, direction=bidirectional, given=[bias]}
        %last = lstm(%x, %w2, %r2, %b2) {hidden=3, direction=bidirectional, given=[bias], result=2}
        return %plain, %torch, %state, %cell, %peep, %both, %last""",
    "lengths_of_sequences": """(%x: f32[5,2,4], %y: f32[2,5,4]) {
        %two = param {init=full, value=2.0} : i32[2]
        %w = param : f32[2,12,4]
        %r = param : f32[2,12,3]
        %v = param : f32[1,3,4]
        %s = param : f32[1,3,3]
        %short = lstm(%x, %w, %r, %two) {hidden=3, direction=bidirectional, given=[lengths]}
        %end = lstm(%x, %w, %r, %two) {hidden=3, direction=bidirectional, given=[lengths], result=1}
        %back = rnn(%x, %v, %s, %two) {hidden=3, direction=reverse, given=[lengths]}
        %batch = lstm(%y, %w, %r) {hidden=3, direction=bidirectional, layout=1}
        %batch_end = lstm(%y, %w, %r) {hidden=3, direction=bidirectional, layout=1, result=1}
        return %short, %end, %back, %batch, %batch_end""",
    "attention": """(%q: f32[N,4,3,6], %k: f32[N,2,5,6], %v: f32[N,2,5,4], %a: f32[N,3,8], %b: f32[N,5,8], %m: bool[3,5]) {
        %bias = param : f32[4,3,5]
        %plain = attention(%q, %k, %v)
        %flat = attention(%a, %b, %b) {q_heads=4, kv_heads=4}
        %causal = attention(%q, %k, %v) {causal=true, scale=0.5}
        %masked = attention(%q, %k, %v, %m) {given=[mask]}
        %biased = attention(%q, %k, %v, %bias) {softcap=2.0, causal=true, given=[mask]}
        %shares = attention(%q, %k, %v, %bias) {scores=3, given=[mask], result=3}
        return %plain, %flat, %causal, %masked, %biased, %shares""",
    "attention_with_past": """(%q: f32[2,4,3,6], %k: f32[2,4,5,6], %v: f32[2,4,5,4], %p: f32[2,4,2,6], %o: f32[2,4,2,4]) {
        %two = param {init=full, value=4.0} : i64[2]
        %y = attention(%q, %k, %v, %p, %o) {causal=true, given=[past_key,past_value]}
        %keys = attention(%q, %k, %v, %p, %o) {causal=true, given=[past_key,past_value], result=1}
        %values = attention(%q, %k, %v, %p, %o) {causal=true, given=[past_key,past_value], result=2}
        %short = attention(%q, %k, %v, %two) {given=[lengths]}
        %near = attention(%q, %k, %v) {left=1, right=0}
        return %y, %keys, %values, %short, %near""",
    "rotary_embedding": """(%x: f32[N,2,3,8], %y: f32[N,3,8], %c: f32[N,3,4], %s: f32[N,3,4], %d: f32[N,3,2], %t: f32[N,3,2], %w: f32[2,2,3,8]) {
        %table = param : f32[5,4]
        %other = param : f32[5,4]
        %places = param {init=full, value=2.0} : i64[2,3]
        %plain = rotary_embedding(%x, %c, %s)
        %pairs = rotary_embedding(%x, %c, %s) {interleaved=true}
        %part = rotary_embedding(%x, %d, %t) {dim=4}
        %flat = rotary_embedding(%y, %d, %t) {heads=2, interleaved=true}
        %placed = rotary_embedding(%w, %table, %other, %places)
        return %plain, %pairs, %part, %flat, %placed""",
    "grid_sample": """(%x: f32[N,3,5,6], %g: f32[N,4,7,2]) {
        %plain = grid_sample(%x, %g)
        %corners = grid_sample(%x, %g) {align_corners=true}
        %border = grid_sample(%x, %g) {padding=border}
        %near = grid_sample(%x, %g) {mode=nearest}
        %near_border = grid_sample(%x, %g) {mode=nearest, padding=border, align_corners=true}
        return %plain, %corners, %border, %near, %near_border""",
    "grid_sample-more": """(%x: f32[N,3,5,6], %g: f32[N,4,7,2], %v: f32[N,2,3,4,5], %h: f32[N,2,3,2,3]) {
        %mirror = grid_sample(%x, %g) {padding=reflection}
        %mirror_corners = grid_sample(%x, %g) {padding=reflection, align_corners=true}
        %cubic = grid_sample(%x, %g) {mode=cubic}
        %cubic_border = grid_sample(%x, %g) {mode=cubic, padding=border, align_corners=true}
        %cubic_mirror = grid_sample(%x, %g) {mode=cubic, padding=reflection}
        %volume = grid_sample(%v, %h) {padding=border}
        return %mirror, %mirror_corners, %cubic, %cubic_border, %cubic_mirror, %volume""",
    "deform_conv2d": """(%x: f32[N,4,7,8], %o: f32[N,18,7,8], %p: f32[N,16,4,7], %m: f32[N,8,4,7], %q: f32[N,12,3,7]) {
        %w = param : f32[6,4,3,3]
        %v = param : f32[6,2,2,2]
        %t = param : f32[4,1,2,3]
        %b = param {init=small} : f32[6]
        %plain = deform_conv2d(%x, %w, %o) {pads=[1,1,1,1]}
        %bias = deform_conv2d(%x, %w, %o, %b) {pads=[1,2,1,0], given=[bias]}
        %groups = deform_conv2d(%x, %v, %p, %b, %m) {strides=[2,1], pads=[1,1,1,0], dilations=[2,2], groups=2, offset_groups=2, given=[bias,mask]}
        %masked = deform_conv2d(%x, %v, %p, %m) {strides=[2,1], pads=[1,0,0,0], groups=2, offset_groups=2, given=[mask]}
        %depthwise = deform_conv2d(%x, %t, %q) {strides=[3,1], pads=[1,0,1,1], groups=4}
        return %plain, %bias, %groups, %masked, %depthwise""",
    "roi_align": """(%x: f32[N,3,9,10], %p: f32[4,2], %q: f32[4,2]) {
        %three = param {init=full, value=3.0} : f32[]
        %start = mul(%p, %three)
        %size = mul(%q, %three)
        %far = abs(%size)
        %end = add(%start, %far)
        %rois = concat(%start, %end) {axis=1}
        %images = param {init=zeros} : i64[4]
        %mean = roi_align(%x, %rois, %images) {size=[2,3]}
        %sampled = roi_align(%x, %rois, %images) {size=[3,2], ratio=2, scale=0.75}
        %old = roi_align(%x, %rois, %images) {size=[2,2], ratio=3, half_pixel=false}
        %most = roi_align(%x, %rois, %images) {size=[2,2], mode=max, ratio=2}
        return %mean, %sampled, %old, %most""",
}
# fmt: on
