"""Which kernel computes what, what it takes in, and that convolutions of every kind come out right."""

from __future__ import annotations

import pytest

from convc.backends.tvm.cpu.kernels.direct.size import Direct
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cpu.plan import plan, single_image
from convc.backends.tvm.cpu.tiles import tiles_by_size
from convc.backends.tvm.processor import AVX2, AVX512, NEON, SSE, ZEN, ZEN_5, Processor
from convc.compiler.engines.optimize import optimize
from convc.ir.binding import specialize
from convc.ir.graph import Graph
from convc.models import ZOO
from convc.tests.support.graphs import typed_graph, with_params
from convc.tests.support.tvm_modules import build_and_hold, sizes_of


def kernels(graph: Graph, winograd: str = "auto") -> dict[str, str]:
    """The kernel of each result that has work."""
    return {work.result.name: work.kernel.name for work in plan(graph, tiles_by_size(graph, winograd, AVX512)).works.values()}


RESIDUAL = """graph @g(%x: f32[N,16,12,12]) {
  %w = param : f32[16,16,3,3]
  %a = conv2d(%x, %w) {pads=[1,1,1,1]}
  %b = relu(%a)
  %c = conv2d(%b, %w) {pads=[1,1,1,1]}
  %d = add(%c, %b)
  %e = relu(%d)
  %y = max_pool(%e) {kernel=[2,2], strides=[2,2]}
  return %y
}
"""


def test_what_follows_a_convolution_is_computed_in_it():
    graph = typed_graph(RESIDUAL)
    works = plan(graph).works
    assert kernels(graph) == {"b": "winograd F(2x2)", "e": "winograd F(2x2)", "y": "max pool"}
    assert [node.name for node in works[graph.by_name["e"]].covers] == ["c", "d", "e"]
    assert [node.name for node in works[graph.by_name["e"]].others] == ["b"]


GATED = """graph @g(%x: f32[N,24,9,9], %k: f32[N,24,9,9]) {
  %w = param : f32[24,24,1,1]
  %d = param : f32[24,1,3,3]
  %a = conv2d(%x, %w)
  %s = sigmoid(%a)
  %b = mul(%s, %a)
  %t = tanh(%b)
  %c = sub(%b, %t)
  %e = conv2d(%c, %d) {groups=24}
  %h = hard_sigmoid(%e)
  %y = mul(%e, %h)
  return %y
}
"""


def test_what_an_op_makes_of_a_value_may_be_its_gate():
    """As in x * sigmoid(x), one after another too."""
    graph = typed_graph(GATED)
    covers = {name: [node.name for node in plan(graph).works[graph.by_name[name]].covers] for name in "cy"}
    assert covers == {"c": ["a", "s", "b", "t", "c"], "y": ["e", "h", "y"]}
    build_and_hold(graph, {"N": 1}, {"N": 3})


@pytest.mark.parametrize(
    "edit",
    [
        ("return %y", "return %y, %a"),  # it is stored anyway
        ("tanh(%b)", "add(%a, %b)"),  # read once more
        ("sigmoid(%a)", "log(%a)"),  # no step
        ("sigmoid(%a)", "add(%a, %k)"),  # reads something besides
    ],
)
def test_a_value_that_is_needed_elsewhere_has_no_gate(edit: tuple[str, str]):
    graph = typed_graph(GATED.replace(*edit))
    assert plan(graph).works[graph.by_name["a"]].covers == (graph.by_name["a"],)
    if "log" not in edit[1]:
        build_and_hold(graph, {"N": 2})


SHUFFLED = """graph @g(%x: f32[N,20,5,7]) {
  %w = param : f32[20,20,1,1]
  %a = conv2d(%x, %w)
  %b = conv2d(%a, %w)
  %c = concat(%b, %a)
  %s = reshape(%c) {shape=[N,2,20,5,7]}
  %t = transpose(%s) {perm=[0,2,1,3,4]}
  %m = reshape(%t) {shape=[N,40,5,7]}
  %p = slice(%m) {axes=[1], starts=[0], ends=[20]}
  %q = slice(%m) {axes=[1], starts=[20], ends=[40]}
  %r = conv2d(%q, %w)
  %y = add(%p, %r)
  return %y
}
"""


def test_what_is_chosen_from_joined_channels_is_taken_where_they_were():
    better, _ = optimize(typed_graph(SHUFFLED), 2)
    works = plan(better).works
    covers = {node.name: tuple(part.name for part in works[node].covers) for node in works if node.name in "pq"}
    assert covers == {"p": ("c", "p"), "q": ("c", "q")}
    assert "stock" not in {call.kernel for call in plan(better).calls}
    build_and_hold(better, {"N": 1}, {"N": 2})


def test_joined_channels_that_are_read_whole_stay_joined():
    better, _ = optimize(typed_graph(SHUFFLED.replace("return %y", "return %y, %c")), 2)
    assert {call.node.name: call.kernel for call in plan(better).calls if call.node.name in "cpq"}["p"] == "pick channels"
    assert [node.name for node in plan(better).works[better.by_name["p"]].covers] == ["p"]
    build_and_hold(better, {"N": 2})


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


POOLED = """graph @g(%x: f32[N,16,13,12]) {
  %w = param : f32[16,16,3,3]
  %a = conv2d(%x, %w) {pads=[1,1,1,1]}
  %b = relu(%a)
  %y = max_pool(%b) {kernel=[2,2], strides=[2,2]}
  return %y
}
"""


def test_tiles_hold_whole_windows_of_a_pool_of_pairs():
    for tile in (2, 4):
        (work,) = plan(typed_graph(POOLED), {"a": tile}).works.values()
        assert [node.name for node in work.covers] == ["a", "b", "y"]
        assert work.kernel.tile == tile


@pytest.mark.parametrize(
    ("this", "other"),
    [
        ("strides=[2,2]}\n  return %y", "strides=[2,2]}\n  return %y, %b"),
        ("strides=[2,2]", "strides=[2,2], ceil_mode=true"),  # its last window has one row
        ("kernel=[2,2]", "kernel=[3,3]"),
        ("strides=[2,2]", "strides=[2,1]"),
        ("strides=[2,2]", "strides=[2,2], pads=[1,0,0,0]"),
        ("%b = relu(%a)", "%b = add(%a, %x)"),
    ],
)
def test_other_pools_are_kernels_of_their_own(this: str, other: str):
    assert this in POOLED
    assert kernels(typed_graph(POOLED.replace(this, other))) == {"b": "winograd F(2x2)", "y": "max pool"}


def test_a_value_that_is_read_twice_or_returned_is_stored():
    returned = typed_graph(RESIDUAL.replace("return %y", "return %y, %c"))
    assert kernels(returned) == {"b": "winograd F(2x2)", "c": "winograd F(2x2)", "e": "pointwise", "y": "max pool"}


@pytest.mark.parametrize(("winograd", "wanted"), [("off", "direct"), ("f2", "winograd F(2x2)"), ("f4", "winograd F(4x4)")])
def test_the_user_decides_about_winograd(winograd: str, wanted: str):
    assert kernels(typed_graph(RESIDUAL), winograd)["b"] == wanted


def test_a_lone_image_takes_smaller_tiles_further():
    """It alone pays for all weights, of which there are fewer then."""

    def tile(batch: str, rows: int, processor: Processor) -> int:
        text = f"""graph @g(%x: f32[{batch},64,{rows},{rows}]) {{
          %w = param : f32[64,64,3,3]
          %y = conv2d(%x, %w) {{pads=[1,1,1,1]}}
          return %y
        }}"""
        return plan(typed_graph(text), processor=processor).tiles["y"]

    assert [tile(batch, 14, AVX512) for batch in ("1", "N", "2")] == [2, 2, 4]
    assert [tile("1", rows, AVX512) for rows in (15, 28)] == [4, 4]
    assert tile("1", 14, ZEN) == 4


def test_where_memory_is_slow_only_few_weights_take_larger_tiles():
    def tile(channels: int, rows: int) -> int:
        text = f"""graph @g(%x: f32[1,{channels},{rows},{rows}]) {{
          %w = param : f32[{channels},{channels},3,3]
          %y = conv2d(%x, %w) {{pads=[1,1,1,1]}}
          return %y
        }}"""
        return plan(typed_graph(text), processor=ZEN_5).tiles["y"]

    assert [tile(channels, 14) for channels in (256, 512)] == [4, 2]
    assert tile(512, 28) == 4


@pytest.mark.parametrize(
    ("winograd", "kernel", "tile"),
    [
        ("auto", "5,5", 2),
        ("f2", "5,5", 0),
        ("f4", "5,5", 2),
        ({"y": 2}, "5,5", 2),
        ({"y": 4}, "5,5", 0),
        ("off", "5,5", 0),
        ("auto", "5,3", 0),
        ("auto", "7,7", 0),
    ],
)
def test_tiles_of_5x5_are_of_2x2(winograd: str | dict[str, int], kernel: str, tile: int):
    text = f"""graph @g(%x: f32[1,32,27,27]) {{
      %w = param : f32[48,32,{kernel}]
      %y = conv2d(%x, %w) {{pads=[2,2,2,2]}}
      return %y
    }}"""
    graph = typed_graph(text)
    tiles = tiles_by_size(graph, winograd, AVX512) if isinstance(winograd, str) else winograd
    (work,) = plan(graph, tiles).works.values()
    assert work.kernel.tile == tile


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
    graph = typed_graph(RESIDUAL)
    one = single_image(plan(graph))
    assert one is not None
    assert [a.name for a in one.arguments] == [a.name for a in plan(graph).arguments]
    assert single_image(plan(typed_graph(RESIDUAL.replace("[N,", "[2,")))) is None


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "googlenet", "mobilenet_v2", "densenet121", "unet_resnet18"])
def test_networks_leave_little_to_stock_rows(name: str):
    from convc.compiler.engines.optimize import optimize

    graph, _ = optimize(ZOO[name].network(), 2)
    left = {node.kind.name for node in graph.ops if node not in plan(graph).covered}
    assert left <= {"softmax", "slice"}, left


FLATTENED = """graph @g(%x: f32[N,3,5,4]) {
  %v = param : f32[20,3,3,3]
  %w = param : f32[7,120]
  %c = conv2d(%x, %v)
  %f = flatten(%c)
  %d = dense(%f, %w)
  %y = relu(%d)
  return %y
}
"""


@pytest.mark.parametrize(
    ("edits", "covers"),
    [
        ([], ["f", "d", "y"]),
        ([("%f = flatten(%c)", "%f = flatten(%x)"), ("f32[7,120]", "f32[7,60]")], ["f", "d", "y"]),
        ([("return %y", "return %y, %f")], ["d", "y"]),
        ([("%d = dense(%f, %w)", "%e = dense(%f, %w) %z = dense(%f, %w) %d = add(%e, %z)")], ["e", "d", "y"]),
        ([("flatten(%c)", "flatten(%c) {axis=3}"), ("f32[7,120]", "f32[7,2]")], ["d", "y"]),
    ],
    ids=["of a convolution", "of an input", "returned", "read twice", "of columns"],
)
def test_a_dense_layer_reads_an_image_as_it_lies(edits: list[tuple[str, str]], covers: list[str]):
    text = FLATTENED
    for was, now in edits:
        text = text.replace(was, now)
    graph = typed_graph(text)
    works = plan(graph).works.values()
    assert covers in [[node.name for node in work.covers] for work in works]
    build_and_hold(graph, {"N": 1}, {"N": 3})


@pytest.mark.parametrize("cols", [1, 7, 13, 17, 56, 149])
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 7, 13])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("processor", [AVX512, AVX2, NEON, SSE])
def test_register_tiles_cover_the_result_once_and_fit(cols: int, blocks: int, groups: int, processor: Processor):
    size = Direct(1, groups, 16, Window(1, cols, (1, 1)), blocks * groups, groups, (), processor=processor)
    covered: list[tuple[int, int]] = []
    for first, tiles, deep in size.depths():
        for run in size.window.runs(size.widest(deep)):
            width = len(run.columns)
            assert (width + 1) * deep * 16 + processor.lanes <= processor.floats  # with what is loaded
            places = [run.first + tile * width + j for tile in range(run.tiles) for j in range(width)]
            covered += [(first + block, place) for block in range(tiles * deep) for place in places]
    assert sorted(covered) == [(block, place) for block in range(blocks) for place in range(cols)]


@pytest.mark.parametrize(
    "read", ["%f = flatten(%p) %y = dense(%f, %w)", "%y = relu(%p)", "%f = reshape(%p) {shape=[1,16]} %y = dense(%f, %w)"]
)
def test_a_parameter_may_stand_for_an_image(read: str):
    build_and_hold(
        typed_graph(f"graph @g(%x: f32[1,4,2,2]) {{\n%p = param : f32[1,4,2,2]\n%w = param : f32[3,16]\n{read}\nreturn %y, %x\n}}\n")
    )


NORM_BEFORE = """graph @g(%x: f32[N,24,15,9]) {
  %s1 = param : f32[24]
  %s2 = param : f32[24]
  %s3 = param : f32[24]
  %s4 = param {init=around_one} : f32[24]
  %w = param : f32[40,24,1,1]
  %n = batch_norm(%x, %s1, %s2, %s3, %s4)
  %r = relu(%n)
  %c = conv2d(%r, %w)
  %y = sigmoid(%c)
  return %y
}
"""


@pytest.mark.parametrize(  # 9 sums or 17 others each
    ("steps", "kernels"), [(("add(%v{0}, %y)", "sub(%v{0}, %y)"), 223), (("tanh(%v{0})", "relu(%v{0})"), 118)]
)
def test_long_chains_are_several_kernels(steps: tuple[str, str], kernels: int):
    lines = [f"  %v{i + 1} = {steps[i % 2].format(i)}" for i in range(2000)]
    text = "\n".join(["graph @g(%v0: f32[1,16,2,2], %y: f32[1,16,2,2]) {", *lines, "  return %v2000", "}"])
    graph = typed_graph(text)
    assert sum(call.work is not None for call in plan(graph).calls) == kernels
    build_and_hold(graph)


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


def test_a_norm_before_a_1x1_convolution_is_computed_in_it():
    graph = typed_graph(NORM_BEFORE)
    (work,) = plan(graph).works.values()
    assert [node.name for node in work.covers] == ["n", "r", "c", "y"]
    assert [node.name for node in work.operands] == ["x"]
    build_and_hold(graph, {"N": 1}, {"N": 3})


@pytest.mark.parametrize(
    "edit",
    [
        ("return %y", "return %y, %r"),  # its value is asked for
        ("%y = sigmoid(%c)", "%d = conv2d(%r, %w) %y = add(%c, %d)"),  # two read it
        ("conv2d(%r, %w)", "conv2d(%r, %w) {pads=[1,0,0,0]}"),  # a pad is zero after the norm
        ("conv2d(%r, %w)", "conv2d(%r, %w) {strides=[2,1]}"),
    ],
)
def test_a_norm_stays_by_itself(edit: tuple[str, str]):
    graph = typed_graph(NORM_BEFORE.replace(*edit))
    assert "depthwise" in kernels(graph).values()
    build_and_hold(graph, {"N": 2})


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


def test_softmax_of_channels_is_a_kernel_where_pixels_fill_a_vector():
    text = """graph @g(%x: f32[N,21,4,4]) {
      %y = softmax(%x) {axis=1}
      return %y
    }"""
    assert kernels(typed_graph(text)) == {"y": "softmax channels"}
    assert kernels(typed_graph(text.replace("4,4", "3,5"))) == {}
    assert kernels(typed_graph(text.replace("axis=1", "axis=2"))) == {}
