"""Windows, norms and resizes of sequences and volumes: one axis of space, and three."""

from __future__ import annotations

# fmt: off
RANKS = {
    "conv1d": """(%x: f32[N,4,21]) {
        %w = param : f32[6,4,5]
        %v = param : f32[6,2,3]
        %d = param : f32[8,1,3]
        %p = param : f32[5,4,1]
        %b = param {init=small} : f32[6]
        %plain = conv1d(%x, %w)
        %bias = conv1d(%x, %w, %b) {pads=[2,2]}
        %uneven = conv1d(%x, %w, %b) {strides=[3], pads=[0,3]}
        %dilated = conv1d(%x, %w) {pads=[8,0], dilations=[4]}
        %grouped = conv1d(%x, %v, %b) {strides=[2], pads=[1,0], groups=2}
        %depthwise = conv1d(%x, %d) {pads=[1,1], groups=4, strides=[2]}
        %pointwise = conv1d(%x, %p) {strides=[2]}
        return %plain, %bias, %uneven, %dilated, %grouped, %depthwise, %pointwise""",
    "conv3d": """(%x: f32[N,4,5,6,7]) {
        %w = param : f32[6,4,2,3,3]
        %v = param : f32[6,2,3,1,2]
        %d = param : f32[8,1,3,3,3]
        %p = param : f32[5,4,1,1,1]
        %b = param {init=small} : f32[6]
        %plain = conv3d(%x, %w)
        %bias = conv3d(%x, %w, %b) {pads=[1,1,1,1,1,1]}
        %uneven = conv3d(%x, %w, %b) {strides=[2,1,3], pads=[0,1,2,1,0,1]}
        %dilated = conv3d(%x, %w) {pads=[2,1,0,3,1,2], dilations=[3,2,1]}
        %grouped = conv3d(%x, %v, %b) {strides=[2,3,1], pads=[1,0,1,1,0,0], groups=2}
        %depthwise = conv3d(%x, %d) {pads=[1,1,1,1,1,1], groups=4, strides=[1,2,2]}
        %pointwise = conv3d(%x, %p) {strides=[2,2,2]}
        return %plain, %bias, %uneven, %dilated, %grouped, %depthwise, %pointwise""",
    "conv_transpose1d": """(%x: f32[N,4,9]) {
        %w = param : f32[4,3,5]
        %v = param : f32[4,2,8]
        %d = param : f32[4,1,2]
        %b = param {init=small} : f32[3]
        %c = param {init=small} : f32[4]
        %plain = conv_transpose1d(%x, %w)
        %bias = conv_transpose1d(%x, %w, %b) {strides=[2], pads=[1,1], output_padding=[1]}
        %dilated = conv_transpose1d(%x, %w) {strides=[2], dilations=[3], pads=[1,2]}
        %grouped = conv_transpose1d(%x, %v, %c) {strides=[4], pads=[2,2], groups=2}
        %depthwise = conv_transpose1d(%x, %d, %c) {strides=[2], groups=4}
        return %plain, %bias, %dilated, %grouped, %depthwise""",
    "conv_transpose3d": """(%x: f32[N,4,3,4,5]) {
        %w = param : f32[4,3,2,3,3]
        %v = param : f32[4,2,2,4,3]
        %d = param : f32[4,1,2,2,2]
        %b = param {init=small} : f32[3]
        %c = param {init=small} : f32[4]
        %plain = conv_transpose3d(%x, %w)
        %bias = conv_transpose3d(%x, %w, %b) {strides=[2,2,2], pads=[1,1,1,0,1,1], output_padding=[1,0,1]}
        %dilated = conv_transpose3d(%x, %w) {strides=[1,2,1], dilations=[3,2,1], pads=[1,0,0,2,1,0]}
        %grouped = conv_transpose3d(%x, %v, %c) {strides=[2,3,1], pads=[0,1,0,1,2,1], groups=2}
        %depthwise = conv_transpose3d(%x, %d, %c) {strides=[2,2,2], groups=4}
        return %plain, %bias, %dilated, %grouped, %depthwise""",
    "pools_of_sequences": """(%x: f32[N,3,17]) {
        %plain = max_pool(%x) {kernel=[3]}
        %padded = max_pool(%x) {kernel=[3], strides=[2], pads=[1,2]}
        %dilated = max_pool(%x) {kernel=[3], strides=[2], dilations=[3], pads=[3,1]}
        %ceil = max_pool(%x) {kernel=[4], strides=[3], ceil_mode=true}
        %dropped = max_pool(%x) {kernel=[2], strides=[3], pads=[0,1], ceil_mode=true}
        %mean = avg_pool(%x) {kernel=[4]}
        %edges = avg_pool(%x) {kernel=[3], strides=[2], pads=[1,2]}
        %counted = avg_pool(%x) {kernel=[3], strides=[2], pads=[1,2], count_include_pad=true}
        %mean_ceil = avg_pool(%x) {kernel=[3], strides=[3], pads=[1,1], ceil_mode=true}
        %counted_ceil = avg_pool(%x) {kernel=[3], strides=[3], pads=[1,1], ceil_mode=true, count_include_pad=true}
        %sparse = avg_pool(%x) {kernel=[3], dilations=[2], pads=[2,2], count_include_pad=true}
        %all = global_avg_pool(%x)
        %most = global_max_pool(%x)
        return %plain, %padded, %dilated, %ceil, %dropped, %mean, %edges, %counted, %mean_ceil, %counted_ceil, %sparse, %all, %most""",
    "pools_of_volumes": """(%x: f32[N,3,5,6,7]) {
        %plain = max_pool(%x) {kernel=[2,3,2]}
        %padded = max_pool(%x) {kernel=[3,3,2], strides=[2,2,1], pads=[1,0,1,1,2,0]}
        %dilated = max_pool(%x) {kernel=[2,2,3], strides=[1,2,1], dilations=[2,3,1], pads=[1,1,0,0,1,2]}
        %ceil = max_pool(%x) {kernel=[3,2,2], strides=[2,2,3], ceil_mode=true}
        %mean = avg_pool(%x) {kernel=[2,2,3]}
        %edges = avg_pool(%x) {kernel=[3,3,3], strides=[2,2,2], pads=[1,0,1,1,2,1]}
        %counted = avg_pool(%x) {kernel=[3,3,3], strides=[2,2,2], pads=[1,0,1,1,2,1], count_include_pad=true}
        %mean_ceil = avg_pool(%x) {kernel=[3,3,3], strides=[3,2,3], pads=[1,1,1,1,1,1], ceil_mode=true}
        %all = global_avg_pool(%x)
        %most = global_max_pool(%x)
        return %plain, %padded, %dilated, %ceil, %mean, %edges, %counted, %mean_ceil, %all, %most""",
    "max_pool_indices": """(%x: f32[N,3,9,10], %s: f32[N,2,11], %v: f32[N,2,4,5,6], %i: i32[N,2,6,6]) {
        %plain = max_pool_indices(%x) {kernel=[2,3]}
        %columns = max_pool_indices(%x) {kernel=[3,3], strides=[2,2], pads=[1,0,1,2], column_major=true}
        %dilated = max_pool_indices(%x) {kernel=[2,3], strides=[1,2], dilations=[3,2], pads=[1,1,1,2]}
        %ceil = max_pool_indices(%x) {kernel=[3,3], strides=[2,2], ceil_mode=true}
        %dropped = max_pool_indices(%x) {kernel=[2,2], strides=[3,3], pads=[0,1,1,1], ceil_mode=true}
        %sequence = max_pool_indices(%s) {kernel=[3], strides=[2], pads=[1,2], column_major=true}
        %volume = max_pool_indices(%v) {kernel=[2,2,3], strides=[2,1,2], pads=[0,1,1,1,0,0]}
        %volume_columns = max_pool_indices(%v) {kernel=[2,2,3], strides=[2,2,2], column_major=true}
        %small = cast(%i) {to=f32}
        %nine = param {init=full, value=9.0} : f32[]
        %few = mod(%small, %nine) {fmod=true}
        %ties = max_pool_indices(%few) {kernel=[3,3]}
        %tied = max_pool_indices(%few) {kernel=[3,3], column_major=true}
        return %plain, %columns, %dilated, %ceil, %dropped, %sequence, %volume, %volume_columns, %ties, %tied""",
    "max_unpool": """(%x: f32[N,3,9,10], %s: f32[N,2,11], %v: f32[N,2,4,5,6]) {
        %p = max_pool(%x) {kernel=[3,2], strides=[3,2]}
        %i = max_pool_indices(%x) {kernel=[3,2], strides=[3,2]}
        %plain = max_unpool(%p, %i) {kernel=[3,2], strides=[3,2]}
        %larger = max_unpool(%p, %i) {kernel=[2,2], strides=[2,2], sizes=[9,12]}
        %o = max_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,1,1,0]}
        %j = max_pool_indices(%x) {kernel=[3,3], strides=[2,2], pads=[1,1,1,0]}
        %overlaps = max_unpool(%o, %j) {kernel=[3,3], strides=[2,2], pads=[1,1,1,0], sizes=[9,10]}
        %padded = max_unpool(%o, %j) {kernel=[3,3], strides=[2,2], pads=[1,0,0,0]}
        %line = max_pool(%s) {kernel=[3], strides=[2]}
        %at = max_pool_indices(%s) {kernel=[3], strides=[2]}
        %sequence = max_unpool(%line, %at) {kernel=[3], strides=[2]}
        %cube = max_pool(%v) {kernel=[2,2,2], strides=[2,2,2]}
        %where = max_pool_indices(%v) {kernel=[2,2,2], strides=[2,2,2]}
        %volume = max_unpool(%cube, %where) {kernel=[2,2,2], strides=[2,2,2], sizes=[4,5,6]}
        return %plain, %larger, %overlaps, %padded, %sequence, %volume""",
    "lp_pools": """(%x: f32[N,3,9,10], %l: f32[N,3,17], %v: f32[N,3,5,6,7], %h: f16[N,3,9]) {
        %plain = lp_pool(%x) {kernel=[2,3]}
        %sums = lp_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,0,1,2], p=1}
        %cubes = lp_pool(%x) {kernel=[2,2], strides=[1,2], pads=[1,1,1,1], p=3}
        %dilated = lp_pool(%x) {kernel=[2,3], strides=[1,2], dilations=[3,2], pads=[2,1,1,3]}
        %ceil = lp_pool(%x) {kernel=[3,3], strides=[2,2], ceil_mode=true, p=4}
        %dropped = lp_pool(%x) {kernel=[2,2], strides=[3,3], pads=[0,1,1,1], ceil_mode=true}
        %one = lp_pool(%x) {kernel=[1,1], p=1}
        %line = lp_pool(%l) {kernel=[4], strides=[3], dilations=[2], p=3}
        %volume = lp_pool(%v) {kernel=[2,3,2], strides=[1,2,1], pads=[1,0,1,0,1,0]}
        %half = lp_pool(%h) {kernel=[3], pads=[1,1]}
        return %plain, %sums, %cubes, %dilated, %ceil, %dropped, %one, %line, %volume, %half""",
    "norms_of_ranks": """(%x: f32[N,6,13], %y: f32[N,6,3,4,5]) {
        %scale = param : f32[6]
        %shift = param {init=small} : f32[6]
        %mean = param {init=small} : f32[6]
        %var = param : f32[6]
        %line = batch_norm(%x, %scale, %shift, %mean, %var)
        %volume = batch_norm(%y, %scale, %shift, %mean, %var)
        %each = instance_norm(%x, %scale, %shift)
        %grouped = group_norm(%x, %scale, %shift) {groups=3}
        %each3 = instance_norm(%y, %scale, %shift)
        %grouped3 = group_norm(%y, %scale, %shift) {groups=2}
        return %line, %volume, %each, %grouped, %each3, %grouped3""",
    "resize_of_sequences": """(%x: f32[N,3,11]) {
        %near = resize(%x) {scales=[2.0]}
        %floor = resize(%x) {scales=[1.5], coordinates=asymmetric, rounding=floor}
        %sizes = resize(%x) {sizes=[17], mode=bilinear}
        %aligned = resize(%x) {sizes=[5], mode=bilinear, coordinates=align_corners}
        %cubic = resize(%x) {scales=[2.5], mode=cubic}
        return %near, %floor, %sizes, %aligned, %cubic""",
    "resize_of_volumes": """(%x: f32[N,2,3,4,5]) {
        %near = resize(%x) {scales=[2.0,1.0,2.0], coordinates=asymmetric, rounding=floor}
        %sizes = resize(%x) {sizes=[5,4,3]}
        %linear = resize(%x) {scales=[2.0,1.5,0.6], mode=bilinear}
        %aligned = resize(%x) {sizes=[4,8,7], mode=bilinear, coordinates=align_corners}
        return %near, %sizes, %linear, %aligned""",
}
# fmt: on
