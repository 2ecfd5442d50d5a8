"""GoogLeNet against its published table. A printed figure that its own rows contradict stands beside the true one."""

from __future__ import annotations

import pytest

from convc import models
from convc.compiler.dsl.network import network
from convc.compiler.dsl.trace import Value
from convc.models.googlenet import STAGES, InceptionWidths, inception, naive_inception
from convc.tests.models.counting import macs, macs_of, output, weights, weights_of

MODULES: dict[str, InceptionWidths] = {name: widths for stage in STAGES for name, widths in stage.items()}

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
