"""Networks of the zoo in 16 bits, whole, on the emulated GPU: near float64, and on tensor cores from end to end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends import reference
from convc.backends.tvm.cuda.batches import BATCHES
from convc.backends.tvm.cuda.build import build_cuda
from convc.backends.tvm.cuda.emulator.device import emulated
from convc.backends.tvm.cuda.kernels.tiles import GROUP_TILES
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.gpus.architectures import ARCHITECTURES, USUAL, Architecture
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.files.inputs import random_inputs
from convc.ir.binding import specialize
from convc.ir.graph import Graph
from convc.ir.ops.conv import CONV2D
from convc.ir.ops.linear import DENSE
from convc.tests.support.emulated import run_emulated
from convc.tests.support.graphs import typed_graph
from convc.tests.support.machine_code import compiled, needs_nvcc
from convc.tests.support.narrow import narrow
from convc.tests.support.op_cases import text_of
from convc.tests.support.tiers import slow_if, small

BOUND = {"f16": 4e-3, "bf16": 3e-2}  # of the greatest value, some tens of roundings on the way
HOPPER = ARCHITECTURES["sm_90a"]
FAMILIES = (
    "resnet18",
    "resnet20",
    "densenet121",
    "resnet50_v1_5",
    "vgg11",
    "googlenet",
    "mobilenet_v2",
    "unet_resnet18",
    "squeezenet1_1",
    "alexnet",
)


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_between_the_borders_is_stock(name: str) -> None:
    plan = gpu_plan(narrow(small(name)))
    assert not [call.node for call in plan.calls if call.kernel in ("stock", "leave")]
    assert [call.kernel for call in plan.calls].count("enter") == 1
    assert set(plan.works) <= plan.needed


@pytest.mark.parametrize("name", ["resnet18", "unet_resnet18"])
def test_what_tensor_cores_multiply_is_by_wgmma_where_it_is_there(name: str) -> None:
    calls = gpu_plan(narrow(small(name)), arch=HOPPER).calls
    multiplied = [call.work.kernel.arranged for call in calls if call.work and call.kernel in ("conv", "transposed conv")]
    assert multiplied
    assert all("by wgmma" in arranged or any(f" {tile}" in arranged for tile in GROUP_TILES.narrow) for arranged in multiplied)
    assert not any("wgmma" in line for line in gpu_plan(narrow(small(name))).lines())


def _off(name: str, of: str, folder: Path, arch: Architecture = USUAL) -> tuple[float, dict[str, int]]:
    """The greatest error of all outputs, of each one's greatest value."""
    return _off_of(narrow(small(name), of), folder, arch)


def _off_of(graph: Graph, folder: Path, arch: Architecture) -> tuple[float, dict[str, int]]:
    device = emulated()
    loaded = LoadedLibrary.load(build_cuda(graph, folder, arch, check=False).library)
    inputs = random_inputs(graph)
    device.counters()
    got = loaded.run(inputs)
    wanted = reference.run(graph, inputs, "f64")
    errors = [abs(got[node] - wanted[node]).max() / abs(wanted[node]).max() for node in wanted]
    return float(max(errors)), device.counters()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "of"), [*((name, "f16") for name in FAMILIES), ("resnet18", "bf16")])
def test_networks_are_right(apart: Callable[..., Any], name: str, of: str, tmp_path: Path) -> None:
    error, counted = apart(_off, name, of, tmp_path)
    assert error < BOUND[of]
    assert counted["mma_macs"] > 0
    assert counted["ldmatrix_cycles"] == counted["ldmatrix_matrices"]


OF_ONE_IMAGE = ("lenet5", "alexnet", "mobilenet_v3_small", "shufflenet_v2")


def _off_for_one(name: str, folder: Path) -> tuple[float, dict[str, int]]:
    return _off_of(specialize(narrow(small(name)), {"N": 1}), folder, USUAL)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ONE_IMAGE)
def test_networks_of_one_image_are_right(apart: Callable[..., Any], name: str, tmp_path: Path) -> None:
    """Whose scores and gates are vectors, and no product of matrices."""
    error, counted = apart(_off_for_one, name, tmp_path)
    assert error < BOUND["f16"]
    assert counted["shuffles"] > 0


def _by_kernel(graph: Graph, batch: int) -> dict[str, str]:
    """Kernels by the names of the convolutions and dense layers that they compute."""
    calls = gpu_plan(specialize(graph, {"N": batch})).calls
    return {node.name: call.kernel for call in calls if call.work for node in call.work.covers if node.kind in (CONV2D, DENSE)}


@pytest.mark.parametrize("name", slow_if(lambda name: name != "mobilenet_v3_small", ("mobilenet_v3_small", *FAMILIES, "shufflenet_v2")))
def test_no_convolution_of_16_channels_is_left_to_ordinary_units_but_of_vectors(name: str) -> None:
    """For any batch: depthwise ones have one channel a filter, and what is `direct` fewer than 16."""
    graph = narrow(small(name))
    channels = {node.name: node.inputs[1].typed.concrete()[1] for node in graph.ops if node.kind in (CONV2D, DENSE)}
    for batch in BATCHES:
        kernels = _by_kernel(graph, batch)
        assert {kernel for node, kernel in kernels.items() if channels[node] >= 16} <= {"conv", "matvec"}
        assert batch == 1 or "matvec" not in kernels.values()


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "alexnet"])
def test_what_is_a_vector_for_one_image_is_a_product_for_more(name: str) -> None:
    """A matrix by one vector has nothing that tensor cores could share. The same layer has them in the same artifact for 8 images and more,
    so that every convolution of 16 channels or more does.
    """
    graph = narrow(small(name))
    one, *more = (_by_kernel(graph, batch) for batch in BATCHES)
    vectors = {node for node, kernel in one.items() if kernel == "matvec"}
    assert vectors
    assert all(kernels[node] == "conv" for kernels in more for node in vectors)


SCORES = """graph @scores(%x: f16[2,16,8,8]) { %w = param : f16[64,16,3,3] %c = conv2d(%x, %w) {pads=[1,1,1,1]} %r = relu(%c)
    %g = global_avg_pool(%r) %f = flatten(%g) %v = param : f16[10,64] %y = dense(%f, %v) return %y }"""


def _scores_off(folder: Path) -> tuple[float, dict[str, int]]:
    return _off_of(typed_graph(SCORES), folder, HOPPER)


def test_a_small_network_is_right_by_wgmma(apart: Callable[..., Any], tmp_path: Path) -> None:
    error, counted = apart(_scores_off, tmp_path)
    assert error < BOUND["f16"]
    assert counted["wgmma"] > 0


# layers that warps multiply by themselves: of at most 32 filters, or of ShuffleNet's few channels, of which wgmma has more than there are
HAVE_LAYERS_OF_WARPS = ("lenet5", "unet_resnet18", "shufflenet_v2")


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("lenet5", "f16"),
        *(pytest.param(name, "f16", marks=pytest.mark.slow) for name in ("resnet18", "unet_resnet18", "shufflenet_v2")),
        pytest.param("resnet18", "bf16", marks=pytest.mark.slow),
    ],
)
def test_networks_are_right_by_wgmma(apart: Callable[..., Any], name: str, of: str, tmp_path: Path) -> None:
    error, counted = apart(_off, name, of, tmp_path, HOPPER)
    assert error < BOUND[of]
    assert counted["wgmma"] > 0
    assert (counted["ldmatrix"] > 0) == (name in HAVE_LAYERS_OF_WARPS)


@pytest.mark.parametrize(
    "case", slow_if(lambda case: case != "dense", ("dense", "conv2d", "conv1d", "conv_transpose2d", "conv_transpose1d"))
)
def test_every_op_that_multiplies_is_right_where_wgmma_is(apart: Callable[..., Any], case: str, tmp_path: Path) -> None:
    for counted in apart(run_emulated, text_of(case).replace("f32", "f16"), tmp_path, [{"N": 1}, {"N": 3}], HOPPER):
        assert counted["mma_macs"] > 0


@pytest.mark.slow
@needs_nvcc
@pytest.mark.parametrize(("arch", "instruction", "other"), [("sm_90", "HMMA", "HGMMA"), ("sm_90a", "HGMMA", "HMMA")])
def test_every_convolution_has_tensor_cores_in_its_machine_code(arch: str, instruction: str, other: str, tmp_path: Path) -> None:
    graph = specialize(narrow(small("resnet18")), {"N": 1})
    source = build_cuda(graph, tmp_path, ARCHITECTURES[arch], check=False).source.read_text()
    # the scores of one image are no convolution, but a matrix by a vector: see the test above that has it so
    kernels = {name: code for name, code in compiled(source, tmp_path, arch).items() if re.fullmatch(r"conv\d+_kernel", name)}
    assert len(kernels) > 5
    for code in kernels.values():
        assert code.counts[instruction] > 0
        assert (code.counts[other], code.stack, code.spilled) == (0, 0, 0)
