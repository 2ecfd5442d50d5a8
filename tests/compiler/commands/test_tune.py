"""convc tune: what it keeps, says and refuses, also when it is interrupted."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from convc.backends.tvm.store.tuned_forms import FILE, read_found, tuned_forms
from convc.tests.support.shell import convc
from convc.tests.support.tuning import NETWORK


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
    assert [each["tried"] for each in report["kernels"]] == [2] * (2 - len(report["unconfirmed"]))
    assert report["load"]["seconds"] > 0
    assert all(each["best_ms"] < each["rule_ms"] for each in report["kernels"] if each["form"])
    with (database / FILE).open("a") as file:
        file.write("{\n")
    again = convc("tune", network, "--database", database, "--trials", "2")
    assert again.code == 0, again.err
    kept = len(report["kernels"])
    assert f"2 kernels, {kept} of them tuned before" in again.err
    assert f"line {kept + 1} cannot be read; the rest of it counts" in again.err
    one = convc("tune", network, "--database", database, "--trials", "1", "--layer", "y", "--seconds", "60")
    assert " of 1 kernels finished" in one.err, one.err
    assert ("1 of 1" in one.err) == ("not confirmed" not in one.err)
    made = convc("compile", network, "--database", database, "-o", tmp_path / "art")
    assert made.code == 0, made.err
    forms, _ = tuned_forms(database / FILE, report["machine"])
    assert json.loads((tmp_path / "art" / "manifest.json").read_text())["target"]["tuned"] == forms


def test_a_second_is_not_enough(network: Path, tmp_path: Path):
    done = convc("tune", network, "--database", tmp_path, "--seconds", "1", fresh=True)  # to import TVM takes half of it
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


def test_what_was_finished_survives_an_interruption(network: Path, tmp_path: Path):
    words = [sys.executable, "-m", "convc", "tune", str(network), "--database", str(tmp_path), "--trials", "12"]
    # who starts the tests in the background has the signal ignored, for all that they start
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=default_interrupt) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("  ") and line.endswith(" forms\n"):  # not one that is not confirmed
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130
    entries, complaint = read_found(tmp_path / FILE)
    assert len(entries) >= 1
    assert not complaint
    assert f"{len(entries)} of " in rest
    assert "interrupted" in rest
