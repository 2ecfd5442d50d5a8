"""Forms of kernels, what tuning keeps of them, and what compile makes of that."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.direct.kernel import tunable_direct
from convc.backends.tvm.cpu.kernels.direct.size import Direct
from convc.backends.tvm.cpu.kernels.kernel import Tunable
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cpu.kernels.winograd.arrangement import Tiled
from convc.backends.tvm.cpu.kernels.winograd.kernel import tunable_winograd
from convc.backends.tvm.host import host_cpu, physical_cores, tvm
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.run import LoadedLibrary
from convc.backends.tvm.processor import AVX2, AVX512, SSE, Processor
from convc.backends.tvm.store import tuned_forms as tuned_forms_file
from convc.backends.tvm.store.tuned_forms import FILE, Found, find_database, machine, read_found, tuned_forms, write_found
from convc.backends.tvm.tuning import timing
from convc.backends.tvm.tuning import tracker as tracking
from convc.backends.tvm.tuning.search import is_faster
from convc.backends.tvm.tuning.survey import tunable_layers
from convc.backends.tvm.tuning.timing import Bench
from convc.backends.tvm.tuning.tracker import Tracker
from convc.ir.errors import BackendMissing, UsageError
from convc.tests.support.cpu_kernels import call, draw
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.shell import convc

NETWORK = """
graph @g(%x: f32[1,32,12,12]) {
  %w = param : f32[64,32,1,1]
  %v = param : f32[64,64,3,3]
  %a = conv2d(%x, %w) {strides=[2,2]}
  %b = relu(%a)
  %y = conv2d(%b, %v) {pads=[1,1,1,1]}
  return %y
}
"""

# --- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "operands", "result"),
    [
        (
            tunable_direct(Direct(2, 3, 16, Window(9, 8, (3, 3), (2, 1), (1, 1, 0, 1)), 4, 1, ())),
            ((3, 2, 9, 8, 16), (4, 3, 3, 3, 16, 16), (4, 16)),
            (4, 2, 4, 8, 16),
        ),
        (
            tunable_direct(Direct(1, 2, 16, Window(15, 9, (1, 1)), 5, 1, (), ())),
            ((2, 1, 15, 9, 16), (2, 16), (2, 16), (5, 2, 1, 1, 16, 16), (5, 16)),
            (5, 1, 15, 9, 16),
        ),
        (
            tunable_winograd(Tiled(4, 1, 32, 40, 14, 13, (1, 1, 1, 1))),
            ((2, 1, 14, 13, 16), (6, 6, 2, 2, 16, 2, 16), (3, 16)),
            (3, 1, 14, 13, 16),
        ),
    ],
    ids=["direct", "after a batch norm", "winograd"],
)
def test_a_form_changes_no_digit(kernel: Tunable, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]):
    forms = list(kernel.forms())
    assert len(forms) > 8
    arrays = [draw(*shape) for shape in operands]
    rule = call(kernel.build(None).with_attr("global_symbol", "main"), arrays, result)
    for form in forms[:: len(forms) // 6]:
        made = call(kernel.build(form).with_attr("global_symbol", "main"), arrays, result)
        np.testing.assert_array_equal(made, rule, err_msg=str(form))


@pytest.mark.parametrize(("processor", "most"), [(AVX512, 28), (AVX2, 7), (SSE, 3)])
def test_forms_fit_the_registers(processor: Processor, most: int):
    window = Window(14, 14, (3, 3), (1, 1), (1, 1, 1, 1))
    straight = tunable_direct(Direct(1, 4, 16, window, 12, 1, (), processor=processor)).forms()
    tiled = tunable_winograd(Tiled(4, 1, 64, 64, 48, 48, (1, 1, 1, 1), processor=processor)).forms()
    sums = {form.width * form.blocks for form in straight}, {2 * form.tile_rows * form.tile_cols for form in tiled}
    assert [max(each) for each in sums] == [most, most // 2 * 2]


def test_a_kernel_is_told_from_others_by_its_key():
    window = Window(9, 8, (3, 3), (2, 1), (1, 1, 0, 1))
    size = Direct(1, 3, 16, window, 4, 1, ())
    windows = [replace(window, rows=10), replace(window, strides=(1, 2)), replace(window, pads=(1, 0, 1, 1))]
    others = [replace(size, batch=None), replace(size, before=()), *(replace(size, window=other) for other in windows)]
    assert len({tunable_direct(each).key for each in (size, *others)}) == 6


def test_what_a_network_can_tune():
    assert [(layer.kernel.key.split()[0], layer.nodes) for layer in tunable_layers(typed_graph(NETWORK))] == [
        ("direct", ("a",)),
        ("winograd", ("y",)),
    ]
    assert [layer.kernel.key.split()[0] for layer in tunable_layers(typed_graph(NETWORK), "off")] == ["direct", "direct"]


# --- what counts as faster -------------------------------------------------------------------------------------------


def test_a_form_that_is_no_faster_loses():
    noise = np.random.default_rng(0).uniform(1.0, 1.2, (4, 40))
    assert not is_faster(noise[0], noise[1])
    assert not is_faster(noise[0], noise[1] / 1.01)
    assert is_faster(noise[0], noise[1] / 1.2)
    assert not is_faster(np.where(np.arange(40) < 20, 2.0, 1.0), np.ones(40)), "the machine was busy in the first half"
    stalled = np.ones(40)
    stalled[::3] = 9.0
    assert not is_faster(stalled, np.ones(40)), "a stall is no gain"


# --- the database ----------------------------------------------------------------------------------------------------


def found(kernel: str, form: dict[str, object] | None = None, here: str = "m") -> Found:
    return Found(here, kernel, form, 2.0, 1.0, 3)


def test_the_last_line_about_a_kernel_counts(tmp_path: Path):
    path = tmp_path / "deep" / FILE
    for each in (found("a", {"width": 1}), found("b", {"width": 2}), found("c", {"width": 3}, "another"), found("b")):
        write_found(path, each)
    assert read_found(path)[0][0] == found("a", {"width": 1})
    assert tuned_forms(path, "m") == ({"a": {"width": 1}}, "")
    assert tuned_forms(path, "another") == ({"c": {"width": 3}}, "")
    assert tuned_forms(tmp_path / "none", "m") == tuned_forms(None, "m") == ({}, "")


@pytest.mark.parametrize(
    "damage",
    [
        b'{"machine": "m", "ker',
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b'{"machine":1,"kernel":"a","form":null,"rule":1.0,"best":1.0,"tried":1}',
        b"[" * 9999,
    ],
)
def test_a_damaged_line_costs_only_itself(damage: bytes, tmp_path: Path):
    path = tmp_path / FILE
    write_found(path, found("a", {"width": 1}))
    with path.open("ab") as file:
        file.write(damage)  # and no end of line, as where a disk was full
    write_found(path, found("b", {"width": 2}))
    forms, complaint = tuned_forms(path, "m")
    assert forms == {"a": {"width": 1}, "b": {"width": 2}}
    assert complaint == f"{path}: line 2 cannot be read; the rest of it counts"


def test_where_the_database_is(tmp_path: Path):
    assert find_database("/d", {}) == Path("/d") / FILE
    assert find_database(None, {"CONVC_CACHE": "/c"}) == Path("/c") / FILE
    assert find_database(None, {"XDG_CACHE_HOME": "/x"}) == Path("/x/convc") / FILE
    assert find_database("off", {"CONVC_CACHE": "/c"}) is find_database(None, {"CONVC_CACHE": "off"}) is None
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write_found(tmp_path / "file" / FILE, found("a"))


def test_a_database_is_dated_by_every_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kernels = tmp_path / "kernels"
    shutil.copytree(tuned_forms_file.KERNELS, kernels)
    monkeypatch.setattr(tuned_forms_file, "KERNELS", kernels)
    dates = [machine("m", 1, "0")]
    sources = sorted(kernels.rglob("*.py"))
    assert {"softmax.py", "body.py", "writer.py"} <= {source.name for source in sources}
    for source in sources:
        source.write_text(source.read_text() + "# another way")
        dates.append(machine("m", 1, "0"))
    assert len(set(dates)) == len(sources) + 1


# --- compile uses it -------------------------------------------------------------------------------------------------


def test_compile_takes_the_forms_that_were_found(tmp_path: Path):
    graph = typed_graph(NETWORK)
    here = machine(host_cpu(), physical_cores(), tvm().__version__)
    kernels = [layer.kernel for layer in tunable_layers(graph)]
    for kernel in kernels:
        write_found(tmp_path / "db" / FILE, Found(here, kernel.key, asdict(kernel.forms()[0]), 2.0, 1.0, 1))
    rule = build_cpu(graph, tmp_path / "rule.so", BuildOptions(database="off"))
    tuned = build_cpu(graph, tmp_path / "tuned.so", BuildOptions(database=str(tmp_path / "db")))
    assert rule.tuned == {}
    assert tuned.tuned == {kernel.key: asdict(kernel.forms()[0]) for kernel in kernels}
    inputs = normal_inputs(graph, 0)
    one, other = (LoadedLibrary.load(built.library).run(inputs) for built in (rule, tuned))
    np.testing.assert_array_equal(one["y"], other["y"])


def test_a_form_that_a_kernel_does_not_have_is_passed_over(tmp_path: Path):
    graph = typed_graph(NETWORK)
    here = machine(host_cpu(), physical_cores(), tvm().__version__)
    (direct, _) = tunable_layers(graph)
    write_found(tmp_path / FILE, Found(here, direct.kernel.key, {"width": 5, "blocks": 7, "is_rowwise": False}, 2.0, 1.0, 1))
    assert build_cpu(graph, tmp_path / "model.so", BuildOptions(database=str(tmp_path))).tuned == {}


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tune") / "net.cir"
    path.write_text(NETWORK)
    return path


def test_tune_and_compile(network: Path, tmp_path: Path):
    database = tmp_path / "db"
    done = convc("tune", network, "--database", database, "--trials", "2", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert sorted(each["tried"] for each in report["kernels"]) == [2, 2]
    assert all(each["best"] < each["rule"] for each in report["kernels"] if each["form"])
    with (database / FILE).open("a") as file:
        file.write("{\n")
    again = convc("tune", network, "--database", database, "--trials", "2")
    assert again.code == 0, again.err
    assert "2 kernels, 2 of them tuned before" in again.err
    assert "line 3 cannot be read; the rest of it counts" in again.err
    one = convc("tune", network, "--database", database, "--trials", "1", "--layer", "y", "--seconds", "60")
    assert "1 of 1 kernels finished" in one.err, one.err
    made = convc("compile", network, "--database", database, "-o", tmp_path / "art")
    assert made.code == 0, made.err
    forms, _ = tuned_forms(database / FILE, report["machine"])
    assert json.loads((tmp_path / "art" / "manifest.json").read_text())["target"]["tuned"] == forms


def test_a_second_is_not_enough(network: Path, tmp_path: Path):
    done = convc("tune", network, "--database", tmp_path, "--seconds", "1")
    assert done.code == 0, done.err
    assert "in half of 1 s the rules' forms of 0 kernels were measured; give more --seconds" in done.err
    assert "0 of 2 kernels finished and kept" in done.err


def test_tune_refuses(network: Path, tmp_path: Path):
    assert "did you mean" in convc("tune", network, "--layer", "yy", "--database", tmp_path).err
    off = convc("tune", network, "--database", "off")
    assert (off.code, "give a directory" in off.err) == (2, True)
    assert convc("tune", network, "--tracker", "nowhere").code == 2
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = convc("tune", network, "--tracker", f"127.0.0.1:{unused.getsockname()[1]}")
    assert (dead.code, "no tracker answers at 127.0.0.1" in dead.err) == (5, True)


def default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_what_was_finished_survives_an_interruption(tmp_path: Path):
    words = [sys.executable, "-m", "convc", "tune", "resnet18", "--input", "image:1,3,64,64", "--database", str(tmp_path), "--trials", "8"]
    # who starts the tests in the background has the signal ignored, for all that they start
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=default_interrupt) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("  "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130
    entries, complaint = read_found(tmp_path / FILE)
    assert len(entries) >= 1
    assert not complaint
    assert f"{len(entries)} of " in rest
    assert "interrupted" in rest


# --- trackers --------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


@contextmanager
def running(folder: Path, *programs: list[str]) -> Iterator[tuple[list[subprocess.Popen[bytes]], list[Path]]]:
    """TVM's programs, each in a group of its own, and what they print."""
    processes, logs = list[subprocess.Popen[bytes]](), list[Path]()
    try:
        for program in programs:
            command = [sys.executable, "-m", f"tvm.exec.{program[0]}", "--host", "127.0.0.1", *program[1:]]
            environ = {**os.environ, "TVM_NUM_THREADS": str(physical_cores())}
            logs.append(folder / f"log{len(logs)}")
            with logs[-1].open("wb") as file:
                processes.append(subprocess.Popen(command, stdout=file, stderr=file, env=environ, start_new_session=True))
            until(lambda log=logs[-1]: "bind to" in log.read_text())
        yield processes, logs
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            process.wait(30)


def server(key: str, *more: str) -> list[str]:
    port = free_port()
    return ["rpc_server", "--key", key, "--port", str(port), "--port-end", str(port + 20), *more]


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[Path]]]:
    """A tracker with two servers of the key `here`, and what the servers print."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    programs = [
        ["rpc_tracker", "--port", str(port), "--port-end", str(port + 1)],
        *(server("here", "--tracker", address) for _ in range(2)),
    ]
    with running(tmp_path_factory.mktemp("tracker"), *programs) as (_, logs):
        yield address, logs[1:]


def test_two_servers_share_the_work(network: Path, tmp_path: Path, tracker: tuple[str, list[Path]]):
    address, logs = tracker
    until(lambda: servers(address) == 2)
    done = convc("tune", network, "--database", tmp_path, "--trials", "4", "--tracker", address, "--key", "here")
    assert done.code == 0, done.err
    assert "2 of 2 kernels finished" in done.err
    assert len(read_found(tmp_path / FILE)[0]) == 2
    assert all("load_module" in log.read_text() for log in logs)


def servers(address: str) -> int:
    try:
        return Tracker(address, "here").servers
    except BackendMissing:
        return 0


def test_a_key_without_servers(tracker: tuple[str, list[Path]]):
    with pytest.raises(BackendMissing, match="has no server of the key 'there', its servers have the keys here; start one with"):
        Tracker(tracker[0], "there")


def test_a_session_whose_time_is_over(tracker: tuple[str, list[Path]], monkeypatch: pytest.MonkeyPatch):
    until(lambda: servers(tracker[0]) > 0)
    monkeypatch.setattr(timing, "SESSION", 1)
    monkeypatch.setattr(tracking, "SESSION", 1)
    bench = Tracker(tracker[0], "here").bench(1)
    time.sleep(2)
    with pytest.raises(BackendMissing, match=r"the server 127.0.0.1:\d+ has ended the session after 1 s; let it measure fewer"):
        bench.roofs(1)


def test_a_server_that_fails_and_one_that_dies(tmp_path: Path):
    program = server("alone")
    with running(tmp_path, program) as ((process,), _):
        session = importlib.import_module("tvm.rpc").connect("127.0.0.1", int(program[4]), "alone")
        bench = Bench(session, 1, "the server", is_lent=True)
        (tmp_path / "form.so").write_text("no library")
        with pytest.raises(BackendMissing, match=r"the server does not go on: .*Failed to load"):
            bench.prepare([(tmp_path / "form.so", 1)], None, 0)
        os.killpg(process.pid, signal.SIGKILL)
        for _ in range(2):  # the first hears the connection end, the second that it is closed
            with pytest.raises(BackendMissing, match=r"the server does not go on: .*; start it again"):
                bench.roofs(1)


def test_a_tracker_that_says_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking, "ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BackendMissing, match=f"the tracker at {address} has not answered for 0 s"):
            Tracker(address, "here")
