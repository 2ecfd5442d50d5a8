"""A network as a figure: every op in one block, repeats counted, nothing over anything else, and what is written for a file."""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

import convc as cc
from convc import models
from convc.compiler.report.figure.blocks import blocks_of
from convc.compiler.report.figure.layout import SMALL, layout_of, width_of
from convc.compiler.report.figure.pictures import PICTURES
from convc.compiler.report.figure.svg import Drawing, draw
from convc.ir.errors import InvalidModel, UsageError
from convc.tests.support.graphs import typed_graph
from convc.tests.support.shell import convc

SVG = "{http://www.w3.org/2000/svg}"
NETWORKS = ["lenet5", "resnet50", "googlenet", "unet_resnet18", "densenet121", "vgg16", "mobilenet_v3_small", "shufflenet_v2", "vit_b_16"]
TINY = """graph @tiny(%x: f32[N,3,8,8]) {
    %w = param : f32[4,3,3,3] %v = param : f32[4,4,1,1]
    %a = conv2d(%x, %w) {pads=[1,1,1,1], strides=[2,2]} %b = relu(%a) %c = conv2d(%b, %v) %d = relu(%c) %e = conv2d(%d, %v) %f = relu(%e)
    %p = global_avg_pool(%f) return %p }"""


def typed_out(text: str) -> str:
    """Signs as a keyboard has them."""
    return text.replace("\N{MULTIPLICATION SIGN}", "x").replace("\N{EN DASH}", "-").replace("\N{RIGHTWARDS ARROW}", "->")


def texts(svg: str) -> list[str]:
    return [typed_out(text.text or "") for text in ET.fromstring(svg).iter(f"{SVG}text")]


def counts(name: str) -> list[tuple[str, int]]:
    return [(typed_out(block.title), block.count) for block in blocks_of(getattr(models, name)()) if block.count > 1]


def test_what_a_small_network_says():
    assert texts(draw(typed_graph(TINY)).svg) == [
        *("8x8x3", "4x4x4", "4x4x4", "1x1x4"),
        *("x", "3x3 conv, 4, /2", "relu", "1x1 conv, 4  x2", "relu", "global average pool", "p"),
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_op_is_in_one_block_and_blocks_read_from_those_before(name):
    graph = getattr(models, name)()
    blocks = blocks_of(graph)
    assert sorted(node.name for block in blocks for node in block.nodes) == sorted(node.name for node in graph.ops)
    of = {node: place for place, block in enumerate(blocks) for node in block.nodes}
    assert all(of[operand] <= of[node] for node in graph.ops for operand in node.inputs if operand in of)


def test_repeats_are_counted():
    assert counts("resnet50") == [("conv2_2-3", 2), ("conv3_2-4", 3), ("conv4_2-6", 5), ("conv5_2-3", 2)]
    assert counts("vgg16") == [("", 2), ("", 2), ("", 3), ("", 3), ("", 3), ("", 2)]
    assert counts("densenet121") == [("block1_1-6", 6), ("block2_1-12", 12), ("block3_1-24", 24), ("block4_1-16", 16)]
    assert counts("vit_b_16") == [("block1-12", 12)]
    assert counts("googlenet") == []


def test_what_somebody_looks_into_is_not_folded():
    """The first of two equal convolutions is read by an addition too; of three the second is an output."""
    read = TINY.replace("%p = global_avg_pool(%f)", "%s = add(%f, %d) %p = global_avg_pool(%s)")
    returned = TINY.replace("return %p", "return %d, %p")
    assert not [block for text in (read, returned) for block in blocks_of(typed_graph(text)) if block.count > 1]


def test_without_scopes_blocks_lie_between_bottlenecks():
    residual = """graph @g(%x: f32[N,4,8,8]) { %w = param : f32[4,4,3,3]
        %a = conv2d(%x, %w) {pads=[1,1,1,1]} %b = relu(%a) %c = conv2d(%b, %w) {pads=[1,1,1,1]} %d = add(%c, %x) %e = relu(%d)
        %f = conv2d(%e, %w) {pads=[1,1,1,1]} %g = relu(%f) %h = conv2d(%g, %w) {pads=[1,1,1,1]} %i = add(%h, %e) %j = relu(%i)
        return %j }"""
    (block,) = blocks_of(typed_graph(residual))
    assert (tuple(map(typed_out, block.lines)), block.count) == (("3x3 conv, 4 -> 3x3 conv, 4 -> add",), 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_lies_over_anything_else(name):
    graph = getattr(models, name)()
    layout = layout_of(graph, blocks_of(graph))
    boxes = layout.boxes
    assert all(above.y + above.height + above.pile < below.y for above, below in pairwise(boxes))
    assert all(width_of(text) <= box.width for box in boxes for text in (*box.rows, *box.tail))
    assert all(box.x > 0 and box.x + box.width + box.pile <= layout.width and box.y + box.height <= layout.height for box in boxes)
    right = max(box.x + box.width + box.pile for box in boxes)
    for route in layout.routes:  # sizes end before the first lane, and no two lanes share a place
        assert route.start[0] + 3 + width_of(route.words, SMALL) < min(other.lane for other in layout.routes)
        assert right < route.lane <= layout.width
    ends = [point for route in layout.routes for point in (route.start, *route.ends)]
    assert len(set(ends)) == len(ends)
    spans = [(route.lane, route.start[1], route.ends[-1][1]) for route in layout.routes]
    assert not [(a, b) for a in spans for b in spans if a < b and a[0] == b[0] and b[1] < a[2] and a[1] < b[2]]
    for route in layout.routes:
        assert all(any(box.y < y < box.y + box.height for box in boxes) for _, y in (route.start, *route.ends))


def test_it_fits_a_column_of_a_paper():
    """Of 240 points, but for the lanes of a U-Net, which take a little more."""
    assert draw(models.resnet50()).width <= 200
    assert draw(models.unet_resnet18()).width <= 260
    sizes = set(re.findall(r'font-size="([\d.]+)"', draw(models.googlenet()).svg))
    assert sizes == {"8", "7"}


def test_a_u_net_has_its_skips_at_the_side():
    graph = models.unet_resnet18()
    layout = layout_of(graph, blocks_of(graph))
    assert [typed_out(route.words) for route in reversed(layout.routes)] == ["112x112x64", "56x56x64", "28x28x128", "14x14x256"]


def test_names_out_of_files_are_escaped(tmp_path):
    name = '<script>"&\u202e\n\x01'
    graph = typed_graph(TINY)
    (image,) = graph.inputs
    hostile = graph.rebuild(lambda node, operands: node.like(name=name) if node is image else node.reading(operands))
    drawing = draw(hostile)
    assert "<script" not in drawing.svg
    assert "\u202e" not in drawing.svg
    assert '<script>"&\\u{202e}\\n\\u{1}' in texts(drawing.svg)


def test_a_notebook_shows_it():
    net = typed_graph(TINY)
    assert cc.draw(net)._repr_svg_() == draw(net).svg


def test_a_figure_of_thousands_of_blocks_is_refused():
    lines = "".join(
        f"%p{i} = max_pool(%{f'r{i - 1}' if i else 'x'}) {{kernel=[1,1]}} %r{i} = avg_pool(%p{i}) {{kernel=[1,1]}} " for i in range(1200)
    )
    graph = typed_graph(f"graph @g(%x: f32[N,3,4,4]) {{ {lines} return %r1199 }}")
    with pytest.raises(InvalidModel, match="has 2,400 blocks, a figure at most 2,000; look at it with inspect --html"):
        draw(graph)


def test_the_command_writes_a_picture_or_nothing(tmp_path):
    done = convc("draw", "lenet5", "-o", tmp_path / "net.svg")
    assert (done.code, done.out) == (0, "")
    assert re.search(r"wrote .*net.svg \(\d+ x \d+ points, [\d,]+ bytes\)", done.err)
    assert "5x5 conv, 6" in texts((tmp_path / "net.svg").read_text(encoding="utf-8"))
    for path, said in (("no/net.svg", "there is no folder"), ("net.gif", "is none of .svg, .png, .pdf")):
        refused = convc("draw", "lenet5", "-o", tmp_path / path)
        assert refused.code == 2
        assert said in refused.err
        assert refused.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["net.svg"]


def test_a_pipe_has_it_as_svg(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        assert convc("draw", "lenet5", "-o", tmp_path / "pipe").code == 0
        assert texts(reader.communicate()[0])[-1] == "softmax1"


def test_what_is_too_tall_for_dots_is_refused():
    with pytest.raises(UsageError, match=r"the picture would be 41,667 dots long, a \.png has at most 32,000; write it as \.svg or \.pdf"):
        PICTURES[".png"](Drawing("", 200, 10_000), None)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_other_pictures_are_made_by_cairosvg_or_refused(tmp_path, suffix, start):
    """Whichever this environment has."""
    path = tmp_path / f"net{suffix}"
    done = convc("draw", "lenet5", "-o", path)
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError):
        assert done.code == 5
        assert f"{suffix} needs cairosvg, which cannot be imported here" in done.err
        assert 'pip install "convc[draw]"' in done.err
        assert not path.exists()
    else:
        assert done.code == 0, done.err
        assert path.read_bytes().startswith(start)
