"""ResNet against its papers' tables. A printed figure that its own rows contradict stands beside the true one."""

from __future__ import annotations

import pytest

from convc import models
from convc.tests.models.counting import learnable, macs, macs_of, output, under, weight_layers


@pytest.mark.parametrize(
    ("depth", "printed", "true"),
    [
        (18, 1.8e9, 1_814_073_344),
        (34, 3.6e9, 3_663_761_408),
        (50, 3.8e9, 3_857_973_248),
        (101, 7.6e9, 7_570_194_432),
        (152, 11.3e9, 11_282_415_616),
    ],
)
def test_resnet_flops_are_multiply_adds(depth: int, printed: float, true: int):
    graph = models.ZOO[f"resnet{depth}"].network()
    assert macs(graph) == true
    assert abs(true - printed) < 0.1e9
    assert len(weight_layers(graph)) == depth


def test_resnet50_printed_3_8_giga_is_3_858():
    assert round(macs(models.resnet50()) / 1e9, 3) == 3.858  # 3.9 to one digit: the paper's figure is cut off, not rounded


def test_resnet34_printed_3_6_giga_leaves_out_the_projections():
    graph = models.resnet34()
    projections = sum(macs_of(node) for node in graph.ops if node.origin.scope.endswith("shortcut"))
    assert round(macs(graph) / 1e9, 1) == 3.7
    assert macs(graph) - projections == macs(models.plain34()) == 3_644_493_824


@pytest.mark.parametrize("depth", [18, 34])
def test_plain_nets_are_the_same_layers_without_shortcuts(depth: int):
    plain, residual = models.ZOO[f"plain{depth}"].network(), models.ZOO[f"resnet{depth}"].network()
    assert [node.name for node in weight_layers(plain)] == [node.name for node in weight_layers(residual)]
    assert not [node for node in plain.nodes if node.kind.name == "add"]


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_resnet_sizes(depth: int):
    graph = models.ZOO[f"resnet{depth}"].network()
    wide = 1 if depth < 50 else 4
    ends = [list(under(graph, f"conv{stage}_1"))[-1].name for stage in (2, 3, 4, 5)]
    assert output(graph, "relu1") == "112x112x64"
    assert [output(graph, end) for end in ends] == [f"{s}x{s}x{w * wide}" for s, w in ((56, 64), (28, 128), (14, 256), (7, 512))]
    assert output(graph, "global_avg_pool1") == f"1x1x{512 * wide}"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("resnet50_v1_5", 25_557_032),
        ("resnet101_v1_5", 44_549_160),
        ("resnet152_v1_5", 60_192_808),
    ],
)
def test_resnet_parameters_are_those_of_the_common_checkpoints(name: str, count: int):
    """Torchvision's model pages."""
    assert learnable(models.ZOO[name].network()) == count


def test_resnet50_stride_sits_on_the_first_1x1_or_in_v1_5_on_the_3x3():
    def strided(name: str) -> list[tuple[tuple[int, ...], tuple[int, int]]]:
        nodes = [models.ZOO[name].network().by_name[f"conv3_1.conv{i}"] for i in (1, 2)]
        return [(node.inputs[1].typed.concrete()[2:], node.op.strides) for node in nodes]

    assert strided("resnet50") == [((1, 1), (2, 2)), ((3, 3), (1, 1))]
    assert strided("resnet50_v1_5") == [((1, 1), (1, 1)), ((3, 3), (2, 2))]
    assert macs(models.resnet50_v1_5()) == 4_089_184_256


def test_every_resnet_conv_is_followed_by_batch_norm_and_nothing_is_dropped():
    graph = models.resnet50()
    convs = [node for node in graph.ops if node.kind.name == "conv2d"]
    assert all([reader.kind.name for reader in graph.readers[conv]] == ["batch_norm"] for conv in convs)
    assert not [node for node in graph.nodes if node.kind.name == "dropout"]


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_cifar_resnet_parameters(depth: int, millions: float):
    """He et al. 2015, table 6."""
    graph = models.ZOO[f"resnet{depth}"].network()
    assert len(weight_layers(graph)) == depth == 6 * ((depth - 2) // 6) + 2
    assert learnable(graph) / 1e6 == pytest.approx(millions, abs=0.03 if depth == 110 else 0.006)
    assert [output(graph, f"conv{stage}_1.add1") for stage in (2, 3, 4)] == ["32x32x16", "16x16x32", "8x8x64"]
    assert not [node for node in graph.params if "shortcut" in node.name]
