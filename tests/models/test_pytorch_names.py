"""Weights by PyTorch's names: the same scores as torchvision's networks, and what is refused."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from convc import models
from convc.backends import reference
from convc.compiler.dsl.zoo_entry import Checkpoint, Differs
from convc.compiler.engines.table import ENGINES
from convc.compiler.files.checkpoint_names import FIXED, in_pytorch, is_foreign, same_modules, translate
from convc.compiler.files.model import Request, load
from convc.compiler.files.weights import bind_weights, npz_bytes
from convc.ir.errors import InvalidInput
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.models import pytorch_names
from convc.tests.models.torchvision_nets import NETWORKS, build, draw, image, kept, scores
from convc.tests.support.pickles import Payload
from convc.tests.support.shell import convc
from convc.tests.support.tiers import SIBLINGS, slow_if

ZOO = models.ZOO
KEPT = kept()
HEAVY = ("vgg11", "vgg16", "vit_b_16")  # with 330 to 530 MiB to draw; the layers of a VGG are among those of others
TINY: dict[str, dict[str, Any]] = {"resnet18": {"classes": 7}, "vgg11_bn": {"hidden": 8}, "inception_v3": {}}


def table(name: str) -> Checkpoint:
    found = ZOO[name].checkpoint
    assert isinstance(found, Checkpoint)
    return found


def with_scores(graph: Graph) -> Graph:
    """The graph before its softmax."""
    (softmax,) = graph.outputs
    return Graph.of(graph.name, graph.inputs, [softmax.inputs[0]], graph.nodes)


def state_of(name: str, **options: Any) -> dict[str, Array]:
    """A state dict in PyTorch's names for a form of our network, each array of zeros."""
    own = {node.name: node.typed.concrete() for node in ZOO[name].network(**options).params}
    state: dict[str, Array] = {}
    for row in table(name).rows:
        shift = "shift" if f"{row.ours}.shift" in own else "bias"
        parts = {"weight": "w", "bias": "b"} | ({"weight": "scale", "bias": shift} if f"{row.ours}.scale" in own else {})
        parts |= {"running_mean": "mean", "running_var": "var"}
        state |= {
            f"{row.theirs}.{part}": np.zeros(own[f"{row.ours}.{mine}"], np.float32)
            for part, mine in parts.items()
            if f"{row.ours}.{mine}" in own
        }
        if row.absorbs:
            state[f"{row.absorbs}.bias"] = np.zeros(own[f"{row.ours}.mean"], np.float32)
    return state


def read(name: str, state: dict[str, Array], folder: Path, *options: str, file: str = "w.npz") -> Graph:
    (folder / file).write_bytes(npz_bytes(state))
    return load(Request(name, (), options, folder / file), ZOO)


# --- the tables ------------------------------------------------------------------------------------------------------


def test_every_network_of_torchvision_that_the_zoo_has_is_kept():
    assert list(KEPT) == list(NETWORKS)
    assert {ours for ours, _ in NETWORKS.values()} == {name for name, entry in ZOO.items() if isinstance(entry.checkpoint, Checkpoint)}


@pytest.mark.parametrize("theirs", NETWORKS)
def test_every_parameter_has_one_name_of_the_right_shape_and_no_name_is_left(theirs: str):
    graph = ZOO[NETWORKS[theirs][0]].network()
    state: dict[str, Array] = {name: np.broadcast_to(np.float32(0), shape) for name, shape in KEPT[theirs]["names"].items()}
    assert is_foreign(graph, state)
    found = translate(graph, state, table(NETWORKS[theirs][0]))
    assert {name: array.shape for name, array in found.arrays.items()} == {node.name: node.typed.shape for node in graph.params}
    fixed = [node.name for node in graph.params if node.op.init in FIXED]  # the definition's own
    assert len(set(found.theirs.values())) == len(found.theirs) == len(found.arrays) - len(fixed)
    assert all(name.endswith("num_batches_tracked") or name.startswith(("aux1.", "aux2.", "AuxLogits.")) for name in found.ignored)


LOOSE = {"efficientnet_v2_s": 1e-3}  # forty random blocks enlarge what rounding does; in float64 they are 1e-13 apart


@pytest.mark.parametrize("theirs", slow_if(lambda name: name in HEAVY or NETWORKS[name][0] in SIBLINGS, NETWORKS))
def test_scores_are_torchvisions(theirs: str):
    """Against its scores in float64, from the same weights and image; the noise of float32 is about 1e-6 of the largest."""
    ours, size = NETWORKS[theirs]
    graph = ZOO[ours].network()
    found = translate(graph, draw(KEPT[theirs]["names"]), table(ours))
    bound = with_scores(bind_weights(graph, found.arrays, theirs, found.theirs))
    (got,) = ENGINES["onnx"].start(bound, 1)({graph.inputs[0].name: image(size)}).values()
    wanted = np.array(KEPT[theirs]["scores"])
    assert abs(got[0, : len(wanted)] - wanted).max() < LOOSE.get(theirs, 1e-4) * np.ptp(wanted)


@pytest.mark.parametrize("theirs", ["resnet18", "googlenet", "vgg11_bn"])
def test_what_is_kept_is_what_torchvision_has(theirs: str):
    pytest.importorskip("torchvision", reason="torchvision is not a dependency; the kept names and scores stand for it")
    net = build(theirs)
    assert {name: list(value.shape) for name, value in net.state_dict().items()} == KEPT[theirs]["names"]
    np.testing.assert_allclose(scores(net, NETWORKS[theirs][1]), KEPT[theirs]["scores"], rtol=1e-9)


def test_networks_that_are_another_function_say_so():
    differ = {name: entry.checkpoint.why for name, entry in ZOO.items() if isinstance(entry.checkpoint, Differs)}
    assert set(differ) == {"alexnet", "googlenet", "resnet50", "resnet101", "resnet152", "vgg11_lrn"}
    for why in differ.values():
        assert isinstance(ZOO[why.rpartition("use ")[2]].checkpoint, Checkpoint)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "convnext_tiny", "vit_b_16"])
def test_names_there_and_back(name: str):
    """A bias before a batch norm, which ours has in its mean, is 0 there."""
    graph = ZOO[name].network()
    arrays = {node.name: np.full(node.typed.concrete(), place, np.float32) for place, node in enumerate(graph.params)}
    theirs = in_pytorch(graph, arrays, table(name))
    assert is_foreign(graph, theirs)
    if name == "vgg11_bn":
        assert not theirs["features.0.bias"].any()
    back = translate(graph, theirs, table(name)).arrays
    constants = {node.name for node in graph.params if node.op.init in FIXED}
    assert {key for key in arrays if key not in constants and not np.array_equal(arrays[key], back[key])} == set()


def test_a_file_of_weights_by_pytorchs_names(tmp_path: Path):
    file = tmp_path / "w.safetensors"
    assert convc("export", "squeezenet1_1", "-o", file, "--names", "pytorch").code == 0
    assert "features.3.squeeze.weight" in load_file(file)
    assert convc("summary", "squeezenet1_1", "--weights", file).code == 0
    refused = convc("export", "lenet5", "-o", tmp_path / "l.safetensors", "--names", "pytorch")
    assert (refused.code, (tmp_path / "l.safetensors").exists()) == (2, False)
    assert "'lenet5' has no table of them" in refused.err
    assert "is none; leave it out" in convc("export", "squeezenet1_1", "-o", tmp_path / "s.onnx", "--names", "pytorch").err


# --- files -----------------------------------------------------------------------------------------------------------


def test_transform_input_is_torchvisions(tmp_path: Path):
    """x*0.458 - 0.03 and so on: the image as these weights saw it. The constants stay, for the file does not have them."""
    state = draw({name: list(array.shape) for name, array in state_of("googlenet_bn", image="N,3,64,64", classes=9).items()})
    (tmp_path / "w.npz").write_bytes(npz_bytes(state))
    request = Request("googlenet_bn", ("image:N,3,64,64",), ("classes=9",), tmp_path / "w.npz")
    plain = load(request, ZOO)
    turned = load(dataclasses.replace(request, options=("classes=9", "transform_input=true")), ZOO)
    x = image(64)
    mean, deviation = (np.float32(values).reshape(1, 3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    (here,) = reference.run(turned, {"image": x}, "f64").values()
    (there,) = reference.run(plain, {"image": ((x * deviation + mean) - 0.5) / 0.5}, "f64").values()
    np.testing.assert_allclose(here, there, rtol=1e-4)
    assert abs(there - next(iter(reference.run(plain, {"image": x}, "f64").values()))).max() > 1e-3


def test_a_bias_before_a_batch_norm_goes_into_its_mean(tmp_path: Path):
    state = state_of("vgg11_bn", hidden=8)
    state["features.0.bias"] = np.full(64, 3, np.float32)
    state["features.1.running_mean"] = np.full(64, 5, np.float32)
    weights = read("vgg11_bn", state, tmp_path, "hidden=8").by_name["bn1_1.mean"].weights
    assert weights is not None
    assert weights.array().tolist() == [2.0] * 64


@pytest.mark.parametrize("name", TINY)
def test_names_under_data_parallel_and_counters_are_understood(name: str, tmp_path: Path):
    state = {f"module.{key}": array for key, array in state_of(name, **TINY[name]).items()}
    state["module.bn1.num_batches_tracked"] = np.zeros((), np.int64)
    graph = read(name, state, tmp_path, *(f"{key}={value}" for key, value in TINY[name].items()))
    assert all(node.weights is not None and node.weights.is_stored for node in graph.params)


def test_densenets_older_spelling_is_read_and_both_at_once_are_refused(tmp_path: Path):
    state = state_of("densenet121", growth=4)
    older = {name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): array for name, array in state.items()}
    assert len(older.keys() - state.keys()) == 58 * 5
    read("densenet121", older, tmp_path, "growth=4")
    with pytest.raises(InvalidInput, match="in an older and in the present spelling"):
        read("densenet121", older | state, tmp_path, "growth=4")


def test_what_modules_call_by_names_of_their_own_and_vits_older_spelling(tmp_path: Path):
    """A transformer's matrices of attention, its class and its places, are parameters of no layer."""
    options: dict[str, Any] = {"width": 64, "layers": 2, "classes": 9}
    own = {node.name: node.typed.concrete() for node in ZOO["vit_b_16"].network(**options).params}
    state = state_of("vit_b_16", **options)
    for row in pytorch_names.vit(2).parameters:
        state[row.theirs] = np.ones(own[row.ours], np.float32)
    state = {name: array for name, array in state.items() if "encoder_layer_" not in name or int(name.split(".")[2][-1]) < 2}
    older = {name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): array for name, array in state.items()}
    assert len(older.keys() - state.keys()) == 8
    for theirs in (state, older):
        translated = translate(ZOO["vit_b_16"].network(**options), theirs, pytorch_names.vit(2))
        assert {name: array.shape for name, array in translated.arrays.items()} == own
        assert translated.arrays["block2.attention.qkv.w"].all()
        assert translated.arrays["positions.places"].all()
    assert same_modules(state, {"vit_b_16": table("vit_b_16"), "two": pytorch_names.vit(2)}) == ["two"]


def test_missing_extra_and_misshaped_names_are_listed_together(tmp_path: Path):
    state = state_of("resnet18")
    del state["layer1.0.conv1.weight"]
    state["layer9.conv.weight"] = np.zeros(3, np.float32)
    state["fc.weight"] = np.zeros((10, 512), np.float32)
    with pytest.raises(InvalidInput) as refused:
        read("resnet18", state, tmp_path)
    assert str(refused.value).endswith(
        "does not fit @resnet18: missing layer1.0.conv1.weight (here conv2_1.conv1.w); unknown layer9.conv.weight; "
        "of another shape or type fc.weight (here fc1.w) is [10, 512] float32, expected f32[1000,512]"
    )


@pytest.mark.parametrize(("bias", "complaint"), [(None, "missing"), (np.zeros(9, np.float32), "of another shape or type")])
def test_a_bias_that_would_be_absorbed_is_complained_of_by_its_own_name(bias: Array | None, complaint: str, tmp_path: Path):
    state = state_of("vgg11_bn", hidden=8)
    del state["features.0.bias"]
    state |= {} if bias is None else {"features.0.bias": bias}
    with pytest.raises(InvalidInput, match=rf"{complaint} features\.0\.bias \(here bn1_1\.mean\)"):
        read("vgg11_bn", state, tmp_path, "hidden=8")


@pytest.mark.parametrize(
    ("name", "theirs", "words"),
    [
        ("alexnet", "alexnet_owt", "use alexnet_owt"),
        ("googlenet", "googlenet_bn", "use googlenet_bn"),
        ("resnet50", "resnet50_v1_5", "the stride on the 3x3 of a bottleneck, this as published on the first 1x1; use resnet50_v1_5"),
        ("alphago", "resnet18", "@alphago has no table of them; there is one for alexnet_owt"),
        ("resnet18", "resnet34", "its names are those of resnet34"),
        ("squeezenet1_1", "squeezenet1_0", "of another shape or type"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_way_out(name: str, theirs: str, words: str, tmp_path: Path):
    with pytest.raises(InvalidInput) as refused:
        read(name, state_of(theirs), tmp_path)
    assert words in str(refused.value)


def test_own_names_need_no_table(tmp_path: Path):
    """resnet50 as published, whose names PyTorch's could not be told apart from v1.5's, takes its own."""
    graph = ZOO["resnet50"].network()
    state: dict[str, Array] = {node.name: np.ones(node.typed.concrete(), np.float32) for node in graph.params}
    assert all(node.weights is not None and node.weights.array().all() for node in read("resnet50", state, tmp_path).params)


def test_names_from_a_file_reach_no_terminal_raw(tmp_path: Path):
    state = state_of("resnet18")
    state["\x1b[2Jlayer.weight"] = np.zeros(3, np.float32)
    state["x" * 5000] = np.zeros(3, np.float32)
    with pytest.raises(InvalidInput) as refused:
        read("resnet18", state, tmp_path)
    assert r"\u{1b}[2Jlayer.weight" in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


# --- PyTorch's own files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["w.pt", "w.pth"])
def test_pytorchs_files_are_read_by_its_own_loader(file: str, tmp_path: Path):
    torch = pytest.importorskip("torch", reason="PyTorch is not a dependency; without it the command line's refusal is tested")
    state = {name: torch.from_numpy(array + 1) for name, array in state_of("resnet18", classes=7).items()}
    for wrapped in (state, {"state_dict": state, "epoch": 3}, {"model": state}):
        torch.save(wrapped, tmp_path / file)
        graph = load(Request("resnet18", (), ("classes=7",), tmp_path / file), ZOO)
        assert all(node.weights is not None and (node.weights.array() == 1).all() for node in graph.params)
    for wrong, words in (
        (state | {"fc.weight": state["fc.weight"].bfloat16()}, "fc.weight is bfloat16"),
        (state | {"epoch": 3}, "epoch is a int, expected a tensor"),
        ([1, 2], "holds a list, expected tensors by name"),
    ):
        torch.save(wrong, tmp_path / file)
        with pytest.raises(InvalidInput, match=words):
            load(Request("resnet18", (), ("classes=7",), tmp_path / file), ZOO)


def test_a_malicious_pickle_is_not_run_by_pytorchs_loader_either(tmp_path: Path):
    torch = pytest.importorskip("torch", reason="PyTorch is not a dependency; without it the command line's refusal is tested")
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload works where somebody unpickles"
    mark.unlink()
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"conv1.weight": Payload(mark)}))
    torch.save({"conv1.weight": Payload(mark)}, tmp_path / "b.pth")
    (tmp_path / "c.pth").write_bytes(b"PK\x03\x04 cut short")
    for name, words in (("a", "asks for Python objects"), ("b", "asks for Python objects"), ("c", "damaged or no state dict")):
        with pytest.raises(InvalidInput, match=words):
            load(Request("resnet18", (), (), tmp_path / f"{name}.pth"), ZOO)
        assert not mark.exists()
