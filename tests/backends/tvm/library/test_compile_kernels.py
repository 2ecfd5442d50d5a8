"""Kernels are compiled once: within a build, for later builds, by several processes; and again when anything that matters has changed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.attributes import IN_PLACE
from convc.backends.tvm.cpu.kernels import softmax, writer
from convc.backends.tvm.cpu.kernels.direct.kernel import direct
from convc.backends.tvm.host import host_target, tvm
from convc.backends.tvm.library import compile_kernels as kernels
from convc.backends.tvm.library.build import BuildOptions, CpuBuild, build_cpu
from convc.backends.tvm.library.run import LoadedLibrary
from convc.ir.errors import UsageError
from convc.ir.graph import Graph
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph

# Kernels of our own and a stock one (abs), for any batch and for one image; two convolutions are alike, Winograd's tiles compute another.
NET = """graph @net(%x: f32[N,16,6,6]) {
    %w1 = param : f32[16,16,3,3]
    %w2 = param : f32[16,16,1,1]
    %w3 = param : f32[16,16,1,1]
    %c1 = conv2d(%x, %w1) {pads=[1,1,1,1]}
    %c2 = conv2d(%c1, %w2)
    %c3 = conv2d(%c2, %w3)
    %e = abs(%c3)
    %mean = global_avg_pool(%e)
    %flat = flatten(%mean)
    %y = softmax(%flat)
    return %y
}"""
ONE = """graph @one(%y: f32[N,16,6,6]) {
    %v = param : f32[16,16,1,1]
    %d = conv2d(%y, %v)
    return %d
}"""
TWO = ONE.replace("return %d", "%e = conv2d(%d, %v) return %e")
GRAPH = typed_graph(NET)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv("CONVC_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with every kernel of the network for this machine."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVC_CACHE", str(folder / "kernels"))
        build(folder)
    return folder / "kernels"


@pytest.fixture
def filled(whole: Path, place: Path) -> Path:
    """This test's cache with them."""
    return Path(shutil.copytree(whole, place))


def build(folder: Path, **how: Any) -> CpuBuild:
    """The network for this machine, or as told."""
    return build_cpu(GRAPH, folder / "model.so", BuildOptions(**how))


def right(built: CpuBuild, graph: Graph) -> None:
    inputs = normal_inputs(graph, 0, N=2)
    hold_to_reference(graph, LoadedLibrary.load(built.library).run(inputs), inputs)


def test_passes_that_are_left_out_change_no_kernel(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {path.name: path.read_bytes() for path in whole.iterdir()}
    monkeypatch.setattr(kernels, "FOR_GPUS", ())
    monkeypatch.setattr(kernels, "FOR_LOWERED", ())
    monkeypatch.setenv("CONVC_CACHE", str(tmp_path / "by all passes"))
    build(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "by all passes").iterdir()} == made


def test_a_second_build_finds_every_kernel(place: Path, tmp_path: Path) -> None:
    first, second = build(tmp_path), build(tmp_path)
    assert first.found == 0
    assert second.found == second.kernels == first.kernels == len(os.listdir(place))
    right(second, GRAPH)


def test_kernels_alike_are_compiled_once(tmp_path: Path) -> None:
    one = build_cpu(typed_graph(ONE), tmp_path / "one.so", BuildOptions(single=False))
    two = build_cpu(typed_graph(TWO), tmp_path / "two.so", BuildOptions(single=False))
    assert (one.kernels, one.found) == (3, 0)  # into blocks, the convolution, out of blocks
    assert (two.kernels, two.found) == (3, 3)
    right(two, typed_graph(TWO))


def test_a_maker_may_forget_within_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It remembers KEPT kernels; those that it makes again are told by their contents."""
    monkeypatch.setattr(direct, "remembered", direct.__wrapped__)
    built = build_cpu(typed_graph(TWO), tmp_path / "two.so", BuildOptions(single=False))
    assert built.kernels == 3
    right(built, typed_graph(TWO))


def test_networks_share_kernels_under_other_names(filled: Path, tmp_path: Path) -> None:
    one = build_cpu(typed_graph(ONE), tmp_path / "one.so")
    assert (one.kernels, one.found) == (6, 6)
    assert len(os.listdir(filled)) > 10
    right(one, typed_graph(ONE))


def test_it_does_not_matter_how_many_are_compiled_at_a_time(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, again = typed_graph(ONE), tmp_path / "again"
    build_cpu(graph, tmp_path / "one.so", BuildOptions(jobs=1))
    monkeypatch.setenv("CONVC_CACHE", str(again))
    build_cpu(graph, tmp_path / "one.so", BuildOptions(jobs=4))
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (place, again))
    assert one == other
    assert len(one) == 6


def test_another_processor_or_format_has_other_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, mcpu="x86-64-v2")
    assert build(tmp_path, mcpu="x86-64-v3").found == 0
    monkeypatch.setattr(kernels, "FORMAT", "convc kernel, another way")
    built = build(tmp_path, mcpu="x86-64-v3")
    assert built.found == 0
    right(built, GRAPH)


def test_a_kernel_that_was_seen_is_not_written_out_again() -> None:
    one, target = softmax.softmax(4, 21).with_attr(IN_PLACE, 0), host_target()
    first, hits = kernels.key_of(one, target), kernels.known().hits
    assert kernels.key_of(one.with_attr("global_symbol", "another name"), target) == first
    assert kernels.known().hits == hits + 1
    assert kernels.key_of(tvm().ir.load_json(tvm().ir.save_json(one)), target) == first
    assert kernels.known().hits == hits + 1  # the same, and none of its parts are


def test_kernels_that_share_all_but_little_have_keys_of_their_own() -> None:
    """Each has parts of one that was seen: its parameters in turn, a statement more, another word about itself; or a body alike."""
    one, host, target = softmax.softmax(4, 21).with_attr(IN_PLACE, 0), tvm(), host_target()
    swapped = host.tirx.PrimFunc([*one.params][::-1], one.body, one.ret_type, one.attrs)
    longer = host.tirx.PrimFunc(one.params, host.tirx.SeqStmt([one.body, host.tirx.Evaluate(0)]), one.ret_type, one.attrs)
    others = (
        swapped,
        longer,
        one.with_attr(IN_PLACE, 7),
        one.without_attr("tirx.noalias"),
        one.without_attr(IN_PLACE),
        softmax.softmax(4, 22),
    )
    keys = [kernels.key_of(kernel, target) for kernel in (one, *others)]
    assert len(set(keys)) == len(keys)


def test_other_winograd_tiles_are_other_kernels(tmp_path: Path) -> None:
    four = build(tmp_path, tiles={"c1": 4})
    two = build(tmp_path, tiles={"c1": 2})
    assert two.found == two.kernels - 2 == four.kernels - 2  # the convolution, for any batch and for one image


def test_a_kernel_that_is_written_differently_is_compiled_again(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "EXP_SERIES", (*writer.EXP_SERIES, 1 / 5040))
    softmax.softmax.remembered.cache_clear()
    built = build(tmp_path)
    softmax.softmax.remembered.cache_clear()
    assert built.found == built.kernels - 2  # for any batch and for one image
    right(built, GRAPH)


def test_corrupt_entries_are_made_again(filled: Path, tmp_path: Path) -> None:
    for path in filled.iterdir():
        path.write_bytes(path.read_bytes()[:100] + b"\x90" * 400)
    built = build(tmp_path)
    assert built.found == 0
    right(built, GRAPH)
    assert build(tmp_path).found == built.kernels


def test_nothing_is_kept_that_should_not_be(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(tmp_path, cached=False)
    assert (built.found, built.no_cache) == (0, "")
    assert not place.exists()
    place.mkdir()
    place.chmod(0o777)
    built = build(tmp_path)
    assert "others can write to" in built.no_cache
    assert os.listdir(place) == []
    right(built, GRAPH)


def test_the_cache_stays_below_its_size(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, tiles={"c1": 4})
    for number in range(8):
        (place / f"kernel_{number:032x}").write_bytes(bytes(1 << 18))
        os.utime(place / f"kernel_{number:032x}", (time.time() - 1000 + number,) * 2)
    monkeypatch.setenv("CONVC_CACHE_MIB", "1")
    built = build(tmp_path, tiles={"c1": 2})
    assert sum(path.stat().st_size for path in place.iterdir()) <= 1 << 20
    assert not (place / f"kernel_{0:032x}").exists()
    assert build(tmp_path, tiles={"c1": 2}).found == built.kernels


def builder(network: Path, library: Path, jobs: int) -> subprocess.Popen[str]:
    """A process that builds a network from its text, and prints what it found."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom convc.tests.support.graphs import typed_graph\nfrom convc.backends.tvm.library.build import BuildOptions, build_cpu\n"
        "built = build_cpu(typed_graph(Path(sys.argv[1]).read_text()), sys.argv[2], BuildOptions(jobs=int(sys.argv[3])))\n"
        "print(built.found, built.kernels)"
    )
    words = [sys.executable, "-c", code, network, library, str(jobs)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_build_at_once_with_one_cache(place: Path, tmp_path: Path) -> None:
    (tmp_path / "net.cir").write_text(NET)
    runs = [builder(tmp_path / "net.cir", tmp_path / f"{i}.so", jobs=2) for i in range(2)]
    said = [run.communicate() for run in runs]
    assert [error for _, error in said] == ["", ""]
    kernels = int(said[0][0].split()[1])
    assert len(os.listdir(place)) == kernels
    built = build(tmp_path)
    assert (built.found, built.kernels) == (kernels, kernels)
    right(built, GRAPH)


def test_what_was_finished_before_the_end_is_not_lost(place: Path, tmp_path: Path) -> None:
    (tmp_path / "net.cir").write_text(NET)
    for how in (signal.SIGINT, signal.SIGKILL):
        before = len(os.listdir(place)) if place.exists() else 0
        run = builder(tmp_path / "net.cir", tmp_path / "killed.so", jobs=1)
        while run.poll() is None and (not place.exists() or len(os.listdir(place)) <= before):
            time.sleep(0.01)
        run.send_signal(how)
        run.communicate()
    built = build(tmp_path)
    assert 2 <= built.found <= built.kernels
    right(built, GRAPH)


@pytest.mark.parametrize("jobs", [0, -1, 10**6])
def test_an_absurd_number_of_jobs_is_refused(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(UsageError, match=rf"{jobs} jobs; at least 1 and at most \d+, four a processor"):
        build(tmp_path, jobs=jobs)
