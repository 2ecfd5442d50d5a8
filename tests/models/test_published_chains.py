"""LeNet-5, AlexNet, ZFNet and VGG against their published tables. A printed figure that its own rows contradict stands beside the true one."""

from __future__ import annotations

from math import prod

import pytest

from convc import models
from convc.ir.graph import Graph
from convc.tests.models.counting import activations, macs, output, params, weight_layers, weights, weights_of

# --- LeNet-5 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        ("c1", "28x28x6", 150),
        ("avg_pool1", "14x14x6", 0),
        ("c3", "10x10x16", 2_400),
        ("avg_pool2", "5x5x16", 0),
        ("c5", "120", 48_000),
        ("f6", "84", 10_080),
        ("output", "10", 840),
    ],
)
def test_lenet5_layers(layer: str, shape: str, count: int):
    _check_layer(models.lenet5(), layer, shape, count)


def test_lenet5_totals():
    assert weights(models.lenet5()) == 61_470
    assert params(models.lenet5()) == 61_706


# --- AlexNet and ZFNet ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        ("conv1", "55x55x96", 34_848),
        ("max_pool1", "27x27x96", 0),
        ("local_response_norm1", "27x27x96", 0),
        ("conv2", "27x27x256", 614_400),
        ("max_pool2", "13x13x256", 0),
        ("local_response_norm2", "13x13x256", 0),
        ("conv3", "13x13x384", 884_736),
        ("conv4", "13x13x384", 1_327_104),
        ("conv5", "13x13x256", 884_736),
        ("max_pool3", "6x6x256", 0),
        ("fc6", "4096", 37_748_736),
        ("fc7", "4096", 16_777_216),
        ("fc8", "1000", 4_096_000),
    ],
)
def test_alexnet_layers(layer: str, shape: str, count: int):
    _check_layer(models.alexnet(), layer, shape, count)


def test_alexnet_total():
    assert weights(models.alexnet()) == 62_367_776


def test_alexnet_in_two_columns_has_the_papers_parameters():
    assert params(models.alexnet(groups=2)) == 60_965_224  # "60 million", abstract


def test_alexnet_drops_half_after_fc6_and_fc7():
    drops = [node for node in models.alexnet().nodes if node.kind.name == "dropout"]
    assert [(drop.op.ratio, drop.inputs[0].inputs[0].name) for drop in drops] == [(0.5, "fc6"), (0.5, "fc7")]


def test_alexnet_nopad_sizes():
    graph = models.alexnet_nopad()
    layers = ("conv1", "max_pool1", "conv2", "max_pool2", "conv3", "conv4", "conv5", "max_pool3")
    assert [output(graph, layer).split("x")[0] for layer in layers] == ["55", "27", "23", "11", "9", "7", "5", "2"]
    assert output(graph, "max_pool3") == "2x2x256"


def test_alexnet_nopad_printed_27_55_million_is_28_81_million():
    printed = 27_550_000  # a sum of rounded rows
    true = weights(models.alexnet_nopad())
    assert true == 28_813_344
    assert true - printed == 1_263_344


def test_zfnet_sizes():
    graph = models.zfnet()
    layers = ("conv1", "max_pool1", "conv2", "max_pool2", "conv3", "conv4", "conv5", "max_pool3")
    sizes = [output(graph, layer) for layer in layers]
    assert sizes == ["110x110x96", "55x55x96", "26x26x256", "13x13x256", "13x13x384", "13x13x384", "13x13x256", "6x6x256"]


def test_zfnet_totals():
    assert weights(models.zfnet()) == 62_347_040
    assert weights(models.zfnet512()) == 107_616_032


def test_zfnet512_printed_difference_1_45_million_is_45_million():
    printed = 1_450_000
    true = weights(models.zfnet512()) - weights(models.alexnet())
    assert true == 45_248_256
    assert true > 31 * printed
    wide = models.zfnet512().by_name
    assert weights_of(wide["conv4"]) == weights_of(wide["conv5"]) == 4_718_592
    assert weights_of(wide["fc6"]) == 2 * 37_748_736


# --- VGG -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layers", "printed", "count", "giga_macs"),
    [
        ("vgg11", 11, 133, 132_851_392, 7.609),
        ("vgg11_lrn", 11, 133, 132_851_392, 7.609),
        ("vgg13", 13, 133, 133_035_712, 11.308),
        ("vgg16c", 16, 134, 133_625_536, 11.771),
        ("vgg16", 16, 138, 138_344_128, 15.470),
        ("vgg19", 19, 144, 143_652_544, 19.632),
    ],
)
def test_vgg_columns(name: str, layers: int, printed: int, count: int, giga_macs: float):
    graph = models.ZOO[name].network()
    assert len(weight_layers(graph)) == layers
    assert weights(graph) == count
    assert round(count / 1e6) == printed
    assert round(macs(graph) / 1e9, 3) == giga_macs


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_vgg_batch_norm_takes_the_place_of_the_biases(name: str):
    graph, normed = models.ZOO[name].network(), models.ZOO[f"{name}_bn"].network()
    assert weights(normed) == weights(graph)
    assert macs(normed) == macs(graph)
    assert {node.name for node in normed.params if node.name.endswith(".b")} == {"fc6.b", "fc7.b", "fc8.b"}


VGG16_TABLE = [  # the course's table: a line per layer, memory in values
    ("image", "224x224x3", 150_528, 0),
    ("conv1_1", "224x224x64", 3_211_264, 1_728),
    ("conv1_2", "224x224x64", 3_211_264, 36_864),
    ("max_pool1", "112x112x64", 802_816, 0),
    ("conv2_1", "112x112x128", 1_605_632, 73_728),
    ("conv2_2", "112x112x128", 1_605_632, 147_456),
    ("max_pool2", "56x56x128", 401_408, 0),
    ("conv3_1", "56x56x256", 802_816, 294_912),
    ("conv3_2", "56x56x256", 802_816, 589_824),
    ("conv3_3", "56x56x256", 802_816, 589_824),
    ("max_pool3", "28x28x256", 200_704, 0),
    ("conv4_1", "28x28x512", 401_408, 1_179_648),
    ("conv4_2", "28x28x512", 401_408, 2_359_296),
    ("conv4_3", "28x28x512", 401_408, 2_359_296),
    ("max_pool4", "14x14x512", 100_352, 0),
    ("conv5_1", "14x14x512", 100_352, 2_359_296),
    ("conv5_2", "14x14x512", 100_352, 2_359_296),
    ("conv5_3", "14x14x512", 100_352, 2_359_296),
    ("max_pool5", "7x7x512", 25_088, 0),
    ("fc6", "4096", 4_096, 102_760_448),
    ("fc7", "4096", 4_096, 16_777_216),
    ("fc8", "1000", 1_000, 4_096_000),
]


def test_vgg16_table():
    graph = models.vgg16()
    for layer, shape, memory, count in VGG16_TABLE:
        _check_layer(graph, layer, shape, count)
        assert prod(int(size) for size in shape.split("x")) == memory


def test_vgg16_printed_memory_24_million_is_15_million():
    printed, printed_megabytes = 24_000_000, 93
    true = activations(models.vgg16())
    assert true == sum(memory for _, _, memory, _ in VGG16_TABLE) == 15_237_608 < printed
    assert round(true * 4 / 2**20, 1) == 58.1 < printed_megabytes


def test_vgg16_memory_is_early_and_params_are_late():
    conv1 = sum(memory for name, _, memory, _ in VGG16_TABLE if name.startswith("conv1_"))
    fully_connected = sum(count for name, _, _, count in VGG16_TABLE if name.startswith("fc"))
    assert conv1 > 0.4 * activations(models.vgg16())
    assert fully_connected > 0.89 * weights(models.vgg16())


def _check_layer(graph: Graph, layer: str, shape: str, count: int) -> None:
    assert output(graph, layer) == shape
    assert weights_of(graph.by_name[layer]) == count
