"""The other networks of the zoo against their papers and the common checkpoints; what the course says of all."""

from __future__ import annotations

import pytest

from convc import models
from convc.ir.errors import ShapeError
from convc.models.mobilenet import ROWS
from convc.tests.models.counting import learnable, macs, output, params, weight_layers, weights, weights_of

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
        ("mobilenet_v3_large", 5_483_032, 0.22, 64),
        ("mobilenet_v3_small", 2_542_856, 0.06, 54),
        ("shufflenet_v2", 2_278_604, 0.14, 57),
        ("regnet_x_800mf", 7_259_656, 0.80, 54),
        ("regnet_y_400mf", 4_344_144, 0.40, 86),
        ("efficientnet_b0", 5_288_548, 0.39, 82),
        ("efficientnet_v2_s", 21_458_488, 8.37, 171),
        ("convnext_tiny", 28_589_128, 4.46, 59),
        ("convnext_small", 50_223_688, 8.68, 113),
        ("convnext_base", 88_591_464, 15.35, 113),
        ("convnext_large", 197_767_336, 34.36, 113),
        ("vit_b_16", 86_567_656, 17.56, 50),
        ("vit_b_32", 88_224_232, 4.41, 50),
        ("vit_l_16", 304_326_632, 61.55, 98),
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
