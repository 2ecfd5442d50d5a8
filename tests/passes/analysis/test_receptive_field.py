"""Receptive fields held to what networks do: one line of pixels is changed, and the units that answer are those that see it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from convc import models
from convc.backends import reference
from convc.ir.binding import specialize
from convc.ir.graph import Graph, Node
from convc.ir.ops import OPS
from convc.ir.ops.leaf import INPUT
from convc.ir.ops.shape import PAD
from convc.ir.types import Array
from convc.passes.analysis import spans
from convc.passes.analysis.reach import READS_ALL, RULES, WINDOWED, reach
from convc.passes.analysis.receptive_field import Field, fields_of, receptive_fields
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.op_cases import CASES, text_of
from convc.tests.support.shell import convc

SIDE = 24  # pixels: boxes of the units in the middle touch no border
LEAST = 1e-9  # that an answer is greater than; rounding is 1e-16

# Sums and maxima of ones: a unit answers to all that it sees.
PLAIN = {
    "a chain with uneven pads": """%w = param {init=ones} : f32[2,1,3,2] %v = param {init=ones} : f32[1,2,3,3]
        %a = conv2d(%x, %w) {strides=[2,1], pads=[2,0,1,3]} %b = relu(%a) %y = conv2d(%b, %v) {pads=[1,1,1,1]}""",
    "dilation": """%w = param {init=ones} : f32[1,1,3,3]
        %a = conv2d(%x, %w) {dilations=[2,3], pads=[2,3,2,3]} %y = conv2d(%a, %w) {strides=[2,2], dilations=[1,2], pads=[0,1,2,1]}""",
    "pools": """%a = max_pool(%x) {kernel=[3,2], strides=[2,2], pads=[1,0,1,0], ceil_mode=true}
        %b = avg_pool(%a) {kernel=[2,2], strides=[1,1], pads=[0,1,1,0]} %y = lp_pool(%b) {kernel=[2,3], strides=[2,1]}""",
    "paths of different length": """%w = param {init=ones} : f32[1,1,3,3] %v = param {init=ones} : f32[1,1,1,1]
        %a = conv2d(%x, %w) {strides=[2,2], pads=[1,1,1,1]} %b = conv2d(%a, %w) {pads=[1,1,1,1]}
        %s = conv2d(%x, %v) {strides=[2,2]} %y = add(%b, %s)""",
    "branches": """%w = param {init=ones} : f32[1,1,1,1] %v = param {init=ones} : f32[1,1,5,3]
        %a = conv2d(%x, %w) %b = conv2d(%x, %v) {pads=[2,1,2,1]} %c = max_pool(%x) {kernel=[3,3], strides=[1,1], pads=[2,0,0,2]}
        %y = concat(%a, %b, %c)""",
    "transposed": """%w = param {init=ones} : f32[1,1,3,4] %y = conv_transpose2d(%x, %w) {strides=[2,2], pads=[1,1,0,1], output_padding=[1,0]}""",
    "transposed with gaps": """%w = param {init=ones} : f32[1,1,2,2] %v = param {init=ones} : f32[1,1,2,2]
        %a = conv_transpose2d(%x, %w) {strides=[3,4]} %y = conv2d(%a, %v) {strides=[2,1]}""",
    "transposed and dilated": """%w = param {init=ones} : f32[1,1,4,3] %y = conv_transpose2d(%x, %w) {strides=[2,4], dilations=[3,2]}""",
    "down and up": """%w = param {init=ones} : f32[1,1,3,3] %v = param {init=ones} : f32[1,1,2,2]
        %a = conv2d(%x, %w) {strides=[2,2], pads=[1,1,1,1]} %b = conv_transpose2d(%a, %v) {strides=[2,2]}
        %c = conv2d(%b, %w) {pads=[1,1,1,1]} %y = add(%c, %x)""",
    "a u-net": """%w = param {init=ones} : f32[1,1,3,3] %v = param {init=ones} : f32[1,2,3,3]
        %a = conv2d(%x, %w) {pads=[1,1,1,1]} %p = max_pool(%a) {kernel=[2,2], strides=[2,2]} %b = conv2d(%p, %w) {pads=[1,1,1,1]}
        %u = resize(%b) {scales=[2.0,2.0]} %c = concat(%u, %a) %y = conv2d(%c, %v) {pads=[1,1,1,1]}""",
    "bilinear": """%w = param {init=ones} : f32[1,1,3,3]
        %u = resize(%x) {scales=[2.0,1.5], mode="bilinear"} %y = conv2d(%u, %w) {strides=[1,2], pads=[1,1,1,1]}""",
    "corners aligned": """%y = resize(%x) {sizes=[47,93], mode="bilinear", coordinates="align_corners"}""",
    "asymmetric": """%y = resize(%x) {scales=[0.5,4.0], coordinates="asymmetric", rounding="floor"}""",
    "blocks": """%w = param {init=ones} : f32[4,4,3,3] %a = space_to_depth(%x) {block=2} %b = conv2d(%a, %w) {pads=[1,1,1,1]}
        %y = depth_to_space(%b) {block=2}""",
    "parts": """%w = param {init=ones} : f32[1,1,3,3] %a = pad(%x) {pads=[0,0,2,0,0,0,1,3]} %b = slice(%a) {axes=[2,3], starts=[1,-1], ends=[22,2], steps=[2,-2]}
        %y = conv2d(%b, %w) {pads=[1,1,1,1]}""",
    "other axes": """%w = param {init=ones} : f32[1,1,1,3] %a = transpose(%x) {perm=[0,1,3,2]} %b = conv2d(%a, %w) {strides=[1,2]}
        %c = reshape(%b) {shape=[-1,1,1,24,11]} %d = transpose(%c) {perm=[0,2,1,4,3]} %y = reshape(%d) {shape=[-1,1,11,24]}""",
    "strides that differ": """%w = param {init=ones} : f32[1,1,1,1] %u = resize(%x) {sizes=[12,12], mode="nearest"}
        %a = conv2d(%x, %w) {strides=[2,2], pads=[0,0,0,0]} %y = add(%u, %a)""",
    "one row of pixels": """%w = param {init=ones} : f32[1,1,24,3] %v = param {init=ones} : f32[1,1,1,3]
        %a = conv2d(%x, %w) %b = reduce_sum(%a) {axes=[2]} %y = conv2d(%a, %v) {pads=[0,1,0,1]}""",
}
# Where values decide, the interval may be larger than what answered.
HELD = {
    "switches": """%i = max_pool_indices(%x) {kernel=[2,2], strides=[2,2]} %p = max_pool(%x) {kernel=[2,2], strides=[2,2]}
        %y = max_unpool(%p, %i) {kernel=[2,2], strides=[2,2]}""",
    "places between pixels that floats round": """%y = resize(%x) {sizes=[49,70], mode="bilinear", coordinates="align_corners"}""",
    "a gate": """%w = param : f32[1,1,3,3] %a = conv2d(%x, %w) {pads=[1,1,1,1]} %g = global_avg_pool(%a) %s = sigmoid(%g) %y = mul(%a, %s)""",
    "dense": """%w = param : f32[3,576] %f = flatten(%x) %y = dense(%f, %w)""",
    "cubic": """%u = resize(%x) {scales=[1.5,2.0], mode="cubic"} %y = max_pool(%u) {kernel=[2,2], strides=[3,2]}""",
    "antialiased": """%y = resize(%x) {scales=[0.5,0.25], mode="bilinear", antialias=true}""",
    "a scale of many digits": """%u = resize(%x) {scales=[1.7321,0.577], mode="bilinear"} %y = avg_pool(%u) {kernel=[2,2], strides=[1,1]}""",
    "softmax of channels": """%w = param : f32[4,1,3,3] %a = conv2d(%x, %w) {strides=[2,1]} %y = softmax(%a)""",
    "an image by its transpose": """%t = transpose(%x) {perm=[0,1,3,2]} %y = mul(%x, %t)""",
    "norms": """%s = param : f32[1] %a = instance_norm(%x, %s, %s) %y = max_pool(%a) {kernel=[2,2], strides=[2,2]}""",
}


def network(text: str, extent: int = SIDE) -> Graph:
    return typed_graph(f"graph @g(%x: f32[N,1,{extent},{extent}]) {{ {text} return %y }}")


def answers(graph: Graph, axis: int, base: Array) -> Array:
    """[pixel, *units of the result]: whether a unit answers where the pixels of this place along the image's axis change."""
    changed = np.repeat(base, base.shape[axis], axis=0)
    for place in range(base.shape[axis]):
        np.moveaxis(changed[place], axis - 1, 0)[place] += 10.0
    images = np.concatenate([base, changed])
    (y,) = reference.run(graph, {"x": images}, "f64").values()
    return abs(y[1:] - y[:1]) > LEAST


def seen_by_units(graph: Graph, axis: int, field: Field, base: Array) -> list[tuple[set[int], set[int]]]:
    """Of each unit along the field's axis the pixels that it answers to, and those of its box."""
    seen, extent = answers(graph, axis, base), base.shape[axis]
    if field.along is None:
        units = [seen.reshape(extent, -1).any(1)]
    else:
        units = list(np.moveaxis(seen, field.along, 1).reshape(extent, seen.shape[field.along], -1).any(2).T)
    boxes = [field.box(place) for place in range(len(units))]
    inside = [{p for p in range(extent) if first <= p <= last} for first, last in boxes]
    return [(set(np.flatnonzero(unit)), box) for unit, box in zip(units, inside, strict=True)]


@pytest.mark.parametrize("case", PLAIN)
@pytest.mark.parametrize("axis", [2, 3])
def test_the_box_is_what_a_unit_answers_to(case, axis):
    graph = network(PLAIN[case])
    field = fields_of(graph, graph.inputs[0])[graph.outputs[0]][axis - 2]
    assert field.size is not None
    units = seen_by_units(graph, axis, field, np.zeros((1, 1, SIDE, SIDE), np.float32))
    full = 0
    for place, (seen, box) in enumerate(units):
        first, last = field.box(place)
        assert seen <= {int(np.clip(pixel, 0, SIDE - 1)) for pixel in range(int(first), int(last) + 1)} if first <= last else not seen
        if len(units) // 4 <= place <= len(units) * 3 // 4 and 0 <= first <= last < SIDE:
            full += 1
            assert (min(seen), max(seen)) == (first, last), f"unit {place} sees {sorted(seen)}, its box is {sorted(box)}"
    assert full > 2 or len(units) == 1 == full


@pytest.mark.parametrize("case", HELD)
@pytest.mark.parametrize("axis", [2, 3])
def test_the_box_holds_what_a_unit_answers_to(case, axis):
    graph = network(HELD[case])
    field = fields_of(graph, graph.inputs[0])[graph.outputs[0]][axis - 2]
    seen = seen_by_units(graph, axis, field, np.random.default_rng(0).standard_normal((1, 1, SIDE, SIDE)).astype(np.float32))
    assert all(answered <= box for answered, box in seen)
    assert any(answered for answered, _ in seen)


@dataclass(frozen=True)
class Variant:
    """A node of a case, and the values of its operands."""

    node: Node
    operands: tuple[Array, ...]


def variants(case: str) -> list[Variant]:
    graph = specialize(typed_graph(text_of(case)), {"N": 2})
    inputs, values, found = normal_inputs(graph), dict[Node, Array](), list[Variant]()
    for node in graph.nodes:
        if node.kind is INPUT or node.weights is not None:
            values[node] = inputs[node.name] if node.kind is INPUT else node.weights.drawn()
            if values[node].dtype.kind == "f":
                values[node] = values[node].astype(np.float64)
        elif node.kind.facts.opaque:
            break
        else:
            found.append(Variant(node, tuple(values[operand] for operand in node.inputs)))
            with np.errstate(all="ignore"):
                values[node] = np.asarray(node.kind.meaning(node.op, *found[-1].operands))
    return found


@pytest.mark.parametrize("case", CASES)
def test_no_unit_answers_to_what_its_rule_leaves_out(case):
    for variant in variants(case):
        for place, operand in enumerate(variant.operands):
            readings = reach(variant.node, place)
            assert len(readings) == operand.ndim, variant.node.where
            for axis, reading in enumerate(readings):
                if reading is not None and operand.dtype.kind == "f":
                    hold(variant, place, axis, *reading)


def hold(variant: Variant, place: int, axis: int, along: int, step: spans.Spans) -> None:
    """What lies beyond the border is what the border repeats; what it mirrors is left out."""
    node, operand = variant.node, variant.operands[place]
    extent = operand.shape[axis]
    with np.errstate(all="ignore"):
        before = np.asarray(node.kind.meaning(node.op, *variant.operands))
    mirrored = node.kind is PAD and node.op.mode == "reflect"
    for pixel in range(extent):
        changed = operand.copy()
        np.moveaxis(changed, axis, 0)[pixel] += 3.0
        operands = (*variant.operands[:place], changed, *variant.operands[place + 1 :])
        with np.errstate(all="ignore"):
            after = np.asarray(node.kind.meaning(node.op, *operands))
        moved = ~np.isclose(after.astype(np.float64), before.astype(np.float64), rtol=1e-9, atol=1e-9, equal_nan=True)
        for unit in np.flatnonzero(np.moveaxis(moved, along, 0).reshape(before.shape[along], -1).any(1)):
            first, last = step.at(int(unit))
            if not (mirrored and (first < 0 or last >= extent)):
                assert np.clip(first, 0, extent - 1) <= pixel <= np.clip(last, 0, extent - 1), f"{node.where}: {axis}, {unit}, {pixel}"


def test_every_op_is_pointwise_or_has_a_rule_or_a_reason():
    reads_all = [name for names in READS_ALL.values() for name in names]
    assert sorted(reads_all) == sorted(name for name, kind in OPS.items() if not kind.facts.pointwise and kind not in RULES)


def test_every_op_with_a_window_has_a_rule_of_windows():
    """But where offsets move its taps, and where it adds up over all places."""
    windowed = {name for name, kind in OPS.items() if {"strides", "pads"} <= set(kind.Attrs.__dataclass_fields__)}
    data, sums = "deform_conv2d", {name for name in windowed if name.endswith("_weight_gradient")}
    assert {kind.name for kind in WINDOWED} == windowed - {data} - sums


# Araujo, Norris & Sim 2019, table of section "receptive field of modern networks"; the layers of vgg16 and alexnet by the same recursion,
# as their authors and Fast R-CNN's report them. Stride of the network beside it.
PUBLISHED = [
    *(("alexnet", "conv5", 163, 16), ("alexnet", "max_pool3", 195, 32)),
    *(("vgg16", "conv4_3", 92, 8), ("vgg16", "conv5_3", 196, 16), ("vgg16", "max_pool5", 212, 32)),
    *(("resnet50", "conv5_3.conv3", 483, 32), ("resnet101", "conv5_3.conv3", 1027, 32), ("resnet152", "conv5_3.conv3", 1507, 32)),
    *(("resnet50_v1_5", "conv5_3.conv3", 427, 32), ("resnet18", "conv5_2.conv2", 435, 32)),
]


@pytest.mark.parametrize(("name", "layer", "size", "stride"), PUBLISHED)
def test_published_figures(name, layer, size, stride):
    graph = getattr(models, name)()
    fields = fields_of(graph, graph.inputs[0])[graph.by_name[layer]]
    assert [(field.size, field.stride) for field in fields] == [(size, stride)] * 2


def test_inception_v3_sees_what_the_paper_has():
    graph = models.inception_v3()
    fields = fields_of(graph, graph.inputs[0])
    assert max(field.size or 0 for node in graph.ops for field in fields[node]) == 1311


def test_names_for_sizes_change_nothing_where_windows_are_even():
    by_name = typed_graph("""graph @g(%x: f32[N,1,8*H,8*W]) { %w = param : f32[1,1,3,3] %a = conv2d(%x, %w) {strides=[2,2], pads=[1,1,1,1]}
        %u = resize(%a) {scales=[2.0,2.0], mode="bilinear"} %y = add(%u, %x) return %y }""")
    fields = fields_of(by_name, by_name.inputs[0])[by_name.outputs[0]]
    assert [(field.size, field.stride, field.offset) for field in fields] == [(5, 1, -3)] * 2


def test_each_image_has_a_field_of_its_own():
    graph = typed_graph("""graph @g(%a: f32[N,1,8,8], %b: f32[N,1,4,4], %n: f32[N,1]) { %p = max_pool(%a) {kernel=[2,2], strides=[2,2]}
        %y = add(%p, %b) return %y }""")
    seen = receptive_fields(graph)[graph.outputs[0]]
    assert {name: [(field.size, field.stride) for field in fields] for name, fields in seen.items()} == {
        "a": [(2, 2)] * 2,
        "b": [(1, 1)] * 2,
    }


def test_what_a_file_asks_for_is_bounded():
    """A kernel of a billion over what repeats, periods that have no small multiple, strides that differ over a large image."""
    uneven = spans.Spans((0, 2, 3), (1, 2, 5), 7)
    far = spans.through(spans.Spans((0,), (10**9 - 1,), 10**9), uneven)
    assert (far.size, far.stride) == (
        max(uneven.at(o + 10**9 - 1)[1] - uneven.at(o)[0] + 1 for o in (0, 10**9, 2 * 10**9)),
        Fraction(7 * 10**9, 3),
    )
    assert spans.union(spans.Spans((0,) * 1009, (0,) * 1009, 1009), spans.Spans((0,) * 1013, (0,) * 1013, 1013), 10**9).is_whole
    assert spans.union(spans.ONE, spans.Spans((0,), (0,), 2), 10**9).is_whole


def test_a_scale_that_is_no_small_fraction_is_held_to_its_places():
    """1.7320508 drifts from the nearest fraction of small numbers; the box is wider by less than a pixel on either side for that."""
    graph = typed_graph("graph @g(%x: f32[N,1,3000,8]) { %y = resize(%x) {scales=[1.7320508,1.0]} return %y }")
    (field, _) = fields_of(graph, graph.inputs[0])[graph.outputs[0]]
    places = np.clip(np.ceil((np.arange(5196) + 0.5) / 1.7320508 - 0.5 - 0.5), 0, 2999)
    boxes = [field.box(unit) for unit in range(5196)]
    assert all(first <= place <= last for place, (first, last) in zip(places[1:], boxes[1:], strict=True))
    assert field.size == 2
    by_name = typed_graph("graph @g(%x: f32[N,1,H,8]) { %y = resize(%x) {scales=[1.75,1.0]} return %y }")
    assert fields_of(by_name, by_name.inputs[0])[by_name.outputs[0]][0].size == 2  # where a tie may be rounded either way


def test_summary_has_it_in_rows_and_in_json():
    rows = convc("summary", "alexnet", "--receptive-field").out.splitlines()
    conv5 = next(row for row in rows if row.endswith(" conv5"))
    assert conv5.split("MACs")[1].split() == ["field:", "163x163", "stride:", "16", "offset:", "-64", "conv5"]
    assert next(row for row in rows if row.endswith(" fc6")).split("MACs")[1].split() == ["field:", "whole", "image", "fc6"]
    layers = json.loads(convc("summary", "alexnet", "--receptive-field", "--json").out)["layers"]
    seen = {layer["name"]: layer["receptive_field"]["image"] for layer in layers}
    assert seen["max_pool3"] == {"size": [195, 195], "stride": [32, 32], "offset": [-64, -64]}
    assert seen["fc8"] == {"size": [None, None], "stride": [None, None], "offset": [None, None]}
    assert "receptive_field" not in json.loads(convc("summary", "lenet5", "--json").out)["layers"][0]
