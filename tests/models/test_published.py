"""The zoo against the published tables. A printed figure that its own rows contradict stands beside the true one."""

from __future__ import annotations

from math import prod

import pytest

from convc import models
from convc.compiler.network import network
from convc.compiler.trace import Value
from convc.ir.errors import ShapeError
from convc.ir.graph import Graph
from convc.models.googlenet import STAGES, Widths, inception, naive_inception
from convc.models.mobilenet import ROWS
from convc.tests.models.counting import activations, learnable, macs, macs_of, output, params, under, weight_layers, weights, weights_of

MODULES: dict[str, Widths] = {name: widths for stage in STAGES for name, widths in stage.items()}

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


# --- GoogLeNet -----------------------------------------------------------------------------------------------------

INCEPTION_TABLE = [  # module, output, params in Ki and MACs in M as printed, and the true weights
    ("3a", "28x28x256", 159, 128, 163_328),
    ("3b", "28x28x480", 380, 304, 388_096),
    ("4a", "14x14x512", 364, 73, 375_552),
    ("4b", "14x14x512", 437, 88, 448_512),
    ("4c", "14x14x512", 463, 100, 509_440),
    ("4d", "14x14x528", 580, 119, 604_672),
    ("4e", "14x14x832", 840, 170, 867_328),
    ("5a", "7x7x832", 1072, 54, 1_042_432),
    ("5b", "7x7x1024", 1388, 71, 1_442_816),
]
# Printed beside true, for the modules whose own widths contradict the printed figure.
MISPRINTED_KI = {"4a": (364, 366.8), "4c": (463, 497.5), "4d": (580, 590.5), "4e": (840, 847.0), "5a": (1072, 1018.0), "5b": (1388, 1409.0)}
MISPRINTED_MACS = {"5a": (54, 51.1)}


@pytest.mark.parametrize(("name", "shape", "printed_ki", "printed_macs", "true"), INCEPTION_TABLE)
def test_googlenet_module(name: str, shape: str, printed_ki: int, printed_macs: int, true: int):
    graph, scope = models.googlenet(), f"inception_{name}"
    assert output(graph, f"{scope}.concat1") == shape
    assert weights(graph, scope) == true
    if name not in MISPRINTED_KI:
        assert abs(true / 1024 - printed_ki) <= 1
    if name not in MISPRINTED_MACS:
        assert abs(macs(graph, scope) / 1e6 - printed_macs) <= 1


@pytest.mark.parametrize("name", MISPRINTED_KI)
def test_googlenet_printed_params_of_modules_that_their_widths_contradict(name: str):
    printed, true = MISPRINTED_KI[name]
    assert round(weights(models.googlenet(), f"inception_{name}") / 1024, 1) == true
    assert abs(true - printed) > 2


def test_googlenet_5a_printed_54_million_macs_are_51():
    printed, true = MISPRINTED_MACS["5a"]
    assert macs(models.googlenet(), "inception_5a") == 7 * 7 * 1_042_432
    assert round(macs(models.googlenet(), "inception_5a") / 1e6, 1) == true < printed


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("conv1", "112x112x64"),
        ("max_pool1", "56x56x64"),
        ("conv2_reduce", "56x56x64"),
        ("conv2", "56x56x192"),
        ("max_pool2", "28x28x192"),
        ("max_pool3", "14x14x480"),
        ("max_pool4", "7x7x832"),
        ("global_avg_pool1", "1x1x1024"),
        ("fc1", "1000"),
    ],
)
def test_googlenet_layers_outside_the_modules(layer: str, shape: str):
    assert output(models.googlenet(), layer) == shape


def test_googlenet_conv1_printed_2_7_ki_and_34_million_are_9408_and_118_million():
    conv1 = models.googlenet().by_name["conv1"]
    assert weights_of(conv1) == 9_408
    assert macs_of(conv1) == 118_013_952


def test_googlenet_conv2_with_its_reduction():
    graph = models.googlenet()
    layers = [graph.by_name[name] for name in ("conv2_reduce", "conv2")]
    assert sum(weights_of(layer) for layer in layers) == 112 * 1024
    assert sum(macs_of(layer) for layer in layers) == pytest.approx(360e6, rel=1e-3)


def test_googlenet_totals():
    graph = models.googlenet()
    assert weights(graph) == 6_990_272
    assert round(macs(graph) / 1e9, 3) == 1.583
    assert len([node for node in graph.nodes if node.kind.name == "dropout" and node.op.ratio == 0.4]) == 1


def test_googlenet_is_22_layers_deep():
    assert 2 * len(MODULES) + len(["conv1", "conv2_reduce", "conv2", "fc1"]) == 22


def test_googlenet_average_pool_replaces_a_classifier_of_50_million_weights():
    assert output(models.googlenet(), "inception_5b.concat1") == "7x7x1024"
    assert 7 * 7 * 1024 * 1000 == 50_176_000
    assert weights_of(models.googlenet().by_name["fc1"]) == 1_024_000  # "1000K"


@pytest.mark.parametrize(("name", "image", "naive", "reduced"), [("3a", "N,192,28,28", 303.5, 128.0), ("4e", "N,528,14,14", 655.7, 170.0)])
def test_a_naive_module_costs_more_than_twice_as_much(name: str, image: str, naive: float, reduced: float):
    @network(image=image)
    def with_reductions(image: Value) -> Value:
        return inception(image, MODULES[name])

    @network(image=image)
    def without(image: Value) -> Value:
        return naive_inception(image, MODULES[name])

    assert round(macs(with_reductions()) / 1e6, 1) == reduced
    assert round(macs(without()) / 1e6, 1) == naive


def test_googlenet_naive_grows_with_every_module():
    graph = models.googlenet_naive()
    assert round(macs(graph, "inception_3a") / 1e6, 1) == 303.5
    depths = [int(output(graph, f"inception_{name}.concat1").split("x")[2]) for name in MODULES]
    assert depths == [416, 832, 1280, 1728, 2176, 2640, 3344, 4048, 4944]


# --- ResNet --------------------------------------------------------------------------------------------------------


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


# --- the common checkpoints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "giga_macs", "layers"),
    [
        ("alexnet_owt", 61_100_840, 0.71, 8),
        ("googlenet_bn", 6_624_904, 1.50, 58),
        ("inception_v3", 27_161_264 - 3_326_696, 5.71, 95),  # the printed count has the auxiliary classifier
        ("squeezenet1_0", 1_248_424, 0.82, 26),
        ("squeezenet1_1", 1_235_496, 0.35, 26),
        ("mobilenet_v2", 3_504_872, 0.30, 53),
        ("densenet121", 7_978_856, 2.83, 121),
    ],
)
def test_parameters_and_multiply_adds_of_the_common_checkpoints(name: str, count: int, giga_macs: float, layers: int):
    """Torchvision's model pages."""
    graph = models.ZOO[name].network()
    assert learnable(graph) == count
    assert round(macs(graph) / 1e9, 2) == giga_macs
    assert len(weight_layers(graph)) == layers


def test_inception_v3_auxiliary_classifier_has_3_3_million_parameters():
    """1x1 to 128 and 5x5 to 768, with their batch norms, and a fully connected layer on 17x17x768."""
    assert 768 * 128 + 2 * 128 + 5 * 5 * 128 * 768 + 2 * 768 + 769 * 1000 == 3_326_696


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("densenet121", "max_pool1", "56x56x64"),  # Huang et al. 2017, table 1
        ("densenet121", "transition1.avg_pool1", "28x28x128"),
        ("densenet121", "transition2.avg_pool1", "14x14x256"),
        ("densenet121", "transition3.avg_pool1", "7x7x512"),
        ("densenet121", "relu2", "7x7x1024"),
        ("squeezenet1_0", "max_pool1", "54x54x96"),  # Iandola et al. 2016 print 55, of a padded conv1
        ("squeezenet1_0", "max_pool2", "27x27x256"),
        ("squeezenet1_0", "max_pool3", "13x13x512"),
        ("squeezenet1_0", "conv10", "13x13x1000"),
        ("squeezenet1_1", "conv10", "13x13x1000"),
        ("mobilenet_v2", "conv1", "112x112x32"),  # Sandler et al. 2018, table 2
        ("mobilenet_v2", "bottleneck1_1.project_bn", "112x112x16"),
        ("mobilenet_v2", "bottleneck2_1.project_bn", "56x56x24"),
        ("mobilenet_v2", "bottleneck4_1.project_bn", "14x14x64"),
        ("mobilenet_v2", "bottleneck7_1.project_bn", "7x7x320"),
        ("mobilenet_v2", "conv2", "7x7x1280"),
        ("inception_v3", "max_pool1", "73x73x64"),  # Szegedy et al. 2015, table 1
        ("inception_v3", "max_pool2", "35x35x192"),
        ("inception_v3", "mixed_5d.concat1", "35x35x288"),
        ("inception_v3", "mixed_6e.concat1", "17x17x768"),
        ("inception_v3", "mixed_7c.concat3", "8x8x2048"),
        ("googlenet_bn", "inception_5b.concat1", "7x7x1024"),
        ("alexnet_owt", "max_pool3", "6x6x256"),
    ],
)
def test_sizes_of_the_common_checkpoints(name: str, layer: str, shape: str):
    assert output(models.ZOO[name].network(), layer) == shape


def test_mobilenet_v2_shortcuts_join_the_thin_ends():
    graph = models.mobilenet_v2()
    adds = [node for node in graph.ops if node.kind.name == "add"]
    assert len(adds) == sum(row.blocks - 1 for row in ROWS) == 10
    assert [node.typed.shape[1] for node in adds] == [24, 32, 32, 64, 64, 64, 96, 96, 160, 160]


# --- U-Net, AlphaGo, and the small ones ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unet_vgg11", "unet_vgg16", "unet_resnet18", "unet_resnet34"])
def test_unet_gives_classes_for_each_pixel_without_fully_connected_layers(name: str):
    graph = models.ZOO[name].network()
    assert output(graph, graph.outputs[0].name) == "224x224x21"
    assert not [node for node in graph.nodes if node.kind.name in ("dense", "flatten")]


@pytest.mark.parametrize(("unet", "classifier"), [("unet_vgg16", "vgg16"), ("unet_resnet34", "resnet34")])
def test_unet_encoder_is_the_classifiers_own(unet: str, classifier: str):
    """The same parameters under the same names, so one weights file fits both."""
    here = {node.name: node.type for node in models.ZOO[unet].network().params}
    there = {node.name: node.type for node in models.ZOO[classifier].network().params if not node.name.startswith("fc")}
    assert there.items() <= here.items()


def test_alphago_layers():
    graph = models.alphago()
    convs = weight_layers(graph)
    assert [node.inputs[1].typed.concrete() for node in convs] == [(192, 48, 5, 5), *[(192, 192, 3, 3)] * 11, (1, 192, 1, 1)]
    assert [output(graph, node.name) for node in convs] == ["19x19x192"] * 12 + ["19x19x1"]
    assert [node.op.pads[0] for node in convs] == [2, *[1] * 11, 0]
    assert output(graph, graph.outputs[0].name) == "361"
    assert sum(weights_of(node) for node in convs) == 3_880_128


@pytest.mark.parametrize(("name", "count"), [("fully_connected", 21), ("local", 9), ("shared", 3)])
def test_seven_inputs_to_three_hidden_units(name: str, count: int):
    graph = models.ZOO[name].network()
    assert params(graph) == count
    assert output(graph, graph.outputs[0].name) == "3"


def test_mlp_weights():
    assert weights(models.mlp()) == 784 * 300 + 300 * 100 + 100 * 10


def test_patterns_are_the_layers_they_spell():
    block = ["conv2d", "relu"] * 2 + ["max_pool"]
    assert [node.kind.name for node in models.pattern_net().ops] == [*block * 3, "flatten", "dense", "relu", "dense", "softmax"]
    lenet = ["conv2d", "max_pool", "conv2d", "max_pool", "conv2d", "flatten", "dense"]
    assert [node.kind.name for node in models.pattern_lenet().ops] == lenet


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "alexnet_nopad", "vgg16", "vgg19", "alphago", "mlp"])
def test_windows_tile_their_input(name: str):
    """The course calls a window that does not fit an error."""
    models.ZOO[name].network(strict_windows=True)


@pytest.mark.parametrize(
    ("name", "layer"), [("zfnet", "conv1"), ("googlenet", "conv1"), ("resnet50", "conv1"), ("resnet20", "conv3_1.conv1")]
)
def test_published_nets_whose_windows_do_not_tile_their_padded_input(name: str, layer: str):
    with pytest.raises(ShapeError, match=rf"%{layer} = conv2d .* only padding is left over"):
        models.ZOO[name].network(strict_windows=True)


def _check_layer(graph: Graph, layer: str, shape: str, count: int) -> None:
    assert output(graph, layer) == shape
    assert weights_of(graph.by_name[layer]) == count
