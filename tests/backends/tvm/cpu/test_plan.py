"""Which kernel computes what, and that convolutions of every kind come out right."""

from __future__ import annotations

import pytest

from convc.backends.tvm.cpu.plan import plan, single_image
from convc.compiler.engines.optimize import optimize
from convc.ir.binding import specialize
from convc.models import ZOO
from convc.tests.support.cpu_plans import kernels
from convc.tests.support.graphs import typed_graph, with_params
from convc.tests.support.tvm_modules import build_and_hold, sizes_of

PLANES = """graph @g(%x: f32[N,3,9,40], %k: f32[N,3,9,40]) {
  %w = param : f32[3,1,3,3]
  %a = conv2d(%x, %w) {pads=[1,1,1,1], groups=3}
  %b = tanh(%a)
  %c = add(%b, %k)
  %d = conv2d(%c, %w) {pads=[1,1,1,1], groups=3}
  %e = conv2d(%k, %w) {strides=[1,2], groups=3}
  %f = concat(%b, %c)
  return %b, %d, %e, %f
}
"""


def test_few_channels_are_convolved_as_they_lie():
    """Where the image is given so, and columns follow each other; what comes after reads its result in either layout."""
    graph = typed_graph(PLANES)
    made = {name: kernel for name, kernel in kernels(graph).items() if name in "bde"}
    assert made == {"b": "depthwise planes", "d": "depthwise", "e": "depthwise"}
    assert [node.name for node in plan(graph).works[graph.by_name["b"]].covers] == ["a", "b"]  # a sum could be written over
    build_and_hold(graph, {"N": 1}, {"N": 3})
    build_and_hold(specialize(graph, {"N": 1}))


def test_few_channels_that_a_kernel_left_in_blocks_are_read_there():
    graph = typed_graph("""graph @g(%x: f32[2,3,9,9]) {
      %v = param : f32[6,3,3,3]
      %w = param : f32[20,6,3,3]
      %a = conv2d(%x, %v) {strides=[2,2]}
      %y = conv2d(%a, %w)
      return %y
    }""")
    assert [call.kernel for call in plan(graph).calls] == ["direct", "direct", "unpack"]
    build_and_hold(graph)


def test_slices_of_whole_blocks_of_channels_stay_in_blocks():
    text = """graph @g(%x: f32[N,40,4,4]) {
      %p = max_pool(%x) {kernel=[1,1]}
      %a = slice(%p) {axes=[1], starts=[16], ends=[37]}
      %b = slice(%p) {axes=[1], starts=[8], ends=[40]}
      %c = slice(%p) {axes=[2,3], starts=[0,0], ends=[4,4], steps=[2,2]}
      return %a, %b, %c
    }"""
    assert kernels(typed_graph(text)) == {"p": "max pool", "a": "slice blocks", "c": "max pool"}
    assert kernels(typed_graph(text.replace("slice(%p)", "slice(%x)"))) == {"a": "move", "b": "move", "c": "move"}


def test_a_batch_with_a_name_has_a_form_for_one_image():
    graph = typed_graph(PLANES)
    one = single_image(plan(graph))
    assert one is not None
    assert [a.name for a in one.arguments] == [a.name for a in plan(graph).arguments]
    assert single_image(plan(typed_graph(PLANES.replace("[N,", "[2,")))) is None


def test_the_two_greatest_of_a_batch_are_not_sought_in_one_image():
    text = "graph @g(%x: f32[N,6]) { %t = top_k_values(%x) {k=2, axis=0} %y = relu(%t) return %y }"
    assert single_image(plan(typed_graph(text))) is None
    assert single_image(plan(typed_graph(text.replace("axis=0", "axis=1")))) is not None


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "googlenet", "mobilenet_v2", "densenet121", "unet_resnet18"])
def test_networks_leave_little_to_stock_rows(name: str):

    graph, _ = optimize(ZOO[name].network(), 2)
    left = {node.kind.name for node in graph.ops if node not in plan(graph).covered}
    assert left <= {"softmax", "slice"}, left


@pytest.mark.parametrize(
    "read", ["%f = flatten(%p) %y = dense(%f, %w)", "%y = relu(%p)", "%f = reshape(%p) {shape=[1,16]} %y = dense(%f, %w)"]
)
def test_a_parameter_may_stand_for_an_image(read: str):
    build_and_hold(
        typed_graph(f"graph @g(%x: f32[1,4,2,2]) {{\n%p = param : f32[1,4,2,2]\n%w = param : f32[3,16]\n{read}\nreturn %y, %x\n}}\n")
    )


@pytest.mark.parametrize("name", ["bias", "packed"])
def test_a_packed_argument_may_have_the_name_of_a_parameter(name: str):
    text = f"""graph @g(%x: f32[N,16,8,8], %y: f32[N,16]) {{
        %w = param : f32[16,16,3,3]
        %b = param : f32[16]
        %c.{name} = param {{init=he}} : f32[1,16]
        %c = conv2d(%x, %w, %b) {{pads=[1,1,1,1]}}
        %e = div(%y, %c.{name})
        return %c, %e, %c.{name}
    }}"""
    build_and_hold(typed_graph(text), {"N": 1}, {"N": 3})


CONVOLUTIONS = [
    "%y = conv2d(%x, %a) {strides=[2,1], pads=[0,2,1,0]}",
    "%y = conv2d(%x, %a, %b) {dilations=[2,3], pads=[2,3,2,3]}",
    "%y = conv2d(%x, %g) {groups=4, pads=[1,1,1,1]}",
    "%y = conv2d(%x, %h) {groups=2, strides=[2,2]}",
    "%y = conv2d(%x, %d) {groups=40, pads=[1,1,1,1]}",
    "%y = conv2d(%x, %p, %b) {strides=[2,2]}",
    "%z = conv2d(%x, %a, %b) {pads=[1,1,1,1]} %s = sigmoid(%z) %y = mul(%z, %s)",
    "%z = conv2d(%x, %a, %b) {pads=[1,1,1,1]} %m = global_avg_pool(%z) %s = hard_sigmoid(%m) %y = mul(%z, %s)",
    "%z = batch_norm(%x, %s1, %s2, %s3, %s4) %y = relu(%z)",
    "%z = conv2d(%x, %a) %k = mul(%z, %c) %y = clip(%k) {min=-1.0, max=2.0}",
    "%z = conv2d(%x, %a) {pads=[1,1,1,1]} %j = concat(%x, %z, %x) %y = conv2d(%j, %q)",
    "%y = conv2d(%x, %l, %b) {pads=[2,4,2,4], strides=[1,2]}",
    "%y = conv2d(%x, %o) {groups=5, pads=[0,1,0,1]}",
]


@pytest.mark.parametrize("text", CONVOLUTIONS)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_convolutions_of_every_kind(text: str, batch: str):
    """Channels are no multiples of a block, sizes odd."""
    params = {"a": "24,40,3,3", "b": "24", "g": "8,10,3,3", "h": "32,20,2,3", "d": "40,1,3,3", "p": "24,40,1,1", "c": "24,1,1"}
    params |= {"l": "24,40,5,9", "o": "400,8,1,3"}
    params |= {"q": "5,104,1,1", **{f"s{i}": "40" for i in range(1, 5)}}
    graph = with_params(f"%x: f32[{batch},40,11,13]", params, text)
    works = plan(graph).works
    assert graph.by_name["y"] in works
    build_and_hold(graph, *sizes_of(batch))


@pytest.mark.parametrize(("groups", "wanted"), [(5, "narrow groups"), (10, "narrow groups"), (1, "winograd F(2x2)"), (40, "depthwise")])
def test_groups_have_kernels_of_their_own(groups: int, wanted: str):
    graph = with_params("%x: f32[N,40,11,13]", {"w": f"40,{40 // groups},3,3"}, f"%y = conv2d(%x, %w) {{groups={groups}, pads=[1,1,1,1]}}")
    assert kernels(graph) == {"y": wanted}
    build_and_hold(graph, *sizes_of("N"))


@pytest.mark.parametrize(("kernel", "wanted"), [(3, "winograd groups F(4x4)"), (5, "winograd groups F(2x2)"), (7, "direct")])
def test_groups_of_whole_blocks_of_every_window(kernel: int, wanted: str):
    graph = with_params("%x: f32[N,32,11,13]", {"w": f"32,16,{kernel},{kernel}"}, "%y = conv2d(%x, %w) {groups=2, pads=[2,1,1,2]}")
    assert kernels(graph) == {"y": wanted}
    build_and_hold(graph, *sizes_of("N"))


def test_softmax_of_channels_is_a_kernel_where_pixels_fill_a_vector():
    text = """graph @g(%x: f32[N,21,4,4]) {
      %y = softmax(%x) {axis=1}
      return %y
    }"""
    assert kernels(typed_graph(text)) == {"y": "softmax channels"}
    assert kernels(typed_graph(text.replace("4,4", "3,5"))) == {}
    assert kernels(typed_graph(text.replace("axis=1", "axis=2"))) == {}
    assert kernels(typed_graph(text.replace("4,4", "4,16").replace("axis=1", "axis=-2"))) == {"y": "softmax channels"}
    assert kernels(typed_graph(text.replace("4,4", "4,16").replace("axis=1", "axis=0"))) == {}


def test_weights_that_are_computed_are_packed_in_each_run():
    """As a step of training has them; Winograd's way and quarters want them beforehand."""
    graph = typed_graph("""graph @g(%x: f32[N,3,12,12], %w: f32[20,3,3,3], %b: f32[20], %v: f32[20,20,3,3], %d: f32[20,1,3,3],
            %n: f32[20,2,1,1], %u: f32[20,7,2,2], %o: f32[9,7], %c: f32[9]) {
      %twice = add(%v, %v)
      %first = conv2d(%x, %w, %b) {strides=[2,2], pads=[1,1,1,1]}
      %second = conv2d(%first, %twice) {pads=[1,1,1,1]}
      %depthwise = conv2d(%second, %d) {groups=20, pads=[1,1,1,1]}
      %narrow = conv2d(%depthwise, %n) {groups=10}
      %up = conv_transpose2d(%narrow, %u) {strides=[2,2]}
      %means = global_avg_pool(%up)
      %flat = flatten(%means)
      %dense = dense(%flat, %o, %c)
      return %dense, %up
    }""")
    made = kernels(graph)
    wanted = {"first": "direct", "second": "direct", "depthwise": "depthwise", "narrow": "narrow groups", "up": "transposed"}
    assert {name: made[name] for name in wanted} == wanted
    build_and_hold(graph, {"N": 1}, {"N": 5})
    assert kernels(specialize(graph, {"N": 5}))["dense"] == "rows of computed weights"


def test_computed_weights_of_a_dense_layer_are_packed_by_its_kernel():
    """However many they are: no table says where each of its elements comes from."""
    text = "graph @g(%x: f32[N,4096], %w: f32[2048,4096]) { %y = dense(%x, %w) return %y }"
    assert [call.kernel for call in plan(typed_graph(text)).calls] == ["rows of computed weights"]
    assert kernels(typed_graph(text.replace("2048,4096", "M,4096"))) == {}


def test_gradients_by_weights():
    """Of one group; an image of few channels is read as it is given."""
    text = """graph @g(%x: f32[N,3,9,9], %g: f32[N,20,9,9]) {
      %y = conv2d_weight_gradient(%x, %g) {kernel=[3,3], pads=[1,1,1,1]}
      %z = conv2d_weight_gradient(%g, %g) {kernel=[1,1]}
      return %y, %z
    }"""
    graph = typed_graph(text)
    assert kernels(graph) == {"y": "weight gradient", "z": "weight gradient"}
    assert [call.kernel for call in plan(graph).calls] == ["pack", "weight gradient", "weight gradient"]
    build_and_hold(graph, {"N": 1}, {"N": 3})
    in_groups = {
        groups: kernels(typed_graph(text.replace("{kernel=[1,1]}", f"{{kernel=[1,1], groups={groups}}}"))) for groups in (4, 5, 10)
    }
    assert "z" not in in_groups[4]  # of 5 channels
    assert in_groups[5]["z"] == in_groups[10]["z"] == "depthwise weight gradient"
    whole = typed_graph(text.replace(",20,", ",32,").replace("{kernel=[1,1]}", "{kernel=[1,1], groups=2}"))
    assert kernels(whole)["z"] == "weight gradient"


def test_a_batch_norm_in_training_stays_in_blocks():
    """By statistics of its own batch; what is summed over the batch is left plainly, and the way back goes through the relu's gate."""
    text = """graph @g(%x: f32[N,20,6,6], %g: f32[N,20,6,6], %scale: f32[20], %shift: f32[20]) {
      %zero = param {init=full, value=0.0} : f32[]
      %p = max_pool(%x) {kernel=[1,1]}
      %mean = reduce_mean(%p) {axes=[0,2,3], keepdims=false}
      %along = reshape(%mean) {shape=[20,1,1]}
      %off = sub(%p, %along)
      %square = mul(%off, %off)
      %var = reduce_mean(%square) {axes=[0,-2,-1], keepdims=false}
      %norm = batch_norm(%p, %scale, %shift, %mean, %var)
      %y = relu(%norm)
      %above = greater(%y, %zero)
      %back = where(%above, %g, %zero)
      %total = reduce_sum(%back) {axes=[0,2,3]}
      return %total, %y
    }"""
    graph = typed_graph(text)
    made = kernels(graph)
    wanted = {
        "mean": "channel sums",
        "off": "by channel",
        "var": "channel squares",
        "y": "batch norm",
        "back": "gate",
        "total": "channel sums",
    }
    assert {name: made.get(name) for name in wanted} == wanted
    assert "above" in {node.name for node in plan(graph).covered}
    build_and_hold(graph, {"N": 2}, {"N": 5})
    assert "total" not in kernels(typed_graph(text.replace("reduce_sum(%back) {axes=[0,2,3]}", "reduce_sum(%back) {axes=[0,2]}")))
    read = typed_graph(text.replace("return %total", "return %above, %total"))
    assert kernels(read)["back"] == "gate"
    build_and_hold(read, {"N": 3})


def test_gradients_of_max_pools():
    """Of images and of sequences; not of volumes."""
    text = """graph @g(%x: f32[N,20,9,9], %g: f32[N,20,4,4], %s: f32[N,6,9], %t: f32[N,6,4], %v: f32[N,2,4,4,4], %u: f32[N,2,2,2,2]) {
      %y = max_pool_gradient(%x, %g) {kernel=[3,3], strides=[2,2]}
      %z = max_pool_gradient(%s, %t) {kernel=[3], strides=[2]}
      %w = max_pool_gradient(%v, %u) {kernel=[2,2,2], strides=[2,2,2]}
      return %y, %z, %w
    }"""
    graph = typed_graph(text)
    assert kernels(graph) == {"y": "max pool gradient", "z": "max pool gradient"}
    build_and_hold(graph, {"N": 1}, {"N": 3})


@pytest.mark.parametrize("batch", ["N", "1"])
def test_a_gate_is_read_where_its_layer_left_it(batch: str):
    """Of one image it has the shape of a constant a channel, which would be moved out of blocks and packed first."""
    text = f"""graph @g(%x: f32[{batch},20,6,5]) {{
      %w = param : f32[20,20,1,1]
      %p = global_avg_pool(%x)
      %c = conv2d(%p, %w)
      %s = sigmoid(%c)
      %r = max_pool(%x) {{kernel=[1,1]}}
      %y = mul(%s, %r)
      return %y
    }}"""
    graph = typed_graph(text)
    assert kernels(graph) == {"p": "global avg pool", "s": "direct", "r": "max pool", "y": "by image"}
    assert [call.kernel for call in plan(graph).calls] == ["pack", "global avg pool", "direct", "max pool", "by image", "unpack"]
    build_and_hold(graph, *([{"N": 1}, {"N": 3}] if batch == "N" else [{}]))


def test_of_24_channels_the_last_block_is_a_half():
    text = """graph @g(%x: f32[N,20,6,5]) {
      %w = param : f32[24,20,3,3]
      %v = param : f32[44,24,1,1]
      %a = conv2d(%x, %w)
      %b = relu(%a)
      %y = conv2d(%b, %v)
      %k = param : f32[24,12,3,3]
      %z = conv2d(%b, %k) {groups=2}
      return %y, %z
    }"""
    graph = typed_graph(text)
    keys = [work.kernel.tunable.key for work in plan(graph, {}).works.values() if work.kernel.tunable]
    assert ["to 2, the last in 8, " in key for key in keys] == [True, False, True]
    assert "to 3, the last in 12, " in keys[1]
    build_and_hold(graph, {"N": 1}, {"N": 3})


@pytest.mark.parametrize(("first", "last", "starts"), [(0, 16, (0,)), (16, 40, (-1,)), (0, 10, ()), (16, 30, ())])
def test_channels_are_shown_where_none_lies_beside_them(first: int, last: int, starts: tuple[int, ...]):
    """In a block that is shown to its end: an infinity beyond the last channel, times a weight of 0, would be no number."""
    text = f"""graph @g(%x: f32[N,40,6,6]) {{
      %p = max_pool(%x) {{kernel=[1,1]}} %a = slice(%p) {{axes=[1], starts=[{first}], ends=[{last}]}} %y = max_pool(%a) {{kernel=[2,2]}} return %y }}"""
    graph = typed_graph(text)
    assert plan(graph).works[graph.by_name["a"]].starts == starts
