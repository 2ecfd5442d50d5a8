"""Every network of the zoo: it prints and reads back, verifies, and runs small with sane numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from convc import models
from convc.backends.reference import run
from convc.ir.errors import ShapeError, UsageError
from convc.ir.graph import Graph
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.ir.types import Array
from convc.ir.verifier import verify_graph
from convc.models.filters import KERNELS
from convc.tests.support.tiers import EACH_NETWORK, small

ZOO = models.ZOO
WRITTEN_AS_PATTERNS = ("pattern_net", "pattern_lenet")
SATURATED = 0.999  # a softmax beyond this hides every difference before it


def photograph(graph: Graph, batch: int = 2, sizes: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, Array]:
    """Uniform in [0,1] for each input."""
    draws = np.random.default_rng(seed)
    shapes = {node.name: node.typed.with_sizes({"N": batch, **(sizes or {})}).concrete() for node in graph.inputs}
    return {name: draws.random(shape, dtype=np.float32) for name, shape in shapes.items()}


# --- every network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO)
def test_entry_is_named_after_its_network(name: str):
    entry = ZOO[name]
    assert entry.network.name == name
    assert entry.network is getattr(models, name)
    assert entry.network.summary.endswith(".")
    assert entry.source


def test_a_network_that_is_not_there():
    with pytest.raises(AttributeError, match=r"there is no network 'resnet19' in convc\.models; did you mean resnet18"):
        _ = models.resnet19
    assert not hasattr(models, "__wrapped__")


@pytest.mark.parametrize("name", ZOO)
def test_default_graph_verifies_and_reads_back(name: str):
    graph = ZOO[name].network()
    verify_graph(graph)
    assert graph.name == name
    assert graph.symbols == ("N",)
    for origins in (False, True):
        text = print_graph(graph, origins=origins)
        assert print_graph(parse_graph(text), origins=origins) == text


@pytest.mark.parametrize("name", ZOO)
def test_every_node_knows_the_line_or_the_word_that_made_it(name: str):
    place = r"pattern, word \d+" if name in WRITTEN_AS_PATTERNS else r"\w+\.py:\d+"
    assert [node.origin.source for node in ZOO[name].network().ops if not re.fullmatch(place, node.origin.source)] == []


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_small_form_runs_alike_in_both_precisions_and_keeps_images_apart(name: str):
    graph = small(name)
    inputs = photograph(graph)
    single, double = run(graph, inputs), run(graph, inputs, "f64")
    alone = run(graph, {key: value[1:] for key, value in inputs.items()})
    for output in graph.outputs:
        value = single[output.name]
        assert value.shape == output.typed.with_sizes({"N": 2}).concrete()
        assert np.isfinite(value).all()
        np.testing.assert_allclose(value, double[output.name], rtol=1e-3, atol=2e-6)
        np.testing.assert_allclose(value[1:], alone[output.name], rtol=1e-3, atol=2e-6)
        assert abs(value[0] - value[1]).max() > 20 * abs(value - double[output.name]).max()  # the input is seen through the noise
        if output.kind.name == "softmax":
            np.testing.assert_allclose(value.sum(axis=1), 1, rtol=1e-5)
            assert value.max() < SATURATED


# --- sizes other than the published ones -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("filters", {"image": "N,1,9,200"}, (1, 1, 9, 200)),
        ("filters", {"image": "2,4,33,17"}, (2, 4, 33, 17)),
        ("lenet5", {"image": "N,3,28,36", "classes": 26}, (1, 26)),
        ("alexnet", {"image": "N,4,99,150", "hidden": 32, "classes": 7}, (1, 7)),
        ("alexnet", {"image": "N,3,67,67", "hidden": 32, "groups": 2}, (1, 1000)),
        ("zfnet", {"image": "N,1,65,90", "hidden": 32, "classes": 7}, (1, 7)),
        ("vgg11", {"image": "N,3,47,70", "hidden": 32, "classes": 7}, (1, 7)),
        ("vgg16_bn", {"image": "N,1,64,32", "hidden": 32, "classes": 7}, (1, 7)),
        ("googlenet", {"image": "N,3,97,131", "classes": 5}, (1, 5)),
        ("resnet18", {"image": "N,3,1,1", "classes": 5}, (1, 5)),
        ("resnet50", {"image": "N,1,97,131", "classes": 5}, (1, 5)),
        ("resnet50_v1_5", {"image": "N,3,33,50", "classes": 5}, (1, 5)),
        ("googlenet_bn", {"image": "N,3,97,131", "classes": 5, "transform_input": True}, (1, 5)),
        ("alexnet_owt", {"image": "N,4,99,150", "hidden": 32, "classes": 7}, (1, 7)),
        ("densenet121", {"image": "N,1,50,37", "classes": 5, "growth": 4}, (1, 5)),
        ("squeezenet1_0", {"image": "N,1,50,37", "classes": 5}, (1, 5)),
        ("squeezenet1_1", {"image": "N,4,37,50", "classes": 5}, (1, 5)),
        ("mobilenet_v2", {"image": "N,1,33,50", "classes": 5}, (1, 5)),
        ("inception_v3", {"image": "N,3,80,100", "classes": 5, "transform_input": True}, (1, 5)),
        ("plain18", {"image": "N,3,50,33", "classes": 5}, (1, 5)),
        ("resnet20", {"image": "N,1,29,45", "classes": 100}, (1, 100)),
        ("unet_vgg11", {"image": "N,3,16,48", "classes": 2}, (1, 2, 16, 48)),
        ("unet_resnet18", {"image": "N,1,32,96", "classes": 3}, (1, 3, 32, 96)),
        ("yolo_v8n", {"image": "N,1,32,96", "classes": 3, "width": 4}, (1, 7, 48 + 12 + 3)),
        ("alphago", {"board": "N,17,9,13", "filters": 8}, (1, 117)),
        ("mlp", {"image": "N,3,8,9", "hidden": (20,), "classes": 4}, (1, 4)),
        ("fully_connected", {"x": "N,5", "hidden": 2}, (1, 2)),
        ("local", {"x": "N,1,1,11", "hidden": 5}, (1, 5)),
        ("shared", {"x": "N,1,1,11"}, (1, 5)),
        ("pattern_net", {"image": "N,1,20,30"}, (1, 10)),
    ],
)
def test_other_sizes(name: str, options: dict[str, Any], shape: tuple[int, ...]):
    graph = ZOO[name].network(**options)
    verify_graph(graph)
    for value in run(graph, photograph(graph, batch=1)).values():
        assert value.shape == shape
        assert np.isfinite(value).all()


@pytest.mark.parametrize(
    "name", ["filters", "googlenet", "resnet18", "resnet50", "plain18", "resnet20", "squeezenet1_1", "mobilenet_v2", "densenet121"]
)
def test_networks_without_a_fixed_size_take_named_ones(name: str):
    """One graph for every image size: the same numbers as a graph made for that size."""
    named, fixed = ZOO[name].network(image="N,3,H,W"), ZOO[name].network(image="N,3,65,94")
    verify_graph(named)
    assert print_graph(parse_graph(print_graph(named))) == print_graph(named)
    inputs = photograph(fixed, batch=1)
    here, there = run(named, inputs), run(fixed, inputs)
    assert here.keys() == there.keys()
    for output, value in here.items():
        np.testing.assert_array_equal(value, there[output])


@pytest.mark.parametrize("upsample", ["bilinear", "transposed"])
@pytest.mark.parametrize("skip", ["concat", "sum"])
@pytest.mark.parametrize("name", ["unet_vgg11", "unet_resnet18"])
def test_unet_options(name: str, upsample: str, skip: str):
    graph = ZOO[name].network(image="N,3,32,64", classes=12, upsample=upsample, skip=skip)
    kinds = {node.kind.name for node in graph.ops}
    assert ("resize" in kinds, "conv_transpose2d" in kinds) == (upsample == "bilinear", upsample == "transposed")
    assert ("concat" in kinds) == (skip == "concat")
    inputs = photograph(graph, batch=1)
    (single,), (double,) = run(graph, inputs).values(), run(graph, inputs, "f64").values()
    assert single.shape == (1, 12, 32, 64)
    assert single.max() < SATURATED
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=2e-6)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("unet_vgg16", "N,3,224,100", "100 columns do not divide by 16, this U-Net's stride"),
        ("unet_resnet34", "N,3,48,64", "48 rows do not divide by 32, this U-Net's stride"),
        ("unet_resnet34", "N,3,H,64", "H rows do not divide by 32"),
        ("yolo_v8n", "N,3,64,100", "rows and columns are multiples of 32 here, in numbers"),
        ("yolo_v8n", "N,3,H,64", "rows and columns are multiples of 32 here, in numbers"),
        ("alexnet", "N,3,60,60", r"max_pool.*alexnet\.py:\d+.*kernel of extent 3 is larger than its padded input of 2"),
        ("vgg11", "N,3,16,16", r"max_pool.*vgg\.py:\d+.*kernel of extent 2"),
        ("lenet5", "N,1,12,12", r"conv2d.*lenet\.py:\d+.*kernel of extent 5"),
        ("googlenet", "N,3,32,32", r"max_pool.*googlenet\.py:\d+"),
        ("vgg11", "N,3,H,W", "a number of channels is needed"),
    ],
)
def test_refuses_sizes_that_do_not_fit(name: str, image: str, message: str):
    with pytest.raises(ShapeError, match=message):
        ZOO[name].network(image=image)


def test_unet_takes_named_sizes_that_are_multiples_of_its_stride():
    graph = models.unet_resnet18(image="N,3,32*H,32*W")
    verify_graph(graph)
    assert str(graph.outputs[0].type) == "f32[N,21,32*H,32*W]"


@pytest.mark.parametrize(("option", "known"), [("upsample", "bilinear, transposed"), ("skip", "concat, sum")])
def test_unet_refuses_a_word_it_does_not_know(option: str, known: str):
    with pytest.raises(UsageError, match=f"unknown {option} 'cubic'; known are {known}"):
        models.unet_vgg11(**{option: "cubic"})


def test_refuses_an_option_it_does_not_have():
    with pytest.raises(UsageError, match="resnet50 has no option 'width'; it has image, classes"):
        models.resnet50(width=2)


# --- what single networks compute ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_filters_compute_clipped_correlations(name: str):
    graph = models.filters(image="N,3,20,31")
    inputs = photograph(graph)
    divisor, taps = KERNELS[name]
    kernel = np.array(taps, np.float64)[None, None] / divisor
    expected = np.clip(ndimage.correlate(inputs["image"].astype(np.float64), kernel, mode="constant"), 0, 1)
    np.testing.assert_allclose(run(graph, inputs)[name], expected, atol=1e-6)


def test_filters_leave_a_plain_picture_plain_and_find_no_edges_in_it():
    graph = models.filters(image="N,3,8,9")
    pictures = run(graph, {"image": np.full((1, 3, 8, 9), 0.5, np.float32)})
    inner = {name: picture[:, :, 1:-1, 1:-1] for name, picture in pictures.items()}
    for name in ("blur", "gaussian", "sharpen"):
        np.testing.assert_allclose(inner[name], 0.5, rtol=1e-6)
    assert not inner["edges_inner"].any()
    assert not inner["edges_outer"].any()


def test_networks_are_layers_inside_networks():
    from convc.compiler.dsl.network import network
    from convc.compiler.dsl.trace import Value

    @network(image="N,3,8,9")
    def twice(image: Value) -> list[Value]:
        return [*models.filters(image), *models.filters(image)]

    graph = twice()
    verify_graph(graph)
    assert [node.name for node in graph.outputs] == [*KERNELS, *(f"{name}_1" for name in KERNELS)]


def test_local_units_read_their_own_windows():
    graph = models.local()
    inputs = photograph(graph)
    w = next(graph.params)
    assert w.weights
    x, weights = inputs["x"][:, 0, 0], w.weights.array()[:, 0, 0]
    expected = np.stack([x[:, 2 * unit : 2 * unit + 3] @ weights[unit] for unit in range(3)], axis=1)
    np.testing.assert_allclose(run(graph, inputs)[graph.outputs[0].name], expected, rtol=1e-5)


def test_cifar_shortcut_takes_every_other_pixel_and_adds_zero_channels():
    whole = models.resnet20()
    ends = [whole.by_name[name] for name in ("conv2_3.relu2", "conv3_1.pad1")]
    graph = Graph.of("shortcut", whole.inputs, ends, whole.nodes)
    before, after = run(graph, photograph(graph)).values()
    np.testing.assert_array_equal(after[:, :16], before[:, :, ::2, ::2])
    assert not after[:, 16:].any()


def test_last_gain_of_every_residual_branch_is_small():
    for name in ("resnet18", "resnet50", "resnet50_v1_5", "resnet20"):
        graph = ZOO[name].network()
        for add in (node for node in graph.ops if node.kind.name == "add"):
            scale = add.inputs[0].inputs[1]
            assert (scale.op.init, scale.name.endswith(".scale")) == ("tenth", True)


def test_graphs_are_cheap_to_look_at():
    """Parameters are recipes until somebody reads them."""
    graph = models.vgg16()
    print_graph(graph)
    assert not any(node.weights and node.weights._made for node in graph.params)  # pyright: ignore[reportPrivateUsage]
