"""Which kernel computes what, what it takes in, and that convolutions of every kind come out right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from convc.backends.tvm.fast.direct import Direct
from convc.backends.tvm.fast.plan import plan, single_image
from convc.ir.graph import Graph
from convc.models import ZOO

TypedGraph = Callable[[str], Graph]


def kernels(graph: Graph, winograd: str = "auto") -> dict[str, str]:
    """The maker of each result that has work."""
    return {work.result.name: work.build.func.__name__ for work in plan(graph, winograd).works.values()}


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


def test_what_follows_a_convolution_is_computed_in_it(typed: TypedGraph):
    graph = typed(RESIDUAL)
    works = plan(graph).works
    assert kernels(graph) == {"b": "winograd_kernel", "e": "winograd_kernel", "y": "max_pool"}
    assert [node.name for node in works[graph.by_name["e"]].covers] == ["c", "d", "e"]
    assert [node.name for node in works[graph.by_name["e"]].others] == ["b"]


def test_a_value_that_is_read_twice_or_returned_is_stored(typed: TypedGraph):
    returned = typed(RESIDUAL.replace("return %y", "return %y, %c"))
    assert kernels(returned) == {"b": "winograd_kernel", "c": "winograd_kernel", "e": "pointwise", "y": "max_pool"}


@pytest.mark.parametrize(("winograd", "wanted"), [("off", "direct"), ("f2", "winograd_kernel"), ("f4", "winograd_kernel")])
def test_the_user_decides_about_winograd(winograd: str, wanted: str, typed: TypedGraph):
    assert kernels(typed(RESIDUAL), winograd)["b"] == wanted


def test_a_batch_with_a_name_has_a_form_for_one_image(typed: TypedGraph):
    graph = typed(RESIDUAL)
    one = single_image(graph)
    assert one is not None
    assert [a.name for a in plan(one).arguments] == [a.name for a in plan(graph).arguments]
    assert single_image(typed(RESIDUAL.replace("[N,", "[2,"))) is None


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "googlenet", "mobilenet_v2", "densenet121", "unet_resnet18"])
def test_networks_leave_little_to_stock_rows(name: str):
    from convc.compiler.pipelines import optimize

    graph, _ = optimize(ZOO[name].network(), 2)
    left = {node.kind.name for node in graph.ops if node not in plan(graph).covered}
    assert left <= {"flatten", "conv_transpose2d", "softmax", "slice"}, left


@pytest.mark.parametrize("out", [(7, 7), (56, 56), (13, 13), (112, 112), (149, 149), (1, 1)])
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 13])
def test_a_register_tile_divides_the_result_and_fits(out: tuple[int, int], blocks: int):
    size = Direct(1, 1, 16, *out, blocks, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, ())
    width, deep, height = size.tile
    assert out[1] % width == out[0] % height == blocks % deep == 0
    assert width * deep * height <= 28


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
]


@pytest.mark.parametrize("text", CONVOLUTIONS)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_convolutions_of_every_kind(text: str, batch: str, typed: TypedGraph, agrees: Callable[..., object]):
    """Channels are no multiples of a block, sizes odd."""
    params = {"a": "24,40,3,3", "b": "24", "g": "8,10,3,3", "h": "32,20,2,3", "d": "40,1,3,3", "p": "24,40,1,1", "c": "24,1,1"}
    params |= {"q": "5,104,1,1", **{f"s{i}": "40" for i in range(1, 5)}}
    lines = [f"  %{name} = param : f32[{shape}]" for name, shape in params.items() if f"%{name}" in text]
    graph = typed(f"graph @g(%x: f32[{batch},40,11,13]) {{\n" + "\n".join(lines) + f"\n  {text}\n  return %y\n}}\n")
    works = plan(graph).works
    assert graph.by_name["y"] in works
    agrees(graph, *([{"N": 1}, {"N": 3}] if batch == "N" else [{}]))
