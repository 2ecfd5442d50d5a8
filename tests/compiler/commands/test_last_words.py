"""What a command says as it ends, where not even the memory for that is left."""

from __future__ import annotations

import pytest

from convc.compiler.commands import console
from convc.ir.errors import OutOfMemory


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
