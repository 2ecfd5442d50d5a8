"""What a refusal of an unknown name ends with."""

from __future__ import annotations

from pathlib import Path

import pytest

from convc.ir.suggest import did_you_mean, not_there

KNOWN = {"resnet18": 1, "resnet34": 2, "vgg16": 3}


@pytest.mark.parametrize(
    ("word", "widely", "ending"),
    [
        ("resnet1", False, "; did you mean 'resnet18'?"),
        ("resnet1", True, "; did you mean resnet18, resnet34?"),
        ("quux", False, "; known are three"),
        ("quux", True, "; known are three"),
    ],
)
def test_the_nearest_names_else_where_to_look(word, widely, ending):
    assert did_you_mean(word, KNOWN, "known are three", widely=widely) == ending


def test_nothing_is_said_where_there_is_nothing_to_say():
    assert did_you_mean("quux", KNOWN) == ""
    assert did_you_mean("quux", ()) == ""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "weights.npz").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nets/wieghts.npz", "there is no file 'nets/wieghts.npz'; did you mean 'nets/weights.npz'?"),
        ("nest/weights.npz", "there is no file 'nest/weights.npz'; did you mean 'nets/weights.npz'?"),
        ("nets/photo.png", "there is no file 'nets/photo.png'"),
        ("nets/weights.npz/x", "there is no file 'nets/weights.npz/x'"),
        ("x" * 300, f"there is no file '{'x' * 200}... (300 characters)'"),
        ("nets", "'nets' is not a file"),
        ("a\x1b[2J", "there is no file 'a\\u{1b}[2J'"),
    ],
)
def test_a_path_that_is_not_there(place: Path, path: str, told: str):
    assert not_there(Path(path)) == told


def test_an_absolute_path(place: Path):
    assert not_there(place / "net" / "weights.npz", "folder").endswith(f"did you mean '{place}/nets/weights.npz'?")
