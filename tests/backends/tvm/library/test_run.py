"""The runtime: inputs, weights, threads, devices, and files that are no libraries."""

from __future__ import annotations

import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convc.backends import reference
from convc.backends.tvm import host
from convc.backends.tvm.library import run
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.built import Library
from convc.backends.tvm.library.run import FITTING, SMALL, LoadedLibrary, _tensor
from convc.backends.tvm.library.same_memory import Result, memory_for
from convc.compiler.files.weights import bind_weights
from convc.ir.errors import ArtifactError, BackendMissing, InvalidInput, UsageError
from convc.ir.types import Array
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.tvm_modules import FULL

NET = """graph @net(%x: f32[N,3,8,8], %k: f32[N,4]) {
    %w = param : f32[4,3,3,3]
    %b = param {init=small} : f32[4]
    %conv1 = conv2d(%x, %w, %b) {pads=[1,1,1,1]}
    %relu1 = relu(%conv1)
    %mean = global_avg_pool(%relu1)
    %flat = flatten(%mean)
    %y = add(%flat, %k)
    return %y, %relu1
}"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return build_cpu(typed_graph(NET), tmp_path_factory.mktemp("run") / "model.so").library


def test_many_threads_share_a_module(net: Library) -> None:
    module = LoadedLibrary.load(net)
    cases = [normal_inputs(net.graph, seed, N=seed % 3 + 1) for seed in range(8)]
    wanted = [module.run(case) for case in cases]
    start = threading.Barrier(4)
    wrong: list[int] = []

    def work(first: int) -> None:
        start.wait()
        for step in range(60):
            at = (first + step) % len(cases)
            got = module.run(cases[at])
            if any(not np.array_equal(got[name], wanted[at][name]) for name in wanted[at]):
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_given_weights_replace_the_graphs_own(net: Library) -> None:
    graph = net.graph
    inputs = normal_inputs(graph, N=2)
    w = np.random.default_rng(5).standard_normal((4, 3, 3, 3)).astype(np.float32)
    module = LoadedLibrary.load(net, {"w": w, "b": np.zeros(4, np.float32), "unused": np.zeros(1)})
    got = module.run(inputs)["relu1"]
    ours = graph.by_name["w"]
    zero = reference.run(graph, inputs)["relu1"]
    assert ours.weights is not None
    assert not np.allclose(got, zero)
    again = LoadedLibrary.load(net).run(inputs)["relu1"]
    assert np.allclose(again, zero, atol=1e-5)


SCALED = "graph @g(%x: f32[2,4000]) { %w = param {init=given} : f32[4000] %b = param {init=given} : f32[4000] KIND return %y }"


@pytest.mark.parametrize("kind", ["%y = layer_norm(%x, %w, %b) {axis=1}", "%z = pow(%x, %w) %y = add(%z, %b)"])
def test_what_is_built_stays_as_it_is_when_its_weights_are_written_to(kind: str, tmp_path: Path) -> None:
    """By a kernel of ours and by a stock row, both of which take them as they are."""
    values = memory_for(np.empty(4000, np.float32))
    values[...] = 1
    graph = bind_weights(typed_graph(SCALED.replace("KIND", kind)), {"w": values, "b": np.zeros(4000, np.float32)}, "here")
    module = LoadedLibrary.load(build_cpu(graph, tmp_path / "model.so").library)
    inputs = {"x": np.linspace(0.5, 2, 8000, dtype=np.float32).reshape(2, 4000)}
    before = module.run(inputs)["y"].copy()
    values[...] = 3
    assert np.array_equal(module.run(inputs)["y"], before)


def test_weights_that_nobody_writes_to_are_not_copied() -> None:
    fixed = np.frombuffer(bytes(8), np.float32)
    assert not run._can_be_written(fixed[1:])
    assert not run._can_be_written(np.broadcast_to(fixed, (3, 2)))
    theirs = np.zeros(4)
    view = theirs[1:]
    view.flags.writeable = False
    assert run._can_be_written(view)
    assert run._can_be_written(np.asarray(memoryview(bytearray(8))))


def test_aligned_weights_are_shared_and_others_copied(tmp_path: Path) -> None:
    """What no kernel packs is read where it lies."""
    graph = typed_graph("graph @g(%x: f32[N,32]) { %p = param : f32[32] %y = mul(%x, %p) return %y }")
    library = build_cpu(graph, tmp_path / "net.so").library
    inputs = normal_inputs(graph, N=1)
    room = np.zeros(4 * 32 + 64, np.uint8)
    start = -room.ctypes.data % 64
    aligned = room[start : start + 4 * 32].view(np.float32)
    aligned.flags.writeable = False  # as weights are
    copied = np.zeros(32, np.float32)[::-1]
    for p, follows in ((aligned, True), (copied, False)):
        module = LoadedLibrary.load(library, {"p": p})
        assert not module.run(inputs)["y"].any()
        (p.base if p is copied else room.view())[...] = 1
        assert module.run(inputs)["y"].any() == follows


@pytest.mark.parametrize("size", [16, SMALL // 4, SMALL])
def test_outputs_are_the_callers_own(tmp_path: Path, size: int) -> None:
    graph = typed_graph(
        f"graph @g(%x: f32[{size}]) {{ %p = param : f32[{size + 3}] %y = identity(%x) %q = identity(%p) %z = neg(%x) return %y, %q, %x, %z }}"
    )
    module = LoadedLibrary.load(build_cpu(graph, tmp_path / "g.so").library)
    x = aligned(size)
    x[...] = np.arange(size)
    first = module.run({"x": x})
    for value in first.values():
        value[...] = -1
    assert np.array_equal(x, np.arange(size))
    second = module.run({"x": x})
    x[...] = 7
    assert np.array_equal(second["y"], np.arange(size))
    assert np.array_equal(second["x"], np.arange(size))
    assert np.array_equal(second["z"], -np.arange(size))
    assert np.array_equal(second["q"], reference.run(graph, {"x": x})["q"])


def test_large_outputs_are_not_copied_and_all_stay(net: Library) -> None:
    """They lie in TVM's memory, which a later run does not use again, nor the module's end give back."""
    module = LoadedLibrary.load(net)
    cases = [normal_inputs(net.graph, seed, N=32) for seed in range(5)]
    results = [module.run(case) for case in cases]
    kept = [{name: array.copy() for name, array in result.items()} for result in results]
    for result in results:
        assert result["y"].nbytes <= SMALL < result["relu1"].nbytes
        assert result["y"].base is None
        assert isinstance(result["relu1"].base, Result)
        assert result["relu1"].base.tensor.data_ptr() == result["relu1"].ctypes.data
        assert result["relu1"].flags.writeable
    for _ in range(3):
        module.run(cases[0])
    del module
    for result, before in zip(results, kept, strict=True):
        assert all(np.array_equal(result[name], before[name]) for name in before)


class Lent:
    """Of another library: it has a shape and a type, and becomes an array when asked."""

    def __init__(self, array: Array) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.array


def test_a_run_counts_no_cores(net: Library) -> None:
    """A file for each, with every input that is not copied: a twentieth of a step of LeNet-5's training."""
    module, inputs = LoadedLibrary.load(net), normal_inputs(net.graph, 0, N=600)
    aligned = {name: memory_for(value) for name, value in inputs.items()}
    called = set[str]()
    sys.setprofile(lambda frame, event, argument: called.add(frame.f_code.co_name))
    try:
        module.run(aligned)
    finally:
        sys.setprofile(None)
    assert "shown_to_tvm" in called
    assert "physical_cores" not in called


def test_arrays_of_other_libraries(net: Library) -> None:
    inputs = normal_inputs(net.graph, N=300)  # large ones, and small ones
    lent: Any = {name: Lent(array) for name, array in inputs.items()}
    module = LoadedLibrary.load(net)
    wanted = module.run(inputs)
    for name, values in module.run(lent).items():
        np.testing.assert_array_equal(values, wanted[name])


def test_memory_for_inputs_is_that_of_the_last_ones(net: Library) -> None:
    module = LoadedLibrary.load(net)
    for n in (300, 3, 400):
        inputs = normal_inputs(net.graph, N=n)
        x = aligned(inputs["x"].size, 4).reshape(inputs["x"].shape)  # never shared
        module.run({**inputs, "x": x})
        assert module._local.copies["x"].array.shape == x.shape
        assert len(module._local.copies) <= 2


def test_a_module_forgets_kinds_of_inputs(net: Library) -> None:
    """Their memory is reused by inputs of the same kind, and goes with the kind."""
    module = LoadedLibrary.load(net)
    for n in (1, *range(1, FITTING + 3), 1):
        for seed in range(2):
            inputs = normal_inputs(net.graph, seed, N=n)
            wanted = reference.run(net.graph, inputs)
            for name, values in module.run(inputs).items():
                np.testing.assert_allclose(values, wanted[name], rtol=1e-5, atol=1e-5)
    with pytest.raises(InvalidInput, match=r"with N=2$"):
        module.run({**normal_inputs(net.graph, N=2), "k": np.zeros((1, 4), np.float32)})


def aligned(size: int, shift: int = 0) -> Array:
    """Floats `shift` bytes behind a multiple of 64."""
    room = np.zeros(4 * size + 128, np.uint8)
    start = -room.ctypes.data % 64 + shift
    return room[start : start + 4 * size].view(np.float32)


def test_aligned_inputs_are_not_copied() -> None:
    for shift, shared in ((0, True), (4, False)):
        array = aligned(24, shift)
        assert (_tensor(array, host.runtime().device("cpu")).data_ptr() == array.ctypes.data) == shared


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("size", [16, SMALL])
def test_inputs_lie_anywhere(tmp_path: Path, size: int, shift: int) -> None:
    graph = typed_graph(f"graph @g(%x: f32[{size}], %y: f32[{size}]) {{ %z = sub(%x, %y) return %z }}")
    module = LoadedLibrary.load(build_cpu(graph, tmp_path / "g.so").library)
    for seed in range(3):
        x, y = aligned(size, shift), aligned(size)
        x[...], y[...] = np.random.default_rng(seed).standard_normal((2, size))
        y.flags.writeable = False
        assert np.array_equal(module.run({"y": y, "x": x})["z"], x - y)
        assert np.array_equal(module.run({"x": x[::-1], "y": x})["z"], x[::-1] - x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, "input 'x' .* is missing"),
        ({"z": np.zeros(1, np.float32)}, "no input is named 'z'"),
        ({"z": [1.0]}, "no input is named 'z'"),
        ({"x": [1.0]}, "input 'x' is a list, expected an array, f32"),
        ({"x": np.zeros((2, 3, 8, 8))}, "is float64, expected f32"),
        ({"x": np.zeros((2, 3, 8, 9), np.float32)}, r"has shape \[2, 3, 8, 9\]"),
        ({"k": np.zeros((3, 4), np.float32)}, "with N=2$"),
        ({"x": np.zeros((2, 8, 8, 3), np.float32)}, r"channels are last, as NHWC has them: give np.moveaxis\(x, -1, 1\)$"),
        ({"x": np.zeros((8, 8, 3), np.float32)}, r"channels are last, as NHWC has them: give np.moveaxis\(x, -1, 0\)\[None\]$"),
        ({"x": np.zeros((3, 8, 8), np.float32)}, r"for a single one add the first axis with x\[None\]$"),
        ({"x": np.zeros((2, 3, 8, 8), np.uint8)}, r"is uint8, expected f32; convert it with .astype\('float32'\)$"),
        ({"x": np.zeros((0, 3, 8, 8), np.float32)}, r"input 'k' has shape \[2, 4\], expected .* with N=0$"),
    ],
)
def test_inputs_that_do_not_fit_never_reach_tvm(net: Library, changes: dict[str, Array | None], message: str) -> None:
    inputs = {name: array for name, array in {**normal_inputs(net.graph, N=2), **changes}.items() if array is not None}
    with pytest.raises(InvalidInput, match=message):
        LoadedLibrary.load(net).run(inputs)


def test_arrays_need_not_be_contiguous(net: Library) -> None:
    module, inputs = LoadedLibrary.load(net), normal_inputs(net.graph, N=2)
    turned = {name: np.asarray(array, order="F") for name, array in inputs.items()}
    assert np.array_equal(module.run(turned)["y"], module.run(inputs)["y"])


def test_weights_that_do_not_fit(net: Library) -> None:
    with pytest.raises(InvalidInput, match="no value for parameter 'b'"):
        LoadedLibrary.load(net, {"w": np.zeros((4, 3, 3, 3), np.float32)})
    with pytest.raises(InvalidInput, match=r"'b' is f64\[4\], expected f32\[4\]"):
        LoadedLibrary.load(net, {"w": np.zeros((4, 3, 3, 3), np.float32), "b": np.zeros(4)})


def test_files_that_are_no_libraries(net: Library, tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(ArtifactError, match=r"text.so is not a library TVM can load"):
        LoadedLibrary.load(replace(net, path=tmp_path / "text.so"))
    with pytest.raises(ArtifactError, match=r"absent.so cannot be read: No such file or directory$"):
        LoadedLibrary.load(replace(net, path=tmp_path / "absent.so"))


def test_a_folder_for_temporary_files_that_will_not_do(net: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "forbids_code", lambda folder: True)
    LoadedLibrary.load(net)  # where code runs all the same
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(UsageError, match=f"from a copy in '{tempfile.gettempdir()}', which is mounted noexec; set TMPDIR elsewhere$"):
        LoadedLibrary.load(replace(net, path=tmp_path / "text.so"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    with pytest.raises(UsageError, match=FULL):
        LoadedLibrary.load(net)


def test_devices(net: Library) -> None:
    with pytest.raises(UsageError, match="unknown device 'tpu'; known are cpu, cuda"):
        LoadedLibrary.load(replace(net, device="tpu"))
    if not host.tvm().cuda(0).exist:
        with pytest.raises(BackendMissing, match="no CUDA device is here"):
            LoadedLibrary.load(replace(net, device="cuda"))


def test_each_module_keeps_its_number_of_threads(net: Library) -> None:
    inputs = normal_inputs(net.graph, N=1)
    most = host.physical_cores()
    one, all_ = LoadedLibrary.load(net, threads=1), LoadedLibrary.load(net, threads=most)
    assert (one.threads, all_.threads) == (1, most)
    for module in (one, all_, one):
        module.run(inputs)
        assert host.thread_count() == module.threads
    assert LoadedLibrary.load(net).threads == most
    for absurd in (0, -1, 10**9):
        with pytest.raises(UsageError, match=f"^{absurd} threads; at least 1 and at most {host.most_threads()}, four a processor, are"):
            LoadedLibrary.load(net, threads=absurd)


def test_a_single_image_and_a_batch_give_the_same_answers(tmp_path: Path) -> None:
    """Two libraries, the same packed weights: 3x3 by tiles, a first layer, a strided one, a residual sum and a depthwise one."""
    graph = typed_graph(
        "graph @g(%x: f32[N,3,20,18]) {\n  %w0 = param : f32[24,3,3,3]\n  %w1 = param : f32[24,24,3,3]\n  %w2 = param : f32[40,24,3,3]\n"
        "  %w3 = param : f32[40,1,3,3]\n  %a = conv2d(%x, %w0) {pads=[1,1,1,1]}\n  %b = relu(%a)\n  %c = conv2d(%b, %w1) {pads=[1,1,1,1]}\n"
        "  %d = add(%c, %b)\n  %e = relu(%d)\n  %f = conv2d(%e, %w2) {strides=[2,2]}\n  %g = conv2d(%f, %w3) {groups=40}\n"
        "  %y = global_avg_pool(%g)\n  return %y, %e\n}\n"
    )
    for tiles in ({}, {"c": 2}, {"c": 4}, None):
        module = LoadedLibrary.load(build_cpu(graph, tmp_path / "net.so", BuildOptions(tiles)).library)
        batch = normal_inputs(graph, N=3)
        whole = module.run(batch)
        wanted = reference.run(graph, batch, "f64")
        for name, values in whole.items():
            np.testing.assert_allclose(values, wanted[name], rtol=0, atol=1e-5 * np.abs(wanted[name]).max())
        for i in range(3):
            for name, values in module.run({"x": batch["x"][i : i + 1]}).items():
                np.testing.assert_allclose(values[0], wanted[name][i], rtol=0, atol=1e-5 * np.abs(wanted[name]).max())
