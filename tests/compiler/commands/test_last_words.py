"""What a command says as it ends, where not even the memory for that is left, and where somebody else ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from convc.compiler.commands import console
from convc.ir.errors import OutOfMemory
from convc.tests.support.shell import convc, refused


def test_the_sentence_is_said_without_memory_for_colours_and_lines(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def nothing_left(*text: object, **how: object) -> None:
        raise MemoryError

    def command() -> None:
        raise OutOfMemory("export needs 9 GiB for '\x1b[2J'; 1 GiB is free")

    monkeypatch.setattr(console, "wrapped", nothing_left)
    monkeypatch.setattr("sys.argv", ["convc"])
    with pytest.raises(SystemExit) as ended:
        console.run_request(console.click.Command("convc", callback=command), console.Console({}))
    assert ended.value.code == OutOfMemory.exit_code
    assert capfd.readouterr().err == "convc: export needs 9 GiB for '\\u{1b}[2J'; 1 GiB is free\n"


def test_sigterm_while_a_users_file_is_imported_is_no_fault_of_that_file(tmp_path: Path):
    (tmp_path / "net.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    done = convc("summary", tmp_path / "net.py:tiny")
    assert (done.code, done.out, done.err) == (143, "", "convc: ended by SIGTERM\n")
    (tmp_path / "net.py").write_text("import sys\nsys.exit(143)\n")
    refused(convc("summary", tmp_path / "net.py:tiny"), 3, "net.py:2: SystemExit: 143")
