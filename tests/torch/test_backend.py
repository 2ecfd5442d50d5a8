"""`torch.compile(backend="convc")`: each graph compiled once, weights that change noticed, and PyTorch where convc cannot."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import warnings

import pytest
import torch

from convc.compiler.compiling import torch_backend
from convc.tests.torch.networks import BothWays, Branching, Counting, Halved, Looking, Small, Unsaid


@pytest.fixture
def builds(monkeypatch):
    """The graphs that were compiled, in order."""
    made = []
    real = torch_backend.started

    def counted(graph, *args, **named):
        made.append(graph)
        return real(graph, *args, **named)

    monkeypatch.setattr(torch_backend, "started", counted)
    return made


def compiled(module, **options):
    return torch.compile(module.eval(), backend="convc", options={"check": False, **options})


def warned(run):
    """The one warning that `run` gives."""
    with pytest.warns(RuntimeWarning) as heard:
        run()
    (said,) = [str(each.message) for each in heard if each.category is RuntimeWarning]
    return said


def agree(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_one_graph_is_compiled_once_and_its_batch_gets_a_name(builds):
    module = Small()
    ours = compiled(module, check=True)
    for batch in (1, 3, 4, 5, 1):
        image = torch.rand(batch, 3, 8, 8)
        agree(ours(image), module(image))
    assert [str(graph.inputs[0].type.shape[1:]) for graph in builds] == ["(3, 8, 8)"] * 2
    assert [len(graph.symbols) for graph in builds] == [0, 1]  # Dynamo names a size when it changes


@torch.no_grad()
def test_rows_that_change_are_named_too(builds):
    module = Small()
    ours = compiled(module)
    for side in (8, 12, 16):
        image = torch.rand(2, 3, side, side)
        agree(ours(image), module(image))
    assert len(builds) == 2


CHANGES = pytest.mark.parametrize(
    "change",
    [
        lambda module: module.last.weight.mul_(2),
        lambda module: setattr(module.last.weight, "data", torch.rand_like(module.last.weight)),
        lambda module: setattr(module.last, "weight", torch.nn.Parameter(torch.rand_like(module.last.weight))),
        lambda module: module.norm.running_mean.add_(1),
        lambda module: module.load_state_dict(Small().state_dict()),
    ],
    ids=["written to", "its memory replaced", "itself replaced", "a buffer", "loaded anew"],
)


@torch.no_grad()
@CHANGES
def test_weights_that_change_are_noticed(builds, change):
    noticed(Small(), {}, builds, change)


@torch.no_grad()
@CHANGES
def test_weights_that_change_are_noticed_where_dynamo_looks_at_no_module(builds, change):
    noticed(Small(), {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}, builds, change)


def noticed(module, options, builds, change):
    image = torch.rand(1, 3, 8, 8)
    ours = compiled(module, **options)
    before = ours(image)
    agree(before, module(image))
    change(module)
    after = module(image)
    assert not torch.allclose(before, after)
    agree(ours(image), after)
    agree(ours(image), after)
    assert len(builds) == 2


@torch.no_grad()
def test_who_goes_on_changing_weights_gets_pytorch_and_a_word(builds):
    module, image = Small(), torch.rand(1, 3, 8, 8)
    ours = compiled(module)
    ours(image)

    def go_on():
        for _ in range(6):
            module.last.weight.mul_(1.5)
            agree(ours(image), module(image))

    assert "its weights changed" in warned(go_on)
    assert len(builds) == 1 + torch_backend.REBUILDS


@torch.no_grad()
def test_modules_alike_are_each_compiled_once(builds):
    """Dynamo has one graph for both, and gives it the weights of the one or of the other."""
    modules, image = (Small(), Small(), Small()), torch.rand(1, 3, 8, 8)
    ours = [compiled(module) for module in modules]
    for _ in range(4):
        for one, module in zip(ours, modules, strict=True):
            agree(one(image), module(image))
    assert len(builds) == 3
    modules[1].last.weight.mul_(2)
    for one, module in zip(ours, modules, strict=True):
        agree(one(image), module(image))
    assert len(builds) == 4


@torch.no_grad()
def test_a_module_that_is_gone_is_forgotten(builds, monkeypatch):
    kept = []
    real = torch_backend._Subgraph.__init__
    monkeypatch.setattr(torch_backend._Subgraph, "__init__", lambda graph, *args: kept.append(graph) or real(graph, *args))
    image = torch.rand(1, 3, 8, 8)
    for _ in range(4):
        module = Small()
        agree(compiled(module)(image), module(image))
        del module
        gc.collect()
    (graph,) = kept
    assert len(builds) == 4
    assert len(graph._modules) <= 1


@torch.no_grad()
def test_more_modules_than_are_compiled_get_pytorch_and_a_word(builds, monkeypatch):
    monkeypatch.setattr(torch_backend, "MODULES", 2)
    modules, image = [Small() for _ in range(3)], torch.rand(1, 3, 8, 8)
    ours = [compiled(module) for module in modules]
    for one in ours[:2]:
        one(image)
    assert "it serves more than 2 modules" in warned(lambda: agree(ours[2](image), modules[2](image)))
    assert len(builds) == 2


@torch.no_grad()
def test_graphs_break_at_control_flow_by_data(builds):
    module = Branching()
    ours = compiled(module)
    for image in (torch.rand(2, 3, 8, 8), 100 * torch.rand(2, 3, 8, 8)):
        agree(ours(image), module(image))
    assert len(builds) == 3  # what lies before, and both ways on


@torch.no_grad()
def test_each_graph_between_breaks_is_compiled(builds):
    module, image = Looking(), torch.rand(2, 3, 8, 8)
    agree(compiled(module)(image), module(image))
    assert len(builds) == 2


@torch.no_grad()
def test_several_inputs_and_results_by_name(builds):
    module = BothWays()
    ours = compiled(module)
    for batch in (2, 3):
        given = torch.rand(batch, 3, 6, 6), torch.rand(batch, 8)
        result, wanted = ours(*given), module(*given)
        assert list(result) == ["y", "mean"]
        agree(result, wanted)
    assert len(builds) == 2


@torch.no_grad()
def test_results_own_their_memory_and_inputs_are_not_copied(monkeypatch):
    module, image = torch.nn.Conv2d(3, 16, 3), torch.rand(1, 3, 32, 32)
    ours = compiled(module)
    first = ours(image)
    kept = first.clone()
    seen = []
    real = torch_backend.array_of
    monkeypatch.setattr(torch_backend, "array_of", lambda tensor: seen.append(real(tensor)) or seen[-1])
    second = ours(image + 1)
    assert torch.equal(first, kept)
    first.zero_()
    agree(second, module(image + 1))
    ours(image)
    assert seen[-1].ctypes.data == image.data_ptr()


@torch.no_grad()
def test_what_lies_with_gaps_is_taken(builds):
    module, image = Small(), torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last)
    agree(compiled(module)(image), module(image))
    assert len(builds) == 1


def falls_back(ours, image, said):
    results = []
    assert re.search(said, warned(lambda: results.extend([ours(image), ours(image)])))
    return results[0]


def test_gradients_are_pytorchs(builds):
    module, image = Small(), torch.rand(1, 3, 8, 8)
    result = falls_back(compiled(module), image, "gradients are wanted of it.*torch.no_grad")
    result.sum().backward()
    assert module.first.weight.grad is not None
    assert builds == []


def test_a_module_without_gradients_needs_no_word(builds):
    module, image = Small().requires_grad_(False), torch.rand(1, 3, 8, 8)
    agree(compiled(module)(image), module(image))
    assert len(builds) == 1


@torch.no_grad()
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Unsaid, "cannot be said in ONNX by PyTorch: .*bessel_j0"),
        (Counting, "its result .* is a view of its argument"),
        (Halved, "its result .* is a view of its argument"),
    ],
)
def test_what_convc_cannot_do_pytorch_does(builds, make, said):
    module, image = make(), torch.rand(2, 3, 8, 8)
    result = falls_back(compiled(module), image, said)
    if make is not Counting:
        agree(result, module(image))
    assert builds == []


@torch.no_grad()
def test_a_size_that_comes_later_and_that_convc_refuses_is_pytorchs(builds, monkeypatch):
    module = torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    ours = compiled(module)
    for side in (16, 12):
        image = torch.rand(2, 3, side, side)
        agree(ours(image), module(image))
    image = torch.rand(2, 3, 2, 2)  # less than the window has, of which PyTorch takes what is there
    said = warned(lambda: agree(ours(image), module(image)))
    assert re.search(r"PyTorch runs .* itself, not convc: .*does not work with .*kernel of extent 3 is larger", said)
    agree(ours(image), module(image))
    assert len(builds) == 2
    made = []
    real = torch_backend._Subgraph._tensor
    monkeypatch.setattr(torch_backend._Subgraph, "_tensor", lambda graph, array: made.append(array) or real(graph, array))
    for side, by_convc in ((2, 0), (9, 1), (2, 1), (12, 2)):  # and every other size is convc's, as before
        image = torch.rand(2, 3, side, side)
        agree(ours(image), module(image))
        assert len(made) == by_convc
    assert len(builds) == 2


@torch.no_grad()
def test_a_module_in_training_counts_its_batches():
    module = Small()
    ours = torch.compile(module.train(), backend="convc")
    falls_back(ours, torch.rand(2, 3, 8, 8), "writes to .*num_batches_tracked")
    assert module.norm.num_batches_tracked == 2


def test_weights_of_inference_mode_are_refused():
    with torch.inference_mode():
        module = Small()
        falls_back(compiled(module), torch.rand(1, 3, 8, 8), "made in inference mode")


def test_inference_mode_itself_is_fine(builds):
    module, image = Small(), torch.rand(1, 3, 8, 8)
    ours = compiled(module)
    with torch.inference_mode():
        agree(ours(image), module(image))
    assert len(builds) == 1


@torch.no_grad()
def test_an_option_that_there_is_not_is_refused():
    with pytest.raises(Exception, match="backend convc has no option 'speed'; it has level, threads, check"):
        torch.compile(Small().eval(), backend="convc", options={"speed": 9})(torch.rand(1, 3, 8, 8))


def test_nothing_of_pytorch_is_loaded_where_it_is_not_used():
    code = "import sys, convc as cc, convc.compiler.compiling.torch_backend; cc.from_torch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_warnings_are_told_by_nobody_else(builds):
    module, image = Small(), torch.rand(1, 3, 8, 8)
    with warnings.catch_warnings(record=True) as heard, torch.no_grad():
        warnings.simplefilter("always")
        compiled(module)(image)
    assert [each for each in heard if "convc" in str(each.message)] == []
