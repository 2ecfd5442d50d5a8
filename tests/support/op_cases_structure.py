"""Variants of the ops on structure: reductions, choices, rearrangements, norms of a value by itself, quantization."""

from __future__ import annotations

__all__ = ["STRUCTURE"]

# fmt: off
STRUCTURE = {
    "reductions": """(%x: f32[N,3,4,5], %s: f32[]) {
        %sum = reduce_sum(%x)
        %sums = reduce_sum(%x) {axes=[1,-1], keepdims=false}
        %max = reduce_max(%x) {axes=[2,3]}
        %most = reduce_max(%x) {keepdims=false}
        %min = reduce_min(%x) {axes=[-1]}
        %least = reduce_min(%x) {axes=[0,2], keepdims=false}
        %prod = reduce_prod(%x) {axes=[-1,1]}
        %product = reduce_prod(%x) {axes=[3], keepdims=false}
        %scalar = reduce_sum(%s)
        %single = reduce_max(%s)
        return %sum, %sums, %max, %most, %min, %least, %prod, %product, %scalar, %single""",
    "whole_reductions": """(%i: i32[N,3,7], %l: i64[N,3,7], %b: i8[N,40], %u: u8[N,40]) {
        %sum = reduce_sum(%i) {axes=[2]}
        %prod = reduce_prod(%i) {axes=[1], keepdims=false}
        %longs = reduce_sum(%l) {axes=[0,1]}
        %product = reduce_prod(%l) {axes=[1]}
        %max = reduce_max(%i) {axes=[1]}
        %least = reduce_min(%l) {keepdims=false}
        %byte = reduce_max(%b) {axes=[1]}
        %low = reduce_min(%u) {axes=[1]}
        return %sum, %prod, %longs, %product, %max, %least, %byte, %low""",
    "places": """(%x: f32[N,6,4,5], %i: i32[N,300]) {
        %flat = reshape(%i) {shape=[N,3,100]}
        %first = arg_max(%x)
        %channel = arg_max(%x) {axis=1}
        %row = arg_max(%x) {axis=-2, keepdims=false}
        %least = arg_min(%x) {axis=1, keepdims=false}
        %ties = arg_max(%i) {axis=1}
        %last = arg_max(%i) {axis=1, select_last_index=true}
        %low = arg_min(%flat) {axis=2, keepdims=false}
        %lowest = arg_min(%flat) {axis=-1, keepdims=false, select_last_index=true}
        return %first, %channel, %row, %least, %ties, %last, %low, %lowest""",
    "gather": """(%x: f32[N,6,4,5], %i: i32[N,7]) {
        %places = arg_max(%x) {axis=1, keepdims=false}
        %six = param {init=full, value=6.0} : i64[]
        %two = param {init=full, value=2.0} : i32[3,1]
        %one = param {init=full, value=-1.0} : i64[]
        %ends = sub(%places, %six)
        %short = cast(%places) {to=i32}
        %table = param : f32[6,9]
        %rows = gather(%table, %places)
        %backward = gather(%table, %ends)
        %narrow = gather(%table, %short)
        %column = gather(%x, %two) {axis=2}
        %channel = gather(%x, %one) {axis=-3}
        %whole = gather(%i, %two) {axis=1}
        return %rows, %backward, %narrow, %column, %channel, %whole""",
    "top_k": """(%x: f32[N,6,4,5], %i: i64[N,300]) {
        %best = top_k_values(%x) {k=3}
        %where = top_k_indices(%x) {k=3}
        %channels = top_k_values(%x) {k=2, axis=1, largest=false}
        %which = top_k_indices(%x) {k=6, axis=-3, largest=false}
        %ties = top_k_indices(%i) {k=250}
        %tied = top_k_indices(%i) {k=250, axis=1, largest=false}
        %sorted = top_k_values(%i) {k=300}
        return %best, %where, %channels, %which, %ties, %tied, %sorted""",
    "rearrangements": """(%x: f32[N,12,4,6], %i: i64[N,1,3], %s: f32[]) {
        %grown = depth_to_space(%x) {block=2}
        %shuffled = depth_to_space(%x) {block=2, mode=CRD}
        %same = depth_to_space(%x) {block=1}
        %stacked = space_to_depth(%x) {block=2}
        %one = slice(%x) {axes=[1], starts=[0], ends=[1]}
        %expanded = expand(%one) {shape=[2,1,5,1,1]}
        %named = expand(%one) {shape=[N,7,4,1]}
        %up = expand(%s) {shape=[2,3]}
        %wide = expand(%i) {shape=[4,1]}
        %start = param {init=full, value=3} : i32[]
        %delta = param {init=full, value=-0.5} : f32[]
        %back = range(%delta, %delta) {count=7}
        %images = range(%start, %start) {count=N}
        %tiled = tile(%x) {repeats=[1,2,1,3]}
        %batches = tile(%i) {repeats=[2,3,1]}
        return %grown, %shuffled, %same, %stacked, %expanded, %named, %up, %wide, %back, %images, %tiled, %batches""",
    "random": """(%x: f32[N,5], %seed: i32[]) {
        %named = random_uniform(%seed) {shape=[N,3,7], stream=4}
        %one = random_uniform(%seed) {shape=[]}
        %many = random_uniform(%seed) {shape=[5000]}
        return %named, %one, %many""",
    "random-none": """(%x: f32[N,5], %seed: i32[]) {
        %y = relu(%x)
        %none = random_uniform(%seed) {shape=[0,2]}
        return %y, %none""",
    "centred": """(%x: f32[N,12,4,7], %i: i64[N,5], %b: bool[N,3], %s: f32[]) {
        %cropped = center_crop_pad(%x) {shape=[2,4], axes=[2,-1]}
        %padded = center_crop_pad(%x) {shape=[N,12,7,12]}
        %both = center_crop_pad(%x) {shape=[9,3,8], axes=[-1,-2,1]}
        %batch = center_crop_pad(%i) {shape=[2], axes=[0]}
        %truth = center_crop_pad(%b) {shape=[6], axes=[1]}
        %scalar = center_crop_pad(%s) {shape=[]}
        %either = center_crop_pad(%i) {shape=[N+1,4]}
        return %cropped, %padded, %both, %batch, %truth, %scalar, %either""",
    "groups": """(%x: f32[N,6,5,7], %l: f32[N,6,9], %z: f32[N,4,5,6]) {
        %scale = param : f32[6]
        %bias = param {init=small} : f32[6]
        %row = param : f32[6]
        %plane = param : f32[5,6]
        %shift = param {init=small} : f32[5,6]
        %instance = instance_norm(%x, %scale, %bias)
        %coarse = instance_norm(%l, %scale, %bias) {epsilon=0.1}
        %group = group_norm(%x, %scale, %bias) {groups=3}
        %one = group_norm(%l, %scale, %bias) {groups=1, epsilon=0.1}
        %each = group_norm(%x, %scale, %bias) {groups=6}
        %layer = layer_norm(%z, %row)
        %moved = layer_norm(%z, %row, %bias) {axis=3, epsilon=0.1}
        %planes = layer_norm(%z, %plane, %shift) {axis=-2}
        return %instance, %coarse, %group, %one, %each, %layer, %moved, %planes""",
    "quantized": """(%x: f32[N,4,5,6], %i: i32[N,4,5,6], %b: i8[N,4,5], %u: u8[N,4,5]) {
        %eighth = param {init=full, value=0.0078125} : f32[]
        %three = param {init=full, value=3.0} : u8[]
        %minus = param {init=full, value=-5.0} : i8[]
        %zero = param {init=zeros} : i32[]
        %steps = param : f32[4]
        %coarse = param {init=full, value=0.25} : f32[5]
        %zeros = param {init=full, value=7.0} : i8[4]
        %tens = param {init=full, value=10.0} : u8[4]
        %nought = param {init=zeros} : i8[5]
        %half = param {init=full, value=0.5} : f32[]
        %whole = cast(%i) {to=f32}
        %byte = quantize_linear(%x, %eighth, %three)
        %signed = quantize_linear(%x, %eighth, %minus)
        %channels = quantize_linear(%x, %steps, %zeros)
        %rows = quantize_linear(%x, %coarse, %nought) {axis=-2}
        %two = param {init=full, value=2.0} : f32[]
        %ties = quantize_linear(%whole, %two, %minus)
        %back = dequantize_linear(%u, %eighth, %three)
        %along = dequantize_linear(%u, %steps, %tens)
        %negative = dequantize_linear(%b, %half, %minus)
        %sums = dequantize_linear(%i, %eighth, %zero)
        %round = dequantize_linear(%channels, %steps, %zeros)
        return %byte, %signed, %channels, %rows, %ties, %back, %along, %negative, %sums, %round""",
    "quantized_blocks": """(%x: f32[4,5], %b: i8[6,5]) {
        %s = param : f32[2,5]
        %zeros = param {init=full, value=-5.0} : i8[2,5]
        %t = param : f32[6,3]
        %tens = param {init=full, value=10.0} : i8[6,3]
        %steps = quantize_linear(%x, %s, %zeros) {axis=0, block=2}
        %uneven = dequantize_linear(%b, %t, %tens) {block=2}
        return %steps, %uneven""",
    "quantized_products": """(%x: u8[N,4,5,6], %a: i8[N,3,8]) {
        %s = param {init=full, value=0.02} : f32[]
        %t = param {init=full, value=2.5} : f32[]
        %z = param {init=full, value=120.0} : u8[]
        %three = param {init=full, value=3.0} : i8[]
        %w = param {init=full, value=7.0} : i8[6,2,3,3]
        %ws = param : f32[6]
        %wz = param {init=zeros} : i8[6]
        %b = param {init=full, value=90.0} : i32[6]
        %m = param {init=full, value=5.0} : i8[8,5]
        %ms = param : f32[5]
        %mz = param {init=full, value=2.0} : i8[5]
        %k = param {init=full, value=7.0} : i8[6,4,3]
        %v = param {init=full, value=7.0} : i8[6,4,1,1,1]
        %line = reshape(%x) {shape=[N,4,30]}
        %cube = reshape(%x) {shape=[N,4,1,5,6]}
        %along = qlinear_conv1d(%line, %s, %z, %k, %ws, %wz, %t, %z, %b) {strides=[2]}
        %through = qlinear_conv3d(%cube, %s, %z, %v, %s, %three, %s, %z)
        %filters = qlinear_conv2d(%x, %s, %z, %w, %ws, %wz, %t, %z, %b) {pads=[1,1,1,1], groups=2}
        %one = qlinear_conv2d(%x, %s, %z, %w, %s, %three, %s, %z) {strides=[2,2], dilations=[1,2], groups=2}
        %columns = qlinear_matmul(%a, %s, %three, %m, %ms, %mz, %t, %three)
        %all = qlinear_matmul(%a, %s, %three, %m, %s, %three, %s, %three)
        return %filters, %one, %columns, %all, %along, %through""",
    "integer_products": """(%x: u8[N,4,5,6], %y: i8[N,4,5,6], %a: i8[N,3,8], %u: u8[3,8],
        %w: i8[6,2,3,3], %v: u8[6,4,3,3], %k: i8[6,4,3], %d: u8[4,1,2,2,2], %m: i8[8,5], %xz: u8[], %yz: i8[], %wzs: i8[6], %uz: u8[3], %mz: i8[5]) {
        %wz = param {init=full, value=2.0} : i8[1]
        %vz = param {init=full, value=128.0} : u8[]
        %uzs = reshape(%uz) {shape=[3,1]}
        %mzs = reshape(%mz) {shape=[1,5]}
        %line = reshape(%x) {shape=[N,4,30]}
        %cube = reshape(%x) {shape=[N,4,5,3,2]}
        %plain = conv_integer2d(%x, %w) {groups=2}
        %padded = conv_integer2d(%x, %w, %xz, %wz) {pads=[1,0,2,1], groups=2, strides=[2,1]}
        %filters = conv_integer2d(%x, %w, %xz, %wzs) {pads=[1,1,1,1], groups=2, dilations=[1,2]}
        %bytes = conv_integer2d(%y, %v, %yz, %vz) {strides=[2,2]}
        %along = conv_integer1d(%line, %k, %xz) {strides=[3], pads=[1,1]}
        %through = conv_integer3d(%cube, %d, %xz, %vz) {groups=4, pads=[1,0,0,0,1,1]}
        %matrix = matmul_integer(%a, %m)
        %left = matmul_integer(%a, %m, %yz)
        %columns = matmul_integer(%a, %m, %yz, %mz)
        %spread = matmul_integer(%u, %m, %vz, %mzs)
        %rows = matmul_integer(%u, %m, %uz, %wz)
        %column = matmul_integer(%u, %m, %uzs, %wz)
        return %plain, %padded, %filters, %bytes, %along, %through, %matrix, %left, %columns, %spread, %rows, %column""",
    "dynamic_quantization": """(%x: f32[N,3,4,5], %s: f32[]) {
        %more = relu(%x)
        %less = neg(%more)
        %scale = dynamic_scale(%x)
        %zero = dynamic_zero(%x, %scale)
        %steps = quantize_linear(%x, %scale, %zero)
        %over = dynamic_scale(%more)
        %least = dynamic_zero(%more, %over)
        %under = dynamic_scale(%less)
        %most = dynamic_zero(%less, %under)
        %negative = quantize_linear(%less, %under, %most)
        %one = dynamic_scale(%s)
        %none = sub(%x, %x)
        %unit = dynamic_scale(%none)
        return %steps, %scale, %zero, %over, %least, %negative, %one, %unit""",
    "scalars": """(%s: f32[], %i: i64[]) {
        %pad = pad(%s) {pads=[]}
        %tile = tile(%i) {repeats=[]}
        %expand = expand(%s) {shape=[]}
        %sum = reduce_sum(%i) {keepdims=false}
        %least = reduce_min(%i)
        %prod = reduce_prod(%s)
        return %pad, %tile, %expand, %sum, %least, %prod""",
    "half_structure": """(%x: f16[N,6,4,5]) {
        %scale = param : f16[6]
        %bias = param {init=small} : f16[6]
        %row = param : f16[5]
        %sum = reduce_sum(%x) {axes=[1]}
        %max = reduce_max(%x) {axes=[2,3]}
        %most = arg_max(%x) {axis=1}
        %best = top_k_values(%x) {k=2}
        %instance = instance_norm(%x, %scale, %bias)
        %group = group_norm(%x, %scale, %bias) {groups=2}
        %layer = layer_norm(%x, %row)
        %two = tile(%x) {repeats=[1,1,2,1]}
        return %sum, %max, %most, %best, %instance, %group, %layer, %two""",
    "resize-cubic": """(%x: f32[N,2,6,7]) {
        %twice = resize(%x) {scales=[2.0,3.0], mode=cubic}
        %keys = resize(%x) {scales=[1.5,0.6], mode=cubic, cubic_coeff_a=-0.5}
        %sizes = resize(%x) {sizes=[9,4], mode=cubic, coordinates=align_corners}
        %torch = resize(%x) {sizes=[1,12], mode=cubic, coordinates=pytorch_half_pixel}
        %plain = resize(%x) {scales=[2.0,1.0], mode=cubic, coordinates=asymmetric}
        return %twice, %keys, %sizes, %torch, %plain""",
    "resize-filters": """(%x: f32[N,2,6,7], %s: f32[N,2,11]) {
        %line = resize(%x) {scales=[0.6,0.3], mode=bilinear, antialias=true}
        %both = resize(%x) {scales=[1.7,0.45], mode=bilinear, antialias=true}
        %inside = resize(%x) {sizes=[4,3], mode=bilinear, antialias=true, exclude_outside=true}
        %cubic = resize(%x) {sizes=[4,3], mode=cubic, antialias=true}
        %keys = resize(%x) {scales=[0.6,0.3], mode=cubic, antialias=true, exclude_outside=true, cubic_coeff_a=-0.5}
        %grown = resize(%x) {scales=[1.5,0.6], mode=cubic, exclude_outside=true, coordinates=asymmetric}
        %sequence = resize(%s) {scales=[0.3], mode=bilinear, antialias=true}
        return %line, %both, %inside, %cubic, %keys, %grown, %sequence""",
    "resize-policies": """(%x: f32[N,2,6,7]) {
        %less = resize(%x) {sizes=[9,8], mode=bilinear, policy=not_larger}
        %more = resize(%x) {sizes=[9,8], policy=not_smaller}
        %small = resize(%x) {sizes=[4,3], mode=cubic, policy=not_smaller}
        %smooth = resize(%x) {sizes=[4,3], mode=bilinear, antialias=true, policy=not_larger}
        return %less, %more, %small, %smooth""",
    "resize-crops": """(%x: f32[N,2,6,7], %s: f32[N,2,11]) {
        %line = resize(%x) {sizes=[4,5], mode=bilinear, coordinates=tf_crop_and_resize, roi=[0.2,-0.1,0.9,1.2], extrapolation=9.0}
        %near = resize(%x) {sizes=[4,5], coordinates=tf_crop_and_resize, roi=[0.2,-0.1,0.9,1.2], extrapolation=-1.5}
        %cubic = resize(%x) {sizes=[1,6], mode=cubic, coordinates=tf_crop_and_resize, roi=[0.1,0.9,0.7,0.15]}
        %scaled = resize(%x) {scales=[1.5,2.0], mode=bilinear, coordinates=tf_crop_and_resize, roi=[0.2,0.3,0.8,1.1]}
        %sequence = resize(%s) {sizes=[7], mode=bilinear, coordinates=tf_crop_and_resize, roi=[0.25,1.25]}
        return %line, %near, %cubic, %scaled, %sequence""",
    "resize-symmetric": """(%x: f32[N,2,6,7]) {
        %whole = resize(%x) {scales=[2.0,3.0], mode=bilinear, coordinates=half_pixel_symmetric}
        %part = resize(%x) {scales=[1.6,0.6], mode=bilinear, coordinates=half_pixel_symmetric}
        %sizes = resize(%x) {sizes=[5,9], mode=bilinear, coordinates=half_pixel_symmetric}
        %near = resize(%x) {scales=[1.7,2.3], coordinates=half_pixel_symmetric}
        return %whole, %part, %sizes, %near""",
}
# fmt: on
