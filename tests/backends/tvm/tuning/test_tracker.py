"""Benches that a tracker lends: servers that share the work, fail, die, or say nothing."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from convc.backends.tvm.host import physical_cores
from convc.backends.tvm.store.tuned_forms import FILE, read_found
from convc.backends.tvm.tuning import timing
from convc.backends.tvm.tuning import tracker as tracking
from convc.backends.tvm.tuning.timing import Bench
from convc.backends.tvm.tuning.tracker import Tracker
from convc.ir.errors import BackendMissing
from convc.tests.support.shell import convc
from convc.tests.support.tuning import NETWORK


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


def test_two_servers_share_the_work(tmp_path: Path, tracker: tuple[str, list[Path]]):
    address, logs = tracker
    until(lambda: servers(address) == 2)
    (tmp_path / "net.cir").write_text(NETWORK)
    done = convc("tune", tmp_path / "net.cir", "--database", tmp_path, "--trials", "4", "--tracker", address, "--key", "here")
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
