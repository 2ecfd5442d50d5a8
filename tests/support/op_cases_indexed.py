"""Variants of ops on places: indices, diagonals, running sums; and of angles, lengths and thresholds."""

from __future__ import annotations

__all__ = ["INDEXED"]

# fmt: off
INDEXED = {
    "angles": """(%x: f32[N,4,5,6]) {
        %share = sigmoid(%x)
        %size = abs(%x)
        %one = param {init=full, value=1.0} : f32[]
        %above = add(%size, %one)
        %sin = sin(%x)
        %cos = cos(%x)
        %tan = tan(%share)
        %asin = asin(%share)
        %acos = acos(%share)
        %atan = atan(%x)
        %sinh = sinh(%x)
        %cosh = cosh(%x)
        %asinh = asinh(%x)
        %acosh = acosh(%above)
        %atanh = atanh(%share)
        return %sin, %cos, %tan, %asin, %acos, %atan, %sinh, %cosh, %asinh, %acosh, %atanh""",
    "half_angles": """(%x: f16[N,4,5,6], %y: f64[N,4,5,6]) {
        %sin = sin(%x)
        %cos = cos(%y)
        %atan = atan(%x)
        return %sin, %cos, %atan""",
    "mod": """(%a: f32[N,3,4], %b: f32[N,3,4], %i: i32[N,40], %j: i32[N,40], %k: i64[N,40], %l: i64[40]) {
        %floats = mod(%a, %b) {fmod=true}
        %whole = mod(%i, %j)
        %left = mod(%i, %j) {fmod=true}
        %long = mod(%k, %l)
        %signed = mod(%a, %b)
        return %floats, %whole, %left, %long, %signed""",
    "thresholds": """(%x: f32[N,4,5,6]) {
        %hard = shrink(%x)
        %soft = shrink(%x) {bias=0.75, lambd=0.75}
        %last = hardmax(%x)
        %channel = hardmax(%x) {axis=1}
        return %hard, %soft, %last, %channel""",
    "gather_elements": """(%x: f32[N,6,4,5], %y: f32[N,6,4,5], %i: i32[N,8]) {
        %places = arg_max(%x) {axis=1}
        %six = param {init=full, value=6.0} : i64[]
        %ends = sub(%places, %six)
        %best = gather_elements(%x, %places) {axis=1}
        %backward = gather_elements(%y, %ends) {axis=-3}
        %last = arg_min(%y) {axis=-1}
        %short = cast(%last) {to=i32}
        %narrow = gather_elements(%x, %short) {axis=3}
        %at = arg_max(%i) {axis=1}
        %whole = gather_elements(%i, %at) {axis=1}
        return %best, %backward, %narrow, %whole""",
    "gather_nd": """(%x: f32[N,6,4,5], %y: f32[N,6,4,5]) {
        %channel = arg_max(%x) {axis=1, keepdims=false}
        %row = arg_max(%y) {axis=2, keepdims=false}
        %named = reshape(%channel) {shape=[N,4,5,1]}
        %minus = param {init=full, value=-1.0} : i64[3,1]
        %ones = param {init=full, value=1.0} : i64[3,2]
        %pair = param {init=full, value=-2.0} : i64[7,2]
        %slices = gather_nd(%x, %named) {batch_dims=1}
        %table = param : f32[3,4,6]
        %points = gather_nd(%table, %ones)
        %tail = gather_nd(%table, %pair)
        %rows = gather_nd(%table, %minus)
        return %slices, %points, %tail, %rows""",
    "scatter": """(%x: f32[N,6,4,5], %y: f32[N,6,4,5], %i: i64[N,8]) {
        %places = arg_max(%x) {axis=1}
        %values = reduce_max(%y) {axes=[1]}
        %six = param {init=full, value=6.0} : i64[]
        %ends = sub(%places, %six)
        %put = scatter_elements(%x, %places, %values) {axis=1}
        %backward = scatter_elements(%x, %ends, %values) {axis=-3}
        %added = scatter_elements(%x, %places, %values) {axis=1, reduction=add}
        %scaled = scatter_elements(%x, %places, %values) {axis=1, reduction=mul}
        %most = scatter_elements(%x, %places, %values) {axis=1, reduction=max}
        %least = scatter_elements(%x, %places, %values) {axis=1, reduction=min}
        %corner = slice(%places) {axes=[2,3], starts=[0,0], ends=[3,2]}
        %few = slice(%values) {axes=[2,3], starts=[1,2], ends=[4,4]}
        %part = scatter_elements(%x, %corner, %few) {axis=1, reduction=add}
        %table = param : f32[5,3,4]
        %one = param {init=full, value=-2.0} : i64[1,1]
        %slice = param : f32[1,3,4]
        %pair = param {init=full, value=2.0} : i64[6,2]
        %lines = param : f32[6,4]
        %rows = scatter_nd(%table, %one, %slice)
        %sums = scatter_nd(%table, %pair, %lines) {reduction=add}
        %products = scatter_nd(%table, %pair, %lines) {reduction=mul}
        %greatest = scatter_nd(%table, %pair, %lines) {reduction=max}
        %smallest = scatter_nd(%table, %pair, %lines) {reduction=min}
        %zero = param {init=zeros} : i64[1,2]
        %long = param {init=full, value=7.0} : i64[1]
        %grid = param {init=full, value=4.0} : i64[3,2]
        %whole = scatter_nd(%grid, %zero, %long)
        return %put, %backward, %part, %added, %scaled, %most, %least, %rows, %sums, %products, %greatest, %smallest, %whole""",
    "one_hot": """(%x: f32[N,6,4]) {
        %places = arg_max(%x) {axis=1, keepdims=false}
        %three = param {init=full, value=3.0} : i64[]
        %below = sub(%places, %three)
        %values = param {init=around_one} : f32[2]
        %longs = param {init=full, value=5.0} : i64[2]
        %last = one_hot(%places, %values) {depth=6}
        %first = one_hot(%below, %values) {depth=3, axis=0}
        %middle = one_hot(%places, %values) {depth=2, axis=-2}
        %whole = one_hot(%below, %longs) {depth=4, axis=1}
        return %last, %first, %middle, %whole""",
    "diagonals": """(%x: f32[N,3,4,5], %i: i64[N,3,3], %b: bool[N,4,4], %z: f32[N,7]) {
        %upper = trilu(%x)
        %lower = trilu(%x) {upper=false}
        %right = trilu(%x) {k=2}
        %left = trilu(%x) {upper=false, k=-1}
        %nothing = trilu(%x) {k=9}
        %whole = trilu(%i) {upper=false}
        %truth = trilu(%b) {k=1}
        %one = eye_like(%z) {to=f32}
        %off = eye_like(%z) {to=f32, k=2}
        %long = eye_like(%z) {to=i64, k=-1}
        return %upper, %lower, %right, %left, %nothing, %whole, %truth, %one, %off, %long""",
    "running": """(%x: f32[N,3,4,5], %i: i32[N,9], %l: i64[N,3,3]) {
        %rows = cum_sum(%x) {axis=2}
        %before = cum_sum(%x) {axis=-1, exclusive=true}
        %back = cum_sum(%x) {axis=1, reverse=true}
        %after = cum_sum(%x) {axis=0, exclusive=true, reverse=true}
        %whole = cum_sum(%i) {axis=1}
        %long = cum_sum(%l) {axis=1, reverse=true}
        return %rows, %before, %back, %after, %whole, %long""",
    "running_products": """(%x: f32[N,3,4,5], %i: i32[N,9]) {
        %products = cum_prod(%x) {axis=3}
        %product = cum_prod(%x) {axis=1, exclusive=true, reverse=true}
        %whole = cum_prod(%i) {axis=1}
        return %products, %product, %whole""",
    "lengths": """(%x: f32[N,3,4,5], %i: i32[N,3,7], %s: f32[]) {
        %l1 = reduce_l1(%x) {axes=[1]}
        %all = reduce_l1(%x) {keepdims=false}
        %whole = reduce_l1(%i) {axes=[-1], keepdims=false}
        %l2 = reduce_l2(%x) {axes=[-1]}
        %length = reduce_l2(%x) {axes=[1,2], keepdims=false}
        %square = reduce_sum_square(%x) {axes=[2,3]}
        %squares = reduce_sum_square(%i) {axes=[1]}
        %size = abs(%x)
        %log = reduce_log_sum(%size) {axes=[1]}
        %logs = reduce_log_sum(%size) {axes=[0,-1], keepdims=false}
        %soft = reduce_log_sum_exp(%x) {axes=[1]}
        %most = reduce_log_sum_exp(%x) {axes=[2,3], keepdims=false}
        %every = reduce_log_sum_exp(%x) {keepdims=false}
        %scalar = reduce_l2(%s)
        %one = lp_normalization(%x) {axis=1, p=1}
        %two = lp_normalization(%x)
        %cut = relu(%x)
        %zeros = lp_normalization(%cut) {axis=-2}
        return %l1, %all, %whole, %l2, %length, %square, %squares, %log, %logs, %soft, %most, %every, %scalar, %one, %two, %zeros""",
    "moments": """(%x: f32[N,3,4,5], %z: f32[N,9]) {
        %images = mean_variance_norm(%x)
        %rows = mean_variance_norm(%x) {axes=[2,-1]}
        %flat = mean_variance_norm(%z) {axes=[1]}
        return %images, %rows, %flat""",
}
# fmt: on
