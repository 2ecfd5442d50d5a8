"""Every op in several variants: a graph for each op, an output for each variant. Engines are held to these."""

from __future__ import annotations

from convc.tests.support.op_cases_gradients import GRADIENT_OPS
from convc.tests.support.op_cases_indexed import INDEXED
from convc.tests.support.op_cases_layers import LAYERS
from convc.tests.support.op_cases_ranks import RANKS
from convc.tests.support.op_cases_structure import STRUCTURE

# fmt: off
CASES = {
    "conv2d": """(%x: f32[N,4,9,10]) {
        %w = param : f32[6,4,3,3]
        %v = param : f32[6,2,3,2]
        %d = param : f32[8,1,3,3]
        %p = param : f32[5,4,1,1]
        %b = param {init=small} : f32[6]
        %plain = conv2d(%x, %w)
        %bias = conv2d(%x, %w, %b) {pads=[1,1,1,1]}
        %uneven = conv2d(%x, %w, %b) {strides=[2,1], pads=[0,1,2,1]}
        %dilated = conv2d(%x, %w) {pads=[2,1,0,3], dilations=[3,2]}
        %grouped = conv2d(%x, %v, %b) {strides=[2,3], pads=[1,0,1,1], groups=2}
        %depthwise = conv2d(%x, %d) {pads=[1,1,1,1], groups=4, strides=[1,2]}
        %pointwise = conv2d(%x, %p) {strides=[2,2]}
        return %plain, %bias, %uneven, %dilated, %grouped, %depthwise, %pointwise""",
    "conv_transpose2d": """(%x: f32[N,4,5,6]) {
        %w = param : f32[4,3,3,3]
        %v = param : f32[4,2,4,3]
        %d = param : f32[4,1,2,2]
        %k = param : f32[4,3,1,1]
        %b = param {init=small} : f32[3]
        %c = param {init=small} : f32[4]
        %plain = conv_transpose2d(%x, %w)
        %bias = conv_transpose2d(%x, %w, %b) {strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]}
        %uneven = conv_transpose2d(%x, %w) {strides=[3,2], pads=[0,1,2,1], output_padding=[2,0]}
        %dilated = conv_transpose2d(%x, %w) {strides=[2,1], dilations=[3,2], pads=[1,0,0,2]}
        %common = conv_transpose2d(%x, %w) {strides=[4,2], dilations=[2,2], output_padding=[1,1]}
        %same = conv_transpose2d(%x, %w) {strides=[3,6], dilations=[3,4]}
        %grouped = conv_transpose2d(%x, %v, %c) {strides=[2,3], pads=[1,2,0,1], groups=2, output_padding=[0,1]}
        %depthwise = conv_transpose2d(%x, %d, %c) {strides=[2,2], groups=4}
        %sparse = conv_transpose2d(%x, %k) {strides=[3,2]}
        return %plain, %bias, %uneven, %dilated, %common, %same, %grouped, %depthwise, %sparse""",
    "max_pool": """(%x: f32[N,3,9,10]) {
        %plain = max_pool(%x) {kernel=[2,3]}
        %padded = max_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,0,1,2]}
        %dilated = max_pool(%x) {kernel=[2,3], strides=[1,2], dilations=[3,2], pads=[2,1,1,3]}
        %ceil = max_pool(%x) {kernel=[3,3], strides=[2,2], ceil_mode=true}
        %dropped = max_pool(%x) {kernel=[2,2], strides=[3,3], pads=[0,1,1,1], ceil_mode=true}
        %sparse = max_pool(%x) {kernel=[1,1], strides=[3,4], ceil_mode=true}
        return %plain, %padded, %dilated, %ceil, %dropped, %sparse""",
    "avg_pool": """(%x: f32[N,3,9,10]) {
        %plain = avg_pool(%x) {kernel=[2,3]}
        %padded = avg_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,0,1,2]}
        %counted = avg_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,0,1,2], count_include_pad=true}
        %dilated = avg_pool(%x) {kernel=[2,3], strides=[1,2], dilations=[3,2], pads=[2,1,1,3]}
        %dilated_counted = avg_pool(%x) {kernel=[2,3], strides=[1,2], dilations=[3,2], pads=[2,1,1,3], count_include_pad=true}
        %ceil = avg_pool(%x) {kernel=[3,3], strides=[2,2], ceil_mode=true}
        %ceil_padded = avg_pool(%x) {kernel=[3,3], strides=[3,3], pads=[1,1,1,1], ceil_mode=true}
        %ceil_counted = avg_pool(%x) {kernel=[3,3], strides=[3,3], pads=[1,1,1,1], ceil_mode=true, count_include_pad=true}
        %ceil_dilated = avg_pool(%x) {kernel=[2,2], strides=[2,3], pads=[1,1,2,0], dilations=[3,2], ceil_mode=true, count_include_pad=true}
        return %plain, %padded, %counted, %dilated, %dilated_counted, %ceil, %ceil_padded, %ceil_counted, %ceil_dilated""",
    "global_avg_pool": "(%x: f32[N,5,7,6]) { %y = global_avg_pool(%x) return %y",
    "global_max_pool": "(%x: f32[N,5,7,6]) { %y = global_max_pool(%x) return %y",
    "batch_norm": """(%x: f32[N,5,7,6], %z: f32[N,5]) {
        %scale = param : f32[5]
        %shift = param {init=small} : f32[5]
        %mean = param {init=small} : f32[5]
        %var = param : f32[5]
        %y = batch_norm(%x, %scale, %shift, %mean, %var)
        %coarse = batch_norm(%x, %scale, %shift, %mean, %var) {epsilon=0.1}
        %flat = batch_norm(%z, %scale, %shift, %mean, %var)
        return %y, %coarse, %flat""",
    "local_response_norm": """(%x: f32[N,8,5,4], %z: f32[N,5,6]) {
        %odd = local_response_norm(%x) {size=5}
        %even = local_response_norm(%x) {size=4, alpha=0.9, beta=0.6, bias=2.0}
        %one = local_response_norm(%x) {size=1, alpha=1.0}
        %wide = local_response_norm(%x) {size=19, alpha=2.0}
        %line = local_response_norm(%z) {size=3, alpha=1.0}
        return %odd, %even, %one, %wide, %line""",
    "dense": """(%x: f32[N,70]) {
        %w = param : f32[33,70]
        %b = param {init=small} : f32[33]
        %y = dense(%x, %w)
        %bias = dense(%x, %w, %b)
        return %y, %bias""",
    "matmul": """(%a: f32[N,4,5], %b: f32[5,6], %c: f32[2,1,5,3], %d: f32[7,N], %e: f32[N,6]) {
        %y = matmul(%a, %b)
        %broadcast = matmul(%a, %c)
        %inner = matmul(%d, %e)
        return %y, %broadcast, %inner""",
    "activations": """(%x: f32[N,4,5,6]) {
        %relu = relu(%x)
        %leaky = leaky_relu(%x)
        %steep = leaky_relu(%x) {alpha=0.3}
        %inverted = leaky_relu(%x) {alpha=-2.0}
        %six = clip(%x) {min=0.0, max=6.0}
        %low = clip(%x) {min=-0.5}
        %high = clip(%x) {max=0.5}
        %free = clip(%x)
        %sigmoid = sigmoid(%x)
        %tanh = tanh(%x)
        %dropout = dropout(%x) {ratio=0.3}
        return %relu, %leaky, %steep, %inverted, %six, %low, %high, %free, %sigmoid, %tanh, %dropout""",
    "softmax": """(%x: f32[N,4,5,6], %z: f32[N,9]) {
        %channels = softmax(%x)
        %first = softmax(%x) {axis=0}
        %last = softmax(%x) {axis=-1}
        %flat = softmax(%z)
        return %channels, %first, %last, %flat""",
    "log_softmax": """(%x: f32[N,4,5,6], %z: f32[N,9]) {
        %channels = log_softmax(%x)
        %first = log_softmax(%x) {axis=0}
        %rows = log_softmax(%x) {axis=-2}
        %flat = log_softmax(%z)
        return %channels, %first, %rows, %flat""",
    "arithmetic": """(%a: f32[N,3,4,5], %b: f32[N,3,4,5], %c: f32[3,1,1], %d: f32[N,1,4,1], %e: f32[]) {
        %add = add(%a, %b)
        %sub = sub(%a, %c)
        %mul = mul(%d, %c)
        %div = div(%a, %d)
        %scalar = sub(%e, %a)
        %itself = mul(%a, %a)
        return %add, %sub, %mul, %div, %scalar, %itself""",
    "gates": """(%x: f32[N,4,5,6], %z: f32[N,7]) {
        %c = param : f32[4,1,1]
        %one = param {init=full, value=0.25} : f32[1]
        %elu = elu(%x)
        %steep = elu(%x) {alpha=2.5}
        %selu = selu(%x)
        %shallow = selu(%x) {alpha=0.5, gamma=2.0}
        %hard = hard_sigmoid(%x)
        %harder = hard_sigmoid(%x) {alpha=0.75, beta=0.25}
        %swish = hard_swish(%x)
        %gelu = gelu(%x)
        %bent = gelu(%x) {approximate=tanh}
        %mish = mish(%x)
        %prelu = prelu(%x, %c)
        %flat = prelu(%z, %one)
        %itself = prelu(%x, %x)
        return %elu, %steep, %selu, %shallow, %hard, %harder, %swish, %gelu, %bent, %mish, %prelu, %flat, %itself""",
    "unary": """(%x: f32[N,4,5,6], %s: f32[], %i: i32[N,40], %j: i64[N,40], %k: i8[N,40], %u: u8[N,40], %b: bool[N,40]) {
        %two = param {init=full, value=2.0} : f32[]
        %wide = mul(%x, %two)
        %positive = abs(%x)
        %exp = exp(%x)
        %log = log(%positive)
        %sqrt = sqrt(%positive)
        %undefined = sqrt(%x)
        %erf = erf(%x)
        %neg = neg(%x)
        %floor = floor(%wide)
        %ceil = ceil(%wide)
        %round = round(%wide)
        %softplus = softplus(%wide)
        %whole = abs(%i)
        %long = neg(%j)
        %small = abs(%k)
        %less = neg(%k)
        %byte = abs(%u)
        %not = logical_not(%b)
        %scalar = softplus(%s)
        return %positive, %exp, %log, %sqrt, %undefined, %erf, %neg, %floor, %ceil, %round, %softplus, %whole, %long, %small, %less, %byte, %not, %scalar""",
    "binary": """(%a: f32[N,3,4,5], %b: f32[N,3,4,5], %c: f32[3,1,1], %d: f32[N,1,4,1], %e: f32[], %i: i32[N,40], %j: i32[40], %u: u8[N,40], %v: u8[40]) {
        %size = abs(%a)
        %half = param {init=full, value=0.5} : f32[1]
        %square = param {init=full, value=2.0} : f32[]
        %pow = pow(%size, %b)
        %root = pow(%size, %half)
        %squared = pow(%a, %square)
        %undefined = pow(%a, %c)
        %row = pow(%size, %d)
        %max = maximum(%a, %b)
        %greatest = maximum(%d, %c)
        %min = minimum(%a, %c)
        %least = minimum(%e, %a)
        %whole = maximum(%i, %j)
        %wholes = minimum(%i, %j)
        %byte = maximum(%u, %v)
        return %pow, %root, %squared, %undefined, %row, %max, %greatest, %min, %least, %whole, %wholes, %byte""",
    "compare": """(%a: f32[N,3,4,5], %b: f32[N,3,4,5], %c: f32[3,1,1], %d: f32[N,1,4,1], %i: i32[N,40], %j: i32[40], %k: i64[N,40], %u: i8[N,40], %p: bool[N,40], %q: bool[40]) {
        %equal = equal(%i, %j)
        %same = equal(%p, %q)
        %itself = equal(%a, %a)
        %greater = greater(%a, %b)
        %more = greater(%i, %j)
        %less = less(%d, %c)
        %at_least = greater_or_equal(%a, %c)
        %not_less = greater_or_equal(%k, %k)
        %at_most = less_or_equal(%a, %d)
        %bytes = less(%u, %u)
        %and = logical_and(%p, %q)
        %or = logical_or(%q, %p)
        %where = where(%greater, %a, %b)
        %row = where(%less, %a, %c)
        %whole = where(%p, %i, %j)
        %truth = where(%p, %q, %p)
        return %equal, %same, %itself, %greater, %more, %less, %at_least, %not_less, %at_most, %bytes, %and, %or, %where, %row, %whole, %truth""",
    "half_gates": """(%x: f16[N,4,5,6], %z: f16[N,7]) {
        %c = param : f16[4,1,1]
        %elu = elu(%x)
        %selu = selu(%x)
        %hard = hard_sigmoid(%x)
        %swish = hard_swish(%x)
        %gelu = gelu(%x)
        %bent = gelu(%x) {approximate=tanh}
        %mish = mish(%x)
        %prelu = prelu(%x, %c)
        %exp = exp(%x)
        %sqrt = sqrt(%x)
        %erf = erf(%x)
        %abs = abs(%x)
        %round = round(%x)
        %softplus = softplus(%x)
        %pow = pow(%abs, %x)
        %max = maximum(%x, %c)
        %less = less(%x, %c)
        %where = where(%less, %x, %c)
        return %elu, %selu, %hard, %swish, %gelu, %bent, %mish, %prelu, %exp, %sqrt, %erf, %abs, %round, %softplus, %pow, %max, %less, %where""",
    "double_gates": """(%x: f64[N,4,5,6], %y: f64[N,1,5,6]) {
        %swish = hard_swish(%x)
        %bent = gelu(%x) {approximate=tanh}
        %exp = exp(%x)
        %abs = abs(%x)
        %log = log(%abs)
        %round = round(%x)
        %pow = pow(%abs, %x)
        %max = maximum(%x, %y)
        %equal = equal(%x, %x)
        return %swish, %bent, %exp, %abs, %log, %round, %pow, %max, %equal""",
    "integers": """(%a: i32[N,40], %b: i32[N,40], %c: u8[N,40], %d: u8[40], %e: i64[N,40], %f: i64[N,40], %g: i8[N,40], %h: i8[N,40]) {
        %add = add(%a, %b)
        %div = div(%a, %b)
        %wrap = sub(%c, %d)
        %bytes = div(%c, %d)
        %long = mul(%e, %f)
        %quotient = div(%e, %f)
        %short = mul(%g, %h)
        %small = div(%g, %h)
        return %add, %div, %wrap, %bytes, %long, %quotient, %short, %small""",
    "cast": """(%x: f32[N,60], %i: i32[N,60], %b: bool[N,60], %u: u8[N,60]) {
        %whole = cast(%x) {to=i32}
        %long = cast(%x) {to=i64}
        %byte = cast(%x) {to=i8}
        %truth = cast(%x) {to=bool}
        %double = cast(%x) {to=f64}
        %half = cast(%x) {to=f16}
        %back = cast(%i) {to=f32}
        %narrow = cast(%i) {to=i8}
        %nonzero = cast(%i) {to=bool}
        %one = cast(%b) {to=f32}
        %count = cast(%b) {to=u8}
        %wide = cast(%u) {to=i64}
        %same = cast(%x) {to=f32}
        return %whole, %long, %byte, %truth, %double, %half, %back, %narrow, %nonzero, %one, %count, %wide, %same""",
    "identity": """(%x: f32[N,4], %i: i64[N]) {
        %p = param : f32[3]
        %y = identity(%x)
        %z = identity(%y)
        %q = identity(%p)
        return %z, %i, %q, %p, %x""",
    "concat": """(%a: f32[N,3,4,5], %b: f32[N,2,4,5], %c: f32[2,3,4,5], %i: i32[N]) {
        %channels = concat(%a, %b, %a)
        %batch = concat(%a, %c) {axis=0}
        %last = concat(%a, %a) {axis=-1}
        %alone = concat(%a)
        %whole = concat(%i, %i) {axis=0}
        return %channels, %batch, %last, %alone, %whole""",
    "slice": """(%x: f32[N,8,9,10], %i: i64[N,7]) {
        %crop = slice(%x) {axes=[2,3], starts=[1,2], ends=[8,-1]}
        %steps = slice(%x) {axes=[1,-1], starts=[1,-8], ends=[100,9], steps=[3,2]}
        %backward = slice(%x) {axes=[3], starts=[-1], ends=[-9223372036854775807], steps=[-1]}
        %part = slice(%x) {axes=[2,3], starts=[7,8], ends=[1,-20], steps=[-2,-3]}
        %all = slice(%x) {axes=[0], starts=[0], ends=[9223372036854775807]}
        %half = slice(%x) {axes=[0,1], starts=[0,0], ends=[9223372036854775807,5], steps=[2,1]}
        %whole = slice(%i) {axes=[1], starts=[3], ends=[6]}
        return %crop, %steps, %backward, %part, %all, %half, %whole""",
    "pad": """(%x: f32[N,3,4,5], %i: i32[N,5], %b: bool[N,5]) {
        %zeros = pad(%x) {pads=[0,0,1,2,0,0,3,0]}
        %value = pad(%x) {pads=[1,2,0,0,0,1,0,1], value=-1.5}
        %infinite = pad(%x) {pads=[0,0,1,1,0,0,1,1], value=-inf}
        %edge = pad(%x) {pads=[2,1,0,7,1,0,3,6], mode=edge}
        %reflect = pad(%x) {pads=[0,2,3,0,0,1,2,4], mode=reflect}
        %none = pad(%x) {pads=[0,0,0,0,0,0,0,0]}
        %whole = pad(%i) {pads=[1,2,0,1], value=7.0}
        %truth = pad(%b) {pads=[0,1,0,1], value=1.0}
        return %zeros, %value, %infinite, %edge, %reflect, %none, %whole, %truth""",
    "flatten": """(%x: f32[N,3,4,5], %s: f32[]) {
        %rows = flatten(%x)
        %none = flatten(%x) {axis=0}
        %last = flatten(%x) {axis=-1}
        %all = flatten(%x) {axis=4}
        %scalar = flatten(%s) {axis=0}
        return %rows, %none, %last, %all, %scalar""",
    "reshape": """(%x: f32[N,6,4]) {
        %rest = reshape(%x) {shape=[N,-1]}
        %front = reshape(%x) {shape=[-1,8]}
        %split = reshape(%x) {shape=[N,2,3,2,2]}
        %line = reshape(%x) {shape=[-1]}
        return %rest, %front, %split, %line""",
    "transpose": """(%x: f32[N,3,4,5]) {
        %nhwc = transpose(%x) {perm=[0,2,3,1]}
        %turned = transpose(%x) {perm=[3,1,0,2]}
        %same = transpose(%x) {perm=[0,1,2,3]}
        return %nhwc, %turned, %same""",
    "reduce_mean": """(%x: f32[N,3,4,5]) {
        %all = reduce_mean(%x)
        %scalar = reduce_mean(%x) {keepdims=false}
        %image = reduce_mean(%x) {axes=[2,3]}
        %negative = reduce_mean(%x) {axes=[-1,1], keepdims=false}
        %batch = reduce_mean(%x) {axes=[0], keepdims=false}
        return %all, %scalar, %image, %negative, %batch""",
    "half": """(%x: f16[N,4,8,9], %z: f16[N,40]) {
        %w = param : f16[6,4,3,3]
        %v = param : f16[4,3,2,2]
        %m = param : f16[7,40]
        %b = param {init=small} : f16[6]
        %one = param : f16[4]
        %conv = conv2d(%x, %w, %b) {pads=[1,1,1,1]}
        %up = conv_transpose2d(%x, %v) {strides=[2,2]}
        %norm = batch_norm(%x, %one, %one, %one, %one)
        %lrn = local_response_norm(%x) {size=3, alpha=1.0}
        %max = max_pool(%x) {kernel=[2,2], strides=[2,2], ceil_mode=true}
        %avg = avg_pool(%x) {kernel=[3,3], strides=[2,2], pads=[1,1,1,1]}
        %mean = reduce_mean(%x)
        %global = global_avg_pool(%x)
        %fc = dense(%z, %m)
        %soft = softmax(%z)
        %sig = sigmoid(%z)
        %cut = clip(%z) {min=-0.1, max=0.25}
        %large = resize(%x) {scales=[2.0,2.0], mode=bilinear}
        %sum = add(%z, %z)
        return %conv, %up, %norm, %lrn, %max, %avg, %mean, %global, %fc, %soft, %sig, %cut, %large, %sum""",
    "whole": """(%x: i32[N,4,6,7], %y: i8[N,2,6,7]) {
        %w = param {init=ones} : i32[4,2,3,3]
        %v = param {init=ones} : i8[2,3,2,2]
        %u = param {init=ones} : i8[3,2,3,3]
        %sums = conv2d(%x, %w) {pads=[1,1,1,1], groups=2}
        %wraps = conv2d(%y, %u)
        %up = conv_transpose2d(%y, %v) {strides=[2,2]}
        return %sums, %wraps, %up""",
    "double": """(%x: f64[N,4,8,9]) {
        %w = param : f64[6,4,3,3]
        %conv = conv2d(%x, %w)
        %tanh = tanh(%x)
        %soft = softmax(%x)
        %avg = avg_pool(%x) {kernel=[3,3], pads=[1,1,1,1]}
        return %conv, %tanh, %soft, %avg""",
}
# fmt: on

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
RESIZES = ("scales=[2.0,3.0]", "scales=[1.5,0.6]", "sizes=[9,4]", "sizes=[1,12]", "scales=[0.34,1.0]", "sizes=[5,7]")


def resize_case(mode: str, coordinates: str) -> str:
    """All sizes, and for nearest all roundings, in one graph."""
    variants = [f"{to}, mode={mode}, coordinates={coordinates}" for to in RESIZES]
    if mode == "nearest":
        variants = [f"{variant}, rounding={rounding}" for variant in variants for rounding in ROUNDINGS]
    lines = [f"%r{i} = resize(%x) {{{variant}}}" for i, variant in enumerate(variants)]
    return f"(%x: f32[N,2,6,7]) {{ {' '.join(lines)} return {', '.join(f'%r{i}' for i in range(len(lines)))}"


CASES |= {f"resize-{mode}-{to}": resize_case(mode, to) for mode in ("nearest", "bilinear") for to in COORDINATES}

CASES |= STRUCTURE | RANKS
CASES |= INDEXED
CASES |= LAYERS
CASES |= GRADIENT_OPS


def text_of(case: str) -> str:
    return f"graph @{case} {CASES[case]} }}"
